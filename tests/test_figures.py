"""Figures show the numbers that went in, fit their page, and leave no state behind."""

import io
from functools import cache, partial
from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from test_attribution_figures import attribution_grid, maps_over_alphabet, points_in_time
from test_attribution_figures import images as diagrams
from test_audit_figures import evidence, labels
from test_choice_figures import ablation, accuracy_by_choice
from test_explorer_figure import one_frame
from test_fidelity_figure import draw as fidelity
from test_impact_figures import (
    TASKS,
    VIEWS,
    counterfactual_curves,
    impact_bars,
    impact_by_label,
    impact_panels,
    legend_of,
    lines_of,
    method_bars,
    region_matrix,
)

from modsnr import figures, signals

SNRS = [float(value) for value in range(0, 32, 2)]


def interval(value, spread=0.05):
    return {"value": value, "low": value - spread, "high": value + spread}


def points(values, low=0.05, **columns):
    """Return a tidy table: columns beside values and the ends of their intervals."""
    value = np.asarray(values, float)
    return pd.DataFrame(columns | {"value": value, "low": value - low, "high": value + low})


def accuracies(models=("constellation", "all views")):
    return pd.concat(
        points(0.2 + 0.3 * m + 0.01 * np.array(SNRS) + 0.05 * t, task=task, model=name, snr_db=SNRS)
        for t, task in enumerate(TASKS)
        for m, name in enumerate(models)
    )


def ceilings(receivers=("feedback", "linear", "blind")):
    """Return ceilings of every condition, the last receiver's of one alone."""
    return pd.concat(
        points(
            1 - 0.03 * place - 0.3 * np.exp(-np.array([3, *SNRS]) / 4),
            condition=condition, receiver=receiver, label=["all", *map(str, SNRS)],
        )
        for place, receiver in enumerate(receivers)
        for condition in (signals.CONDITIONS if place < 2 else ["minor"])
    )  # fmt: skip


def history(epochs=8):
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame({
        "epoch": epoch,
        "modulation_loss": 2.8 / epoch,
        "snr_loss": 1.9 / epoch**2,
        "validation_modulation_accuracy": 1 - 0.9 / epoch,
        "validation_snr_accuracy": 1 - 0.8 / epoch,
        "validation_joint_accuracy": 1 - 0.95 / epoch,
    })  # fmt: skip


def calibrations(models=("constellation", "all views"), snrs=SNRS):
    """Return scores and points of models, as snr_calibration takes them."""
    snr = np.array(snrs)
    scores = pd.DataFrame(
        {"model": model, "metric": metric, "value": value}
        for m, model in enumerate(models)
        for metric, value in (
            ("slope", 0.9 + 0.02 * m), ("bias_db", -0.1), ("within_half_step", 0.5)
        )
    )  # fmt: skip
    at_db = pd.concat(
        pd.DataFrame({
            "model": model, "snr_db": snr, "median_db": 0.9 * snr + m, "low_db": 0.8 * snr - 2,
            "high_db": 0.95 * snr + 3, "from_db": snr - 1, "to_db": snr + 1,
        })
        for m, model in enumerate(models)
    )  # fmt: skip
    return scores, at_db


def doubts(models=("constellation", "all views"), bins=15):
    """Return what reliability draws of the two heads, and of the intervals."""
    expected, levels = np.linspace(0.2, 1, bins), np.array([0.1, 0.5, 0.9, 0.95])
    drawn = []
    for m, model in enumerate(models):
        head = {"model": model, "expected": expected, "note": f"ECE {0.02 * (m + 1):.3f}"}
        measured = 0.95 * expected - 0.05 * m
        drawn += [points(measured, 0.03, panel=panel, **head) for panel in ("modulation", "snr")]
        level = {"model": model, "expected": levels, "note": "width 7.60 dB at 0.95"}
        drawn.append(points(levels + 0.01, 0.02, panel="intervals", **level))
    return pd.concat(drawn, ignore_index=True)


def snr_calibration(models=("constellation", "all views")):
    return figures.snr_calibration(*calibrations(models))


