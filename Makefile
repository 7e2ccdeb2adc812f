# `make demo` and `make test` do all set-up themselves; they need Python 3.11 or newer and nothing else.
PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install -q --no-compile --disable-pip-version-check -c constraints.txt
# One thread in each of the two test workers, else they fight for the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-all docs lint types format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: .venv/.installed ## Compress a small network on the digits; results in runs/demo
	$(BIN)/archpress compress digits-cnn --data digits --profile demo --out runs/demo --resume

test: .venv/.installed-dev ## Run the fast tests
	$(PYTEST) -m "not slow"

test-all: .venv/.installed-dev ## Run all tests, the slow ones too
	$(PYTEST)

docs: .venv/.installed-dev ## Build the documentation, strictly, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: .venv/.installed-dev ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-dev ## Check types (mypy, strict)
	$(BIN)/mypy

format: .venv/.installed-dev ## Mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## Remove caches and builds; .venv and runs stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov
	find archpress tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "archpress needs Python 3.11 or newer, and '$(PYTHON)' is not: try make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "Creating .venv"
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "'$(PYTHON) -m venv' failed; on Debian: apt-get install python3-venv" >&2; exit 1; }

.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing archpress into .venv (a few minutes the first time)"
	@$(PIP_INSTALL) -e .
	@touch $@

.venv/.installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing archpress and its development tools into .venv (a few minutes the first time)"
	@$(PIP_INSTALL) -e ".[dev,vision]"
	@touch .venv/.installed $@
