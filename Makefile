# What people and CI run. `make` or `make help` lists the targets; each makes .venv when it is missing.

PYTHON ?= python3
EXTRA  ?= cpu
BENCH  ?= sample
VENV   := .venv
VLLM   := .venv-vllm
BASELINES := .venv-baselines
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready-$(EXTRA)
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install models demo test test-vllm check format bench docs wheel-test bench-baselines clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY)  ## make .venv with the project and its tools, versions from constraints.txt (EXTRA=gpu for faiss-gpu)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing pip and torch (the largest part: a few minutes the first time)"
	@$(PIP) --quiet pip
	@$(PIP) "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	@echo "installing the project with extra '$(EXTRA)' and its tools (about 100 packages, a minute or two)"
	@$(PIP) --quiet -e '.[$(EXTRA)]' --group dev
	@touch $@

models: $(READY)  ## download and verify the models that assistant.yaml names
	@$(BIN)/assistant models pull

demo: $(READY)  ## the whole idea in a minute: models, ingest, questions, deletion, the log verified
	@$(BIN)/assistant demo

test: models  ## all tests but the long ones (pass ARGS="tests/cli -x" to narrow)
	@$(BIN)/python -m pytest $(ARGS)

check: $(READY)  ## lint, format, types and the layers of the architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY)  ## put the code in form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: models  ## figures as JSON lines, one a line (BENCH=name, ARGS="--quick")
	@$(BIN)/python -m benchmarks $(BENCH) $(ARGS)

bench-baselines: $(READY)  ## make the environment of the frameworks that `make bench BENCH=ingest` compares with (minutes)
	@benchmarks/ingesting/environment.sh $(BIN)/python $(BASELINES)

docs: $(READY)  ## generate docs/rules.schema.json and docs/commands.md
	@$(BIN)/python docs/generate.py

wheel-test: $(READY)  ## install the wheel in an empty environment elsewhere and ask a question there (minutes)
	@tests/wheel.sh $(BIN)/python

test-vllm: models  ## the engine's tests against a real vLLM server on this CPU, in an environment of its own (minutes)
	@tests/vllm/run.sh $(BIN)/python $(VLLM) $(ARGS)

clean:  ## remove .venv and caches; var/ (database, log, models) stays
	rm -rf $(VENV) $(VLLM) $(BASELINES) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
