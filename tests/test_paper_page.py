"""The paper as a web page, and the appendix that the runs' records make."""

import csv
import json
import re
from collections import Counter
from html.parser import HTMLParser
from importlib import metadata

import pytest
import typst
from paper_house import PROSE, House

from modsnr import paper
from modsnr.paper.pages import document_of, pandoc
from modsnr.paper.targets import for_typst, numbered

APPENDIX = """
See @sec:more, @tbl:commands, @tbl:data and @tbl:environment.

# More {#sec:more}

## Below

::: {#tbl:commands .wide}
{{table:commands}}

Commands.
:::

::: {#tbl:data .wide}
{{table:data}}

Data.
:::

::: {#tbl:environment}
{{table:environment}}

Machines.
:::
"""


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    return House(tmp_path)


class Page(HTMLParser):
    """What a page holds: elements with their attributes, and the text of its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.links: dict[str, str] = {}
        self._link: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "a":
            self._link = dict(attrs)["href"]

    def handle_endtag(self, tag):
        if tag == "a":
            self._link = None

    def handle_data(self, data):
        if self._link:
            self.links[self._link] = self.links.get(self._link, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def rows_of(table: str) -> list[list[str]]:
    with (paper.build("quick").parent / "tables" / f"{table}.csv").open(encoding="utf-8") as file:
        return list(csv.reader(file))


def test_every_link_of_the_page_leads_to_a_place_of_it_by_its_number(house):
    house.write(PROSE + APPENDIX)
    house.run(profile="quick")
    page = Page(paper.build("quick").with_suffix(".html").read_text("utf-8"))
    places = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    inner = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert inner <= places
    texts = {link: "".join(text.split()) for link, text in page.links.items()}
    assert texts["#fig:views"] == "Fig.1"
    assert texts["#tbl:published"] == "Table1"
    assert texts["#tbl:environment"] == "Table5"
    assert texts["#eq:unit"] == "Eq.1"
    assert texts["#sec:more"] == "2MoreSection2"  # of the contents, of the text
    assert texts["#below"] == "2.1Below"
    assert texts["#ref-kendall2018multi"] == "[1]"


def test_the_page_counts_figures_and_tables_as_the_pdf_does(house):
    pair = "![](figures/views.pdf) ![](figures/views.pdf)"
    wide = f"\n\n@fig:pair\n\n::: {{#fig:pair .wide}}\n{pair}\n\nA pair.\n:::\n"
    house.write(PROSE + APPENDIX + wide)
    house.run(profile="quick")
    page = Page(paper.build("quick").with_suffix(".html").read_text("utf-8"))
    assert [image["src"] for image in page.all("img")] == ["figures/views.png"] * 3
    assert {"id": "fig:pair", "class": "wide"} in page.all("figure")
    document = document_of((house.paper / "PAPER.md").read_text(encoding="utf-8"))
    text = pandoc(json.dumps(for_typst(document, "/build/quick")), "json", "typst")
    numbering = '#set heading(numbering: "1")\n#set math.equation(numbering: "(1)")\n'
    asked = {"root": str(house.paper), "field": "label"}
    labels = json.loads(typst.query(f"{numbering}{text}".encode(), "figure", **asked))
    seen = Counter()
    for label in labels:
        name = label.strip("<>")
        seen[name[:3]] += 1
        assert numbered(document)[name] == str(seen[name[:3]])
    assert seen == {"fig": 2, "tbl": 5}


def test_the_page_holds_the_numbers_tables_and_formulas_and_needs_only_its_figures(house):
    house.canonical(profile="quick")
    path = paper.build().with_suffix(".html")
    text = path.read_text("utf-8")
    page = Page(text)
    assert [image["src"] for image in page.all("img")] == ["figures/views.png"]
    assert (path.parent / "figures" / "views.png").exists()
    assert page.all("img")[0]["alt"] == "A caption with 50.0%."
    assert not page.all("script")
    assert not page.all("link")
    assert "Joint accuracy is 50.0% (50.0, −25.0 to 75.0)" in text
    assert not re.search(r"\{\{|\{#|url\(", text)
    assert '<td style="text-align: right;">−12.5%</td>' in text
    assert '<math display="block"' in text
    assert "Multi-Task Learning" in text.split("References</h1>")[1]
    mark = "quick profile: not the canonical results"
    assert mark in paper.build("quick").with_suffix(".html").read_text("utf-8")
    assert mark not in text


def test_runs_behind_the_papers_own_stand_together_by_notebook_and_sweep(house):
    frames = house.run(1, notebook="01_preprocessing", name="frames", profile="quick")
    seeds = [
        house.run(
            2 + seed,
            notebook="02_training",
            name=f"net-{seed}",
            profile="quick",
            command=f"modsnr run 02_training --name net-{seed} -p seed {seed}",
            parameters={"seed": seed, "epochs": 2},
            changed=["epochs", "seed"],
            seeds={"seed": seed},
            parents=[frames],
        )
        for seed in (0, 1)
    ]
    sweep = {"name": "wide", "trial": 0}
    trial = house.run(5, notebook="02_training", name="trial", profile="quick", sweep=sweep)
    lost = "20240101T000000Z-02_training-lost"
    of_paper = house.run(6, profile="quick", parents=[*seeds, trial, lost])
    commit = "0123456789ab"
    assert rows_of("runs")[1:] == [
        ["evaluation", of_paper, commit, "", "2.0"],
        ["01_preprocessing, profile quick", frames, commit, "", "2.0"],
        ["02_training, profile quick", f"{seeds[0]} and 1 more", commit, "0, 1", "4.0"],
        ["02_training, sweep wide", trial, commit, "", "2.0"],
        ["not under runs/", lost, "", "", ""],
    ]
    commands = {row[0]: row[1:] for row in rows_of("commands")}
    several = ["modsnr run 02_training --name ...", "epochs=2; seed=*"]
    assert commands["02_training, profile quick"] == several


GRID = {"snr_low_db": -20, "snr_high_db": 30, "snr_step_db": 2, "samples": 1024, "seed": 1}
AIR = {"channel": "coloured_noise", "apsk_geometry": "", "samples_per_symbol": 8}
AIR |= {"source": "simulator", "rolloff_low": 0.1, "rolloff_high": 0.4}


def test_the_table_of_frames_has_their_grid_their_parts_and_their_hashes(house):
    def made(hour, content, **parameters):
        return house.run(
            hour,
            notebook="01_preprocessing",
            name="frames",
            profile="quick",
            parameters=GRID | parameters,
            data={"name": "store", "sha256": content * 64},
        )

    simulated = made(1, "c", **AIR)
    parts = {"train": 1500, "validation": 20, "test": 30}
    house.metrics(simulated, frames=parts, modulations=17, split_hash="5" * 64)
    of_file = made(2, "d", source="gold.hdf5")
    house.metrics(of_file, source="RadioML 2018.01A", modulations=24)
    again = [made(3, "e", **AIR), made(4, "e", **AIR)]  # alike: one line
    house.run(5, profile="quick", parents=[simulated, of_file, *again])
    first, second, *others = rows_of("data")[1:]
    assert first == [
        *("store", "17", "−20:2:30", "1,024", "8", "coloured noise", "dvb", "0.1–0.4"),
        *("1,500", "20", "30", "1", "5" * 12, "c" * 12),
    ]
    assert second[2:8] == ["−20 to 30", "1,024", "–", "RadioML 2018.01A", "–", "–"]
    assert [row[-1] for row in others] == ["e" * 12]


def test_machines_are_listed_with_their_hours_and_versions_once(house):
    numpy = {"python": "3.11.7", "numpy": "2.4.6"}
    older = house.run(
        1,
        notebook="02_training",
        name="net",
        profile="quick",
        versions=numpy | {"numpy": "1.26.4"},
        hardware={"cpu": "CPU", "cores": 2, "memory_gb": 25.3, "gpus": ["GPU"]},
        wall_seconds=7200.0,
    )
    house.run(
        2,
        profile="quick",
        parents=[older],
        versions=numpy,
        hardware={"system": "Debian", "cpu": "CPU", "cores": 2, "memory_gb": 25.3},
        wall_seconds=1800.0,
    )
    *found, pandoc_, typst_ = rows_of("environment")[1:]
    assert pandoc_[0] == "pandoc"
    assert typst_ == ["typst-py", f"{metadata.version('typst')} (this paper)"]
    assert found == [
        ["CPU, 2 cores, 25.3 GB", "1 run, 0.5 hours"],
        ["CPU, 2 cores, 25.3 GB, GPU", "1 run, 2.0 hours"],
        ["operating system", "Debian"],
        ["python", "3.11.7"],
        ["numpy", "2.4.6, 1.26.4"],
    ]
