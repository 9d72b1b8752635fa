# Vitrina. `make` alone lists what there is.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
WORKERS ?= 2
BENCHMARKS = $(patsubst benchmarks/%.py,%,$(shell grep -l __main__ benchmarks/*.py 2>/dev/null))

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-long test-postgresql check faults bench serve lock figures reference tag clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(READY)  ## make .venv with everything that is needed (done once, again when requirements change)

$(READY): pyproject.toml requirements/dev.txt requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Vitrina needs Python 3.11 or newer: make PYTHON=python3.12 …" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)  ## run a simulated shop through the whole loop, then keep its console up (DEMO_SERVE=0: don't)
	$(BIN)/vitrina demo

test: $(READY)  ## run the tests, long ones and browsers left out
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not long and not browser"

test-long: $(READY)  ## run the long tests, those in a browser, the minimal install, and the suite on PostgreSQL
	PYTHON=$(abspath $(BIN)/python) scripts/minimal_install.sh
	$(BIN)/python -m pytest -m "long or browser" --timeout 1800
	$(MAKE) test-postgresql

test-postgresql: $(READY)  ## run the tests of `make test` with every store on PostgreSQL
	VITRINA_TEST_STORE=postgresql $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not long and not browser and not sqlite"

check: $(READY)  ## lint, types, the rules of the house, and documentation against code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/docs tests/contract -m "not long and not browser"
	$(BIN)/python scripts/largest.py

faults: $(READY)  ## kill, fill, jump and take away, hundreds of times; writes docs/dev/faults.md (half an hour)
	$(BIN)/python -m tests.loop.faults

bench: $(READY)  ## run every benchmark (make bench-NAME runs one, such as bench-main-loop)
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name; done

bench-%: $(READY)
	$(BIN)/python -m benchmarks.$(subst -,_,$*)

serve: $(READY)  ## serve the workspace in WORKSPACE (default: the current folder)
	$(BIN)/vitrina serve -w $(or $(WORKSPACE),.)

figures: $(READY)  ## copy the measured figures into the README
	$(BIN)/python scripts/figures.py

reference: $(READY)  ## write docs/reference from the code
	$(BIN)/python scripts/reference.py

tag: $(READY)  ## build the browser tag from its source
	$(BIN)/python scripts/tag.py

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

lock: $(READY)  ## resolve the requirements again and write them with hashes
	$(LOCK) --upgrade pyproject.toml -o requirements/core.txt
	$(LOCK) --upgrade pyproject.toml --extra dev -o requirements/dev.txt
	$(LOCK) --upgrade pyproject.toml --extra postgres --extra otel -o requirements/server.txt
	$(LOCK) --upgrade requirements/uv.in -o requirements/uv.txt
	$(LOCK) --upgrade requirements/build.in -o requirements/build.txt

clean:  ## remove what can be made again
	rm -rf .venv build dist demo .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
