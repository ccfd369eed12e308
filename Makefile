# make demo       set up, then embed and search the sample photos
# make test       set up, then the C tests under sanitizers and the Python tests
# make test-all   the same, then the slow tests
# make fuzz       run every fuzz target for SECONDS (600); FUZZ="png core" selects some of them
# make lint       ruff and mypy
# make docs       build the documentation site in build/docs
# make debug      build the extension in place, without optimisation and with debug information
# make coverage   run the fast Python tests and show how much Python and C code they reach
# make compile_commands   write compile_commands.json, for clangd and similar tools
# make bench      run all benchmarks, compared with other libraries
# make notebooks  run the notebooks on the sample photos and save their output
# make pictures   draw the image in README.md with the default model
# make wheel      write the wheel and the sdist to dist/
# make clean      delete everything that make created
#
# Set up means: install missing system packages (their names are printed first), create a virtual
# environment in .venv, and build. Steps that are done already are skipped.
#
#   PYTHON=python3.12        use another Python (3.10 to 3.13) for .venv
#   PYTEST_ARGS="-k search"  more arguments for pytest
#   WORKERS=1                number of processes for the fast Python tests (default: one per core)
#   BIRDEMBED_SANITIZE=undefined   use a sanitizer in `make debug`; `address` must be loaded before
#                            Python: LD_PRELOAD="$(cc -print-file-name=libasan.so)"
#   BIRDEMBED_DATA=DIR       use real photos in tests and benchmarks: train/SPECIES/*.jpg, valid/

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
STAMPS := $(VENV)/stamps
CORE := birdembed/_core.abi3.so

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
# Found once and used by its real path, because each call through a version manager takes long.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
    if $$p -c '$(SUPPORTED)' 2>/dev/null; then $$p -c 'import sys; print(sys.executable)'; break; fi; done)
endif

# The photos may be beside the checkout.
ifeq ($(origin BIRDEMBED_DATA),undefined)
ifneq ($(wildcard ../shared/data/bird-fifty/train),)
export BIRDEMBED_DATA := $(abspath ../shared/data/bird-fifty)
endif
endif

# An environment that was moved, or whose Python is missing, is created again. A link to one is kept.
ifneq ($(shell cat $(STAMPS)/venv 2>/dev/null && $(PY) -c ''),$(realpath $(VENV)))
$(shell rm -rf $(STAMPS))
endif

.PHONY: demo test test-all test-c test-python test-slow fuzz lint docs bench notebooks pictures wheel clean build system fetch \
        debug coverage compile_commands
.DELETE_ON_ERROR:

demo: fetch
	@echo
	@$(VENV)/bin/birdembed demo $(if $(IMAGES),--images "$(IMAGES)")

test: test-c
	$(MAKE) --no-print-directory test-python
test-all: test
	$(MAKE) --no-print-directory test-slow

# --- set up --------------------------------------------------------------------------

