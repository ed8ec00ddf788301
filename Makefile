# make run    everything on this machine, at http://127.0.0.1:8000
# make test   every test: Python, tag, browser        make check   lint, types, shape
# make bench  the benchmarks                          make tables  the tables of docs/ from the code
# make growth the curves: visitors, audiences, days, as CSV and SVG; a quarter of an hour    make flame  where the time goes
# make soak   twenty minutes at seven tenths of the load while audiences come and go
# make screenshots  of the dashboard's pages, into docs/images/dashboard
# make docs   the documentation as a site, into build/docs      make links  asks the sites that it points to
# make load   a minute of shoppers, whose account must close
# make faults every fault, many times, under load: kills, power cuts, full disks …; up to an hour
# make lock   the locked versions of all dependencies, anew    make audit  what is known against them
# make docker-test   docker-compose.yml on a real engine: scaled, killed, started anew, nothing lost

# The first Python ≥ 3.11 that can make a virtual environment; PYTHON=… decides otherwise.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check
ROOT_ON_DEBIAN = [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null

.PHONY: docs links lock audit screenshots run test check load faults bench growth soak flame tables docker-test browser server promtool slowhttptest
.DELETE_ON_ERROR:

run: .venv/run.stamp
	@exec .venv/bin/python -m collector up --demo $(ARGS)

test: .venv/test.stamp js/node_modules/stamp browser server promtool slowhttptest
	@.venv/bin/python -m pytest $(or $(ARGS),$(ABREAST))
	@[ -n "$(ARGS)" ] || COLLECTOR_TEST_SERVER=valkey .venv/bin/python -m pytest $(ABREAST) $(ENGINE)

# Most tests wait for processes: one a core halves the time. Each file stays with one of them, in its order.
ABREAST = --numprocesses auto --dist loadfile

# What speaks to the server itself is tried on Valkey as well, which comes with the package.
ENGINE = tests/unit/stream tests/unit/audience tests/unit/archive tests/unit/worker tests/stateful

check: .venv/test.stamp
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

load: .venv/test.stamp
	.venv/bin/python -m loadtest.load $(ARGS)

faults: .venv/test.stamp server
	COLLECTOR_FAULTS=long .venv/bin/python -m pytest tests/faults $(ARGS)

bench: .venv/test.stamp
	.venv/bin/python -m loadtest.bench $(ARGS)

growth: .venv/test.stamp
	.venv/bin/python -m loadtest.growth $(ARGS)

soak: .venv/test.stamp
	.venv/bin/python -m loadtest.soak $(ARGS)

flame: .venv/test.stamp
	$(PIP) py-spy
	.venv/bin/python -m loadtest.flame $(ARGS)

screenshots: .venv/test.stamp js/node_modules/stamp browser server
	.venv/bin/python -m tests.journey.screens $(ARGS)

docs: .venv/test.stamp
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build

links: .venv/test.stamp
	.venv/bin/python -m tests.docs.links

tables: .venv/test.stamp
	.venv/bin/python -m tests.tables

# DOCKER_ENGINE names a script that starts an engine where none runs. Mirrors of the base images: PYTHON_IMAGE, REDIS_IMAGE,
# PROXY_IMAGE, see docker-compose.yml.
docker-test: .venv/test.stamp
	@[ -z "$(DOCKER_ENGINE)" ] || bash "$(DOCKER_ENGINE)"
	COLLECTOR_DOCKER_TEST=1 .venv/bin/python -m pytest tests/docker/test_compose.py $(ARGS)

.venv/bin/python:
	@[ -n "$(PYTHON)" ] || { \
	  echo "No Python ≥ 3.11 with venv was found. Mend: apt-get install python3-venv, brew install python@3.13, or make PYTHON=…" >&2; \
	  exit 1; }
	$(PYTHON) -m venv --clear .venv

# What users run takes what pyproject.toml allows, on a Python of tomorrow too; what CI tests and Docker ships is locked, by hash.
.venv/run.stamp: .venv/bin/python pyproject.toml
	$(PIP) --editable .
	@touch $@
.venv/test.stamp: .venv/bin/python pyproject.toml requirements-test.lock
	$(PIP) --require-hashes --requirement requirements-test.lock
	$(PIP) --no-deps --editable .
	@touch $@

# The newest versions that pyproject.toml allows, with the hashes of their files for every platform.
lock: .venv/bin/python
	$(PIP) uv
	$(LOCK) --output-file requirements.lock
	$(LOCK) --extra test --extra load --extra docs --constraint requirements.lock --output-file requirements-test.lock
LOCK = .venv/bin/uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock" pyproject.toml

# Asks PyPI's list of known holes about every locked version, so it needs the network.
audit: .venv/bin/python
	$(PIP) pip-audit
	.venv/bin/pip-audit --disable-pip --require-hashes --requirement requirements.lock --requirement requirements-test.lock

js/node_modules/stamp: js/package.json js/package-lock.json
	@command -v npm >/dev/null || { echo "The tag's tests need Node ≥ 20. Mend: install it from https://nodejs.org." >&2; exit 1; }
	cd js && npm ci --no-audit --no-fund
	@touch $@

browser:
	@for b in chromium chromium-browser google-chrome "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do \
	  command -v "$$b" >/dev/null && exit 0; done; \
	if $(ROOT_ON_DEBIAN); then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else echo "The browser tests need Chromium. Mend: apt-get install chromium, or brew install --cask google-chrome." >&2; exit 1; fi

# Without it the tests run on the Valkey that comes with the package: so only where it costs nothing to ask.
server:
	@command -v redis-server >/dev/null || ! $(ROOT_ON_DEBIAN) || \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server >/dev/null; }

# Without it three tests of slow clients are left out.
slowhttptest:
	@command -v slowhttptest >/dev/null || ! $(ROOT_ON_DEBIAN) || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slowhttptest >/dev/null; }

# It tests the alert rules; where it is missing those tests are passed over. Only the tool of the package is wanted.
promtool:
	@command -v promtool >/dev/null || ! $(ROOT_ON_DEBIAN) || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus >/dev/null; }
