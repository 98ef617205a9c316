# `make run` is all a newcomer needs: Python 3.11 or newer, make, and a network for the first time.

PYTHON ?= python3
ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: run test test-sluggish kill-test fuzz check-gpu bench pictures clean

# The app; where there is no terminal, the same training without a screen.
run: $(VENV)/.installed
	@if [ -t 0 ] && [ -t 1 ]; then $(BIN)/gpt-tui $(ARGS); else $(BIN)/gpt-tui train $(ARGS); fi

# How many processes run the tests: make test WORKERS=1
WORKERS ?= 2
test: $(VENV)/.installed-test check-gpu
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow" -n $(WORKERS) --dist loadfile $(ARGS)

# The tests of the app, its widgets late at random: finds those that look or press a key too soon
test-sluggish: $(VENV)/.installed-test
	$(BIN)/pytest -q -p tests.sluggish tests/tui -n $(WORKERS) --dist loadfile $(ARGS)

# Kills a run in training 200 times, at moments drawn by chance; how often: make kill-test KILLS=50
KILLS ?= 200
kill-test: $(VENV)/.installed-test
	GPT_TUI_KILLS=$(KILLS) $(BIN)/pytest -q tests/faults/test_kill.py $(ARGS)

# Uses runs whose files hold what they should not, drawn at random: make fuzz CASES=5000
CASES ?= 100000
fuzz: $(VENV)/.installed-test
	GPT_TUI_FUZZ=$(CASES) $(BIN)/pytest -q tests/faults/test_fuzz.py $(ARGS)

check-gpu: $(VENV)/.installed-test
	@$(BIN)/python -c 'import torch; print("GPU tests:", "run on " + torch.cuda.get_device_name() \
	  if torch.cuda.is_available() else "skipped, PyTorch finds no CUDA device here")'

# All of them, or the one that ARGS names: make bench ARGS="startup --json"
bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks $(ARGS)

pictures: $(VENV)/.installed-pictures
	$(BIN)/python docs/make_pictures.py $(ARGS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp says that the environment holds what the project's files ask for.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[test]"
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-pictures: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[pictures]"
	@touch $@ $(VENV)/.installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "gpt-tui needs Python 3.11 or newer, and $(PYTHON) is %d.%d: make PYTHON=python3.12" \
	  % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
