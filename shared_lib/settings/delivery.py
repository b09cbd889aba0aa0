"""Renditions on request, by the URLs of each dialect."""

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, SecretStr, field_validator, model_validator

from shared_lib.settings.environment import Branch, CommaSeparated, Seconds, split_at_commas


def _read_keys(text: object) -> object:
    """Read `id:hex,id:hex`. The first pair signs, and all verify."""
    if not isinstance(text, str):
        return text
    pairs = [pair.strip().partition(":") for pair in text.split(",")]
    return {name: key for name, _, key in pairs}


def _check_keys(keys: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, key in keys.items():
        if not re.fullmatch(r"[A-Za-z0-9]{1,16}", name):
            raise ValueError("an id has 1 to 16 letters or digits")
        if not re.fullmatch(r"([0-9a-fA-F]{2}){32,}", key.get_secret_value()):
            raise ValueError("a key has at least 64 hexadecimal digits, as `openssl rand -hex 32` makes them")
    return keys


class Delivery(Branch):
    """Renditions on request, by URL: `docs/delivery.md`."""

    prefix = "DELIVERY_"

    keys: Annotated[dict[str, SecretStr], BeforeValidator(_read_keys), AfterValidator(_check_keys)] = {}  # noqa: RUF012  pydantic copies it
    """Keys that sign URLs: `id:hex,id:hex`. The first one signs new URLs, and all verify."""
    shared_signatures: bool = True
    """Accept signatures by these keys themselves, which are good for every tenant's images: those of programs that have
    such a key, and of releases before 1.0."""
    max_lifetime_seconds: int = Field(default=31_536_000, ge=60, le=31_536_000)
    """Longest time that a link which this service signs is good for. It is also that of one whose caller names none."""
    unsigned: bool = False
    """Accept `unsafe` in place of a signature: whoever knows an image's uuid may have it in any size."""
    widths: Annotated[tuple[PositiveInt, ...], BeforeValidator(split_at_commas)] = ()
    """Widths that unsigned URLs may ask for, px, dpr included. Unset: any."""
    max_age_seconds: int = Field(default=3600, ge=0)
    """Time that caches use a rendition without asking again, unless its URL names its content."""
    wait_seconds: Seconds = 10
    """Time that a request waits for a rendition that another one makes."""
    new_per_hour: int = Field(default=100, ge=1)
    """New renditions of one image within an hour."""
    retention_days: int = Field(default=30, ge=1)
    """Time since its last use for which a rendition is stored."""


def _check_hex_list(text: SecretStr) -> SecretStr:
    if not re.fullmatch(r"([0-9a-fA-F]{2})+(,([0-9a-fA-F]{2})+)*", text.get_secret_value()):
        raise ValueError("must be hexadecimal digits, several values separated by commas")
    return text


HexList = Annotated[SecretStr, AfterValidator(_check_hex_list)]


class Imgproxy(Branch):
    """URLs in imgproxy's dialect, by imgproxy's own variables: `docs/dialects.md`."""

    prefix = "IMGPROXY_"

    key: HexList | None = None
    """Keys in hexadecimal digits. Any of them, with the salt at the same place, verifies a URL."""
    salt: HexList | None = None
    signature_size: int = Field(default=32, ge=8, le=32)
    """Bytes of a signature. Our least is 8: shorter ones can be guessed."""
    auto_webp: bool = False
    """Send WebP to callers who accept it, unless the URL names a format."""
    auto_avif: bool = False
    ttl: int = Field(default=31_536_000, ge=0)
    """Seconds that caches use a rendition."""

    presets: Annotated[str, Field(pattern=r"^$|^[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*$")] = ""
    """Named options: `name=option:argument/option:argument,name=…`. The one named `default` applies to every URL."""
    only_presets: bool = False
    """The first part of a URL is the names of presets, and there are no other options."""
    watermark_url: Annotated[str, Field(pattern=r"^(image://[0-9a-f-]{36})?$")] = ""
    """The stored image that `watermark` lays on, as `image://<uuid>`. Unset: that option does nothing."""
    watermark_opacity: Annotated[float, Field(ge=0, le=1)] = 1

    @model_validator(mode="after")
    def keys_have_salts(self) -> Self:
        if len(self.keys) != len(self.salts):
            raise ValueError("IMGPROXY_KEY and IMGPROXY_SALT must have as many values")
        return self

    @property
    def keys(self) -> tuple[bytes, ...]:
        return _read_hex_list(self.key)

    @property
    def salts(self) -> tuple[bytes, ...]:
        return _read_hex_list(self.salt)


def _read_hex_list(text: SecretStr | None) -> tuple[bytes, ...]:
    return tuple(map(bytes.fromhex, text.get_secret_value().split(","))) if text else ()


class Thumbor(Branch):
    """URLs in thumbor's dialect: `docs/dialects.md`."""

    prefix = "THUMBOR_"

    security_key: SecretStr | None = Field(default=None, min_length=16)
    """thumbor's SECURITY_KEY, which signs URLs."""
    max_age: int = Field(default=86_400, ge=0)
    """Seconds that caches use a rendition."""
    auto_webp: bool = False
    """Send WebP to callers who accept it, unless the URL names a format. The same for those that follow."""
    auto_avif: bool = False
    auto_jpg: bool = False
    """JPEG, but PNG for what has transparency."""
    auto_png: bool = False

    @property
    def is_negotiating(self) -> bool:
        return self.auto_webp or self.auto_avif or self.auto_jpg or self.auto_png


class Foreign(Branch):
    """Images on other servers that URLs in the dialects of imgproxy and thumbor may name: `docs/dialects.md`."""

    prefix = "FOREIGN_"

    sources: CommaSeparated = ()
    """Prefixes of their URLs, such as `https://images.example.com/`. Unset: none may be fetched."""
    networks: Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(split_at_commas)] = ()
    """Private networks that may be reached. Unset: public addresses only."""
    max_age_seconds: int = Field(default=86_400, ge=60)
    """Time until a server is asked whether its file has changed."""
    retention_days: int = Field(default=30, ge=1)
    """Time since the last use of its URL for which an image is stored."""

    @field_validator("sources")
    @classmethod
    def sources_are_prefixes(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for each in sources:
            if not re.fullmatch(r"https?://(\*|(\*\.)?[a-z0-9.-]+)(:\d+)?/[!-~]*", each):
                raise ValueError(
                    "must be prefixes such as https://images.example.com/ or https://*.example.com/photos/"
                )
        return sources
