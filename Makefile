# `make study` runs the quickstart and writes its report; `make test` runs the tests; `make` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
STUDY_OPTIONS ?=

.DEFAULT_GOAL := help
.PHONY: help setup study study-fashion study-mnist calibrate report test test-slow bench lint clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with everything in it

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: name one with make PYTHON=python3.12 …"; exit 1; }
	@echo "Creating .venv (a minute or two)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

study: $(READY) ## run studies/quickstart.toml: a few minutes, report in reports/quickstart
	@$(BIN)/bpfree study studies/quickstart.toml $(STUDY_OPTIONS)

study-fashion: $(READY) ## the same on Fashion-MNIST: about an hour on two cores
	@$(BIN)/bpfree study studies/fashion.toml $(STUDY_OPTIONS)

study-mnist: $(READY) ## the same on MNIST: about an hour on two cores
	@$(BIN)/bpfree study studies/mnist.toml $(STUDY_OPTIONS)

calibrate: $(READY) ## learning-rate-free optimizers against NadamW: ten minutes, report in reports/calibration_quickstart
	@$(BIN)/bpfree calibrate studies/calibration_quickstart.toml $(STUDY_OPTIONS)

report: $(READY) ## write the quickstart's report again from its records
	@$(BIN)/bpfree report studies/quickstart.toml

test: $(READY) ## the fast tests: no network, no GPU
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow and not gpu"

test-slow: $(READY) ## published accuracies: long
	@$(BIN)/pytest -m slow

bench: $(READY) ## what it costs: ratios measured here, beside their limits
	@$(BIN)/python -m bench

lint: $(READY) ## ruff, mypy and the one-way imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

clean: ## remove .venv and caches; results and reports stay
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	@find bpfree tests -name __pycache__ -type d -prune -exec rm -rf {} +
