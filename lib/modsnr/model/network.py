"""The joint network: one backbone, a modulation head, an SNR head.

``backbone`` is any name that timm knows, one of the study's short names, or ``compact``: a network
of half a million weights for two CPU cores.
"""

from __future__ import annotations

import cmath
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from modsnr import InputError, files
from modsnr.diagrams import bands
from modsnr.model.compact import Compact
from modsnr.model.tensors import read_tensors

OUT_OF_MEMORY = (  # in the message of a RuntimeError that is no OutOfMemoryError
    "can't allocate memory",  # the CPU's allocator
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "unable to find an engine",  # cuDNN, where none fits into what is left
)
Draw = Callable[..., Tensor]  # IQ [frame, sample], of received frames also findings -> diagrams
SURE = 4.0  # deviations of the receiver's SNR: about there half of a correction counts
MOST_NATS = 30.0  # that an alphabet's likelihood may count against it
GOLDEN_ANGLE = 2.399963  # radians: no number of turns by it falls onto another, nor near it
STUDY_BACKBONES = {
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "swin_small": "swin_small_patch4_window7_224",
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50": "resnet50",
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
}
SNR_LAYERS: dict[str, tuple[int, ...]] = {
    "standard": (),
    "bottleneck_64": (64,),
    "bottleneck_128": (128,),
    "dual_layer": (256, 64),
}


class Output(NamedTuple):
    """The network's raw outputs for each frame.

    ``modulation`` is logits [frame, class]; ``snr`` is dB [frame] from the regression head, or
    logits [frame, SNR] from the classification head.
    """

    modulation: Tensor
    snr: Tensor


class Prediction(NamedTuple):
    """Decisions and their confidence, each [frame].

    ``modulation`` is int64, ``snr_db`` float32, before any snapping to the grid; ``confidence`` is
    float32, the softmax of the decided modulation. ``snr_confidence`` is float32, the softmax of
    the decided SNR, NaN from the regression head, which has no softmax; ``snr_mean_db`` is float32,
    the mean SNR by the softmax, and from the regression head ``snr_db`` itself.
    """

    modulation: Tensor
    snr_db: Tensor
    confidence: Tensor
    snr_confidence: Tensor
    snr_mean_db: Tensor

    def columns(self) -> dict[str, Tensor]:
        """Return the fields under the names that a run saves them by, beside the truth."""
        modulation, snr_db, *_ = self
        named = {"predicted_modulation": modulation, "predicted_snr_db": snr_db}
        return named | {name: getattr(self, name) for name in self._fields[2:]}


