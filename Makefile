# Every target works in a fresh clone: it makes the environment it needs first.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV := $(shell command -v uv 2>/dev/null)
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
ALL := -c constraints.txt -e .[all,dev]

.PHONY: install demo test check bench docs fuzz prove
install: .venv/installed

# torch comes first and through pip: pip also sees wheels that the machine keeps locally, uv does not.
.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(if $(UV),$(UV) venv --quiet --seed --allow-existing --python $(PYTHON) .venv,$(PYTHON) -m venv .venv)
	$(PIP) $(INDEX) -c constraints.txt torch
	$(if $(UV),$(UV) pip install --quiet --python $(BIN)/python $(INDEX) $(ALL),$(PIP) $(ALL))
	touch $@

demo: install
	$(BIN)/mckp-quant demo --output demo-output

test: install
	$(BIN)/python -m pytest -n 2 -m "not fuzz"

fuzz: install
	$(BIN)/python -m pytest -n 2 -m fuzz

prove: install
	$(BIN)/python -m benchmarks.best_known check

check: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: install
	$(BIN)/python benchmarks/networks.py $(if $(DATA),--data $(DATA))

docs: install
	$(PIP) -c constraints.txt -e .[docs]
	$(BIN)/mkdocs build --quiet --strict --site-dir build/docs
