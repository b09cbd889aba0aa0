"""Messages between the sandbox and its workers: replies execute nothing, and are never longer than allowed."""

import io
from dataclasses import replace

import pytest
from pydantic import ValidationError

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.sandbox import ipc
from shared_lib.pipeline.sandbox.pool import read_reply

ENCODED = ipc.EncodedRendition(format=Format.PNG, width=3, height=2, size=5)
RESULT = ipc.Result(format=Format.GIF, width=30, height=20, renditions=(ENCODED,))


def test_a_message_is_read_as_it_was_written() -> None:
    pipe = io.BytesIO()
    pipe.writelines(ipc.frame(ipc.Job(recipes=(THUMBNAIL,)).write(), [b"abc", b"", b"de"]))
    pipe.writelines(ipc.frame(ipc.write_reply(RESULT), []))
    pipe.seek(0)

    header, body = ipc.read(pipe, max_body=5)

    assert (ipc.Job.read(header).recipes, body) == ((THUMBNAIL,), b"abcde")
    assert read_reply(ipc.read(pipe, 0)[0]) == RESULT


def test_an_image_error_is_told_apart_from_a_result() -> None:
    error = ipc.ImageError(code=FailureCode.CORRUPT_IMAGE, public="no")

    assert read_reply(ipc.write_reply(error)) == error


def test_a_codec_s_message_becomes_one_short_printable_line() -> None:
    try:
        int("a\nb\x07" + "c" * 3_000)
    except ValueError as cause:
        reason = Rejected(FailureCode.CORRUPT_IMAGE, "\x1b[2Jbad" + "!" * 400)
        reason.__cause__ = cause
    error = ipc.ImageError.of(reason)

    assert read_reply(ipc.write_reply(error)) == error
    assert error.public.startswith("[2Jbad!!!")
    assert error.cause.startswith("ValueError: invalid literal")
    assert len(error.public) == 300 >= len(error.cause)


@pytest.mark.parametrize("length", [0, 3, 20, -1])
def test_a_truncated_message_is_the_end_of_the_stream(length: int) -> None:
    pipe = io.BytesIO()
    pipe.writelines(ipc.frame(ipc.write_reply(RESULT), [b"body"]))

    with pytest.raises(EOFError):
        ipc.read(io.BytesIO(pipe.getvalue()[:length]), 100)


@pytest.mark.parametrize("lengths", [b"\xff" * 4 + bytes(8), bytes(4) + b"\xff" * 8, bytes(11) + b"\x65"])
def test_a_message_longer_than_allowed_is_not_read(lengths: bytes) -> None:
    with pytest.raises(ValueError, match="longer than allowed"):
        ipc.read(io.BytesIO(lengths), max_body=100)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"{}",
        b"null",
        b"\x80\x04cos\nsystem\n",
        b'{"code": "no_such_code", "public": ""}',
        ipc.write_reply(replace(RESULT, width=0)),
        ipc.write_reply(RESULT).replace(b"png", b"text/html"),
        ipc.write_reply(RESULT).replace(b'"size": 5', b'"size": -5'),
        ipc.write_reply(ipc.ImageError(code=FailureCode.CORRUPT_IMAGE, public="x" * 301)),
        ipc.write_reply(ipc.ImageError(code=FailureCode.CORRUPT_IMAGE, public="\x1b[2J")),
        ipc.write_reply(ipc.ImageError(code=FailureCode.CORRUPT_IMAGE, public="no", cause="\u202e")),
        ipc.write_reply(ipc.JobError(trace=("two\nlines",))),
        ipc.write_reply(ipc.JobError(trace=("line",) * 101)),
    ],
)
def test_an_invalid_reply_is_not_accepted(reply: bytes) -> None:
    with pytest.raises(ValidationError):
        read_reply(reply)
