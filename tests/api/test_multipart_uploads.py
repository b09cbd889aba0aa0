"""Large files in parts: straight to the store, in any order, resumable, and complete or not there at all."""

import random
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
import requests
from service import Api, make_photo, wait_for

from shared_lib.domain.multipart import USUAL_PART

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PATH = "/images/actions/multipart-upload"
INBOX = "upload-images"


def make_large_photo(megabytes: int) -> bytes:
    """Return a JPEG of so many megabytes: what follows the end of the image is ignored by every decoder."""
    photo = make_photo()
    return photo + random.Random(photo).randbytes(megabytes * 1024 * 1024 - len(photo))


LARGE = make_large_photo(40)


def begin(api: Api, size: int = len(LARGE), **more: Any) -> dict[str, Any]:
    response = api("POST", PATH, json={"sizeBytes": size, "extension": "jpg", **more})
    assert response.status_code == 201, response.text
    plan: dict[str, Any] = response.json()
    return plan


def call(api: Api, plan: dict[str, Any], method: str, more: str = "", **options: Any) -> requests.Response:
    return api(method, f"/images/{plan['uuid']}/multipart-upload{more}", **options)


def sign(api: Api, plan: dict[str, Any], *numbers: int) -> list[dict[str, Any]]:
    response = call(api, plan, "POST", "/parts", json={"partNumbers": numbers})
    assert response.status_code == 200, response.text
    signed: list[dict[str, Any]] = response.json()["parts"]
    return signed


def cut(plan: dict[str, Any], number: int, data: bytes = LARGE) -> bytes:
    start = (number - 1) * plan["partSizeBytes"]
    return data[start : start + plan["partSizeBytes"]]


def put(api: Api, plan: dict[str, Any], *numbers: int, data: bytes = LARGE) -> list[int]:
    """Put parts in this order. Return the statuses."""
    urls = [each["presignedUrl"] for each in sign(api, plan, *numbers)]
    return [
        requests.put(url, cut(plan, number, data), timeout=30).status_code
        for url, number in zip(urls, numbers, strict=True)
    ]


def complete(api: Api, plan: dict[str, Any]) -> requests.Response:
    return call(api, plan, "POST", "/complete")


def find_uploads(s3: "S3Client", uuid: str) -> list[str]:
    found = s3.list_multipart_uploads(Bucket=INBOX).get("Uploads", [])
    return [each["UploadId"] for each in found if each["Key"] == uuid]


def test_a_large_file_arrives_in_parts_in_any_order_and_is_processed(api: Api, s3: "S3Client") -> None:
    plan = begin(api, filename="huge.jpg", description="a wall")
    assert (plan["partCount"], plan["partSizeBytes"], plan["sizeBytes"]) == (5, USUAL_PART, len(LARGE))
    assert api("GET", f"/images/{plan['uuid']}").json()["code"] == "image_awaits_upload"

    assert put(api, plan, 5, 2, 4) == [200, 200, 200]
    assert put(api, plan, 2, 1, 3) == [200, 200, 200]

    response = complete(api, plan)
    assert (response.status_code, response.json()) == (200, {"uuid": plan["uuid"], "status": "pending"})
    assert find_uploads(s3, plan["uuid"]) == []
    image = api.await_end(plan["uuid"])
    assert (image["status"], image["filename"], image["description"]) == ("succeeded", "huge.jpg", "a wall")
    assert image["sizeBytes"] == len(LARGE)
    wait_for(lambda: s3.list_objects_v2(Bucket=INBOX, Prefix=plan["uuid"])["KeyCount"], lambda count: count == 0)


