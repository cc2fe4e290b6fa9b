# Each target sets up .venv by itself; `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin
# Four keep two processors busy: much of the time is waiting for servers, programs and disks.
WORKERS ?= 4
PYTEST := -m pytest --numprocesses $(WORKERS) --dist worksteal

# Where it is set, every process that a test starts would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test lint check golden verify browser conformance versions lowest newest \
	bench timing load soak wheel bundle clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 13

%/.runs: pyproject.toml src/gateway_metrics_mcp/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $*
	@$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1,<27'
	@$*/bin/python -m pip install --quiet --editable .
	@touch $@

.venv/.tests: .venv/.runs
	@$(BIN)/python -m pip install --quiet --group test --group check
	@touch $@

.venv/.automation: .venv/.tests
	@$(BIN)/python -m pip install --quiet --group automation-tests
	@touch $@

.venv/.charts: .venv/.runs
	@$(BIN)/python -m pip install --quiet --editable '.[charts]'
	@touch $@

demo: .venv/.charts ## make a month of data and ask five questions of it, as an MCP client
	@$(BIN)/gateway-metrics-mcp demo

test: .venv/.tests ## run the whole suite
	$(BIN)/python $(PYTEST)

lint: .venv/.tests ## lint and check the types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check: lint test ## lint, check the types, then run the whole suite

golden: .venv/.tests ## compare what the product answers with the record of it
	$(BIN)/python tests/golden/record.py --check

verify: lint .venv/.automation ## the suite at length, others' tools, versions, benchmarks, soak: before a release
	$(BIN)/python $(PYTEST) --hypothesis-profile=thorough -m "thorough or not thorough"
	$(MAKE) golden
	$(MAKE) versions
	$(MAKE) bench
	$(MAKE) timing
	$(MAKE) load
	$(MAKE) soak

browser: .venv/.tests ## pictures, and the interactive view in chromium (needs chromium-driver)
	$(BIN)/python -m pytest -m "thorough or not thorough" tests/rendering/charts

conformance: .venv/.tests ## the official suite, the Inspector, the protocol's schema (needs npm)
	$(BIN)/python -m pytest -m "thorough or not thorough" \
		tests/conformance tests/server/test_schema_lint.py

versions: lowest newest ## the suite on the wheel, at the lowest and the newest versions allowed

lowest: RESOLUTION = lowest-direct
newest: RESOLUTION = highest
lowest newest: wheel
	@rm -rf .venv-$@ && $(PYTHON) -m venv .venv-$@
	@.venv-$@/bin/python -m pip install --quiet --upgrade 'pip>=25.1,<27' 'uv>=0.9,<1'
	@.venv-$@/bin/uv pip compile --quiet --resolution $(RESOLUTION) --all-extras --group test \
		--no-header --no-annotate --output-file .venv-$@/versions.txt pyproject.toml >/dev/null
	@.venv-$@/bin/python -m pip install --quiet -r .venv-$@/versions.txt
	@.venv-$@/bin/python -m pip install --quiet --no-deps dist/*.whl
	@cd .venv-$@ && bin/python -c 'import sys, gateway_metrics_mcp as wheel; \
		sys.exit("site-packages" not in wheel.__file__)'
	.venv-$@/bin/python $(PYTEST)

# In an environment of the package alone: with others' packages, libraries take other ways.
bench: .venv-bench/.runs ## measure, each against a yardstick of the same run (needs node and npm)
	@failed=0; for name in startup.py overhead.py tokens.py "store.py --short"; do \
		.venv-bench/bin/python benchmarks/$$name || failed=1; done; exit $$failed

timing: .venv/.tests ## whether the time of an answer tells what rows of others hold
	$(BIN)/python benchmarks/timing.py

load: .venv-bench/.runs ## 64 callers at once, against a trivial tool of the same SDK
	.venv-bench/bin/python benchmarks/load.py

soak: .venv-bench/.runs ## ten minutes with faults in the gateway's answers, beside slow clients
	.venv-bench/bin/python benchmarks/soak.py

wheel: .venv/.runs ## build the wheel into dist/
	@rm -f dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

bundle: .venv/.runs ## build the bundle for Claude Desktop into dist/ (needs npm)
	@$(BIN)/python bundle/build.py

clean: ## remove what the other targets made
	rm -rf .venv .venv-bench .venv-lowest .venv-newest dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
