# make demo and make test need nothing but Python 3.10+; both make .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test check bench man clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "vqmeter needs Python 3.10 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $(READY)

demo: setup
	$(BIN)/python man/examples/demo.py demo

test: setup
	$(BIN)/python -m pytest -q

check: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python man/make.py --check

bench: setup
	$(BIN)/python tests/bench/bench.py

man: setup
	$(BIN)/python man/make.py

clean:
	rm -rf .venv .bench demo dist
