# Every target sets up what it needs, from nothing: a virtual environment made with the stock tools of Python.
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install
NOTEBOOKS := $(wildcard notebooks/*.py)
LOWEST := .venv-lowest
# A file's tests share what they compile; conftest.py puts the heaviest file first.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-quick test-slow test-lowest profile-tests lint format bench notebooks docs package clean

demo: $(VENV)/.run
	$(BIN)/jaxcal demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

# For work in progress: the cheapest files of the profile, which are most of them; no pages, no examples.
test-quick: $(VENV)/.dev
	$(BIN)/python -m pytest $(WORKERS) --cheapest 75 tests $(PYTEST_ARGS)

# With XLA as a user has it: these tests run longer than they compile.
test-slow: $(VENV)/.dev
	XLA_FLAGS="$(XLA_FLAGS)" $(BIN)/python -m pytest -n 2 -m slow $(PYTEST_ARGS)

# What each test file compiles, from an empty cache.
profile-tests: $(VENV)/.dev
	JAXCAL_TEST_CACHE="$$(mktemp -d)" $(BIN)/python -m pytest $(WORKERS) -p benchmarks.instruments.suite_profile $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.speed.one_surface
	$(BIN)/python -m benchmarks.speed.implied_vol

# Runs every notebook from its text source; the executed copies are for reading and stay out of git.
notebooks: $(VENV)/.dev
	@test -n "$(NOTEBOOKS)" || echo "no notebooks"
	@for source in $(NOTEBOOKS); do \
		copy="$${source%.py}.ipynb"; \
		$(BIN)/jupytext --quiet --set-kernel python3 --to ipynb --output "$$copy" "$$source" || exit 1; \
		$(BIN)/jupyter-execute --inplace "$$copy" || exit 1; \
	done

# The documentation site, in site/: a link that leads nowhere or an argument that does not exist is an error
# (not with --quiet, which hides warnings from --strict too).
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The sdist, the wheel made from it, and that wheel in an empty environment, away from this folder.
package: $(VENV)/.dev
	rm -rf build dist
	$(BIN)/python -m build --outdir dist . > /dev/null
	$(PYTHON) -m venv build/installed
	build/installed/bin/python -m pip --quiet --disable-pip-version-check install dist/*.whl
	cd build && installed/bin/python -I ../tools/installed_package.py

# The tests with every run-time dependency at its lower bound: what the bounds in pyproject.toml rest on.
test-lowest: $(LOWEST)/.dev
	$(LOWEST)/bin/python -m pytest $(WORKERS) $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) $(LOWEST) .cache .hypothesis .import_linter_cache .pytest_cache .ruff_cache build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) --editable ".[dev]"
	touch $@

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(PIP) --editable ".[docs]"
	touch $@

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(PIP) --editable ".[bench,dev]"
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(LOWEST)/.dev: pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*(bound.replace(">=", "==") for bound in project["dependencies"]), sep="\n")' > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip --quiet --disable-pip-version-check install --constraint $(LOWEST)/lowest.txt --editable ".[dev]"
	touch $@
