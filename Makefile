# Everything runs in .venv; PYTHON chooses the interpreter it is made from (3.10 to 3.12, with a shared libpython).
PYTHON ?= python3
VENV := .venv
BUILD_VENV := .venv-build
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-server test-others test-build test-gpu distributed examples soak check docs format serve engine bench lock clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(VENV)/.cpu: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
		{ echo "Trident needs Python 3.10 to 3.12; say which: make demo PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): some 600 MB, a minute or two on the first time"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu]'
	@touch $@

$(VENV)/.dev: $(VENV)/.cpu
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,dev]'
	@touch $@

demo: $(VENV)/.cpu  ## Set up, build the engine, start Triton, ask three questions, stop
	$(BIN)/trident demo

engine: $(VENV)/.cpu  ## Build the embedded engine (SmolLM2-135M)
	$(BIN)/trident build smollm2-135m

serve: engine  ## Start Triton on 127.0.0.1 and keep it running
	$(BIN)/trident serve

test: $(VENV)/.dev engine  ## Run every tier that can run here, in two halves side by side
	$(MAKE) --jobs 2 test-server test-others

test-server:
	$(BIN)/python -m pytest tests/server

test-others:
	$(BIN)/python -m pytest tests --ignore tests/server

# Apart, because the quantizers hold transformers and its companions back to older versions.
$(BUILD_VENV)/.build: pyproject.toml constraints-build.txt
	$(PYTHON) -m venv $(BUILD_VENV) || $(PYTHON) -m virtualenv $(BUILD_VENV)
	@echo "Installing PyTorch and the quantizers into $(BUILD_VENV): one to several GB"
	$(BUILD_VENV)/bin/python -m pip install --quiet --constraint constraints-build.txt --editable '.[cpu,build,registry,dev]'
	@# optimum-intel asks for torchvision; nothing here needs it, and beside a CPU build of PyTorch its import fails
	$(BUILD_VENV)/bin/python -m pip uninstall --quiet --yes torchvision
	@touch $@

# Beside the environment that builds: the image's own packages, TensorRT-LLM among them, as they are.
.venv-gpu/.ready: $(BUILD_VENV)/.build
	$(PYTHON) -m venv --system-site-packages .venv-gpu || $(PYTHON) -m virtualenv --system-site-packages .venv-gpu
	$(PYTHON) -m pip list --format=freeze --exclude pip > .venv-gpu/image.txt
	.venv-gpu/bin/python -m pip install --quiet --constraint .venv-gpu/image.txt --editable '.[safety]' \
		hypothesis pytest pytest-timeout
	@touch $@

test-gpu: .venv-gpu/.ready  ## In NVIDIA's image (docker/README.md): build TensorRT-LLM engines, serve and test them
	GPU_BUILDER=$(BUILD_VENV)/bin/trident timeout 1800 \
		.venv-gpu/bin/python -m pytest tests/gpu -m 'gpu and not soak' --timeout 900

test-build: $(BUILD_VENV)/.build engine  ## The builds that need PyTorch: quantizers, checkpoints, kills in mid-build
	$(BUILD_VENV)/bin/python -m pytest tests/build tests/unit/test_registry.py --timeout 1800

distributed: $(VENV)/.dev engine  ## Spark and Ray on 10,000 prompts, a worker killed in between (needs Java 17)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,dev,spark,ray]'
	$(BIN)/trident build replay-smollm2
	$(BIN)/python -m pytest tests/distributed -m "soak or not soak" --durations 0 --timeout 1800

examples: $(VENV)/.dev engine  ## The examples of the client, with LangChain and LlamaIndex (some 150 MB more)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,dev,examples]'
	$(BIN)/python -m pytest tests/server/test_examples.py

soak: $(VENV)/.dev engine  ## The long tests: chaos and memory at full size, property tests over many more examples
	$(BIN)/python -m pytest -m soak --timeout 1800
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest tests/unit/text tests/unit/safety --timeout 1800

check: $(VENV)/.dev docs  ## Lint, format, types, import rules, documentation
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev  ## The documentation as a site, in dist/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "The documentation is in dist/site/index.html"

format: $(VENV)/.dev  ## Format and mend what can be mended
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/.dev engine  ## Measure the ensemble against the raw engine
	$(BIN)/trident bench overhead

LOCK = $(BIN)/uv pip compile --universal --python-version 3.10 --no-header --no-annotate --no-emit-index-url --upgrade

lock: $(VENV)/.dev  ## Pin every dependency anew in constraints.txt and constraints-build.txt
	$(LOCK) --extra cpu --extra gateway --extra safety --extra spark --extra ray --extra examples --extra dev --output-file constraints.txt pyproject.toml
	$(LOCK) --extra cpu --extra build --extra registry --extra dev --output-file constraints-build.txt pyproject.toml

clean:  ## Remove the environment, the engines and every cache
	rm -rf $(VENV) $(BUILD_VENV) .venv-gpu engines dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
