"""The panel shows what its controls are set to, or why it cannot."""

from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from modsnr import InputError, diagrams, explain, explorer, runs, signals

ROOT = Path(__file__).parents[1]
VIEWS = ("constellation", "synchronised", "residual")
BINS = 16


class Toy:
    """A network whose answers are sums of pixels: the first view's upper half speaks for the first
    class, all of the last view for the SNR."""

    def __init__(self, classes=("BPSK", "16QAM"), snrs_db=(0.0, 10.0, 20.0), views=VIEWS):
        self.settings = {"classes": list(classes), "views": list(views), "bins": BINS}
        self.snrs_db = torch.tensor(snrs_db)

    def __call__(self, images):
        logits = torch.zeros(len(images), len(self.settings["classes"]))
        logits[:, 0] = images[:, 0, BINS // 2 :].sum((1, 2)) / 100
        return logits, images[:, -1].sum((1, 2)) / 10

    def decide(self, output):
        return SimpleNamespace(snr_db=output[1])


NETS = {
    "toy": Toy(),
    "other": Toy(("QPSK", "8PSK", "BPSK"), (-10.0, 30.0), VIEWS[:2]),
}


def find(name):
    given = {"normalization": "power", "views": NETS[name].settings["views"], "bins": BINS}
    return SimpleNamespace(weights=name, parameters=given)


class Painted:
    """The arguments of a picture, which it saves as they are."""

    def __init__(self, *shown, **options):
        self.shown, self.options = shown, options

    def savefig(self, buffer, *, format, dpi, pil_kwargs):  # noqa: ARG002
        images, attribution, hidden, answers = self.shown
        for array in (*images.values(), attribution, hidden):
            buffer.write(array.tobytes())
        buffer.write(f"{format} {dpi} {list(images)} {answers} {self.options}".encode())


MEANS = {
    "simulate": partial(
        signals.simulate, channel=signals.channel("minor", carrier_offset_std=0.0), samples=512
    ),
    "masks": explain.masks,
    "evidence": explain.evidence,
}
PARTS = {
    "find": find,
    "load": NETS.get,
    "drawing": diagrams.as_trained,
    "picture": Painted,
    **MEANS,
}
FIRST = explorer.Settings("toy", view="residual")
draw = partial(diagrams.render, views=VIEWS, bins=BINS)


def panel(**changes):
    return explorer.Explorer(replace(FIRST, **changes), ["toy", "other"], **PARTS)


def look(**changes):
    return explorer.look(replace(FIRST, **changes), NETS["toy"], draw=draw, **MEANS)


def test_what_both_heads_say_is_what_the_network_says_of_the_diagrams_shown():
    shown = look()
    logits, snr = NETS["toy"](torch.from_numpy(shown.diagrams)[None])
    assert_allclose(shown.probabilities, logits[0].softmax(0))
    assert shown.estimate_db == pytest.approx(snr.item())


def test_the_attribution_of_a_sum_of_pixels_is_the_pixels_towards_the_truth():
    low, high = look(task="snr", snr_db=-20.0), look(task="snr", snr_db=60.0)
    # The evidence is minus the error: more pixels are wrong where the sum is too large already.
    assert low.estimate_db > -20
    assert high.estimate_db < 60
    assert_allclose(low.attribution, -low.diagrams[-1] / 10, rtol=1e-6)
    assert_allclose(high.attribution, high.diagrams[-1] / 10, rtol=1e-6)
    assert not look(task="modulation", view="residual").attribution.any()  # which reads another


@pytest.mark.parametrize("mask", ["brightest", "dimmest", "random"])
def test_a_mask_blackens_its_share_of_the_chosen_view_and_leaves_the_others(mask):
    plain, masked = look(), look(mask=mask, fraction=0.25)
    channel = VIEWS.index("residual")
    image = plain.diagrams[channel]
    assert masked.hidden.sum() == round(0.25 * np.count_nonzero(image))
    assert image[masked.hidden].all()
    assert_array_equal(masked.diagrams[channel], np.where(masked.hidden, 0, image))
    assert_array_equal(masked.diagrams[:channel], plain.diagrams[:channel])
    if mask != "random":
        worst, best = image[masked.hidden], image[(image > 0) & ~masked.hidden]
        assert worst.min() >= best.max() if mask == "brightest" else worst.max() <= best.min()


def test_the_carrier_turns_the_frame_of_the_same_seed():
    truth = torch.tensor([1]), torch.tensor([10.0])
    generator = torch.Generator().manual_seed(FIRST.seed)
    iq = MEANS["simulate"](*truth, generator=generator, classes=NETS["toy"].settings["classes"])
    turned = iq * torch.exp(2j * torch.pi * 3e-4 * torch.arange(512))
    assert_array_equal(look(carrier_offset=3.0).diagrams, draw(turned)[0])
    assert_array_equal(look().diagrams, draw(iq)[0])


ALL = set(explorer.Shown._fields)
CHANGES = {
    "modulation": ("BPSK", ALL - {"hidden"}),  # the residual is noise, whatever the symbols
    "snr_db": (20.0, ALL),
    "carrier_offset": (5.0, ALL),
    "seed": (3, ALL),
    "view": ("constellation", ALL),
    "mask": ("dimmest", ALL - {"probabilities"}),  # the toy reads these from another view
    "fraction": (0.3, ALL - {"probabilities"}),
    "task": ("modulation", {"attribution"}),
}


@pytest.mark.parametrize("control", CHANGES)
def test_a_control_changes_what_it_should_and_nothing_else(control):
    shown_by = panel(task="snr", mask="brightest")
    before, picture = shown_by.shown, shown_by.image.value
    value, wanted = CHANGES[control]
    shown_by.controls[control].value = value
    after = shown_by.shown
    changed = {
        name
        for name in before._fields
        if not np.array_equal(getattr(before, name), getattr(after, name))
    }
    assert changed == wanted
    assert shown_by.image.value != picture


def test_another_network_offers_its_own_classes_and_views():
    shown_by = panel(modulation="16QAM")
    assert shown_by.controls["modulation"].options == ("BPSK", "16QAM")
    shown_by.controls["network"].value = "other"
    assert shown_by.net is NETS["other"]
    assert shown_by.controls["modulation"].options == ("QPSK", "8PSK", "BPSK")
    assert shown_by.settings.modulation == "QPSK"  # it does not know 16QAM
    assert shown_by.settings.view == "constellation"  # nor the residual
    shown_by.controls["modulation"].value = "BPSK"
    shown_by.controls["network"].value = "toy"
    assert shown_by.settings.modulation == "BPSK"  # both know it


def test_the_picture_is_given_the_frame_and_the_answers():
    shown_by = panel(mask="dimmest")
    images, attribution, hidden, (probabilities, estimate_db) = shown_by.figure.shown
    assert list(images) == list(VIEWS)
    assert_array_equal(list(images.values()), shown_by.shown.diagrams)
    assert_array_equal(attribution, shown_by.shown.attribution)
    assert hidden.any()
    assert list(probabilities) == ["BPSK", "16QAM"]
    assert estimate_db == shown_by.shown.estimate_db
    options = {"view": "residual", "task": "modulation", "truth": ("16QAM", 10.0)}
    assert shown_by.figure.options == options | {"range_db": (0.0, 20.0)}


def test_the_answer_is_said_in_words_too():
    shown_by = panel()
    best = shown_by.shown.probabilities.max()
    wanted = f"BPSK with probability {best:.2f}, wrong: it is 16QAM; "
    assert wanted in shown_by.words.value
    shown_by.controls["modulation"].value = "BPSK"
    assert ", right; " in shown_by.words.value


def test_controls_have_labels_and_are_visited_in_the_order_of_settings():
    shown_by = panel()
    assert all(control.description for control in shown_by.controls.values())
    visited = [c for column in shown_by.panel.children[0].children for c in column.children]
    assert visited == list(shown_by.controls.values())
    assert list(shown_by.controls) == [field.name for field in fields(explorer.Settings)]


@pytest.mark.long
def test_the_notebook_opens_the_committed_network_and_saves_its_first_picture(house):
    only = {"networks": ["all-views"]}
    run = runs.execute("explorer", parameters={"mask": "brightest"} | only)
    assert run.status == "completed", run.error
    assert run.figure("panel").stat().st_size > 10_000
    (trained,) = (house / "runs").glob("*-02_training-all-views")
    assert run.parents == [trained.name]
    metrics = run.metrics
    assert metrics["settings"]["network"] == "all-views"
    assert max(metrics["probabilities"], key=metrics["probabilities"].get) == "16QAM"
    assert metrics["estimated_snr_db"] == pytest.approx(10, abs=1.5)
    assert metrics["hidden_pixels"] > 0
    notebook = (run.folder / "notebook.ipynb").read_text()
    assert "application/vnd.jupyter.widget-view+json" in notebook
    assert "image/png" in notebook
    for refused in ({"networks": ["all-viws"]}, {"mask": "all"} | only):
        with pytest.raises(InputError, match=r"did you mean 'all-views'|'brightest'"):
            runs.execute("explorer", parameters=refused)


def test_the_notebook_begins_with_the_settings_that_the_library_has():
    declared = runs.parameters("explorer")
    first = explorer.Settings("receiver")
    assert {name: getattr(first, name) for name in vars(first) if name != "network"} == {
        name: declared[name].default for name in vars(first) if name != "network"
    }
    assert declared["networks"].default[0] == "receiver"
