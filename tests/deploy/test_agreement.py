"""Files that repeat the same facts agree with one another."""

import json
import re
import tomllib
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml
from deploy import compose
from deploy.cluster import FUNCTIONS, OVERLAYS, ROOT, Object, of_kind, overlay, pods, services
from pydantic import TypeAdapter

from infra import postman
from infra.contracts import GENERATORS
from infra.functions import list_functions
from infra.local import machine
from infra.local.manifests import Manifests
from infra.local.plan import Plan
from shared_lib import events, settings
from shared_lib.web import openapi

SCHEMAS = Path(__file__).parent / "schemas"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
VARIABLES = {
    branch.name_variable(name): field
    for branch in settings.BRANCHES.values()
    for name, field in branch.model_fields.items()
}
SECRETS = {name for name, field in VARIABLES.items() if "SecretStr" in str(field.annotation)} | {
    "PURGE_CACHES"
}  # in its JSON
REQUIRED = {name for name, field in VARIABLES.items() if field.is_required()}
REGISTRY = "registry.example.com/"
IMAGE = f"image-processing/functions:{VERSION}"
SOURCES = {name.replace("_", "-"): f"{name}/main.py" for name in FUNCTIONS}
NOT_SETTINGS = {"FUNCTION_SOURCE", "THREADS", "SECRETS_DIR", "METRICS_FOR"}  # of the server; where settings are read

SKAFFOLD = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
COMPOSE = compose.load()
EACH_ITS_OWN = compose.load("functions")
COMPOSED = {
    name: compose.load(*names) for name, names in {"default": (), **{each: (each,) for each in compose.FILES}}.items()
}
OPENFAAS = yaml.safe_load((ROOT / "infra/openfaas/stack.yaml").read_text())
DURATION = TypeAdapter(timedelta)
DOCKERFILES = [ROOT / "functions/Dockerfile", ROOT / "infra/compose/Dockerfile"]


def dashed(names: set[str]) -> set[str]:
    return {name.replace("_", "-") for name in names}


def composed_functions(composed: Object) -> dict[str, Object]:
    """Return the services of Compose that run functions."""
    found = {name: each for name, each in composed["services"].items() if each["image"] == IMAGE}
    return {name: each for name, each in found.items() if name not in ("bootstrap", "event-source")}


def environment_of(name: str) -> dict[str, str]:
    """Return the settings of the functions in an overlay, without secrets."""
    [found] = [each for each in of_kind(overlay(name), "ConfigMap").values() if "S3_REGION" in each["data"]]
    data: dict[str, str] = found["data"]
    return data


# Derived files


@pytest.mark.parametrize("generate", GENERATORS, ids=lambda generate: generate.__module__)
def test_every_derived_file_is_what_make_contracts_would_write(generate: Callable[[], dict[Path, str]]) -> None:
    for path, text in generate().items():
        assert path.read_text() == text, "run `make contracts`"


# Functions


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_function_is_a_service_that_runs_it_from_the_one_image(name: str) -> None:
    containers = {
        service: each["spec"]["template"]["spec"]["containers"][0] for service, each in services(overlay(name)).items()
    }

    registry = {"local": "", "production": REGISTRY}[name]
    assert {each["image"] for each in containers.values()} == {f"{registry}{IMAGE}"}
    sources = {
        service: variable["value"]
        for service, each in containers.items()
        for variable in each["env"]
        if variable["name"] == "FUNCTION_SOURCE"
    }
    assert sources == SOURCES


@pytest.mark.parametrize("name", OVERLAYS)
def test_bootstrap_runs_from_the_same_image(name: str) -> None:
    [container] = of_kind(overlay(name), "Job")["bootstrap"]["spec"]["template"]["spec"]["containers"]

    assert container["image"].removeprefix(REGISTRY) == IMAGE


def test_the_image_contains_every_function() -> None:
    dockerfile = (ROOT / "functions/Dockerfile").read_text()

    assert "WORKDIR /functions\n" in dockerfile
    assert "COPY functions .\n" in dockerfile
    assert all((ROOT / "functions" / source).is_file() for source in SOURCES.values())


