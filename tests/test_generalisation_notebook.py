"""08 from frames to matrix and rejection, by networks that learn for seconds; 01's new frames."""

from collections import Counter

import numpy as np
import pytest
from notebook_runs import done

from modsnr import diagrams, frames, model, runs, signals

pytestmark = pytest.mark.long  # three trainings and six more notebooks
CLASSES = ["BPSK", "8PSK", "16APSK", "64QAM"]
FRAMES = {"classes": CLASSES, "snr_step_db": 10, "cluster": "here", "gallery_bins": 24}
ALL_VIEWS = ["constellation", "synchronised", "aligned", "residual"]
FIT = {"frames": "home", "bins": 16, "epochs": 1, "batch_size": 32}


@pytest.fixture(scope="module")
def house(bare_house):
    return bare_house


@pytest.fixture(scope="module")
def trained(house):
    done("01_preprocessing", "frames", frames="home", frames_per_cell=40, **FRAMES)
    return {
        "all-views": done("02_training", "all-views", views=ALL_VIEWS, **FIT),
        "constellation": done("02_training", "constellation", **FIT),
        "without": done(
            "02_training", "without", views=ALL_VIEWS, leave_out=["8PSK", "16APSK"], **FIT
        ),
    }


@pytest.fixture(scope="module")
def run(trained):
    return done(
        "08_generalisation",
        "away",
        models=["all-views", "constellation"],
        conditions=["minor", "liquid_rings", "samples_128", "coloured_noise", "independent"],
        frames_per_cell=6,
        ceiling_frames=2,
        left_out=["without"],
        learned_frames=250,
    )


def test_a_network_knows_nothing_of_what_was_left_out(trained):
    net, kept = model.load(trained["without"].weights), ["BPSK", "64QAM"]
    assert net.settings["classes"] == kept
    saved = trained["without"].predictions()
    assert saved["classes"].tolist() == kept
    assert Counter(saved["modulation"].tolist()) == {0: 16, 1: 16}  # 4 of 40 frames at 4 SNRs
    assert saved["predicted_modulation"].max() <= 1
    metrics = trained["without"].metrics
    assert metrics["left_out"] == ["8PSK", "16APSK"]
    assert metrics["training_frames"] == 2 * 4 * 32
    assert trained["all-views"].metrics["training_frames"] == 4 * 4 * 32


def test_the_matrix_has_an_accuracy_for_every_network_that_can_take_the_frames(run):
    matrix = run.metrics["matrix"]
    assert run.metrics["test_frames"] == 4 * 4 * 6
    assert list(matrix["constellation"]) == run.parameters["conditions"]
    # The residual needs longer frames.
    assert list(matrix["all-views"]) == ["minor", "liquid_rings", "coloured_noise", "independent"]
    for name, of_network in matrix.items():
        for cell in of_network.values():
            assert set(cell) == {"joint_accuracy", "modulation_accuracy", "snr_accuracy"}
            assert all(0 <= c["low"] <= c["value"] <= c["high"] <= 1 for c in cell.values())
        home, away = (of_network[c]["joint_accuracy"]["value"] for c in ("minor", "independent"))
        loss = run.metrics["loss_on_independent"][name]
        assert loss["value"] == pytest.approx(home - away)
        assert loss["low"] <= loss["value"] <= loss["high"]
    assert len(run.table("matrix")) == 5 + 9  # the ceiling first
    assert run.figure("matrix").stat().st_size > 5000


def test_what_is_lost_of_the_possible_stands_beside_the_matrix(run):
    possible, below = run.metrics["ceilings"], run.metrics["below_ceiling"]
    assert list(possible) == run.parameters["conditions"]
    for name, of_network in run.metrics["matrix"].items():
        assert list(below[name]) == list(of_network)
        for condition, cell in of_network.items():
            most = possible[condition]["joint"]["ceiling"]
            assert most["low"] <= most["value"] <= most["high"] <= 1
            lost = below[name][condition]["joint"]
            wanted = most["value"] - cell["joint_accuracy"]["value"]
            assert lost["value"] == pytest.approx(wanted, abs=1e-6)
            assert lost["low"] < lost["value"] < lost["high"]
    assert run.table("matrix").model[0] == "ceiling"
    assert run.figure("below_ceiling").stat().st_size > 5000


def answers_under(condition, run, trained):
    """Return the labels of the run's frames of a condition, and what the network says of these."""
    labels = frames.grid_labels(CLASSES, [0, 10, 20, 30], 6)
    seed = run.parameters["seed"]
    iq = signals.simulate_condition(condition, *labels, seed=seed, classes=CLASSES)
    net = model.load(trained["all-views"].weights)
    return labels, net.estimate(diagrams.render(iq, views=ALL_VIEWS, bins=16))


def test_the_snr_is_judged_by_the_noise_in_the_signals_band(run, trained):
    labels, found = answers_under("coloured_noise", run, trained)
    excess = signals.in_band_noise_db(signals.CHANNELS["coloured_noise"])
    middles = np.array([5.0, 15.0, 25.0]) - excess
    place = np.searchsorted(middles, found.snr_db.numpy())
    hits = (place == np.searchsorted(middles, labels[1] - excess)).mean()
    cell = run.metrics["matrix"]["all-views"]["coloured_noise"]["snr_accuracy"]
    assert cell["value"] == pytest.approx(hits, abs=0.011)


def test_a_cell_is_what_the_network_says_of_the_conditions_frames(run, trained):
    labels, found = answers_under("liquid_rings", run, trained)
    hits = (found.modulation.numpy() == labels[0]).mean()
    cell = run.metrics["matrix"]["all-views"]["liquid_rings"]["modulation_accuracy"]
    assert cell["value"] == pytest.approx(hits, abs=0.011)  # a batch of another size rounds its own


def test_each_score_says_how_well_it_rejects_what_was_left_out(run):
    (of_scores,) = run.metrics["rejection"].values()
    assert list(run.metrics["rejection"]) == ["8PSK, 16APSK"]
    assert list(of_scores) == ["confidence", "novelty"]
    for found in of_scores.values():
        assert 0 <= found["auc"]["low"] <= found["auc"]["value"] <= found["auc"]["high"] <= 1
        assert np.isfinite(found["level"])
    # Rings and phases differ from BPSK and 64QAM in what the samples show without a network.
    assert of_scores["novelty"]["auc"]["low"] > 0.5
    assert len(run.table("rejection")) == 2
    assert run.figure("rejection").stat().st_size > 5000
    assert set(run.parents) == {runs.find(n).id for n in ("all-views", "constellation", "without")}


def test_without_networks_that_lack_a_modulation_the_section_says_so(trained):
    given = {"models": ["constellation"], "conditions": ["minor"], "frames_per_cell": 1}
    alone = done("08_generalisation", "alone", **given)
    assert alone.metrics["rejection"] == {} == alone.metrics["loss_on_independent"]
    assert not (alone.folder / "figures" / "rejection.png").exists()
    text = (alone.folder / "notebook.ipynb").read_text()
    assert "0 networks were trained with modulations left out" in text


@pytest.mark.parametrize(
    ("notebook", "parameters", "refusal"),
    [
        ("08_generalisation", {"models": ["all-views", "without"]}, "know different classes"),
        ("08_generalisation", {"models": ["all-views"], "left_out": ["all-views"],
                               "conditions": ["minor"]}, "without leave_out"),
        ("03_evaluation", {"models": ["all-views", "without"]}, "know different modulations"),
        ("04_explainability", {"models": ["without"]}, "know different modulations"),
        ("02_training", FIT | {"leave_out": ["8PSKK"]}, "called '8PSKK'; did you mean '8PSK'"),
    ],
)  # fmt: skip
def test_networks_of_other_classes_are_not_compared(notebook, parameters, refusal, trained):
    failed = runs.execute(notebook, parameters=parameters, name="refused")
    assert failed.status == "failed"
    assert refusal in failed.error


def test_01_stores_a_mixture_and_frames_of_another_symbol_rate(house):
    options = {"frames_per_cell": 20, **FRAMES}
    made = done("01_preprocessing", "mixed", frames="mixed", channel="mixture", **options)
    assert "receive_filter, liquid" in (made.folder / "notebook.ipynb").read_text()
    assert "channel: mixture" in (made.folder / "data_card.md").read_text()
    options |= {"samples_per_symbol": 4, "apsk_geometry": "mixed"}
    done("01_preprocessing", "four", frames="four", **options)
    stored = frames.read(runs.store("four"), "train")
    rates = np.abs(np.fft.fftfreq(1024))
    power = np.square(np.abs(np.fft.fft(stored.iq[stored.snr_db == 30]))).mean(0)
    assert power[rates < 0.11].mean() > 100 * power[rates > 0.2].mean()
    assert power[(rates > 0.09) & (rates < 0.11)].mean() > 0.2 * power[rates < 0.05].mean()
    eight, four = (runs.find(name).figure("views") for name in ("mixed", "four"))
    height = [int.from_bytes(path.read_bytes()[20:24], "big") for path in (eight, four)]
    assert height[1] < height[0] / 2  # one view of four
