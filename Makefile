# make demo   runs the main job on real input
# make test   passes the tests
# Both install what is missing: system packages by apt, Python packages from requirements/dev.txt into .venv.
# -P: Python takes the installed package, not the source directory of the same name, which has nothing compiled in it.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# The installed package is what is tested, never the source tree beside it.
export PYTHONSAFEPATH := 1
SOURCES := $(wildcard walrus/*.pyx walrus/*.pxd walrus/*.py walrus/*.pyi) setup.py pyproject.toml

.PHONY: build demo test test-seccomp lint types debug profile crash rules mutations nightly bench compare gate asv asv-record asv-page wheel clean
.DEFAULT_GOAL := build

build: $(VENV)/installed

$(VENV)/requirements: requirements/dev.txt ci/system-packages
	PYTHON=$(PYTHON) ci/system-packages
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

$(VENV)/installed: $(VENV)/requirements $(SOURCES)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall .
	touch $@

debug: build/debug/built

build/debug/built: $(VENV)/requirements $(SOURCES)
	WALRUS_DEBUG=1 $(PY) setup.py --quiet build --build-base build/debug-objects --build-lib build/debug
	touch $@

# What a release build is, with frame pointers: for perf, see docs/performance.md.
profile: build/profile/built

build/profile/built: $(VENV)/requirements $(SOURCES)
	WALRUS_PROFILE=1 $(PY) setup.py --quiet build --build-base build/profile-objects --build-lib build/profile
	touch $@

demo: build
	$(PY) examples/flights.py

# The device layer once more as the debug build: faults and the trace are compiled in there only.
test: build debug
	$(PY) -P -m pytest
	PYTHONPATH=$(CURDIR)/build/debug $(PY) -P -m pytest -q tests/test_device.py

# The tests that write logs, where the kernel refuses io_uring: once per way, io_uring falls back.
test-seccomp: build debug
	$(PY) tests/seccomp.py -- $(PY) -P -m pytest -m "storage and not nightly"

lint: build
	$(VENV)/bin/ruff check .
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint walrus/*.pyx walrus/*.pxd

types: build
	$(PY) -m mypy walrus
	cd $(VENV) && bin/python -m mypy.stubtest walrus --allowlist ../ci/stubtest-allowlist

crash: build debug
	$(PY) -P -m pytest -m "nightly or not nightly" tests/crash

# Each ordering rule of docs/format.md broken in turn, with what notices it; RULES="..." tries these alone.
rules: build debug
	PYTHONPATH=$(CURDIR)/build/debug:$(CURDIR) $(PY) -m tests.crash.rules $(RULES)

# Each defence taken away in turn: none of their tests may pass then; NAMES="..." tries these alone.
mutations: $(VENV)/requirements
	PYTHONSAFEPATH= $(PY) -m tests.mutations $(NAMES)

nightly: build debug
	$(PY) -P -m pytest -m "nightly or not nightly" --timeout 3600

bench: build
	$(PY) -P -m walrus bench

# Beside its rivals; QUICK=1 takes about five minutes; ARGS="--only fsync" and the like go to `python -m harness`.
compare: build build/compare-venv/installed
	WALRUS_PYTHON=$(CURDIR)/$(PY) PYTHONPATH=$(CURDIR)/compare build/compare-venv/bin/python -m harness $(if $(QUICK),--quick) $(ARGS)

build/compare-venv/installed: requirements/compare.txt
	$(PYTHON) -m venv build/compare-venv
	build/compare-venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/compare.txt
	touch $@

# Instruction counts of the hot paths against ci/instruction-counts.json; UPDATE=1 writes them anew.
gate: build
	$(PY) -P ci/gate.py $(if $(UPDATE),--update)

# Every benchmark once, without network; nothing is recorded.
asv: build
	$(PY) -P asv_bench/record.py --check

# What commits cost, into asv_bench/results: make asv-record MACHINE=a-name-for-it COMMITS="HEAD HEAD^".
asv-record: build
	$(PY) -P asv_bench/record.py --machine $(MACHINE) $(COMMITS)

# The recorded results as a page and a picture, in build/asv.
asv-page: build/compare-venv/installed
	build/compare-venv/bin/python asv_bench/render.py build/asv

wheel: $(VENV)/requirements
	$(PY) -m build --no-isolation --quiet

clean:
	rm -rf build dist $(VENV) *.egg-info
