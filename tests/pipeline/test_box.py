"""The decoder box: what an image does, it does to one child and to itself, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from pipeline.pictures import ENDLESS, FORMATS, encode, photograph, plain, sample
from structlog.testing import capture_logs

from shared_lib.errors import FailureCode, Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.sandbox.pool import DecoderBox, DecoderCrashed, DecoderFailed
from shared_lib.pipeline.sandbox.processes import ENVIRONMENT, PROGRAM


@pytest.fixture
def make_box() -> Iterator[Callable[..., DecoderBox]]:
    boxes: list[DecoderBox] = []

    def make(*, children: int = 1, program: tuple[str, ...] = PROGRAM, **limits: Any) -> DecoderBox:
        boxes.append(DecoderBox(Limits(**limits), children=children, program=program))
        return boxes[-1]

    yield make
    for box in boxes:
        box.close()


def zygotes_of(pid: int) -> set[psutil.Process]:
    return {
        child for child in psutil.Process(pid).children() if "shared_lib.pipeline.sandbox.zygote" in child.cmdline()
    }


def zygote_of(box: DecoderBox) -> psutil.Process:
    """The one that is there now, and was not before the box started."""
    before = zygotes_of(os.getpid())
    box.start()
    (zygote,) = zygotes_of(os.getpid()) - before
    return zygote


def spare_of(zygote: psutil.Process) -> psutil.Process:
    """The child that waits for the next image, while no other is at work."""
    assert wait_until(lambda: len(zygote.children()) == 1)
    return zygote.children()[0]


def busy_children_of(zygote: psutil.Process, count: int) -> list[psutil.Process]:
    def find() -> list[psutil.Process]:
        return [child for child in zygote.children() if child.cpu_times().user > 0.2]

    assert wait_until(lambda: len(find()) >= count, 20)
    return find()


def busy_child_of(zygote: psutil.Process) -> psutil.Process:
    return busy_children_of(zygote, 1)[0]


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


def test_the_zygote_is_started_when_first_needed_and_kept(make_box: Callable[..., DecoderBox]) -> None:
    before = zygotes_of(os.getpid())
    box = make_box(children=2)
    assert zygotes_of(os.getpid()) == before

    for _ in range(5):
        box.render(sample("png"), [THUMBNAIL])

    assert len(zygotes_of(os.getpid()) - before) == 1


def test_each_image_has_a_process_of_its_own_that_ends_with_it(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box()
    zygote = zygote_of(box)
    seen = [spare_of(zygote)]
    for _ in range(3):
        box.render(sample("png"), [THUMBNAIL])
        seen.append(spare_of(zygote))

    assert len(set(seen)) == 4
    assert not any(is_alive(child) for child in seen[:-1])


def test_a_killed_child_costs_only_its_own_image(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box(children=2)
    zygote = zygote_of(box)
    with ThreadPoolExecutor(3) as threads:
        endless = threads.submit(box.render, ENDLESS, [THUMBNAIL])
        doomed = busy_child_of(zygote)
        neighbour = [threads.submit(box.render, sample("jpeg"), [THUMBNAIL]) for _ in range(10)]
        doomed.kill()

        with pytest.raises(DecoderCrashed) as crash:
            endless.result()
        assert crash.value.public == "The decoder ended abnormally (SIGKILL)."
        assert all(future.result().width == 160 for future in neighbour)


def test_a_crash_ends_no_other_image_that_is_at_work(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box(children=2)
    zygote = zygote_of(box)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(box.render, ENDLESS, [THUMBNAIL]) for _ in range(2)]
        doomed, other = busy_children_of(zygote, 2)
        doomed.kill()

        assert wait_until(lambda: any(future.done() for future in both))
        assert not wait_until(lambda: not is_alive(other), 1)
        other.kill()
        assert all(isinstance(future.exception(), DecoderCrashed) for future in both)


def test_a_crash_is_followed_by_a_zygote_with_other_addresses(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box()
    zygote = zygote_of(box)
    with ThreadPoolExecutor(1) as threads:
        endless = threads.submit(box.render, ENDLESS, [THUMBNAIL])
        busy_child_of(zygote).send_signal(signal.SIGSEGV)
        with pytest.raises(DecoderCrashed, match="SIGSEGV"):
            endless.result()

    assert box.render(sample("jpeg"), [THUMBNAIL]).width == 160
    assert wait_until(lambda: not is_alive(zygote))


def test_a_zygote_killed_between_images_costs_nothing(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box()
    zygote_of(box).kill()

    assert box.render(sample("jpeg"), [THUMBNAIL]).width == 160


def test_an_image_that_takes_too_long_is_refused(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box(wall_seconds=3, cpu_seconds=3)
    busy = spare_of(zygote_of(box))

    with pytest.raises(Rejected) as refusal:
        box.render(ENDLESS, [THUMBNAIL])

    assert refusal.value.failure is FailureCode.DECODER_TIMEOUT
    assert refusal.value.public == "The image was not done after 3 s; at most 3 are allowed."
    assert not is_alive(busy)


def test_an_image_that_takes_too_much_processor_time_is_refused(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box(cpu_seconds=1)

    with pytest.raises(Rejected) as refusal:
        box.render(ENDLESS, [THUMBNAIL])

    assert refusal.value.failure is FailureCode.DECODER_TIMEOUT
    assert refusal.value.public == "The image was not done after 1 s of processor time; at most 1 are allowed."


@pytest.mark.parametrize("suffix", [".png[interlace]", ".jpg[interlace]", ".webp", ".gif", "bmp", "heic", "jxl"])
def test_an_image_that_needs_too_much_memory_is_refused(make_box: Callable[..., DecoderBox], suffix: str) -> None:
    box = make_box(memory_bytes=165 << 20)
    image = plain(5_700, 5_700, 10, 200, 90)
    data = image.write_to_buffer(suffix) if suffix.startswith(".") else encode(image, suffix)
    large = {"operations": [{"kind": "resize", "width": 4_400, "height": 4_400}], "name": "large"}

    with pytest.raises(Rejected) as refusal:
        box.render(data, [read_recipe(large)])

    assert refusal.value.failure is FailureCode.DECODER_OUT_OF_MEMORY
    assert refusal.value.public == "The image needs more than 165 MiB of memory; at most 165 are allowed."
    assert box.render(sample("jpeg"), [THUMBNAIL]).width == 160


def test_all_codecs_are_loaded_once_and_by_a_single_thread(make_box: Callable[..., DecoderBox]) -> None:
    zygote = zygote_of(make_box())
    maps = Path(f"/proc/{zygote.pid}/maps").read_text()

    assert all(library in maps for library in ("libvips", "libheif", "pillow_jxl", "resvg", "libavif"))
    assert zygote.num_threads() == 1


@pytest.mark.parametrize("name", ["heic", "jxl", "avif"])
def test_a_child_keeps_one_processor_busy_and_no_more(make_box: Callable[..., DecoderBox], name: str) -> None:
    box = make_box()
    zygote = zygote_of(box)
    data = encode(photograph(600).resize(5), name)

    began = time.monotonic()
    for _ in range(3):
        box.render(data, [THUMBNAIL])
    seconds = time.monotonic() - began
    spare_of(zygote)  # the others have ended

    spent = zygote.cpu_times()
    assert 0.1 < spent.children_user + spent.children_system < 1.1 * seconds


def test_many_threads_share_a_few_children(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box(children=2)
    images = [encode(plain(50 + n, 60 + n, n, 0, 0), "png") for n in range(60)]

    with ThreadPoolExecutor(12) as threads:
        rendered = list(threads.map(lambda data: box.render(data, [THUMBNAIL]), images))

    assert [(r.width, r.height) for r in rendered] == [(50 + n, 60 + n) for n in range(60)]


def test_a_mistake_in_the_middle_of_an_exchange_meets_no_other_image(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box()
    no_bytes: Any = "text"

    with pytest.raises(TypeError):
        box.render(sample("png"), [THUMBNAIL], {UUID(int=1): no_bytes})

    assert [box.render(encode(plain(50 + n, 40, 0, 0, 0), "png"), [THUMBNAIL]).width for n in range(3)] == [50, 51, 52]


PLANTED = """
from {package} import {module}
from shared_lib.pipeline.sandbox import zygote
def mistake(*_, **__):
    raise {error}("planted")
{module}.{name} = mistake
zygote.main()
"""


@pytest.mark.parametrize("error", ["ValueError", "TypeError", "KeyError", "RuntimeError", "OSError"])
@pytest.mark.parametrize(
    ("module", "name"),
    [("render", "apply"), ("render", "encode"), ("metadata.extract", "read_exif"), ("render", "inspect")],
)
def test_a_mistake_of_ours_is_not_the_image_s_fault_and_is_logged(
    make_box: Callable[..., DecoderBox], module: str, name: str, error: str
) -> None:
    package, _, module = f"shared_lib.pipeline.{module}".rpartition(".")
    box = make_box(program=("-c", PLANTED.format(package=package, module=module, name=name, error=error)))

    with capture_logs() as lines, pytest.raises(DecoderFailed) as failure:
        box.render(sample("jpeg"), [THUMBNAIL], learn=True)

    assert (failure.value.code, failure.value.public) == ("internal_error", "Something went wrong on our side.")
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("decoder_failed", "error")
    assert "planted" in line["trace"][-1]
    assert any("mistake" in each for each in line["trace"])


@pytest.mark.parametrize("name", ["webp", "tiff", "avif", "heic", "jxl"])
def test_what_a_codec_says_of_a_corrupt_image_reaches_the_log(box: DecoderBox, name: str) -> None:
    with capture_logs() as lines, pytest.raises(Rejected):
        box.render(sample(name)[: len(sample(name)) // 2], [THUMBNAIL])

    (line,) = lines
    assert (line["event"], line["code"]) == ("image_refused", "corrupt_image")
    assert len(line["cause"]) > 10


def test_a_child_knows_no_secrets(make_box: Callable[..., DecoderBox], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@localhost/db")
    child = spare_of(zygote_of(make_box()))

    environment = Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0")

    assert dict(line.decode().split("=", 1) for line in environment if line) == ENVIRONMENT
    files = {file.name: str(file.readlink()) for file in Path(f"/proc/{child.pid}/fd").iterdir()}
    assert files.keys() == {"0", "1", "2", "3"}
    assert all(file.startswith("pipe:") for file in files.values())


def test_a_child_lives_within_its_limits(make_box: Callable[..., DecoderBox]) -> None:
    child = spare_of(zygote_of(make_box(memory_bytes=777 << 20, cpu_seconds=7)))

    def read(name: str) -> str:
        return Path(f"/proc/{child.pid}/{name}").read_text()

    wait_until(lambda: "Seccomp:\t2" in read("status"))  # the last that a child does to itself
    limits, status = read("limits"), read("status")

    soft = {line[:26].strip(): line[26:47].strip() for line in limits.splitlines()}
    assert soft["Max address space"] == str(777 << 20)
    assert soft["Max core file size"] == soft["Max file size"] == "0"
    assert (soft["Max open files"], soft["Max cpu time"]) == ("64", "7")
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert "CapPrm:\t0000000000000000" in status


def test_closing_the_box_ends_every_child(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box()
    zygote = zygote_of(box)
    child = spare_of(zygote)

    box.close()

    assert wait_until(lambda: not is_alive(child) and not is_alive(zygote))
    with pytest.raises(RuntimeError):
        box.render(sample("png"), [THUMBNAIL])


@pytest.mark.parametrize("parent", [os.getpid(), os.getppid()], ids=["that has closed it", "that died meanwhile"])
def test_a_zygote_ends_with_its_parent(parent: int) -> None:
    order = json.dumps({"parent": parent, "limits": asdict(Limits())})
    command = [sys.executable, "-I", "-m", "shared_lib.pipeline.sandbox.zygote", order]
    box = DecoderBox(Limits())
    zygote = zygote_of(box)

    box.close()

    assert not is_alive(zygote)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    assert done.stdout == b""


@pytest.mark.parametrize("data", [sample("png"), ENDLESS], ids=["idle", "busy"])
def test_no_child_survives_a_parent_killed_hard(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "image").write_bytes(data)
    code = (
        "import pathlib, sys, threading, time; from shared_lib.limits import Limits;"
        "from shared_lib.pipeline.sandbox.pool import DecoderBox; from shared_lib.pipeline.recipe import THUMBNAIL;"
        "box = DecoderBox(Limits());"
        "image = pathlib.Path(sys.argv[1]).read_bytes();"
        # From a thread that ends, as a server's do: the child must not end with it.
        "threading.Thread(target=box.render, args=(image, [THUMBNAIL])).start(); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "image")])
    assert wait_until(lambda: len(psutil.Process(parent.pid).children(recursive=True)) > 1, 30)
    time.sleep(0.5)
    decoders = psutil.Process(parent.pid).children(recursive=True)

    parent.kill()
    parent.wait()

    assert wait_until(lambda: not any(map(is_alive, decoders)))


def test_memory_stays_flat_over_hundreds_of_images(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box()
    zygote = zygote_of(box)
    images = [sample(name) for name in FORMATS] + [sample("jpeg")[:-900]]

    def resident(rounds: int) -> int:
        for n in range(rounds):
            try:
                box.render(images[n % len(images)], [THUMBNAIL])
            except Rejected:
                continue
        return int(zygote.memory_info().rss) >> 10

    warm = resident(50)
    assert resident(300) - warm < 256  # KiB
    assert zygote.num_fds() < 20
    assert len(zygote.children()) <= 2


def test_threads_do_not_pile_up(box: DecoderBox) -> None:
    box.render(sample("png"), [THUMBNAIL])
    before = threading.active_count()

    for _ in range(50):
        box.render(sample("png"), [THUMBNAIL])

    assert wait_until(lambda: threading.active_count() <= before)
