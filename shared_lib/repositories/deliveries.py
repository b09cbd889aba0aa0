"""Renditions that URLs ask for: found, claimed, made, used, and expired.

Of an image and a recipe, one process at a time makes the rendition. Its claim has a deadline, so that another may
follow if it dies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from shared_lib.database.connection import Database
from shared_lib.database.driver import Prepared
from shared_lib.domain.images import ImageNotFound
from shared_lib.errors import FailureCode, Rejected, TooManyAttempts
from shared_lib.pipeline.formats import Format
from shared_lib.repositories import stocks
from shared_lib.repositories.rows import OF_TENANT, require_published
from shared_lib.repositories.watermarks import Watermarks
from shared_lib.settings import Quotas

_ABSENT_SECONDS = 2  # until it helps to ask again, as for an image that is being processed
TOO_MANY = "Too many new renditions of this image within an hour"
_BY_CONTENT_TYPE = {form.content_type: form for form in Format}

# A caller's own: row-level security shows no other.
_FIND_IMAGE = """
    SELECT i.uuid, i.tenant_id, i.status, i.filename, i.sha256, i.original_key, i.content_type, i.size_bytes,
           i.width, i.height, i.collection_id, t.links_since
    FROM images i LEFT JOIN tenants t ON t.id = i.tenant_id
    WHERE i.tenant_id = :tenant AND i.uuid = :uuid AND i.deleted_at IS NULL AND i.status <> 'awaiting_upload'
"""
# Whoever has a signed URL may have the image, whatever its tenant is. Migration 0032 has what this finds: the image,
# and of its rendition what made it, or else its claim or failure.
_FIND = Prepared(f"SELECT * FROM find_rendition(:uuid, :recipe) WHERE {OF_TENANT}")
_CLAIM = Prepared("""
    INSERT INTO deliveries AS d (tenant_id, image_id, recipe_hash, claim, claimable_at)
    SELECT i.tenant_id, i.uuid, :recipe, :claim, now() + make_interval(secs => :seconds) FROM images i
    WHERE i.uuid = :uuid AND i.deleted_at IS NULL AND i.status = 'succeeded' AND (
        EXISTS (SELECT 1 FROM deliveries WHERE image_id = :uuid AND recipe_hash = :recipe)
        OR (SELECT count(*) FROM deliveries WHERE image_id = :uuid AND created_at > now() - interval '1 hour') < :most)
    ON CONFLICT (image_id, recipe_hash) DO UPDATE
    SET claim = excluded.claim, claimable_at = excluded.claimable_at, failure_code = NULL, failure_message = NULL
    WHERE d.claim = excluded.claim OR (d.key IS NULL AND d.claimable_at < now())
    RETURNING claim
""")
# Without a condition on the claim: whoever makes it makes the same.
_COMPLETE = Prepared("""
    UPDATE deliveries SET key = :key, content_type = :content_type, size_bytes = :size_bytes, used_at = now(),
                          claim = NULL, claimable_at = NULL, failure_code = NULL, failure_message = NULL
    WHERE image_id = :uuid AND recipe_hash = :recipe
    AND EXISTS (SELECT 1 FROM images WHERE uuid = :uuid AND deleted_at IS NULL)
    RETURNING key
""")
_FAIL = """
    UPDATE deliveries SET claim = NULL, claimable_at = now() + make_interval(secs => :seconds),
                          failure_code = :code, failure_message = :message
    WHERE image_id = :uuid AND recipe_hash = :recipe AND claim = :claim
"""
_HAS_MANY = """
    SELECT count(*) >= :most AS has_many FROM deliveries
    WHERE image_id = :uuid AND created_at > now() - interval '1 hour'
"""
_RELEASE = "DELETE FROM deliveries WHERE image_id = :uuid AND recipe_hash = :recipe AND claim = :claim"
_FORGET = "DELETE FROM deliveries WHERE image_id = :uuid AND recipe_hash = :recipe AND key = :key"
_TOUCH = "UPDATE deliveries SET used_at = now() WHERE image_id = :uuid AND recipe_hash = :recipe"
_EXPIRE = """
    DELETE FROM deliveries WHERE (image_id, recipe_hash) IN (
        SELECT image_id, recipe_hash FROM deliveries WHERE used_at < now() - make_interval(days => :days)
        AND (claimable_at IS NULL OR claimable_at < now()) ORDER BY used_at LIMIT :batch FOR UPDATE SKIP LOCKED)
    RETURNING image_id
"""


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """A processed image as its row describes it."""

    uuid: UUID
    tenant: str
    filename: str
    sha256: str
    original_key: str
    form: Format
    size_bytes: int
    width: int
    """px, upright"""
    height: int
    """px, upright"""
    collection_id: UUID | None
    links_since: datetime | None
    """Signed links that were issued before are revoked."""


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A rendition's object in the gallery."""

    key: str
    content_type: str
    size: int
    is_long_unused: bool = False
    """Its last recorded use is so long ago that this one should be recorded."""


@dataclass(frozen=True, slots=True)
class Claimable:
    """Nobody makes it now."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Another process makes it."""


State = StoredDelivery | Claimable | Claimed | Rejected
"""Of a rendition. Rejected: an attempt to make it ended with that lately."""


