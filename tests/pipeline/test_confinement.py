"""A worker is confined before it reads anything, or nothing is decoded."""

import errno
import json
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from service import ROOT

from shared_lib.pipeline.sandbox.seccomp import compile_filter

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="Landlock and seccomp are Linux's")

# A process of its own, because a filter that hides a kernel feature stays.
PREAMBLE = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import attacks
"""
DECODE = """
from structlog.testing import capture_logs
from shared_lib.errors import ServiceError
from shared_lib.limits import Limits
from shared_lib.pipeline.sandbox.pool import Sandbox
from shared_lib.pipeline.recipe import THUMBNAIL
with capture_logs() as lines:
    sandbox = Sandbox(Limits(), workers=1, required={required})
    try:
        outcome = sandbox.render(sys.stdin.buffer.read(), [THUMBNAIL]).width
    except ServiceError as error:
        outcome = [error.code, error.public]
    missing = sandbox.missing
    sandbox.close()
print(json.dumps([outcome, missing, [[line["event"], line["log_level"]] for line in lines]]))
"""
LACKING = {"Landlock": "attacks.deny_landlock()", "seccomp": "attacks.deny_seccomp()"}


def run(code: str, data: bytes = b"") -> list[object]:
    done = subprocess.run([sys.executable, "-c", PREAMBLE + code], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    outcome: list[object] = json.loads(done.stdout)
    return outcome


@pytest.fixture(scope="module")
def image() -> bytes:
    return (ROOT / "tests" / "golden" / "photographs").glob("*.jpg").__next__().read_bytes()


@pytest.mark.parametrize("lacking", LACKING)
def test_without_a_kernel_feature_nothing_is_decoded(image: bytes, lacking: str) -> None:
    outcome, _, lines = run(LACKING[lacking] + DECODE.format(required=True), image)

    assert isinstance(outcome, list)
    assert outcome[0] == "sandbox_incomplete"
    assert lacking in outcome[1]
    assert "PROCESSING_SANDBOX=best-effort" in outcome[1]
    assert lines == [["sandbox_incomplete", "error"]]


@pytest.mark.parametrize("lacking", LACKING)
def test_images_are_decoded_without_it_if_the_settings_allow_that_and_it_is_logged(image: bytes, lacking: str) -> None:
    outcome, missing, lines = run(LACKING[lacking] + DECODE.format(required=False), image)

    assert isinstance(outcome, int)
    assert missing == [lacking]
    assert lines == [["sandbox_incomplete", "warning"]]


def serve(code: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Load the processor as its server does, and request its readiness."""
    environment = {
        "PATH": os.environ["PATH"],
        "FUNCTION_TARGET": "main",
        "FUNCTION_SIGNATURE_TYPE": "cloudevent",
        "FUNCTION_SOURCE": str(ROOT / "functions" / "process_image" / "main.py"),
        "DATABASE_URL": "postgresql://user:secret@127.0.0.1:1/db",
        "S3_ENDPOINT_URL": "http://127.0.0.1:1",
        "S3_ACCESS_KEY_ID": "key",
        "S3_SECRET_ACCESS_KEY": "secret",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    }
    request = """
from werkzeug.test import Client
from shared_lib import server, runtime
response = Client(server.create_app()).get("/_/ready")
print(response.status_code, response.text)
runtime.current().sandbox.close()
"""
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + code + request],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_processor_that_cannot_confine_its_workers_does_not_start_and_logs_why() -> None:
    done = serve(LACKING["Landlock"])

    assert done.returncode != 0
    assert "the kernel cannot confine a worker without Landlock" in done.stderr


def test_a_processor_that_may_do_without_reports_it_by_its_readiness() -> None:
    done = serve(LACKING["Landlock"], PROCESSING_SANDBOX="best-effort")

    assert done.stdout.startswith("200 Decoding without Landlock, as PROCESSING_SANDBOX allows")
    assert '"sandbox_incomplete"' in done.stderr


def test_a_processor_that_confines_its_workers_is_ready() -> None:
    assert serve("").stdout.split() == ["204"]


# An interpreter for the filter, because the tests run on only one of the two architectures.
ALLOW, DENIED, UNKNOWN, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PID = 4321


def judge(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    data = struct.pack(
        "=iIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *arguments, *[0] * (6 - len(arguments))
    )
    steps = list(struct.iter_unpack("=HBBI", compile_filter(machine, PID)))
    at = accumulator = 0
    while True:
        operation, if_so, if_not, operand = steps[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif operation == 0x15:
            at += if_so if accumulator == operand else if_not
        elif operation == 0x45:
            at += if_so if accumulator & operand else if_not
        else:
            assert operation == 0x06
            return int(operand)


CALLS = {  # read, openat, clone, tgkill, prlimit64, fcntl, prctl, and socket, execve, kill
    "x86_64": (0, 257, 56, 234, 302, 72, 157, 41, 59, 62),
    "aarch64": (63, 56, 220, 131, 261, 25, 167, 198, 221, 129),
}


@pytest.mark.parametrize("machine", CALLS)
def test_the_filter_decides_by_number_and_arguments(machine: str) -> None:
    read, openat, clone, tgkill, prlimit, fcntl, prctl, *others = CALLS[machine]

    assert judge(machine, read, 0, 1 << 40, 5) == ALLOW
    assert {judge(machine, number) for number in (*others, 435, 425, 444, 446, 500, 0x40000000 | read)} == {UNKNOWN}
    assert judge(machine, read, architecture=0x40000003) == KILL

    assert [judge(machine, openat, 0, 9, flags) for flags in (0, os.O_CLOEXEC, os.O_DIRECTORY)] == [ALLOW] * 3
    writing = (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_RDWR | os.O_DIRECTORY | 0x400000)
    assert {judge(machine, openat, 0, 9, flags) for flags in writing} == {DENIED}
    assert [judge(machine, clone, flags) for flags in (0x3D0F00, 0x11, 0x10000000)] == [ALLOW, DENIED, DENIED]
    assert [judge(machine, tgkill, pid, PID, 6) for pid in (PID, 1, 0, PID + (1 << 31))] == [
        ALLOW,
        DENIED,
        DENIED,
        DENIED,
    ]
    assert judge(machine, prlimit, 0, 3, 0, 1 << 40) == ALLOW
    assert {judge(machine, prlimit, *each) for each in ((PID, 3), (1, 3), (0, 3, 8), (0, 3, 1 << 40))} == {DENIED}
    assert [judge(machine, fcntl, 1, command) for command in (1, 2, 3, 4)] == [ALLOW] * 4
    assert {judge(machine, fcntl, 1, command) for command in (0, 8, 10, 15, 1031, 1033)} == {DENIED}
    assert [judge(machine, prctl, option) for option in (15, 1, 4, 22, 38)] == [ALLOW, DENIED, DENIED, DENIED, DENIED]
