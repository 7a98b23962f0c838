# Everything a newcomer needs: `make up` runs a grid, `make test` checks the tree, `make bench` measures.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# As a variable and not as -c, so that the build backend is taken in the pinned version too.
INSTALL := PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check
PORT ?= 8080

.PHONY: up test lint bench audit wheel clean

up: $(VENV)/.factory
	@exec $(BIN)/aigrid up --port $(PORT)

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# Known holes of what gets installed; needs PyPI's JSON API, or OSV with `make audit AUDIT='-s osv'`.
audit: $(VENV)/bin/python
	test -x $(VENV)-audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)-audit && $(VENV)-audit/bin/python -m pip install -q pip-audit==2.10.1; }
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r constraints.txt $(AUDIT)

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel --no-isolation

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aigrid needs Python 3.11 or newer; name one with make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.factory: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e '.[factory]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.factory
	$(INSTALL) -e '.[factory,dev]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-audit build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
