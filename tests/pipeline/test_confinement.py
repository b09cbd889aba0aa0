"""What a decoder's child can no longer do, tried from inside one."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="Landlock and seccomp are Linux's")

PREAMBLE = """
import ctypes, os, socket, subprocess, sys
from shared_lib.pipeline.confinement import confine
from shared_lib.limits import Limits
confine(Limits())
"""


def attempt(code: str, *arguments: str) -> str:
    """Run code in a confined process; what it printed, or the last line of its traceback."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", PREAMBLE + code, *arguments], capture_output=True, text=True, check=False
    )
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def test_it_still_runs() -> None:
    assert attempt("print(2 + 2)") == "4"


@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/passwd')",
        "open('/proc/self/environ')",
        "open(sys.argv[1])",
        "open(sys.argv[1], 'w')",
        "os.listdir('/')",
        "os.unlink(sys.argv[1])",
        "os.mkdir(sys.argv[1] + 'x')",
        "os.symlink('/', sys.argv[1] + 'x')",
    ],
)
def test_it_reaches_no_file(tmp_path: Path, code: str) -> None:
    file = tmp_path / "file"
    file.write_text("secret")

    assert attempt(code, str(file)).startswith("PermissionError")
    assert file.read_text() == "secret"


@pytest.mark.parametrize(
    "code",
    [
        "socket.socket()",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_UNIX)",
        "socket.create_connection(('127.0.0.1', 80))",
        "os.execv(sys.executable, ['python'])",
        "subprocess.run(['/bin/true'])",
        "os.kill(os.getppid(), 0)",
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
    ],
)
def test_it_reaches_no_network_and_no_other_process(code: str) -> None:
    assert attempt(code).startswith("PermissionError")


def test_it_may_still_start_threads() -> None:
    code = "import threading; t = threading.Thread(target=print, args=('from a thread',)); t.start(); t.join()"

    assert attempt(code) == "from a thread"


@pytest.mark.parametrize(
    "call",
    [101, 272, 310, 425, 57, 58, 29, 64, 68, 240]
    if platform.machine() == "x86_64"
    else [117, 97, 270, 425, 194, 190, 186, 180],
)
def test_it_is_denied_what_decoding_never_needs(call: int) -> None:
    code = f"libc = ctypes.CDLL(None, use_errno=True); print(libc.syscall({call}, 0, 0, 0, 0), ctypes.get_errno())"

    assert attempt(code) == "-1 1"


def test_a_file_cannot_be_written_even_through_an_open_descriptor(tmp_path: Path) -> None:
    code = PREAMBLE.replace(
        "confine(Limits())", "file = open(sys.argv[1], 'wb', 0); confine(Limits()); file.write(b'x')"
    )

    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], capture_output=True, check=False)

    assert b"File too large" in done.stderr


def test_memory_cannot_be_had_from_a_file_that_is_none() -> None:
    assert attempt("os.ftruncate(os.memfd_create('x'), 1)").startswith("OSError: [Errno 27]")


def test_memory_ends_where_the_limit_says() -> None:
    assert attempt("bytearray(2 << 30)") == "MemoryError"