def test_an_interrupted_upload_goes_on_with_the_missing_parts(api: Api) -> None:
    plan = begin(api)
    assert put(api, plan, 1, 4) == [200, 200]

    early = complete(api, plan)
    progress = call(api, plan, "GET").json()

    assert (early.status_code, early.json()["code"]) == (409, "parts_missing")
    assert [each["parameter"] for each in early.json()["details"]] == ["part 2", "part 3", "part 5"]
    assert [each["partNumber"] for each in progress["uploadedParts"]] == [1, 4]
    assert progress["missingParts"] == [2, 3, 5]
    assert progress.items() >= {name: plan[name] for name in ("uuid", "partCount", "partSizeBytes")}.items()
    put(api, plan, *progress["missingParts"])
    assert complete(api, plan).status_code == 200
    assert api.await_end(plan["uuid"])["status"] == "succeeded"


def test_the_last_upload_of_a_part_counts(api: Api) -> None:
    plan = begin(api)
    put(api, plan, 1, data=bytes(len(LARGE)))
    time.sleep(1.1)  # the store notes whole seconds
    put(api, plan, 1, 2, 3, 4, 5)

    assert complete(api, plan).status_code == 200
    assert api.await_end(plan["uuid"])["status"] == "succeeded"


def test_a_part_is_asked_for_again_if_nobody_knows_which_upload_was_the_last(api: Api) -> None:
    plan = begin(api)
    put(api, plan, 2, 3, 4, 5)
    put(api, plan, 1, data=bytes(len(LARGE)))
    put(api, plan, 1)
    response = complete(api, plan)
    if response.status_code != 200:  # unless the second was over between the two
        assert call(api, plan, "GET").json()["missingParts"] == [1]
        time.sleep(1.1)
        put(api, plan, 1)
        assert complete(api, plan).status_code == 200

    assert api.await_end(plan["uuid"])["status"] == "succeeded"


def test_a_part_of_another_size_counts_as_missing(api: Api, s3: "S3Client") -> None:
    plan = begin(api)
    put(api, plan, 1, 2, 4, 5)
    [upload] = find_uploads(s3, plan["uuid"])
    s3.upload_part(Bucket=INBOX, Key=plan["uuid"], UploadId=upload, PartNumber=3, Body=cut(plan, 3)[:-1])

    response = complete(api, plan)

    assert (response.status_code, response.json()["code"]) == (409, "parts_missing")
    expected = {"parameter": "part 3", "message": f"has {USUAL_PART - 1:,} bytes, and needs {USUAL_PART:,}"}
    assert response.json()["details"] == [expected]
    assert call(api, plan, "GET").json()["missingParts"] == [3]


def test_a_completed_upload_can_be_completed_again_at_any_time(api: Api) -> None:
    plan = begin(api)
    put(api, plan, 1, 2, 3, 4, 5)

    with futures.ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: complete(api, plan), range(4)))

    assert [each.status_code for each in answers] == [200] * 4, [each.text for each in answers]
    assert api.await_end(plan["uuid"])["status"] == "succeeded"
    assert complete(api, plan).json() == {"uuid": plan["uuid"], "status": "succeeded"}
    for response in (call(api, plan, "GET"), call(api, plan, "POST", "/parts", json={"partNumbers": [1]})):
        assert (response.status_code, response.json()["code"]) == (409, "upload_complete")
    assert call(api, plan, "DELETE").json()["code"] == "upload_complete"
    assert api("GET", f"/images/{plan['uuid']}").json()["status"] == "succeeded"


def test_an_aborted_upload_leaves_nothing_and_cannot_be_completed(api: Api, s3: "S3Client") -> None:
    plan = begin(api)
    [late] = sign(api, plan, 2)
    put(api, plan, 1)

    assert call(api, plan, "DELETE").status_code == 200

    assert find_uploads(s3, plan["uuid"]) == []
    assert requests.put(late["presignedUrl"], cut(plan, 2), timeout=30).status_code == 404
    for response in (complete(api, plan), call(api, plan, "DELETE"), call(api, plan, "GET")):
        assert (response.status_code, response.json()["code"]) == (404, "image_not_found")


def test_deleting_the_image_aborts_its_upload(api: Api, s3: "S3Client") -> None:
    plan = begin(api)
    put(api, plan, 1)

    assert api("DELETE", f"/images/{plan['uuid']}").status_code == 200

    assert find_uploads(s3, plan["uuid"]) == []


