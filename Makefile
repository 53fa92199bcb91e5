# Signalbox. `make help` lists what there is; the first `make up` or `make test` makes .venv by itself.

SHELL := /bin/sh
PYTHON ?= python3
PORT ?= 8000
STATE := $(or $(SIGNALBOX_STATE_DIR),.signalbox)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url

.PHONY: help up test test-coverage test-slow test-services lint bench clean lock
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

up: $(VENV)/.runtime ## start everything on 127.0.0.1:$PORT (8000), until Ctrl-C
	@SIGNALBOX_MODE=development exec $(BIN)/python manage.py up --port "$(PORT)"

test: $(VENV)/.development ## units, workflows on a real server, web and browser tests
	@exec $(BIN)/python -m tests.run

test-coverage: $(VENV)/.development ## the same, and the lines and branches that it reached
	@exec $(BIN)/python -m tests.run --coverage

test-slow: $(VENV)/.development ## kills, scale and soak
	@exec $(BIN)/python -m tests.run --slow

test-services: $(VENV)/.development ## what touches the database or the cache, on PostgreSQL and Redis
	@exec $(BIN)/python -m tests.run --services

lint: $(VENV)/.development ## style, types, templates, migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	SIGNALBOX_MODE=development $(BIN)/mypy .
	find . -path './.venv' -prune -o -path '*/templates/*' -name '*.html' -print | xargs $(BIN)/djade --target-version 5.2 --check
	SIGNALBOX_MODE=development $(BIN)/python manage.py makemigrations --check --dry-run

bench: $(VENV)/.development ## the measured targets, into bench/results.json
	@exec $(BIN)/python -m bench

clean: ## remove the state folder: databases, ledger, keys
	rm -rf -- "$(STATE)" .test-artifacts

lock: $(VENV)/.development ## compile the hashed locks from the *.in files
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-production.in -o requirements-production.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Signalbox needs Python 3.11 to 3.14; there is no $(PYTHON). Name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { echo "Signalbox needs Python 3.11 to 3.14; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments (on Debian: apt-get install python3-venv)." >&2; exit 1; }

# Stamps: packages are installed again only when a lock has changed.
$(VENV)/.runtime: requirements.txt | $(BIN)/python
	@echo "Installing the packages of requirements.txt, with hash checking ..."
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.development: requirements-dev.txt $(VENV)/.runtime
	@echo "Installing the packages of requirements-dev.txt, with hash checking ..."
	@$(PIP) -r requirements.txt -r requirements-dev.txt
	@touch $@
