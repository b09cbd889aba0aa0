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

import psutil
import pytest
from pipeline.pictures import ENDLESS, FORMATS, encode, photograph, plain, sample

from shared_lib.errors import FailureCode, Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.box import ENVIRONMENT, DecoderBox, DecoderCrashed
from shared_lib.pipeline.notation import read_recipe
from shared_lib.pipeline.recipe import THUMBNAIL


@pytest.fixture
def make_box() -> Iterator[Callable[..., DecoderBox]]:
    boxes: list[DecoderBox] = []

    def make(*, children: int = 1, **limits: Any) -> DecoderBox:
        boxes.append(DecoderBox(Limits(**limits), children=children))
        return boxes[-1]

    yield make
    for box in boxes:
        box.close()


def decoders_of(pid: int) -> set[int]:
    return {child.pid for child in psutil.Process(pid).children() if "shared_lib.pipeline.child" in child.cmdline()}


def decoder_of(box: DecoderBox) -> int:
    """The one child of a box: the decoder that is there now and was not before the box's first image."""
    before = decoders_of(os.getpid())
    box.render(sample("png"), [THUMBNAIL])
    (pid,) = decoders_of(os.getpid()) - before
    return pid


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_child_is_started_when_first_needed_and_kept(make_box: Callable[..., DecoderBox]) -> None:
    before = decoders_of(os.getpid())
    box = make_box(children=2)
    assert decoders_of(os.getpid()) == before

    for _ in range(5):
        box.render(sample("png"), [THUMBNAIL])

    assert len(decoders_of(os.getpid()) - before) == 1


