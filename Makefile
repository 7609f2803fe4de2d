# `make chaos` and `make test` set up everything they need in .venv; nothing else is touched.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TESTS  ?= tests
# One of each family, and what the README shows: half a minute. `make suites` runs all of them.
HEADLINE := $(wildcard suites/delete_while_booting/delete-before-compute-claims.plan.yaml \
  suites/delete_while_booting/race-two-deletes*.plan.yaml suites/restart_recovery/kill-*.plan.yaml \
  suites/restart_recovery/compute-dies-again.plan.yaml suites/volume_detach/delay-*.plan.yaml)

CONTAINED := $(wildcard suites/delete_while_booting/race-two-deletes.plan.yaml \
  suites/restart_recovery/kill-compute-mid-reboot.plan.yaml suites/volume_detach/delay-bdm-deletion.plan.yaml)

.PHONY: help chaos containers suites test conformance lint schema bench clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

chaos: $(READY) ## run the headline plans on the embedded reference control plane, write the report
	@$(BIN)/chaos run $(HEADLINE)

containers: $(READY) ## run three of them in containers of this machine's Docker engine (docs/containers.md)
	@$(BIN)/chaos run $(CONTAINED) --target containers

suites: $(READY) ## run every plan of suites/ there, in some minutes
	@$(BIN)/chaos run suites

test: $(READY) ## pass the framework's own tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal --timeout=120 $(TESTS) --chaos-results=chaos-results/tests
	@[ "$(TESTS)" != tests ] || $(BIN)/python -m pytest -q tests/containers --chaos-results=chaos-results/contained

conformance: $(READY) ## run the tests of OpenStack's own clients on the reference
	@$(BIN)/python -m tests.conformance

lint: $(READY) ## types, style, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

schema: $(READY) ## write docs/plan.schema.json again
	$(BIN)/chaos schema --target reference > docs/plan.schema.json

bench: $(READY) ## measure what the README claims
	@for bench in bench/*.py; do echo; echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

clean: ## remove what the targets above made
	rm -rf $(VENV) chaos-results build *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "setting up $(VENV), once ..."
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "Python's venv module is incomplete; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[reference,dev]'
	@touch $@
