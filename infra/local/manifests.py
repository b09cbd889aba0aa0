"""The manifests of `infra/knative` and `infra/k8s/routes`, as far as one machine can follow them.

Strict on purpose: a field that is not understood here is refused and never ignored, so that a local run cannot
promise what it does not do. Fields that mean nothing on one machine are taken as they are and marked so below.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from infra.local.settings import CannotStart

ClusterOnly = Any  # taken unread: it means something to a cluster alone


class Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class Metadata(Manifest):
    name: str = ""
    namespace: str = "image-processing"
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class Variable(Manifest):
    name: str
    value: str


class Container(Manifest):
    image: str
    env: tuple[Variable, ...] = ()
    resources: ClusterOnly = None


class RevisionSpec(Manifest):
    containers: tuple[Container] = Field(description="exactly one")
    container_concurrency: int = 0
    timeout_seconds: ClusterOnly = None


class RevisionTemplate(Manifest):
    metadata: Metadata = Metadata()
    spec: RevisionSpec


class ServiceSpec(Manifest):
    template: RevisionTemplate


class Service(Manifest):
    """A Knative Service: one function."""

    api_version: Literal["serving.knative.dev/v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def folder(self) -> str:
        """Where its code is: Kubernetes' names have dashes, Python's have underscores."""
        return self.name.replace("-", "_")

    @property
    def takes_events(self) -> bool:
        """True if sources call it, and no route does."""
        return self.metadata.labels.get("app.kubernetes.io/component") == "events"

    @property
    def environ(self) -> dict[str, str]:
        return {variable.name: variable.value for variable in self.spec.template.spec.containers[0].env}


class Reference(Manifest):
    api_version: Literal["serving.knative.dev/v1"]
    kind: Literal["Service"]
    name: str


class Destination(Manifest):
    ref: Reference
    uri: str = Field("", description="a path on the Service")


class Delivery(Manifest):
    """How often and how patiently an event is sent. A block that is given replaces the defaults wholesale."""

    retry: int = Field(0, ge=0)
    backoff_policy: Literal["linear", "exponential"] = "exponential"
    backoff_delay: timedelta = timedelta(milliseconds=200)
    timeout: timedelta = timedelta(minutes=10)
    dead_letter_sink: Destination | None = None

    @classmethod
    def when_omitted(cls) -> "Delivery":
        return cls.model_validate({"retry": 10, "backoffDelay": "PT0.3S"})


class Overrides(Manifest):
    extensions: Mapping[str, str] = {}


class KafkaSourceSpec(Manifest):
    bootstrap_servers: ClusterOnly
    topics: tuple[str, ...] = Field(min_length=1)
    consumer_group: str = Field(min_length=1, description="Knative would make one up; an explicit one survives")
    consumers: int = Field(1, ge=0)
    initial_offset: Literal["earliest", "latest"] = "latest"
    ordering: Literal["ordered", "unordered"] = "ordered"
    delivery: Delivery = Field(default_factory=Delivery.when_omitted)
    sink: Destination
    ce_overrides: Overrides = Overrides()


class KafkaSource(Manifest):
    api_version: Literal["sources.knative.dev/v1"]
    kind: Literal["KafkaSource"]
    metadata: Metadata
    spec: KafkaSourceSpec


class PingSourceSpec(Manifest):
    schedule: str
    timezone: str = "UTC"
    content_type: str | None = None
    data: str = ""
    sink: Destination
    ce_overrides: Overrides = Overrides()


class PingSource(Manifest):
    api_version: Literal["sources.knative.dev/v1"]
    kind: Literal["PingSource"]
    metadata: Metadata
    spec: PingSourceSpec


class PathMatch(Manifest):
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: str = "/"


class RouteMatch(Manifest):
    path: PathMatch = PathMatch()
    method: str | None = None


class HostRewrite(Manifest):
    hostname: str


class RewriteFilter(Manifest):
    type: Literal["URLRewrite"]
    url_rewrite: HostRewrite


class RouteRule(Manifest):
    matches: tuple[RouteMatch, ...] = (RouteMatch(),)
    filters: tuple[RewriteFilter] = Field(description="exactly one: it names the function")
    backend_refs: ClusterOnly


class HTTPRouteSpec(Manifest):
    parent_refs: ClusterOnly
    rules: tuple[RouteRule, ...]


class HTTPRoute(Manifest):
    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["HTTPRoute"]
    metadata: Metadata
    spec: HTTPRouteSpec


Understood = Service | KafkaSource | PingSource | HTTPRoute
KINDS: dict[str, type[Understood]] = {
    "Service": Service,
    "KafkaSource": KafkaSource,
    "PingSource": PingSource,
    "HTTPRoute": HTTPRoute,
}
CLUSTER_ONLY_KINDS = {"ServiceAccount", "ReferenceGrant"}


class Manifests(BaseModel):
    """All that the manifests of some folders declare."""

    services: list[Service] = []
    kafka_sources: list[KafkaSource] = []
    ping_sources: list[PingSource] = []
    routes: list[HTTPRoute] = []

    @classmethod
    def read(cls, *folders: Path) -> "Manifests":
        """Read what each folder's kustomization.yaml lists as its resources."""
        found = [manifest for folder in folders for manifest in _resources(folder)]
        return cls(
            services=[each for each in found if isinstance(each, Service)],
            kafka_sources=[each for each in found if isinstance(each, KafkaSource)],
            ping_sources=[each for each in found if isinstance(each, PingSource)],
            routes=[each for each in found if isinstance(each, HTTPRoute)],
        )

    @property
    def sinks(self) -> set[Destination]:
        """Wherever a source sends to, dead letters included."""
        kafka = [source.spec for source in self.kafka_sources]
        dead = {spec.delivery.dead_letter_sink for spec in kafka if spec.delivery.dead_letter_sink}
        return dead | {spec.sink for spec in kafka} | {source.spec.sink for source in self.ping_sources}


def _resources(folder: Path) -> Iterator[Understood]:
    for name in _documents(folder / "kustomization.yaml")[0]["resources"]:
        for document in _documents(folder / name):
            kind = document.get("kind", "")
            if kind not in CLUSTER_ONLY_KINDS:
                yield _understood(folder / name, kind, document)


def _understood(path: Path, kind: str, document: Mapping[str, Any]) -> Understood:
    if kind not in KINDS:
        raise CannotStart(f"{path}: kind {kind!r} is not understood here; known are {', '.join(KINDS)}.")
    try:
        return KINDS[kind].model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(f"{part}" for part in first["loc"])
        raise CannotStart(f"{path}: {where}: {first['msg']}.") from None


def _documents(path: Path) -> list[dict[str, Any]]:
    try:
        return [document for document in yaml.safe_load_all(path.read_text()) if document]
    except OSError as error:
        raise CannotStart(f"{path}: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise CannotStart(f"{path}: not YAML: {error}") from None