CLASSES = signals.STUDY_CLASSES


def view_gallery():
    return figures.view_gallery(
        diagrams(3, 2, 17), rows=["0 dB", "30 dB"], columns=CLASSES, groups=VIEWS
    )


def confusion_pair():
    rng = np.random.default_rng(1)
    modulation = rng.integers(5, size=(17, 17)) + 60 * np.eye(17, dtype=int)
    snr = rng.integers(9, size=(16, 16)) + 40 * np.eye(16, dtype=int)
    return figures.confusion_pair(modulation, snr, classes=CLASSES, snrs_db=SNRS)


def spectrum():
    frequency = np.linspace(-0.5, 0.5, 129)
    density = 30 * np.exp(-((frequency / 0.06) ** 4))
    return figures.spectrum(
        pd.DataFrame({f"{snr} dB": density - snr for snr in (0, 10, 20)}, frequency)
    )


def choices(runs=24):
    rng = np.random.default_rng(2)
    return pd.DataFrame({
        "backbone": rng.choice(["resnet18", "resnet50", "swin_tiny", "vit_b_16"], runs),
        "snr_layer": rng.choice(["standard", "bottleneck_64", "dual_layer"], runs),
        "learning_rate": rng.choice([1e-5, 1e-4, 1e-3], runs),
        "batch_size": rng.choice([64, 128, 256], runs),
        "pretrained": rng.choice([True, False], runs),
        "dropout": rng.uniform(0.1, 0.5, runs).round(4),
    })  # fmt: skip


def many_choices(runs=60):
    """Return twelve parameters, some with many or long choices, some without a choice."""
    rng = np.random.default_rng(4)
    views = ["constellation", "synchronised", "aligned", "residual", "log_polar"]
    return choices(runs).assign(
        views=[", ".join(views[: 1 + n % 5]) for n in range(runs)],
        subset=[", ".join([*views[n % 5 :], str(n % 12)]) for n in range(runs)],
        extent=rng.choice([None, 1.5, 4.5], runs),
        hide=rng.choice(["", "dimmest", "brightest", "modulation", "random", "snr"], runs),
        modulation_share=0.5,
        distance_weighted_seed=rng.integers(0, 8, runs),
    )


def reached(table):
    return np.random.default_rng(3).uniform(0.1, 0.6, len(table))


def ranked(table):
    of = {
        name: {str(c): reached(table)[table[name].astype(str) == str(c)] for c in column.unique()}
        for name, column in table.drop(columns="dropout").items()
    }
    return figures.ranked(of, xlabel="test.snr_accuracy")


def parallel_coordinates(table):
    return figures.parallel_coordinates(table, reached(table), label="joint accuracy")


def errors(names=("constellation", "noise floor", "M2M4, PSK"), snrs=SNRS):
    return pd.concat(
        points(0.15 + 2 * n / (1 + np.array(snrs)), 0.02, estimator=name, snr_db=snrs)
        for n, name in enumerate(names)
    )


BOUNDS = pd.DataFrame(
    {
        name: (0.13 + 0.02 * n) * (1 + 10 ** (-np.array(SNRS) / 10))
        for n, name in enumerate(["waveform known", "alphabet known", "band known"])
    },
    index=SNRS,
)
CEILINGS = {
    task: pd.DataFrame({"genie, unknown phase": 1 - 0.3 / (1 + np.array(SNRS))}, index=SNRS)
    for task in ("joint", "snr")
}


def received_symbols():
    return signals.alphabet("16QAM").numpy() * np.exp(0.1j)


