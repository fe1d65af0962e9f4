# Everything runs from .venv, which is made from the lock file by the first target that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Every script of bench/ that measures; the others, and bench/peers/, are what they share.
SHARED := bench/harness.py bench/event_load.py bench/noop_jobs.py bench/rca_cases.py bench/rca_baselines.py bench/rca_planting.py
BENCHES := $(filter-out $(SHARED),$(wildcard bench/*.py))

.PHONY: setup demo test soak lint bench docs lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@echo "millstream: installing into $(VENV) (about half a minute, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $(STAMP)

demo: setup
	@$(BIN)/millstream demo

# Three processes (tests/support/groups.py says which tests run where). The last line has the time.
test: setup
	@$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder --durations 25

# The scenarios of more than a minute in full length, with progress and a line of figures each, and every right of the table.
soak: setup
	@$(BIN)/python -m pytest -m soak tests/faults tests/e2e tests/integration/millstream/rights

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy tests bench
	@$(BIN)/lint-imports

bench: setup
	@for script in $(BENCHES); do echo "== $$script"; $(BIN)/python $$script --quick || exit 1; done

# The pages that are made from the code, and held to it by tests.
docs: setup
	@$(BIN)/millstream config reference > docs/configuration.md
	@$(BIN)/python docs/make_views.py
	@$(BIN)/python docs/make_dashboard.py

# Resolves the newest versions that pyproject.toml allows, for every Python from 3.11 on, with hashes and without hosts:
# everything for developers, and only what the services need for the image.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-emit-find-links --no-header pyproject.toml

lock: setup
	@$(COMPILE) --all-extras --group dev -o requirements.lock
	@$(COMPILE) --extra services --extra schema-registry --extra tracing --extra redaction -o deploy/requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info
