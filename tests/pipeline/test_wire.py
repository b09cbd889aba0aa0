"""What crosses the pipes: from a child nothing that would run, and never more than agreed."""

import io
from dataclasses import replace

import pytest
from pydantic import ValidationError

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.sandbox import ipc
from shared_lib.pipeline.sandbox.pool import read_reply

ENCODED = ipc.Encoded(format=Format.PNG, width=3, height=2, size=5)
ANSWER = ipc.Answer(format=Format.GIF, width=30, height=20, renditions=(ENCODED,))


def test_a_message_arrives_as_it_was_sent() -> None:
    pipe = io.BytesIO()
    pipe.writelines(ipc.frame(ipc.Task(recipes=(THUMBNAIL,)).write(), [b"abc", b"", b"de"]))
    pipe.writelines(ipc.frame(ipc.write_reply(ANSWER), []))
    pipe.seek(0)

    header, body = ipc.read(pipe, max_body=5)

    assert (ipc.Task.read(header).recipes, body) == ((THUMBNAIL,), b"abcde")
    assert read_reply(ipc.read(pipe, 0)[0]) == ANSWER


def test_a_refusal_is_told_from_an_answer() -> None:
    refusal = ipc.Refusal(code=FailureCode.CORRUPT_IMAGE, public="no")

    assert read_reply(ipc.write_reply(refusal)) == refusal


def test_whatever_a_codec_complains_of_is_told_in_one_short_line() -> None:
    try:
        int("a\nb\x07" + "c" * 3_000)
    except ValueError as error:
        reason = Rejected(FailureCode.CORRUPT_IMAGE, "\x1b[2Jbad" + "!" * 400)
        reason.__cause__ = error
    refusal = ipc.Refusal.of(reason)

    assert read_reply(ipc.write_reply(refusal)) == refusal
    assert refusal.public.startswith("[2Jbad!!!")
    assert refusal.cause.startswith("ValueError: invalid literal")
    assert len(refusal.public) == 300 >= len(refusal.cause)


@pytest.mark.parametrize("length", [0, 3, 20, -1])
def test_a_message_cut_short_is_the_end(length: int) -> None:
    pipe = io.BytesIO()
    pipe.writelines(ipc.frame(ipc.write_reply(ANSWER), [b"body"]))

    with pytest.raises(EOFError):
        ipc.read(io.BytesIO(pipe.getvalue()[:length]), 100)


@pytest.mark.parametrize("lengths", [b"\xff" * 4 + bytes(8), bytes(4) + b"\xff" * 8, bytes(11) + b"\x65"])
def test_a_message_longer_than_agreed_is_not_read(lengths: bytes) -> None:
    with pytest.raises(ValueError, match="longer than agreed"):
        ipc.read(io.BytesIO(lengths), max_body=100)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"{}",
        b"null",
        b"\x80\x04cos\nsystem\n",
        b'{"code": "no_such_code", "public": ""}',
        ipc.write_reply(replace(ANSWER, width=0)),
        ipc.write_reply(ANSWER).replace(b"png", b"text/html"),
        ipc.write_reply(ANSWER).replace(b'"size": 5', b'"size": -5'),
        ipc.write_reply(ipc.Refusal(code=FailureCode.CORRUPT_IMAGE, public="x" * 301)),
        ipc.write_reply(ipc.Refusal(code=FailureCode.CORRUPT_IMAGE, public="\x1b[2J")),
        ipc.write_reply(ipc.Refusal(code=FailureCode.CORRUPT_IMAGE, public="no", cause="\u202e")),
        ipc.write_reply(ipc.Failure(trace=("two\nlines",))),
        ipc.write_reply(ipc.Failure(trace=("line",) * 101)),
    ],
)
def test_a_reply_that_makes_no_sense_is_not_believed(reply: bytes) -> None:
    with pytest.raises(ValidationError):
        read_reply(reply)