EVERY_FIGURE = {
    "one_frame": one_frame,
    "impact_by_label": impact_by_label,
    "method_bars": method_bars,
    "region_matrix": region_matrix,
    "maps_over_alphabet": maps_over_alphabet,
    "points_in_time": points_in_time,
    "counterfactual_curves": counterfactual_curves,
    "shift_matrix": lambda: figures.shift_matrix(
        pd.DataFrame(
            {"task": task, "model": net, "condition": condition, "value": 0.3 + 0.1 * row}
            for task in TASKS
            for row, net in enumerate(("all-views", "both-rings", "mixture"))
            for condition in signals.CONDITIONS
        ),
        conditions=list(signals.CONDITIONS),
        titles=TASKS,
    ),
    "loss_matrix": lambda: figures.loss_matrix(
        pd.DataFrame(
            {"task": "joint", "model": net, "condition": condition, "value": 0.02 + 0.1 * row}
            for row, net in enumerate(("all-views", "both-rings", "mixture"))
            for condition in signals.CONDITIONS
        ),
        conditions=list(signals.CONDITIONS),
    ),
    "ceilings": lambda: figures.ceilings(ceilings()),
    "rejection_bars": lambda: figures.rejection_bars(
        pd.DataFrame(
            {"left out": name, "score": score, "measure": measure, **interval(0.5)}
            for name in ("8PSK", "64QAM", "BPSK")
            for score in ("confidence", "novelty")
            for measure in ("auc", "detected")
        ),
        false_alarm=0.05,
    ),
    "accuracy_by_choice": accuracy_by_choice,
    "ablation": ablation,
    "snr_limits": lambda: figures.snr_limits(errors(), BOUNDS, "waveform known"),
    "receiver_steps": lambda: figures.receiver_steps(
        {"timing": 1.1 * signals.alphabet("16QAM").numpy(), "aligned": received_symbols()},
        signals.alphabet("16QAM").numpy(),
        {"frame": np.geomspace(1e-12, 1, 64)},
        0.01,
        {"16QAM": -10.0, "64QAM": -25.0, "BPSK": -800.0},
        {view: np.eye(8) for view in ("aligned", "residual")},
    ),
    "timeline": lambda: figures.timeline(bursts_and_frames()[1], timed=True),
    "waterfall": lambda: figures.waterfall(
        np.random.default_rng(0).normal(size=(9, 64)),
        bursts_and_frames()[0],
        seconds=6.0,
        rate=48_000.0,
    ),
    "fidelity": lambda: fidelity(measured=1, modulations=2),
    "class_order_audit": lambda: figures.class_order_audit(evidence()),
    "snr_audit": lambda: figures.snr_audit(labels(), verdict="per sample"),
    "view_gallery": view_gallery,
    "reliability": lambda: figures.reliability(doubts(tuple("abcde"))),
    "accuracy_over_snr": lambda: figures.accuracy_over_snr(accuracies(), titles=TASKS),
    "confusion_pair": confusion_pair,
    "impact_bars": impact_bars,
    "masked": lambda: figures.masked(
        np.eye(9), {name: np.eye(9) > 0 for name in "abcde"}, title="QPSK at 30 dB"
    ),
    "impact_panels": impact_panels,
    "attribution_grid": attribution_grid,
    "snr_calibration": snr_calibration,
    "learning_curve": lambda: figures.learning_curve(history()),
    "spectrum": spectrum,
    "ranked": lambda: ranked(choices()),
    "outcome_bars": lambda: figures.outcome_bars(
        {
            "these runs": {"completed": 150, "pruned": 12, "failed": 3, "crashed": 3},
            "the study": {"completed": 35, "crashed": 133},
        }
    ),
    "importance_bars": lambda: figures.importance_bars(
        {"learning_rate": 0.4, "backbone": 0.2, "dropout": 0.0}, runs=168
    ),
    "learning_curves": lambda: figures.learning_curves(
        {f"run {n}": [0.1 * n, 0.15 * n, 0.16 * n] for n in range(1, 5)},
        {f"run {n}": f"backbone_{n % 3}" for n in range(1, 5)},
        ylabel="validation_joint_accuracy",
        grouped_by="backbone",
    ),
    "parallel_coordinates": lambda: parallel_coordinates(choices()),
}
CROWDED = {
    "ranked": lambda: ranked(many_choices().drop(columns="subset")),
    "parallel_coordinates": lambda: parallel_coordinates(many_choices()),
    "fidelity": lambda: fidelity(measured=3, modulations=24, quantities=3),
    "accuracy_over_snr": lambda: figures.accuracy_over_snr(accuracies(), bounds=CEILINGS),
}


