# make lab: open the book.  make test: check everything.  Both set up what they need and are quick when nothing changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_ARGS ?=
LAB_ARGS ?=
LOCK_ARGS ?=
PYTEST_ARGS ?=
# Where torch's CPU build is, for Linux without an NVIDIA driver; it is asked for torch alone. Empty: PyPI's build.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Test processes at once. A container sees the cores of its host, so they are not counted here.
WORKERS ?= 2
# pytest ends with 5 if no test was chosen: fine for a choice that a user made, as one of the three runs may have none
# Waiting threads sleep, as in the notebooks (greenlab.lab.environment): two test processes share the cores
export OMP_WAIT_POLICY ?= PASSIVE
NO_TEST := $(if $(PYTEST_ARGS),5,0)
PYTEST := $(BIN)/python -m pytest
PIP := $(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS)
LOCKED := $(PIP) --require-hashes --only-binary :all:

.PHONY: lab html book test unit notebooks browser check bench study chapter student student-check slides setup lock assets clean

# The whole repository is served, so that links from the chapters into data/ open; and .reader has switched off Lab's question about news.
lab: assets
	$(BIN)/jupyter lab --ip=127.0.0.1 --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(LAB_ARGS)

# The chapters as web pages with live charts, for reading without Python: html/*.html
html: $(VENV)/.dev
	$(BIN)/python -m greenlab.lab.export html

# The book as a web site, from the notebooks as they are committed, with the model that chapter 6 prunes in the reader's tab
book: $(VENV)/.dev assets
	$(BIN)/python -m docs.book build/book
	$(BIN)/python -m greenlab.tab build/book/html/_static/tab
	@echo "build/book/html/index.html; with chapter 6's model: $(BIN)/python -m http.server --bind 127.0.0.1 -d build/book/html"

test: unit notebooks browser

unit: $(VENV)/.dev assets
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "not browser" $(PYTEST_ARGS) || [ $$? -eq $(NO_TEST) ]

# Every notebook is run once, with every socket but this machine's refused, and compared with its stored outputs
notebooks: $(VENV)/.dev assets
	GREENLAB_STATE=$$(mktemp -d) $(PYTEST) -n $(WORKERS) --dist loadfile -p tests.offline -p tests.promises --nbval --nbval-current-env \
		--nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 120 -o addopts=-q notebooks $(PYTEST_ARGS) \
		|| [ $$? -eq $(NO_TEST) ]

# One at a time: what they wait for is slower beside other work
browser: $(VENV)/.dev assets
	$(PYTEST) -m browser tests/browser tests/site $(PYTEST_ARGS) || [ $$? -eq $(NO_TEST) ]

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	@git ls-files 'greenlab/*.py' 'tests/*.py' | xargs wc -l | awk '$$2 != "total" && $$1 > 400 \
		{ print "warning: " $$2 " has " $$1 " lines, more than 400: is it still one idea?" }'

bench: $(VENV)/.dev assets
	$(BIN)/python -m tests.bench

# The long run behind a chapter's charts: make study NAME=layer_pruning (restartable; it takes up where it stopped)
study: $(VENV)/.dev assets
	$(BIN)/python -m greenlab.$(NAME).study

# The skeleton of a chapter that nobody has begun: make chapter NAME=my_chapter
chapter: $(VENV)/.dev
	$(BIN)/python -m tests.skeleton $(NAME)

# Without the solutions and the instructor's notes, for a class: student/*.ipynb. A notebook that was worked in is kept.
student: $(VENV)/.reader
	$(BIN)/python -m greenlab.workshop student

# The same with its stored outputs, run and compared as the whole notebooks are
student-check: $(VENV)/.dev assets
	$(BIN)/python -m greenlab.workshop build/student --keep-outputs --replace
	GREENLAB_STATE=$$(mktemp -d) $(PYTEST) -n $(WORKERS) --dist loadfile -p tests.offline -p tests.promises --nbval --nbval-current-env \
		--nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 120 -o addopts=-q build/student $(PYTEST_ARGS) \
		|| [ $$? -eq $(NO_TEST) ]

# Slides with speaker notes, which need no network: slides/*.html; and where Chromium is installed two PDF files for each
slides: $(VENV)/.dev
	$(BIN)/python -m greenlab.workshop.view.slides slides

setup: $(VENV)/.reader

assets: $(VENV)/.reader
	@$(BIN)/python -m greenlab.core.assets

# A platform without torch is named here, before anything is downloaded
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "greenlab needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make lab PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m greenlab.core.torch_wheel --check
	$(PYTHON) -m venv $(VENV)

# Only what locks/ pins, checked by its hash, and only wheels: nothing is run to build a package. greenlab is built by the
# setuptools of the lock, without its requirements, which are there by then.
$(VENV)/.reader: locks/torch.txt locks/reader.txt pyproject.toml | $(BIN)/python
	@$(BIN)/python -m greenlab.core.torch_wheel --install --index "$(TORCH_INDEX)" $(PIP_ARGS)
	$(LOCKED) -r locks/reader.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)/jupyter labextension disable --level=sys_prefix @jupyterlab/apputils-extension:announcements >/dev/null 2>&1
	@touch $@

$(VENV)/.dev: locks/dev.txt | $(VENV)/.reader
	$(LOCKED) -r locks/reader.txt -r locks/dev.txt
	@touch $@

# Resolves requirements.txt and the extra "dev" again after a change; LOCK_ARGS=--upgrade takes the newest releases
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --require-hashes --only-binary :all: -r locks/uv.txt
	build/lock/bin/python locks/refresh.py $(LOCK_ARGS)

clean:
	rm -rf $(VENV) data/assets build student slides html  # never .greenlab: the reader's predictions and ledger are in there
