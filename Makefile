# `make demo` and `make test` do all the set-up on a fresh machine with git, make, gcc and Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
DEMO_READY := .venv/.demo-ready
TEST_READY := .venv/.test-ready

.PHONY: demo test test-slow format benchmark clean

demo: $(DEMO_READY)
	$(BIN)/isometry demo

test: $(TEST_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/pytest -n 2

test-slow: $(TEST_READY)
	$(BIN)/pytest -m slow

format: $(TEST_READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: $(TEST_READY)
	$(BIN)/python benchmarks/check_cost.py

clean:
	rm -rf .venv

# torch comes first and by its exact version: a later resolver run would pull gigabytes of CUDA packages.
.venv/.torch-ready: constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	touch $@

$(DEMO_READY): .venv/.torch-ready pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo]'
	touch $@

$(TEST_READY): .venv/.torch-ready pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo]' --group dev
	touch $@
