"""The house rules: who imports whom, how long a module is, what the set-up files agree on."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from modsnr import model, runs, training

ROOT = Path(__file__).parents[1]
LIB = ROOT / "lib" / "modsnr"
GROUND = {"files", "published"}  # which every module may import
MAY_IMPORT = {
    "receiver": {"signals"},
    "diagrams": {"signals", "receiver"},
    "model": {"diagrams"},
    "recordings": {"signals", "frames", "receiver"},
    "limits": {"signals"},
    "training": {"model", "metrics"},
    "explain": {"metrics"},
    "generalisation": {"metrics"},
    "networks": {"diagrams", "frames", "model", "receiver", "runs", "training"},
    "paper": {"runs"},
    "sweeps": {"runs", "workers", "metrics"},
    "classifier": {"signals", "receiver", "diagrams", "model", "recordings", "metrics", "figures"},
    "cli_classify": {"classifier", "model", "runs"},
    "__main__": {"cli"},
    "comparison": {"runs", "metrics"},
    "cli": {"runs", "paper", "sweeps", "workers", "comparison", "cli_classify"},
}
OF_NOTEBOOKS = {("network.py", "__init__")}  # JointNet takes what 02 declares, by name
MODULES = sorted(path for path in LIB.rglob("*.py") if path.name != "__init__.py")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def siblings_of(path: Path) -> set[str]:
    """Return the top-level modules of modsnr that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "modsnr":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("modsnr."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("modsnr.")}
    return {name for name in names if (LIB / f"{name}.py").exists() or (LIB / name).is_dir()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIB)))
def test_modules_import_only_the_siblings_that_the_design_allows(path):
    module = path.relative_to(LIB).parts[0].removesuffix(".py")
    assert siblings_of(path) <= MAY_IMPORT.get(module, set()) | GROUND | {module}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIB)))
def test_modules_and_functions_are_read_in_one_sitting(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 350
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name
            taken = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            counted = [argument.arg for argument in taken if argument.arg not in ("self", "cls")]
            own = is_command(node) or (path.name, node.name) in OF_NOTEBOOKS
            assert own or len(counted) <= 8, node.name


def is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function is a command of click's, whose parameters are its options."""
    return any(
        ".command(" in text or ".group(" in text for text in map(ast.unparse, node.decorator_list)
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIB)))
def test_no_underscored_name_crosses_a_modules_wall(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("modsnr"):
            assert not [alias.name for alias in node.names if re.match(r"_[^_]", alias.name)]


# Lines at most; the aim is 15,000 and 16,000, so these numbers rise for a promised feature only.
@pytest.mark.parametrize(("folder", "most"), [("lib", 24_469), ("tests", 22_073)])
def test_the_house_grows_no_thicker(folder, most):
    paths = [path for path in (ROOT / folder).rglob("*.py") if "api" not in path.parts]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths) <= most


def test_a_visitor_finds_few_runs_and_a_log_of_one_screen():
    tracked = subprocess.run(
        ["git", "ls-files", "runs"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    folders = {Path(name).parts[1] for name in tracked if len(Path(name).parts) > 2} - {"sweeps"}
    assert 0 < len(folders) <= 70
    assert {f"runs/{folder}/README.md" for folder in folders} <= set(tracked)
    assert (ROOT / "runs" / "RUNLOG.md").stat().st_size <= 25_000


def test_no_pickle_is_loaded_anywhere():
    loaders = re.compile(
        r"import pickle|from pickle|import _pickle|pickle\.loads?\b|pickle\.Unpickler|cloudpickle"
        r"|torch\.load|allow_pickle=True|joblib"
    )
    for path in [*LIB.rglob("*.py"), *NOTEBOOKS]:
        found = loaders.findall(path.read_text())
        # The reader of RadioML 2016 restricts Python's loader, and uses no loader as it is.
        own = path == LIB / "recordings" / "pickles.py"
        assert found == (["import pickle"] if own else []), path


def test_every_public_name_says_what_it_is():
    names = {path.relative_to(LIB).parts[0].removesuffix(".py") for path in MODULES}
    for name in sorted(names - {"__main__"}):
        module = importlib.import_module(f"modsnr.{name}")
        assert module.__doc__, name
        for key in getattr(module, "__all__", [key for key in vars(module) if key[0] != "_"]):
            of = getattr(module, key)
            if not (inspect.isfunction(of) or inspect.isclass(of)) or "modsnr" not in of.__module__:
                continue
            methods = vars(of).items() if inspect.isclass(of) else ()
            mute = [
                k for k, m in methods if k[0] != "_" and inspect.isfunction(m) and not m.__doc__
            ]
            assert inspect.getdoc(of), f"{name}.{key}"
            assert not mute, f"{name}.{key}: {mute}"


def test_what_the_guide_for_contributors_names_is_there():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    places = re.findall(r"`([\w.]+)`[^`|]*?(?: of | in |\()`(lib/[\w/]+\.py)`", guide)
    assert len(places) >= 8
    for name, path in places:
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), (name, path)
    for path in re.findall(r"`((?:lib|tests|notebooks|paper)/[\w/.]+)`", guide):
        assert (ROOT / path).exists(), path


def test_the_readme_is_read_in_two_minutes():
    assert (ROOT / "README.md").stat().st_size <= 7_000


def test_the_map_of_the_library_has_each_modules_own_first_sentence():
    entries = set((LIB.parent / "README.md").read_text(encoding="utf-8").splitlines())
    for path in MODULES:
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        sentence = " ".join(docstring.split("\n\n")[0].split())
        assert {f"- `{path.stem}`: {sentence}", sentence} & entries, path


def test_links_between_the_pages_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    pages += [ROOT / folder / "README.md" for folder in ("lib", "notebooks", "tests/benchmarks")]
    for page in pages:
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        assert not [link for link in links if not (page.parent / link).exists()], page


def requirement_name(line: str) -> str:
    return re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0].lower().replace("_", "-")


