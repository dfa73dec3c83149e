# Each target does its own set-up, and only once: .venv serves and tests, .venv-train trains.
PYTHON ?= python3
URL ?= http://localhost:5000
# Judges how accessible the page is; without npm its tests are skipped, but never in a CI.
AXE = axe-core@4.14.1
CLIENTS = tritonclient kserve open-inference-openapi
PIP_INSTALL = bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test lint export score conformance attack fuzz screenshots clean

run: .venv/server.stamp
	.venv/bin/python -m server

test: .venv/tests.stamp
	.venv/bin/python -m coverage erase
	.venv/bin/python -m coverage run -m pytest --quiet --numprocesses 2 --dist loadfile tests
	.venv/bin/python -m coverage combine --quiet && .venv/bin/python -m coverage report

lint: .venv/tests.stamp
	.venv/bin/ruff format --check . && .venv/bin/ruff check .
	.venv/bin/mypy

export: .venv-train/train.stamp
	.venv-train/bin/python -m export $(if $(QUICK),--quick)

score: .venv/server.stamp
	.venv/bin/python -m benchmarks.score $(URL) $(SETS) --markdown models/SCORES.md $(if $(MISSES),--misses $(MISSES))

# Other makers' clients of /v2, each in an environment of its own; puts its table into the README.
conformance: .venv/tests.stamp $(CLIENTS:%=.venv/clients/%.stamp)
	.venv/bin/python -m tests.conformance

# The long forms of tests/attack: minutes of slow clients, renewals, kills and stops under load.
attack: .venv/tests.stamp
	.venv/bin/python -m tests.attack.slow
	.venv/bin/python -m tests.attack.restarts
	.venv/bin/python -m tests.attack.overload

# A million broken pictures, bodies and tensors.
fuzz: .venv/tests.stamp
	.venv/bin/python -m tests.attack.fuzz $(COUNT)

# Those of the page in the README; the tests leave one of each of its states in .screenshots.
screenshots: .venv/tests.stamp
	.venv/bin/python -m tests.page.screenshots

clean:
	rm -rf .venv .venv-train .screenshots .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/server.stamp: requirements.txt
	$(PYTHON) -m venv .venv
	.venv/$(PIP_INSTALL) -r requirements.txt
	touch $@

.venv/tests.stamp: .venv/server.stamp tests/requirements.txt requirements-train.txt
	.venv/$(PIP_INSTALL) -r requirements-train.txt -r tests/requirements.txt
	! command -v npm || npm install --prefix .venv --no-save --no-package-lock --ignore-scripts $(AXE)
	touch $@

.venv/clients/%.stamp: tests/conformance/%.txt .venv/server.stamp
	$(PYTHON) -m venv .venv/clients/$*
	.venv/clients/$*/$(PIP_INSTALL) -r $<
	touch $@

.venv-train/train.stamp: requirements.txt requirements-train.txt
	$(PYTHON) -m venv .venv-train
	.venv-train/$(PIP_INSTALL) -r requirements-train.txt
	touch $@
