# Two commands matter: `make demo` and `make test`. Both set up what they need.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
ifneq ($(words $(CURDIR) $(QUANT_HOME)),$(if $(QUANT_HOME),2,1))
$(error make cannot work with spaces in the checkout's or QUANT_HOME's path)
endif
# A home of one's own brings its own Dagster storage; the checkout's dagster.yaml serves the default home.
ifneq ($(QUANT_HOME),)
export DAGSTER_HOME ?= $(abspath $(QUANT_HOME))/dagster
endif
override QUANT_HOME := $(abspath $(or $(QUANT_HOME),$(CURDIR)/.quant))
export QUANT_HOME
export DAGSTER_HOME ?= $(CURDIR)
# Without compiled modules every process compiles all it imports. They lie in the environment, none beside the sources.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/.venv/pycache
# The child processes of a run share the machine with it.
export RAY_USAGE_STATS_ENABLED = 0
BIN := .venv/bin
PIP := -m pip install --quiet --disable-pip-version-check --no-deps
# Fill an environment, $(1), from a lock, $(2): the uv of locks/dev.txt is ten times as fast as pip, which does it where
# uv cannot.
filled = $(BIN)/uv pip install --quiet --python $(1)/python --require-hashes -r $(2) || \
  $(1)/python $(PIP) --no-compile --require-hashes -r $(2)
DEMO := us_equities crypto_sim
READY := .venv/.ready
# The peers of the benchmarks bring more than the platform should; they have an environment of their own.
BENCH_PYTHON ?= $(shell command -v python3.11 || echo $(PYTHON))
BENCH := .venv-bench/bin
BENCH_READY := .venv-bench/.ready

.PHONY: setup demo test test-slow check fix ui bench lock screenshots snapshots clean

setup: $(READY) $(QUANT_HOME)/mlflow/mlflow.db ## environment from the lock, and the stores of QUANT_HOME

$(READY): locks/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; PYTHON=$(PYTHON) is not. Set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	@awk '/^[^ ]/ {is_uv = /^uv==/} is_uv' locks/dev.txt > .venv/uv.txt
	$(BIN)/python $(PIP) --require-hashes -r .venv/uv.txt
	$(call filled,$(BIN),locks/dev.txt)
	$(BIN)/python $(PIP) --no-build-isolation -e .
	@touch $@

$(QUANT_HOME)/mlflow/mlflow.db: | $(READY)
	$(BIN)/python -m quant_assets.home $(QUANT_HOME)

demo: setup ## materialize the whole graph for both demo sleeves, side by side, and say what came out
	@mkdir -p $(QUANT_HOME); pids=(); \
	for sleeve in $(DEMO); do \
	  echo "materializing $$sleeve (log: $(QUANT_HOME)/demo-$$sleeve.log) ..."; \
	  $(BIN)/dagster asset materialize -m definitions --select '*' --partition $$sleeve > $(QUANT_HOME)/demo-$$sleeve.log 2>&1 & \
	  pids+=($$!); \
	done; \
	failed=0; for pid in $${pids[@]}; do wait $$pid || failed=1; done; \
	[ $$failed = 0 ] || { tail -n 25 $(QUANT_HOME)/demo-*.log; exit 1; }
	@$(BIN)/quant summary $(DEMO)
	@echo "open the graph: make ui, then http://127.0.0.1:3000"

test: setup ## the fast suite, two files at a time
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-slow: setup ## environments built from the lock, browser, faults
	$(BIN)/python -m pytest -q -m 'slow or browser or faults'

check: $(READY) ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy quant_core quant_assets benchmarks definitions.py examples docs/screenshots.py
	$(BIN)/lint-imports --no-cache

fix: $(READY) ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: setup ## the Dagster UI at http://127.0.0.1:3000
	$(BIN)/dagster dev -m definitions

bench: $(BENCH_READY) ## measure against the named peers, in an environment of their own, and write docs/benchmarks.md
	$(BENCH)/python -m benchmarks --write $(TOPICS)

$(BENCH_READY): locks/bench.txt | $(READY)
	@$(BENCH_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "the peers need Python 3.11; BENCH_PYTHON=$(BENCH_PYTHON) is not. Set BENCH_PYTHON=/path/to/python3.11"; exit 1; }
	$(BENCH_PYTHON) -m venv .venv-bench
	$(call filled,$(BENCH),locks/bench.txt)
	@touch $@

screenshots: setup ## the README's pictures, of a fresh demo in headless Chromium
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && \
	$(MAKE) --no-print-directory demo QUANT_HOME=$$home && $(BIN)/python docs/screenshots.py $$home

snapshots: setup ## rewrite the snapshots; review them as code
	$(BIN)/python -m pytest -q --snapshot-update tests/architecture
	$(BIN)/python -c "import quant_core.features.page as p; print(p.features_page(), end='')" > docs/features.md

lock: $(READY) ## pin every dependency with hashes
	$(BIN)/uv pip compile --quiet pyproject.toml --extra platform --extra dev --extra sources --universal --python-version 3.11 --generate-hashes --no-header -o locks/dev.txt
	$(BIN)/uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header -o locks/base.txt
	$(BIN)/uv pip compile --quiet pyproject.toml --extra bench --constraints locks/dev.txt --universal --python-version 3.11 --generate-hashes --no-header -o locks/bench.txt

clean: ## remove the environments and the local home
	rm -rf .venv .venv-bench .quant