def test_a_function_has_a_route_unless_it_only_takes_events() -> None:
    routes = of_kind(overlay("production"), "HTTPRoute")
    rules = [rule for name, each in routes.items() if name.startswith("api-") for rule in each["spec"]["rules"]]
    hosts = {rule["filters"][0]["urlRewrite"]["hostname"].split(".")[0] for rule in rules}

    takes_events = {each.name for each in list_functions() if each.manifest.takes_events}
    assert takes_events == {each.name for each in list_functions() if each.endpoint is None}
    private = {each.name for each in list_functions() if each.endpoint and each.endpoint.is_private}
    assert hosts == dashed(FUNCTIONS) - takes_events - private


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_function_has_an_address_outside_the_cluster(name: str) -> None:
    for service in services(overlay(name)).values():
        assert service["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"


@pytest.mark.parametrize("name", OVERLAYS)
def test_applying_the_manifests_sends_all_traffic_to_the_latest_revision(name: str) -> None:
    """A rollback sets this field. An apply only resets fields that the manifests contain."""
    for service in services(overlay(name)).values():
        assert service["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]


def test_skaffold_builds_the_one_image() -> None:
    assert [each["image"] for each in SKAFFOLD["build"]["artifacts"]] == [IMAGE.partition(":")[0]]


def test_compose_builds_the_one_image() -> None:
    for composed in COMPOSED.values():
        built = {name for name, each in composed["services"].items() if "build" in each}
        assert built == {"bootstrap", "tests"}


def test_compose_starts_at_most_ten_containers_by_default() -> None:
    assert len(compose.list_started(COMPOSE)) <= 10


def test_the_containers_of_compose_run_every_function() -> None:
    """One has all with a route, one repairs, and one processes. Prometheus alone reads the state."""
    services = compose.load("monitoring")["services"]
    events = {name for name in SOURCES if services["reconciler"]["command"].count(name)}
    alone = {services[name]["environment"]["FUNCTION_SOURCE"] for name in ("processor", "report-state")}

    assert services["functions"]["command"] == ["python", "-m", "infra.local.gateway"]
    public = {each.name for each in list_functions() if each.is_public}
    assert public | events | {name for name, source in SOURCES.items() if source in alone} == SOURCES.keys()


def test_each_function_can_have_a_container_of_compose() -> None:
    running = {name: each["environment"]["FUNCTION_SOURCE"] for name, each in composed_functions(EACH_ITS_OWN).items()}

    assert running == {"processor" if name == "process-image" else name: source for name, source in SOURCES.items()}


def test_containers_of_compose_are_alike() -> None:
    common, alone = COMPOSE["x-functions"], EACH_ITS_OWN["x-function"]
    settings, others = COMPOSE["x-settings"], EACH_ITS_OWN["x-settings"]

    assert {**alone, "working_dir": "/"} == common
    assert {**others, "DATABASE_URL": settings["DATABASE_URL"]} == settings
    assert urlsplit(others["DATABASE_URL"]).username == "images_app"


def test_the_example_has_every_variable_of_compose_with_its_default() -> None:
    texts = [
        path.read_text() for path in (ROOT / "docker-compose.yml", *sorted((ROOT / "infra/compose").glob("*.yml")))
    ]
    used = {found for text in texts for found in re.findall(r"\$\{(\w+):-((?:[^{}]|\$\{[^}]*\})*)\}", text)}
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER_ARG"}  # infra/compose/monitoring.yml sets them
    defaults = {name: default.replace("${LISTEN:-localhost:5000}", "localhost:5000") for name, default in sorted(used)}
    assert {name: value for name, value in defaults.items() if name not in tracing} == example


def test_each_function_is_a_function_of_openfaas() -> None:
    running = {name: each["environment"]["FUNCTION_SOURCE"] for name, each in OPENFAAS["functions"].items()}

    assert running == SOURCES
    assert {each["image"] for each in OPENFAAS["functions"].values()} == {IMAGE}


@pytest.mark.parametrize("composed", [COMPOSE, EACH_ITS_OWN], ids=["compact", "functions"])
def test_the_event_source_under_compose_finds_every_sink(composed: Object) -> None:
    source = composed["services"]["event-source"]
    plan = Plan.model_validate_json(source["command"][-1])
    hosts = {urlsplit(plan.address(sink)).hostname for sink in Manifests.read(ROOT / plan.manifests).sinks}

    assert hosts == source["depends_on"].keys()


def _sinks(source: Object) -> Iterator[Object]:
    yield source["spec"]["sink"]
    if "delivery" in source["spec"]:
        yield source["spec"]["delivery"]["deadLetterSink"]


# Settings


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_manifests_set_every_setting_and_nothing_else(name: str) -> None:
    assert environment_of(name).keys() == VARIABLES.keys() - SECRETS


ROLES = {
    "api": "images_app",
    "delivery": "images_delivery",
    "worker": "images_worker",
    "reconciler": "images_reconciler",
    "reporter": "images_reporter",
    "bootstrap": "images_owner",
}
"""The database's role of the functions that have a Secret, by its name."""
PRESIGNING = {"S3_PRESIGN_ACCESS_KEY_ID", "S3_PRESIGN_SECRET_ACCESS_KEY"}


def find_secret(function: str) -> str:
    """Return the name of the Secret that a function should have."""
    labels = services(overlay("local"))[function]["metadata"]["labels"]
    component: str = labels["app.kubernetes.io/component"]
    own = {"reconcile-images": "reconciler", "report-state": "reporter"}.get(function)
    return own or {"events": "worker", "delivery": "delivery"}.get(component, "api")


def test_each_secret_has_the_required_secret_settings_and_the_keys_of_the_store() -> None:
    secrets = of_kind(overlay("local"), "Secret")

    for component, role in ROLES.items():
        [data] = [each["data"] for name, each in secrets.items() if name.rpartition("-")[0] == component]
        presigning = PRESIGNING if component in {"api", "bootstrap"} else set()
        keys = set() if component == "reporter" else {"S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"}
        assert data.keys() == SECRETS & REQUIRED | keys | presigning
        pair = {"reconciler": "worker"}.get(component, component)  # it has the same rights in the store
        assert not keys or b64decode(data["S3_ACCESS_KEY_ID"]).decode() == pair
        assert urlsplit(b64decode(data["DATABASE_URL"]).decode()).username == role


def test_each_component_connects_to_the_database_as_a_role_of_its_own() -> None:
    in_cluster = {**services(overlay("local")), **of_kind(overlay("local"), "Job")}
    for name in dashed(FUNCTIONS) | {"bootstrap"}:
        component = "bootstrap" if name == "bootstrap" else find_secret(name)
        [container] = in_cluster[name]["spec"]["template"]["spec"]["containers"]
        [secret] = [each["secretRef"]["name"] for each in container["envFrom"] if "secretRef" in each]
        assert secret.rpartition("-")[0] == component, name
        composed = EACH_ITS_OWN["services"]["processor" if name == "process-image" else name]
        assert urlsplit(composed["environment"]["DATABASE_URL"]).username == ROLES[component], name
        if name != "bootstrap":
            variable = f"DATABASE_{'APP' if component == 'api' else component.upper()}_URL"
            assert OPENFAAS["functions"][name]["environment"]["DATABASE_URL"] == f"${{{variable}}}", name


@pytest.mark.parametrize("name", OVERLAYS)
def test_functions_have_only_known_variables(name: str) -> None:
    for where, pod in pods(overlay(name)).items():
        [container] = pod["containers"]
        if container["image"].removeprefix(REGISTRY).startswith("image-processing/"):
            variables = {each["name"] for each in container.get("env", [])}
            assert variables <= VARIABLES.keys() | NOT_SETTINGS, where


@pytest.mark.parametrize(
    "environment",
    [
        *(each["environment"] for composed in COMPOSED.values() for each in composed_functions(composed).values()),
        *(each["environment"] for each in OPENFAAS["functions"].values()),
    ],
)
def test_compose_and_openfaas_set_the_required_settings_and_only_known_ones(environment: Object) -> None:
    assert REQUIRED <= environment.keys() <= VARIABLES.keys() | NOT_SETTINGS


PLAUSIBLE = {"DATABASE_URL": "postgresql://db/images", "S3_ENDPOINT_URL": "http://store:9000"}


def test_the_settings_in_the_base_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (ROOT / "infra/k8s/base/settings.env").read_text().splitlines()
    written = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in REQUIRED:
        monkeypatch.setenv(name, PLAUSIBLE.get(name, "x"))
    by_default = settings.load.__wrapped__()

    for name, value in written.items():
        if value:
            monkeypatch.setenv(name, value)

    assert settings.load.__wrapped__() == by_default


def test_defaults_need_no_validation() -> None:
    for branch in settings.BRANCHES.values():
        if not any(field.is_required() for field in branch.model_fields.values()):
            assert branch.model_construct() == branch.model_validate({})


SPARE_CONNECTIONS = 20  # for bootstrap, operators, backups and PostgreSQL's own reserve


def connections_of(name: str) -> int:
    """Return how many connections all pods of an overlay may open together."""
    default = environment_of(name)["DATABASE_POOL_SIZE"]
    total = 0
    for service in services(overlay(name)).values():
        template = service["spec"]["template"]
        variables = {each["name"]: each["value"] for each in template["spec"]["containers"][0]["env"]}
        most_pods = int(template["metadata"]["annotations"]["autoscaling.knative.dev/max-scale"])
        assert most_pods > 0  # 0 means no limit
        total += most_pods * int(variables.get("DATABASE_POOL_SIZE", default))
    return total


def most_connections(arguments: list[str]) -> int:
    [most] = [int(each.partition("=")[2]) for each in arguments if each.startswith("max_connections=")]
    return most


@pytest.mark.parametrize("name", OVERLAYS)
def test_all_pods_together_open_no_more_connections_than_documented(name: str) -> None:
    [documented] = re.findall(r"at most ([\d,]+) connections", (ROOT / "docs/deploy.md").read_text())

    assert connections_of(name) <= int(documented.replace(",", ""))


def test_all_pods_together_open_fewer_connections_than_postgresql_allows() -> None:
    [postgres] = [
        each for each in of_kind(overlay("local"), "StatefulSet").values() if "postgres" in str(each["metadata"])
    ]
    [container] = postgres["spec"]["template"]["spec"]["containers"]

    assert connections_of("local") + SPARE_CONNECTIONS <= most_connections(container["args"])


def test_compose_with_many_processors_opens_fewer_connections_than_postgresql_allows() -> None:
    processors = 50
    default = settings.Database.model_fields["pool_size"].default
    for composed in COMPOSED.values():
        pools = {
            name: int(each["environment"].get("DATABASE_POOL_SIZE", default))
            for name, each in composed_functions(composed).items()
        }
        opened = sum(pools.values()) + (processors - 1) * pools["processor"]

        assert opened + SPARE_CONNECTIONS <= most_connections(composed["services"]["postgres"]["command"])


def test_a_run_on_one_machine_opens_fewer_connections_than_postgresql_allows() -> None:
    default = settings.Database.model_fields["pool_size"].default
    events = [each.manifest.environ for each in list_functions() if each.manifest.takes_events]
    opened = int(machine.GATEWAY_POOL_SIZE) + sum(int(each.get("DATABASE_POOL_SIZE", default)) for each in events)

    assert opened + SPARE_CONNECTIONS <= 100  # PostgreSQL's default


# Deliveries


@pytest.mark.parametrize("name", OVERLAYS)
def test_timeouts_nest(name: str) -> None:
    """Workers time out first (at most three for one image), then the source, then the Revision."""
    functions = services(overlay(name))
    for source in of_kind(overlay(name), "KafkaSource").values():
        timeout = DURATION.validate_python(source["spec"]["delivery"]["timeout"]).total_seconds()
        assert 3 * float(environment_of(name)["LIMITS_WALL_SECONDS"]) < timeout
        for sink in _sinks(source):
            assert timeout < functions[sink["ref"]["name"]]["spec"]["template"]["spec"]["timeoutSeconds"] <= 600


@pytest.mark.parametrize("name", OVERLAYS)
def test_sources_read_existing_topics(name: str) -> None:
    environment = environment_of(name)
    for source in of_kind(overlay(name), "KafkaSource").values():
        spec = source["spec"]
        assert {*spec["topics"]} <= {*events.TOPICS}
        assert ",".join(spec["bootstrapServers"]) == environment["KAFKA_BOOTSTRAP_SERVERS"]
        assert (spec["initialOffset"], spec["ordering"]) == ("earliest", "unordered")


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_pod_has_as_many_threads_as_its_concurrency(name: str) -> None:
    """For events it is a limit, so none is refused. For requests it is a target: the pod itself refuses the excess."""
    takes_events = {each.name for each in list_functions() if each.manifest.takes_events}
    for service, each in services(overlay(name)).items():
        template = each["spec"]["template"]
        [threads] = [each["value"] for each in template["spec"]["containers"][0]["env"] if each["name"] == "THREADS"]
        limit = template["spec"].get("containerConcurrency", 0)
        target = template["metadata"]["annotations"].get("autoscaling.knative.dev/target", 0)

        assert (limit, int(target)) == ((int(threads), 0) if service in takes_events else (0, int(threads))), service


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_pod_has_memory_for_all_its_workers(name: str) -> None:
    environment = environment_of(name)
    workers = int(environment["PROCESSING_DECODERS"]) * int(environment["LIMITS_MEMORY_BYTES"])
    for decodes in ("process-image", "deliver-image", "deliver-imgproxy", "deliver-thumbor", "preview-image"):
        [container] = services(overlay(name))[decodes]["spec"]["template"]["spec"]["containers"]
        mebibytes = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))

        assert workers < mebibytes << 20


