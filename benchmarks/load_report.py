"""The report of `benchmarks.load`: tables in Markdown, and one HTML page with graphs as inline SVG."""

import html
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

REFUSED = (429, 503)
Rows = Sequence[Sequence[str]]

mpl.rcParams["svg.fonttype"] = "none"  # text as text, in the reader's font
STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .2rem .8rem; border-bottom: 1px solid #ddd; }
td { text-align: right; } td:first-child, th { text-align: left; } svg { max-width: 100%; height: auto; }"""


class Request(NamedTuple):
    """A request: when it arrived, in seconds from the scenario's start, and how long its response took."""

    at: float
    name: str
    status: int
    seconds: float

    @property
    def is_refused(self) -> bool:
        return self.status in REFUSED


class Backlog(NamedTuple):
    at: float
    waiting: int
    ended: int
    """Images that are processed, in total."""


class Phase(NamedTuple):
    seconds: float
    rates: Mapping[str, float]
    """Requests per second, by action."""


class Scenario(NamedTuple):
    name: str
    phases: list[Phase]
    requests: list[Request]
    backlog: list[Backlog]


class Table(NamedTuple):
    head: Sequence[str]
    rows: Rows

    @property
    def markdown(self) -> str:
        return "\n".join("| " + " | ".join(row) + " |" for row in (self.head, ["---"] * len(self.head), *self.rows))

    @property
    def html(self) -> str:
        head, *rows = (
            "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
            for tag, row in (("th", self.head), *(("td", row) for row in self.rows))
        )
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def describe(phase: Phase) -> str:
    rates = ", ".join(f"{rate:.0f} {name}/s" for name, rate in phase.rates.items())
    return f"{phase.seconds:.0f} s of {rates}"


def make_tables(scenarios: list[Scenario], capacity: float) -> dict[str, Table]:
    overload = scenarios[-1]
    return {
        "Requests by scenario, times in ms": Table(_HEAD, _requests_of_all(scenarios)),
        "Overload, phase by phase": Table(
            ["phase", "uploads arrived/s", "accepted/s", "refused/s", "failed", "backlog at its end", "images done/s"],
            _phases(overload),
        ),
        "Targets under overload": Table(["target", "measured"], _targets(overload, capacity)),
    }


_HEAD = [
    "scenario",
    "request",
    "arrived/s",
    "accepted/s",
    "p50",
    "p95",
    "p99",
    "refused",
    "refused p50",
    "p99",
    "failed",
]


def _requests_of_all(scenarios: list[Scenario]) -> Rows:
    rows = []
    for scenario in scenarios:
        total = sum(phase.seconds for phase in scenario.phases)
        for name in dict.fromkeys(request.name for request in scenario.requests):
            found = [request for request in scenario.requests if request.name == name]
            accepted = [request for request in found if request.status in (200, 201)]
            refused = [request for request in found if request.is_refused]
            rows.append(
                [
                    scenario.name,
                    name,
                    f"{len(found) / total:.1f}",
                    f"{len(accepted) / total:.1f}",
                    *(_milliseconds(accepted, share) for share in (50, 95, 99)),
                    f"{len(refused) / len(found):.0%}",
                    *(_milliseconds(refused, share) for share in (50, 99)),
                    f"{len(found) - len(accepted) - len(refused)}",
                ]
            )
    return rows


def _milliseconds(requests: Sequence[Request], percentile: float) -> str:
    times = [request.seconds for request in requests]
    return f"{np.percentile(times, percentile) * 1000:.0f}" if times else "-"


def _during(scenario: Scenario, number: int) -> tuple[float, float]:
    """Return when a phase began and ended."""
    began = sum(phase.seconds for phase in scenario.phases[:number])
    return began, began + scenario.phases[number].seconds


def _uploads(scenario: Scenario, began: float, ended: float) -> list[Request]:
    return [each for each in scenario.requests if each.name == "upload" and began <= each.at < ended]


def _phases(scenario: Scenario) -> Rows:
    rows = []
    for number, title in enumerate(("half the capacity", "three times the capacity", "half the capacity again")):
        began, ended = _during(scenario, number)
        uploads, seconds = _uploads(scenario, began, ended), ended - began
        accepted, refused = (
            sum(request.status == 200 for request in uploads),
            sum(request.is_refused for request in uploads),
        )
        samples = [each for each in scenario.backlog if began <= each.at < ended]
        rate = (samples[-1].ended - samples[0].ended) / (samples[-1].at - samples[0].at)
        rows.append(
            [
                title,
                *(f"{count / seconds:.1f}" for count in (len(uploads), accepted, refused)),
                f"{len(uploads) - accepted - refused}",
                f"{samples[-1].waiting}",
                f"{rate:.1f}",
            ]
        )
    return rows


