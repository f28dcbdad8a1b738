# One command each; `make` lists them. Needs Python >= 3.11, git and make, nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
# Test processes side by side.
JOBS ?= 2
# Handed on: make up ARGS="--port 9000", make test ARGS="-k webhooks".
ARGS ?=

# GNU make 3.81 (macOS) cannot keep the output of parallel parts apart.
CALM := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup setup-dev setup-agents setup-mcp setup-deploy
setup: ## Make .venv with what Corral runs on, leaves .venv/bin/corral
	@.ci/setup runtime
setup-dev:
	@.ci/setup dev
setup-agents: setup-dev
	@.ci/setup agents
setup-mcp: setup-dev
	@.ci/setup mcp
setup-deploy: setup-dev
	@.ci/setup deploy

.PHONY: tools
# Where these wheels are not to be had, the tests that need them are skipped; in CI nothing may be skipped.
tools: setup-dev ## Get what judges Dockerfile, compose file and chart, and the walls (helm, hadolint, bwrap)
	@$(MAKE) --no-print-directory setup-deploy || { test -z "$$CI" && echo "tools: going on without" >&2; }
	@.ci/setup walls || { test -z "$$CI" && echo "tools: going on without" >&2; }

.PHONY: up
up: setup ## Run everything in this terminal: Redis, migrations, API, worker, webhooks
	@.venv/bin/corral up $(ARGS)

.PHONY: test
test: tools ## Run the tests (PostgreSQL and valkey come from wheels)
	$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: test-agents
test-agents: setup-agents ## Run the real agents against a scripted model server
	$(PY) -m pytest -n $(JOBS) --dist loadfile tests/agents $(ARGS)

.PHONY: test-agents-slice
# Every row of the scenario table, and a fleet; the rest costs CI more minutes than it has.
AGENTS_SLICE := $(addprefix tests/agents/test_,claude_scenarios_live.py codex_scenarios_live.py claude_fleet.py \
  opencode_live.py egress_live.py)
test-agents-slice: setup-agents ## A part of test-agents, what CI runs
	$(PY) -m pytest -n $(JOBS) --dist loadfile $(AGENTS_SLICE) $(ARGS)

.PHONY: test-mcp
test-mcp: setup-mcp ## Run MCP's conformance suite and Inspector against a running API
	$(PY) -m pytest tests/mcp $(ARGS)

.PHONY: chaos
chaos: setup-dev ## Run the loss and fault suite alone, one test at a time
	$(PY) -m pytest tests/faults $(ARGS)

.PHONY: race
race: setup-dev ## Swap files and symlinks for 100 s while they are asked for: nothing outside may be seen or changed
	$(PY) -m tests.races $(ARGS)

.PHONY: bench
bench: setup-dev ## Measure; writes bench/results.md
	$(PY) -m bench $(ARGS)

.PHONY: bench-slice
bench-slice: setup-dev ## A short measurement that fails only where events were lost or out of order
	@mkdir -p .cache
	$(PY) -m bench --scale 0.1 --only start --only flood --only stalled --database sqlite --exact-only \
	  --output .cache/bench.md

# --------------------------------------------------------------------------- what CI holds against every commit

PARTS := check-format check-lint check-types check-imports check-house

.PHONY: check $(PARTS)
check: setup-dev ## Everything a machine can judge without running Corral, < 60 s
	@$(MAKE) --no-print-directory --keep-going --jobs=2 $(CALM) $(PARTS)
check-format:
	$(PY) -m ruff format --check --quiet --diff .
check-lint:
	$(PY) -m ruff check --quiet .
check-types:
	$(PY) -m mypy
check-imports:
	.venv/bin/lint-imports --no-logo
check-house:
	$(PY) -m pytest -q -p no:cacheprovider tests/house

.PHONY: format
format: setup-dev ## Format the code and mend what ruff can mend
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

.PHONY: docs
docs: setup-dev ## Write the generated pages anew
	$(PY) -m tests.house.generated

.PHONY: lock
lock: setup-dev ## Compile the locks; ARGS=--upgrade moves to the newest versions
	@command -v uv >/dev/null || $(PY) -m pip install --quiet uv
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .ci/lock $(ARGS)

.PHONY: clean
clean: ## Remove .venv and caches
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
