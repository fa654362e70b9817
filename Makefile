PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help setup demo figures bench gpu docs notebooks test test-fast campaign lint format clean
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED)  ## create .venv and install, with the versions that were tested

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: RUN := runs/demo/$(shell date +%Y-%m-%d_%H-%M-%S)
# Images of 8×8 are too small to share: threads would wait longer than they compute.
demo: export OMP_NUM_THREADS ?= 1
demo: setup  ## train on handwritten digits, sample, and say where the picture is (minutes on a CPU)
	$(BIN)/python train.py experiment=demo hydra.run.dir=$(RUN)
	$(BIN)/python sample.py ckpt=$(RUN) num_samples=256
	@echo "and the same network with 20 evaluations per image in place of 97:"
	$(BIN)/python sample.py ckpt=$(RUN) num_samples=256 sampler=ald_30 sampler.evaluations=20

FIGURES := fig1 fig2 fig3 fig4 fig5 fig6 figC1 figC2 levels

figures: setup  ## all figures of docs/paper.md (half an hour at most on a CPU)
	set -e; for figure in $(FIGURES); do $(BIN)/python figures/$$figure.py; done

BENCHMARKS := training sampling data evaluation growth devices profiles startup

bench: setup  ## all benchmarks, and their tables in docs/performance.md (long on a CPU: most of it is compiling)
	set -e; for benchmark in $(BENCHMARKS); do $(BIN)/python benchmarks/$$benchmark.py; done
	$(BIN)/python benchmarks/show.py

GPU := --minutes 6

gpu: setup  ## what there is to do on a machine with a GPU, in 25 minutes: correctness, speed, MNIST by the paper
	$(BIN)/python benchmarks/gpu.py $(GPU)

docs: export NO_MKDOCS_2_WARNING := 1
docs: setup  ## the documentation as a site, build/site/index.html; warnings are errors
	$(BIN)/mkdocs build --strict

notebooks: setup  ## the notebooks anew from their pages, and run (a quarter of an hour on a CPU)
	$(BIN)/python docs/notebooks/from_pages.py

# A worker takes a whole file, so that its fixtures are made once; in the order of tests/conftest.py, the slow ones first.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test: setup  ## all tests
	$(PYTEST)

test-fast: setup  ## the tests that run no whole commands
	$(PYTEST) --ignore tests/cli

CAMPAIGN := --minutes 60

campaign: setup  ## attacks on the commands, random and repeatable (an hour); CAMPAIGN='--minutes 10 --only kills'
	OMP_NUM_THREADS=1 $(BIN)/python tests/campaign $(CAMPAIGN)

lint: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## let ruff format everything
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove .venv and caches; runs and data stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
