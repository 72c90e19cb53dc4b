# Everything runs in .venv, which `uv sync` may have made. Each target installs what it needs, on first use and again when
# pyproject.toml changes: the package alone, or with one of pyproject's extras on top.
PYTHON ?= python3
BIN := .venv/bin
PACKAGE := .venv/.installed
WITH := $(PACKAGE)-with
LOWEST := .venv-lowest
MNIST_LIGHTNING := $(BIN)/python -m mnist_lightning
RUN ?= runs/best/version_0
STUDY := $(MNIST_LIGHTNING) study --config configs/studies

.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*##.*/\1/p' Makefile)

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# uv's environments have no pip: ensurepip adds it.
PIP_INSTALL := $(BIN)/python -m ensurepip > /dev/null && $(BIN)/python -m pip install --quiet --editable

$(PACKAGE): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing. On Debian: apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) .
	@touch $@

$(WITH)-%: $(PACKAGE)
	$(PIP_INSTALL) '.[$*]'
	@touch $@

$(LOWEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct --editable '.[test]'
	@touch $@

quickstart: $(PACKAGE) ## Install and train on MNIST, or on scikit-learn's offline digits if MNIST is unavailable
	@$(MNIST_LIGHTNING) fit --config configs/optimized.yaml || { \
		test $$? -eq 2 || exit; \
		echo; \
		echo "=== NO MNIST (see above): training on scikit-learn's offline digits instead. Not MNIST! ==="; \
		echo; \
		$(MNIST_LIGHTNING) fit --config configs/offline.yaml; \
	}

train: $(PACKAGE) ## Train configs/optimized.yaml; more options in ARGS="--trainer.max_epochs 5"
	$(MNIST_LIGHTNING) fit --config configs/optimized.yaml $(ARGS)

test: $(WITH)-test ## Run the tests
	$(BIN)/python -m pytest

test-slow: $(WITH)-dev ## Run the slow tests
	$(BIN)/python -m pytest -m slow

test-browser: $(WITH)-dev ## Run the browser tests: they need Chromium, on Debian `apt-get install chromium`
	$(BIN)/python -m pytest -m browser

test-lowest: $(LOWEST)/.installed ## Run the tests with the oldest versions that pyproject.toml allows, in .venv-lowest
	$(LOWEST)/bin/python -m pytest

# What nobody refuses, grows.
MAX_LINES := 6500
lint: $(WITH)-test ## Check format, lint, types and the number of lines
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@find mnist_lightning -name '*.py' -exec cat {} + | wc -l | awk '{print $$1 " lines of Python in mnist_lightning"; exit $$1 > $(MAX_LINES)}' \
	&& for room in mnist_lightning/*/; do printf '%6d %s\n' "$$(find $$room -name '*.py' -exec cat {} + | wc -l)" "$$room"; done

check: lint test ## Check format, lint and types, then run the tests

format: $(WITH)-test ## Format the code and sort the imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

tensorboard: $(PACKAGE) ## Serve the dashboards of all runs on localhost
	$(BIN)/tensorboard --logdir runs --host localhost

study-recipe: $(PACKAGE) ## Train the recipe over 10 seeds; like every study, it resumes where it stopped
	$(STUDY)/recipe.yaml

study-fast: $(PACKAGE) ## Train configs/fast.yaml over 20 seeds, without and with configs/cpu.yaml
	$(STUDY)/fast.yaml

study-best: $(PACKAGE) ## Train configs/best.yaml over 10 seeds
	$(STUDY)/best.yaml

study-sizes: $(PACKAGE) ## Train the configs of configs/sizes over 10 seeds, and double channels over 4
	$(STUDY)/sizes.yaml
	$(STUDY)/double_channels.yaml

study-ablations: $(PACKAGE) ## Train the recipe with one ingredient removed or changed, over 10 seeds
	$(STUDY)/ablations.yaml

study-baseline: $(PACKAGE) ## Train the original's first network over 5 seeds
	$(STUDY)/baseline.yaml

study-fashion: $(PACKAGE) ## Train configs/fashion.yaml over 5 seeds
	$(STUDY)/fashion.yaml

results: study-recipe study-fast study-best study-sizes study-ablations study-baseline study-fashion ## Train the seeds that results/ lacks, and write all tables and charts
	$(BIN)/python -m benchmarks.tables

demo: $(PACKAGE) ## Open a page to draw digits on, which models/mnist.ckpt reads
	$(MNIST_LIGHTNING) demo

EXPORTS := runs/exports
readme: $(WITH)-dev ## Remake the outputs and pictures in README.md and docs/: needs Chromium and the model's run, RUN=runs/best/version_0
	@test -f $(RUN)/report.json || { echo "There is no run in $(RUN): name one with RUN=, or train it with make model"; exit 1; }
	rm -rf $(EXPORTS)
	mkdir -p $(EXPORTS) results/outputs
	$(MNIST_LIGHTNING) read examples > $(EXPORTS)/read.txt; test $$? = 1
	for export in onnx/mnist.onnx onnx_int8/mnist_int8.onnx; do \
		$(MNIST_LIGHTNING) export --ckpt_path models/mnist.ckpt --format $${export%/*} --output $(EXPORTS)/$${export#*/} || exit; \
	done > $(EXPORTS)/export.txt
	$(MNIST_LIGHTNING) report $(RUN) > $(EXPORTS)/report.txt
	mv $(EXPORTS)/*.txt results/outputs/
	PYTHONPATH=tests $(BIN)/python -m support.screenshots
	$(BIN)/python -m benchmarks.tables

tutorial: $(WITH)-dev ## Run docs/tutorial.ipynb and keep its outputs
	MNIST_DATA_DIR="$(abspath $(or $(MNIST_DATA_DIR),data))" $(BIN)/jupyter execute --inplace docs/tutorial.ipynb

demo-page: $(PACKAGE) ## Write docs/digits.html, the page of models/mnist.ckpt
	rm -f docs/digits.html
	$(MNIST_LIGHTNING) export --ckpt_path models/mnist.ckpt --format html --output docs/digits.html

model: $(PACKAGE) ## Train models/mnist.ckpt with configs/best.yaml, and copy the run's report beside it
	$(MNIST_LIGHTNING) fit --config configs/best.yaml --num_threads 1
	rm -f models/mnist.ckpt
	run=$$(ls -td runs/best/version_* | head -n 1) \
	&& $(BIN)/python -c "import torch; content = torch.load('$$run/checkpoints/last.ckpt'); torch.save({name: content[name] for name in ('state_dict', 'hyper_parameters', 'datamodule_hyper_parameters')}, 'models/mnist.ckpt')" \
	&& cp $$run/report.json models/mnist.json && cp $$run/report.md models/mnist.md
	$(MAKE) demo-page

benchmark: $(PACKAGE) ## Measure speed, into results/benchmark and docs/: two hours on an idle machine
	$(BIN)/python -m benchmarks.speed --output results/benchmark
	$(BIN)/python -m benchmarks.tables

benchmark-quick: $(PACKAGE) ## The same with short epochs, into runs/benchmark: a few minutes
	$(BIN)/python -m benchmarks.speed --quick --output runs/benchmark

own-digits: $(WITH)-test ## Evaluate models/mnist.ckpt on digits from outside MNIST, into results/own_digits and docs/
	$(BIN)/python -m benchmarks.own_digits.evaluation
	$(BIN)/python -m benchmarks.tables

clean: ## Remove the environments and caches; runs, data and results stay
	rm -rf .venv $(LOWEST) .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