def bursts_and_frames():
    """Tables of bursts and of frames of a recording, as an answer has them."""
    bursts = {"start": [0.0, 3.0], "end": [2.0, 5.0], "carrier": [-9e3, 1e4], "snr_db": [12, 3]}
    bursts |= {"symbol_rate": [3e3, 9e3], "modulation": ["QPSK", "unknown"], "known": [True, False]}
    frames = {"start": np.arange(6.0), "known": np.arange(6) < 3, "snr_db": np.full(6, 19.5)}
    frames |= {"modulation": ["BPSK", "QPSK", "16QAM"] * 2, "confidence": np.linspace(0.2, 1, 6)}
    return pd.DataFrame(bursts), pd.DataFrame(frames | {"carrier": np.arange(6.0)})


DRAWN = EVERY_FIGURE | {f"crowded {name}": draw for name, draw in CROWDED.items()}
DRAWN |= {f"snr_calibration of {n}": partial(snr_calibration, "abcde"[:n]) for n in (1, 5)}


def saved(figure, kind):
    figure.savefig(buffer := io.BytesIO(), format=kind)
    return buffer.getvalue()


@cache
def drawn(name):
    """Return a figure as its style draws it, and the renderer that did."""
    figure = DRAWN[name]()
    canvas = FigureCanvasAgg(figure)
    with mpl.rc_context(figures.STYLE):
        canvas.draw()
        canvas.draw()  # a legend outside the axes finds its place in the second pass
    return figure, canvas.get_renderer()


def texts(figure):
    """Return every piece of text of a drawn figure that is seen, as artists."""
    hidden = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for minor in (False, True):
            places = axis.get_ticklocs(minor=minor)
            labels = axis.get_ticklabels(minor=minor)
            hidden |= {
                label
                for place, label in zip(places, labels, strict=False)
                if not low <= place <= high
            }
    found = [text for text in figure.findobj(mpl.text.Text) if text not in hidden]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


# What holds for every figure


def test_every_public_figure_is_tested_here():
    public = {
        name
        for name, function in vars(figures).items()
        if hasattr(function, "__wrapped__") and not name.startswith("_")
    }
    assert public == set(EVERY_FIGURE)


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_fits_the_page_can_be_read_and_leaves_no_state(name):
    before = dict(mpl.rcParams)
    figure, renderer = drawn(name)
    box = figure.get_tightbbox(renderer)  # inches
    width, height = figure.get_size_inches()
    assert width <= figures.PAGE + 1e-6
    assert height <= 9.5
    assert -0.01 <= box.x0 <= box.x1 <= width + 0.01
    assert -0.01 <= box.y0 <= box.y1 <= height + 0.01
    assert min(text.get_fontsize() for text in texts(figure)) >= 6
    upright = [text for text in texts(figure) if text.get_rotation() in (0, 90)]
    boxes = [(text.get_text(), text.get_window_extent(renderer).padded(-1)) for text in upright]
    for (one, its_box), (other, another) in combinations(boxes, 2):
        assert not its_box.overlaps(another), (one, other)
    assert isinstance(figure, Figure)
    assert saved(figure, "pdf").startswith(b"%PDF")
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_the_palette_can_be_told_apart():
    colours = np.array([mpl.colors.to_rgb(colour) for colour in figures.PALETTE])
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert apart[~np.eye(len(colours), dtype=bool)].min() > 0.25
    assert len(set(figures.MARKERS)) == len(figures.MARKERS) == len(figures.PALETTE)


def test_the_same_numbers_give_the_same_picture_whatever_the_session_has_set():
    plain = saved(EVERY_FIGURE["spectrum"](), "png")
    with mpl.rc_context({"font.size": 20, "axes.grid": False, "lines.linewidth": 5}):
        assert saved(EVERY_FIGURE["spectrum"](), "png") == plain


# Accuracy over SNR


