"""Both ways to upload: directly, and with a PUT to a presigned URL."""

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests
from service import Api, Platform, make_photo, wait_for

LIMIT = 10 * 1024 * 1024
ALLOWED = (
    "Only these file types are allowed: .jpg, .jpeg, .png, .gif, .webp, .svg, .avif, .tiff, .bmp, .heic, "
    ".heif, .jxl, .jfif, .tif"
)


def test_a_direct_upload_ends_as_a_succeeded_image_with_a_thumbnail(api: Api) -> None:
    photo = make_photo(640, 480)

    uuid = api.upload(photo, "harbour.jpg", description="at dawn")
    image = api.await_end(uuid)

    assert image["status"] == "succeeded"
    assert (image["filename"], image["description"]) == ("harbour.jpg", "at dawn")
    assert (image["contentType"], image["sizeBytes"]) == ("image/jpeg", len(photo))
    assert (image["width"], image["height"], image["attempts"]) == (640, 480, 1)
    assert image["imageData"].startswith("data:image/jpeg;base64,")
    assert image["error"] is None
    [thumbnail] = image["renditions"]
    assert (thumbnail["name"], thumbnail["width"], thumbnail["height"]) == ("thumbnail", 100, 100)


def test_an_uploads_response_is_as_in_the_contract(api: Api) -> None:
    response = api("POST", "/images/actions/upload", files={"file": ("a.png", make_photo(form="PNG"), "image/png")})

    assert response.status_code == 200
    receipt = response.json()["data"]
    assert uuid.UUID(receipt.pop("uuid"))
    assert receipt == {
        "filename": "a.png",
        "status": "pending",
        "message": "Upload successful and processing started",
    }


@pytest.mark.parametrize("content_type", ["image/png", "application/x-www-form-urlencoded", "", "text/plain; x=y"])
def test_a_put_to_a_presigned_url_becomes_a_succeeded_image(api: Api, content_type: str) -> None:
    ticket = api("GET", "/images/actions/upload-url?extension=png").json()
    assert ticket.keys() == {"uuid", "presignedUrl", "expiresAt", "method", "headers"}
    awaited, missing = api("GET", f"/images/{ticket['uuid']}"), api("GET", f"/images/{uuid.uuid4()}")
    assert awaited.status_code == missing.status_code == 404
    assert awaited.json() == {"error": "Image not found", "code": "image_awaits_upload"}
    assert ("Retry-After" in awaited.headers, "Retry-After" in missing.headers) == (True, False)

    stored = requests.put(
        ticket["presignedUrl"], make_photo(form="PNG"), headers={"Content-Type": content_type}, timeout=10
    )

    assert stored.status_code == 200
    image = api.await_end(ticket["uuid"])
    assert (image["status"], image["contentType"]) == ("succeeded", "image/png")
    assert image["filename"] == f"{ticket['uuid']}.png"


@pytest.mark.parametrize(("extension", "form"), [("bmp", "BMP"), ("heic", "HEIF"), ("jxl", "JXL")])
def test_formats_that_the_contract_does_not_name_can_be_put_into_the_store(api: Api, extension: str, form: str) -> None:
    ticket = api("GET", f"/images/actions/upload-url?extension={extension}").json()

    requests.put(ticket["presignedUrl"], make_photo(form=form), timeout=10)

    image = api.await_end(ticket["uuid"])
    assert (image["status"], image["contentType"]) == ("succeeded", f"image/{extension}")
    assert image["filename"] == f"{ticket['uuid']}.{extension}"
    assert image["renditions"][0]["contentType"] == "image/jpeg"


def test_an_upload_url_for_an_unsupported_extension_is_rejected(api: Api) -> None:
    response = api("GET", "/images/actions/upload-url?extension=exe")

    assert response.status_code == 400
    assert response.json()["details"][0]["parameter"] == "extension"


