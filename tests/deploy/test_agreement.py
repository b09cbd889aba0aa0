"""Files that repeat the same facts agree with one another."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml
from deploy.cluster import FUNCTIONS, OVERLAYS, ROOT, Object, of_kind, overlay, pods, services
from pydantic import TypeAdapter

from infra import postman
from infra.contracts import GENERATORS
from infra.functions import list_functions
from infra.local.eventing import Plan
from infra.local.manifests import Manifests
from shared_lib import events, settings
from shared_lib.web import openapi

SCHEMAS = Path(__file__).parent / "schemas"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
VARIABLES = {
    f"{branch.model_config['env_prefix']}{name}".upper(): field
    for branch in settings.BRANCHES.values()
    for name, field in branch.model_fields.items()
}
SECRETS = {name for name, field in VARIABLES.items() if "SecretStr" in str(field.annotation)}
REQUIRED = {name for name, field in VARIABLES.items() if field.is_required()}
REGISTRY = "registry.example.com/"
NOT_SETTINGS = {"THREADS"}  # of the process, not of what it does

SKAFFOLD = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OPENFAAS = yaml.safe_load((ROOT / "infra/openfaas/stack.yaml").read_text())
DURATION = TypeAdapter(timedelta)
DOCKERFILES = [ROOT / "functions/Dockerfile", ROOT / "infra/compose/Dockerfile"]


def dashed(names: set[str]) -> set[str]:
    return {name.replace("_", "-") for name in names}


def environment_of(name: str) -> dict[str, str]:
    """What a function is told in this overlay, but for its secrets."""
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
def test_each_function_is_a_service_of_its_own_image(name: str) -> None:
    images = {
        service: each["spec"]["template"]["spec"]["containers"][0]["image"]
        for service, each in services(overlay(name)).items()
    }

    registry = {"local": "", "production": REGISTRY}[name]
    assert images == {each: f"{registry}image-processing/{each}:{VERSION}" for each in dashed(FUNCTIONS)}


def test_a_function_has_a_route_unless_it_only_takes_events() -> None:
    routes = of_kind(overlay("production"), "HTTPRoute")
    rules = [rule for name, each in routes.items() if name.startswith("api-") for rule in each["spec"]["rules"]]
    hosts = {rule["filters"][0]["urlRewrite"]["hostname"].split(".")[0] for rule in rules}

    takes_events = {each.name for each in list_functions() if each.manifest.takes_events}
    assert takes_events == {each.name for each in list_functions() if each.endpoint is None}
    assert hosts == dashed(FUNCTIONS) - takes_events


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_function_has_an_address_outside_of_the_cluster(name: str) -> None:
    for service in services(overlay(name)).values():
        assert service["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"


@pytest.mark.parametrize("name", OVERLAYS)
def test_applying_the_manifests_sends_all_traffic_to_the_latest_revision(name: str) -> None:
    """A rollback names a Revision in a field that an apply leaves alone unless the manifests set it."""
    for service in services(overlay(name)).values():
        assert service["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]


def test_each_function_is_an_artifact() -> None:
    artifacts = {each["image"]: each["docker"]["buildArgs"]["FUNCTION"] for each in SKAFFOLD["build"]["artifacts"]}

    assert artifacts == {f"image-processing/{name.replace('_', '-')}": name for name in FUNCTIONS}


def test_each_function_is_a_container_under_compose() -> None:
    built = {
        each["build"]["args"]["FUNCTION"]: (name, each["image"])
        for name, each in COMPOSE["services"].items()
        if each.get("build", {}).get("dockerfile") == "functions/Dockerfile" and name != "bootstrap"
    }

    assert built == {
        name: (
            "processor" if name == "process_image" else name.replace("_", "-"),
            f"image-processing/{name.replace('_', '-')}:{VERSION}",
        )
        for name in FUNCTIONS
    }


def test_each_function_is_one_on_openfaas() -> None:
    images = {name: each["image"] for name, each in OPENFAAS["functions"].items()}

    assert images == {name: f"image-processing/{name}:{VERSION}" for name in dashed(FUNCTIONS)}


def test_the_event_source_under_compose_finds_every_sink() -> None:
    plan = Plan.model_validate_json(COMPOSE["services"]["event-source"]["command"][-1])
    hosts = {urlsplit(plan.address(sink)).hostname for sink in Manifests.read(ROOT / plan.manifests).sinks}

    assert hosts == COMPOSE["services"]["event-source"]["depends_on"].keys()


def _sinks(source: Object) -> Iterator[Object]:
    yield source["spec"]["sink"]
    if "delivery" in source["spec"]:
        yield source["spec"]["delivery"]["deadLetterSink"]


# Settings


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_setting_is_in_the_manifests_and_nothing_else_is(name: str) -> None:
    assert environment_of(name).keys() == VARIABLES.keys() - SECRETS


def test_the_secrets_are_those_settings_that_are_secret_and_required_and_the_keys_of_a_store_without_roles() -> None:
    [secret] = [each for each in of_kind(overlay("local"), "Secret").values() if "DATABASE_URL" in each["data"]]

    assert secret["data"].keys() == SECRETS & REQUIRED | {"S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_function_is_told_nothing_that_is_no_setting(name: str) -> None:
    for where, pod in pods(overlay(name)).items():
        [container] = pod["containers"]
        if container["image"].removeprefix(REGISTRY).startswith("image-processing/"):
            told = {each["name"] for each in container.get("env", [])}
            assert told <= VARIABLES.keys() | NOT_SETTINGS, where


@pytest.mark.parametrize(
    "environment",
    [
        *(each["environment"] for each in COMPOSE["services"].values() if "FUNCTION" in str(each.get("build"))),
        *(each["environment"] for each in OPENFAAS["functions"].values()),
    ],
)
def test_compose_and_openfaas_set_what_is_required_and_nothing_that_is_no_setting(environment: Object) -> None:
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


def test_all_pods_together_open_fewer_connections_than_postgresql_takes() -> None:
    spare = 20  # for bootstrap, operators, backups and PostgreSQL's own reserve
    [postgres] = [
        each for each in of_kind(overlay("local"), "StatefulSet").values() if "postgres" in str(each["metadata"])
    ]
    [container] = postgres["spec"]["template"]["spec"]["containers"]
    [most] = [int(each.partition("=")[2]) for each in container["args"] if each.startswith("max_connections=")]
    allowed = 0
    for service in services(overlay("local")).values():
        template = service["spec"]["template"]
        told = {each["name"]: each["value"] for each in template["spec"]["containers"][0]["env"]}
        pool = int(told.get("DATABASE_POOL_SIZE", environment_of("local")["DATABASE_POOL_SIZE"]))
        allowed += pool * int(template["metadata"]["annotations"]["autoscaling.knative.dev/max-scale"])

    assert allowed + spare <= most


# Deliveries


@pytest.mark.parametrize("name", OVERLAYS)
def test_timeouts_nest(name: str) -> None:
    """Decoders give up first, three for one image at most, then the source, then the Revision: each learns why."""
    functions = services(overlay(name))
    for source in of_kind(overlay(name), "KafkaSource").values():
        patience = DURATION.validate_python(source["spec"]["delivery"]["timeout"]).total_seconds()
        assert 3 * float(environment_of(name)["LIMITS_WALL_SECONDS"]) < patience
        for sink in _sinks(source):
            assert patience < functions[sink["ref"]["name"]]["spec"]["template"]["spec"]["timeoutSeconds"] <= 600


@pytest.mark.parametrize("name", OVERLAYS)
def test_sources_read_topics_that_are_made(name: str) -> None:
    environment = environment_of(name)
    for source in of_kind(overlay(name), "KafkaSource").values():
        spec = source["spec"]
        assert {*spec["topics"]} <= {*events.TOPICS}
        assert ",".join(spec["bootstrapServers"]) == environment["KAFKA_BOOTSTRAP_SERVERS"]
        assert (spec["initialOffset"], spec["ordering"]) == ("earliest", "unordered")


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_pod_takes_as_many_requests_as_it_has_threads(name: str) -> None:
    for service in services(overlay(name)).values():
        spec = service["spec"]["template"]["spec"]
        [threads] = [each["value"] for each in spec["containers"][0]["env"] if each["name"] == "THREADS"]
        assert int(threads) == spec["containerConcurrency"], service["metadata"]["name"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_pod_has_room_for_all_its_decoders(name: str) -> None:
    environment = environment_of(name)
    [container] = services(overlay(name))["process-image"]["spec"]["template"]["spec"]["containers"]
    mebibytes = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))

    decoders = int(environment["PROCESSING_DECODERS"]) * int(environment["LIMITS_MEMORY_BYTES"])
    assert decoders < mebibytes << 20


# Versions


def images() -> Iterator[str]:
    for name in OVERLAYS:
        yield from (each["image"] for pod in pods(overlay(name)).values() for each in pod["containers"])
    yield from (each["image"] for each in COMPOSE["services"].values())
    for path in DOCKERFILES:
        yield from re.findall(r"^ARG PYTHON=(.+)$", path.read_text(), re.MULTILINE)
        bases = re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)
        stages = re.findall(r"^FROM .* AS (\S+)", path.read_text(), re.MULTILINE)
        yield from {*bases} - {*stages, "${PYTHON}"}


@pytest.mark.parametrize("image", sorted(set(images())))
def test_an_image_names_its_version_to_the_last_digit(image: str) -> None:
    tag = image.rpartition("/")[2].partition(":")[2]

    assert re.match(r"v?\d+\.\d+(\.\d+)?|RELEASE\.\d{4}-\d\d-\d\dT", tag), "no version"


def test_what_runs_in_a_cluster_runs_under_compose_in_the_same_version() -> None:
    cluster = {
        pod["containers"][0]["image"].removeprefix(REGISTRY)
        for name in OVERLAYS
        for pod in pods(overlay(name)).values()
    }

    assert cluster <= {each["image"] for each in COMPOSE["services"].values()}


def test_both_dockerfiles_stand_on_the_same_python() -> None:
    bases = {re.findall(r"^ARG PYTHON=(.+)$", path.read_text(), re.MULTILINE)[0] for path in DOCKERFILES}
    dockerfile = (ROOT / "functions/Dockerfile").read_text()

    assert len(bases) == 1
    assert f"base.name={bases.pop()}" in dockerfile
    assert f"ARG VERSION={VERSION}\n" in dockerfile


# Files of other tools


@pytest.mark.parametrize(
    ("schema", "content"),
    [("skaffold-v4beta13.json", SKAFFOLD), ("compose.json", COMPOSE)],
    ids=["skaffold", "compose"],
)
def test_a_file_is_valid_by_its_own_schema(schema: str, content: Object) -> None:
    definition: dict[str, Any] = json.loads((SCHEMAS / schema).read_text())
    validator = jsonschema.validators.validator_for(definition)(definition)

    assert [error.message for error in validator.iter_errors(content)] == []
    assert list(validator.iter_errors(content | {"nonsense": True}))


def test_the_postman_collection_has_every_operation_of_the_api() -> None:
    operations = [each for methods in openapi.load()["paths"].values() for each in methods.values()]
    items = json.loads(postman.COLLECTION.read_text())["item"]

    assert {each["summary"] for each in operations} < {each["name"] for each in items}
    assert len(items) == len(operations) + 1  # the upload to the store's own URL
