"""The pictures of the audits show what the audits found."""

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose

from modsnr import figures

CLASSES = {"fixed": ("BPSK", "QPSK", "FM"), "shipped": ("FM", "BPSK", "QPSK")}
AGREES = {"fixed": (True, True, None), "shipped": (False, False, None)}


def evidence():
    rows = [
        (4 * column, name, classes[column], feature, 0.2 * column + 0.01 * step, 0.1 * step)
        for column in range(3)
        for name, classes in CLASSES.items()
        for step, feature in enumerate(("real", "line 16"))
    ]
    names = ["column", "candidate", "class", "feature", "measured", "low"]
    table = pd.DataFrame(rows, columns=names).assign(margin=0.02, high=np.inf)
    table.loc[table["class"] == "FM", ["low", "high"]] = np.nan
    agrees = [AGREES[row.candidate][row.column // 4] for row in table.itertuples()]
    return table.assign(agrees=pd.Series(agrees, dtype=object))


def labels(bias=0.0):
    label = np.arange(-20.0, 32, 10)
    return pd.DataFrame(
        {
            "label_db": label,
            "bias_db": np.where(label < -10, np.nan, bias),
            "spread_db": np.where(label < 0, 30.0, 0.3),
            "judged": label >= 0,
        }
    )


def test_a_strip_shows_what_was_measured_and_what_each_order_expects():
    first, second, *_ = figures.class_order_audit(evidence()).axes
    assert [ax.get_title() for ax in (first, second)] == ["real", "line 16"]
    (dots,) = first.lines[:1]
    assert_allclose(dots.get_xydata(), [[0, 0], [0.2, 1], [0.4, 2]])
    fixed, shipped = first.collections[:2]
    assert [to_hex(bars.get_color()[0]) for bars in (fixed, shipped)] == ["#0072b2", "#e69f00"]
    # FM leaves the feature open: two bars an order, those of an order above those of the next.
    assert [path.vertices[0, 1].round(3) for path in fixed.get_paths()] == [-0.125, 0.875]
    assert [path.vertices[0, 1].round(3) for path in shipped.get_paths()] == [1.125, 2.125]
    for bars in (fixed, shipped):
        for path in bars.get_paths():
            assert path.vertices[0, 0] == 0
            assert path.vertices[1, 0] == first.get_xlim()[1]  # no upper bound: to the border


def test_agreement_is_a_sign_as_well_as_a_colour():
    *_, fixed, shipped = figures.class_order_audit(evidence()).axes
    assert [ax.get_title() for ax in (fixed, shipped)] == ["fixed", "shipped"]
    assert [text.get_text() for text in fixed.texts] == ["✓ BPSK", "✓ QPSK", "– FM"]
    assert [text.get_text() for text in shipped.texts] == ["✗ FM", "✗ BPSK", "– QPSK"]
    assert len({to_hex(text.get_color()) for text in (*fixed.texts, *shipped.texts)}) == 3
    given = evidence()
    given.loc[(given["candidate"] == "fixed") & (given["column"] == 0), "agrees"] = [False, True]
    first, *_, fixed, _ = figures.class_order_audit(given).axes
    assert fixed.texts[0].get_text() == "✗ BPSK"  # one contradiction outweighs any agreement
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["0", "4", "8"]


def test_a_column_that_is_not_judged_does_not_stretch_the_strips():
    given = evidence()
    given.loc[given["column"] == 8, "measured"] = 50.0
    assert figures.class_order_audit(given).axes[0].get_xlim()[1] < 1


def test_the_bias_of_the_labels_is_set_beside_what_they_could_mean():
    figure = figures.snr_audit(labels(-9.0), verdict="Es/N0")
    (ax,) = figure.axes
    assert ax.get_title() == "Es/N0"
    per_sample, symbols, judged, others = (ax.lines[k] for k in (0, 1, 2, 5))
    assert set(per_sample.get_ydata()) == {0}
    assert_allclose(symbols.get_ydata(), -9.0309, atol=1e-4)
    assert_allclose(judged.get_xydata(), [[0, -9], [10, -9], [20, -9], [30, -9]])
    assert_allclose(others.get_xydata(), [[-20, np.nan], [-10, -9]])
    assert others.get_markerfacecolor() == "white"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["per sample", "Es/N0", "judged", "not judged"]


def test_labels_that_are_not_judged_do_not_stretch_the_axis():
    low, high = figures.snr_audit(labels(), verdict="per sample").axes[0].get_ylim()
    assert -12 < low < -9
    assert 0 < high < 3
