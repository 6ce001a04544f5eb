# make lab: open the book.  make test: check everything.  Both set up what they need and are quick when nothing changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_ARGS ?=
LAB_ARGS ?=
PYTEST_ARGS ?=

.PHONY: lab html test check bench study student setup assets clean

# The whole repository is served, so that links from the chapters into data/ open; and Lab asks about no news.
lab: assets
	$(BIN)/jupyter lab --ip=127.0.0.1 --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb \
		--LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(LAB_ARGS)

# The chapters as web pages with live charts, for reading without Python: html/*.html
html: $(VENV)/.dev
	$(BIN)/python -m greenlab.lab.export html

test: $(VENV)/.dev assets
	$(BIN)/python -m pytest $(PYTEST_ARGS)
	GREENLAB_STATE=$$(mktemp -d) $(BIN)/python -m pytest --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg \
		--nbval-cell-timeout 120 -o addopts=-q notebooks $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(VENV)/.dev assets
	$(BIN)/python -m tests.bench

# The long run behind a chapter's charts: make study NAME=layer_pruning (restartable; it takes up where it stopped)
study: $(VENV)/.dev assets
	$(BIN)/python -m greenlab.$(NAME).study

# Without the solutions and the instructor's notes, for a class: student/*.ipynb
student: $(VENV)/.dev
	$(BIN)/jupyter nbconvert --to notebook --output-dir student notebooks/*.ipynb --ClearOutputPreprocessor.enabled=True \
		--TagRemovePreprocessor.enabled=True \
		--TagRemovePreprocessor.remove_cell_tags=solution --TagRemovePreprocessor.remove_cell_tags=instructor

setup: $(VENV)/.reader

assets: $(VENV)/.reader
	@$(BIN)/python -m greenlab.core.assets

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "greenlab needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make lab PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.reader: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) --editable .
	@touch $@

$(VENV)/.dev: requirements.txt pyproject.toml | $(VENV)/.reader
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) data/assets build student  # never .greenlab: the reader's predictions and ledger are in there
