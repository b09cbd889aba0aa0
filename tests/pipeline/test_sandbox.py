"""The sandbox: an image harms only its own worker, and leaves nothing behind."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from pipeline.pictures import ENDLESS, FORMATS, encode, photograph, plain, sample
from structlog.testing import capture_logs

from shared_lib.errors import FailureCode, Rejected, WorkerCrashed, WorkerFailed
from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.sandbox import ipc
from shared_lib.pipeline.sandbox.pool import Sandbox
from shared_lib.pipeline.sandbox.processes import ENVIRONMENT, PROGRAM, NoWorker, Worker, Zygote


@pytest.fixture
def make_sandbox() -> Iterator[Callable[..., Sandbox]]:
    sandboxes: list[Sandbox] = []

    def make(*, workers: int = 1, images: int = 1, program: tuple[str, ...] = PROGRAM, **limits: Any) -> Sandbox:
        sandboxes.append(Sandbox(Limits(**limits), workers=workers, images_per_worker=images, program=program))
        return sandboxes[-1]

    yield make
    for sandbox in sandboxes:
        sandbox.close()


def zygotes_of(pid: int) -> set[psutil.Process]:
    return {child for child in psutil.Process(pid).children() if '"images_per_worker"' in child.cmdline()[-1]}


def zygote_of(sandbox: Sandbox) -> psutil.Process:
    """Start the sandbox and return its zygote."""
    before = zygotes_of(os.getpid())
    sandbox.start()
    (zygote,) = zygotes_of(os.getpid()) - before
    return zygote


def spare_of(zygote: psutil.Process) -> psutil.Process:
    """Return the worker that waits for the next image, while no other is busy. It is confined already."""
    found: list[psutil.Process] = []

    def find() -> bool:
        found[:] = zygote.children()
        return len(found) == 1

    assert wait_until(find)
    (worker,) = found
    # The last step of a worker's confinement.
    assert wait_until(lambda: "Seccomp:\t2" in Path(f"/proc/{worker.pid}/status").read_text())
    return worker


def busy_workers_of(zygote: psutil.Process, count: int) -> list[psutil.Process]:
    def find() -> list[psutil.Process]:
        return [worker for worker in zygote.children() if worker.cpu_times().user > 0.2]

    assert wait_until(lambda: len(find()) >= count, 20)
    return find()


def busy_worker_of(zygote: psutil.Process) -> psutil.Process:
    return busy_workers_of(zygote, 1)[0]


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_zygote_is_started_when_first_needed_and_kept(make_sandbox: Callable[..., Sandbox]) -> None:
    before = zygotes_of(os.getpid())
    sandbox = make_sandbox(workers=2)
    assert zygotes_of(os.getpid()) == before

    for _ in range(5):
        sandbox.render(sample("png"), [THUMBNAIL])

    assert len(zygotes_of(os.getpid()) - before) == 1


def test_each_image_has_a_worker_of_its_own_that_exits_with_it(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    zygote = zygote_of(sandbox)
    seen = [spare_of(zygote)]
    for _ in range(3):
        sandbox.render(sample("png"), [THUMBNAIL])
        seen.append(spare_of(zygote))

    assert len(set(seen)) == 4
    assert not any(is_alive(worker) for worker in seen[:-1])


def test_a_worker_of_several_images_exits_after_the_last(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(images=3)
    zygote = zygote_of(sandbox)
    worker = spare_of(zygote)
    for _ in range(2):
        sandbox.render(sample("png"), [THUMBNAIL])
        assert wait_until(lambda: len(zygote.children()) == 2)  # it, and the next one
        assert worker in zygote.children()

    sandbox.render(sample("png"), [THUMBNAIL])

    assert spare_of(zygote) != worker


def handled_by(code: str) -> tuple[str, ...]:
    """Return a zygote's program whose workers call `handle(job, body, limits)`, for which `done` is an empty list."""
    imports = "import time\nfrom shared_lib.pipeline.sandbox import ipc, worker, zygote\ndone = []\n"
    return "-c", f"{imports}def handle(job, body, limits):\n{code}\nzygote.main(handle)"


RENDER = "    return worker.render_job(job, body, limits)"


