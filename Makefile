# The few things a person types. `.venv` is made on demand, from any Python 3.11 or newer:
#   make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test check bench screenshots clean

help:
	@echo "make demo    fine-tune, deploy and evaluate a classifier on examples/tickets.csv"
	@echo "make test    run the tests"
	@echo "make check   lint, formatting, types"
	@echo "make bench   run every benchmark in benchmarks/"
	@echo "make screenshots  take a picture of every page into docs/images (needs Chromium)"
	@echo "make clean   remove .venv, caches and the demo's run; other runs stay"

demo: $(VENV)/.local
	rm -rf runs/demo
	$(BIN)/tunesmith run examples/tickets.csv --run-dir runs/demo \
		--ask "Since yesterday the grinder screams like a gull and the coffee is cold. I descaled it on Sunday." \
		--ask "My card was charged twice for the same invoice in March. Which of the two amounts is wrong?"

test: $(VENV)/.dev $(VENV)/.sdks
	$(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.train_classifier
	$(BIN)/python -m benchmarks.serve_classifier
	$(BIN)/python -m benchmarks.evaluate_speed
	$(BIN)/python -m benchmarks.train_causal_lm
	$(BIN)/python -m benchmarks.serve_causal
	$(BIN)/python -m benchmarks.time_to_accuracy
	$(BIN)/python -m benchmarks.control_plane
	$(BIN)/python -m benchmarks.pages

screenshots: $(VENV)/.dev
	PYTHONPATH=tests $(BIN)/python tests/web/screenshots.py

clean:
	rm -rf $(VENV) build dist runs/demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each file below stands for an installed extra; `dev` holds all of `local`, `bench` all of `dev`.
# Installing takes a few minutes the first time, most of them for torch.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python %d.%d is too old: Tunesmith needs 3.11 or newer. Name one with PYTHON=..." % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.local: $(VENV)/.made pyproject.toml
	@echo "Installing into $(VENV), a few minutes the first time"
	@$(INSTALL) -e '.[local]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	@echo "Installing into $(VENV), a few minutes the first time"
	@$(INSTALL) -e '.[dev]'
	@touch $(VENV)/.local $@

$(VENV)/.bench: $(VENV)/.made pyproject.toml
	@echo "Installing into $(VENV), a few minutes the first time"
	@$(INSTALL) -e '.[bench]'
	@touch $(VENV)/.local $(VENV)/.dev $@

# The OpenAI SDKs that the tests put before the server, each in a place of its own.
$(VENV)/.sdks: $(VENV)/.made
	@$(PYTHON) -m venv $(VENV)/sdks/openai-1.109.1
	@$(VENV)/sdks/openai-1.109.1/bin/python -m pip install --quiet --disable-pip-version-check openai==1.109.1
	@if command -v npm > /dev/null; \
		then npm install --silent --prefix $(VENV)/sdks/openai-node-6.49.0 openai@6.49.0 > /dev/null; \
		else echo "There is no npm here: the tests of OpenAI's SDK for Node will be skipped"; fi
	@touch $@