class JointNet(nn.Module):
    """Diagrams float32 [frame, view, bins, bins] to an ``Output``.

    ``snrs_db`` is the grid of SNRs, ascending; losses count in its least step. ``snr_layer`` names
    the hidden widths of the SNR head (``SNR_LAYERS``). ``pretrained`` is True for timm's
    weights, False for none, or the path of a safetensors file of backbone weights or of a run's;
    None means True where weights exist, that is for all but ``compact``.

    A ``likelihood`` view is where the network starts. The modulation's probabilities are a mixture
    of those by the likelihoods shown and of its own, for which the log-likelihoods, times a trust,
    are added to the head's outputs, 0 for a class not shown; trust and shares are learned, and each
    frame's own. The SNR head corrects the SNR shown; in evaluation mode as far as ``shrunk`` lets
    it. Both heads see all that the view shows beside the backbone's features.

    Raises InputError for unknown names, and where the weights cannot be read or fetched.
    """

    snrs_db: Tensor
    shown: Tensor

    def __init__(
        self,
        backbone: str,
        *,
        views: Sequence[str],
        bins: int,
        classes: Sequence[str],
        snrs_db: Sequence[float],
        snr_head: Literal["regression", "classification"] = "regression",
        snr_layer: str = "bottleneck_64",
        dropout: float = 0.1,
        pretrained: bool | str | Path | None = None,
    ) -> None:
        super().__init__()
        files.check_name("snr_head", snr_head, ("regression", "classification"))
        files.check_name("snr_layer", snr_layer, SNR_LAYERS)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must lie in 0..1 without 1; it is {dropout}.")
        if not views or not classes:
            raise InputError("A network needs at least one view and one class.")
        grid = torch.tensor(snrs_db, dtype=torch.float32)
        if not len(grid) or not grid.isfinite().all() or (grid.diff() <= 0).any():
            raise InputError(f"snrs_db must be finite and ascend; they are {list(snrs_db)}.")
        self.settings = {
            "backbone": backbone,
            "views": list(views),
            "bins": bins,
            "classes": list(classes),
            "snrs_db": [float(value) for value in snrs_db],
            "snr_head": snr_head,
            "snr_layer": snr_layer,
            "dropout": dropout,
        }
        self.register_buffer("snrs_db", grid)
        self.backbone, width = build_backbone(backbone, len(views), bins, pretrained)
        self.modulation_head = head(width, (), len(classes), dropout)
        outputs = 1 if snr_head == "regression" else len(snrs_db)
        self.snr_head = head(width, SNR_LAYERS[snr_layer], outputs, dropout)
        if "likelihood" in views:
            self.of_findings = head(bands.BANDS, (width,), width, 0.0)
            self.doubt = nn.Linear(width, 2)  # log of the trust, logit of the receiver's share
            place = [bands.CLASSES.index(c) if c in bands.CLASSES else -1 for c in classes]
            self.register_buffer("shown", torch.tensor(place), persistent=False)
            for layer in (self.modulation_head[-1], self.snr_head[-1], self.doubt):
                for value in layer.parameters():  # it starts with what the receiver found
                    nn.init.zeros_(value)

    def forward(self, diagrams: Tensor) -> Output:
        """Return raw outputs for diagrams float32 [frame, view, bins, bins]."""
        features = self.backbone(diagrams)  # [frame, width]
        views = self.settings["views"]
        greys = (
            bands.read(diagrams[:, views.index("likelihood")]) if "likelihood" in views else None
        )
        if greys is not None:
            features = features + self.of_findings(greys)
        modulation, snr = self.modulation_head(features), self.snr_head(features)
        # The regression head's unit is the grid's spread about its middle, so that training starts
        # where the labels are. The sum needs single precision: bf16 resolves 1/8 dB at 30 dB.
        start = (self.snrs_db[0] + self.snrs_db[-1]) / 2
        unit = (self.snrs_db[-1] - self.snrs_db[0]).clamp(min=1) / 3
        regression = self.settings["snr_head"] == "regression"
        deviation = None  # of the SNR shown
        if greys is not None:
            found = bands.findings_of(greys)
            deviation = found[:, bands.SNR_DEVIATION]
            start, known = found[:, bands.SNR], found[:, : bands.SNR].clamp(min=-MOST_NATS)
            unit = unit * (3 / max(1, len(self.snrs_db) - 1))  # a step of the grid: it corrects
            known = nn.functional.pad(known, (0, 1))[:, self.shown]
            trust, share = self.doubt(features).float().unsqueeze(2).unbind(1)
            own = (modulation.float() + trust.exp() * known).log_softmax(1)
            shown = nn.functional.logsigmoid(share) + known.log_softmax(1)
            modulation = torch.logaddexp(shown, nn.functional.logsigmoid(-share) + own)
            if not regression:
                snr = snr.float() - ((self.snrs_db - start.unsqueeze(1)) / unit).square() / 2
        if not regression:
            return Output(modulation, snr)
        correction = unit * snr.float().squeeze(1)
        if deviation is not None and not self.training:  # there small ones would learn nothing
            correction = shrunk(correction, deviation)
        return Output(modulation, start + correction)

    @torch.no_grad()
    def estimate(self, diagrams: Tensor) -> Prediction:
        """Return the decisions for diagrams float32 [frame, view, bins, bins]."""
        return self.decide(self(diagrams))

    @torch.no_grad()
    def outputs(
        self,
        draw: Draw,
        iq: Tensor,
        findings: Tensor | None = None,
        *,
        batch_size: int = 512,
        rotations: int = 1,
        progress: Callable[[int], object] | None = None,
    ) -> Output:
        """Return raw outputs for frames complex64 [frame, sample], on the CPU.

        They are computed in evaluation mode and single precision. ``draw`` makes diagrams of a
        batch and, if there are ``findings`` [frame, finding] of the receiver, of those;
        ``progress`` is called with the number of frames of each. With several ``rotations`` each
        frame is drawn at so many carrier phases, and the logarithms of its probabilities, or its
        SNR in dB, are averaged. Where memory does not hold a batch, it is halved.

        Raises InputError where there are no frames, and for rotations below 1.
        """
        if not len(iq):
            raise InputError("There are no frames to classify.")
        if rotations < 1:
            raise InputError(f"rotations must be 1 or more; they are {rotations}.")
        device, was_training = self.snrs_db.device, self.training
        self.eval()
        pieces: list[Output] = []
        done = 0
        while done < len(iq):
            here = slice(done, done + batch_size)
            batch = iq[here]
            known = () if findings is None else (findings[here].to(device),)
            try:
                with torch.autocast(device.type, enabled=False):
                    pieces.append(self._outputs_of_batch(draw, batch.to(device), known, rotations))
            except RuntimeError as error:
                if not is_out_of_memory(error) or len(batch) <= 1:
                    raise
                batch_size = len(batch) // 2
                continue
            done += len(batch)
            if progress:
                progress(len(batch))
        self.train(was_training)
        return Output(*(torch.cat(parts) for parts in zip(*pieces, strict=True)))

    def _outputs_of_batch(
        self, draw: Draw, iq: Tensor, findings: tuple[Tensor, ...], rotations: int
    ) -> Output:
        outputs: list[Output] = []
        for turn in range(rotations):
            turned = iq * cmath.rect(1, turn * GOLDEN_ANGLE) if turn else iq
            images = draw(turned, *findings)
            output = self(images.contiguous(memory_format=torch.channels_last))
            if rotations > 1:
                output = output._replace(modulation=output.modulation.log_softmax(1))
                if self.settings["snr_head"] == "classification":
                    output = output._replace(snr=output.snr.log_softmax(1))
            outputs.append(output)
        return Output(*(torch.stack(parts).mean(0).cpu() for parts in zip(*outputs, strict=True)))

    @torch.no_grad()
    def decide(self, output: Output) -> Prediction:
        """Return the decisions that follow from raw outputs."""
        confidence, modulation = output.modulation.float().softmax(1).max(1)
        snr = output.snr.float()
        if self.settings["snr_head"] == "regression":
            return Prediction(modulation, snr, confidence, torch.full_like(snr, torch.nan), snr)
        shares = snr.softmax(1)  # [frame, SNR]
        snr_confidence, nearest = shares.max(1)
        grid = self.snrs_db.to(snr.device)  # outputs lie on the CPU, wherever the network does
        return Prediction(modulation, grid[nearest], confidence, snr_confidence, shares @ grid)


