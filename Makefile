# The loop, one word each. `make` alone prints this help.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
STAMP := $(VENV)/.made

.PHONY: help setup demo test quick check bench docs format requirements clean

help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make the environment in .venv (the other words call it)

$(STAMP): requirements/dev.txt requirements/docs.txt pyproject.toml
	@python="$$(for each in python3 python3.13 python3.12 python3.11; do \
	  command -v $$each >/dev/null 2>&1 && $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)"; \
	if [ -z "$$python" ]; then echo "idp needs Python 3.11 or newer, and none is on the PATH: install one, then run make again." >&2; exit 1; fi; \
	echo "Making $(VENV) with $$($$python --version) (about a minute, once)"; \
	[ -x $(BIN)/python ] || $$python -m venv $(VENV)
	@echo "Installing the pinned packages"
	@$(PIP) install --require-hashes -r requirements/docs.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q idp examples
	@touch $(STAMP)

demo: setup ## See a session end everywhere: the provider and two apps, on ports 8000 to 8002
	@$(BIN)/idp demo

test: setup ## Run every test, on SQLite and PostgreSQL, in real browsers and servers (FOR=tokens: one folder of tests/)
	@$(BIN)/python -m tests.support.chromium --fetch
	@$(BIN)/python -m pytest -n auto --dist worksteal $(if $(FOR),$(addprefix tests/,$(FOR)))

quick: setup ## Run all but the slow proofs, each test on one database (FOR=tokens: one folder of tests/)
	@$(BIN)/python -m pytest --quick -n auto --dist worksteal $(if $(FOR),$(addprefix tests/,$(FOR)))

check: setup ## Format, lint, types, the import law, and no pending model change
	@$(BIN)/ruff format --check --quiet . || (echo "Run make format" >&2; exit 1)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.migrations.check_models

format: setup ## Format the code, and mend what the linter can
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

bench: setup ## Measure the token paths beside the limit of the same machine
	@$(BIN)/python -m benchmarks

docs: setup ## Build the documentation in docs/_build/html
	@$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html && echo "See docs/_build/html/index.html"

requirements: setup ## Compile the pins anew
	@for each in runtime verifier dev docs; do $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header requirements/$$each.in -o requirements/$$each.txt; done

clean: ## Remove what the other words made
	@rm -rf $(VENV) .cache docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
