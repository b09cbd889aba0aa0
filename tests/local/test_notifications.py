import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from botocore.config import Config
from kafka import KafkaAdminClient, KafkaConsumer
from kafka_proxy import UNKNOWN_SERVER_ERROR, KafkaProxy

from infra.local.notifications import TOPIC, Message, Outbox, Receiver, to_message
from infra.local.ports import LOOPBACK
from infra.local.seaweedfs import Webhook
from infra.local.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "upload-images"
# MinIO's message, field by field. The parts in <> vary.
TEMPLATE = (
    '{"EventName":"s3:ObjectCreated:<action>","Key":"upload-images/<name>","Records":[{"eventVersion":"2.0",'
    '"eventSource":"minio:s3","awsRegion":"","eventTime":"<time>","eventName":"s3:ObjectCreated:<action>",'
    '"userIdentity":{"principalId":"local"},"requestParameters":{"principalId":"local","region":"",'
    '"sourceIPAddress":"127.0.0.1"},"responseElements":{"x-amz-id-2":"","x-amz-request-id":"<sequencer>",'
    '"x-minio-deployment-id":"local","x-minio-origin-endpoint":"http://127.0.0.1"},"s3":{"s3SchemaVersion":"1.0",'
    '"configurationId":"Config","bucket":{"name":"upload-images","ownerIdentity":{"principalId":"local"},'
    '"arn":"arn:aws:s3:::upload-images"},"object":{"key":"<escaped>",<described>,"sequencer":"<sequencer>"}},'
    '"source":{"host":"127.0.0.1","port":"","userAgent":"SeaweedFS"}}]}'
)


