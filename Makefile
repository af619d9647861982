# Two commands for people: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 5000

.PHONY: demo test bench-first-frame property soak hostile fuzz bench bench-short bench-soak lint types docs wheel-test floors build audit clean

$(VENV)/.ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,test,bench,docs,redis,sandbox,analytics]"
	touch $@

# Starts the example app on the sandbox and prints the URL and a login.
demo: $(VENV)/.ready
	@tools/get-sdk.sh example_app || true
	$(BIN)/python -m example_app --port $(PORT)

# Installs what the tests need and runs them all.
test: $(VENV)/.ready
	@tools/get-system-packages.sh
	@tools/get-sdk.sh tests/browser
	@tools/get-sdk.sh tests/page
	@tools/get-sdk.sh tests/media
	@tools/get-sdk.sh benchmarks/express
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# Prints the time from a click to the first picture on the sandbox, and what a session costs.
bench-first-frame: $(VENV)/.ready
	@tools/get-sdk.sh tests/media
	@PYTHONPATH=.:tests $(BIN)/python -m benchmarks.first_frame $(ARGS)

# Compares our rules with the vendor's on many more bodies than `make test` does.
property: $(VENV)/.ready
	ANAM_PROPERTY_BODIES=50000 $(BIN)/python -m pytest -n 3 tests/core/test_vendor_contract.py $(ARGS)

# The long runs: the interleavings at twice the size, and many more generated personas.
soak: property
	ANAM_SOAK=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/faults

# The long form of tests/security: 200,000 hostile requests with the memory measured, and many more
# generated requests against openapi.json.
hostile: $(VENV)/.ready
	ANAM_HOSTILE_REQUESTS=200000 ANAM_API_EXAMPLES=300 $(BIN)/python -m pytest -n 2 --dist worksteal \
	    tests/security/test_cost.py tests/security/test_openapi.py $(ARGS)

# Feeds every parser and check with made-up input for longer.
fuzz: $(VENV)/.ready
	ANAM_FUZZ_EXAMPLES=20000 $(BIN)/python -m pytest -n 2 --dist worksteal tests/security/test_fuzz.py $(ARGS)

# Measures what a token costs, beside its floor and beside other ways to get one: under 20 minutes.
bench: $(VENV)/.ready
	@tools/get-bench-tools.sh
	@tools/get-sdk.sh benchmarks/express
	$(BIN)/python -m benchmarks $(ARGS)

# The same, small: for information, in under three minutes.
bench-short: $(VENV)/.ready
	@tools/get-bench-tools.sh
	@tools/get-sdk.sh benchmarks/express
	$(BIN)/python -m benchmarks --short --out build/benchmarks $(ARGS)

# Load and neglect: 30,000 requests, and again with Redis and a worker killed, for two kinds of
# workers; fails when a promise is broken. About ten minutes; ARGS="--short" takes about one.
bench-soak: $(VENV)/.ready
	@tools/get-bench-tools.sh
	$(BIN)/python -m benchmarks.soak $(ARGS)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(VENV)/.ready
	$(BIN)/mypy

docs: $(VENV)/.ready
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q -b html docs docs/_build/html

# Builds sdist and wheel, and runs the suite (without browser) against the installed wheel.
wheel-test: $(VENV)/.ready
	tools/test-wheel.sh $(BIN)/python

# The same with the oldest dependencies we claim to support.
floors: $(VENV)/.ready
	tools/test-wheel.sh $(BIN)/python --oldest

# Builds sdist, wheel and software bill of materials, the same bytes for the same commit.
build: $(VENV)/.ready
	tools/build.sh $(BIN)/python

# Looks for known vulnerabilities in the dependencies.
audit: $(VENV)/.ready
	tools/audit.sh $(BIN)/python

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build .pytest_cache .mypy_cache .ruff_cache
