# Everything a newcomer, a developer or CI does here; each target works in a fresh clone with Python and make only.
#   make demo           the whole thing once, on generated events whose truth is known
#   make test           every test, properties at a reduced count (at most 15 minutes)
#   make lint           ruff, mypy strict, import contracts
#   make acceptance     every test, properties at full counts
#   make bench          this analysis beside its peers (by hand: timings need a quiet machine)
#   make lab-slurm      a real Slurm cluster in containers, for the tests that need one; lab-down removes it
#   make lab-htcondor   likewise, a real HTCondor pool
#   make lab-xrootd     a real XRootD server, for the tests that need one; lab-down removes it
#   make lab-s3         two real S3 services, Ceph's and Swift's, for the tests that need them; lab-down removes them
#   make lock           pin the requirements again (needs uv)
#   make wheel          dist/*.whl and the source distribution
#   make clean          remove what the other targets made
# PYTHON=/path/to/python3.12 chooses the interpreter, VENV=dir where things are installed, ARGS="-k name" what pytest runs.

VENV ?= .venv
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(SUPPORTED)' 2>/dev/null && { command -v $$p; break; }; done)
endif
ifneq ($(filter-out clean help lock lab-%,$(or $(MAKECMDGOALS),help)),)
ifneq ($(shell $(or $(PYTHON),false) -c '$(SUPPORTED)' 2>/dev/null && echo yes),yes)
$(error needs Python 3.11, 3.12 or 3.13$(if $(PYTHON), and $(PYTHON) is not that); name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS))
endif
PY := py$(shell $(PYTHON) -c 'import sys; print("%d%d" % sys.version_info[:2])')
endif

BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

.PHONY: help demo test acceptance lint bench lab-slurm lab-htcondor lab-s3 lab-xrootd lab-down lock wheel clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/demo-$(PY)
	$(BIN)/vrecompute demo --out vrecompute-demo $(ARGS)

test: $(VENV)/all-$(PY)
	$(PYTEST) $(ARGS)

acceptance: $(VENV)/all-$(PY)
	VRECOMPUTE_ACCEPTANCE=1 $(PYTEST) $(ARGS)

lint: $(VENV)/all-$(PY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/bench-$(PY)
	$(BIN)/python -m benchmarks.selection $(ARGS)

lab-slurm:
	containers/slurm/up

lab-xrootd:
	containers/xrootd/up

lab-s3:
	containers/s3/up

lab-htcondor:
	containers/htcondor/up

lab-down:
	@for down in containers/*/down; do echo "$$down"; "$$down" || exit 1; done

lock:
	requirements/lock

wheel: $(VENV)/all-$(PY)
	$(BIN)/python -m build --no-isolation --outdir dist .

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache vrecompute-demo

# An environment is made once per Python version and lock file; the empty files in it are the stamps.
$(VENV)/made-$(PY):
	@echo "making $(VENV) with $(PYTHON) ($(PY))"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/demo-$(PY): requirements/$(PY)-demo.txt pyproject.toml | $(VENV)/made-$(PY)
	@echo "installing $< into $(VENV): a few minutes the first time"
	@$(PIP) install --require-hashes -r $<
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/all-$(PY): requirements/$(PY).txt pyproject.toml | $(VENV)/made-$(PY)
	@echo "installing $< into $(VENV): a few minutes the first time"
	@$(PIP) install --require-hashes -r $<
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/demo-$(PY)

$(VENV)/bench-$(PY): $(VENV)/all-$(PY)
	@$(PIP) install -e '.[bench]'
	@touch $@
