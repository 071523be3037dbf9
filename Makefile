# What a person can do here. `make` alone lists it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN    := .venv/bin
WORKERS ?= 3 # one more than cores: tests also wait, for servers and for processes that end
IMAGES  ?= cpu cuda tpu mlflow

.DEFAULT_GOAL := help
.PHONY: help run nightly compile smoke test test-slow test-all lint format docs screenshots docs-links setup setup-dev setup-docs \
  setup-backends pins images sboms push benchmarks clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1|/' | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'

run: setup ## set everything up and run the main job on the embedded digits
	@$(BIN)/elboflow run digits

nightly: setup ## run the example of a nightly experiment here, into build/nightly
	@$(BIN)/elboflow run infra/nightly.yaml --workspace build/nightly

compile: setup ## compile that example for both platforms, into build/pipelines
	@mkdir -p build/pipelines
	@for target in kubeflow vertex; do \
	  $(BIN)/elboflow compile infra/nightly.yaml --target $$target --output build/pipelines/$$target.yaml || exit; done

smoke: setup ## run that example and the experiments whose data are here on 64 examples each, into build/smoke
	@for experiment in infra/nightly.yaml digits table text; do \
	  $(BIN)/elboflow run $$experiment --smoke --workspace build/smoke || exit; done

test: setup-dev ## set everything up and pass the tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not slow"

test-slow: setup-dev ## the slow ones alone
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m slow

test-all: setup-dev ## the tests, and the slow ones
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

lint: setup-dev ## style, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup-dev ## put the code into its style
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

docs: setup-docs ## build the pages of docs/ into build/docs; a dead link in them is an error
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --builder html docs build/docs

screenshots: setup-dev ## take those of MLflow in docs/ anew, with Debian's chromium
	@$(BIN)/python -m docs.screenshots

docs-links: setup-docs ## ask the other sites that they link to
	@$(BIN)/python -m sphinx --quiet --builder linkcheck docs build/docs-links

setup: .venv/.installed ## make .venv, once for each change of the pins
setup-dev: .venv/.installed-dev ## the same, with what tests and linters need
setup-docs: .venv/.installed-docs ## the same, with what builds the pages

.venv/.installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ELBOflow needs Python 3.11 or newer; set PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the pinned versions into .venv (a few minutes at most)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(call install,.)
	@touch $@

.venv/.installed-dev: .venv/.installed
	@$(call install,.[dev])
	@touch $@

.venv/.installed-docs: .venv/.installed
	@$(call install,.[docs])
	@touch $@

setup-backends: setup-dev ## add JAX and PyTorch, whose tests are skipped without them
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch jax

pins: ## resolve constraints.txt anew
	@$(BIN)/uv pip compile --quiet pyproject.toml --extra dev --extra docs --extra jax --python-version 3.11 --no-header --no-annotate \
	  --upgrade --output-file .venv/pins.txt
	@{ head -1 constraints.txt; cat .venv/pins.txt; grep -E '^(torch|uv)==' constraints.txt; } > .venv/constraints.txt
	@mv .venv/constraints.txt constraints.txt

images: ## build the images of steps and of the MLflow server (docker, podman or buildah)
	@infra/images/build.sh build $(IMAGES)

sboms: ## what is in those images, into build/sboms
	@mkdir -p build/sboms
	@for image in $(IMAGES); do infra/images/build.sh sbom $$image > build/sboms/$$image.cdx.json || exit; done

push: ## bring those images to REGISTRY
	@infra/images/build.sh push $(IMAGES)

benchmarks: setup-dev ## speed of the whole job, its orchestration, preprocessing and training; promotions
	@for name in main_job orchestration preprocessing training promotion; do $(BIN)/python -m benchmarks.$$name; done

clean: ## remove .venv, build/ and caches; workspaces stay
	@rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# uv installs in seconds; where it cannot reach what pip can (a mirror in pip's own settings), pip does it. Both compile
# to bytecode: otherwise the first run would (and every run, where Python is told not to write bytecode).
install = $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '$(1)' \
  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '$(1)'
