# `make` alone tells what there is. Every target does all of its own set-up.

# The Airflow that the demo and the tests run.
AIRFLOW_VERSION := 3.3.2
# Any Python from 3.11 on: `make demo PYTHON3=python3.13`.
PYTHON3 ?= python3

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready-airflow-$(AIRFLOW_VERSION)
CLUSTER_VENV := .venvs/cluster
CLUSTER_PYTHON := $(CLUSTER_VENV)/bin/python
CLUSTER_READY := $(CLUSTER_VENV)/.ready-airflow-$(AIRFLOW_VERSION)
# Tests wait for servers a quarter of their time: one process more than there are cores.
PROCESSES := $(shell expr `getconf _NPROCESSORS_ONLN` + 1)

# uv brings certificates of its own and would not trust those of a company's proxy, as pip does.
export UV_SYSTEM_CERTS ?= true
# A real Airflow imports the same thousands of files in each of its processes: compile them once only.
unexport PYTHONDONTWRITEBYTECODE
# What the recipes print must appear as it happens.
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help venv demo ui test lint types unit test-more chaos test-matrix test-browser cluster test-cluster bench build clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

demo: $(READY) ## publish through a real Airflow and the emulator; under two minutes, no account needed
	@$(PYTHON) -m tests.system.demo

ui: $(READY) ## the same, left up until Ctrl-C, with Airflow's UI and the emulator's page
	@$(PYTHON) -m tests.system.ui

test: lint types unit ## everything that must hold: lint, types, tests

lint: $(READY) ## ruff, rules and format
	@echo "== ruff"
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@echo "== import-linter"
	@$(VENV)/bin/lint-imports --no-logo

types: $(READY) ## mypy, strict
	@echo "== mypy"
	@$(VENV)/bin/mypy

unit: $(READY) ## the tests alone
	@echo "== pytest"
	@$(PYTHON) -m pytest --numprocesses $(PROCESSES) --maxprocesses 5 --dist loadfile --no-loadscope-reorder

# Tests of which `make test` runs a sample.
SAMPLED := tests/api/test_fault_table.py tests/triggers/test_octospark.py \
	$(addprefix tests/submission/test_,crash_points.py store.py batches.py)

test-more: $(READY) ## what takes longer: real Airflows, complete tables, mutated guards; forty minutes
	@echo "== pytest, slow tests and complete tables"
	@OCTOSPARK_COMPLETE=1 $(PYTHON) -m pytest -m slow --numprocesses 2 --dist loadfile --ignore=tests/chaos
	@OCTOSPARK_COMPLETE=1 $(PYTHON) -m pytest --numprocesses 2 --dist loadfile $(SAMPLED)
	@echo "== every history with three departures"
	@OCTOSPARK_COMPLETE=1 $(PYTHON) -m pytest --numprocesses 2 tests/model
	@echo "== mutation of each guard"
	@$(PYTHON) -m tests.mutation
	@echo "== random histories"
	@OCTOSPARK_HISTORIES=600 $(PYTHON) -m pytest --numprocesses 2 tests/submission_histories/test_random_histories.py

# Each part runs, whatever the others say; the target fails if one of them does. SEED=N draws the same histories again.
SEED ?= $(shell date +%s)
chaos: $(READY) ## random histories, a mutation of each guard, real kills of a real Airflow; half an hour
	@failed=; \
	OCTOSPARK_HISTORIES=2500 $(PYTHON) -m pytest --numprocesses 2 --hypothesis-seed=$(SEED) tests/submission_histories/test_random_histories.py || failed="$$failed histories"; \
	$(PYTHON) -m tests.mutation || failed="$$failed mutation"; \
	$(PYTHON) -m tests.chaos || failed="$$failed kills"; \
	test -z "$$failed" || { echo "chaos: failed:$$failed"; exit 1; }

test-matrix: $(READY) ## the core of the tests on Airflow 2.11 to 3.3; ONLY=2.11 for one of them
	@$(PYTHON) -m tests.matrix $(if $(ONLY),--only $(ONLY))

test-browser: $(READY) ## the UI in a headless Chromium; needs chromium and chromedriver
	@$(PYTHON) -m pytest tests/browser

cluster: $(CLUSTER_READY) ## PostgreSQL, Redis and an Airflow with two Celery workers, left up until Ctrl-C
	@$(CLUSTER_PYTHON) -m tests.cluster

test-cluster: $(CLUSTER_READY) ## the examples and kills of every component there, half an hour; needs postgres and redis-server
	@$(CLUSTER_PYTHON) -m pytest tests/cluster

bench: $(READY) ## what waiting costs, as ratios against other providers in the same run
	@$(PYTHON) -m benchmarks

build: $(READY) ## source distribution and wheel, in dist/
	@$(PYTHON) -m build --installer uv
	@$(PYTHON) -m twine check --strict dist/*

venv: $(READY) ## the virtual environment that all the others use

# Made anew when pyproject.toml or the version of Airflow changes, so that nothing stale stays in it.
$(READY): pyproject.toml Makefile
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make PYTHON3=python3.11"; exit 1; }
	@echo "== set-up 1 of 2: a virtual environment in $(VENV)"
	@$(PYTHON3) -m venv --clear $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv
	@echo "== set-up 2 of 2: Airflow $(AIRFLOW_VERSION), this provider, and the tools of its tests"
	@$(VENV)/bin/uv pip install --python $(PYTHON) --editable '.[emulator]' --group dev \
	  'apache-airflow==$(AIRFLOW_VERSION)'
	@touch $@

# Celery stays out of the environment of the other tests.
$(CLUSTER_READY): $(READY)
	@echo "== set-up of the cluster: Airflow with Celery and PostgreSQL's drivers in $(CLUSTER_VENV)"
	@$(PYTHON3) -m venv --clear $(CLUSTER_VENV)
	@$(VENV)/bin/uv pip install --python $(CLUSTER_PYTHON) --editable '.[emulator]' pytest hypothesis \
	  'apache-airflow[celery,postgres]==$(AIRFLOW_VERSION)' 'celery[redis]<5.7' 'kombu<5.7'
	@touch $@

clean: ## remove all that was made
	rm -rf $(VENV) .venvs build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