def test_the_lock_pins_every_direct_requirement_and_names_no_index():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[^ ]+( ; .+)?", line) for line in lines)
    assert {requirement_name(line) for line in wanted} <= {requirement_name(line) for line in lines}


def test_conda_environment_is_python_pip_the_lock_and_this_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert environment["name"] == project["name"]
    assert python == f"python{project['requires-python']},<3.13"
    assert pip == "pip"
    assert packages == {"pip": ["-c requirements.lock", "-e .[dev]"]}


def test_the_training_notebook_and_the_library_have_one_set_of_defaults():
    declared = {name: p.default for name, p in runs.parameters("02_training").items()}
    of_net = inspect.signature(model.JointNet).parameters
    for name, default in declared.items():
        if name in of_net and of_net[name].default is not inspect.Parameter.empty:
            assert default == of_net[name].default, name
        if name in vars(training.Recipe()):
            assert default == getattr(training.Recipe(), name), name
    assert set(vars(training.Recipe())) <= set(declared)  # no option is wired to nothing


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_short_stories_without_outputs_or_classes(path):
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    lines = [line for cell in code for line in cell.source.splitlines() if line.strip()]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    for cell in code:
        statements = [ast.unparse(statement) for statement in ast.parse(cell.source).body]
        assert len(statements) == len(set(statements)), cell.source  # nothing is done twice
    assert len(notebook.cells) <= 27
    assert len(lines) <= 175
    assert notebook.metadata.kernelspec.name == "python3"
    assert not re.search(r"^\s*(class|while)\b.*:$|savefig|#[0-9A-Fa-f]{6}", "\n".join(lines), re.M)


PROSE = [*NOTEBOOKS, *(ROOT / "notebooks").rglob("*.yaml"), ROOT / "README.md"]
PROSE += [ROOT / "notebooks/README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("path", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_programs_are_given_no_peoples_verbs(path):
    verbs = r"\b(?:told|tell|tells|said|say|says|ask|asks|asked|whence|befalls?)\b.{0,40}"
    assert re.findall(verbs, path.read_text(encoding="utf-8")) == []


def depth(node: ast.AST, above: int = 0) -> int:
    """Return how many loops of comprehensions stand within one another."""
    comprehensions = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    here = above + (len(node.generators) if isinstance(node, comprehensions) else 0)
    return max([here, *(depth(child, here) for child in ast.iter_child_nodes(node))])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_read_aloud(path):
    first, *cells = nbformat.read(path, 4).cells
    for words in (
        "Run the cells from the top.",
        "**Question.**",
        "**In:**",
        "**Out:**",
        "**Time:**",
    ):
        assert words in first.source
    assert cells[-1].source.startswith("**What it means.**")
    for cell in cells:
        lines, tags = cell.source.splitlines(), cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            continue
        if "more-parameters" in tags:
            assert cell.metadata.jupyter.source_hidden
        elif "parameters" in tags:
            assert "# Change values here" in cell.source
            assert sum(": " in line.split("=")[0] for line in lines) <= 16
        else:
            assert sum(bool(line.strip()) for line in lines) <= 15, cell.source
            assert depth(ast.parse(cell.source)) <= 2, cell.source


def test_no_tracked_file_names_a_package_index_or_is_over_twelve_megabytes():
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    index = re.compile(rb"(extra-)?index-url *=|https?://[^ \"]*/simple\b")
    for path in filter(Path.is_file, (ROOT / name for name in tracked if name)):
        content = path.read_bytes()
        assert len(content) <= 12 * 2**20, path
        assert path.name != "checkpoint.safetensors", f"{path} is for resuming, not for keeping"
        assert path.suffix in (".png", ".pdf", ".npz", ".safetensors") or not index.search(content)


def test_the_speeds_that_are_written_down_are_those_measured():
    measured = ROOT / "tests" / "benchmarks" / "measured"
    speed, pieces = (
        json.loads((measured / f"{kind}-nvidia-h200.json").read_text())
        for kind in ("speed", "pieces")
    )
    rows = set()
    for way in ("eager", "compiled"):
        for name, found in speed[way].items():
            # What is compiled moves less than its operations would one by one.
            allowed = f"{found['share_that_memory_allows']:.0%}" if way == "eager" else ""
            cells = [
                name if way == "eager" else f"{name}, compiled",
                f"{found['images_per_second']:,.0f}",
                f"{found['share_of_matrix_rate']:.0%}",
                allowed,
                f"{found['drawing_share_of_step']:.1%}",
            ]
            rows.add("| " + " | ".join(cells).replace("|  |", "| |") + " |")
    readme = (ROOT / "tests/benchmarks/README.md").read_text(encoding="utf-8")
    _, table = readme.split("| backbone | images/s |")
    assert rows == set(table.split("\n\n")[0].splitlines()[2:])
    assert (speed["bins"], speed["batch_size"], speed["frames"]) == (224, 256, 17 * 16 * 4096)
    assert pieces["same_bits"] == [True] * 5
    assert {*pieces["pieces"]} == {6, 7}
