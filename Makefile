# Every target installs first; installing takes a moment when nothing changed.
# PYTHON=/path/to/python3.12 picks the interpreter of a new .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help
STAMP := .venv/.installed
BIN := .venv/bin

.PHONY: help install lint type test run generate clean

help:  ## Show these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */|/' | \
		while IFS='|' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

install: $(STAMP)  ## Create .venv, install everything, prebuild DeepSpeed's ops

$(STAMP): pyproject.toml scripts/install.sh scripts/install.py
	@scripts/install.sh

lint: install  ## Style, format and the import contracts between the planes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: install  ## mypy --strict
	$(BIN)/mypy

test: install  ## The test suite
	$(BIN)/pytest

run: install  ## Fine-tune, evaluate and publish the quickstart model
	$(BIN)/orchestrator run jobs/quickstart.yaml

generate: install  ## Rewrite the generated files
	mkdir -p docs
	$(BIN)/orchestrator schema > docs/.spec.schema.json.new
	mv docs/.spec.schema.json.new docs/spec.schema.json
	$(BIN)/python -m orchestrator.interfaces.api.document > docs/.openapi.json.new
	mv docs/.openapi.json.new docs/openapi.json

clean:  ## Remove the environment, caches and build outputs (never models/)
	rm -rf .venv .install.lock .install.torn build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache docs/.spec.schema.json.new docs/.openapi.json.new
	find orchestrator tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