def _targets(scenario: Scenario, capacity: float) -> Rows:
    (began, ended), (_, last) = _during(scenario, 1), _during(scenario, 2)
    uploads = _uploads(scenario, began, ended)
    accepted = [request for request in uploads if request.status == 200]
    refused = [request for request in uploads if request.is_refused]
    goodput = len(accepted) / (ended - began)
    return [
        ["accepted uploads: p99 is bounded", f"{_milliseconds(accepted, 99)} ms"],
        [
            "refusals within 100 ms",
            f"{np.mean([request.seconds <= 0.1 for request in refused]):.1%}; p99 {_milliseconds(refused, 99)} ms"
            if refused
            else "none was refused",
        ],
        [
            "goodput at least 90 % of the capacity",
            f"{goodput / capacity:.0%} ({goodput:.1f} of {capacity:.1f}/s)",
        ],
        ["recovery within 30 s", f"{_recovery(scenario, began, ended, last):.0f} s"],
    ]


def _recovery(scenario: Scenario, began: float, ended: float, last: float) -> float:
    """Return for how long after the overload uploads were still refused, or took twice as long as before it."""
    usual = np.median([request.seconds for request in _uploads(scenario, 0, began)])
    recovered = ended
    for second in np.arange(ended, last):
        uploads = _uploads(scenario, second, second + 1)
        slow = uploads and np.median([request.seconds for request in uploads]) > 2 * usual
        if slow or any(request.status != 200 for request in uploads):
            recovered = second + 1
    return float(recovered - ended)


def render(about: str, tables: Mapping[str, Table], scenarios: list[Scenario]) -> str:
    parts = [f"<h2>{html.escape(title)}</h2>{table.html}" for title, table in tables.items()]
    parts += [f"<h2>{html.escape(each.name)}</h2>{_draw(each)}" for each in scenarios]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Load test</title><style>{STYLE}</style>'
        f"<h1>Load test</h1><p>{html.escape(about)}</p>{''.join(parts)}</html>"
    )


def _draw(scenario: Scenario) -> str:
    """Return three graphs over time as SVG: the rate of uploads, times of responses, and the backlog."""
    figure = Figure(figsize=(10, 9), layout="constrained")
    rates, times, backlog = figure.subplots(3, 1, sharex=True)
    total = sum(phase.seconds for phase in scenario.phases)
    seconds = np.arange(0, total + 1)
    uploads = [each for each in scenario.requests if each.name in ("upload", "PUT to the store", "upload URL")]
    accepted = [each for each in uploads if each.status == 200]
    refused = [each for each in uploads if each.is_refused]
    for label, found in (("arrived", uploads), ("accepted", accepted), ("refused", refused)):
        rates.plot(seconds[:-1], np.histogram([each.at for each in found], seconds)[0], label=label)
    reads = [each for each in scenario.requests if each.name in ("list", "get", "rendition", "health")]
    for label, found in (("uploads", accepted), ("refused", refused), ("reads", reads)):
        for share, style in ((50, "-"), (99, ":")):
            points = _percentiles(found, seconds, share)
            if points:
                times.plot(*zip(*points, strict=True), style, label=f"{label}, p{share}")
    backlog.plot([each.at for each in scenario.backlog], [each.waiting for each in scenario.backlog], label="backlog")
    times.set_yscale("log")
    for axes, unit in ((rates, "requests/s"), (times, "ms"), (backlog, "images that wait")):
        axes.set_ylabel(unit)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="upper left", fontsize="small")
        for number in range(1, len(scenario.phases)):
            axes.axvline(_during(scenario, number)[0], color="gray", linestyle="--")
    backlog.set_xlabel("seconds")
    with io.StringIO() as file:
        figure.savefig(file, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
        return file.getvalue()[file.getvalue().index("<svg") :]


def _percentiles(requests: Sequence[Request], seconds: np.ndarray, share: float) -> list[tuple[float, float]]:
    by_second: dict[int, list[float]] = {}
    for request in requests:
        by_second.setdefault(int(request.at), []).append(request.seconds * 1000)
    return [
        (second, float(np.percentile(by_second[second], share))) for second in map(int, seconds) if second in by_second
    ]
