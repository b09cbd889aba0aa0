"""boto3, for what only bootstrap requests. It loads in a quarter of a second, so `store.py` does without it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError, SSLError

from shared_lib.errors import Misconfigured, RequestRejected, Unavailable
from shared_lib.settings import Store as StoreSettings
from shared_lib.storage.store import STORE, name_failure

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@contextmanager
def translating() -> Iterator[None]:
    """Translate boto3's errors into the service's."""
    try:
        yield
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise name_failure(status, error.response["Error"]["Code"]) from error
    except SSLError as error:
        raise Misconfigured(STORE) from error
    except ParamValidationError as error:
        raise RequestRejected(f"{STORE} does not support this request") from error
    except (BotoCoreError, HTTPClientError) as error:
        raise Unavailable(f"{STORE} is out of reach") from error


def make_client(settings: StoreSettings) -> "S3Client":
    key, secret = settings.access_key_id, settings.secret_access_key
    session = boto3.session.Session(
        aws_access_key_id=key.get_secret_value() if key else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        region_name=settings.region,
    )
    return session.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        verify=settings.ca_file,  # None: the system's authorities
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=settings.timeout_seconds,
            read_timeout=settings.timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": 3},
            # Not every S3 knows the newer checksum trailers.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
