"""The paper follows its runs, and nothing but its runs."""

import hashlib
import shutil
from pathlib import Path

import pytest
from paper_house import PROSE, REPOSITORY, SOURCES, House

from modsnr import InputError, paper, signals
from modsnr.diagrams import aligning, views
from modsnr.paper.building import RESULTS_BEGIN, RESULTS_END


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    return House(tmp_path)


def contents(folder: Path, part: str = "") -> dict[str, str]:
    within = folder / part
    files = (path for path in (within, *sorted(within.rglob("*"))) if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_the_papers_own_prose_and_sources_agree(monkeypatch):
    monkeypatch.delenv("MODSNR_ROOT", raising=False)
    paper.check()


def test_facts_of_the_library_are_what_it_holds(monkeypatch):
    monkeypatch.delenv("MODSNR_ROOT", raising=False)
    facts, air = paper.constants(), signals.Channel()
    assert facts["classes"] == ", ".join(signals.STUDY_CLASSES)
    assert facts["carrier_offset"] == air.carrier_offset_std
    assert facts["clock_offset"] == air.clock_offset_std
    assert facts["rolloff"] == "{} to {}".format(*air.rolloff_range)
    assert facts["samples_per_symbol"] == air.samples_per_symbol
    assert (facts["residual_centre"], facts["residual_rim"]) == views.RESIDUAL_DB
    assert facts["stop_band"] == views.STOP_BAND
    assert facts["matched_rolloff"] == views.MATCHED_ROLLOFF
    assert facts["carrier_reach"] == aligning.REACH
    assert facts["extent"] == views.EXTENTS["constellation"]
    synchronised = views.EXTENTS["synchronised"]
    assert facts["extent_synchronised"] == synchronised == views.EXTENTS["aligned"]


@pytest.mark.long
def test_the_committed_paper_is_what_its_runs_make(tmp_path, monkeypatch):
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    shutil.copytree(REPOSITORY / "paper", tmp_path / "paper", ignore=lambda *_: ["build"])
    shutil.copy(REPOSITORY / "README.md", tmp_path)
    for folder in ("runs", "notebooks"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    assert paper.build().read_bytes().startswith(b"%PDF")
    # The PDF, the page and the environment's table change with pandoc and typst.
    for part in ("numbers.yaml", "figures", "tables/runs.csv", "tables/commands.csv"):
        assert contents(tmp_path / "paper", part) == contents(REPOSITORY / "paper", part), part
    assert (tmp_path / "README.md").read_text() == (REPOSITORY / "README.md").read_text()


@pytest.mark.parametrize(
    ("added", "fault"),
    [
        ("As @fig:unheard shows.", "label `<fig:unheard>` does not exist"),
        ("In @sec:unheard it is.", "label `<sec:unheard>` does not exist"),
        ("# No number {#sec:none .unnumbered}\n\n@sec:none", "cannot reference heading"),
        ("It is known [@unheard2020].", "unheard2020"),
    ],
)
def test_what_typst_cannot_set_is_refused_and_all_files_are_as_before(house, added, fault):
    entry = SOURCES["runs"]["evaluation"] | {"run": house.canonical()}
    house.write(PROSE + "\n\n" + added, runs={"evaluation": entry})
    before = contents(house.root)
    with pytest.raises(InputError, match=rf"typst cannot set PAPER\.pdf: .*{fault}"):
        paper.build()
    assert contents(house.root) == before


def test_two_builds_from_the_same_runs_give_the_same_bytes(house):
    house.canonical()
    pdf = paper.build()
    assert pdf == house.paper / "PAPER.pdf"
    assert pdf.read_bytes().startswith(b"%PDF")
    assert b"(D:20240102000000Z)" in pdf.read_bytes()  # the date of the newest run
    first = contents(house.paper)
    (house.paper / "figures" / "old.pdf").touch()
    pdf.unlink()
    paper.build()
    assert contents(house.paper) == first


def test_numbers_are_recorded_with_the_run_and_key_they_come_from(house):
    identity = house.canonical()
    record = house.record()
    assert record["runs"] == {"evaluation": identity}
    assert record["numbers"]["joint"] == {
        "printed": "50.0%",
        "value": 0.5,
        "run": identity,
        "key": "models/ours/joint/value",
    }
    assert record["numbers"]["interval"]["printed"] == "50.0, −25.0 to 75.0"
    assert record["numbers"]["minutes"]["printed"] == "2"
    assert record["constants"] == {"study": {"printed": "48.65%", "source": "the study"}}
    table = (house.paper / "tables" / "published.csv").read_text("utf-8")
    assert table.split() == ["Quantity,Ours", "both,50.0%", "modulation,−12.5%"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"git": {"commit": "0123456789", "dirty": True}}, "dirty"),
        ({"profile": "smoke"}, "smoke profile"),
        ({"status": "failed"}, "failed, not completed"),
        ({"git": None}, "dirty"),
        ({"notebook": "02_training"}, "missing under runs/, or of another name"),
        ({"name": "lost"}, "missing under runs/"),
    ],
)
def test_the_paper_refuses_runs_that_prove_nothing(house, changes, reason):
    identity = house.canonical(**changes)
    with pytest.raises(InputError, match=f"{identity} is .*{reason}"):
        paper.build()
    assert not (house.paper / "numbers.yaml").exists()