def test_a_filename_given_after_the_upload_event_wins(api: Api) -> None:
    ticket = api("GET", "/images/actions/upload-url?extension=jpg").json()
    requests.put(ticket["presignedUrl"], make_photo(), timeout=10)
    api.await_end(ticket["uuid"])

    for _ in range(2):
        body = {"uuid": ticket["uuid"], "filename": "named.jpg", "description": "later"}
        response = api("POST", "/images/actions/process", json=body)
        assert (response.status_code, response.json()) == (200, {"message": "Processing started"})

    image = api("GET", f"/images/{ticket['uuid']}").json()
    assert (image["filename"], image["description"], image["status"]) == ("named.jpg", "later", "succeeded")
    assert image["attempts"] == 1


def test_a_filename_given_while_the_upload_event_arrives_wins(api: Api) -> None:
    for _ in range(10):
        ticket = api("GET", "/images/actions/upload-url?extension=jpg").json()
        requests.put(ticket["presignedUrl"], make_photo(), timeout=10)
        body = {"uuid": ticket["uuid"], "filename": "raced.jpg"}
        assert api("POST", "/images/actions/process", json=body).status_code == 200
        image = api.await_end(ticket["uuid"])
        assert (image["filename"], image["status"]) == ("raced.jpg", "succeeded")


def test_processing_an_image_that_was_never_uploaded_is_the_contracts_404(api: Api) -> None:
    ticket = api("GET", "/images/actions/upload-url?extension=jpg").json()
    for missing in (ticket["uuid"], str(uuid.uuid4())):
        response = api("POST", "/images/actions/process", json={"uuid": missing, "filename": "a.jpg"})
        assert response.status_code == 404
        assert response.json()["status"] == "error"
        assert response.json()["message"] == "Image not found in storage, please upload before process"


@pytest.mark.parametrize(
    ("filename", "kind", "data", "status", "sentence"),
    [
        ("a.jpg", "image/jpeg", b"", 400, "File is empty"),
        ("a.jpg", "image/jpeg", b"x" * (LIMIT + 1), 413, "File too large. Maximum size is 10MB"),
        ("a.jpg", "image/jpeg", b"x" * (LIMIT + 200_000), 413, "File too large. Maximum size is 10MB"),
        ("a.pdf", "image/jpeg", b"x", 415, ALLOWED),
        ("a.exe", "application/octet-stream", b"x", 415, ALLOWED),
        ("jpg", "application/octet-stream", b"x", 415, ALLOWED),
        ("photo", "image/x-unknown", b"x", 415, ALLOWED),
        ("cat.txt", "image/jpeg", b"x", 415, ALLOWED),
        ("a.jpg", "application/pdf", b"x", 415, "Only image files are allowed"),
        ("a.jpg", "image/", b"x", 415, "Only image files are allowed"),
        ("a.jpg", "image/a\x01b", b"x", 415, "Only image files are allowed"),
        ("a.jpg", "image/\u00e9", b"x", 415, "Only image files are allowed"),
        ("a" * 252 + ".jpg", "image/jpeg", b"x", 415, "Filename is too long (max 255 characters)"),
    ],
)
def test_an_invalid_upload_is_rejected_with_the_contracts_sentence(  # noqa: PLR0913, PLR0917  the table's columns
    api: Api, filename: str, kind: str, data: bytes, status: int, sentence: str
) -> None:
    response = api("POST", "/images/actions/upload", files={"file": (filename, data, kind)})

    assert response.status_code == status
    assert response.json()["error"] == sentence


@pytest.mark.parametrize(
    ("filename", "kind", "found", "remedy"),
    [
        ("a.webp", "application/pdf", "'application/pdf'", "type=image/webp"),
        ("a.pdf", "image/png", "ends in .pdf", "filename=photo.jpg"),
        ("cat.txt", "image/jpeg", "ends in .txt", "filename=photo.jpg"),
        ("photo", "application/octet-stream", "no extension", "type=image/jpeg"),
    ],
)
def test_an_unsupported_type_is_named_with_the_remedy(
    api: Api, filename: str, kind: str, found: str, remedy: str
) -> None:
    response = api("POST", "/images/actions/upload", files={"file": (filename, b"x", kind)})

    [detail] = response.json()["details"]
    assert detail["parameter"] == "file"
    assert found in detail["message"]
    assert remedy in detail["message"]


