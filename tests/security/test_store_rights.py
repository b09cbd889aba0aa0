"""Each component's key pair of the store may do what the component needs, and no more."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from published import make_and_store
from pydantic import SecretStr
from service import Api, ExternalPlatform, Platform, make_photo

from shared_lib.domain.uploads import PROBES
from shared_lib.errors import Misconfigured
from shared_lib.runtime import Runtime
from shared_lib.settings import Store as StoreSettings
from shared_lib.storage.probe import StoreProbe
from shared_lib.storage.setup import StoreSetup

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

INBOX, GALLERY = "upload-images", "completed-images"
UPLOAD = f"{INBOX}/{PROBES}{uuid4()}"  # makes no image: the service deletes it when it hears of it
ORIGINAL = f"{GALLERY}/originals/{uuid4().hex}.jpg"
ORIGINAL_OF_ACME = f"{GALLERY}/t/acme/originals/{uuid4().hex}.jpg"
RENDITION = f"{GALLERY}/t/acme/{uuid4()}/{uuid4().hex}/small.webp"
OBJECTS = (UPLOAD, ORIGINAL, ORIGINAL_OF_ACME, RENDITION)
ALL = {f"{verb} {each}" for verb in ("get", "put", "delete") for each in OBJECTS}
MAY = {
    "presigner": {f"put {UPLOAD}"},
    "api": ALL | {f"list {INBOX}", f"list {GALLERY}"},
    "worker": ALL | {f"list {INBOX}", f"list {GALLERY}"},
    "delivery": {f"list {GALLERY}", f"put {RENDITION}", f"delete {RENDITION}"}
    | {f"get {each}" for each in (ORIGINAL, ORIGINAL_OF_ACME, RENDITION)},
    "bootstrap": {f"{verb} {UPLOAD}" for verb in ("get", "put", "delete")} | {f"list {INBOX}", f"list {GALLERY}"},
}
Connect = Callable[[str], "S3Client"]


@pytest.fixture(scope="module")
def pairs(platform: Platform) -> dict[str, dict[str, SecretStr]]:
    """The key pairs that `make run` has made, by component."""
    if isinstance(platform, ExternalPlatform):
        pytest.skip("only `make run` makes key pairs; a store of one's own has those of its administrator")
    identities = json.loads((platform.data / "seaweedfs/identities.json").read_text())["identities"]
    return {
        each["name"]: {
            "access_key_id": SecretStr(each["credentials"][0]["accessKey"]),
            "secret_access_key": SecretStr(each["credentials"][0]["secretKey"]),
        }
        for each in identities
    }


@pytest.fixture(scope="module")
def connect(platform: Platform, pairs: dict[str, dict[str, SecretStr]]) -> Connect:
    def make(component: str) -> "S3Client":
        client: S3Client = boto3.client(
            "s3",
            endpoint_url=platform.environment["S3_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id=pairs[component]["access_key_id"].get_secret_value(),
            aws_secret_access_key=pairs[component]["secret_access_key"].get_secret_value(),
            config=Config(retries={"max_attempts": 0}),
        )
        return client

    return make


@pytest.fixture
def _objects(s3: "S3Client") -> Iterator[None]:
    places = [each.split("/", 1) for each in OBJECTS]
    for bucket, key in places:
        s3.put_object(Bucket=bucket, Key=key, Body=b"as it was")
    yield
    for bucket, key in places:
        s3.delete_object(Bucket=bucket, Key=key)


def succeeds(request: Callable[..., object], **parameters: object) -> bool:
    try:
        request(**parameters)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in ("AccessDenied", "NoSuchKey"):  # the service may have deleted the upload
            raise
        return code != "AccessDenied"
    return True


@pytest.mark.usefixtures("_objects")
@pytest.mark.parametrize("component", MAY)
def test_a_component_may_do_what_it_needs_and_nothing_else(component: str, connect: Connect) -> None:
    client, may = connect(component), set[str]()

    for each in OBJECTS:
        bucket, key = each.split("/", 1)
        tried = {
            "get": succeeds(client.get_object, Bucket=bucket, Key=key),
            "put": succeeds(client.put_object, Bucket=bucket, Key=key, Body=b"as it was"),
            "delete": succeeds(client.delete_object, Bucket=bucket, Key=key),
        }
        may |= {f"{verb} {each}" for verb, granted in tried.items() if granted}
    may |= {f"list {bucket}" for bucket in (INBOX, GALLERY) if succeeds(client.list_objects_v2, Bucket=bucket)}

    assert may == MAY[component]
    assert not succeeds(client.delete_bucket, Bucket=GALLERY)
    assert not succeeds(client.list_objects_v2, Bucket="quiet-images")


@pytest.mark.usefixtures("_objects")
def test_many_originals_at_once_are_not_deleted_for_delivery_either(connect: Connect, s3: "S3Client") -> None:
    keys = [each.split("/", 1)[1] for each in (ORIGINAL, ORIGINAL_OF_ACME)]

    connect("delivery").delete_objects(Bucket=GALLERY, Delete={"Objects": [{"Key": key} for key in keys]})

    for key in keys:
        assert s3.get_object(Bucket=GALLERY, Key=key)["Body"].read() == b"as it was"


@pytest.mark.usefixtures("_objects")
def test_an_upload_url_copies_nothing(connect: Connect) -> None:
    bucket, key = UPLOAD.split("/", 1)
    copied = connect("presigner").generate_presigned_url(
        "copy_object", Params={"Bucket": bucket, "Key": key, "CopySource": ORIGINAL}
    )

    answer = requests.put(copied, headers={"x-amz-copy-source": ORIGINAL}, timeout=10)

    assert answer.status_code == 403


def with_keys(rt: Runtime, pair: dict[str, SecretStr]) -> Runtime:
    store = rt.settings.store.model_copy(update=pair)
    return Runtime(rt.settings.model_copy(update={"store": store}))


def test_delivery_makes_finds_and_misses_renditions_with_its_own_keys(
    rt: Runtime, api: Api, pairs: dict[str, dict[str, SecretStr]]
) -> None:
    image = api.upload(make_photo())
    api.await_end(image)
    own = with_keys(rt, pairs["delivery"])
    engine = own.delivery.engine
    order = own.delivery.urls.read("w=33", f"{image}.webp", "any", granted=True)

    assert make_and_store(own, engine.find(order)).how == "stored"
    found = engine.find(order)
    assert found.stored
    opened = engine.open(found, found.stored, None)
    assert not isinstance(opened, bytes)
    assert len(b"".join(opened)) == found.stored.size
    own.gallery.delete(found.stored.key)
    again = engine.open(found, found.stored, None)
    assert isinstance(again, bytes), "made again"
    assert len(again) == found.stored.size
    original = replace(found.stored, key=found.image.original_key)
    with pytest.raises(Misconfigured):
        own.gallery.delete(original.key)
    with pytest.raises(Misconfigured):
        own.gallery.put(original.key, b"another", "image/jpeg")
    assert rt.gallery.head(original.key)
    own.sandbox.close()
    own.database.disconnect()


def test_bootstrap_needs_no_more_than_its_own_keys(rt: Runtime, pairs: dict[str, dict[str, SecretStr]]) -> None:
    presigning = {f"presign_{name}": value for name, value in pairs["presigner"].items()}
    buckets = {"upload_bucket": INBOX, "completed_bucket": GALLERY}
    own = StoreSettings.model_validate(rt.settings.store.model_dump() | buckets | pairs["bootstrap"] | presigning)

    StoreSetup(own).create_buckets()

    assert [each.name for each in StoreProbe(own).run() if not each.passed] == []
