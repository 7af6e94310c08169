# Everything from two commands on a machine that has Python 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests start some hundred processes; without this each would compile the project anew, which takes a third of its start.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: help demo test lint types clients unit soak bench docs clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo  ## 336,776 real flights through every room, reconciled at the end
	$(BIN)/headrace demo

test: $(VENV)/.test  ## what CI runs: lint, strict types, all tests
	$(MAKE) --jobs 3 lint types clients
	$(MAKE) unit

lint: $(VENV)/.test  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test  ## mypy --strict
	$(BIN)/mypy

clients: $(VENV)/.test  ## other people's clients, which the tests run: AWS CLI, Node, Java, Go, KCL
	$(BIN)/python -m tools.clients

unit: $(VENV)/.test clients  ## pytest; a third worker fills two cores while others wait
	$(BIN)/pytest -n 3 --dist worksteal -m 'not soak'

soak: $(VENV)/.test  ## the long runs
	HYPOTHESIS_PROFILE=fresh $(BIN)/pytest -m soak --timeout 3600

bench: $(VENV)/.test  ## the menu of benchmarks
	$(BIN)/python -m benchmarks --help

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
