# Works as the first command on a machine with git, make and Python 3.11, 3.12 or 3.13.
#   make evaluate   check, load and compare the five embedded mocks; ends with a report
#   make test       the whole test suite
#   make setup      only install; leaves .venv/bin/testcard
#   make lint       ruff, mypy --strict, import directions (what .ci/run adds to the tests)
#   make wheel      dist/*.whl, the same to the byte wherever it is built
#   make audit      what is known against the pinned versions of dependencies; exit 2 where that could not be asked
#   make sbom       dist/testcard.cdx.json, a CycloneDX bill of materials of testcard[all]
#   make fuzz       feeds damaged files to what reads them, for as long as MINUTES says (10)
# Choose an interpreter with PYTHON=/path/to/python.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then echo $$p; break; fi; done)
INPUTS := pyproject.toml setup.py constraints.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: evaluate test setup lint pages wheel audit sbom fuzz clean
.DEFAULT_GOAL := evaluate

evaluate: $(VENV)/.run
	@$(BIN)/testcard evaluate $(ARGS)

setup: $(VENV)/.run

# Compiled once, for pip does not compile an editable install: the tests start many commands. In the order of the folders
# the light tests come last, so that no process is left with a long file of its own at the end.
test: $(VENV)/.test
	@$(BIN)/python -m compileall -q harness benchmarks mocks reports specs
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Testcard needs Python 3.11, 3.12 or 3.13; none was found. Name one: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "The venv module is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.run: $(INPUTS) | $(BIN)/python
	@echo "Installing Testcard into $(VENV) (about a minute, once)" >&2
	@$(PIP) --editable '.[all]'
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	@$(PIP) --editable '.[dev]'
	@touch $@

# What is made of the code: the catalogue of rules, the reference of keys, the published schemas.
pages: $(VENV)/.run
	$(BIN)/testcard rules --markdown > docs/rules.md
	$(BIN)/testcard schema --markdown > docs/reference.md
	$(BIN)/python -m testcard.harness.cli.schema
	$(BIN)/python -m testcard.harness.runs.validate

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

# In an environment of their own: what looks at the dependencies is none of them.
$(VENV)/.supply: | $(BIN)/python
	@$(BIN)/python -m venv $(VENV)/supply
	@$(VENV)/supply/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1 cyclonedx-bom==7.5.0
	@touch $@

audit: $(VENV)/.supply
	@$(VENV)/supply/bin/python .ci/supply.py audit

sbom: $(VENV)/.run $(VENV)/.supply
	@$(VENV)/supply/bin/python .ci/supply.py sbom $(BIN)/python dist/testcard.cdx.json

MINUTES ?= 10

fuzz: $(VENV)/.test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "atheris>=3" || true
	@$(BIN)/python tests/crash/fuzz_with_atheris.py $(MINUTES)

clean:
	rm -rf $(VENV) build *.egg-info
