"""Rendition requests: stored beside the image, and carried out by the worker that claims it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ValidationError

from shared_lib.database.connection import Transaction
from shared_lib.database.driver import Prepared
from shared_lib.errors import Conflict, FailureCode
from shared_lib.validation import describe_mistake

if TYPE_CHECKING:
    from shared_lib.pipeline.recipe import Recipe
    from shared_lib.pipeline.rendition import FailedRecipe, Rendition

MAX_RENDITIONS = 100
"""Of one image, made or requested."""


class TooManyRenditions(Conflict):
    public = f"An image has at most {MAX_RENDITIONS} renditions"
    code = "too_many_renditions"


_INSERT_REQUEST = """
    INSERT INTO rendition_requests (tenant_id, image_id, name, recipe_hash, recipe)
    SELECT tenant_id, uuid, :name, :hash, CAST(:recipe AS jsonb) FROM images WHERE uuid = :uuid ON CONFLICT DO NOTHING
"""
# All renditions of the image are returned: those that are saved now, and the others.
_FULFILL = Prepared("""
    WITH made AS (
        SELECT * FROM unnest(CAST(:names AS text[]), CAST(:hashes AS text[]), CAST(:keys AS text[]),
                             CAST(:content_types AS text[]), CAST(:widths AS integer[]), CAST(:heights AS integer[]),
                             CAST(:sizes AS bigint[]))
            AS made (name, recipe_hash, key, content_type, width, height, size_bytes)
    ), fulfilled AS (
        DELETE FROM rendition_requests q USING made
        WHERE q.image_id = :uuid AND q.name = made.name AND q.recipe_hash = made.recipe_hash RETURNING q.name
    ), saved AS (
        INSERT INTO renditions (tenant_id, image_id, name, recipe_hash, key, content_type, width, height, size_bytes)
        SELECT i.tenant_id, i.uuid, made.* FROM made JOIN images i ON i.uuid = :uuid
        WHERE :unrequested OR name IN (SELECT name FROM fulfilled)
        ON CONFLICT (image_id, name) DO UPDATE SET
            recipe_hash = excluded.recipe_hash, key = excluded.key, content_type = excluded.content_type,
            width = excluded.width, height = excluded.height, size_bytes = excluded.size_bytes
        RETURNING name, content_type, width, height, size_bytes
    )
    SELECT * FROM saved UNION ALL
    SELECT name, content_type, width, height, size_bytes FROM renditions
    WHERE image_id = :uuid AND name NOT IN (SELECT name FROM saved) ORDER BY name
""")
# One statement, because a tenant's lock may be held meanwhile. A recipe that used up a worker's time or memory, or
# crashed it, is not tried again at once, but after a minute, then two, four … A recipe's rendition may exist already,
# under its name or another. All parts see the tables as they were before.
_ADD = """
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:names AS text[]), CAST(:hashes AS text[]), CAST(:recipes AS text[]))
            AS wanted (name, recipe_hash, recipe)
        WHERE NOT EXISTS (
            SELECT FROM rendition_requests q
            WHERE q.image_id = :uuid AND q.name = wanted.name AND q.recipe_hash = wanted.recipe_hash
            AND q.failure_code IN ('decoder_timeout', 'decoder_out_of_memory', 'decoder_crashed')
            AND q.failed_at + make_interval(mins => least(power(2, q.failures - 1), 1440)::integer) > now())
    ), made AS (
        SELECT DISTINCT ON (w.name) r.tenant_id, r.image_id, w.name, r.recipe_hash, r.key, r.content_type, r.width,
                                    r.height, r.size_bytes
        FROM wanted w JOIN renditions r ON r.image_id = :uuid AND r.recipe_hash = w.recipe_hash
        ORDER BY w.name, r.name = w.name DESC
    ), reused AS (
        INSERT INTO renditions (tenant_id, image_id, name, recipe_hash, key, content_type, width, height, size_bytes)
        SELECT * FROM made ON CONFLICT (image_id, name) DO UPDATE SET
            recipe_hash = excluded.recipe_hash, key = excluded.key, content_type = excluded.content_type,
            width = excluded.width, height = excluded.height, size_bytes = excluded.size_bytes
    ), dropped AS (
        DELETE FROM rendition_requests q USING made WHERE q.image_id = :uuid AND q.name = made.name
    ), requested AS (
        INSERT INTO rendition_requests AS q (tenant_id, image_id, name, recipe_hash, recipe)
        SELECT i.tenant_id, i.uuid, w.name, w.recipe_hash, CAST(w.recipe AS jsonb)
        FROM wanted w JOIN images i ON i.uuid = :uuid WHERE w.name NOT IN (SELECT name FROM made)
        ON CONFLICT (image_id, name) DO UPDATE SET
            recipe_hash = excluded.recipe_hash, recipe = excluded.recipe, failure_code = NULL, failure_message = NULL,
            failed_at = CASE WHEN q.recipe_hash = excluded.recipe_hash THEN q.failed_at END,
            failures = CASE WHEN q.recipe_hash = excluded.recipe_hash THEN q.failures ELSE 0 END
        RETURNING q.name
    )
    SELECT EXISTS (SELECT FROM requested) AS pending, (
        SELECT count(*) FROM (SELECT name FROM renditions WHERE image_id = :uuid
                              UNION SELECT name FROM rendition_requests WHERE image_id = :uuid
                              UNION SELECT name FROM wanted) known) AS names