@pytest.mark.parametrize(
    "code",
    ["    while time.process_time() < 1.1: pass", "    bytearray(b'x') * (80 << 20)", "    bytes(job)"],
    ids=["processor time", "memory", "bug"],
)
def test_a_worn_worker_has_no_further_image(make_sandbox: Callable[..., Sandbox], code: str) -> None:
    sandbox = make_sandbox(images=50, program=handled_by(f"{code}\n{RENDER}"))
    worker = spare_of(zygote_of(sandbox))

    with suppress(WorkerCrashed):
        sandbox.render(sample("png"), [THUMBNAIL])

    assert wait_until(lambda: not is_alive(worker))


@pytest.mark.parametrize(
    ("data", "error"), [(sample("jpeg")[:-900], Rejected), (ENDLESS, Rejected)], ids=["corrupt", "endless"]
)
def test_a_worker_is_replaced_after_an_image_that_failed(
    make_sandbox: Callable[..., Sandbox], data: bytes, error: type[Exception]
) -> None:
    sandbox = make_sandbox(images=50, wall_seconds=3)
    worker = spare_of(zygote_of(sandbox))
    sandbox.render(sample("png"), [THUMBNAIL])
    assert is_alive(worker)

    with pytest.raises(error):
        sandbox.render(data, [THUMBNAIL])

    assert wait_until(lambda: not is_alive(worker))
    assert sandbox.render(sample("png"), [THUMBNAIL])


def test_a_failure_in_a_used_worker_is_not_the_image_s(make_sandbox: Callable[..., Sandbox]) -> None:
    fails_if_used = "    if done: return ipc.ImageError.of(limits.memory_exceeded), []\n    done.append(job)"
    sandbox = make_sandbox(images=50, program=handled_by(f"{fails_if_used}\n{RENDER}"))

    assert [sandbox.render(sample("png"), [THUMBNAIL]).width for _ in range(3)] == [160, 160, 160]


