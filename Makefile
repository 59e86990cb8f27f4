# The two commands of a newcomer are `make demo` and `make test`. Needs Python >= 3.11 and make.
#
#   make test ARGS="tests/core -n 0"     passes arguments to pytest: -n 0 is one after the other, -x -q as always
#   make demo ARGS="--json"              passes arguments to the demonstration

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(firstword $(foreach python,python3 python3.13 python3.12 python3.11,$(shell $(python) -c \
	'import sys; sys.version_info >= (3, 11) and print("$(python)")' 2>/dev/null)))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
ARGS ?=
# Most of the suite waits for real parts, so a worker a processor; tests that share a part stay together.
SPREAD := -n logical --maxprocesses 4 --dist loadgroup
CHART := helm/autoscaler
CACHE := $(or $(AUTOSCALER_TEST_PARTS_CACHE),$(HOME)/.cache/eventscaler-parts)
HELM := $(or $(shell command -v helm),$(wildcard $(CACHE)/bin/helm))
RULES := $(wildcard $(CHART)/rules/*.yaml)

.PHONY: help demo test check check-lint check-types check-layers check-duplicates check-chart check-rules bench docs clean

help:
	@echo "make demo   the whole story on this machine, nothing else needed"
	@echo "make test   the test suite; what needs a real part says how to get it"
	@echo "make check  lint, types, layers, duplicates, chart"
	@echo "make bench  the figures, each beside its control; writes build/bench.json"
	@echo "make docs   the documentation, into build/docs"
	@echo "make clean  removes what make made"

demo: .venv/run.stamp
	@$(BIN)/autoscaler demo $(ARGS)

test: .venv/test.stamp
	$(BIN)/python -m pytest $(SPREAD) $(ARGS)

check: check-lint check-types check-layers check-duplicates check-chart check-rules

check-lint: .venv/check.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: .venv/check.stamp
	$(BIN)/mypy
	$(BIN)/mypy --no-warn-unused-configs tests/conftest.py tests/parts

check-layers: .venv/check.stamp
	$(BIN)/lint-imports --no-cache

check-duplicates: .venv/check.stamp
	$(BIN)/pylint --jobs 2 autoscaler plugins/autoscaler_plugins

check-chart:
ifneq ($(HELM),)
	$(HELM) lint --strict $(CHART) --values $(CHART)/ci/default-values.yaml
else
	@echo "the chart was not linted: helm is not on this machine"
endif

check-rules:
ifneq ($(and $(RULES),$(shell command -v promtool)),)
	promtool check rules $(RULES)
endif

bench: .venv/test.stamp
	@mkdir -p build
	$(BIN)/python -m bench $(ARGS)

docs: .venv/docs.stamp
	$(BIN)/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/pip.stamp:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; name it: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/run.stamp: .venv/pip.stamp pyproject.toml constraints.txt
	$(PIP) --constraint constraints.txt --editable .
	@touch $@

# The tools of a task are an extra of the same name.
.venv/%.stamp: .venv/run.stamp
	$(PIP) --constraint constraints.txt --editable '.[$*]'
	@touch $@

# mypy reads the tests' part module as well.
.venv/check.stamp: .venv/test.stamp
