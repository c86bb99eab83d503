# Each target sets up what it needs first; the first run on a fresh clone installs everything.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
READY := .venv/.ready
TEST_READY := .venv/.test-ready
BENCH_READY := .venv/.bench-ready

COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-header --no-annotate

.PHONY: help setup demo test up check bench chaos lock format clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##[ ]*/\t/' | expand -t 10

setup: $(READY)  ## install what is missing: system packages, .venv, locked dependencies

$(READY): pyproject.toml deploy/locks/dev.txt deploy/local/setup.sh deploy/local/packages.sh
	@deploy/local/setup.sh

demo: $(READY)  ## run the main job on real photographs, start to webhook, and check the outcome
	@$(PYTHON) -m deploy.local.demo

test: $(TEST_READY)  ## all tests, half a minute of chaos among them, on a real MongoDB
	@$(PYTHON) -m pytest

up: $(READY)  ## the whole system on this machine, with a MongoDB of its own; Ctrl-C ends it
	@$(PYTHON) -m deploy.local.up

check: $(READY)  ## lint, format, types, layers, containers, manifests
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@PYTHONPATH=. .venv/bin/lint-imports
	@.venv/bin/hadolint deploy/docker/Dockerfile
	@.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	@$(PYTHON) -m tests.support.manifests

$(TEST_READY): $(READY) deploy/local/setup_tests.sh deploy/local/packages.sh
	@deploy/local/setup_tests.sh

bench: $(BENCH_READY)  ## measure, and print one JSON object as the last line
	@$(PYTHON) -m tests.bench

$(BENCH_READY): $(READY) deploy/locks/bench.txt deploy/local/setup_bench.sh
	@deploy/local/setup_bench.sh

chaos: $(READY)  ## kill everything at random while work goes on, then check that nothing was lost
	@$(PYTHON) -m tests.chaos

format: $(READY)  ## format the code and mend what ruff can mend
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

lock: $(READY)  ## resolve the lock files anew; the services' ones agree with dev.txt
	@for extra in dev bench local otel; do \
	  constraint=$$([ $$extra = dev ] || echo "--constraint deploy/locks/dev.txt"); \
	  $(COMPILE) --extra $$extra $$constraint pyproject.toml -o deploy/locks/$$extra.txt || exit 1; \
	done
	@for service in ingest watcher notifier; do \
	  $(PYTHON) -m deploy.local.extras $$service | \
	    $(COMPILE) --constraint deploy/locks/dev.txt - -o deploy/locks/$$service.txt || exit 1; \
	done

clean:  ## remove what was installed and what runs left behind; stored images and data under .data stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