def test_a_used_worker_that_was_killed_costs_nothing(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(images=50)
    worker = spare_of(zygote_of(sandbox))
    sandbox.render(sample("png"), [THUMBNAIL])

    worker.kill()

    assert sandbox.render(sample("png"), [THUMBNAIL]).width == 160


def test_a_worker_that_would_stay_longer_is_ended_all_the_same(make_sandbox: Callable[..., Sandbox]) -> None:
    endless = "worker.run = lambda *jobs, images, **kw: run(*jobs, images=1_000, **kw)"
    program = f"from shared_lib.pipeline.sandbox import worker, zygote\nrun = worker.run\n{endless}\nzygote.main()"
    sandbox = make_sandbox(images=2, program=("-c", program))
    worker = spare_of(zygote_of(sandbox))

    for _ in range(2):
        assert is_alive(worker)
        sandbox.render(sample("png"), [THUMBNAIL])

    assert wait_until(lambda: not is_alive(worker))


def test_a_worker_becomes_too_old_for_a_further_image() -> None:
    limits = Limits()
    zygote = Zygote(limits, images_per_worker=50, max_age=1)
    job = ipc.Job(recipes=(THUMBNAIL,)).write()
    try:
        worker = zygote.take()
        for _ in range(2):
            worker.exchange(job, [sample("png")], limits.max_output_bytes, time.monotonic() + 30)
            zygote.keep(worker)
            assert zygote.take() is worker
        zygote.keep(worker)
        time.sleep(1)
        assert zygote.take() is not worker
    finally:
        zygote.kill()


def test_a_worker_decodes_the_images_of_one_tenant_only() -> None:
    limits = Limits()
    zygote = Zygote(limits, images_per_worker=50, spares=2)
    job = ipc.Job(recipes=(THUMBNAIL,)).write()

    def use(tenant: str) -> Worker:
        worker = zygote.take(tenant)
        worker.exchange(job, [sample("png")], limits.max_output_bytes, time.monotonic() + 30)
        zygote.keep(worker)
        return worker

    try:
        one, another = use("one"), use("another")
        assert one is not another
        assert (use("one"), use("another")) == (one, another)
        use("third")  # no more wait than may be busy
        assert use("another") is another
        assert use("one") is not one
    finally:
        zygote.kill()


def test_a_killed_worker_costs_only_its_own_image(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(workers=2)
    zygote = zygote_of(sandbox)
    with ThreadPoolExecutor(3) as threads:
        endless = threads.submit(sandbox.render, ENDLESS, [THUMBNAIL])
        doomed = busy_worker_of(zygote)
        neighbour = [threads.submit(sandbox.render, sample("jpeg"), [THUMBNAIL]) for _ in range(10)]
        doomed.kill()

        with pytest.raises(WorkerCrashed) as crash:
            endless.result()
        assert crash.value.public == "The decoder ended abnormally (SIGKILL)."
        assert all(future.result().width == 160 for future in neighbour)


def test_a_crash_does_not_end_other_busy_workers(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(workers=2)
    zygote = zygote_of(sandbox)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(sandbox.render, ENDLESS, [THUMBNAIL]) for _ in range(2)]
        doomed, other = busy_workers_of(zygote, 2)
        doomed.kill()

        assert wait_until(lambda: any(future.done() for future in both))
        assert not wait_until(lambda: not is_alive(other), 1)
        other.kill()
        assert all(isinstance(future.exception(), WorkerCrashed) for future in both)


def test_a_crash_is_followed_by_a_zygote_with_other_addresses(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    zygote = zygote_of(sandbox)
    with ThreadPoolExecutor(1) as threads:
        endless = threads.submit(sandbox.render, ENDLESS, [THUMBNAIL])
        busy_worker_of(zygote).send_signal(signal.SIGSEGV)
        with pytest.raises(WorkerCrashed, match="SIGSEGV"):
            endless.result()

    assert sandbox.render(sample("jpeg"), [THUMBNAIL]).width == 160
    assert wait_until(lambda: not is_alive(zygote))


def test_a_zygote_killed_between_images_costs_nothing(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    zygote_of(sandbox).kill()

    assert sandbox.render(sample("jpeg"), [THUMBNAIL]).width == 160


def test_an_image_that_takes_too_long_is_rejected(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(wall_seconds=3)
    busy = spare_of(zygote_of(sandbox))

    with pytest.raises(Rejected) as rejection:
        sandbox.render(ENDLESS, [THUMBNAIL])

    assert rejection.value.failure is FailureCode.DECODER_TIMEOUT
    assert rejection.value.public == "The image was not done after 3 s; at most 3 are allowed."
    assert not is_alive(busy)


def test_an_image_that_takes_too_much_processor_time_is_rejected(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(cpu_seconds=1)

    with pytest.raises(Rejected) as rejection:
        sandbox.render(ENDLESS, [THUMBNAIL])

    assert rejection.value.failure is FailureCode.DECODER_TIMEOUT
    assert rejection.value.public == "The image was not done after 1 s of processor time; at most 1 are allowed."


@pytest.mark.parametrize("suffix", [".png[interlace]", ".jpg[interlace]", ".webp", ".gif", "bmp", "heic", "jxl"])
def test_an_image_that_needs_too_much_memory_is_rejected(make_sandbox: Callable[..., Sandbox], suffix: str) -> None:
    sandbox = make_sandbox(memory_bytes=165 << 20)
    image = plain(5_700, 5_700, 10, 200, 90)
    data = image.write_to_buffer(suffix) if suffix.startswith(".") else encode(image, suffix)
    large = {"operations": [{"kind": "resize", "width": 4_400, "height": 4_400}], "name": "large"}

    with pytest.raises(Rejected) as rejection:
        sandbox.render(data, [read_recipe(large)])

    assert rejection.value.failure is FailureCode.DECODER_OUT_OF_MEMORY
    assert rejection.value.public == "The image needs more than 165 MiB of memory; at most 165 are allowed."
    assert sandbox.render(sample("jpeg"), [THUMBNAIL]).width == 160


def test_all_codecs_are_loaded_once_and_by_a_single_thread(make_sandbox: Callable[..., Sandbox]) -> None:
    zygote = zygote_of(make_sandbox())
    maps = Path(f"/proc/{zygote.pid}/maps").read_text()

    assert all(library in maps for library in ("libvips", "libheif", "pillow_jxl", "resvg", "libavif"))
    assert zygote.num_threads() == 1


@pytest.mark.parametrize("name", ["heic", "jxl", "avif"])
def test_a_worker_uses_one_processor_and_no_more(make_sandbox: Callable[..., Sandbox], name: str) -> None:
    sandbox = make_sandbox()
    zygote = zygote_of(sandbox)
    data = encode(photograph(600).resize(5), name)

    began = time.monotonic()
    for _ in range(3):
        sandbox.render(data, [THUMBNAIL])
    seconds = time.monotonic() - began
    spare_of(zygote)  # the others have ended

    spent = zygote.cpu_times()
    assert 0.1 < spent.children_user + spent.children_system < 1.1 * seconds


def test_many_threads_share_a_few_workers(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(workers=2)
    images = [encode(plain(50 + n, 60 + n, n, 0, 0), "png") for n in range(60)]

    with ThreadPoolExecutor(12) as threads:
        rendered = list(threads.map(lambda data: sandbox.render(data, [THUMBNAIL]), images))

    assert [(r.width, r.height) for r in rendered] == [(50 + n, 60 + n) for n in range(60)]


def test_a_bug_in_the_middle_of_an_exchange_affects_no_other_image(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    no_bytes: Any = "text"

    with pytest.raises(TypeError):
        sandbox.render(sample("png"), [THUMBNAIL], {UUID(int=1): no_bytes})

    assert [sandbox.render(encode(plain(50 + n, 40, 0, 0, 0), "png"), [THUMBNAIL]).width for n in range(3)] == [
        50,
        51,
        52,
    ]


PLANTED = """
from {package} import {module}
from shared_lib.pipeline.sandbox import zygote
def bug(*_, **__):
    raise {error}("planted")
{module}.{name} = bug
zygote.main()
"""


@pytest.mark.parametrize("error", ["ValueError", "TypeError", "KeyError", "RuntimeError", "OSError"])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("operations.resize", "Resize.scale"),
        ("render", "encode"),
        ("metadata.extract", "read_exif"),
        ("render", "inspect"),
    ],
)
def test_a_bug_of_ours_is_logged_and_not_blamed_on_the_image(
    make_sandbox: Callable[..., Sandbox], module: str, name: str, error: str
) -> None:
    package, _, module = f"shared_lib.pipeline.{module}".rpartition(".")
    sandbox = make_sandbox(program=("-c", PLANTED.format(package=package, module=module, name=name, error=error)))

    with capture_logs() as lines, pytest.raises(WorkerFailed) as failure:
        sandbox.render(sample("jpeg"), [THUMBNAIL], with_metadata=True)

    assert (failure.value.code, failure.value.public) == ("internal_error", "Something went wrong on our side.")
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("worker_failed", "error")
    assert "planted" in line["trace"][-1]
    assert any("in bug" in each for each in line["trace"])


@pytest.mark.parametrize("name", ["webp", "tiff", "avif", "heic", "jxl"])
def test_a_codec_s_message_about_a_corrupt_image_is_logged(sandbox: Sandbox, name: str) -> None:
    with capture_logs() as lines, pytest.raises(Rejected):
        sandbox.render(sample(name)[: len(sample(name)) // 2], [THUMBNAIL])

    (line,) = lines
    assert (line["event"], line["code"]) == ("image_rejected", "corrupt_image")
    assert len(line["cause"]) > 10


def test_a_worker_has_no_secrets(make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@localhost/db")
    worker = spare_of(zygote_of(make_sandbox()))

    environment = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")

    assert dict(line.decode().split("=", 1) for line in environment if line) == ENVIRONMENT
    files = {file.name: str(file.readlink()) for file in Path(f"/proc/{worker.pid}/fd").iterdir()}
    assert files.keys() == {"0", "1", "2", "3"}
    assert all(file.startswith("pipe:") for file in files.values())


def test_a_worker_is_limited(make_sandbox: Callable[..., Sandbox]) -> None:
    worker = spare_of(zygote_of(make_sandbox(memory_bytes=777 << 20, cpu_seconds=7)))

    def read(name: str) -> str:
        return Path(f"/proc/{worker.pid}/{name}").read_text()

    limits, status = read("limits"), read("status")

    soft = {line[:26].strip(): line[26:47].strip() for line in limits.splitlines()}
    assert soft["Max address space"] == str(777 << 20)
    assert soft["Max core file size"] == soft["Max file size"] == "0"
    assert (soft["Max open files"], soft["Max cpu time"]) == ("64", "7")
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert "CapPrm:\t0000000000000000" in status


def test_closing_the_sandbox_ends_every_worker(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    zygote = zygote_of(sandbox)
    worker = spare_of(zygote)

    sandbox.close()

    assert wait_until(lambda: not is_alive(worker) and not is_alive(zygote))
    with pytest.raises(RuntimeError):
        sandbox.render(sample("png"), [THUMBNAIL])


@pytest.mark.parametrize("parent", [os.getpid(), os.getppid()], ids=["that has closed it", "that died meanwhile"])
def test_a_zygote_exits_with_its_parent(parent: int) -> None:
    config = json.dumps({"parent": parent, "limits": asdict(Limits())})
    command = [sys.executable, "-I", "-m", "shared_lib.pipeline.sandbox.zygote", config]
    sandbox = Sandbox(Limits())
    zygote = zygote_of(sandbox)

    sandbox.close()

    assert not is_alive(zygote)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    assert done.stdout == b""


@pytest.mark.parametrize("data", [sample("png"), ENDLESS], ids=["idle", "busy"])
def test_no_worker_survives_a_killed_parent(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "image").write_bytes(data)
    code = (
        "import pathlib, sys, threading, time; from shared_lib.limits import Limits;"
        "from shared_lib.pipeline.sandbox.pool import Sandbox; from shared_lib.pipeline.recipe import THUMBNAIL;"
        "sandbox = Sandbox(Limits());"
        "image = pathlib.Path(sys.argv[1]).read_bytes();"
        # From a thread that ends, as a server's do: the worker must not end with it.
        "threading.Thread(target=sandbox.render, args=(image, [THUMBNAIL])).start(); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "image")])
    assert wait_until(lambda: len(psutil.Process(parent.pid).children(recursive=True)) > 1, 30)
    time.sleep(0.5)
    processes = psutil.Process(parent.pid).children(recursive=True)

    parent.kill()
    parent.wait()

    assert wait_until(lambda: not any(map(is_alive, processes)))


@pytest.mark.parametrize("per_worker", [1, 64])
def test_memory_stays_flat_over_hundreds_of_images(make_sandbox: Callable[..., Sandbox], per_worker: int) -> None:
    sandbox = make_sandbox(images=per_worker)
    zygote = zygote_of(sandbox)
    images = [sample(name) for name in FORMATS] + [sample("jpeg")[:-900]]

    def resident(rounds: int) -> int:
        for n in range(rounds):
            try:
                sandbox.render(images[n % len(images)], [THUMBNAIL])
            except Rejected:
                continue
        return int(zygote.memory_info().rss) >> 10

    warm = resident(50)
    assert resident(300) - warm < 256  # KiB
    assert zygote.num_fds() < 20
    assert wait_until(lambda: len(zygote.children()) <= 2)  # one that has ended is reaped soon


def test_threads_do_not_pile_up(sandbox: Sandbox) -> None:
    sandbox.render(sample("png"), [THUMBNAIL])
    before = threading.active_count()

    for _ in range(50):
        sandbox.render(sample("png"), [THUMBNAIL])

    assert wait_until(lambda: threading.active_count() <= before)


def test_an_image_without_a_process_is_not_at_fault(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox, photo = make_sandbox(), sample("png")
    sandbox.render(photo, [THUMBNAIL])
    for left in (0, 2):  # of four descriptors that a worker needs
        with descriptors_left(left), pytest.raises(NoWorker):
            sandbox.render(photo, [THUMBNAIL])

    assert sandbox.render(photo, [THUMBNAIL]).renditions


def test_an_image_is_not_at_fault_if_no_zygote_can_be_started(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox, photo = make_sandbox(), sample("png")
    with descriptors_left(0), pytest.raises(NoWorker):
        sandbox.render(photo, [THUMBNAIL])

    assert sandbox.render(photo, [THUMBNAIL]).renditions


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let this process open no more than `count` descriptors during the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        with suppress(OSError):
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(count):
            os.close(opened.pop())
        yield
    finally:
        for each in opened:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