class Deliveries:
    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    def find_image(self, uuid: UUID) -> PublishedImage:
        """Return an image of the caller's tenant. Raises NotFound, with a code of its own while it is processed."""
        with self._database.transaction() as tx:
            row = next(iter(tx.last(_FIND_IMAGE, uuid=uuid)), None)
        return _to_image(_require_published(row))

    def find_both(self, uuid: UUID, recipe_hash: str | None) -> tuple[PublishedImage, State]:
        """Return an image of any tenant and its rendition in one look. Raises NotFound like `find_image`."""
        published = _require_published(self._look_up(uuid, recipe_hash))
        return _to_image(published), _to_state(published)

    def find(self, uuid: UUID, recipe_hash: str) -> State:
        """Return a rendition's state. If the image is gone, it is Claimable, and a claim then raises NotFound."""
        row = self._look_up(uuid, recipe_hash)
        return _to_state(row) if row else Claimable()

    def _look_up(self, uuid: UUID, recipe_hash: str | None) -> dict[str, Any] | None:
        with self._database.transaction() as tx:
            return next(iter(tx.last(_FIND, uuid=uuid, recipe=recipe_hash)), None)

    def claim(
        self, uuid: UUID, recipe_hash: str, *, seconds: float, most: int, overlays: Sequence[UUID] = ()
    ) -> UUID | None:
        """Claim a rendition for so long, or return None if another process was quicker.

        Raises NotFound if the image is gone, TooManyAttempts if `most` renditions of it were begun within an hour, and
        Forbidden if its tenant has no room for further ones.
        """
        if overlays:
            Watermarks(self._database).note(uuid, recipe_hash, overlays)
        claim = uuid4()
        columns = {"uuid": uuid, "recipe": recipe_hash, "claim": claim, "seconds": seconds, "most": most}
        with self._database.transaction(durable=False) as tx:  # if that is lost, another process claims it
            if self._quotas.renditions:
                stocks.lock(tx, self._quotas)
                if tx.rows(_CLAIM, **columns):
                    stocks.check_renditions(tx, self._quotas)
                    return claim
            elif tx.last(_CLAIM, **columns):
                return claim
        found = self._look_up(uuid, recipe_hash)
        if found is None:
            raise ImageNotFound
        has_begun = found["made_key"] is not None or found["is_claimable"] is not None
        if not has_begun and self._has_many(uuid, most):  # or else the one that was quicker has given it up since
            raise TooManyAttempts(TOO_MANY, code="too_many_renditions", retry_after=600)
        return None

    def _has_many(self, uuid: UUID, most: int) -> bool:
        with self._database.transaction() as tx:
            return bool(tx.last(_HAS_MANY, uuid=uuid, most=most)[0]["has_many"])

    def complete(self, uuid: UUID, recipe_hash: str, made: StoredDelivery) -> bool:
        """Record where the rendition is stored. Return False if the image is gone."""
        with self._database.transaction(durable=False) as tx:  # if that is lost, it is made again
            rows = tx.last(
                _COMPLETE,
                uuid=uuid,
                recipe=recipe_hash,
                key=made.key,
                content_type=made.content_type,
                size_bytes=made.size,
            )
        return bool(rows)

    def fail(self, uuid: UUID, recipe_hash: str, claim: UUID, reason: Rejected, *, seconds: float) -> None:
        """End a claim with a reason, which counts for so long."""
        with self._database.transaction() as tx:
            tx.rows(
                _FAIL,
                uuid=uuid,
                recipe=recipe_hash,
                claim=claim,
                code=reason.code,
                message=reason.public,
                seconds=seconds,
            )

    def release(self, uuid: UUID, recipe_hash: str, claim: UUID) -> None:
        """End a claim as if it had not been."""
        with self._database.transaction() as tx:
            tx.rows(_RELEASE, uuid=uuid, recipe=recipe_hash, claim=claim)

    def forget(self, uuid: UUID, recipe_hash: str, key: str) -> None:
        """Forget a rendition whose object is missing, so that it is made again."""
        with self._database.transaction() as tx:
            tx.rows(_FORGET, uuid=uuid, recipe=recipe_hash, key=key)

    def touch(self, uuid: UUID, recipe_hash: str) -> None:
        """Record a use."""
        with self._database.transaction(durable=False) as tx:  # if that is lost, the next use is recorded
            tx.last(_TOUCH, uuid=uuid, recipe=recipe_hash)

    def expire(self, days: int, batch: int) -> int:
        """Forget a batch of renditions unused for so many days. Return how many."""
        with self._database.transaction() as tx:
            return len(tx.rows(_EXPIRE, days=days, batch=batch))


def describe_absence() -> ImageNotFound:
    """Return the error for an image that is not there, or that the caller may not know of."""
    return ImageNotFound(retry_after=_ABSENT_SECONDS)


def _require_published(row: dict[str, Any] | None) -> dict[str, Any]:
    """Raises NotFound. An image that is missing may be about to be uploaded, so caches must not keep that."""
    if row is None:
        raise describe_absence()
    return require_published(row)


def _to_image(row: dict[str, Any]) -> PublishedImage:
    """Raises Rejected if another release has published it, in a format that this one doesn't know."""
    form = _BY_CONTENT_TYPE.get(row["content_type"])
    if form is None:
        sentence = f"This release cannot read {row['content_type']}: ask for the original"
        raise Rejected(FailureCode.UNSUPPORTED_FORMAT, sentence)
    return PublishedImage(
        uuid=row["uuid"],
        tenant=row["tenant_id"],
        filename=row["filename"],
        sha256=row["sha256"],
        original_key=row["original_key"],
        form=form,
        size_bytes=row["size_bytes"],
        width=row["width"],
        height=row["height"],
        collection_id=row["collection_id"],
        links_since=row["links_since"],
    )


def _to_state(row: dict[str, Any]) -> State:
    """Read the columns of a rendition, which are all NULL if nobody has claimed it yet."""
    if row["is_claimable"]:
        return Claimable()  # also after a failure that counts no more
    if row["made_key"]:
        return StoredDelivery(row["made_key"], row["made_type"], row["made_size"], row["is_long_unused"])
    if code := row["failure_code"]:
        return Rejected(FailureCode.read(code), row["failure_message"])
    return Claimed() if row["is_claimable"] is False else Claimable()
