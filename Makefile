# Everything is set up by any target below: only Python 3.11+, make and git are needed.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .tools/bin/uv
BIN := .venv/bin
# The environment holds absolute paths: its stamp names the folder and the Python it was made for.
STAMP := .venv/.ready
MADE_HERE := [ -x $(BIN)/python ] && [ "$$(sed -n 1p $(STAMP))" = "$(CURDIR)" ]
ifneq ($(origin PYTHON),file)
MADE_HERE += && [ "$$(sed -n 2p $(STAMP))" = "$$(command -v $(PYTHON))" ]
endif
PROFILE ?= quick
RESULTS ?= .
ARGS ?=
# Loops are compiled when they first run, and kept: here, so that no first picture waits for it.
COMPILE := import torch, modsnr.diagrams as d; d.render(torch.randn(2, 1024).cfloat(), views=d.views_of(1024))
INFO := $(addprefix metadata.language_info.,codemirror_mode file_extension mimetype nbconvert_exporter pygments_lexer version)
export VIRTUAL_ENV :=
export PYTHONWARNINGS ?=
# Threads that wait for one another spin briefly: see lib/modsnr/runs/execution.py.
ifndef OMP_WAIT_POLICY
export GOMP_SPINCOUNT ?= 10000
endif

ifneq ($(wildcard $(STAMP)),)
ifneq ($(shell $(MADE_HERE) && echo yes),yes)
$(warning .venv was made in another folder or by another Python: it is made anew)
.PHONY: $(STAMP)
endif
endif

.DEFAULT_GOAL := help
.PHONY: help setup reproduce study best paper lab api test test-all test-browser test-floor check bench bench-gpu lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(UV):
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --target .tools uv==$(UV_VERSION)

$(STAMP): pyproject.toml requirements.lock | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "modsnr needs Python 3.11 or newer; call make PYTHON=python3.12, say"; exit 1; }
	$(UV) venv --quiet $$($(MADE_HERE) && echo --allow-existing || echo --clear) --python "$$(command -v $(PYTHON))" .venv
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --constraint requirements.lock --editable '.[dev]'
	@$(BIN)/python -c '$(COMPILE)'
	@printf '%s\n' '$(CURDIR)' "$$(command -v $(PYTHON))" > $@

setup: $(STAMP) ## create .venv with the locked packages and modsnr, editable

reproduce: $(STAMP) ## run the quick profile: frames, two models, evaluation, explanation, and a PDF
	$(BIN)/modsnr reproduce --profile $(PROFILE)

study: $(STAMP) ## run the study's recipe at full size; the same call goes on with it
	$(BIN)/modsnr reproduce --resume --profile study

best: $(STAMP) ## run all views at full size; the same call goes on with it
	$(BIN)/modsnr reproduce --resume --profile best

paper: $(STAMP) ## rebuild paper/ (figures, tables, numbers, PAPER.pdf and .html) from the committed runs
	$(BIN)/modsnr paper

# Git then leaves out the outputs of a notebook that was run and saved: it is not modified by them.
lab: $(STAMP) ## open JupyterLab on the README and its list of notebooks, on this machine only
	@! git rev-parse --git-dir > /dev/null 2>&1 || git config filter.outputs.clean '$(BIN)/nbstripout --keep-id --extra-keys "$(INFO)"'
	PYTHONSTARTUP='$(CURDIR)/notebooks/lab/kernel_startup.py' JUPYTER_CONFIG_PATH=notebooks/lab $(BIN)/jupyter lab $(ARGS)

api: $(STAMP) ## write the API reference, from the docstrings, to lib/api/index.html
	$(BIN)/pdoc modsnr --no-show-source --output-directory lib/api

# Files are the unit that the cores share, in the order of tests/conftest.py.
SHARED := --numprocesses auto --dist loadfile --no-loadscope-reorder
PYTEST := $(BIN)/python -m pytest $(SHARED)

test: $(STAMP) ## run the test suite, about six minutes on two cores
	$(PYTEST) -m "not long"

test-all: test ## run that and the long tests: kills, fuzzing, PostgreSQL, clusters, JupyterLab in a browser
	$(PYTEST) -o addopts="-q --strict-markers --ignore=tests/benchmarks" -m long tests/browser tests

test-floor: | $(UV) ## run the tests on the oldest supported torch and NumPy, by Python 3.11 or 3.12
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || { echo "torch 2.4.1 needs Python 3.11 or 3.12; call make test-floor PYTHON=python3.12, say"; exit 1; }
	$(UV) venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" .venv-floor
	$(UV) pip install --quiet --python .venv-floor/bin/python torch==2.4.1 torchvision==0.19.1 numpy==1.26.4 --editable '.[dev]'
	.venv-floor/bin/python -m pytest $(SHARED)

test-browser: $(STAMP) ## run the notebooks in JupyterLab in a headless Chromium, about ten minutes
	$(BIN)/python -m pytest tests/browser

check: $(STAMP) ## lint, types, notebooks without outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --level error
	$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb

bench: $(STAMP) ## measure the speed claims, side by side on this machine
	NUMBA_NUM_THREADS=$$(nproc) $(BIN)/python -m pytest --timeout 0 tests/benchmarks

bench-gpu: $(STAMP) ## speed.json of a GPU in three minutes: images/s of the study's backbones
	@mkdir -p '$(RESULTS)'
	$(BIN)/python tests/benchmarks/test_speed_on_gpu.py --seconds 150 --out '$(RESULTS)/speed.json'

lock: | $(UV) ## renew requirements.lock from pyproject.toml
	$(UV) pip compile --quiet --universal --all-extras --python-version 3.11 --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements.lock

clean: ## remove the environment, data and builds (never runs)
	rm -rf .venv .venv-floor .tools data paper/build lib/api
