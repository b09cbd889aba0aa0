"""Create the buckets, their rules and the notification of uploads. Idempotent; used by bootstrap."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from shared_lib.settings import Store as StoreSettings
from shared_lib.storage.sdk import make_client, translating

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CORSRuleTypeDef, LifecycleRuleTypeDef

_EXISTS = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
_NOT_OFFERED = ("NotImplemented", "MethodNotAllowed")
_ABORT_UNFINISHED: "LifecycleRuleTypeDef" = {
    "ID": "unfinished-uploads",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
}


class StoreSetup:
    def __init__(self, settings: StoreSettings) -> None:
        self._client = make_client(settings)
        self._settings = settings

    def create_buckets(self) -> None:
        """Create missing buckets, and have unfinished multipart uploads removed after a day."""
        with translating():
            for bucket in (self._settings.upload_bucket, self._settings.completed_bucket):
                try:
                    self._client.create_bucket(Bucket=bucket)
                except ClientError as error:
                    if error.response["Error"]["Code"] not in _EXISTS:
                        raise
            with suppress(ClientError):  # not every S3 has lifecycle rules
                self._client.put_bucket_lifecycle_configuration(
                    Bucket=self._settings.upload_bucket, LifecycleConfiguration={"Rules": [_ABORT_UNFINISHED]}
                )

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Let pages of these origins put into the inbox. Return False if the store has no CORS rules per bucket."""
        rule: CORSRuleTypeDef = {
            "AllowedOrigins": list(origins),
            "AllowedMethods": ["PUT"],
            "AllowedHeaders": ["content-type", "if-none-match", "x-amz-checksum-sha256"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 600,
        }
        with translating():
            try:
                self._client.put_bucket_cors(
                    Bucket=self._settings.upload_bucket, CORSConfiguration={"CORSRules": [rule]}
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in _NOT_OFFERED:
                    raise
                return False
        return True

    def notify(self, arn: str) -> None:
        """Have the store notify its target `arn` of every new object in the inbox."""
        with translating():
            self._client.put_bucket_notification_configuration(
                Bucket=self._settings.upload_bucket,
                NotificationConfiguration={
                    "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]
                },
            )