def test_accuracy_lines_hold_the_values_and_bands_the_intervals():
    given = accuracies()
    figure = figures.accuracy_over_snr(given, titles={"snr": "SNR"})
    assert [ax.get_title() for ax in figure.axes] == ["joint", "modulation", "SNR"]
    for ax, (_, of_task) in zip(figure.axes, given.groupby("task", sort=False), strict=True):
        assert ax.get_xlabel() == "SNR per sample (dB)"
        models = [of_model for _, of_model in of_task.groupby("model", sort=False)]
        for line, band, drawn in zip(ax.lines, ax.collections, models, strict=True):
            assert_allclose(line.get_xydata(), drawn[["snr_db", "value"]])
            edge = band.get_paths()[0].vertices[:, 1]
            assert_allclose([edge.min(), edge.max()], [drawn.low.min(), drawn.high.max()])
    assert legend_of(figure) == ["constellation", "all views"]


def test_a_mean_over_seeds_says_that_its_band_is_their_range():
    given = accuracies().assign(seeds=lambda table: np.where(table.model == "all views", 3, 1))
    names = legend_of(figures.accuracy_over_snr(given))
    assert names == ["constellation", "all views, range of 3 seeds"]


def test_an_snr_that_a_model_lacks_is_a_point_left_out():
    given = accuracies()
    lacks = (given.task == "joint") & (given.model == "all views") & (given.snr_db == 10)
    lines = figures.accuracy_over_snr(given[~lacks]).axes[0].lines
    assert 10.0 not in lines[1].get_xdata()
    assert len(lines[0].get_xdata()) == len(lines[1].get_xdata()) + 1


# Limits


def test_errors_stand_beside_their_bounds_on_a_logarithmic_axis():
    given = errors()
    left, right = figures.snr_limits(given, BOUNDS, "waveform known").axes
    series = [of for _, of in given.groupby("estimator", sort=False)]
    assert left.get_yscale() == "log"
    assert [line.get_label() for line in left.lines] == [*given.estimator.unique(), *BOUNDS]
    for line, beside, of in zip(left.lines, right.lines, series, strict=False):
        assert_allclose(line.get_xydata(), of[["snr_db", "value"]])
        assert_allclose(beside.get_ydata(), BOUNDS["waveform known"] / of.value.to_numpy())
    for line, bound in zip(left.lines[len(series) :], BOUNDS, strict=True):
        assert_allclose(line.get_ydata(), BOUNDS[bound])
        assert line.get_marker() == "None"
        assert line.get_linestyle() != "-"
    edge = left.collections[0].get_paths()[0].vertices[:, 1]
    assert edge.min() == pytest.approx(series[0].low.min())
    assert (
        right.collections[0].get_paths()[0].vertices[:, 1].max() >= right.lines[0].get_ydata().max()
    )
    assert len(left.collections) == len(series)


def test_a_name_has_one_colour_in_all_panels_and_one_entry_in_the_legend():
    given = accuracies()
    given = given[(given.task != "joint") | (given.model == "all views")]
    known = CEILINGS["snr"].rename(columns={"genie, unknown phase": "waveform known"})
    figure = figures.accuracy_over_snr(given, bounds=CEILINGS | {"snr": known}, titles=TASKS)
    joint, _, snr = figure.axes
    assert [len(ax.lines) for ax in figure.axes] == [2, 2, 3]  # the modulation has no bound
    colours = [{line.get_label(): line.get_color() for line in ax.lines} for ax in figure.axes]
    assert len({of["all views"] for of in colours}) == 1
    assert joint.lines[1].get_linestyle() != snr.lines[2].get_linestyle()
    assert_allclose(joint.lines[1].get_ydata()[0], 0.7)
    assert legend_of(figure) == [
        "all views", "constellation", "genie, unknown phase", "waveform known"
    ]  # fmt: skip


# Calibration


def extent(band):
    edge = band.get_paths()[0].vertices
    return [(edge[edge[:, 0] == x, 1].min(), edge[edge[:, 0] == x, 1].max()) for x in SNRS]