@pytest.fixture(scope="module")
def s3(store: dict[str, str]) -> "S3Client":
    client: S3Client = boto3.client(
        "s3",
        endpoint_url=store["S3_ENDPOINT_URL"],
        aws_access_key_id=store["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=store["S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture(scope="module")
def records(servers: str, admin: KafkaAdminClient, webhook: Webhook) -> Iterator[KafkaConsumer]:
    """The records of the topic."""
    admin.create_topics({TOPIC: {"num_partitions": 1, "replication_factor": 1}})
    receiver = Receiver(webhook.port, servers, webhook.token)
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    consumer = KafkaConsumer(TOPIC, bootstrap_servers=servers, auto_offset_reset="earliest", consumer_timeout_ms=10_000)
    yield consumer
    consumer.close()
    receiver.shutdown()
    thread.join()
    receiver.server_close()


def fill_template(**parts: str) -> bytes:
    text = TEMPLATE
    for name, value in parts.items():
        text = text.replace(f"<{name}>", value)
    return text.encode()


def test_the_notification_for_a_put_is_the_same_as_minios(s3: "S3Client", records: KafkaConsumer) -> None:
    s3.put_object(Bucket=BUCKET, Key="a b/ü+&.jpg", Body=b"hello", ContentType="image/jpeg", Metadata={"who": "me"})
    record = next(records)
    event = json.loads(record.value)["Records"][0]
    assert record.key.decode() == "upload-images/a b/ü+&.jpg"
    assert record.headers == []
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["eventTime"])
    assert re.fullmatch(r"[0-9A-F]{16}", event["s3"]["object"]["sequencer"])
    assert record.value == fill_template(
        action="Put",
        name="a b/ü+\\u0026.jpg",
        escaped="a+b%2F%C3%BC%2B%26.jpg",
        described='"size":5,"eTag":"5d41402abc4b2a76b9719d911017c592","contentType":"image/jpeg",'
        '"userMetadata":{"X-Amz-Meta-Who":"me","content-type":"image/jpeg"}',
        time=event["eventTime"],
        sequencer=event["s3"]["object"]["sequencer"],
    )


def test_only_new_content_causes_notifications(s3: "S3Client", records: KafkaConsumer) -> None:
    s3.put_object(Bucket=BUCKET, Key="once", Body=b"1")
    s3.put_object_tagging(Bucket=BUCKET, Key="once", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.delete_object(Bucket=BUCKET, Key="once")
    s3.put_object(Bucket=BUCKET, Key="twice", Body=b"1")
    s3.put_object(Bucket=BUCKET, Key="twice", Body=b"22")
    s3.put_object(Bucket=BUCKET, Key="empty", Body=b"")
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=1, Body=b"1")
    s3.complete_multipart_upload(
        Bucket=BUCKET,
        Key="parts",
        UploadId=upload,
        MultipartUpload={"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]},
    )
    events = [json.loads(next(records).value)["Records"][0] for _ in range(5)]
    objects = {(each["eventName"], each["s3"]["object"]["key"], each["s3"]["object"].get("size")) for each in events}
    assert objects == {
        ("s3:ObjectCreated:Put", "once", 1),
        ("s3:ObjectCreated:Put", "twice", 1),
        ("s3:ObjectCreated:Put", "twice", 2),
        ("s3:ObjectCreated:Put", "empty", None),
        ("s3:ObjectCreated:CompleteMultipartUpload", "parts", 1),
    }


def test_a_folder_causes_no_notification() -> None:
    notice: dict[str, Any] = {
        "event_type": "create",
        "key": "/buckets/upload-images/folder",
        "message": {"new_entry": {"name": "folder", "is_directory": True, "attributes": {"mtime": 1}}},
    }
    assert to_message(notice) is None


@pytest.mark.parametrize("authorization", [None, "Bearer guessed"])
def test_the_webhook_rejects_callers_without_the_token(
    records: KafkaConsumer, webhook: Webhook, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    response = requests.post(
        f"http://{LOOPBACK}:{webhook.port}/", json={"key": "/buckets/x"}, headers=headers, timeout=10
    )

    assert response.status_code == 401


def test_only_the_s3_port_of_the_store_serves_requests(settings: Settings, s3: "S3Client") -> None:
    s3.put_object(Bucket=BUCKET, Key="private", Body=b"private")
    listening: dict[str, int] = json.loads((settings.data_dir / "seaweedfs/listening.json").read_text())
    master, volume, filer = (f"http://{LOOPBACK}:{listening[name + '.port']}" for name in ("master", "volume", "filer"))

    for method, url in [
        ("GET", f"{filer}/buckets/{BUCKET}/private"),
        ("GET", f"{filer}/buckets/{BUCKET}/"),
        ("PUT", f"{filer}/buckets/{BUCKET}/another"),
        ("DELETE", f"{filer}/buckets/{BUCKET}/private"),
        ("GET", f"{master}/dir/assign"),
        ("GET", f"{master}/col/delete?collection={BUCKET}"),
        ("POST", f"{master}/submit"),
        ("GET", f"{volume}/1,0000000000"),
        ("POST", f"{volume}/1,0000000000"),
        ("DELETE", f"{volume}/1,0000000000"),
    ]:
        assert requests.request(method, url, data=b"x", timeout=10).status_code in (401, 404), url
    assert s3.get_object(Bucket=BUCKET, Key="private")["Body"].read() == b"private"


def test_notifications_that_kafka_rejects_are_sent_again_later(servers: str, admin: KafkaAdminClient) -> None:
    proxy = KafkaProxy(servers)
    consumer = KafkaConsumer(TOPIC, bootstrap_servers=servers, auto_offset_reset="latest", consumer_timeout_ms=20_000)
    consumer.poll(1000)  # now at the end of the topic
    outbox = Outbox(proxy.address)
    outbox.start()
    outbox.put(Message(b"before", b"{}"))
    assert next(consumer).key == b"before"

    proxy.produce = UNKNOWN_SERVER_ERROR
    for number in range(20):
        outbox.put(Message(b"%d" % number, b"{}"))
    time.sleep(2.5)
    proxy.produce = None

    missing = {b"%d" % number for number in range(20)} | {b"after"}
    outbox.put(Message(b"after", b"{}"))
    while missing:
        missing.discard(next(consumer).key)
    outbox.stop()
    consumer.close()
    proxy.close()


def test_a_client_that_breaks_off_leaves_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    receiver = Receiver(0, "127.0.0.1:1", "token")
    receiver.daemon_threads = False  # so that closing waits for them
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with socket.create_connection((LOOPBACK, receiver.server_port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets it
        client.sendall(b"GET / HTTP/1.1\r\n")
    receiver.shutdown()
    thread.join()
    receiver.server_close()

    assert capfd.readouterr().err == ""