system:
	@test -n "$(PYTHON)" || { echo "birdembed: Python 3.10 to 3.13 is needed, and was not found;" \
	    "on Debian: apt-get install python3; or make PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c '$(SUPPORTED)' || { echo "birdembed: $(PYTHON) is not Python 3.10 to 3.13" >&2; exit 1; }
	@sh tools/system_packages.sh "$(PYTHON)"

$(STAMPS)/venv: | system
	@echo "birdembed: creating $(VENV) with $$($(PYTHON) --version)"
	@"$(PYTHON)" -m venv --clear $(VENV)
	@mkdir -p $(STAMPS) && (cd $(VENV) && pwd -P) >$@

# $(call install,headings of pyproject.toml,more arguments for pip)
define install
@$(PY) tools/requirements.py $1 >$@.txt
@echo "birdembed: pip install $2" $$(cat $@.txt)
@$(PIP) install -qq $2 -r $@.txt
@touch $@
endef

$(STAMPS)/build: pyproject.toml tools/requirements.py $(STAMPS)/venv
	$(call install,build run pillow plot sscd)

$(STAMPS)/lint: pyproject.toml $(STAMPS)/build
	$(call install,lint)

$(STAMPS)/test: pyproject.toml $(STAMPS)/build
	$(call install,build run extras test lint docs)

# With all extras, because modules that cannot be imported are not described.
$(STAMPS)/docs: pyproject.toml $(STAMPS)/build
	$(call install,extras docs)

# Without dependencies, because these packages require another torch than the one above.
$(STAMPS)/test-no-deps: pyproject.toml $(STAMPS)/test
	$(call install,test-no-deps,--no-deps)

$(STAMPS)/wheel: pyproject.toml $(STAMPS)/build
	$(call install,wheel)

$(STAMPS)/bench: pyproject.toml $(STAMPS)/test
	$(call install,bench)

$(STAMPS)/coverage: pyproject.toml $(STAMPS)/test
	$(call install,coverage)

$(CORE): pyproject.toml setup.py $(wildcard csrc/*/*.c csrc/*/*.h) $(STAMPS)/build
	@echo "birdembed: building the extension module"
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@

build: $(CORE) | system

# $(call in_place,variable of setup.py,folder of the objects)
in_place = $1=1 $(PY) setup.py -q build_ext --inplace --force --build-temp $2 --build-lib $2/lib

# It replaces the normal one until the C sources change or it is deleted.
debug: $(STAMPS)/build $(if $(wildcard $(CORE)),,build)
	@echo "birdembed: building the extension module for a debugger"
	@$(call in_place,BIRDEMBED_DEBUG,build/debug)
	@touch $(CORE)
	@echo "birdembed: to build the normal one again: rm $(CORE) && make build"

fetch: build
	@echo "birdembed: downloading pre-trained weights and sample photos to the cache (once)"
	@$(VENV)/bin/birdembed fetch sscd
	@$(VENV)/bin/birdembed fetch samples || \
	    { sh tools/system_packages.sh --update-lists && $(VENV)/bin/birdembed fetch samples; }

# --- tests ---------------------------------------------------------------------------

CORES := $(shell nproc)
PYTEST = $(PY) -m pytest --timeout 600 --durations 10 $(PYTEST_ARGS)
# For the fast tests. Waiting threads must not spin, because several processes share the cores.
WORKERS := $(shell n=$(CORES); [ $$n -lt 8 ] || n=8; echo $$n)
IN_PARALLEL = OMP_WAIT_POLICY=passive $(PYTEST) -n $(WORKERS) --dist worksteal

TRAINING_OPS := $(addprefix nn/test_,batchnorm residual_relu channel_moments conv_training pool)

# The third run is for AVX2, with the tests of code that has its own AVX2 kernels. The last has no
# sanitizer, because its tests fork, which sanitizers do not survive.
test-c: build
	@$(MAKE) --no-print-directory -C csrc -k -j$(CORES) test PYTHON="$(CURDIR)/$(PY)" SAN=address,undefined
	@$(MAKE) --no-print-directory -C csrc -k -j$(CORES) test PYTHON="$(CURDIR)/$(PY)" SAN=thread
	@ONEDNN_MAX_CPU_ISA=AVX2 $(MAKE) --no-print-directory -C csrc -k -j$(CORES) test \
	    PYTHON="$(CURDIR)/$(PY)" SAN=address,undefined TESTS="nn/test_layers nn/test_conv_int8 $(TRAINING_OPS)"
	@$(MAKE) --no-print-directory -C csrc -k -j$(CORES) test PYTHON="$(CURDIR)/$(PY)" STUBS=1 \
	    TESTS="base/test_executor model/test_inference"

test-python: $(STAMPS)/test $(STAMPS)/test-no-deps fetch
	@sh tools/system_packages.sh --for-tests chromium chromium-driver curl
	$(IN_PARALLEL) -m "not slow"

test-slow: $(STAMPS)/test $(STAMPS)/test-no-deps $(STAMPS)/wheel fetch
	@sh tools/system_packages.sh --for-tests debootstrap
	$(PYTEST) -m slow

# Fuzz decoders, entry points of the core and file readers; inputs that find a bug are kept.
SECONDS ?= 600
fuzz: $(STAMPS)/test
	$(PY) -m tests.fuzz $(SECONDS) $(FUZZ)

# Python coverage is only that of this process; C coverage includes the processes that tests start.
# The instrumented core is slow, so it is deleted at the end, and the next `make` builds it again.
# A loop that ran more than 4e9 times looks suspicious to gcovr, but is not.
COVERAGE := build/coverage
coverage: $(STAMPS)/coverage $(STAMPS)/test-no-deps fetch
	@rm -rf $(COVERAGE) && mkdir -p $(COVERAGE)
	@echo "birdembed: building the extension module for gcov"
	@$(call in_place,BIRDEMBED_COVERAGE,$(COVERAGE))
	@code=0; COVERAGE_FILE=$(COVERAGE)/python $(PYTEST) -m "not slow" --cov=birdembed \
	    --cov-report=term:skip-covered --cov-report=html:$(COVERAGE)/html || code=$$?; \
	rm -f $(CORE); \
	echo "birdembed: lines and branches of the C core"; \
	$(PY) -m gcovr --root . --filter csrc/ --exclude csrc/image/stb_image_impl.c \
	    --gcov-ignore-errors=no_working_dir_found \
	    --gcov-ignore-parse-errors=suspicious_hits.warn_once_per_file \
	    --txt-summary --txt - $(COVERAGE) || code=$$?; \
	exit $$code

compile_commands: $(STAMPS)/build
	$(PY) tools/compile_commands.py

lint: $(STAMPS)/lint build
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: $(STAMPS)/docs build
	@rm -rf build/docs
	$(PY) -m sphinx -q -W --keep-going docs build/docs
	@echo "build/docs/index.html"

bench: $(STAMPS)/bench fetch
	$(PY) -m benchmarks $(BENCH_ARGS)

notebooks: $(STAMPS)/test fetch
	$(PY) tools/run_notebooks.py $(NOTEBOOKS)

pictures: fetch
	$(PY) tools/result_picture.py docs/images

wheel: $(STAMPS)/wheel
	@rm -f dist/birdembed-*
	@sh tools/make_wheel.sh $(PY) dist
	@ls -l dist

clean:
	rm -rf $(VENV) build dist docs/commands docs/notebooks docs/project docs/reference compile_commands.json *.egg-info birdembed/*.so birdembed/_lib .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find birdembed tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +
