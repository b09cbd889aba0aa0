"""The commands in docs/deploy.md fit the manifests."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from deploy.cluster import OVERLAYS, Object, build, of_kind, overlay, pods, title
from service import ROOT

DOCUMENT = (ROOT / "docs/deploy.md").read_text()
BLOCKS = re.findall(r"^ *```sh\n(.*?)^ *```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def block(containing: str) -> str:
    found: str
    [found] = [each for each in BLOCKS if containing in each]
    return found


def test_a_copy_of_the_sample_overlay_outside_the_checkout_builds(tmp_path: Path) -> None:
    checkout = tmp_path / "image-processing"
    for folder in ("infra/k8s", "infra/knative"):
        shutil.copytree(ROOT / folder, checkout / folder)

    subprocess.run(["sh", "-ec", block("cp -r infra/k8s/overlays/production")], cwd=checkout, check=True)

    copied = build(tmp_path / "our-images")
    assert [title(each) for each in copied] == [title(each) for each in overlay("production")]


def test_the_sample_marks_every_file_with_example_values() -> None:
    sample = ROOT / "infra/k8s/overlays/production"
    lines = (sample / "kustomization.yaml").read_text().splitlines()
    marked = {word for line in lines if "CHANGE" in line for word in line.split() if word.endswith(".yaml")}

    examples = {path.name for path in sample.iterdir() if re.search(r"example\.com|192\.0\.2\.", path.read_text())}
    assert examples - {"kustomization.yaml"} <= marked


def test_the_guide_creates_every_secret_in_production_with_its_keys() -> None:
    commands = block("create secret generic image-processing")
    keys = set(re.findall(r"^(\w+)=", commands, re.MULTILINE))
    names = set(re.findall(r"create secret (?:generic|tls) ([\w-]+)", commands))

    used: dict[str, set[str]] = {}
    for reference in _secret_references(overlay("production")):
        used.setdefault(reference["name"], set()).update({reference["key"]} if "key" in reference else set())
    for gateway in of_kind(overlay("production"), "Gateway").values():
        used |= {ref["name"]: set() for each in gateway["spec"]["listeners"] for ref in each["tls"]["certificateRefs"]}
    assert used.keys() == names
    assert used["image-processing"] <= keys
    assert {"DATABASE_URL", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"} <= keys


def _secret_references(part: object) -> list[Object]:
    if isinstance(part, list):
        return [found for each in part for found in _secret_references(each)]
    if not isinstance(part, dict):
        return []
    own = [value for key, value in part.items() if key in ("secretRef", "secretKeyRef")]
    return own + _secret_references(list(part.values()))


def test_production_does_not_run_a_database_a_broker_or_a_store() -> None:
    assert of_kind(overlay("production"), "StatefulSet") == {}
    assert all("minio" not in str(pod) for pod in pods(overlay("production")).values())


@pytest.mark.parametrize("port", [5432, 9096, 443])
def test_production_allows_egress_to_its_services(port: int) -> None:
    policy = of_kind(overlay("production"), "NetworkPolicy")["managed-services"]["spec"]

    assert port in [each["port"] for rule in policy["egress"] for each in rule["ports"]]
    assert all(rule["to"] for rule in policy["egress"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_callers_need_credentials_in_every_cluster(name: str) -> None:
    [settings] = [each["data"] for each in of_kind(overlay(name), "ConfigMap").values() if "S3_REGION" in each["data"]]

    assert settings["AUTH_MODE"] == "required"


def test_all_data_files_of_the_library_are_installed() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folders = {ROOT / package.replace(".", "/"): globs for package, globs in declared.items()}
    installed = {path for folder, globs in folders.items() for each in globs for path in folder.glob(each)}

    files = {path for path in (ROOT / "shared_lib").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert files <= installed
