"""The service tells what it stores about an image or a caller, and gives a receipt for what it erased."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from PIL import Image
from published import make_and_store
from service import WHOLE, Api, Deliver, WaitInInbox, make_photo, wait_for

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import acting_for
from shared_lib.delivery.order import Constantly, Order
from shared_lib.events import ProcessingRequested
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.repositories.audit import AuditLog
from shared_lib.runtime import Runtime

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def take_photo() -> bytes:
    exif = Image.Exif()
    exif[0x0110] = "Secret Camera"
    return make_photo(exif=exif)


def find_traces(rt: Runtime, uuid: str) -> dict[str, int]:
    """Count rows of each table that have the uuid in any column, also in bytes, by table.

    Receipts and audit records name it, and for minutes what asks caches to forget it.
    """
    with rt.database.transaction() as tx:
        tables = tx.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        found = {
            each["tablename"]: tx.rows(
                f"SELECT count(*) AS n FROM {each['tablename']} t "  # noqa: S608  no caller's
                "WHERE t::text LIKE ANY(CAST(:forms AS text[]))",
                forms=[f"%{uuid}%", f"%{uuid.encode().hex()}%"],
            )[0]["n"]
            for each in tables
        }
    return {
        table: count for table, count in found.items() if count and table not in ("erasures", "audit_events", "purges")
    }


def find_missing(s3: "S3Client", keys: list[str]) -> list[str]:
    return [key for key in keys if not s3.list_objects_v2(Bucket="completed-images", Prefix=key)["KeyCount"]]


def upload(api: Api, data: bytes) -> str:
    uuid = api.upload(data, filename="secret.jpg", description="secret words", renditions=WHOLE)
    assert api.await_end(uuid)["status"] == "succeeded"
    return uuid


def test_the_report_names_what_is_stored_and_for_how_long_and_shows_no_values(api: Api, s3: "S3Client") -> None:
    uuid = upload(api, take_photo())

    told = api("GET", f"/images/{uuid}/privacy")
    report = told.json()

    assert {"filename", "description", "thumbnail", "metadata.cameraModel"} <= {*report["personal"]}
    assert "secret" not in told.text.lower()
    assert (report["rows"]["images"], report["rows"]["renditions"], report["rows"]["processing_attempts"]) == (1, 2, 1)
    assert find_missing(s3, [each["key"] for each in report["objects"]]) == []
    assert len(report["objects"]) == 2
    assert report["retention"] == {"tombstone": 7, "deadLetters": 30, "events": 1, "auditLog": 400, "receipts": 400}


def test_a_receipt_names_what_was_erased_and_nothing_of_it_is_left(
    rt: Runtime, api: Api, s3: "S3Client", deliver: Deliver
) -> None:
    uuid, other = upload(api, take_photo()), str(uuid4())
    report = api("GET", f"/images/{uuid}/privacy").json()
    assert deliver("record_dead_letter", ProcessingRequested.type, {"uuid": uuid}, id=str(uuid4())) == 200
    with rt.database.transaction() as tx:  # a letter about two images names the second in its data only
        tx.rows(
            "INSERT INTO dead_letters (event_source, event_id, event_type, image_id, reason, data) "
            "VALUES ('/test', :id, 'x', :other, 'x', :data)",
            id=str(uuid4()),
            other=UUID(other),
            data=json.dumps({"images": [other, uuid]}).encode(),
        )

    receipt: dict[str, Any] = api("POST", f"/images/{uuid}/actions/erase").json()

    assert receipt["objects"] == report["objects"]
    assert receipt["completedAt"]
    keys = [each["key"] for each in receipt["objects"]]
    assert find_missing(s3, keys) == keys
    assert find_traces(rt, uuid) == {"images": 1}  # its tombstone
    assert api("GET", f"/images/{uuid}").status_code == 404
    assert api("GET", f"/erasures/{receipt['id']}").json() == receipt
    events = api("GET", "/audit-events", params={"subject": uuid}).json()["data"]
    assert [each["action"] for each in events] == ["image_erased", "image_deleted"]
    assert events[0]["details"] == {"receipt": receipt["id"], "digest": receipt["digest"]}


def test_an_original_that_equal_images_share_is_told_and_stays(api: Api, s3: "S3Client") -> None:
    photo = take_photo()
    first, second = upload(api, photo), upload(api, photo)

    receipts = [api("POST", f"/images/{uuid}/actions/erase").json() for uuid in (first, second)]

    originals = [each for receipt in receipts for each in receipt["objects"] if each["sha256"]]
    assert originals[0]["key"] == originals[1]["key"]
    assert [each["shared"] for each in originals] == [True, False]
    assert find_missing(s3, [originals[0]["key"]]) == [originals[0]["key"]]


def test_a_receipt_is_complete_only_when_the_store_has_deleted_everything(
    rt: Runtime, s3: "S3Client", deliver: Deliver, wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox(make_photo())
    rt.images.request(uuid, "by-hand.jpg", None, [Recipe(name="whole")], describe=False)
    assert deliver("process_image", ProcessingRequested.type, {"uuid": str(uuid)}) == 200
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject"}
    policy = {"Version": "2012-10-17", "Statement": [deny | {"Resource": f"arn:aws:s3:::{rt.gallery.name}/{uuid}/*"}]}
    s3.put_bucket_policy(Bucket=rt.gallery.name, Policy=json.dumps(policy))
    try:
        receipt = rt.images.erase(uuid, "test")
        rt.finisher.try_to_clean_up(uuid)
        begun = rt.privacy.get_receipt(receipt)
    finally:
        s3.delete_bucket_policy(Bucket=rt.gallery.name)
    assert (begun.completed_at, begun.digest) == (None, None)

    rt.finisher.clean_up(uuid)

    done = rt.privacy.get_receipt(receipt)
    assert done.completed_at
    [event] = AuditLog(rt.database).list(10, action="image_erased", subject=f"{uuid}")
    assert json.loads(event.details)["digest"] == done.digest


def test_a_receipt_is_not_complete_while_somebody_may_still_write_an_object(
    rt: Runtime, wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox(make_photo())
    with rt.claims.hold(uuid):
        receipt = rt.images.erase(uuid, "test")
        rt.finisher.clean_up(uuid)

        assert rt.privacy.get_receipt(receipt).completed_at is None


def test_a_receipt_is_missing_for_another_tenant(rt: Runtime, api: Api) -> None:
    receipt = api("POST", f"/images/{upload(api, take_photo())}/actions/erase").json()["id"]
    assert api("GET", f"/erasures/{receipt}").status_code == 200
    assert api("GET", f"/erasures/{uuid4()}").status_code == 404
    with acting_for("somebody-else"), rt.database.transaction() as tx:
        assert tx.rows("SELECT 1 FROM erasures") == []


def test_receipts_are_kept_for_as_long_as_the_audit_log(rt: Runtime, api: Api) -> None:
    receipt = api("POST", f"/images/{upload(api, take_photo())}/actions/erase").json()["id"]
    assert rt.privacy.purge(400) == 0
    with rt.database.transaction() as tx:
        tx.rows("UPDATE erasures SET completed_at = now() - interval '401 days' WHERE id = :id", id=UUID(receipt))
    with acting_for(DEFAULT_TENANT):
        assert rt.privacy.purge(400) == 1


def test_a_caller_is_told_how_much_is_recorded_about_it(api: Api) -> None:
    api("POST", f"/images/{upload(api, take_photo())}/actions/erase")

    told = api("GET", "/privacy", params={"principal": "anonymous"}).json()

    assert told["auditRecords"] >= 2
    assert told["firstRecordAt"] < told["lastRecordAt"]
    nobody = api("GET", "/privacy", params={"principal": "key:0000000000"}).json()
    assert (nobody["auditRecords"], nobody["keys"], nobody["firstRecordAt"]) == (0, 0, None)
    assert api("GET", "/privacy").status_code == 400


def find_purges(rt: Runtime, uuid: str) -> int:
    with rt.database.transaction() as tx:
        return len(tx.rows("SELECT 1 FROM purges WHERE tag = :tag", tag=f"image-{uuid}"))


def test_renditions_of_other_images_that_show_an_erased_image_go_with_it(rt: Runtime, api: Api, s3: "S3Client") -> None:
    mark, host = upload(api, take_photo()), upload(api, make_photo())
    operations = [{"kind": "watermark", "image": mark}]
    marked = {"name": "marked", "operations": operations, "output": {"format": "webp"}}
    assert api("POST", "/images/actions/process", json={"uuid": host, "renditions": [marked]}).status_code == 200
    wait_for(lambda: api("GET", f"/images/{host}/renditions/marked").status_code, lambda status: status == 200)
    recipe = read_recipe({"name": "by-url", "operations": operations, "output": {"format": "png"}})
    found = rt.delivery.engine.find(Order(image=UUID(host), lower=Constantly(recipe)))
    by_url = make_and_store(rt, found).stored.key

    receipt = api("POST", f"/images/{mark}/actions/erase").json()

    keys = [each["key"] for each in receipt["objects"]]
    assert receipt["completedAt"]
    assert by_url in keys
    assert sum(key.startswith(host) for key in keys) == 2
    assert find_missing(s3, keys) == keys
    assert api("GET", f"/images/{host}/renditions/marked").status_code == 404
    assert find_purges(rt, host)
    assert api("GET", f"/images/{host}/renditions/whole").status_code == 200


def test_a_receipt_is_not_complete_while_a_worker_may_publish_what_shows_the_image(
    rt: Runtime, wait_in_inbox: WaitInInbox, deliver: Deliver, expire_lease: Callable[[UUID], None]
) -> None:
    mark, host = wait_in_inbox(make_photo()), wait_in_inbox(make_photo())
    assert deliver("process_image", ProcessingRequested.type, {"uuid": str(mark)}) == 200
    recipe = read_recipe({"name": "marked", "operations": [{"kind": "watermark", "image": str(mark)}]})
    rt.images.request(host, "by-hand.jpg", None, [recipe], describe=False)
    with rt.claims.hold(host):
        rt.watermarks.note(host, recipe.hash, recipe.overlays)
        receipt = rt.images.erase(mark, "test")
        rt.finisher.clean_up(mark)
        assert rt.privacy.get_receipt(receipt).completed_at is None
    expire_lease(host)

    rt.finisher.clean_up(mark)

    assert rt.privacy.get_receipt(receipt).completed_at
