"""Write the version of pyproject.toml wherever else it stands: in the tags of images, and in their label."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACES = (
    "docker-compose.yml",
    "functions/Dockerfile",
    "infra/compose/*.yml",
    "infra/k8s/base/*.yaml",
    "infra/k8s/overlays/*/*.yaml",
    "infra/knative/*.yaml",
    "infra/openfaas/stack.yaml",
)
_VERSION = re.compile(r"(image-processing/[a-z-]+:|ARG VERSION=|newTag: )\d[\w.+-]*")


def read_version() -> str:
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def generate() -> dict[Path, str]:
    """Return the text of each file that names the version."""
    version = read_version()
    paths = (path for place in PLACES for path in sorted(ROOT.glob(place)))
    texts = {path: path.read_text() for path in paths}
    return {path: _VERSION.sub(rf"\g<1>{version}", text) for path, text in texts.items() if _VERSION.search(text)}
