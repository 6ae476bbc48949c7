# Every target builds .venv from requirements.lock when it is missing or stale.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow lint bench lab ui lock clean

help:            ## list the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

install: $(STAMP)  ## build .venv from the lock

lock:            ## resolve requirements.lock again (needs uv on the PATH)
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --custom-compile-command 'make lock' -o requirements.lock

run: $(STAMP)      ## simulated market to gated, promoted model, replayed by the live runner
	@mkdir -p mlflow
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro
	$(BIN)/python -m pipelines.promote
	$(BIN)/python -m live.runner --mode paper --replay data/clean \
		--bundle $$($(BIN)/python -c 'from pipelines.params import load_params; print(load_params().publish.model)')@champion
	@echo "Tear sheet: data/reports/tear_sheet.html    Runs: make ui"

test: $(STAMP)     ## every test but the slow ones
	$(BIN)/python -m pytest -q -m "not slow"

test-slow: $(STAMP) ## the slow ones
	$(BIN)/python -m pytest -q -m slow

lint: $(STAMP)     ## style, imports and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)    ## each speed claim against its peer, as a table
	$(BIN)/python -m benchmarks.run_all

lab: $(STAMP)      ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir notebooks

ui: $(STAMP)       ## MLflow UI on the project's store, http://127.0.0.1:5000 (press "Model training")
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/mlflow/mlflow.db \
		--default-artifact-root $(CURDIR)/mlflow/artifacts --workers 1 --host 127.0.0.1 --port 5000

clean:           ## remove what runs have written: data, models, tracking store, journals, caches; not .venv, not what was tried
	rm -rf data/lake data/clean data/features data/search data/backtest data/walk_forward data/monte_carlo \
		data/stress data/controls data/reports \
		models/candidate models/promoted mlflow/mlflow.db mlflow/artifacts journal .cache .dvc/cache .dvc/tmp dvc_plots \
		.pytest_cache .ruff_cache .mypy_cache .hypothesis