def test_an_alias_without_a_canonical_run_is_refused(house):
    with pytest.raises(InputError, match=r"'evaluation'.*no canonical run"):
        paper.build()


def test_a_draft_takes_the_latest_completed_run_of_its_profile(house):
    house.run(1, joint=0.1, profile="quick")
    latest = house.run(2, joint=0.2, profile="quick", git={"commit": "0" * 40, "dirty": True})
    house.run(3, joint=0.3, profile="quick", status="failed")
    house.run(4, joint=0.4, profile="study")
    assert paper.build("quick") == house.paper / "build" / "quick" / "PAPER.pdf"
    record = house.record("quick")
    assert record["runs"] == {"evaluation": latest}
    assert record["numbers"]["joint"]["printed"] == "20.0%"


def test_a_draft_leaves_the_committed_paper_untouched_and_differs_from_it(house):
    house.canonical(profile="quick")
    committed = paper.build().read_bytes()
    before = contents(house.paper)
    draft = paper.build("quick").read_bytes()
    after = {name: value for name, value in contents(house.paper).items() if "build" not in name}
    assert after == before
    assert draft != committed
    with pytest.raises(InputError, match=r"03_evaluation: no completed run of profile 'gpu'"):
        paper.build("gpu")
    with pytest.raises(InputError, match=r"no profile is called '\.\./figures'"):
        paper.build("../figures")


TRAINED = {"notebook": "02_training", "name": "all-views", "run": None}


def test_runs_of_different_origin_are_not_mixed(house):
    trained = {"name": TRAINED["name"], "notebook": TRAINED["notebook"], "profile": "quick"}
    older, newer = house.run(1, **trained), house.run(3, **trained)
    house.add("trained", TRAINED, "models/ours/joint")
    identity = house.run(4, profile="quick", parents=[older])
    with pytest.raises(InputError, match=f"{identity}, rests on {older}, the paper on {newer}"):
        paper.build("quick")
    house.run(5, profile="quick", parents=[newer])
    assert paper.build("quick").exists()
    resumed = house.run(6, **trained, parents=[newer])  # the same training, a piece later
    house.run(7, profile="quick", parents=[resumed])
    assert paper.build("quick").exists()


def test_frames_that_were_made_again_alike_are_of_one_origin(house):
    frames = {"notebook": "01_preprocessing", "name": "frames"}
    house.add("frames", frames | {"run": None}, "models/ours/joint")
    given = {"snr_low_db": 0, "snr_high_db": 30, "source": "gold.hdf5"}
    made = frames | {"profile": "quick", "parameters": given}
    older, newer, other = (
        house.run(hour, **made, data={"name": "store", "sha256": content * 64})
        for hour, content in ((1, "a"), (2, "a"), (4, "b"))
    )
    house.run(3, profile="quick", parents=[older])
    with pytest.raises(InputError, match=f"rests on {older}, the paper on {other}"):
        paper.build("quick")
    shutil.rmtree(house.root / "runs" / other)
    assert house.record("quick")["runs"]["frames"] == newer


