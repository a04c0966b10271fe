# Four targets; each sets up the .venv when it has not been done.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test check

setup: .venv/.done

.venv/.done: pyproject.toml constraints.txt
	@echo "Setting up .venv once: about 2 GB of packages, some minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,postgres]'
	touch $@

demo: setup
	$(BIN)/pacos run recipes/tiny.toml

test: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_architecture.py
