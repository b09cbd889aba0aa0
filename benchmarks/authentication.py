"""Measure what it costs to know a caller: a listing by an anonymous caller, with an API key, and with a bearer token.

    PYTHONPATH=tests python -m benchmarks.authentication [--requests 400] [--starts 9]

Start the service for anonymous callers. It checks credentials that are sent all the same, so all three are asked in
turns, on one service. Then count requests of one caller, and start `list_images` like its container, for a first
request of each.
"""

import argparse
import compileall
import json
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import requests
from issuer import ALGORITHMS, AUDIENCE, run_issuer
from pydantic import SecretStr
from service import Platform, make_keys_of, start_platform

from benchmarks.cold_start import repeat, start
from benchmarks.throughput import ROOT
from shared_lib import settings
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database
from shared_lib.domain.principals import Principal, Role
from shared_lib.domain.rates import Rate
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.repositories.rates import Rates
from shared_lib.services.issuer_refresh import IssuerRefresh

Callers = dict[str, dict[str, str]]
"""The headers of each caller."""
LIST = "/api/v1/images?limit=1"


def measure_requests(service: Platform, callers: Callers, count: int) -> dict[str, list[float]]:
    """Return how long each request took, in seconds. The first ones are left out."""
    times: dict[str, list[float]] = {name: [] for name in callers}
    with requests.Session() as session:
        for number in range(count + 1):
            for name, headers in callers.items():
                began = time.perf_counter()
                response = session.get(f"{service.url}{LIST}", headers=headers, timeout=30)
                if number:
                    times[name].append(time.perf_counter() - began)
                response.raise_for_status()
    return times


def measure_limiter(url: str, count: int) -> list[float]:
    """Return how long it took to count each request of a caller, in seconds, as the functions' role."""
    database = Database(settings.Database(url=SecretStr(url)), DEFAULT_TENANT)
    rates, caller = Rates(database), Principal("key:benchmark", Role.ADMIN, DEFAULT_TENANT)
    asked = [Rate("requests", 10_000_000), Rate("requests", 10_000_000, of_tenant=True)]
    times = []
    for number in range(count + 1):
        began = time.perf_counter()
        assert all(each.granted for each in rates.take(caller, asked))
        if number:
            times.append(time.perf_counter() - began)
    database.disconnect()
    return times


def measure_starts(environ: dict[str, str], callers: Callers, count: int) -> dict[str, list[float]]:
    """Return the seconds from the start of a process to its first response."""
    source = ROOT / "functions/list_images/main.py"
    times: dict[str, list[float]] = {name: [] for name in callers}
    for _ in range(count):
        for name, headers in callers.items():
            began = time.perf_counter()
            with start(sys.executable, "shared_lib.server", source, environ) as (_, url):
                repeat(partial(requests.get, url + LIST, headers=headers, timeout=30)).raise_for_status()
                times[name].append(time.perf_counter() - began)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--starts", type=int, default=9)
    options = parser.parse_args()
    for folder in ("shared_lib", "functions"):
        compileall.compile_dir(ROOT / folder, quiet=1)
    with tempfile.TemporaryDirectory(prefix="authentication-") as data, run_issuer() as issuer:
        trusted = {"issuer": issuer.url, "audience": AUDIENCE, "algorithms": [*ALGORITHMS.values()]}
        unlimited = {"RATE_REQUESTS_PER_MINUTE": "0", "RATE_TENANT_REQUESTS_PER_MINUTE": "0"}
        more = {"AUTH_ISSUERS": json.dumps([trusted]), **unlimited}
        service = start_platform(Path(data), AUTH_MODE="anonymous", **more)
        database = Database(settings.Database(url=SecretStr(service.environment["DATABASE_URL"])))
        IssuerRefresh((settings.Issuer.model_validate(trusted),), IssuerKeys(database)).run()  # not a minute later
        database.disconnect()
        callers = {
            "anonymous": {},
            "API key": {"X-API-Key": make_keys_of(service)("admin")},
            "token": {"Authorization": f"Bearer {issuer.sign('rsa', roles=['admin'])}"},
        }
        times = measure_requests(service, callers, options.requests)
        times["limiter"] = measure_limiter(service.environment["DATABASE_APP_URL"], options.requests)
        for name, found in times.items():
            p99 = statistics.quantiles(found, n=100)[98]
            print(f"{name:<10} p50 {statistics.median(found) * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms")
        environ = os.environ | service.environment | more | {"LOG_LEVEL": "error"}
        for name, found in measure_starts(environ, callers, options.starts).items():
            print(f"{name:<10} first response {statistics.median(found):.3f} s, at least {min(found):.3f} s")
        service.stop()


if __name__ == "__main__":
    main()