def shrunk(correction: Tensor, deviation: Tensor) -> Tensor:
    """Return a correction less what may be the network's own error, all in dB, [frame].

    Where the receiver is sure of its SNR it is the better of the two; where it is wrong, as behind
    a filter that hides the noise, it is wrong by many of its ``deviation``.
    """
    squared = correction.square()
    return correction * squared / (squared + (SURE * deviation).square()).clamp(min=1e-12)


def load(path: Path | str) -> JointNet:
    """Return the network that a weights file was saved from, in evaluation mode.

    The file is safetensors; its header holds the network's settings. Raises InputError for a file
    that is no safetensors, is damaged, or lacks that header.
    """
    tensors, header = read_tensors(path, problem=f"{path} holds no weights that can be read")
    if "net" not in header:
        raise InputError(f"{path} does not name the network it holds: it is no run's weights.")
    try:
        net = JointNet(**json.loads(header["net"]), pretrained=False)
        net.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} does not hold the network that its header names: {error}"
        ) from error
    return net.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether a device, its libraries, or the CPU's allocator have no room for a tensor."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(
        complaint in str(error) for complaint in OUT_OF_MEMORY
    )


def fastest_device() -> torch.device:
    """Return the first CUDA GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def head(width: int, hidden: Sequence[int], outputs: int, dropout: float) -> nn.Sequential:
    """Return Linear layers with ReLU and dropout between them: width, hidden..., outputs."""
    layers: list[nn.Module] = []
    for narrower in hidden:
        layers += [nn.Linear(width, narrower), nn.ReLU(), nn.Dropout(dropout)]
        width = narrower
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def build_backbone(
    name: str, channels: int, bins: int, pretrained: bool | str | Path | None
) -> tuple[nn.Module, int]:
    """Return a backbone, diagrams [frame, channel, bins, bins] to features [frame, width]; width.

    Raises InputError for a name that timm does not know, naming the nearest, for bins that the
    backbone cannot take, and for weights that cannot be read or fetched.
    """
    if bins < 1:
        raise InputError(f"bins must be positive; they are {bins}.")
    if name == "compact":
        if pretrained:
            raise InputError("compact has no pretrained weights: pass pretrained=False.")
        least = Compact.LEAST_STEM
        if bins % least or bins < 4 * least:
            raise InputError(
                f"compact needs bins divisible by {least} and at least {4 * least}; they are "
                f"{bins}."
            )
        return Compact(channels, bins), Compact.WIDTHS[-1]
    # Here: timm takes seconds to import, and the compact network needs none of it.
    from modsnr.model.backbones import timm_backbone

    return timm_backbone(name, channels, bins, pretrained)
