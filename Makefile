# Each target sets up .venv by itself; `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint check verify bench wheel clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

.venv/.runs: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1,<27'
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/.tests: .venv/.runs
	@$(BIN)/python -m pip install --quiet --group test --group check
	@touch $@

demo: .venv/.runs ## make a month of data and ask five questions of it, as an MCP client
	@$(BIN)/gateway-metrics-mcp demo

test: .venv/.tests ## run the whole suite
	$(BIN)/python -m pytest

lint: .venv/.tests ## lint and check the types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check: lint test ## lint, check the types, then run the whole suite

verify: check ## all of check, longer property tests, and the benchmarks: before a release
	$(BIN)/python -m pytest --hypothesis-profile=thorough -m "thorough or not thorough"
	$(MAKE) bench

bench: .venv/.tests ## measure, each against a yardstick of the same run (needs node and npm)
	@failed=0; for name in startup overhead tokens engine; do \
		$(BIN)/python benchmarks/$$name.py || failed=1; done; exit $$failed

wheel: .venv/.runs ## build the wheel into dist/
	@rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove what the other targets made
	rm -rf .venv dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
