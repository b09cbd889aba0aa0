"""The commands in docs/deploy.md fit the manifests."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from deploy.cluster import OVERLAYS, Object, build, of_kind, overlay, pods, services, title
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


SECRETS = {"api", "delivery", "worker", "reconciler", "reporter", "bootstrap"}


def test_the_guide_creates_every_secret_in_production_with_its_keys(tmp_path: Path) -> None:
    commands = block("create secret generic api")
    created = dict(re.findall(r"create secret generic ([\w-]+) --from-file=secrets/([\w-]+)$", commands, re.MULTILINE))
    files = "\n".join(line for line in commands.splitlines() if not line.startswith("kubectl"))
    (tmp_path / "ca.crt").write_text("an authority")
    subprocess.run(["sh", "-ec", files], cwd=tmp_path, check=True)

    used: dict[str, set[str]] = {}
    for reference in _secret_references(overlay("production")):
        name = reference.get("secretName") or reference["name"]
        used.setdefault(name, set()).update({reference["key"]} if "key" in reference else set())
    gateways = of_kind(overlay("production"), "Gateway").values()
    certificates = {
        ref["name"]
        for gateway in gateways
        for each in gateway["spec"]["listeners"]
        for ref in each["tls"]["certificateRefs"]
    }
    assert certificates == set(re.findall(r"create secret tls ([\w-]+)", commands))
    assert used.keys() == created.keys() == {*SECRETS, "event-source"}
    for name, folder in created.items():
        keys = {path.name for path in (tmp_path / "secrets" / folder).iterdir()}
        assert used[name] <= keys
        if name != "event-source":
            assert {"DATABASE_URL", "KAFKA_SASL_PASSWORD", "ca.crt"} <= keys
            assert name == "reporter" or {"S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"} <= keys


def test_the_stores_key_pairs_are_made_of_the_secrets_of_the_guide(tmp_path: Path) -> None:
    """With an `mc` that writes down what it is asked. MinIO's own has been tried by hand."""
    component = ROOT / "infra/k8s/components/minio"
    lines = block("create secret generic api").replace("'…'", "$(basename $PWD)").splitlines()
    (tmp_path / "ca.crt").write_text("an authority")
    files = "\n".join(line for line in lines if not line.startswith("kubectl"))
    subprocess.run(["sh", "-ec", files], cwd=tmp_path, check=True)
    client = tmp_path / "mc"
    client.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\ncase "$*" in *"user add"*) cat > /dev/null ;; esac\n')
    client.chmod(0o755)

    environ = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([component / "store-keys", "store", "secrets"], cwd=tmp_path, env=environ, check=True)

    asked = (tmp_path / "asked").read_text()
    created = re.findall(r"^admin policy create store (\w+) (\S+)$", asked, re.MULTILINE)
    policies = {path.stem: path for path in (component / "policies").iterdir()}
    assert {name: Path(path) for name, path in created} == policies
    assert set(re.findall(r"^admin policy attach store (\w+) --user ", asked, re.MULTILINE)) == policies.keys()
    assert asked.count("admin user add store\n") == len(policies)


def _secret_references(part: object) -> list[Object]:
    if isinstance(part, list):
        return [found for each in part for found in _secret_references(each)]
    if not isinstance(part, dict):
        return []
    own = [value for key, value in part.items() if key in ("secretRef", "secretKeyRef", "secret")]
    return own + _secret_references(list(part.values()))


def test_production_keeps_secrets_in_files_and_not_in_variables() -> None:
    """Each component mounts its own Secret, read-only, and no container takes a variable from one."""
    components = {
        "api": "api",
        "upload": "api",
        "delivery": "delivery",
        "operations": "api",
        "events": "worker",
        "bootstrap": "bootstrap",
    }
    own = {"reconcile-images": "reconciler", "report-state": "reporter"}
    checked = set()
    for name, thing in {**services(overlay("production")), **of_kind(overlay("production"), "Job")}.items():
        spec = thing["spec"]["template"]["spec"]
        [container] = spec["containers"]
        secret = own.get(name) or components[thing["metadata"]["labels"]["app.kubernetes.io/component"]]
        checked.add(secret)
        assert {"name": "secrets", "secret": {"secretName": secret}} in spec["volumes"], name
        assert {"name": "secrets", "mountPath": "/secrets", "readOnly": True} in container["volumeMounts"], name
        assert {"name": "SECRETS_DIR", "value": "/secrets"} in container["env"], name
        assert [*map(list, container["envFrom"])] == [["configMapRef"]], name
        assert not [each for each in container["env"] if "valueFrom" in each], name
    assert checked == SECRETS


def test_production_encrypts_and_verifies_every_connection() -> None:
    [data] = [
        each["data"] for each in of_kind(overlay("production"), "ConfigMap").values() if "S3_REGION" in each["data"]
    ]
    source = of_kind(overlay("production"), "KafkaSource")["image-work"]["spec"]

    for name in ("S3_ENDPOINT_URL", "S3_PUBLIC_ENDPOINT_URL", "HTTP_PUBLIC_BASE_URL"):
        assert data[name].startswith("https://"), "the last enables HSTS"
    assert data["KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
    assert data["KAFKA_CA_FILE"] == data["S3_CA_FILE"] == "/secrets/ca.crt"
    assert source["net"]["tls"] == {
        "enable": True,
        "caCert": {"secretKeyRef": {"name": "event-source", "key": "ca.crt"}},
    }
    assert source["net"]["sasl"]["enable"]
    assert "sslmode=verify-full&sslrootcert=/secrets/ca.crt" in block("create secret generic api")
    [listener] = of_kind(overlay("production"), "Gateway")["public"]["spec"]["listeners"]
    assert listener["protocol"] == "HTTPS"


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
