# Two commands for people: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 5000
EXTRAS := dev test bench docs redis sandbox analytics

.PHONY: demo test quick pythons bench-first-frame property soak hostile fuzz bench bench-short bench-soak lint types docs wheel-test floors build audit lock clean

# What is installed is in requirements.lock, to the byte; `make lock` renews it.
$(VENV)/.ready: setup.cfg requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Starts the example app on the sandbox and prints the URL and a login.
demo: $(VENV)/.ready
	@tools/get-sdk.sh example_app || true
	$(BIN)/python -m example_app --port $(PORT)

# Installs what the tests need and runs them all. COVERAGE=1 also measures which lines and branches
# of flask_anam they reach, and fails below the share that pyproject.toml names.
test: $(VENV)/.ready
	@tools/get-system-packages.sh
	@tools/get-sdk.sh tests/browser
	@tools/get-sdk.sh tests/page
	@tools/get-sdk.sh tests/media
	@tools/get-sdk.sh benchmarks/express
	$(BIN)/python -m pytest -n 2 --dist worksteal $(if $(COVERAGE),--cov) $(ARGS)

# The tests that are neither slow nor need a browser.
quick: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow and not browser" $(ARGS)

# The same on every Python from 3.11 on that this machine has.
pythons: $(VENV)/.ready
	$(BIN)/nox $(if $(ARGS),-- $(ARGS))

# Prints the time from a click to the first picture on the sandbox, and what a session costs.
bench-first-frame: $(VENV)/.ready
	@tools/get-sdk.sh tests/media
	@PYTHONPATH=.:tests $(BIN)/python -m benchmarks.first_frame $(ARGS)

# Compares our rules with the vendor's on many more bodies than `make test` does.
property: $(VENV)/.ready
	ANAM_PROPERTY_BODIES=50000 $(BIN)/python -m pytest -n 3 tests/core/schemas/test_vendor_contract.py $(ARGS)

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

# Puts the newest releases of everything that the commands here install into requirements.lock.
lock: $(VENV)/.ready
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
	    --custom-compile-command "make lock" $(addprefix --extra ,$(EXTRAS)) \
	    --output-file requirements.lock setup.cfg

clean:
	rm -rf $(VENV) .nox build dist *.egg-info docs/_build .pytest_cache .mypy_cache .ruff_cache
