# Each target sets up what it needs, once: .venv serves and tests, .venv-train trains.
PYTHON ?= python3
URL ?= http://localhost:5000
# Checks the page's accessibility; without npm its tests are skipped, but never in CI.
AXE = axe-core@4.14.1
CLIENTS = tritonclient kserve open-inference-openapi
PEERS = starlette_onnx fastapi_onnx fastapi_torch flask_onnx litserve_onnx bentoml_onnx
# Four processes even on two cores, as tests often wait; tests/conftest.py orders and groups them.
PROCESSES = --numprocesses 4 --dist loadscope --no-loadscope-reorder
PIP_INSTALL = bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test coverage slow test-ray lint export score bench bench-read profile conformance attack fuzz fuzz-guided \
    lock audit screenshots clean

run: .venv/server.stamp
	.venv/bin/python -m server

# Compiles the server once, before the tests start dozens of processes that load it.
test: .venv/tests.stamp
	.venv/bin/python -m compileall -q server
	.venv/bin/python -m pytest --quiet $(PROCESSES) -m "not slow"

# Requires server/'s own tests to cover every branch of it; they take half as long again.
coverage: .venv/tests.stamp
	.venv/bin/python -m coverage erase
	.venv/bin/python -m coverage run -m pytest --quiet $(PROCESSES) -m "not slow" tests/server
	.venv/bin/python -m coverage combine --quiet && .venv/bin/python -m coverage report

# Runs the tests that take long or need a network, and a thousand examples for each property.
slow: .venv/tests.stamp
	.venv/bin/python -m pytest --quiet $(PROCESSES) -m "slow or hypothesis" --hypothesis-profile long

# Tests deploy/ray on a real cluster on this machine. Ray's many warnings are not ours to fix.
test-ray: .venv/ray.stamp
	.venv/ray/bin/python -m pytest --quiet -W ignore -p no:cacheprovider tests/ray

lint: .venv/tests.stamp
	.venv/bin/ruff format --check . && .venv/bin/ruff check .
	.venv/bin/mypy

export: .venv-train/train.stamp
	.venv-train/bin/python -m export $(if $(QUICK),--quick)

score: .venv/server.stamp
	.venv/bin/python -m benchmarks.score $(URL) $(SETS) --markdown models/SCORES.md $(if $(MISSES),--misses $(MISSES))

# Compares the service with alternatives; needs Linux and wrk. QUICK=1: only ours and the floors.
bench: .venv/server.stamp $(if $(QUICK),.venv/peers/starlette_onnx.stamp,$(PEERS:%=.venv/peers/%.stamp))
	.venv/bin/python -m benchmarks.bench $(if $(QUICK),--quick)

# Compares reading files with and without Ray, for the tables of deploy/SCALING.md.
bench-read: .venv/tests.stamp .venv/ray.stamp
	.venv/bin/python -m benchmarks.read $(if $(COUNT),--count $(COUNT))

# Prints how long each stage of a request takes.
profile: .venv/server.stamp
	.venv/bin/python -m benchmarks.profile

# Tests /v2 with third-party clients, each in its own environment, and updates the README's table.
conformance: .venv/tests.stamp $(CLIENTS:%=.venv/clients/%.stamp)
	.venv/bin/python -m tests.conformance

# The long forms of tests/attack: minutes of slow clients, restarts, kills and stops under load.
attack: .venv/tests.stamp
	.venv/bin/python -m tests.attack.slow
	.venv/bin/python -m tests.attack.restarts
	.venv/bin/python -m tests.attack.overload
	.venv/bin/python -m tests.attack.hangups
	.venv/bin/python -m tests.attack.confined

# Sends a million malformed pictures, bodies and tensors to the parsers.
fuzz: .venv/tests.stamp
	.venv/bin/python -m tests.attack.fuzz $(COUNT)

# Coverage-guided fuzzing, for SECONDS per parser.
fuzz-guided: .venv/guided.stamp
	for parser in decode uploads tensors; do \
	    .venv/guided/bin/python -m tests.attack.guided $$parser $(SECONDS) || exit 1; \
	done

# After a change to requirements.txt: pins every deployed package by hash, and writes the SBOM.
lock: .venv/supply.stamp
	.venv/supply/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-annotate --custom-compile-command "make lock" $(UPGRADE) requirements.txt -o requirements.lock
	.venv/supply/bin/uv venv --quiet --clear .venv/deployed
	.venv/supply/bin/uv pip install --quiet --python .venv/deployed --require-hashes -r requirements.lock
	.venv/supply/bin/cyclonedx-py environment --output-reproducible .venv/deployed -o deploy/sbom.cdx.json

# Checks the deployed packages for known vulnerabilities, against PyPI's advisories.
audit: .venv/supply.stamp
	.venv/supply/bin/pip-audit --strict --require-hashes --disable-pip -r requirements.lock

# Takes the README's screenshots; the tests leave one of every state in .screenshots.
screenshots: .venv/tests.stamp
	.venv/bin/python -m tests.page.screenshots

clean:
	rm -rf .venv .venv-train .screenshots .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/server.stamp: requirements.lock
	$(PYTHON) -m venv .venv
	.venv/$(PIP_INSTALL) --require-hashes -r requirements.lock
	touch $@

.venv/tests.stamp: .venv/server.stamp tests/requirements.txt requirements-train.txt
	.venv/$(PIP_INSTALL) -r requirements-train.txt -r tests/requirements.txt
	! command -v npm || npm install --prefix .venv --no-save --no-package-lock --ignore-scripts $(AXE)
	touch $@

.venv/clients/%.stamp: tests/conformance/%.txt .venv/server.stamp
	$(PYTHON) -m venv .venv/clients/$*
	.venv/clients/$*/$(PIP_INSTALL) -r $<
	touch $@

.venv/peers/%.stamp: benchmarks/peers/%.txt .venv/server.stamp
	$(PYTHON) -m venv .venv/peers/$*
	.venv/peers/$*/$(PIP_INSTALL) -r $<
	touch $@

.venv/guided.stamp: requirements.lock tests/attack/guided.txt
	$(PYTHON) -m venv .venv/guided
	.venv/guided/$(PIP_INSTALL) --require-hashes -r requirements.lock
	.venv/guided/$(PIP_INSTALL) -r tests/attack/guided.txt
	touch $@

.venv/ray.stamp: tests/ray/requirements.txt deploy/ray/requirements.txt .venv/server.stamp
	$(PYTHON) -m venv .venv/ray
	.venv/ray/$(PIP_INSTALL) -r $<
	touch $@

.venv/supply.stamp: deploy/supply.txt .venv/server.stamp
	$(PYTHON) -m venv .venv/supply
	.venv/supply/$(PIP_INSTALL) -r $<
	touch $@

.venv-train/train.stamp: requirements.txt requirements-train.txt
	$(PYTHON) -m venv .venv-train
	.venv-train/$(PIP_INSTALL) -r requirements-train.txt
	touch $@