def test_an_upload_that_the_store_has_lost_says_so(api: Api, s3: "S3Client") -> None:
    plan = begin(api)
    [upload] = find_uploads(s3, plan["uuid"])
    s3.abort_multipart_upload(Bucket=INBOX, Key=plan["uuid"], UploadId=upload)

    for response in (complete(api, plan), call(api, plan, "GET")):
        assert (response.status_code, response.json()["code"]) == (409, "upload_lost")


def test_only_an_image_that_awaits_parts_has_any(api: Api) -> None:
    unknown = complete(api, {"uuid": f"{uuid4()}"})
    single = api("GET", "/images/actions/upload-url?extension=jpg").json()

    assert (unknown.status_code, unknown.json()["code"]) == (404, "image_not_found")
    assert (complete(api, single).status_code, complete(api, single).json()["code"]) == (409, "not_in_parts")


@pytest.mark.parametrize(
    ("announced", "status", "code"),
    [
        ({"sizeBytes": 104_857_601}, 413, "file_too_large"),
        ({"sizeBytes": 0}, 400, "invalid_input"),
        ({}, 400, "invalid_input"),
        ({"sizeBytes": 9, "extension": "exe"}, 400, "invalid_input"),
    ],
)
def test_a_file_that_cannot_become_an_image_is_refused_before_it_is_sent(
    api: Api, announced: dict[str, Any], status: int, code: str
) -> None:
    response = api("POST", PATH, json={"extension": "jpg", **announced})

    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize("numbers", [[0], [1, 1], [], list(range(1, 102)), ["1"], [True], [1.5]])
def test_parts_to_sign_are_different_numbers(api: Api, numbers: list[Any]) -> None:
    response = call(api, begin(api), "POST", "/parts", json={"partNumbers": numbers})

    assert response.status_code == 400
    assert response.json()["details"][0]["parameter"].startswith("partNumbers")


def test_a_list_with_a_wrong_item_is_not_also_said_to_be_too_short(api: Api) -> None:
    response = call(api, begin(api), "POST", "/parts", json={"partNumbers": [0]})

    assert [each["parameter"] for each in response.json()["details"]] == ["partNumbers.0"]


def test_only_parts_of_the_file_are_signed(api: Api) -> None:
    response = call(api, begin(api), "POST", "/parts", json={"partNumbers": [5, 6]})

    assert (response.status_code, response.json()["code"]) == (404, "no_such_part")
    assert response.json()["error"] == "The file has parts 1 to 5, and no part 6"


def test_a_parts_url_takes_that_part_with_that_size_and_nothing_else(api: Api) -> None:
    plan = begin(api)
    [first, last] = sign(api, plan, 1, 5)
    url, part = first["presignedUrl"], cut(plan, 1)
    assert (first["sizeBytes"], last["sizeBytes"]) == (USUAL_PART, len(LARGE) - 4 * USUAL_PART)

    assert requests.put(url, part + b"x", timeout=30).status_code == 403
    assert requests.put(url, part[:-1], timeout=30).status_code == 403
    assert requests.put(url.replace("partNumber=1", "partNumber=2"), part, timeout=30).status_code == 403
    for name, value in (("x-amz-copy-source", "/completed-images/any"), ("x-amz-acl", "public-read")):
        assert requests.put(url, part, headers={name: value}, timeout=30).status_code == 403
    upload_id = parse_qs(urlsplit(url).query)["uploadId"][0]
    assert requests.get(url, timeout=30).status_code == 403
    assert requests.put(url.replace(upload_id, upload_id[::-1]), part, timeout=30).status_code == 403

    assert call(api, plan, "GET").json()["uploadedParts"] == []


def test_a_file_smaller_than_a_part_is_one_part(api: Api) -> None:
    photo = make_photo()
    plan = begin(api, len(photo))
    assert plan["partCount"] == 1

    assert put(api, plan, 1, data=photo) == [200]
    assert complete(api, plan).status_code == 200
    assert api.await_end(plan["uuid"])["sizeBytes"] == len(photo)
