# Everything a developer does, one target each. `make` lists them.
#
# Needs only Python 3.11 to 3.13 and GNU make: Node comes from PATH when recent enough and otherwise from a
# Python wheel, the browser for the tests is found or installed. State is kept in stamp files inside .venv and
# web/node_modules, so that a second run starts in seconds. Python packages are installed in the very versions that were
# tested together (`make lock` writes them down), Node's in those of web/package-lock.json.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTED := glassformer/tested.txt
# What pip installs, and what it builds with; emptied by test-newest.
VERSIONS := --constraint $(TESTED)
BUILD_VERSIONS := --build-constraint $(TESTED)
NPM := $(BIN)/python hatch_build.py npm
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The Python that the tests of the page start servers with.
export GLASSFORMER_PYTHON = $(abspath $(BIN)/python)

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "; print "usage: make TARGET\n"} /^[a-z0-9-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- The three things people do -------------------------------------------------------------------------------------

.PHONY: run
run: page $(VENV)/.installed ## Build what is missing, serve at http://127.0.0.1:8000 (make run ARGS="--port 9000")
	@$(BIN)/glassformer serve $(ARGS)

.PHONY: test
test: check unit web e2e ## Run every check and every test, installing what they need
	@echo "All checks and tests passed."

.PHONY: check
check: $(VENV)/.installed-dev packages ## Lint, formatting, types and import rules, Python and TypeScript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(NPM) run --silent lint
	$(NPM) run --silent typecheck

# --- The tests, one kind at a time ----------------------------------------------------------------------------------

.PHONY: unit
unit: page $(VENV)/.installed-dev ## Python tests, service tests included (make unit ARGS="-k name")
	$(BIN)/python -m pytest $(ARGS)

.PHONY: reliability
reliability: page $(VENV)/.installed-dev ## Run every test that docs/reliability.md names, and write that page
	@$(BIN)/python scripts/reliability.py

.PHONY: real-model
real-model: $(VENV)/.installed-dev ## Fetch the real model that some tests read into the user's cache, once
	@$(BIN)/python scripts/real_model.py

.PHONY: web
web: packages ## TypeScript unit tests
	$(NPM) run --silent test

.PHONY: e2e
e2e: page $(VENV)/.installed-dev ## Browser tests: the real page, the real server, real Chromium
	@CHROMIUM="$$($(BIN)/python scripts/browser.py)" && export CHROMIUM && $(NPM) run --silent e2e

.PHONY: pictures
pictures: page $(VENV)/.installed-dev ## Store the pictures anew that e2e holds the page against; look at them
	@CHROMIUM="$$($(BIN)/python scripts/browser.py)" && export CHROMIUM && $(NPM) run --silent pictures

.PHONY: monkey
monkey: page $(VENV)/.installed-dev ## Press 1,000 random things on each bundled model (MONKEY_SEEDS=1,2,3 MONKEY_STEPS=500)
	@CHROMIUM="$$($(BIN)/python scripts/browser.py)" && export CHROMIUM && $(NPM) run --silent monkey

# Node's packages stay as they are locked; torch is the newest that the package's own range and the machine allow.
.PHONY: test-newest
test-newest: ## Every check and every test again, on the newest version of every Python package
	@rm -f .venv-newest/.made .venv-newest/.installed*
	@$(MAKE) --no-print-directory test VENV=.venv-newest \
	  VERSIONS="--upgrade --upgrade-strategy eager" BUILD_VERSIONS=

.PHONY: bench
bench: page $(VENV)/.installed-dev ## Run every measurement in bench/; the tables land in bench/results/
	@set -e; CHROMIUM="$$($(BIN)/python scripts/browser.py)"; export CHROMIUM; \
	for question in bench/*.py; do echo "== $$question"; $(BIN)/python "$$question"; done

.PHONY: fuzz
fuzz: page $(VENV)/.installed-dev ## Ask a real server 10,000 generated things, and hold each answer to the API's document
	@$(BIN)/python scripts/fuzz.py

.PHONY: clients
clients: page $(VENV)/.installed-dev ## Run real clients, each in an environment of its own; the table lands in docs/clients.md
	@$(BIN)/python clients/run.py $(ARGS)

# --- Packages -------------------------------------------------------------------------------------------------------

.PHONY: build
build: $(VENV)/.installed-dev node ## The sdist, and the wheel made from it, into dist/
	$(BIN)/python hatch_build.py page
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

.PHONY: lock
lock: $(VENV)/.made ## Write down the newest versions of all Python packages, to be tested with make test
	@$(BIN)/python scripts/lock.py

.PHONY: clean
clean: ## Remove everything that make made, .venv and node_modules included
	rm -rf $(VENV) .venv-newest build dist web/node_modules tests/clients/node_modules web/test-results glassformer/server/page
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find glassformer tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# --- What the targets above stand on --------------------------------------------------------------------------------

$(VENV)/.made: $(TESTED)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
	  echo "Glassformer needs Python 3.11 to 3.13, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1); try: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Python could not make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet $(VERSIONS) --upgrade pip
	@touch $@

# An editable install. The page comes first: while it is missing, building the package would ask for Node again.
$(VENV)/.installed: $(VENV)/.made pyproject.toml | page
	@echo "Installing Python packages into $(VENV); the first time takes some minutes, mostly for PyTorch."
	@$(BIN)/python -m pip install --quiet $(VERSIONS) $(BUILD_VERSIONS) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml | page
	@echo "Installing Python packages into $(VENV), those for development too; the first time takes some minutes."
	@$(BIN)/python -m pip install --quiet $(VERSIONS) $(BUILD_VERSIONS) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

.PHONY: node
node: $(VENV)/.made
	@wanted="$$($(BIN)/python hatch_build.py wants-node)"; \
	  [ -z "$$wanted" ] || $(BIN)/python -m pip install --quiet $(VERSIONS) "$$wanted"

.PHONY: packages
packages: node
	@$(BIN)/python hatch_build.py packages

# Asked every time and answered by the content of the sources; nothing happens when nothing changed.
.PHONY: page
page: $(VENV)/.made
	@$(BIN)/python hatch_build.py is-page-fresh || { $(MAKE) --no-print-directory packages && $(BIN)/python hatch_build.py page; }
