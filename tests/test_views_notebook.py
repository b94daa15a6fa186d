"""07 tells what one choice alone does, and what seeds say of a claim, on toys of known errors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from notebook_runs import done, write_record

from modsnr import InputError, limits, metrics, runs, signals, sweeps

ROOT = Path(__file__).parents[1]
CLASSES, GRID, EACH = ("BPSK", "16QAM"), (0.0, 10.0, 20.0, 30.0), 40
VIEWS = ("constellation", "synchronised", "aligned", "residual")


class House:
    """A folder of notebooks and toy runs."""

    def __init__(self, root):
        self.root = root

    def record(self, notebook, name, parameters, **fields):
        fields = {"notebook": notebook, "parameters": parameters, "profile": "views"} | fields
        return write_record(self.root, name, **fields)

    def frames(self, name, **made):
        parameters = {"name": name, "samples": 1024, "samples_per_symbol": 8, "seed": 1}
        parameters |= {"rolloff_low": 0.1, "rolloff_high": 0.4, "frames": name} | made
        return self.record("01_preprocessing", name, parameters).id

    def trained(self, name, on, *, data="of frames", wrong=0.0, stuck=False, **chosen):
        """A run whose SNR is a step off in a share of the frames of each cell, or stuck on one
        SNR, and whose modulation is wrong in every fourth frame."""
        modulation = np.repeat([0, 1], len(GRID) * EACH)
        snr_db = np.tile(np.repeat(GRID, EACH), 2).astype(np.float32)
        place = np.tile(np.arange(EACH), 2 * len(GRID))
        step = np.where(snr_db < 15, 10, -10) * (place < wrong * EACH)
        run = self.record(
            "02_training",
            name,
            {"frames": on, "views": ["constellation"], "bins": 64, "seed": 0} | chosen,
            parents=[on],
            data={"name": on, "sha256": data},
        )
        np.savez(
            run.folder / "predictions.npz",
            modulation=modulation,
            snr_db=snr_db,
            predicted_modulation=np.where(place % 4 == 0, 1 - modulation, modulation),
            predicted_snr_db=np.full_like(snr_db, 20) if stuck else snr_db + step,
            classes=CLASSES,
            grid_db=GRID,
        )
        return run.id


@pytest.fixture
def house(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    return House(tmp_path)


@pytest.fixture
def compared(house):
    """Runs of a known effect each: id by name."""
    frames = house.frames("frames")
    short = house.frames("short", samples=256)
    slow = house.frames("slow", samples_per_symbol=16)
    ids = {"constellation": house.trained("constellation", frames, wrong=0.5)}
    for name, chosen in {
        "bins-512": {"bins": 512, "wrong": 0.25},
        "bins-32": {"bins": 32, "wrong": 0.75},
        "extent-1.5": {"extent": 1.5, "wrong": 0.6},
        "residual": {"views": ["residual"]},
        "two": {"views": ["constellation", "residual"], "wrong": 0.1},
        "all": {"views": list(VIEWS)},
        "bins-and-extent": {"bins": 128, "extent": 4.5},
    }.items():
        ids[name] = house.trained(name, frames, **chosen)
    ids["short"] = house.trained("short", short, data="of short", wrong=0.7)
    ids["slow"] = house.trained("slow", slow, data="of slow", wrong=0.3)
    for seed in (0, 1, 2):
        more = {"seed": seed, "wrong": 0.5 + 0.025 * seed}
        if seed:
            ids[f"power-{seed}"] = house.trained(f"power-{seed}", frames, **more)
        more["wrong"] = 0.875 + 0.025 * seed
        ids[f"max-{seed}"] = house.trained(f"max-{seed}", frames, normalization="max", **more)
        head = {"snr_head": "classification", "stuck": True, "seed": seed}
        ids[f"class-{seed}"] = house.trained(f"class-{seed}", frames, **head)
    return ids


# Choices


def test_a_choice_is_told_by_the_runs_that_differ_in_it_alone(compared):
    choices = sweeps.choices("views")
    base = compared["constellation"]
    assert sweeps.alone(choices, base, "bins") == {
        "32": compared["bins-32"],
        "64": base,
        "512": compared["bins-512"],
    }
    assert sweeps.alone(choices, base, "samples") == {"256": compared["short"], "1024": base}
    assert sweeps.alone(choices, base, "samples_per_symbol") == {"8": base, "16": compared["slow"]}
    assert sweeps.alone(choices, base, "views") == {
        "constellation": base,
        "residual": compared["residual"],
        "constellation + residual": compared["two"],
        " + ".join(VIEWS): compared["all"],
    }
    assert sweeps.alone(choices, base, "dropout") == {"0.1": base}
    both = sweeps.alone(choices, compared["bins-and-extent"], "bins")
    assert both == {"128": compared["bins-and-extent"]}
    assert sweeps.repeats(choices, base, "normalization") == {
        "power": {0: compared["constellation"], **{s: compared[f"power-{s}"] for s in (1, 2)}},
        "max": {seed: compared[f"max-{seed}"] for seed in (0, 1, 2)},
    }


def test_a_run_on_other_frames_is_no_comparison_and_the_newest_of_two_is_taken(compared, house):
    base, frames = compared["constellation"], "frames"
    house.trained("elsewhere", house.frames(frames), data="written anew", bins=256)
    older = sweeps.alone(sweeps.choices("views"), base, "bins")
    assert "256" not in older
    parent = runs.find("frames", notebook="01_preprocessing").id
    newer = house.trained("bins-512", parent, bins=512)
    twin = house.trained("constellation", parent)
    found = sweeps.alone(sweeps.choices("views"), base, "bins")
    assert found == older | {"512": newer}
    assert sweeps.alone(sweeps.choices("views"), twin, "bins")["64"] == twin


def test_runs_of_other_profiles_or_without_an_end_are_left_out(compared, house):
    frames = runs.find("frames", notebook="01_preprocessing").id
    for fields in ({"profile": "other"}, {"status": "failed"}):
        house.record("02_training", "x", {"frames": "frames"}, parents=[frames], **fields)
    assert set(sweeps.choices("views").run) == set(compared.values())
    assert len(sweeps.choices()) == len(compared) + 1


def test_what_cannot_be_compared_is_refused_with_a_reason(compared, house):
    choices = sweeps.choices("views")
    with pytest.raises(InputError, match=r"no choice 'bin'; they have: .*bins"):
        sweeps.alone(choices, compared["constellation"], "bin")
    with pytest.raises(InputError, match=r"baseline 'nobody' is not among the \d+ runs"):
        sweeps.alone(choices, "nobody", "bins")
    house.trained("orphan", "20250101T000000Z-01_preprocessing-gone")
    with pytest.raises(InputError, match=r"orphan was trained on frames whose run .* is not here"):
        sweeps.choices("views")


# Claims


def test_the_interval_over_seeds_is_students_and_one_seed_decides_nothing():
    # 1, 2, 3: mean 2, s = 1, t(0.975, 2) = 4.302653, over the root of 3.
    found = sweeps.students_interval([1.0, 2.0, 3.0])
    assert (found["value"], found["deviation"], found["runs"]) == (2, 1, 3)
    assert found["high"] - 2 == pytest.approx(4.302652729911275 / 3**0.5)
    assert 2 - found["low"] == pytest.approx(found["high"] - 2)
    one = sweeps.students_interval([0.9])
    assert metrics.verdict(one, above=0) == metrics.verdict(one, above=0, below=2) == "not decided"
    for values in ([], [0.5, np.nan]):
        with pytest.raises(InputError, match="needs runs with a finite value"):
            sweeps.students_interval(values)


# The notebook


def test_07_tells_each_toy_what_was_built_into_it(compared, house):
    run = done("07_views", "toys", low_to_db=0, high_from_db=30, whole="all")
    told = run.metrics
    factors = told["factors"]
    expected = {"bins": {"32": 0.25, "64": 0.5, "512": 0.75}, "extent": {"1.5": 0.4, "3": 0.5}}
    for factor, shares in expected.items():
        found = {k: of["snr_accuracy"]["value"] for k, of in factors[factor].items()}
        assert found == pytest.approx(shares)
    assert factors["samples"]["256"]["at_db"]["30.0"]["value"] == pytest.approx(0.3)
    assert factors["samples"]["256"]["low"]["value"] == pytest.approx(0.3)
    assert set(factors["samples_per_symbol"]) == {"8", "16"}
    views = told["views"]
    assert views["residual"]["snr_accuracy"]["value"] == 1
    assert views["residual"]["joint_accuracy"]["value"] == pytest.approx(0.75)
    assert views["constellation + residual"]["snr_accuracy"]["value"] == pytest.approx(0.9)
    norm, hole = told["claims"]["normalisation"], told["claims"]["black_hole"]
    assert norm["power"]["snr_accuracy"]["value"] == pytest.approx(0.475)
    assert norm["power_above_max"]["value"] == pytest.approx(0.375)
    assert norm["power_above_max"]["verdict"] == "holds"
    # 0.125, 0.1, 0.075: mean 0.1, from 0.04 to 0.16.
    assert norm["max_as_in_the_study"]["verdict"] == "not decided"
    assert hole["classification"]["attractor_index"]["value"] == len(GRID)
    assert hole["classification_is_one"]["verdict"] == "holds"
    assert hole["classification_attracts_more"]["verdict"] == "holds"
    assert hole["regression_above_classification"]["value"] == pytest.approx(0.475 - 0.25)
    repeated = run.table("claims_runs")
    assert (repeated.attractor_snr_db[repeated.setting == "classification"] == 20).all()
    table = run.table("factors").set_index(["choice", "setting"])
    assert table["high: value"]["bins", "512"] == pytest.approx(0.75)
    shown = table.loc["views"].index.tolist()  # those of two or three in the ablation only
    assert shown == ["constellation", "residual", "all views"]
    assert run.table("ablation").views.tolist()[0] in ("residual", " + ".join(VIEWS))
    used = {id for name, id in compared.items() if name != "bins-and-extent"}
    assert set(run.parents) == used
    for name in ("accuracy_by_choice", "ablation", "claims_snr", "claims_attractor"):
        assert run.figure(name).stat().st_size > 5000
    # What is possible is that of 256 samples, which is less.
    alphabets = {name: signals.alphabet(name).numpy() for name in CLASSES}
    here = limits.possible_accuracy(GRID, alphabets, samples=256, samples_per_symbol=8)
    assert list(told["factors"]["samples"]["256"]["possible_at_db"].values()) == pytest.approx(here)


def test_07_asks_for_the_runs_that_its_claims_need(house):
    house.trained("constellation", house.frames("frames"))
    with pytest.raises(InputError, match="of profile views is called 'views-all'"):
        runs.execute("07_views")
    run = runs.execute("07_views", parameters={"whole": "constellation"})
    assert run.status == "failed"
    assert "'normalisation', 'black_hole'] lack runs: make them by" in (run.error or "")


# The profile, cut down


KEPT = ("frames", "constellation", "max-regression-0", "power-classification-0", "view-residual")
KEPT += ("constellation-extent-1.5", "views-all", "views-residual", "views")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """What the steps of the profile that are kept made of a handful of frames: runs by name."""
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    path = root / "notebooks" / "profiles" / "views.yaml"
    profile = yaml.safe_load(path.read_text())
    profile["notebooks"]["01_preprocessing"] |= {
        "classes": ["BPSK", "16QAM"], "snr_step_db": 10, "frames_per_cell": 16, "gallery_bins": 24,
        "train_fraction": 0.5, "validation_fraction": 0.25,
    }  # fmt: skip
    profile["notebooks"]["02_training"] |= {"epochs": 1, "batch_size": 16}
    profile["keep"] = ["constellation-extent-1.5"]
    profile["pipeline"] = [step for step in profile["pipeline"] if step["name"] in KEPT]
    path.write_text(yaml.safe_dump(profile))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODSNR_ROOT", str(root))
        yield {run.name: run for run in runs.reproduce("views")}


@pytest.mark.long
def test_the_profile_cut_down_runs_to_its_end(small):
    assert tuple(small) == KEPT
    told = small["views"].metrics
    assert set(told["factors"]["extent"]) == {"1.5", "3"}
    assert set(told["views"]) == {" + ".join(VIEWS), "residual"}
    verdicts = small["views"].table("claims")
    assert set(verdicts.verdict) == {"not decided"}  # as one seed decides nothing
    assert told["claims"]["normalisation"]["power_above_max"]["low"] is None
    shown = {
        "constellation": ("bins", "64"),
        "constellation-extent-1.5": ("extent", "1.5"),
        "view-residual": ("views", "residual"),
    }
    for name, (choice, setting) in shown.items():
        assert small[name].parents == [small["frames"].id]
        of_run = small[name].metrics["test"]["snr_accuracy"]
        assert told["factors"][choice][setting]["snr_accuracy"]["value"] == pytest.approx(of_run)
    one, other = (small[name].predictions()["predicted_snr_db"] for name in [*shown][:2])
    assert not np.array_equal(one, other)


@pytest.mark.long
def test_04_draws_at_the_extent_that_a_run_was_trained_at_and_old_runs_at_their_views_own(small):
    close = small["constellation-extent-1.5"]
    for name, extent in {"own": {"extent": 3.0}, "old": {}}.items():
        folder = close.folder.with_name(close.id.replace(close.name, name))
        shutil.copytree(close.folder, folder)
        told = json.loads((folder / "run.json").read_text())
        del told["parameters"]["extent"]
        told |= {"name": name, "parameters": told["parameters"] | extent}
        (folder / "run.json").write_text(json.dumps(told))
    quick = {"explained_frames": 32, "fractions": [0.1], "grouped_fraction": 0.1}
    told = done("04_explainability", "extents", models=[close.name, "own", "old"], **quick)
    told = told.metrics["models"]
    assert told["old"] == told["own"] != told[close.name]
