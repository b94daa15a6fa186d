# Everything is set up by any target below: only Python 3.11+, make and git are needed.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .tools/bin/uv
BIN := .venv/bin
STAMP := .venv/.ready
PROFILE ?= quick
export VIRTUAL_ENV :=
export PYTHONWARNINGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup reproduce paper lab test test-floor check bench lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(UV):
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --target .tools uv==$(UV_VERSION)

$(STAMP): pyproject.toml requirements.lock | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "modsnr needs Python 3.11 or newer; call make PYTHON=python3.12, say"; exit 1; }
	$(UV) venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" .venv
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --constraint requirements.lock --editable '.[dev]'
	@touch $@

setup: $(STAMP) ## create .venv with the locked packages and modsnr, editable

reproduce: $(STAMP) ## run the quick profile: frames, two models, evaluation, explanation, and a PDF
	$(BIN)/modsnr reproduce --profile $(PROFILE)

paper: $(STAMP) ## rebuild paper/ (figures, tables, numbers, PAPER.pdf) from the committed runs
	$(BIN)/modsnr paper

lab: $(STAMP) ## open JupyterLab in the notebooks folder
	$(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks

test: $(STAMP) ## run the test suite
	$(BIN)/python -m pytest

test-floor: | $(UV) ## run the tests on the oldest supported torch and NumPy
	$(UV) venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" .venv-floor
	$(UV) pip install --quiet --python .venv-floor/bin/python torch==2.4.1 torchvision==0.19.1 numpy==1.26.4 --editable '.[dev]'
	.venv-floor/bin/python -m pytest

check: $(STAMP) ## lint, types, notebooks without outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --level error
	$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb

bench: $(STAMP) ## measure the speed claims, side by side on this machine
	$(BIN)/python -m pytest tests/benchmarks

lock: | $(UV) ## renew requirements.lock from pyproject.toml
	$(UV) pip compile --quiet --universal --all-extras --python-version 3.11 --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements.lock

clean: ## remove the environment, data and builds (never runs)
	rm -rf .venv .venv-floor .tools data paper/build
