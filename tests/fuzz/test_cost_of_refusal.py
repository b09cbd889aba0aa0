"""Whatever a stranger sends, to refuse it costs little, and it is never our error.

`make fuzz` draws more inputs, other ones each time, and reports the most expensive one of each parser.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import psutil
import pytest
from fuzz.parsers import CLAIMS, EVENT, UUID, list_parsers
from fuzz.pumping import Parser, pumped
from hypothesis import HealthCheck, Phase, given, settings
from issuer import Issuer, encode
from raw_http import Request, exchange
from service import Platform, find_consumers, find_port, find_processes, start_platform

from shared_lib.events import KAFKA_RECORD

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5"))
"""Of each parser."""
MAX_SECONDS = 0.5
"""Of processor time, which no input of the largest allowed size may cost."""

Measure = Callable[[str, Request], tuple[int, float]]


@dataclass
class Record:
    """The most expensive input of a parser."""

    count: int = 0
    seconds: float = 0
    text: str = ""
    statuses: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Text:
    """Hypothesis shows all of a text that fails, and warns if that is long."""

    text: str = field(repr=False)


@pytest.fixture(scope="module")
def open_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A service of its own, because some of what is sent is accepted."""
    running = start_platform(tmp_path_factory.mktemp("fuzzed"), FOREIGN_SOURCES="https://images.example.com/")
    yield running
    assert running.stop() == 0
    for line in running.log.read_text(errors="replace").splitlines():
        if "Error:" in line and "[info" not in line:
            print(line[:400])  # noqa: T201  the causes of our errors


@pytest.fixture(scope="module")
def measure(open_platform: Platform, guarded: Platform) -> Measure:
    """Return a function that sends a request to a process, and returns the status and the processor seconds."""
    [api], [gateway] = (find_processes(each, module="infra.local.gateway") for each in (open_platform, guarded))
    processes = {"open": api, "guarded": gateway, "consumers": find_consumers(open_platform)}

    def send(server: str, request: Request) -> tuple[int, float]:
        process = processes[server]
        before = _count_seconds(process)
        status = exchange(("127.0.0.1", find_port(process)), bytes(request)).status
        return status, _count_seconds(process) - before

    return send


def _count_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@pytest.fixture(scope="module")
def parsers(trusted_issuer: Issuer) -> dict[str, Parser]:
    claims = CLAIMS.replace("ISSUER", trusted_issuer.url)
    return {each.name: each for each in list_parsers(trusted_issuer.url, claims)}


@pytest.mark.parametrize("name", [each.name for each in list_parsers("", "")])
def test_no_input_of_a_parser_costs_much_or_is_our_error(
    measure: Measure, parsers: dict[str, Parser], name: str
) -> None:
    parser, worst = parsers[name], Record()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        phases=[Phase.generate],  # to shrink an expensive input takes long
        suppress_health_check=list(HealthCheck),
    )
    @given(pumped(parser).map(Text))
    def send(given_text: Text) -> None:
        text = given_text.text
        request = parser.send(text)
        status, seconds = measure(parser.server, request)
        if seconds > MAX_SECONDS:  # on a busy machine, an input is not guilty at once
            seconds = min(seconds, measure(parser.server, request)[1])
        worst.count += 1
        worst.statuses.add(status)
        if seconds > worst.seconds:
            worst.seconds, worst.text = seconds, text
        assert seconds <= MAX_SECONDS, f"{seconds} s"
        assert 200 <= status < 500, f"{status}: {text[:200]!r}"

    try:
        send()
    finally:
        statuses = ", ".join(map(str, sorted(worst.statuses)))
        print(f"{name} | {worst.count} | {worst.seconds:.2f} s | {statuses} | {worst.text[:60]!r}")  # noqa: T201


def _json(method: str, path: str, body: str) -> Request:
    return Request(method, f"/api/v1{path}", {"Content-Type": "application/json"}, body.encode())


def _names(count: int) -> str:
    return ",".join(f'"{number}":0' for number in range(count))


def _jwt(claims: str) -> Request:
    header = {"alg": "RS256", "kid": "rsa", "typ": "at+jwt"}
    return Request("GET", "/api/v1/images", {"Authorization": f"Bearer {encode(header)}.{encode(claims)}.aaaa"})


