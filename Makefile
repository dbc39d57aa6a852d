# The two commands of the README are `make generate` and `make test`; `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.requirements
DEVELOPMENT := $(VENV)/.requirements-dev

.PHONY: help generate test test-all test-clients test-conda test-slurm lint format mutants sbom audit coverage clean
.DEFAULT_GOAL := help

help: ## list what make can do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "megaport needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)

# make TORCH=cpu takes PyTorch's build for that (or cu130, ...); without, pip takes the index's: CUDA.
WHEELS := $(if $(TORCH),--extra-index-url https://download.pytorch.org/whl/$(TORCH))
$(RUNTIME): requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(WHEELS) -r requirements.txt
	touch $@

$(DEVELOPMENT): requirements-dev.txt requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(WHEELS) -r requirements-dev.txt
	touch $@ $(RUNTIME)

generate: $(RUNTIME) ## build the environment, then text from the model that config.yaml names
	$(BIN)/snakemake -c1 generate

WORKERS := -n auto --maxprocesses 4 --dist loadfile
test: $(DEVELOPMENT) ## run the tests that a person waits for
	$(BIN)/python -m pytest $(WORKERS)

# What judges the report's page; without npm or a browser pytest says that it is left out.
AXE := build/axe/node_modules/axe-core/axe.min.js
$(AXE):
	-npm install --silent --no-save --prefix build/axe axe-core@4.11.4

test-all: $(DEVELOPMENT) $(AXE) test-clients ## run every test, the slow ones too
	$(BIN)/python -m pytest -m "" $(WORKERS)

# What the development environment has, and the clients beside it; llama.cpp's converter is a script
# in the sources of llama-cpp-python.
PURELIB := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
LLAMA_CPP := llama_cpp_python-0.3.36
build/clients/ready: tests/clients/requirements.txt $(DEVELOPMENT)
	$(BIN)/python -m venv build/clients
	$(BIN)/python $(PURELIB) > "$$(build/clients/bin/python $(PURELIB))/development.pth"
	build/clients/bin/pip install --quiet -r $<
	build/clients/bin/pip download --quiet --no-deps --no-binary llama-cpp-python -d build/clients llama-cpp-python==0.3.36
	tar -xzf build/clients/$(LLAMA_CPP).tar.gz -C build/clients --strip-components=2 $(LLAMA_CPP)/vendor/llama.cpp
	touch $@

test-clients: build/clients/ready ## model/ in peft, lm-eval, ONNX and llama.cpp (minutes)
	build/clients/bin/python -m pytest -m "" tests/clients

test-conda: $(DEVELOPMENT) ## snakemake --use-conda all, through conda or a stand-in (minutes)
	PYTHONPATH=workflow:tests $(BIN)/python tests/conda/run.py

test-slurm: $(DEVELOPMENT) ## snakemake --executor slurm, on a Slurm of one node; as root (minutes)
	PYTHONPATH=workflow:tests $(BIN)/python tests/slurm/run.py

lint: $(DEVELOPMENT) ## run every linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

format: $(DEVELOPMENT) ## format Python and Snakemake files
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile workflow/rules

# Beside the environment, not in it: the tests themselves need none of it.
build/coverage/coverage/__init__.py: | $(DEVELOPMENT)
	$(BIN)/python -m pip install --quiet --target build/coverage coverage==7.17.4

coverage: build/coverage/coverage/__init__.py ## branches that tests take of reader, store and fetch (minutes)
	PYTHONPATH=build/coverage COVERAGE_OUT=build/branches $(BIN)/python tests/branches/run.py

# In an environment of its own: what it brings would slow every Snakemake start by two seconds.
build/sbom/bin/cyclonedx-py:
	$(PYTHON) -m venv build/sbom
	build/sbom/bin/pip install --quiet cyclonedx-bom==7.5.0

sbom: build/sbom/bin/cyclonedx-py ## write build/sbom.json, what is installed, in CycloneDX's format
	cat locks/base.lock locks/cpu.lock | $< requirements --output-reproducible -o build/sbom.json -

build/audit/bin/pip-audit:
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --quiet pip-audit==2.10.1

# --strict: a package nobody could be asked about is no pass. Advisories know no local versions (+cpu).
SERVICE ?= osv
audit: build/audit/bin/pip-audit ## known vulnerabilities of what is installed, from OSV (or SERVICE=pypi)
	cat locks/base.lock locks/cpu.lock | sed 's/^\([^ ]*\)+cpu /\1 /' > build/audit/packages.txt
	$< --strict --disable-pip --vulnerability-service $(SERVICE) -r build/audit/packages.txt

build/mutmut/bin/mutmut: requirements-dev.txt requirements.txt
	$(PYTHON) -m venv build/mutmut
	build/mutmut/bin/pip install --quiet -r requirements-dev.txt mutmut==3.8.1

CHILDREN ?= 1
MUTANTS ?= megaport.gpt2.* megaport.llama* megaport.table.* megaport.convert.* megaport.checkpoint.* megaport.store.*
mutants: export MEGAPORT_ORACLES ?= $(abspath ../shared/oracles)
mutants: build/mutmut/bin/mutmut ## see whether tests notice changes of the mapping and the store (an hour)
	rm -rf build/mutants && mkdir build/mutants
	cd build/mutants && ln -s ../../workflow src && ln -s $(addprefix ../../,workflow tests resources profiles envs Snakefile config.yaml pyproject.toml) .
	cd build/mutants && ../mutmut/bin/mutmut run --max-children $(CHILDREN) $(foreach name,$(MUTANTS),'$(name)')
	cd build/mutants && ../mutmut/bin/mutmut results

clean: ## remove results, the store and the environment
	rm -rf results .store .snakemake $(VENV)