def test_calibration_shows_median_band_corridor_and_diagonal_of_each_model():
    scores, at_db = calibrations()
    figure = figures.snr_calibration(scores, at_db)
    assert [ax.get_title() for ax in figure.axes] == list(at_db.model.unique())
    for ax, (model, at) in zip(figure.axes, at_db.groupby("model", sort=False), strict=True):
        diagonal, median = ax.lines
        assert_allclose(diagonal.get_xydata(), np.stack([SNRS, SNRS], 1))
        assert_allclose(median.get_xydata(), at[["snr_db", "median_db"]])
        corridor, band = ax.collections
        assert_allclose(extent(corridor), at[["from_db", "to_db"]])
        assert_allclose(extent(band), at[["low_db", "high_db"]])
        slope = scores[(scores.model == model) & (scores.metric == "slope")].value.item()
        said = f"slope {slope:.3f}\nbias -0.100 dB\n50.0 % within half a step"
        assert said in [text.get_text() for text in ax.texts]
    assert figure.axes[0].get_ylabel() == "estimated SNR (dB)"
    assert all(ax.get_xlabel() == "true SNR per sample (dB)" for ax in figure.axes)


def test_calibration_at_one_snr_has_no_slope_and_no_corridor():
    scores, at_db = calibrations(["only"], snrs=[10.0])
    scores.loc[scores.metric == "slope", "value"] = np.nan
    figure = figures.snr_calibration(scores, at_db.assign(from_db=np.nan, to_db=np.nan))
    assert "slope" not in figure.axes[0].texts[0].get_text()


# Reliability


def test_reliability_shows_what_is_right_over_what_was_said_with_its_intervals():
    given = doubts()
    figure = figures.reliability(given)
    titles = {
        "modulation": "modulation",
        "snr": "SNR, by softmax",
        "intervals": "SNR, by intervals",
    }
    assert [ax.get_title() for ax in figure.axes] == list(titles.values())
    for ax, panel in zip(figure.axes, titles, strict=True):
        shown = given[given.panel == panel]
        models = [of for _, of in shown.groupby("model", sort=False)]
        for line, bars, of in zip(lines_of(ax), ax.containers, models, strict=True):
            assert_allclose(line.get_xydata(), of[["expected", "value"]])
            ends = [np.sort(bar[:, 1]) for bar in bars.lines[2][0].get_segments()]
            assert_allclose(ends, of[["low", "high"]])
        assert [text.get_text() for text in ax.texts] == [of.note.iloc[0] for of in models]
        labels = ("nominal level", "measured coverage")
        assert (ax.get_xlabel(), ax.get_ylabel()) == (
            labels if panel == "intervals" else ("confidence", "share right")
        )


def test_heads_that_say_nothing_have_no_panel_and_models_that_do_keep_their_colour():
    given = doubts()
    old = given[(given.model != "constellation") | (given.panel == "modulation")]
    assert len(figures.reliability(given[given.panel == "modulation"]).axes) == 1
    figure = figures.reliability(old)
    colours = [[line.get_color() for line in lines_of(ax)] for ax in figure.axes]
    assert colours == [list(figures.PALETTE[:2]), [figures.PALETTE[1]], [figures.PALETTE[1]]]
    assert legend_of(figure) == ["constellation", "all views"]


# Confusion


def test_confusion_shows_shares_of_each_true_class():
    modulation, snr = np.array([[3, 1], [0, 8]]), np.array([[0, 0], [5, 5]])
    figure = figures.confusion_pair(modulation, snr, classes=["BPSK", "QPSK"], snrs_db=[0, 2])
    left, right = figure.axes[:2]
    assert_allclose(left.collections[0].get_array(), [[0.75, 0.25], [0, 1]])
    assert_allclose(right.collections[0].get_array(), [[0, 0], [0.5, 0.5]])  # no frames at 0 dB
    assert left.collections[0].get_clim() == (0, 1)
    assert [label.get_text() for label in left.get_yticklabels()] == ["BPSK", "QPSK"]
    assert [label.get_text() for label in right.get_xticklabels()] == ["0", "2"]
    assert (left.get_xlabel(), left.get_ylabel()) == ("predicted modulation", "true modulation")
    assert left.get_ylim()[0] > left.get_ylim()[1]  # row 0 is the uppermost
    assert figure.axes[2].get_ylabel() == "share of the true class"


