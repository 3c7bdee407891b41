PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
BASELINES := .venv-baselines
# Two test processes share the cores, so each computes on one thread.
TEST_THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help setup demo experiments test test-slurm faults fuzz lint docs bench baselines clean
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

setup: $(BIN)/.installed  ## make .venv and install everything

$(BIN)/.installed: pyproject.toml constraints.txt
	@echo 'making .venv with $(PYTHON); installing PyTorch, Lightning and more into it takes minutes'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@echo 'installed: $(BIN)/musclesense'
	@test -e src/musclesense/niivue/LICENSE || echo 'without NiiVue, so pages show no volumes: see docs/start/install.md'
	touch $@

demo: setup  ## 25 nested cross-validation runs on a phantom cohort, with a report
	$(BIN)/python train.py -m outer=0..4 inner=0..4 experiment=demo

experiments: setup  ## the published studies: trains what is left; EXPERIMENTS=--list says what, and how long it takes
	$(BIN)/python experiments/run.py $(EXPERIMENTS)

test: setup  ## the tests, with coverage
	@echo 'the tests, in two processes: about 20 minutes on two cores (3,693 took 18 in November 2026).'
	@echo 'pytest begins with how many there are, and ends with how long they took and why some were skipped.'
	$(TEST_THREADS) $(BIN)/python -m pytest -n 2 --dist loadgroup -rs --cov --cov-report=term --cov-fail-under=90

test-slurm: setup  ## 25 jobs on a Slurm that is installed (Debian, as root) and started for it
	MUSCLESENSE_TEST_SLURM=1 $(TEST_THREADS) $(BIN)/python -m pytest tests/slurm -rs --durations=0

faults: setup  ## what kills, full disks and damaged files do to a sweep; takes long
	$(TEST_THREADS) $(BIN)/python -m pytest -m faults tests/faults

lint: setup  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(BIN)/.docs-installed  ## the documentation as a site, in site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

$(BIN)/.docs-installed: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

fuzz: setup  ## five thousand spoilt inputs; each must end in a right result or a clean refusal
	$(BIN)/python -m fuzz $(FUZZ)

bench: setup  ## speed of training beside a bare step and from the command on; after make baselines, those as well
	$(BIN)/python -m benchmarks.speed.training_step
	$(BIN)/python -m benchmarks.speed.startup
	@if [ -e $(BASELINES)/.installed ]; then $(BASELINES)/bin/python -m benchmarks.speed.baselines $(BENCH_BASELINES); \
	else echo 'make baselines installs other networks to compare with'; fi

baselines: $(BASELINES)/.installed  ## MONAI, segmentation-models and nnU-Net for make bench, in a folder of their own

# A folder of their own, since what they need must not reach into what the tests pass with. A torchvision that was built
# for another PyTorch breaks Lightning's import, and only segmentation-models cannot do without.
$(BASELINES)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BASELINES)
	$(BASELINES)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[baselines]'
	$(BASELINES)/bin/python -c 'import torchvision' 2>/dev/null || $(BASELINES)/bin/python -m pip uninstall --quiet --yes torchvision
	touch $@

clean:  ## remove what the other targets made, apart from runs/
	rm -rf .venv $(BASELINES) site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage* data
