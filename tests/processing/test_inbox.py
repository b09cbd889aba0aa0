"""Any object that an S3 client puts into the inbox becomes an image, once."""

from typing import TYPE_CHECKING, Any

import pytest
from service import Api, make_photo, wait_for

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def find(api: Api, filename: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api(
        "GET", "/images", params={"search": filename, "status": "all", "include": "none"}
    ).json()
    return found


@pytest.mark.parametrize(
    ("key", "filename"),
    [
        ("photos/2026/my cat+dog.jpg", "my cat+dog.jpg"),
        ("täst%41 & ümlaut.jpg", "täst%41 & ümlaut.jpg"),
        ("漢字 🎉.jpg", "漢字 🎉.jpg"),
        ("no-extension-at-all", "no-extension-at-all"),
    ],
)
def test_an_object_under_any_key_is_adopted(api: Api, s3: "S3Client", key: str, filename: str) -> None:
    s3.put_object(Bucket="upload-images", Key=key, Body=make_photo())

    [image] = wait_for(lambda: find(api, filename), lambda images: [each["status"] for each in images] == ["succeeded"])

    assert image["filename"] == filename
    assert image["attempts"] == 1
    wait_for(lambda: s3.list_objects_v2(Bucket="upload-images", Prefix=key)["KeyCount"], lambda count: count == 0)


def test_a_new_object_with_the_same_key_becomes_another_image(api: Api, s3: "S3Client") -> None:
    for count in (1, 2):
        s3.put_object(Bucket="upload-images", Key="twice.jpg", Body=make_photo(64 * count, 64))
        wait_for(
            lambda: [each["status"] for each in find(api, "twice.jpg")],
            lambda states, count=count: states == ["succeeded"] * count,  # type: ignore[misc]
        )

    assert {image["width"] for image in find(api, "twice.jpg")} == {64, 128}


def test_a_multipart_upload_becomes_one_image(api: Api, s3: "S3Client") -> None:
    upload = s3.create_multipart_upload(Bucket="upload-images", Key="parts/large.png")["UploadId"]
    data = make_photo(3200, 2400, "PNG")
    pieces = [data[: 5 * 2**20], data[5 * 2**20 :]]
    parts = [
        s3.upload_part(Bucket="upload-images", Key="parts/large.png", UploadId=upload, PartNumber=number, Body=piece)
        for number, piece in enumerate(pieces, 1)
    ]
    s3.complete_multipart_upload(
        Bucket="upload-images",
        Key="parts/large.png",
        UploadId=upload,
        MultipartUpload={"Parts": [{"ETag": each["ETag"], "PartNumber": n} for n, each in enumerate(parts, 1)]},
    )

    [image] = wait_for(
        lambda: find(api, "large.png"), lambda images: [each["status"] for each in images] == ["succeeded"]
    )

    assert (image["sizeBytes"], image["width"]) == (len(data), 3200)


def test_an_object_with_an_unknown_uuid_as_key_is_adopted_with_that_uuid(api: Api, s3: "S3Client") -> None:
    uuid = "11111111-2222-4333-8444-555555555555"
    s3.put_object(Bucket="upload-images", Key=uuid, Body=make_photo())

    wait_for(lambda: api("GET", f"/images/{uuid}").json().get("status"), lambda status: status == "succeeded")


def test_a_late_put_does_not_bring_a_deleted_image_back(api: Api, s3: "S3Client") -> None:
    uuid = api.upload(make_photo())
    api.await_end(uuid)
    api("DELETE", f"/images/{uuid}")

    s3.put_object(Bucket="upload-images", Key=uuid, Body=make_photo())

    wait_for(lambda: s3.list_objects_v2(Bucket="upload-images", Prefix=uuid)["KeyCount"], lambda count: count == 0)
    assert api("GET", f"/images/{uuid}").status_code == 404


def test_an_empty_object_becomes_a_failed_image(api: Api, s3: "S3Client") -> None:
    s3.put_object(Bucket="upload-images", Key="empty-object.jpg", Body=b"")

    [image] = wait_for(
        lambda: find(api, "empty-object.jpg"), lambda images: [each["status"] for each in images] == ["failed"]
    )

    assert image["error"]["code"] == "empty_file"
