"""The API as callers see it: access, rates, and a tenant's quotas."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from shared_lib.addresses import check_http_url, is_loopback
from shared_lib.constraints import DEFAULT_TENANT, TENANT_ID
from shared_lib.settings.environment import Branch, CommaSeparated, HttpUrl, Text, read_json

Networks = tuple[IPv4Network | IPv6Network, ...]
PRIVATE: Networks = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1/128"),
    )
)


def _read_proxies(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return int(text) if text.isdecimal() else tuple(ip_network(each.strip()) for each in text.split(","))
    except ValueError as error:
        raise ValueError(f"must be a number of proxies, or networks such as 10.4.0.0/16,fd00::/8 ({error})") from error


class Http(Branch):
    """The API as callers see it."""

    prefix = "HTTP_"

    public_base_url: HttpUrl | None = None
    """Scheme and host of absolute links, and the API's own origin. Unset: links are relative."""
    trusted_proxies: Annotated[int | Networks, BeforeValidator(_read_proxies)] = PRIVATE
    """The proxies that are believed about the client's address in X-Forwarded-For, counted from its right end: a number
    of them, or all in these networks."""
    cors_allow_origins: CommaSeparated = ()
    """Further origins whose pages may use the API: comma-separated, or `*` for all."""


TenantName = Annotated[str, Field(pattern=f"^{TENANT_ID.pattern}$")]
RoleName = Literal["viewer", "editor", "admin"]


def _check_issuer(url: str) -> str:
    check_http_url(url)
    if not url.startswith("https:") and not is_loopback(urlsplit(url).hostname or ""):
        raise ValueError("must begin with https://, unless it is on this machine")
    return url


def _read_path(claim: object) -> object:
    return (claim,) if isinstance(claim, str) else claim


IssuerUrl = Annotated[str, AfterValidator(_check_issuer)]


class Issuer(BaseModel, frozen=True, extra="forbid", defer_build=True):
    """An issuer of bearer tokens, such as a realm of Keycloak."""

    issuer: IssuerUrl
    """Exactly as the tokens' `iss` has it."""
    audience: Text
    """The tokens' `aud` has to contain it."""
    algorithms: Annotated[tuple[Literal["RS256", "PS256", "ES256", "EdDSA"], ...], Field(min_length=1)] = ("RS256",)
    types: Annotated[tuple[Annotated[Text, AfterValidator(str.lower)], ...], Field(min_length=1)] = ("at+jwt",)
    """The tokens' `typ`. RFC 9068 says at+jwt. Issuers that know no better say JWT."""
    roles_claim: Annotated[tuple[Text, ...], BeforeValidator(_read_path), Field(min_length=1)] = ("roles",)
    """The claim that holds a token's roles: its name, or the names on the way to it."""
    roles: dict[Text, RoleName] = {"viewer": "viewer", "editor": "editor", "admin": "admin"}
    """The issuer's names of roles, and ours."""
    tenant: TenantName = DEFAULT_TENANT
    """The tenant that its tokens act for."""
    tenant_claim: Annotated[tuple[Text, ...] | None, BeforeValidator(_read_path)] = None
    """The claim that names a token's tenant, if the issuer serves several: its name, or the names on the way to it."""
    keys_url: IssuerUrl | None = None
    """Its JWK Set. Unset: where its /.well-known/openid-configuration says."""


def _check_issuers(issuers: tuple[Issuer, ...]) -> tuple[Issuer, ...]:
    if len({each.issuer for each in issuers}) < len(issuers):
        raise ValueError("names an issuer twice")
    return issuers


class Auth(Branch):
    """Access to the API."""

    prefix = "AUTH_"

    mode: Literal["required", "anonymous"] = "required"
    """`anonymous`: callers without credentials may do everything. Only where no other machine reaches the API."""
    issuers: Annotated[tuple[Issuer, ...], BeforeValidator(read_json), AfterValidator(_check_issuers)] = ()
    """Issuers whose bearer tokens are accepted, as JSON: `[{"issuer": "https://…", "audience": "images"}]`."""


class Rates(Branch):
    """Requests of one principal, or tenant, in a minute. They may come at once. Anonymous callers are not limited."""

    prefix = "RATE_"

    requests_per_minute: int = Field(default=3000, ge=0)
    """0: no limit."""
    uploads_per_minute: int = Field(default=300, ge=0)
    """Uploads that begin, directly or by a URL. 0: no limit."""
    previews_per_minute: int = Field(default=120, ge=0)
    """Recipes that are tried out. 0: no limit."""
    decoder_seconds_per_minute: int = Field(default=600, ge=0)
    """Seconds for which workers decode what one caller asked for. They are counted afterward. 0: no limit."""
    tenant_requests_per_minute: int = Field(default=12_000, ge=0)
    """Requests of all callers of a tenant together. 0: no limit."""
    tenant_uploads_per_minute: int = Field(default=1200, ge=0)
    """Uploads of all callers of a tenant together. 0: no limit."""
    tenant_decoder_seconds_per_minute: int = Field(default=2400, ge=0)
    """Seconds for which workers decode a tenant's images. They are counted afterward. 0: no limit."""


class Quotas(Branch):
    """A tenant's limits. An object that another S3 client puts into the inbox counts, and is never refused."""

    prefix = "QUOTA_"

    images: int = Field(default=0, ge=0)
    """0: no limit."""
    bytes: int = Field(default=0, ge=0)
    """Of originals, and of uploads that were announced. 0: no limit."""
    open_uploads: int = Field(default=0, ge=0)
    """Uploads that were announced, by a URL or in parts, and have not come. 0: no limit."""
    waiting_images: int = Field(default=0, ge=0)
    """Images that have arrived, and wait for a worker or have one. 0: no limit."""
    renditions: int = Field(default=0, ge=0)
    """Renditions, made or requested, also by a URL. 0: no limit."""


NO_QUOTAS = Quotas()


class Audit(Branch):
    """The record of who did what."""

    prefix = "AUDIT_"

    retention_days: int = Field(default=400, ge=90)
    """Time that records are kept. The database keeps them for 90 days, whoever deletes."""
