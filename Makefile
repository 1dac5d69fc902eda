# Two commands do everything on a machine with Python 3.11, make and the package registries:
#   make demo    sets up, indexes the demo gallery and opens the search page   (ARGS="--port 9000 --no-browser")
#   make test    sets up, then lint, types, layers and all tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: demo test test-full check format screenshots clean

demo: $(VENV)/.demo
	$(BIN)/lookalike demo $(ARGS)

test: $(VENV)/.test check
	$(BIN)/pytest -m "not full" --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

test-full: $(VENV)/.test check
	$(BIN)/pytest --timeout 3600 $(ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.search_server.page.typescript.types_check

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

screenshots: $(VENV)/.test
	$(BIN)/python -m benchmarks.page_screenshots $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@echo "Creating the environment in $(VENV) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# torch stands on the command line too: pip then takes the pinned CPU build and looks no further.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Installing Lookalike and what the demo needs (PyTorch is the large one) ..."
	$(BIN)/python -m pip install --quiet torch==2.13.0 --editable '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "Installing Lookalike and its tests ..."
	$(BIN)/python -m pip install --quiet torch==2.13.0 --editable '.[test]'
	@touch $@ $(VENV)/.demo
