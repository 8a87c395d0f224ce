# `make demo` and `make test` need Python 3.11 (or later) and make; everything else they install into .venv from the
# hash-pinned locks. A second run finds the stamps and reuses what is there. `make help` lists the rest.

ifeq ($(origin PYTHON), undefined)
PYTHON := $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
endif

VENV    := .venv
BIN     := $(VENV)/bin
STAMPS  := $(VENV)/.stamps
PIP     := $(BIN)/python -m pip --disable-pip-version-check --no-input
# A stamp means: this lock is installed, and so is the project.
DEMO    := $(STAMPS)/demo
DEV     := $(STAMPS)/dev
# KServe's client, which some tests talk through, wants other versions than we do: an environment of its own.
KSERVE  := $(VENV)/kserve
ARGS    ?=
DOCKER  ?= docker
# The overlays ask for images by tag: k8s/overlays/dev for `dev`, k8s/overlays/gpu for the release.
TAG     ?= dev
# `make locks` moves every pin to its newest release; `make locks LOCKFLAGS=` changes only what pyproject.toml demands.
LOCKFLAGS ?= --upgrade

# A terminal's settings must not reach the environment that the locks describe.
export PYTHONNOUSERSITE := 1
export PIP_REQUIRE_VIRTUALENV := 1
unexport PYTHONPATH PYTHONHOME

.DELETE_ON_ERROR:
.PHONY: help demo up serve test kserve check lint format bench bench-certify bench-faults locks images clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: $(DEMO) ## the whole service on this machine, on shipped real images (ARGS=--once ends after the run)
	$(BIN)/secondreader demo $(ARGS)

up: $(DEMO) ## the embedded stack for an existing data folder (ARGS="--data DIR")
	$(BIN)/secondreader up $(ARGS)

serve: $(DEMO) ## the gateway alone, configured by TRIAGE_* (ARGS="--port 8080")
	$(BIN)/secondreader serve $(ARGS)

test: $(DEV) $(if $(CI),$(KSERVE)/.stamp) ## every test (ARGS="tests/triage -k lease" for some)
	$(BIN)/python -m pytest $(ARGS)

lint: $(DEV) ## style, types, and who imports whom; CI runs this and then every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## lint, and the quick tests
	$(BIN)/python -m pytest -q -m "not e2e and not browser and not slow" $(ARGS)

kserve: $(KSERVE)/.stamp ## the environment of KServe's client, for the tests that talk through it (CI makes it)

format: $(DEV) ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV) ## the measured pairs; prints the table
	$(BIN)/python -m tests.benchmarks $(ARGS)

bench-certify: $(DEV) ## whether certificates keep their promise, for how long, and how fast; prints the table
	$(BIN)/python -m tests.benchmarks.certify $(ARGS)

bench-faults: $(DEV) ## parts that die, hang, lie or run full, under load; prints what everybody saw and what was lost
	$(BIN)/python -m tests.faults $(ARGS)

bench-service: $(DEV) ## the service's speed and memory: gateway, journal, queue, recovery; prints the table
	$(BIN)/python -m tests.benchmarks.service $(ARGS)

images: ## container images of every part (TAG=0.1.0 for the gpu overlay; DOCKER=podman works too)
	$(DOCKER) build -f k8s/images/gateway/Dockerfile -t secondreader-gateway:$(TAG) .
	$(DOCKER) build -f k8s/images/classifier/Dockerfile -t secondreader-classifier:$(TAG) .
	$(DOCKER) build -f k8s/images/classifier/Dockerfile -t secondreader-classifier-gpu:$(TAG) \
	    --build-arg ROLE=classifier-gpu .
	$(DOCKER) build -f k8s/images/trainer/Dockerfile -t secondreader-trainer:$(TAG) .

clean: ## remove the environment, caches and build output (data folders stay, build/demo/data too)
	@# The demo's data folder is a queue that people may have reviewed.
	$(if $(wildcard build),find build -path build/demo/data -prune -o ! -type d -exec rm -f {} +)
	$(if $(wildcard build),find build -depth -type d -empty ! -path build/demo/data ! -path 'build/demo/data/*' -delete)
	rm -rf $(VENV) dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up ------------------------------------------------------------------------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed and none was found. Install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11. Name a newer one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment could be made; on Debian and Ubuntu install python3-venv." >&2; exit 1; }

# `install LOCK`: exactly what the lock names, every file checked against its hash; then the project itself, editable,
# with the build backend that the lock brought.
define install
	$(PIP) install --quiet --require-hashes --only-binary :all: -r $(1)
	$(PIP) install --quiet --no-deps --no-build-isolation --no-index --editable .
	@mkdir -p $(STAMPS) && touch $@
endef

# The dev lock holds everything that the demo lock does, at the same versions: after it nothing is left to install.
$(DEV): requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing the tools and libraries of requirements-dev.lock (about 6 GB, once)..."
	$(call install,requirements-dev.lock)
	@touch $(DEMO)

$(DEMO): requirements-demo.lock pyproject.toml | $(BIN)/python
	@echo "Installing the libraries of requirements-demo.lock (about 5 GB, once)..."
	$(call install,requirements-demo.lock)

$(KSERVE)/.stamp: tests/kserve/requirements.lock | $(BIN)/python
	@echo "Installing KServe's client (about 300 MB, once)..."
	$(BIN)/python -m venv $(KSERVE)
	$(KSERVE)/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes --only-binary :all: \
	    -r tests/kserve/requirements.lock
	@touch $@

# --- locks: dev is resolved first and every role is held to it ----------------------------------------------------------

RESOLVE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
          --no-header --no-annotate --no-emit-index-url --no-emit-find-links
COMPILE = $(RESOLVE) pyproject.toml --extra build
HELD    = $(COMPILE) --upgrade --constraint requirements-dev.lock

locks: | $(BIN)/uv ## renew the lock files (LOCKFLAGS= keeps every pin that still fits)
	$(COMPILE) $(LOCKFLAGS) --extra gateway --extra otel --extra classifier --extra train --extra embedded --extra dev -o requirements-dev.lock
	$(HELD) --extra gateway --extra classifier --extra train --extra embedded -o requirements-demo.lock
	$(HELD) --extra gateway --extra otel -o requirements-gateway.lock
	$(HELD) --extra classifier -o requirements-classifier.lock
	$(HELD) --extra train -o requirements-train.lock
	$(HELD) --extra classifier-gpu -o requirements-classifier-gpu.lock
	$(RESOLVE) $(LOCKFLAGS) tests/kserve/requirements.in -o tests/kserve/requirements.lock

# Not through the dev lock: a lock that is missing or broken must not keep itself from being renewed.
$(BIN)/uv: | $(BIN)/python
	$(PIP) install --quiet uv
