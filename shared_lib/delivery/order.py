"""An order: the image, the recipe and the lifetime that a URL asks for, in any dialect."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from shared_lib.errors import Invalid
from shared_lib.pipeline.recipe import Recipe
from shared_lib.repositories.deliveries import PublishedImage

Fetching = Literal["never", "signed", "always"]
"""URLs that may name images on other servers."""

ORIGINAL = Recipe(name="original")
"""Stands for the original as it is. Nothing is made of it."""

LATEST = 253_402_300_799
"""The last second of the year 9999, Unix time. No URL can expire later."""

_BRIEF_SECONDS = 60  # for which caches keep what takes another rendition's place


@dataclass(frozen=True, slots=True)
class Constantly:
    """Lowers to one recipe, whatever the image is."""

    recipe: Recipe

    def __call__(self, _: PublishedImage) -> Recipe:
        return self.recipe


DELIVER_ORIGINAL = Constantly(ORIGINAL)


def covers_all(_: PublishedImage) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Widths:
    """The widths that unsigned URLs may ask for, in any dialect."""

    allowed: frozenset[int] = frozenset()
    """px, dpr included. Empty: any."""

    def check(self, asked: int | None) -> None:
        """Check the width that a URL asks for, px. Nothing that it delivers may be wider.

        None: the URL names none, or what it delivers may be wider. Raises Invalid.
        """
        if self.allowed and asked not in self.allowed:
            message = f"is one of {', '.join(map(str, sorted(self.allowed)))} unless the URL is signed"
            raise Invalid(f"w: {message}", details=[{"parameter": "w", "message": message}])


@dataclass(frozen=True, kw_only=True)
class Order:
    image: UUID
    source: str = ""
    """URL of a foreign image, in place of `image`. It may begin with `//`, without a scheme."""
    tenant: str | None = None
    """Whose image it has to be. None: any tenant's."""
    issued_at: int | None = None
    """When the URL was signed, as Unix time, s. None: it can't be revoked."""
    lower: Callable[[PublishedImage], Recipe]
    """Return the recipe, or ORIGINAL. It may depend on the image's size and format. Raises Invalid and NotFound."""
    covers: Callable[[PublishedImage], bool] = covers_all
    """Return whether the URL may deliver this image."""
    describe: Callable[[PublishedImage], dict[str, Any]] | None = None
    """Return the JSON that is delivered in the rendition's place. Raises Invalid."""
    lower_meanwhile: Callable[[PublishedImage], Recipe] | None = None
    """Return the recipe to deliver until the other one is made, behind it. None: the caller waits."""
    has_fallback: bool = False
    """If the rendition can't be made, the original is delivered."""
    preset: str = ""
    """The preset that the URL names."""
    is_negotiated: bool = False
    """The recipe depends on what the caller accepts."""
    content: str | None = None
    """First hexadecimal digits of the original's SHA-256. The order is for no other content."""
    is_lasting: bool = False
    """The URL always means the same bytes."""
    lifetime: int | None = None
    """Seconds that caches may use it. None: by our own settings."""
    expires_at: datetime | None = None
    is_attachment: bool = False
    filename: str = ""
    """Of a copy that is saved, without its extension. Empty: the image's uuid."""

    def fall_back(self) -> "Order":
        return replace(self.for_now(), lower=DELIVER_ORIGINAL, lower_meanwhile=None, has_fallback=False)

    def for_now(self) -> "Order":
        return replace(self, is_lasting=False, lifetime=_BRIEF_SECONDS)
