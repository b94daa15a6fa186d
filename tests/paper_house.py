"""A small repository with a paper and runs, for the tests of the paper."""

import json
import shutil
from datetime import datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import yaml

from modsnr import paper

REPOSITORY = Path(__file__).parents[1]
HEADER = "---\ntitle: A test\nauthor: Nobody\nabstract: Nothing.\n---\n\n# Body\n\n"
PROSE = """\
Joint accuracy is {{joint}} ({{interval}}) after {{minutes}} minutes, against {{const:study}}
[@kendall2018multi]. See @fig:views, @tbl:published, @tbl:runs and @eq:unit of 16QAM by ResNet50.

$$ x^2 = 1 $$ {#eq:unit}

![A caption with {{joint}}.](figures/views.pdf){#fig:views}

::: {#tbl:published .wide}
{{table:published}}

What was published.
:::

::: {#tbl:runs}
{{table:runs}}

The runs.
:::

# References {.unnumbered}

::: {#refs}
:::
"""
SOURCES = {
    "runs": {"evaluation": {"notebook": "03_evaluation", "name": "evaluation", "run": None}},
    "numbers": {
        "joint": {"run": "evaluation", "key": "models/ours/joint/value", "format": "{:.1%}"},
        "interval": {
            "run": "evaluation",
            "key": "models/ours/joint",
            "format": "{:.1f}, {low:.1f} to {high:.1f}",
            "scale": 100,
        },
        "minutes": {
            "run": "evaluation",
            "source": "run",
            "key": "wall_seconds",
            "format": "{:.0f}",
            "scale": 1 / 60,
        },
    },
    "tables": {
        "published": {
            "run": "evaluation",
            "table": "published",
            "columns": {"what": "Quantity", "share": "Ours"},
            "formats": {"share": "{:.1%}"},
            "words": {"joint": "both"},
        }
    },
    "figures": {"views": {"run": "evaluation", "figure": "views"}},
    "constants": {"study": {"value": 0.4865, "format": "{:.2%}", "source": "the study"}},
}
METRICS = {"models": {"ours": {"joint": {"value": 0.5, "low": -0.25, "high": 0.75}}, "bad": None}}


@cache
def figure(kind: str) -> bytes:
    """Return a figure as a file of this kind."""
    drawn, axes = plt.subplots(figsize=(3, 2))
    axes.plot([0, 1])
    drawn.savefig(buffer := BytesIO(), format=kind)
    plt.close(drawn)
    return buffer.getvalue()


class House:
    """A small repository with a paper and runs, in a folder of the test."""

    def __init__(self, root: Path) -> None:
        self.root, self.paper = root, root / "paper"
        self.paper.mkdir()
        for name in ("template.typ", "template.html", "numeric.csl"):
            shutil.copy(REPOSITORY / "paper" / name, self.paper)
        bibliography = (REPOSITORY / "paper" / "references.bib").read_text("utf-8").split("\n@")
        (entry,) = (entry for entry in bibliography if "{kendall2018multi," in entry)
        self.bibliography = f"@{entry}"
        self.write()
        for name in ("quick", "gpu"):
            self.profile(name)

    def write(self, prose: str = PROSE, **changes) -> None:
        sources = SOURCES | changes
        (self.paper / "references.bib").write_text(self.bibliography, encoding="utf-8")
        (self.paper / "PAPER.md").write_text(HEADER + prose, encoding="utf-8")
        (self.paper / "sources.yaml").write_text(
            yaml.safe_dump(sources, sort_keys=False), encoding="utf-8"
        )

    def add(self, alias: str, entry: dict, key: str, form: str = "{:.0%}") -> None:
        """Add a run to the sources, and a number of it to the prose."""
        number = {"run": alias, "key": key, "format": form}
        self.write(
            PROSE + "\nAnd {{added}} besides.\n",
            runs=SOURCES["runs"] | {alias: entry},
            numbers=SOURCES["numbers"] | {"added": number},
        )

    def record(self, profile: str | None = None) -> dict:
        """Build the paper and return the record of its numbers."""
        built = paper.build(profile).with_name("numbers.yaml")
        return yaml.safe_load(built.read_text(encoding="utf-8"))

    def profile(self, name: str, *pipeline: dict) -> None:
        """Write a profile, and the notebooks of its pipeline."""
        folder = self.root / "notebooks" / "profiles"
        folder.mkdir(parents=True, exist_ok=True)
        content = {"description": "A test.", "pipeline": [*pipeline]}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        for step in pipeline:
            shutil.copy(REPOSITORY / "notebooks" / f"{step['notebook']}.ipynb", folder.parent)

    def run(self, hour: int = 1, *, joint: float = 0.5, **changes) -> str:
        """Write the folder of a run, so many hours into a month, and return its id."""
        began = datetime(2024, 1, 2) + timedelta(hours=hour)
        names = {"notebook": "03_evaluation", "name": "evaluation"} | changes
        facts = {
            "id": f"{began:%Y%m%dT%H%M%SZ}-{names['notebook']}-{names['name']}",
            "profile": "study",
            "status": "completed",
            "git": {"commit": "0123456789abcdef", "dirty": False},
            "started": f"{began.isoformat()}+00:00",
            "wall_seconds": 120.0,
        } | names
        folder = self.root / "runs" / facts["id"]
        for part in ("figures", "tables"):
            (folder / part).mkdir(parents=True)
        metrics = json.loads(json.dumps(METRICS))
        metrics["models"]["ours"]["joint"]["value"] = joint
        (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
        (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        (folder / "tables" / "published.csv").write_text(
            f"what,left out,share\njoint,x,{joint}\nmodulation,x,-0.125\n", encoding="utf-8"
        )
        for kind in ("pdf", "png"):
            (folder / "figures" / f"views.{kind}").write_bytes(figure(kind))
        return facts["id"]

    def metrics(self, identity: str, **more) -> None:
        """Add to the metrics of a run."""
        path = self.root / "runs" / identity / "metrics.json"
        before = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(before | more), encoding="utf-8")

    def canonical(self, **changes) -> str:
        """Write a run and name it in the sources."""
        identity = self.run(**changes)
        entry = SOURCES["runs"]["evaluation"] | {"run": identity}
        self.write(runs={"evaluation": entry})
        return identity
