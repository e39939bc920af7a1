# make demo   train four schemes on real images, compare, export one, classify with it
# make test   lint, types, all tests on the TensorFlow and JAX backends, PyTorch where it is
# make docs   the pages of docs/ as a site, build/site/index.html
# All make the environment first. PYTHON=python3.12 and VENV=folder choose others.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
QUIET := PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=2 PYTHONWARNINGS=ignore::DeprecationWarning
WORKERS ?= 2

.PHONY: demo test lint types slow docs clean python

demo: $(VENV)/installed
	$(QUIET) $(BIN)/python -m apps.demo --output=runs/demo 2>&1 | grep -v '^[IWE][0-9]\{4\} '

test: lint types
	$(QUIET) KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
	$(QUIET) KERAS_BACKEND=jax $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m 'backends and not slow'
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then \
	  echo '$(QUIET) KERAS_BACKEND=torch pytest'; \
	  $(QUIET) KERAS_BACKEND=torch $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m 'backends and not slow'; \
	else echo 'PyTorch is not installed: its tests were left out'; fi

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/tested
	$(BIN)/mypy

slow: $(VENV)/tested
	$(QUIET) $(BIN)/python -m pytest -m slow

docs: $(VENV)/documented
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo 'build/site/index.html; for the search: $(BIN)/mkdocs serve'

$(VENV)/documented: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[docs]'
	@touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/installed: requirements.txt pyproject.toml | python
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements.txt
	@touch $@

python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v[:2] < (3, 14) or sys.exit( \
	  "nfm-keras needs Python 3.11 to 3.13, this is %d.%d: try make PYTHON=python3.12" % v[:2])'

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
