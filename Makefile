# make demo and make test need nothing but Python 3.10+; both make .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test check bench man golden fuzz audit clean

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

golden: setup
	$(BIN)/python -m vqmeter.selfcheck

# FUZZ is how many seconds; findings are kept in .fuzz
FUZZ ?= 600
fuzz: setup
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ) --keep .fuzz

# Asks the network for known vulnerabilities of what is installed here; the tool lives in an environment of its own.
audit: setup
	$(PYTHON) -m venv .audit
	.audit/bin/python -m pip install -q --disable-pip-version-check pip-audit
	$(BIN)/python -m pip freeze --exclude-editable > .audit/requirements.txt
	.audit/bin/pip-audit --no-deps --disable-pip -r .audit/requirements.txt

clean:
	rm -rf .venv .audit .bench .fuzz demo dist