def test_a_draft_takes_runs_aside_from_the_canonical_ones(house):
    house.profile("quick", {"notebook": "03_evaluation", "name": "evaluation"})
    canonical = house.run(1, name="all-views", notebook="02_training", joint=0.75)
    trained = TRAINED | {"run": canonical, "aside": True}
    house.add("trained", trained, "models/ours/joint")
    draft = house.run(2, profile="quick")
    record = house.record("quick")
    assert record["runs"] == {"evaluation": draft, "trained": canonical}
    assert record["numbers"]["added"]["printed"] == "75%"
    assert paper.lacks("quick") == []
    page = (paper.build("quick").parent / "PAPER.html").read_text("utf-8")
    assert "And 75%† besides." in page  # told apart from what the draft's own runs say
    assert page.count("†") == 2  # the other is the banner's, which explains it


def test_a_draft_takes_no_run_of_its_own_for_that_of_another_profile(house):
    canonical = house.run(1, name="all-views", notebook="02_training", joint=0.75, profile="gpu")
    house.run(2, name="all-views", notebook="02_training", joint=0.25, profile="quick")
    later = house.run(3, name="all-views", notebook="02_training", joint=0.5, profile="gpu")
    trained = TRAINED | {"run": canonical, "profile": "gpu"}
    house.add("trained", trained, "models/ours/joint")

    for hour, profile in ((4, "quick"), (5, "gpu")):
        house.run(hour, profile=profile)
    drafts = {profile: house.record(profile) for profile in ("quick", "gpu")}
    assert drafts["quick"]["runs"]["trained"] == canonical
    assert drafts["gpu"]["runs"]["trained"] == later
    assert drafts["gpu"]["numbers"]["added"]["printed"] == "50%"
    house.add("trained", trained | {"profile": "study"}, "models/ours/joint")
    with pytest.raises(InputError, match=f"{canonical} is of profile gpu, not study"):
        paper.build("quick")


def test_the_readme_holds_the_results_of_the_canonical_runs(house):
    identity = house.canonical(joint=0.625)
    entry = SOURCES["runs"]["evaluation"] | {"run": identity}
    house.write(runs={"evaluation": entry}, readme="Joint **{{joint}}**, study {{const:study}}.")
    readme = house.root / "README.md"
    readme.write_text("no marks", encoding="utf-8")
    with pytest.raises(InputError, match=r"README\.md lacks the lines <!-- results"):
        paper.build()
    around = f"# A\n\n{RESULTS_BEGIN}{{}}{RESULTS_END}\n\nThe rest.\n"
    readme.write_text(around.format("old"), encoding="utf-8")
    paper.build()
    between = "\n\nJoint **62.5%**, study 48.65%.\n\n"
    assert readme.read_text("utf-8") == around.format(between)


@pytest.mark.parametrize(
    ("added", "fault"),
    [
        ("It is {{unheard}}.", r"\{\{unheard\}\} is not in sources.yaml"),
        ("It is {{const:unheard}}.", r"\{\{const:unheard\}\} is not in sources.yaml"),
        ("It is 48.65 by hand.", "'48.65' .* typed by hand"),
        ("It is **51%** by hand.", "'51%' .* typed by hand"),
        ("It takes 12ms by hand.", "typed by hand"),
        ("It falls by -3 by hand.", "typed by hand"),
        ("It has 1,024 samples.", "'1,024' .* typed by hand"),
        ("| a |\n|---|\n| 0.5 |\n", "'0.5' .* typed by hand"),
        ("It is [51%](https://example.org) by hand.", "'51%' .* typed by hand"),
        ("![Cap., 51%, of @fig:again.](figures/views.pdf){#fig:again}", "'51%' .* typed by hand"),
        (r"It is $48.65\,\%$ by formula.", "'48.65' stands in the formula"),
        ("It is $x = 93$ by formula.", "'93' stands in the formula"),
        ("It is $x = {{joint}}$.", "stands in the formula"),
        ("$$ x = y $$", "a formula on display has no"),
        ("A <b>bold</b> word.", "'<b>' is html: one of the two pages would lack it"),
        ("![Cap.](figures/other.pdf){#fig:o} @fig:o", "figures/other.pdf must stand alone"),
        ("![C.](figures/other.pdf){#fig:o}\n\n@fig:o", "figures/other.pdf is no figure"),
        ("In a line: {{table:published}} it is.", None),
    ],
)
def test_prose_that_disagrees_with_its_sources_is_refused(house, added, fault):
    house.write(PROSE + "\n\n" + added)
    if fault is None:
        house.write(PROSE.replace("\n{{table:published}}\n", "\nIn a line {{table:published}}\n"))
        fault = "must stand alone in its"
    with pytest.raises(InputError, match=fault):
        paper.check()