# Versions


def images() -> Iterator[str]:
    for name in OVERLAYS:
        yield from (each["image"] for pod in pods(overlay(name)).values() for each in pod["containers"])
    yield from (each["image"] for composed in COMPOSED.values() for each in composed["services"].values())
    for path in DOCKERFILES:
        yield from re.findall(r"^ARG PYTHON=(.+)$", path.read_text(), re.MULTILINE)
        bases = re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)
        stages = re.findall(r"^FROM .* AS (\S+)", path.read_text(), re.MULTILINE)
        yield from {*bases} - {*stages, "${PYTHON}"}


@pytest.mark.parametrize("image", sorted(set(images())))
def test_every_image_has_a_full_version(image: str) -> None:
    tag = image.rpartition("/")[2].partition(":")[2]

    assert re.match(r"v?\d+\.\d+(\.\d+)?|RELEASE\.\d{4}-\d\d-\d\dT", tag), "no version"


def test_images_have_the_same_versions_in_a_cluster_and_under_compose() -> None:
    cluster = {
        pod["containers"][0]["image"].removeprefix(REGISTRY)
        for name in OVERLAYS
        for pod in pods(overlay(name)).values()
    }

    assert cluster <= {each["image"] for each in COMPOSE["services"].values()}


def test_both_dockerfiles_use_the_same_python() -> None:
    bases = {re.findall(r"^ARG PYTHON=(.+)$", path.read_text(), re.MULTILINE)[0] for path in DOCKERFILES}
    dockerfile = (ROOT / "functions/Dockerfile").read_text()

    assert len(bases) == 1
    assert f"base.name={bases.pop()}" in dockerfile
    assert f"ARG VERSION={VERSION}\n" in dockerfile


# Files of other tools


@pytest.mark.parametrize(
    ("schema", "content"),
    [("skaffold-v4beta13.json", SKAFFOLD), *(("compose.json", each) for each in COMPOSED.values())],
    ids=["skaffold", *(f"compose-{name}" for name in COMPOSED)],
)
def test_files_of_skaffold_and_compose_are_valid(schema: str, content: Object) -> None:
    definition: dict[str, Any] = json.loads((SCHEMAS / schema).read_text())
    validator = jsonschema.validators.validator_for(definition)(definition)

    assert [error.message for error in validator.iter_errors(content)] == []
    assert list(validator.iter_errors(content | {"nonsense": True}))


def test_the_postman_collection_has_every_operation_of_the_api() -> None:
    operations = [each for methods in openapi.load()["paths"].values() for each in methods.values()]
    items = json.loads(postman.COLLECTION.read_text())["item"]

    assert {each["summary"] for each in operations} < {each["name"] for each in items}
    assert len(items) == len(operations) + 1  # the upload to the store's own URL
