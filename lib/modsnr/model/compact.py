"""A network of half a million weights for two CPU cores."""

from __future__ import annotations

from torch import Tensor, nn


class Compact(nn.Module):
    """A plain convolutional network for two CPU cores: diagrams to features [frame, width].

    Space-to-depth first, down to a grid of about 8 x 8 (16 x 16 below 128 bins where bins are no
    multiple of 8): a stride-1 convolution at full size would cost more than all the rest. From
    ``2 * FULL`` bins on a strided convolution comes before it, ``MAPS`` maps a view, so that the
    rest costs about as much as at ``FULL`` bins.
    """

    LEAST_STEM, STEM = 4, 8  # bins that space-to-depth joins below ``FULL`` bins, and from there on
    WIDTHS = (96, 128, 128, 128)
    FULL = 64  # bins an axis that need no strided convolution
    MAPS = 8

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        # The largest power of two that leaves FULL bins or more, a multiple of LEAST_STEM.
        stride = 1
        while bins >= 2 * stride * self.FULL and bins % (2 * stride * self.LEAST_STEM) == 0:
            stride *= 2
        if stride > 1:
            maps = self.MAPS * channels
            layers += convolution(channels, maps, stride, stride=stride)
            channels = maps
        left = bins // stride
        stem = self.STEM if left >= self.FULL and left % self.STEM == 0 else self.LEAST_STEM
        layers.append(nn.PixelUnshuffle(stem))
        inputs = channels * stem**2
        for stage, width in enumerate(self.WIDTHS):
            layers += convolution(inputs, width, 3, padding=1)
            if stage == 1:
                layers.append(nn.MaxPool2d(2))
            inputs = width
        self.layers = nn.Sequential(*layers)

    def forward(self, diagrams: Tensor) -> Tensor:
        """Return the features float32 [frame, width] of diagrams [frame, channel, bins, bins]."""
        return self.layers(diagrams).mean((2, 3))


def convolution(
    inputs: int, outputs: int, size: int, *, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """Return a convolution, its normalisation and its ReLU."""
    return [
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
