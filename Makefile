# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 5
PEERS := redis-server mariadb-server postgresql openssh-server git nodejs strace util-linux libfaketime docker.io podman busybox-static

.PHONY: help setup run demo test check torture mutants peers lock clean

help: ## show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

# A virtual environment is stale when its lock file is newer than its stamp, or when its interpreter is gone.
$(VENV)/.run: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(BIN)/python -c pass 2>/dev/null || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

setup: $(VENV)/.dev ## make .venv with everything that `make test` needs

run: $(VENV)/.run ## start the worker (settings: config_worker.json, environment)
	@$(BIN)/python bootstrap.py

demo: $(VENV)/.run ## show ten sample tasks, one of each category, at work; ends by itself
	@$(BIN)/python -m adapters.testkit.demo

check: $(VENV)/.dev ## formatting, lint, import rules, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: check ## all checks and all tests, in less than 5 minutes
	$(BIN)/python -m pytest -n 3 --dist loadgroup -m "not torture" --cov --cov-report=term

torture: $(VENV)/.dev ## the long form of the reliability tests: make torture MINUTES=30
	MINUTES=$(MINUTES) $(BIN)/python -m adapters.testkit.torture

mutants: $(VENV)/.dev ## show that each deliberate defect turns a test red
	$(BIN)/python -m adapters.testkit.mutants

peers: ## install the real servers and tools that tests use (Debian packages; needs root)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PEERS)

lock: ## renew both lock files from pyproject.toml (needs uv)
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --all-extras --group dev -o requirements-dev.lock pyproject.toml
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --all-extras -c requirements-dev.lock -o requirements.lock pyproject.toml

clean: ## remove what the above made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