def test_a_killed_child_costs_only_its_own_image(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box(children=2)
    doomed = decoder_of(box)
    with ThreadPoolExecutor(3) as threads:
        endless = threads.submit(box.render, ENDLESS, [THUMBNAIL])
        time.sleep(0.2)
        neighbour = [threads.submit(box.render, sample("jpeg"), [THUMBNAIL]) for _ in range(10)]
        os.kill(doomed, signal.SIGKILL)

        with pytest.raises(DecoderCrashed) as crash:
            endless.result()
        assert crash.value.public == "The decoder ended abnormally (SIGKILL)."
        assert all(future.result().width == 160 for future in neighbour)


def test_a_child_killed_between_images_costs_nothing(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box()
    pid = decoder_of(box)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert box.render(sample("jpeg"), [THUMBNAIL]).width == 160


def test_an_image_that_takes_too_long_is_refused(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box(wall_seconds=3, cpu_seconds=3)
    pid = decoder_of(box)

    with pytest.raises(Rejected) as refusal:
        box.render(ENDLESS, [THUMBNAIL])

    assert refusal.value.failure is FailureCode.DECODER_TIMEOUT
    assert refusal.value.public == "The image was not done after 3 s; at most 3 are allowed."
    assert not is_alive(pid)
    assert box.render(sample("jpeg"), [THUMBNAIL]).width == 160


def test_processor_time_is_limited_for_each_image_and_not_for_all(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box(cpu_seconds=1)
    pid = decoder_of(box)
    large = encode(photograph().resize(5), "png")
    spent = 0.0
    while spent < 1.5:
        box.render(large, [THUMBNAIL])
        spent = _seconds(f"/proc/{pid}/stat")

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


def test_a_codec_is_loaded_with_the_first_image_that_needs_it(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box()
    maps = Path(f"/proc/{decoder_of(box)}/maps")

    for name, library in (("heic", "libheif"), ("jxl", "pillow_jxl")):
        assert library not in maps.read_text()
        box.render(sample(name), [THUMBNAIL])
        assert library in maps.read_text()


@pytest.mark.parametrize("name", ["heic", "jxl", "avif"])
def test_a_child_keeps_one_processor_busy_and_no_more(make_box: Callable[..., DecoderBox], name: str) -> None:
    box = make_box()
    pid = decoder_of(box)
    data = encode(photograph(600).resize(5), name)

    spent, began = _seconds(f"/proc/{pid}/stat"), time.monotonic()
    for _ in range(3):
        box.render(data, [THUMBNAIL])

    assert 0.1 < _seconds(f"/proc/{pid}/stat") - spent < 1.1 * (time.monotonic() - began)


def _seconds(stat: str) -> float:
    """Of processor time that a process has spent."""
    utime, stime = Path(stat).read_text().rpartition(")")[2].split()[11:13]
    return (int(utime) + int(stime)) / os.sysconf("SC_CLK_TCK")


def test_many_threads_share_a_few_children(make_box: Callable[..., DecoderBox]) -> None:
    before = decoders_of(os.getpid())
    box = make_box(children=2)
    images = [encode(plain(50 + n, 60 + n, n, 0, 0), "png") for n in range(60)]

    with ThreadPoolExecutor(12) as threads:
        rendered = list(threads.map(lambda data: box.render(data, [THUMBNAIL]), images))

    assert [(r.width, r.height) for r in rendered] == [(50 + n, 60 + n) for n in range(60)]
    assert len(decoders_of(os.getpid()) - before) == 2


def test_children_are_renewed_before_leaks_matter(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box(images_per_child=3)
    first = decoder_of(box)
    for _ in range(2):
        box.render(sample("png"), [THUMBNAIL])
    assert is_alive(first)

    box.render(sample("png"), [THUMBNAIL])

    assert not is_alive(first)


def test_a_child_knows_no_secrets(make_box: Callable[..., DecoderBox], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@localhost/db")
    pid = decoder_of(make_box())

    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")

    assert dict(line.decode().split("=", 1) for line in environment if line) == ENVIRONMENT
    assert all(str(file.readlink()).startswith("pipe:") for file in Path(f"/proc/{pid}/fd").iterdir())


def test_a_child_lives_within_its_limits(make_box: Callable[..., DecoderBox]) -> None:
    pid = decoder_of(make_box(memory_bytes=777 << 20))

    limits = Path(f"/proc/{pid}/limits").read_text()
    status = Path(f"/proc/{pid}/status").read_text()

    soft = {line[:26].strip(): line[26:47].strip() for line in limits.splitlines()}
    assert soft["Max address space"] == str(777 << 20)
    assert soft["Max core file size"] == soft["Max file size"] == "0"
    assert soft["Max open files"] == "64"
    assert "NoNewPrivs:\t1" in status


def test_closing_the_box_ends_every_child(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box()
    pid = decoder_of(box)

    box.close()

    assert not is_alive(pid)
    with pytest.raises(RuntimeError):
        box.render(sample("png"), [THUMBNAIL])


def test_a_child_ends_with_its_stdin() -> None:
    command = [sys.executable, "-I", "-m", "shared_lib.pipeline.child", json.dumps(asdict(Limits())), str(os.getpid())]

    child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=20)

    assert (child.returncode, child.stdout, child.stderr) == (0, b"", b"")


def test_a_child_whose_parent_died_while_it_started_does_nothing() -> None:
    someone_else = str(os.getppid())
    command = [sys.executable, "-I", "-m", "shared_lib.pipeline.child", json.dumps(asdict(Limits())), someone_else]

    child = subprocess.run(command, input=b"\0" * 12, capture_output=True, check=False, timeout=20)

    assert (child.returncode, child.stdout, child.stderr) == (0, b"", b"")


@pytest.mark.parametrize("data", [sample("png"), ENDLESS], ids=["idle", "busy"])
def test_no_child_survives_a_parent_killed_hard(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "image").write_bytes(data)
    code = (
        "import pathlib, sys, threading, time; from shared_lib.limits import Limits;"
        "from shared_lib.pipeline.box import DecoderBox; from shared_lib.pipeline.recipe import THUMBNAIL;"
        "box = DecoderBox(Limits());"
        "image = pathlib.Path(sys.argv[1]).read_bytes();"
        # From a thread that ends, as a server's do: the child must not end with it.
        "threading.Thread(target=box.render, args=(image, [THUMBNAIL])).start(); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "image")])
    assert wait_until(lambda: bool(decoders_of(parent.pid)), 20)
    time.sleep(0.5)
    (child,) = decoders_of(parent.pid)

    parent.kill()
    parent.wait()

    assert wait_until(lambda: not is_alive(child))


def test_memory_stays_flat_over_a_thousand_images(make_box: Callable[..., DecoderBox]) -> None:
    box = make_box(images_per_child=10_000)
    pid = decoder_of(box)
    images = [sample(name) for name in FORMATS] + [sample("jpeg")[:-900]]

    def resident(rounds: int) -> int:
        for n in range(rounds):
            try:
                box.render(images[n % len(images)], [THUMBNAIL])
            except Rejected:
                continue
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024

    warm = resident(300)
    assert resident(1_000) - warm < 8  # MiB


def test_threads_do_not_pile_up(box: DecoderBox) -> None:
    box.render(sample("png"), [THUMBNAIL])
    before = threading.active_count()

    for _ in range(50):
        box.render(sample("png"), [THUMBNAIL])

    assert wait_until(lambda: threading.active_count() <= before)
