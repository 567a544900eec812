# Every target makes what it needs; none needs another to have been run before. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup cometbft demo demo-network test test-long check lint types imports bench bench-network soak docs messages new-app lock clean clean-all
export PYTHON

PY := .venv/bin/python
GUILDBOOK := .venv/bin/guildbook
WORKERS ?= 2

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## Make or mend .venv: locked versions, checked hashes; quick when nothing changed
	@scripts/setup

cometbft: setup  ## CometBFT, which a network runs: found where it is, or built once; make cometbft VERSIONS="0.39.4 0.38.25"
	@$(PY) scripts/obtain_cometbft.py $(VERSIONS)

demo: setup  ## A points alliance from start to proof, in seconds once set up; it writes below build/
	@out=build/points-demo; number=2; \
	while [ -e "$$out" ]; do out=build/points-demo-$$number; number=$$((number + 1)); done; \
	$(GUILDBOOK) demo points --out "$$out"

demo-network: setup  ## A network of four members and an observer on this machine, with the points alliance across them
	@out=build/network-demo; number=2; \
	while [ -e "$$out" ]; do out=build/network-demo-$$number; number=$$((number + 1)); done; \
	$(GUILDBOOK) network demo points --out "$$out"

test: check  ## Everything that must hold: lint, types, imports, then the tests (without the long ones)
	@$(PY) scripts/obtain_cometbft.py --try
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal

test-long: setup  ## The long tests: soak, crash series, deep fuzzing
	@$(PY) scripts/obtain_cometbft.py --try 0.39.4 0.38.25
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal --timeout 1800 -m slow

check: lint types imports  ## Lint, types and import rules alone

lint: setup
	@$(PY) -m ruff check .

types: setup
	@$(PY) -m mypy

imports: setup
	@.venv/bin/lint-imports

bench: setup  ## Measure this machine; the figures and their conditions go to build/bench.json
	@mkdir -p build
	@$(GUILDBOOK) bench --all --output build/bench.json
	@$(PY) benchmarks/bench_views.py --output build/bench.json
	@$(PY) benchmarks/bench_funds.py --output build/bench.json

bench-network: setup  ## Measure a network of four organisations on this machine: make bench-network SECONDS=300
	@$(PY) scripts/obtain_cometbft.py
	@mkdir -p build
	@$(PY) benchmarks/bench_network.py --seconds $(or $(SECONDS),60) --output build/bench-network.json

soak: setup  ## Faults at random on a network under load, for as long as wanted: make soak SECONDS=3600 SEED=7
	@$(PY) scripts/obtain_cometbft.py
	@GUILDBOOK_SOAK_SECONDS=$(or $(SECONDS),600) GUILDBOOK_SOAK_SEED=$(SEED) \
		$(PY) -m pytest -m slow -q -s --timeout 0 tests/cluster/test_soak.py

docs: setup  ## Write the generated reference pages (docs/reference)
	@$(PY) scripts/build_reference.py

messages: setup  ## Write the generated classes of the engine's messages (src/guildbook/engine/abci)
	@$(PY) scripts/build_messages.py

new-app: setup  ## A new application that passes its tests: make new-app NAME=loans
	@test -n "$(NAME)" || { echo "give the application a name: make new-app NAME=loans" >&2; exit 2; }
	@$(GUILDBOOK) new-app "$(NAME)"

lock: ## Lock again after a change of dependencies; newest versions: make lock UPGRADE=--upgrade
	@scripts/lock $(UPGRADE)

clean:  ## Remove what tests and builds left behind; .venv stays
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

clean-all: clean  ## The same, and .venv
	@rm -rf .venv
