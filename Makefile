# Every target works in a fresh clone: it makes the environment it needs first.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
UV := $(shell command -v uv 2>/dev/null)
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# EXTRAS=,export also installs the packages of all export targets; tests skip those that are missing, and say so.
ALL := -c constraints.txt -e .[all,dev$(EXTRAS)]
# What tests are held against: asks for torchvision, which it does not use and which fails beside the CPU build of torch.
ORACLES := curvlinops-for-pytorch backpack-for-pytorch einconv einops linear_operator opt_einsum tqdm unfoldNd

.PHONY: install demo test slow pure sanitize lowest newest check bench bench-check docs fuzz hunt prove architectures
install: .venv/installed

# torch comes first and through pip: pip also sees wheels that the machine keeps locally, uv does not.
.venv/installed: setup.cfg pyproject.toml constraints.txt $(wildcard solvers/kernels/*.[ch])
	@echo "installing into .venv: 1 of 4, the environment"
	$(if $(UV),$(UV) venv --quiet --seed --allow-existing --python $(PYTHON) .venv,$(PYTHON) -m venv .venv)
	@echo "installing into .venv: 2 of 4, PyTorch, which is large"
	$(PIP) $(INDEX) -c constraints.txt torch
	@echo "installing into .venv: 3 of 4, the other packages"
	$(if $(UV),$(UV) pip install --python $(BIN)/python $(INDEX) $(ALL),$(PIP) $(ALL))
	@echo "installing into .venv: 4 of 4, what the tests are held against"
	$(PIP) --no-deps -c constraints.txt $(ORACLES)
	touch $@

demo: install
	$(BIN)/mckp-quant demo --output demo-output

test: install
	$(BIN)/python -m pytest -n 2 -m "not fuzz and not slow"

# Studies, whole runs and statistics of many repetitions.
slow: install
	$(BIN)/python -m pytest -n 2 -m slow

# What has kernels, in NumPy alone, as it runs where nothing could be compiled.
pure: install
	MCKP_QUANT_PURE=1 $(BIN)/python -m pytest -n 2 -m "not fuzz and not slow" tests/solvers/core tests/solvers/core_search \
		tests/solvers/bounds tests/solvers/test_digests.py tests/solvers/test_front_door.py

# The kernels under a build that watches every address and every undefined operation.
sanitize: install
	.ci/sanitize

# What needs no PyTorch, with the lowest versions that setup.cfg allows, and with the newest Python and versions at hand.
lowest newest:
	.ci/versions $@

fuzz: install
	$(BIN)/python -m pytest -n 2 -m fuzz

# Twenty architectures of transformers against six export targets; goes on where it was stopped.
architectures: install
	nice -n 10 $(BIN)/python -W ignore -m benchmarks.exports.architectures --output build/architectures.csv --page docs/export.md

# Hours: damaged files against every reader, faults against every step that writes, changed code against the tests.
# What was begun goes on where it was stopped; atheris has no wheels for every Python, and the rest runs without it.
hunt: install
	$(PIP) coverage
	-$(PIP) atheris
	nice $(BIN)/python -m benchmarks.hunt.readers --files 1000000 --output build/hunt/readers.csv
	nice $(BIN)/python -m benchmarks.hunt.guided --seconds 60 --skip-missing
	nice $(BIN)/python -m benchmarks.hunt.faults --trials 50
	nice $(BIN)/python -m benchmarks.hunt.growth
	nice $(BIN)/python -m benchmarks.hunt.sameness
	nice $(BIN)/python -m benchmarks.hunt.mutants map
	nice $(BIN)/python -m benchmarks.hunt.mutants run --mutants 600 --output build/hunt/mutants.csv
	nice $(BIN)/python -m benchmarks.hunt.mutants list --output build/hunt/mutants.csv

# Ratios within one run against the committed ones; fails where something is a quarter slower.
bench-check: install
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.kernels.kept check

prove: install
	$(BIN)/python -m benchmarks.solvers.best_known check

check: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: install
	$(BIN)/python -m benchmarks.policies.networks $(if $(DATA),--data $(DATA))

# Built anew each time, because a page that did not change would keep an old navigation; then every name and link is looked up.
docs: .venv/docs-installed
	rm -rf build/docs
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --jobs auto docs build/docs
	MCKP_QUANT_SITE=build/docs $(BIN)/python -m pytest -q tests/docs

.venv/docs-installed: .venv/installed
	$(PIP) -c constraints.txt -e .[docs]
	touch $@