"""
_LIST_PENDING = Prepared("""
    SELECT name, recipe_hash, recipe FROM rendition_requests
    WHERE image_id = :uuid AND failure_code IS NULL ORDER BY name
""")
# A release may change what a recipe's hash is made of.
_UPDATE_HASH = "UPDATE rendition_requests SET recipe_hash = :hash WHERE image_id = :uuid AND name = :name"
_MARK_FAILED = """
    UPDATE rendition_requests SET failure_code = :code, failure_message = :message,
                                  failed_at = now(), failures = failures + 1
    WHERE image_id = :uuid AND name = :name AND recipe_hash = :hash
"""


def add(tx: Transaction, uuid: UUID, recipes: Sequence["Recipe"]) -> bool:
    """Request renditions. Return whether any is to be made.

    One of the same name as another is replaced as soon as the new one is made. One that failed for its cost stays
    failed for a while, twice as long each time. Raises Conflict if the image would have too many.
    """
    if not recipes:
        return False
    named = {recipe.name: recipe for recipe in recipes}
    added = tx.rows(
        _ADD,
        uuid=uuid,
        names=[*named],
        hashes=[each.hash for each in named.values()],
        recipes=[_write(each) for each in named.values()],
    )[0]
    if added["names"] > MAX_RENDITIONS:
        raise TooManyRenditions
    return bool(added["pending"])


def list_pending(tx: Transaction, uuid: UUID) -> tuple[tuple["Recipe", ...], bool]:
    """Return the recipes still to be made, and whether any failed while they were read.

    A stored recipe that this release cannot read fails alone.
    """
    from shared_lib.pipeline.recipe_schema import read_recipe  # noqa: PLC0415  most functions read none

    recipes, some_failed = [], False
    for row in tx.rows(_LIST_PENDING, uuid=uuid):
        try:
            recipe = read_recipe(row["recipe"])
        except ValidationError as error:
            tx.rows(_MARK_FAILED, uuid=uuid, name=row["name"], hash=row["recipe_hash"], **_describe(error))
            some_failed = True
            continue
        if recipe.hash != row["recipe_hash"]:
            tx.rows(_UPDATE_HASH, uuid=uuid, name=recipe.name, hash=recipe.hash)
        recipes.append(recipe)
    return tuple(recipes), some_failed


def _write(recipe: "Recipe") -> str:
    from shared_lib.pipeline.recipe_schema import write_recipe  # noqa: PLC0415  most functions write none

    return write_recipe(recipe)


def _describe(error: ValidationError) -> dict[str, str]:
    mistake = error.errors()[0]
    path = ".".join(map(str, mistake["loc"])) or "recipe"
    return {
        "code": FailureCode.UNSUPPORTED_RECIPE.value,
        "message": f"This release cannot carry out the recipe ({path}: {describe_mistake(mistake)}). Request it again.",
    }


def fulfill(
    tx: Transaction, uuid: UUID, made: Sequence["Rendition"], keys: Mapping[str, str], *, unrequested: bool
) -> list[dict[str, Any]]:
    """Save renditions, delete their requests, and commit. A thumbnail has no key.

    A request is kept if its name was requested with another recipe meanwhile. With `unrequested`, also save renditions
    that nobody requested: those that every image gets. Return all renditions that the image has now, by name.
    """
    return tx.last(
        _FULFILL,
        uuid=uuid,
        names=[each.name for each in made],
        hashes=[each.recipe.hash for each in made],
        keys=[keys.get(each.name) for each in made],
        content_types=[each.content_type for each in made],
        widths=[each.width for each in made],
        heights=[each.height for each in made],
        sizes=[len(each.data) for each in made],
        unrequested=unrequested,
    )


def fail(tx: Transaction, uuid: UUID, failed: Iterable["FailedRecipe"], *, unrequested: bool) -> None:
    """Record why renditions cannot be made. A new request tries again, for a costly one only after a while.

    With `unrequested`, also record those that nobody requested: those that every image gets.
    """
    for each in failed:
        request = {"uuid": uuid, "name": each.recipe.name, "hash": each.recipe.hash}
        if unrequested:
            tx.rows(_INSERT_REQUEST, **request, recipe=_write(each.recipe))
        tx.rows(_MARK_FAILED, **request, code=each.reason.code, message=each.reason.public)