PREVIEW = f"/images/{UUID}/preview"
KNOWN = {
    "unknown names": _json("POST", PREVIEW, f"{{{_names(90_000)}}}"),
    "unknown names of an operation": _json("POST", PREVIEW, f'{{"operations":[{{"kind":"flip",{_names(90_000)}}}]}}'),
    "a list that is far too long": _json("POST", "/images/actions/delete", json.dumps({"uuids": ["x"] * 200_000})),
    "numbers for objects": _json("POST", PREVIEW, json.dumps({"operations": [0] * 340_000})),
    "empty operations": _json("POST", PREVIEW, json.dumps({"operations": [{}] * 250_000})),
    "a row that is far too long": _json(
        "POST", PREVIEW, json.dumps({"operations": [{"kind": "convolve", "matrix": [["x"] * 200_000]}]})
    ),
    "wrong matrices": _json(
        "POST", PREVIEW, json.dumps({"operations": [{"kind": "convolve", "matrix": [["x"] * 15] * 15}] * 700})
    ),
    "unknown kinds": _json("POST", PREVIEW, json.dumps({"operations": [{"kind": "reszie"}] * 20})),
    "a name of a million letters": _json("POST", PREVIEW, json.dumps({"a" * 1_000_000: 0})),
    "spaces in a filter of thumbor's": Request("GET", f"/thumbor/unsafe/filters:watermark({'%20' * 2_500})/{UUID}"),
    "digits in a filter of thumbor's": Request("GET", f"/thumbor/unsafe/filters:blur({'0' * 7_900})/{UUID}"),
    "a crop of 5,000 digits": Request("GET", f"/thumbor/unsafe/{'1' * 5_000}x0:1x1/{UUID}"),
    "a tolerance of 5,000 digits": Request("GET", f"/thumbor/unsafe/trim:{'1' * 5_000}/{UUID}"),
    "a proportion of 5,000 digits": Request("GET", f"/thumbor/unsafe/filters:proportion({'1' * 5_000})/{UUID}"),
    "a focal point of 5,000 digits": Request("GET", f"/thumbor/unsafe/filters:focal({'1' * 5_000}x0:1x1)/{UUID}"),
}


def _record(key: str) -> Request:
    record = {"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": "upload-images"}, "object": {"key": key}}}
    return Request("POST", "/process-image", STORED, json.dumps({"Records": [record]}).encode())


STORED = EVENT | {"ce-type": KAFKA_RECORD}
EVENTS = {
    "nested too deeply": Request("POST", "/process-image", STORED, b"[" * 100_000),
    "nested too deeply, given up": Request("POST", "/record-dead-letter", STORED, b"[" * 100_000),
    "a number of 5,000 digits": Request("POST", "/process-image", STORED, b"1" * 5_000),
    "a key of 100,000 letters": _record("a" * 100_000),
    "a key of NUL": _record("%00"),
    "a key that is no UTF-8": _record("%ff%fe"),
    "a key of dots": _record("a/../../b"),
    "no key": _record(""),
    "a key of slashes": _record("//"),
    "a surrogate for a key": _record("\ud800"),
    "a surrogate for a uuid": Request("POST", "/process-image", EVENT, b'{"uuid":"\\ud800"}'),
}


@pytest.mark.parametrize("request_", KNOWN.values(), ids=KNOWN)
def test_an_input_that_was_expensive_or_our_error_is_neither(measure: Measure, request_: Request) -> None:
    status, seconds = measure("open", request_)

    assert 400 <= status < 500
    assert seconds <= MAX_SECONDS


@pytest.mark.parametrize("request_", EVENTS.values(), ids=EVENTS)
def test_an_event_that_nobody_can_act_on_is_not_delivered_again(measure: Measure, request_: Request) -> None:
    """A status of 5xx would have it delivered again."""
    status, seconds = measure("consumers", request_)

    assert status == 400 or status < 300
    assert seconds <= MAX_SECONDS


@pytest.mark.parametrize("header", ["Origin", "Host"])
def test_a_header_with_an_address_that_is_none_is_refused(measure: Measure, header: str) -> None:
    status, _ = measure("open", Request("GET", "/api/v1/images", {header: "http://[" if header == "Origin" else "["}))

    assert 400 <= status < 500


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_a_time_of_400_digits_in_a_token_is_refused(measure: Measure, trusted_issuer: Issuer, claim: str) -> None:
    claims = CLAIMS.replace("ISSUER", trusted_issuer.url).replace(f'"{claim}":1', f'"{claim}":{"1" * 400}')

    status, _ = measure("guarded", _jwt(claims))

    assert status == 401


def test_only_the_first_mistakes_are_named_and_the_others_are_counted(open_platform: Platform) -> None:
    port = find_port(find_processes(open_platform, module="infra.local.gateway")[0])
    refuse = partial(exchange, ("127.0.0.1", port))

    refused = refuse(bytes(_json("POST", "/images/actions/delete", json.dumps({"uuids": ["x"] * 100})))).json()
    too_many = refuse(bytes(_json("POST", "/images/actions/delete", json.dumps({"uuids": ["x"] * 101})))).json()

    assert [each.get("parameter") for each in refused["details"]] == [*(f"uuids.{index}" for index in range(20)), None]
    assert refused["details"][-1]["message"] == "There are 80 more mistakes"
    assert refused["error"].endswith("; and 97 more mistakes")
    assert too_many["details"] == [{"parameter": "uuids", "message": "must have at most 100 items"}]
