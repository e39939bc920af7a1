# make demo   train four schemes on real images, compare, export one, classify with it
# make test   lint, types, all tests on the TensorFlow and JAX backends, PyTorch where it is
# make quick  those on TensorFlow that start no process and take less than 0.3 s
# make slow   the tests that take minutes
# make results  tables, figures and numbers of the pages, again from results/
# make docs   the pages of docs/ as a site, build/site/index.html
# All make the environment first. PYTHON=python3.11 and VENV=folder choose others.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
QUIET := PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=2 PYTHONWARNINGS=ignore::DeprecationWarning
WORKERS ?= 2

PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
BACKENDS := -m 'backends and not slow'
# On the backend that is meant for most: the others have warnings of their own.
STRICT := -W error -W ignore::DeprecationWarning
# Says how long a part took, whether it passed or not.
TIMED = @TIMEFORMAT='$@: %0R s'; time

.PHONY: demo test quick lint types tensorflow jax torch slow results docs clean python

demo: $(VENV)/installed
	$(QUIET) TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m apps.demo --output=runs/demo

test: lint types tensorflow jax torch

quick: $(VENV)/tested
	$(TIMED) $(QUIET) KERAS_BACKEND=tensorflow $(PYTEST) \
	  -m 'not slow and not process and not long'

# On a machine with nothing else to do: it measures.
tests/long_tests.txt: FORCE
	$(QUIET) KERAS_BACKEND=tensorflow $(PYTEST) -m 'not slow and not process' --write-long

FORCE:

lint: $(VENV)/tested
	$(TIMED) { $(BIN)/ruff check . && $(BIN)/ruff format --check .; }

types: $(VENV)/tested
	$(TIMED) $(BIN)/mypy

tensorflow: $(VENV)/tested
	$(TIMED) $(QUIET) KERAS_BACKEND=tensorflow $(PYTEST) $(STRICT)

jax: $(VENV)/tested
	$(TIMED) $(QUIET) KERAS_BACKEND=jax $(PYTEST) $(BACKENDS)

torch: $(VENV)/tested
	$(TIMED) if $(BIN)/python -c 'import torch' 2>/dev/null; then \
	  $(QUIET) KERAS_BACKEND=torch $(PYTEST) $(BACKENDS); \
	else echo 'PyTorch is not installed: its tests were left out'; fi

slow: $(VENV)/tested
	$(TIMED) $(QUIET) XLA_FLAGS= JAX_DISABLE_MOST_OPTIMIZATIONS=0 \
	  $(BIN)/python -m pytest -m slow
	$(QUIET) NFM_BUILD_GRAPHS=1 KERAS_BACKEND=tensorflow $(BIN)/python -m pytest tests/mixing

REPORT := $(QUIET) $(BIN)/python -m apps.report
EXPERIMENTS := table1 table4 table5 noise_levels adversarial_training
DIGITS := clean,white_noise@0.8,salt_and_pepper@0.2,pgd@0.05

results: $(VENV)/tested
	for name in $(EXPERIMENTS); do \
	  $(REPORT) --experiment=$$name --runs=results/$$name --output=results/$$name || exit; done
	$(REPORT) --against=sigma_add,sigma_mult --runs=results/noise_levels \
	  --output=results/noise_levels --title='Figure 10: NFM and the level of its noise'
	$(REPORT) --runs=results/cifar10 --output=results/cifar10 --paper
	$(REPORT) --runs=results/digits --output=results/digits --columns=$(DIGITS) \
	  --title='1,797 images of digits, small_resnet'
	$(BIN)/python docs/_site/derived_numbers.py

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
	  "nfm-keras needs Python 3.11 to 3.13, this is %d.%d: try make PYTHON=python3.11" % v[:2])'

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
