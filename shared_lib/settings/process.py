"""The process itself: its logs, its telemetry, its server, and its build."""

from typing import Literal

from pydantic import Field

from shared_lib.settings.environment import Branch, HttpUrl


class Log(Branch):
    prefix = "LOG_"

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Telemetry(Branch):
    prefix = "OTEL_"

    exporter_otlp_endpoint: HttpUrl | None = None
    """The collector that gets traces and metrics by OTLP over HTTP. Unset: none are exported."""
    metric_export_interval: int = Field(default=60_000, ge=100)
    """Time between two exports of metrics, ms. The last one is sent when the process ends."""
    traces_sampler_arg: float = Field(default=0.1, ge=0, le=1)
    """Share of the traces that begin here which are recorded. A caller decides about its own, by its `traceparent`."""


class Serving(Branch):
    """The server of a function. Only its platform sets these, so they are not part of `Settings`."""

    host: str = "0.0.0.0"  # noqa: S104  a container's: Knative reaches it from the pod's queue-proxy
    port: int = Field(default=8080, ge=0, le=65535)
    threads: int = Field(default=16, ge=1)
    """Requests that are handled at once: the Service's containerConcurrency."""
    graceful_seconds: int = Field(default=600, ge=0)
    """Time for requests to finish when the process is told to stop. The platform's own limit applies too: a pod's
    termination grace period, which Knative makes as long as the Service's timeoutSeconds.
    """


class Build(Branch):
    """The source of a container image. Only its build sets these, so they are not part of `Settings`."""

    prefix = "BUILD_"

    commit: str | None = Field(default=None, pattern="^[0-9a-f]{7,64}$")
