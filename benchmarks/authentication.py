"""Measure what it costs to know a caller: a listing by an anonymous caller, with an API key, and with a bearer token.

    PYTHONPATH=tests python -m benchmarks.authentication [--requests 400]

Start the service for anonymous callers. It checks credentials that are sent all the same, so all three are asked in
turns, on one service.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import requests
from issuer import ALGORITHMS, AUDIENCE, Issuer, run_issuer
from pydantic import SecretStr
from service import Platform, make_keys_of, start_platform

from shared_lib import settings
from shared_lib.database.connection import Database
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.services.issuer_refresh import IssuerRefresh


def measure(service: Platform, issuer: Issuer, count: int) -> dict[str, list[float]]:
    """Return how long each request took, in seconds, by the caller's credentials. The first ones are left out."""
    callers = {
        "anonymous": {},
        "API key": {"X-API-Key": make_keys_of(service)("admin")},
        "token": {"Authorization": f"Bearer {issuer.sign('rsa', roles=['admin'])}"},
    }
    times: dict[str, list[float]] = {name: [] for name in callers}
    with requests.Session() as session:
        for number in range(count + 1):
            for name, headers in callers.items():
                began = time.perf_counter()
                response = session.get(f"{service.url}/api/v1/images?limit=1", headers=headers, timeout=30)
                if number:
                    times[name].append(time.perf_counter() - began)
                response.raise_for_status()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    count = parser.parse_args().requests
    with tempfile.TemporaryDirectory(prefix="authentication-") as data, run_issuer() as issuer:
        trusted = {"issuer": issuer.url, "audience": AUDIENCE, "algorithms": [*ALGORITHMS.values()]}
        more = {"AUTH_ISSUERS": json.dumps([trusted]), "RATE_REQUESTS_PER_MINUTE": "0"}
        service = start_platform(Path(data), AUTH_MODE="anonymous", **more)
        database = Database(settings.Database(url=SecretStr(service.environment["DATABASE_URL"])))
        IssuerRefresh((settings.Issuer.model_validate(trusted),), IssuerKeys(database)).run()  # not a minute later
        database.disconnect()
        for name, found in measure(service, issuer, count).items():
            p99 = statistics.quantiles(found, n=100)[98]
            print(f"{name:<10} p50 {statistics.median(found) * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms")
        service.stop()


if __name__ == "__main__":
    main()
