# Everything is set up by any target below: only Python 3.11+, make and git are needed.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .tools/bin/uv
BIN := .venv/bin
STAMP := .venv/.ready
PROFILE ?= quick
MINUTES ?= 9
PACK ?=
RESULTS ?= .
FOR ?= 3.12
PLATFORM ?= manylinux2014_x86_64
SERVE := git -c uploadpack.allowFilter=true upload-pack
CARRIED := /.gitignore /Makefile /README.md /pyproject.toml /requirements.lock /lib/ /notebooks/ /paper/sources.yaml /tests/benchmarks/
WHEELS := --quiet --disable-pip-version-check --constraint requirements.lock --dest carry
export VIRTUAL_ENV :=
export PYTHONWARNINGS ?=
# Threads that wait for one another spin briefly: see _environment in lib/modsnr/runs/execution.py.
ifndef OMP_WAIT_POLICY
export GOMP_SPINCOUNT ?= 10000
endif

.DEFAULT_GOAL := help
.PHONY: help setup reproduce study best gpu carry paper lab api test test-browser test-floor check bench bench-gpu lock clean

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

# One call is one piece: it ends after MINUTES with exit code 75 (make's 2), and the same call goes
# on. With PACK=FILE the runs so far are in that tar after each step. PLAIN=1 sets nothing up: it
# takes $(PYTHON) as it is, with PyTorch's usual stack and pydantic.
ifdef PLAIN
READY :=
CALL := PYTHONPATH="lib$${PYTHONPATH:+:$$PYTHONPATH}" $(PYTHON)
else
READY := $(STAMP)
CALL := $(BIN)/python
endif
PIECE := $(CALL) -m modsnr reproduce $(if $(PLAIN),--plain) --resume --minutes $(MINUTES) $(if $(PACK),--pack $(PACK))

study: $(READY) ## the study's recipe at full size, a piece of MINUTES=9 (0: to the end); call again to go on
	$(PIECE) --profile study

best: $(READY) ## all views at full size, likewise in pieces
	$(PIECE) --profile best

gpu: $(READY) ## what fits into nine minutes of one GPU, likewise in pieces
	$(PIECE) --profile gpu

# The commit with its code alone, a few MB; of runs and paper git knows there that they are.
carry/modsnr:
	rm -rf carry
	git clone --quiet --no-checkout --depth 1 --filter blob:none --upload-pack '$(SERVE)' "file://$(CURDIR)" carry/modsnr
	git -C carry/modsnr config remote.origin.uploadpack '$(SERVE)'
	git -C carry/modsnr sparse-checkout set --no-cone $(CARRIED)
	git -C carry/modsnr checkout --quiet
	git -C carry/modsnr remote remove origin

carry: ## write carry/: all that PLAIN=1 needs on a machine without network, for Python FOR=3.12
	rm -rf carry
	$(MAKE) --no-print-directory carry/modsnr
	$(PYTHON) -m pip download $(WHEELS) --only-binary :all: --python-version $(FOR) --platform $(PLATFORM) pydantic
	$(PYTHON) -m pip download $(WHEELS) --no-deps captum

paper: $(STAMP) ## rebuild paper/ (figures, tables, numbers, PAPER.pdf and .html) from the committed runs
	$(BIN)/modsnr paper

lab: $(STAMP) ## open JupyterLab on the README and its list of notebooks, on this machine only
	JUPYTER_CONFIG_PATH=notebooks/lab $(BIN)/jupyter lab

api: $(STAMP) ## write the API reference, from the docstrings, to lib/api/index.html
	$(BIN)/pdoc modsnr --no-show-source --output-directory lib/api

test: $(STAMP) ## run the test suite, a file at a time on each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-floor: | $(UV) ## run the tests on the oldest supported torch and NumPy, by Python 3.11 or 3.12
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || { echo "torch 2.4.1 needs Python 3.11 or 3.12; call make test-floor PYTHON=python3.12, say"; exit 1; }
	$(UV) venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" .venv-floor
	$(UV) pip install --quiet --python .venv-floor/bin/python torch==2.4.1 torchvision==0.19.1 numpy==1.26.4 --editable '.[dev]'
	OMP_NUM_THREADS=1 .venv-floor/bin/python -m pytest --numprocesses auto --dist loadfile

test-browser: $(STAMP) ## run the notebooks in JupyterLab in a headless Chromium, about ten minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser

check: $(STAMP) ## lint, types, notebooks without outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --level error
	$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb

bench: $(STAMP) ## measure the speed claims, side by side on this machine
	$(BIN)/python -m pytest tests/benchmarks

bench-gpu: $(READY) ## speed.json and pieces.json of a GPU in five minutes: images/s, and cut against uncut
	@mkdir -p '$(RESULTS)'
	$(CALL) tests/benchmarks/test_speed_on_gpu.py --seconds 150 --out '$(RESULTS)/speed.json'; ended=$$?; \
	$(CALL) tests/benchmarks/test_pieces_on_gpu.py --out '$(RESULTS)/pieces.json' && exit $$ended

lock: | $(UV) ## renew requirements.lock from pyproject.toml
	$(UV) pip compile --quiet --universal --all-extras --python-version 3.11 --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements.lock

clean: ## remove the environment, data and builds (never runs)
	rm -rf .venv .venv-floor .tools data carry paper/build lib/api