@pytest.mark.parametrize(
    ("files", "remedy"),
    [
        ({"image": ("a.jpg", b"x", "image/jpeg")}, "was sent in the field 'image': send it in 'file'"),
        ({"file": (None, "a.jpg")}, "is sent as text. Send it as a file (with curl: -F file=@photo.jpg)"),
        ({"description": (None, "no file")}, "Send the image in this field (with curl: -F file=@photo.jpg)"),
    ],
)
def test_a_form_without_a_file_is_rejected_with_the_name_of_its_field(
    api: Api, files: dict[str, Any], remedy: str
) -> None:
    response = api("POST", "/images/actions/upload", files=files)

    assert (response.status_code, response.json()["error"]) == (400, "No file uploaded")
    [detail] = response.json()["details"]
    assert detail["parameter"] == "file"
    assert remedy in detail["message"]


def test_a_file_that_is_too_large_is_refused_with_the_ways_to_send_it(api: Api) -> None:
    files = {"file": ("a.jpg", b"x" * (LIMIT + 1), "image/jpeg")}

    [detail] = api("POST", "/images/actions/upload", files=files).json()["details"]

    assert "/api/v1/images/actions/upload-url" in detail["message"]
    assert "/api/v1/images/actions/multipart-upload" in detail["message"]


@pytest.mark.parametrize(
    ("filename", "kind"),
    [
        ("DSC_0001.JPG", "image/jpeg"),
        ("cat.Jpeg", "application/octet-stream"),
        ("photo", "image/jpeg"),
        ("photo", "image/jpg"),
        ("photo.", "image/webp"),
    ],
)
def test_a_name_as_cameras_and_phones_give_it_is_accepted(api: Api, filename: str, kind: str) -> None:
    image = api.await_end(api.upload(make_photo(), filename, kind))

    assert (image["status"], image["contentType"], image["filename"]) == ("succeeded", "image/jpeg", filename)


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "JPG", "Jpeg", ".jpg"])
def test_an_extension_may_be_written_in_every_usual_way(api: Api, extension: str) -> None:
    plain = api("GET", "/images/actions/upload-url", params={"extension": extension})
    bound = api("POST", "/images/actions/upload-url", json={"extension": extension})
    parts = api("POST", "/images/actions/multipart-upload", json={"extension": extension, "sizeBytes": 6_000_000})

    assert [each.status_code for each in (plain, bound, parts)] == [200, 201, 201]


def test_a_recipe_takes_a_formats_extension_for_its_name(api: Api) -> None:
    spellings = ("jpg", "JPEG", "jpeg", ".jpg")
    recipes = [{"name": f"r{index}", "output": {"format": each}} for index, each in enumerate(spellings)]

    image = api.await_end(api.upload(make_photo(form="PNG"), "a.png", "image/png", renditions=json.dumps(recipes)))

    assert [each["contentType"] for each in image["renditions"] if each["name"] != "thumbnail"] == ["image/jpeg"] * 4


@pytest.mark.parametrize("name", ["file", "preset"])
def test_a_form_with_a_part_given_twice_is_rejected_rather_than_half_used(api: Api, name: str) -> None:
    photo = ("a.jpg", make_photo(), "image/jpeg")
    second = photo if name == "file" else (None, "web")

    response = api(
        "POST", "/images/actions/upload", files=[("file", photo), ("preset", (None, "small")), (name, second)]
    )

    assert (response.status_code, response.json()["error"]) == (400, f"{name}: must be given once")


def test_an_empty_form_field_counts_as_absent(api: Api) -> None:
    image = api.await_end(api.upload(make_photo(), description="", renditions="", preset=""))

    assert (image["status"], image["description"]) == ("succeeded", None)
    assert [each["name"] for each in image["renditions"]] == ["thumbnail"]