@pytest.mark.parametrize(
    "harmless",
    [
        "Both 16QAM and 128APSK, ResNet50, DVB-S2X, `0.5`, $x_1 + 2$.",
        "A page [see there](https://example.org/48.65).",
        "A ratio of $10 \\log_{10} x^2$.",
        "```\nx = 48.65\n```",
    ],
)
def test_names_code_formulas_and_links_may_hold_digits(house, harmless):
    house.write(PROSE + "\n\n" + harmless)
    paper.check()


@pytest.mark.parametrize(
    ("part", "name", "change", "fault"),
    [
        ("numbers", "spare", {}, "spare of sources.yaml is not used"),
        ("constants", "spare", {}, "const:spare of sources.yaml is not used"),
        ("tables", "spare", {}, "table:spare of sources.yaml is not used"),
        ("figures", "spare", {}, "figures/spare.pdf of sources.yaml is not shown"),
        ("runs", "spare", {}, "run spare of sources.yaml is not used"),
        ("numbers", "joint", {"run": "unheard"}, r"run unheard is not in sources\.yaml"),
        ("tables", "published", {"run": "unheard"}, r"run unheard is not in sources\.yaml"),
        ("numbers", "joint", {"kye": "x"}, r"numbers\.joint\.kye"),
    ],
)
def test_a_source_that_is_unused_incomplete_or_misspelt_is_refused(
    house, part, name, change, fault
):
    like = next(iter(SOURCES[part].values()))
    house.write(**{part: SOURCES[part] | {name: like | change}})
    with pytest.raises(InputError, match=fault):
        paper.check()


def test_the_readmes_results_come_from_the_sources_alone(house):
    house.write(readme="{{unknown}} and 49 %")
    with pytest.raises(InputError, match=r"(?s)'49'.*typed by hand.*unknown.*is not in"):
        paper.check()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"key": "models/theirs/joint"}, "has no models/theirs/joint; .* theirs, ours, bad"),
        ({"key": "models/bad"}, "models/bad of .* is None"),
        ({"key": "models/ours"}, "cannot be printed as '{:.1%}'"),
        ({"key": "models/ours", "scale": 100}, "no number to be scaled"),
        ({"key": "models/ours/joint", "format": "{median}"}, "cannot be printed as '{median}'"),
    ],
)
def test_a_number_that_a_run_does_not_hold_is_named_with_run_and_key(house, change, fault):
    identity = house.run(profile="quick")
    numbers = SOURCES["numbers"] | {"joint": SOURCES["numbers"]["joint"] | change}
    house.write(numbers=numbers)
    with pytest.raises(InputError, match=f"{fault}") as caught:
        paper.build("quick")
    assert identity in str(caught.value)


def test_a_figure_or_column_that_a_run_does_not_hold_is_named(house):
    identity = house.run(profile="quick")
    house.write(tables={"published": SOURCES["tables"]["published"] | {"columns": {"who": "Who"}}})
    with pytest.raises(InputError, match=r"published\.csv of .* has no column .*'who'"):
        paper.build("quick")
    house.write()
    (house.root / "runs" / identity / "figures" / "views.pdf").unlink()
    with pytest.raises(InputError, match=r"no file of run .* is called 'figures/views\.pdf'"):
        paper.build("quick")
