"""The form of a direct upload: what it may contain, and what is said of one that can't be read."""

import pytest
from service import Api, make_photo

FILE = 'Content-Disposition: form-data; name="file"; filename="a.jpg"'
END = b"\r\n--b--\r\n"
CHUNK = 256 * 1024  # bytes that are parsed at once


def compose(header: str, data: bytes) -> bytes:
    return f"--b\r\n{header}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + data


def field(name: str, text: str = "x") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()


def send(api: Api, body: bytes, boundary: str = "; boundary=b") -> tuple[int, str]:
    """Return the status, and the error or the image's UUID."""
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    response = api("POST", "/images/actions/upload", data=body, headers=headers)
    return response.status_code, response.json()["data"]["uuid"] if response.ok else response.json()["error"]


@pytest.mark.parametrize("piece", [b"\r\n--B", b"\r\n--", b"\r", b"\r\n--c--\r\n", b"\n--b--\n"])
def test_a_file_that_looks_like_the_end_of_its_form_is_stored_as_it_is(api: Api, piece: bytes) -> None:
    before = compose(FILE, make_photo())
    photo = make_photo() + b"\0" * (CHUNK - len(before) - 2) + piece + b"\0"

    status, uuid = send(api, compose(FILE, photo) + END)

    assert (status, api.await_end(uuid)["status"]) == (200, "succeeded")
    assert api("GET", f"/images/{uuid}/original").content == photo


@pytest.mark.parametrize(
    ("header", "filename"),
    [
        ("Content-Disposition: form-data; name=file; filename=plain.jpg", "plain.jpg"),
        ('content-disposition: form-data; filename="C:\\\\photos\\\\k.jpg"; name="file"', "k.jpg"),
        ('Content-Disposition: form-data; name="file"; filename="Köln am Rhein.jpg"', "Köln am Rhein.jpg"),
        ("Content-Disposition: form-data; name=\"file\"; filename*=utf-8''K%C3%B6ln.jpg", "Köln.jpg"),
    ],
)
def test_a_files_name_is_read_in_each_form_that_clients_send(api: Api, header: str, filename: str) -> None:
    status, uuid = send(api, compose(header, make_photo()) + END)

    assert (status, api("GET", f"/images/{uuid}").json()["filename"]) == (200, filename)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (compose(FILE, b"x"), "The form is not valid: Unexpected end of multipart stream (parser closed)"),
        (b"", "The form is not valid: Unexpected end of multipart stream (parser closed)"),
        (b"--b\r\nno header\r\n\r\nx" + END, "The form is not valid: Malformed segment header"),
        (b"--b\r\nContent-Type: image/jpeg\r\n\r\nx" + END, "The form is not valid: Missing Content-Disposition"),
        (field("note") * 11 + b"--b--\r\n", "The form has a field that is too large, or too many fields"),
        (field("note", "x" * 65_537) + b"--b--\r\n", "The form has a field that is too large, or too many fields"),
    ],
    ids=["breaks off", "empty", "no header", "no name", "many fields", "large field"],
)
def test_a_form_that_cannot_be_read_is_rejected_with_the_reason(api: Api, body: bytes, error: str) -> None:
    status, sentence = send(api, body)

    assert status == 400
    assert sentence.startswith(error)


def test_a_form_without_a_boundary_is_rejected(api: Api) -> None:
    assert send(api, compose(FILE, b"x") + END, boundary="") == (400, "The form's Content-Type has no boundary")
