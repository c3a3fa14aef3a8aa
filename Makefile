SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOAD := .venv-load
INSTALLED := $(VENV)/.installed

RUNTIME := --extra history --extra tracing --extra sentry
define compile
{ echo '# Made by `make lock`. Install with: pip install --require-hashes -r $(1)'; \
  $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
    --no-header $(2) pyproject.toml; } > $(1).new && mv $(1).new $(1)
endef

NO_PAGE := test -f web/dist/index.html || echo "The web page is not built (make web); all else works without it."

.DEFAULT_GOAL := help
.PHONY: help demo up web test test-web test-large test-layouts faults drills check bench bench-api bench-archive bench-jobs soak-api load lock clean

help:  ## What each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(INSTALLED): requirements.lock client/pyproject.toml
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing the packages that requirements.lock lists …"
	@$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable client
	@touch $@

demo: $(INSTALLED)  ## The whole path before your eyes: five files, one archive, every byte checked
	@$(NO_PAGE)
	@$(BIN)/python -m stack.demo

up: $(INSTALLED)  ## The whole system on http://127.0.0.1:8080 (PORT=, WORKERS=)
	@$(NO_PAGE)
	@$(BIN)/python -m stack

web: web/node_modules/.package-lock.json  ## Build the web page, with the machine's Node or one from a wheel
	@web/node.sh npm run --silent build

web/node_modules/.package-lock.json: web/package-lock.json | $(INSTALLED)
	@PYTHON=$(abspath $(BIN)/python) web/node.sh npm ci --loglevel error
	@touch $@

test-web: web  ## The web page and its client: unit tests, then the whole system in a real Chromium
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -qq -y chromium; }
	@web/node.sh npm run --silent check
	@web/node.sh npm test --silent
	@web/node.sh npm run --silent e2e

test: $(INSTALLED)  ## Every test, on real Valkey, S3, PostgreSQL and nginx
	@$(NO_PAGE)
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-large: $(INSTALLED)  ## Archives of 2, 5 and 9 GiB, kill -9 and every tool: needs 30 GB of disk
	@LARGE=1 $(BIN)/python -m pytest tests/e2e/test_large_archive.py -s

test-layouts: $(INSTALLED)  ## 20,000 random archive layouts with crashes at any call (LAYOUTS= of each kind)
	@ARCHIVE_EXAMPLES=$(or $(LAYOUTS),5000) $(BIN)/python -m pytest \
	  tests/unit/worker/archive/test_crashes.py -o timeout=3600

faults: $(INSTALLED)  ## Jobs under random faults, and a ledger at the end (JOBS=, FAULTS=, SEED=)
	@$(BIN)/python -m tests.faults.soak --jobs $(or $(JOBS),2000) --faults $(or $(FAULTS),200) \
	  $(if $(SEED),--seed $(SEED))

drills: $(INSTALLED)  ## One fault at a time, with a clock: how long until all goes on (DRILLS="worker valkey-5 …")
	@$(BIN)/python -m tests.faults.drills $(DRILLS)

check: $(INSTALLED)  ## Style, types and who may import whom
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# The baseline in Node, and wrk, which is fast enough to load a server from one core.
PEER := bench/peer/node_modules/.package-lock.json
$(PEER): bench/peer/package-lock.json | $(INSTALLED)
	@command -v wrk >/dev/null || { apt-get update -qq && apt-get install -qq -y wrk; }
	@PYTHON=$(abspath $(BIN)/python) web/node.sh npm --prefix ../bench/peer ci --loglevel error
	@touch $@

bench-api: $(INSTALLED) $(PEER)  ## Compare the API and 5,000 streams with a Node server (ROUNDS= STREAMS= PROFILES=plain,cors,jwt)
	@ulimit -n 20000; PATH="$(abspath web/.node/bin):$$PATH" $(BIN)/python -m bench.api \
	  $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(STREAMS),--streams $(STREAMS)) $(if $(PROFILES),--profiles $(PROFILES))

soak-api: $(INSTALLED)  ## Thousands of streams while jobs end and API processes restart (STREAMS=5000 MINUTES=10)
	@ulimit -n 20000; $(BIN)/python -m bench.api_soak $(if $(STREAMS),--streams $(STREAMS)) $(if $(MINUTES),--minutes $(MINUTES))

bench-jobs: $(INSTALLED) $(PEER)  ## Compare the overhead of a job with BullMQ (ROUNDS=)
	@PATH="$(abspath web/.node/bin):$$PATH" $(BIN)/python -m bench.jobs $(if $(ROUNDS),--rounds $(ROUNDS))

bench: bench-archive bench-api bench-jobs  ## All benchmarks, each beside its baseline

bench-archive: $(INSTALLED)  ## Compare the archive engine with zipstream-ng and bare copies, also through a slow line (SCALE= ROUNDS= SETS= PLACES=)
	@$(BIN)/python -m bench.archive $(if $(SCALE),--scale $(SCALE)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(SETS),--sets $(SETS)) $(if $(PLACES),--places $(PLACES))

load: $(INSTALLED) $(LOAD)/.installed  ## 100 people post, watch and download; a verdict (USERS= RAMP= SECONDS= WORKERS= HOST=)
	@$(BIN)/python -m bench.load

# Locust brings a web server and much else that nothing here needs: it stays on its own.
$(LOAD)/.installed: bench/load.lock
	@test -d $(LOAD) || $(PYTHON) -m venv $(LOAD)
	@$(LOAD)/bin/pip install --quiet --require-hashes -r bench/load.lock
	@touch $@

lock: $(INSTALLED)  ## Pin every version anew: all in requirements.lock, the images' share in the other
	@$(call compile,requirements.lock,--extra dev)
	@$(call compile,requirements-runtime.lock,$(RUNTIME) --constraints requirements.lock)
	@{ echo '# Made by `make lock`. Install with: pip install --require-hashes -r bench/load.lock'; \
	  echo locust | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header --python-version 3.11 -; } > bench/load.lock.new
	@mv bench/load.lock.new bench/load.lock

clean:  ## Remove what the targets above made
	@rm -rf $(VENV) $(LOAD) .state web/dist web/.node web/node_modules .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