# Pictures


def test_the_gallery_shows_every_diagram_first_row_at_the_bottom_on_its_own_scale():
    given = diagrams(2, 3, 4)
    figure = figures.view_gallery(
        given, rows=["0 dB", "10 dB", "20 dB"], columns=["a", "b", "c", "d"], groups=["one", "two"]
    )
    assert [ax.get_ylabel() for ax in figure.axes] == ["one", "two"]
    cell = 24 + 1
    for ax, blocks in zip(figure.axes, given, strict=True):
        sheet = ax.images[0].get_array()
        for row, column in np.ndindex(3, 4):
            shown = sheet[row * cell :, column * cell :][:24, :24]
            wanted = blocks[row, column][::-1] / blocks[row, column].max()
            assert_allclose(shown, wanted)
        assert (ax.get_yticks() // cell).tolist() == [0, 1, 2]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == list("abcd")


# Curves


def test_the_learning_curve_draws_the_history():
    given = history()
    left, right = figures.learning_curve(given).axes
    assert_allclose(left.lines[0].get_xydata(), given[["epoch", "modulation_loss"]])
    assert_allclose(left.lines[1].get_ydata(), given["snr_loss"])
    names = ["modulation", "SNR", "joint"]
    for line, name in zip(right.lines, names, strict=True):
        assert line.get_label() == name
        column = f"validation_{name.lower()}_accuracy"
        assert_allclose(line.get_ydata(), given[column])
    assert left.get_yscale() == "log"
    assert right.get_ylim() == (0, 1.02)
    assert all(float(tick).is_integer() for tick in right.get_xticks())


def test_the_spectrum_draws_a_line_a_signal():
    frequency = np.linspace(-0.5, 0.5, 5)
    given = pd.DataFrame({name: float(level) for level, name in enumerate("abcdefgh")}, frequency)
    ax = figures.spectrum(given).axes[0]
    for line, (name, density) in zip(ax.lines, given.items(), strict=True):
        assert line.get_label() == name
        assert_array_equal(line.get_xydata(), np.stack([frequency, density], 1))
    assert ax.get_xlabel() == "frequency (cycles/sample)"


def test_an_alphabets_bar_is_as_high_as_it_is_near_the_likeliest():
    steps, below, likelihood, *_ = split_by_kind(EVERY_FIGURE["receiver_steps"]())
    assert_allclose([bar.get_height() for bar in likelihood.patches], [40, 25, 0])
    assert_allclose(below.lines[-1].get_ydata(), [-20, -20])
    assert_allclose(steps.lines[0].get_xdata(), 1.1 * signals.alphabet("16QAM").numpy().real)


def split_by_kind(figure):
    """Return the first panel of symbols, that of spectra and that of likelihoods."""
    return figure.axes[0], *(ax for ax in figure.axes if ax.get_ylabel())


def test_ceilings_stand_beside_one_another_and_over_snr_for_some_conditions():
    left, right = figures.ceilings(ceilings(), ["minor", "rayleigh_2"]).axes
    shown = [set(ax.get_legend_handles_labels()[1]) for ax in (left, right)]
    assert shown == [{"feedback", "linear", "blind"}, {"minor", "rayleigh 2", "minor, blind"}]
    assert len(left.get_yticklabels()) == len(signals.CONDITIONS)
    _, alone = figures.ceilings(ceilings(["feedback"]), ["minor"]).axes
    assert alone.get_legend_handles_labels()[1] == ["minor"]


def test_losses_are_written_in_points():
    of = {"task": "joint", "model": "a", "condition": ["minor", "moderate"], "value": [0.021, 0.4]}
    ax, bar = figures.loss_matrix(pd.DataFrame(of), conditions=["minor", "moderate"]).axes
    assert [text.get_text() for text in ax.texts] == ["2.1", "40.0"]
    assert "points below" in bar.get_ylabel()
