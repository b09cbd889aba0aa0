"""Read the manifests of `infra/knative` and `infra/k8s/routes` for a run on one machine.

Unknown fields are errors and never ignored, so a local run supports everything in the manifests it accepts. Fields that
only matter in a cluster are marked `ClusterOnly`.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from infra.local.settings import CannotStart

ROOT = Path(__file__).parents[2]
ClusterOnly = Any  # ignored here: it only matters in a cluster


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
    """A Knative Service, which runs one function."""

    api_version: Literal["serving.knative.dev/v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def folder(self) -> str:
        """Its folder in `functions/`."""
        return Path(self.environ["FUNCTION_SOURCE"]).parent.name

    @property
    def source(self) -> Path:
        return ROOT / "functions" / self.environ["FUNCTION_SOURCE"]

    @property
    def takes_events(self) -> bool:
        """True if event sources call it, and no route does."""
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
    """Retries and timeouts of a source. If the block is present, none of the defaults for an absent one apply."""

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
    consumer_group: str = Field(min_length=1, description="Knative would generate one, and a new one after each change")
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
    filters: tuple[RewriteFilter] = Field(description="exactly one, which names the function")
    backend_refs: ClusterOnly


class HTTPRouteSpec(Manifest):
    parent_refs: ClusterOnly
    rules: tuple[RouteRule, ...]


class HTTPRoute(Manifest):
    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["HTTPRoute"]
    metadata: Metadata
    spec: HTTPRouteSpec


Supported = Service | KafkaSource | PingSource | HTTPRoute
KINDS: dict[str, type[Supported]] = {
    "Service": Service,
    "KafkaSource": KafkaSource,
    "PingSource": PingSource,
    "HTTPRoute": HTTPRoute,
}
CLUSTER_ONLY_KINDS = {"ServiceAccount", "ReferenceGrant"}


class Manifests(BaseModel):
    """All objects in the manifests of some folders."""

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
        """The destinations of all sources, including dead letters."""
        kafka = [source.spec for source in self.kafka_sources]
        dead = {spec.delivery.dead_letter_sink for spec in kafka if spec.delivery.dead_letter_sink}
        return dead | {spec.sink for spec in kafka} | {source.spec.sink for source in self.ping_sources}


def _resources(folder: Path) -> Iterator[Supported]:
    for name in _documents(folder / "kustomization.yaml")[0]["resources"]:
        for document in _documents(folder / name):
            kind = document.get("kind", "")
            if kind not in CLUSTER_ONLY_KINDS:
                yield _validate(folder / name, kind, document)


def _validate(path: Path, kind: str, document: Mapping[str, Any]) -> Supported:
    if kind not in KINDS:
        raise CannotStart(f"{path}: kind {kind!r} is not supported here, only {', '.join(KINDS)}.")
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