def test_a_file_of_exactly_the_maximum_size_is_accepted(api: Api) -> None:
    photo = make_photo()

    image = api.await_end(api.upload(photo + b"\0" * (LIMIT - len(photo)), "padded.jpg"))

    assert image["sizeBytes"] == LIMIT


@pytest.mark.parametrize(
    ("form", "extension", "real"),
    [
        ("JPEG", "jfif", "image/jpeg"),
        ("WEBP", "webp", "image/webp"),
        ("AVIF", "avif", "image/avif"),
        ("TIFF", "tif", "image/tiff"),
        ("BMP", "bmp", "image/bmp"),
        ("HEIF", "heic", "image/heic"),
        ("HEIF", "HEIF", "image/heic"),
        ("JXL", "jxl", "image/jxl"),
    ],
)
def test_curl_can_upload_every_format_without_a_content_type(
    api: Api, tmp_path: Path, form: str, extension: str, real: str
) -> None:
    photo = tmp_path / f"photo.{extension}"
    photo.write_bytes(make_photo(form=form))

    address = f"{api.base}/images/actions/upload"
    response = subprocess.run(["curl", "-sS", "-F", f"file=@{photo}", address], capture_output=True, check=True)

    image = api.await_end(json.loads(response.stdout)["data"]["uuid"])
    assert (image["status"], image["contentType"], image["filename"]) == ("succeeded", real, photo.name)


def test_an_upload_without_a_content_type_is_identified_by_its_bytes(api: Api) -> None:
    response = api("POST", "/images/actions/upload", files={"file": ("photo.png", make_photo(form="PNG"))})

    assert api.await_end(response.json()["data"]["uuid"])["contentType"] == "image/png"


@pytest.mark.parametrize(
    ("form", "extension", "thumbnail"),
    [
        ("JPEG", "jpg", "image/jpeg"),
        ("PNG", "png", "image/png"),
        ("WEBP", "webp", "image/webp"),
        ("GIF", "gif", None),
        ("TIFF", "tiff", None),
        ("AVIF", "avif", None),
    ],
)
def test_every_format_is_identified_whatever_type_is_declared(
    api: Api, form: str, extension: str, thumbnail: str | None
) -> None:
    image = api.await_end(api.upload(make_photo(form=form), "declared-as.jpg", "image/jpeg"))

    assert image["status"] == "succeeded", image["error"]
    assert image["contentType"] == f"image/{'jpeg' if extension == 'jpg' else extension}"
    assert image["renditions"][0]["contentType"] in (thumbnail, "image/jpeg", "image/png", "image/webp", "image/gif")
    if thumbnail:
        assert image["renditions"][0]["contentType"] == thumbnail


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"this is no image", "unsupported_format"),
        (make_photo()[:2000], "corrupt_image"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', None),
    ],
)
def test_an_upload_that_is_not_an_image_fails_with_a_reason(api: Api, data: bytes, code: str | None) -> None:
    image = api.await_end(api.upload(data))

    if code:
        assert image["status"] == "failed"
        assert image["error"]["code"] == code
        assert image["error"]["message"]
        assert image["attempts"] == 1
    assert image["uuid"] in [each["uuid"] for each in api("GET", f"/images?status={image['status']}&limit=100").json()]


def test_a_second_put_after_processing_changes_nothing(api: Api, platform: Platform) -> None:
    ticket = api("GET", "/images/actions/upload-url?extension=jpg").json()
    requests.put(ticket["presignedUrl"], make_photo(), timeout=10)
    before = api.await_end(ticket["uuid"])

    requests.put(ticket["presignedUrl"], make_photo(50, 50, "PNG"), timeout=10)
    wait_for(lambda: requests.get(ticket["presignedUrl"], timeout=10).status_code, lambda status: status >= 400)

    assert api("GET", f"/images/{ticket['uuid']}").json() == before
