"""The caches outside that have to forget what was deleted or changed."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, SecretStr

from shared_lib.settings.environment import Branch, HttpUrl, Text, read_json


class PurgedCacheBase(BaseModel, frozen=True, extra="forbid", defer_build=True):
    """A cache in front of the service that forgets renditions by their tags."""


class FastlyCache(PurgedCacheBase):
    kind: Literal["fastly"]
    service: Text
    token: SecretStr
    url: HttpUrl = "https://api.fastly.com"


class CloudflareCache(PurgedCacheBase):
    kind: Literal["cloudflare"]
    zone: Text
    token: SecretStr
    url: HttpUrl = "https://api.cloudflare.com/client/v4"


class CloudFrontCache(PurgedCacheBase):
    kind: Literal["cloudfront"]
    distribution: Text
    access_key_id: Text
    secret_access_key: SecretStr
    url: HttpUrl = "https://cloudfront.amazonaws.com"


class SouinCache(PurgedCacheBase):
    kind: Literal["souin"]
    url: HttpUrl
    """Of its API, such as http://souin:8080/souin-api/souin."""
    token: SecretStr | None = None


class NginxCache(PurgedCacheBase):
    kind: Literal["nginx"]
    url: HttpUrl
    """It gets `PURGE <url>/<tag>`, and needs a module or a script for that."""
    token: SecretStr | None = None


class NginxFolder(PurgedCacheBase):
    kind: Literal["nginx-folder"]
    folder: Path
    """Of `proxy_cache_path`, on this machine, and writable."""


PurgedCache = FastlyCache | CloudflareCache | CloudFrontCache | SouinCache | NginxCache | NginxFolder


class Purge(Branch):
    """Caches outside that have to forget what was deleted or changed: `docs/delivery.md`."""

    prefix = "PURGE_"

    caches: Annotated[tuple[Annotated[PurgedCache, Field(discriminator="kind")], ...], BeforeValidator(read_json)] = ()
    """As JSON: `[{"kind": "fastly", "service": "…", "token": "…"}]`."""
