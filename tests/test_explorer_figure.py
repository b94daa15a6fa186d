"""The explorer's picture shows the frame, what is hidden of it, and what both heads say."""

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
    hidden[3, 5] = True
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


def test_every_view_stands_in_its_place_and_hidden_pixels_are_cyan_in_the_chosen_one():
    images, _, _ = one_frame(view="aligned", task="snr").axes
    *shown, cover, residual, attribution = images.images
    left = [image.get_extent()[0] for image in images.images]
    assert_allclose(left, [0.04, 1.04, 2.04, 2.04, 3.04, 4.04])
    for image, given in zip([*shown, residual], diagrams().values(), strict=True):
        assert_array_equal(image.get_array(), given)
    assert_array_equal(attribution.get_array(), diagrams(["map"])["map"] - 1)
    low, high = attribution.get_clim()
    assert low == -high
    assert np.argwhere(~cover.get_array().mask).tolist() == [[3, 5]]
    assert to_hex(cover.to_rgba(cover.get_array())[3, 5]) == "#00ffff"
    bold = [text.get_text() for text in images.texts if text.get_fontweight() == "bold"]
    assert bold == ["aligned"]
    assert images.texts[-1].get_text() == "aligned,\nfor the SNR"


def test_bars_are_as_high_as_the_probabilities_and_the_truth_is_blue():
    bars = one_frame(classes=("BPSK", "QPSK", "8PSK")).axes[1]
    assert_allclose([bar.get_height() for bar in bars.patches], [1 / 6, 2 / 6, 3 / 6])
    blue = [to_hex(bar.get_facecolor()) == figures.PALETTE[0].lower() for bar in bars.patches]
    assert blue == [False, True, False]
    assert [text.get_text() for text in bars.texts] == ["BPSK", "QPSK", "8PSK"]


@pytest.mark.parametrize(("truth", "estimate"), [(12.0, 13.5), (-20.0, 10.0), (10.0, 55.0)])
def test_the_estimate_stands_beside_the_true_snr_also_beyond_the_range(truth, estimate):
    scale = one_frame(views=VIEWS[:1], snr_db=truth, estimate_db=estimate).axes[2]
    line, _, mark = scale.lines
    assert (line.get_xdata()[0], mark.get_xdata()[0]) == (truth, estimate)
    assert scale.get_title() == f"SNR: {estimate:.1f} dB, {truth:g} dB is true"
    low, high = scale.get_xlim()
    assert low < min(0, truth, estimate) < max(30, truth, estimate) < high
