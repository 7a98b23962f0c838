# Everything a newcomer needs: `make up` runs a grid, `make test` checks the tree, `make bench` measures.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PORT ?= 8080

.PHONY: up test lint bench wheel clean

up: $(VENV)/.factory
	$(BIN)/aigrid up --port $(PORT)

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel --no-isolation

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.factory: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) torch==2.13.0
	$(INSTALL) -e '.[factory]'
	touch $@

$(VENV)/.dev: $(VENV)/.factory
	$(INSTALL) -e '.[factory,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
