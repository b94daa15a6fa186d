"""The explorer's picture shows the frame, what hides of it, and what both heads say."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_array_equal

from modsnr import figures, signals

VIEWS = ("constellation", "synchronised", "aligned", "residual")
BINS = 16


def diagrams(views=VIEWS):
    rng = np.random.default_rng(6)
    return {view: rng.poisson(0.5, (BINS, BINS)).astype(np.float32) for view in views}


def one_frame(views=VIEWS, classes=signals.STUDY_CLASSES, snr_db=12.0, estimate_db=13.5, **changes):
    hidden = np.zeros((BINS, BINS), bool)
    hidden[3, 5] = changes.pop("marked", True)
    shares = np.arange(1.0, len(classes) + 1) / sum(range(len(classes) + 1))
    return figures.one_frame(
        diagrams(views),
        diagrams(["map"])["map"] - 1,
        hidden,
        (dict(zip(classes, shares, strict=True)), estimate_db),
        truth=(classes[1], snr_db),
        range_db=(0.0, 30.0),
        **({"view": views[-1], "task": "modulation"} | changes),
    )


def test_every_view_stands_in_its_place_with_the_attribution_last():
    images, _, _ = one_frame(marked=False).axes
    left = [image.get_extent()[0] for image in images.images]
    assert_allclose(left, np.arange(5) + 0.04)
    for image, given in zip(images.images, diagrams().values(), strict=False):
        assert_array_equal(image.get_array(), given)
    assert_array_equal(images.images[-1].get_array(), diagrams(["map"])["map"] - 1)
    low, high = images.images[-1].get_clim()
    assert low == -high
    assert all(image.origin == "lower" for image in images.images)


def test_hidden_pixels_are_green_in_the_chosen_view_alone():
    images = one_frame(view="aligned").axes[0].images
    assert len(images) == 6
    over = [image for image in images if np.ma.isMaskedArray(image.get_array())]
    marked = [image for image in over if image.get_array().mask.any()]
    (cover,) = marked
    assert cover.get_extent()[0] == pytest.approx(2.04)  # the third view
    shown = np.argwhere(~cover.get_array().mask)
    assert shown.tolist() == [[3, 5]]
    assert to_hex(cover.to_rgba(cover.get_array())[3, 5]) == figures.PALETTE[2].lower()


def test_the_chosen_view_is_set_in_bold_and_named_under_the_attribution():
    texts = one_frame(view="aligned", task="snr").axes[0].texts
    assert [text.get_text() for text in texts if text.get_fontweight() == "bold"] == ["aligned"]
    assert texts[-1].get_text() == "aligned, for SNR"


def test_bars_are_as_high_as_the_probabilities_and_the_truth_is_blue():
    bars = one_frame(classes=("BPSK", "QPSK", "8PSK")).axes[1]
    assert_allclose([bar.get_height() for bar in bars.patches], [1 / 6, 2 / 6, 3 / 6])
    blue = [to_hex(bar.get_facecolor()) == figures.PALETTE[0].lower() for bar in bars.patches]
    assert blue == [False, True, False]
    assert [text.get_text() for text in bars.texts] == ["BPSK", "QPSK", "8PSK"]


def test_the_estimate_stands_beside_the_true_snr():
    scale = one_frame().axes[2]
    truth, _, estimate = scale.lines
    assert (truth.get_xdata()[0], estimate.get_xdata()[0]) == (12.0, 13.5)
    assert scale.get_title() == "SNR: 13.5 dB, 12 dB is true"
    assert scale.get_xlim()[0] < 0 < 30 < scale.get_xlim()[1]


@pytest.mark.parametrize(("truth", "estimate"), [(-20.0, 10.0), (10.0, 55.0)])
def test_an_snr_beyond_the_range_is_seen_too(truth, estimate):
    low, high = one_frame(snr_db=truth, estimate_db=estimate).axes[2].get_xlim()
    assert low < min(truth, estimate) < max(truth, estimate) < high


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_views_fits(count):
    figure = one_frame(views=VIEWS[:count])
    assert len(figure.axes[0].images) == count + 2
    assert figure._repr_png_().startswith(b"\x89PNG")
