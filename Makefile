# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 5
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The locks are complete: whatever pip would add to them was never tried together.
INSTALL := $(PIP) install --quiet --no-deps --require-hashes -r
CHECK = $(PIP) check || { echo "$(VENV) holds packages that do not fit together; make it anew: make clean $(MAKECMDGOALS)"; exit 1; }
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PEERS := redis-server mariadb-server postgresql openssh-server git nodejs strace util-linux libfaketime docker.io podman busybox-static

.PHONY: help setup run demo test check torture mutants peers lock clean

help: ## show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

# A .venv that was finished is of no use any more when the program does not start in it: another Python came with an
# upgrade of the system, or packages are gone. What was not finished has no stamp.
ifneq ($(wildcard $(VENV)/.run),)
ifeq ($(shell $(BIN)/python bootstrap.py --version 2>/dev/null),)
.PHONY: $(VENV)/.run
endif
endif

$(VENV)/.run: requirements.lock
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@{ $(BIN)/python -c '$(NEW_ENOUGH)' && $(PIP) --version; } >/dev/null 2>&1 || { \
	  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make a virtual environment; as root: apt-get install $(notdir $(PYTHON))-venv"; exit 1; }; \
	  rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	$(INSTALL) requirements.lock
	@$(CHECK)
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(INSTALL) requirements-dev.lock
	@$(CHECK)
	@touch $@

setup: $(VENV)/.dev ## make .venv with everything that `make test` needs

run: $(VENV)/.run ## start the worker (settings: config_worker.json, environment)
	@exec $(BIN)/python bootstrap.py

demo: $(VENV)/.dev ## show ten sample tasks, one of each category, at work; ends by itself
	@$(BIN)/python -m tests.support.demo

check: $(VENV)/.dev ## formatting, lint, import rules, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: check ## all checks and all tests, in less than 6 minutes
	$(BIN)/python -m pytest -n 3 --dist loadgroup -m "not torture" --cov --cov-report=term

torture: $(VENV)/.dev ## the long form of the reliability tests: make torture MINUTES=30
	MINUTES=$(MINUTES) $(BIN)/python -m tests.support.torture

mutants: $(VENV)/.dev ## show that each deliberate defect turns a test red
	$(BIN)/python -m tests.support.mutants

peers: ## install the real servers and tools that tests use (Debian packages; needs root)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PEERS)

lock: ## renew both lock files from pyproject.toml (needs uv)
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --all-extras --group dev -o requirements-dev.lock pyproject.toml
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --extra all -c requirements-dev.lock -o requirements.lock pyproject.toml

clean: ## remove what the above made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
