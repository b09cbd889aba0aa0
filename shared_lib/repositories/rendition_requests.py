"""Renditions that were asked for: written down beside the image, and carried out by whoever claims it."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from pydantic import ValidationError

from shared_lib.database.connection import Transaction
from shared_lib.errors import Conflict, FailureCode
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.recipe_schema import read_recipe, write_recipe
from shared_lib.pipeline.rendition import FailedRecipe, Rendition
from shared_lib.validation import describe_mistake

MAX_RENDITIONS = 100
"""Of one image, made or ordered."""

_WITHDRAW = "DELETE FROM rendition_orders WHERE image_id = :uuid AND name = :name"
_WRITE = """
    INSERT INTO renditions (image_id, name, recipe_hash, key, content_type, width, height, size_bytes)
    {rendition}
    ON CONFLICT (image_id, name) DO UPDATE SET
        recipe_hash = excluded.recipe_hash, key = excluded.key, content_type = excluded.content_type,
        width = excluded.width, height = excluded.height, size_bytes = excluded.size_bytes
    RETURNING name
"""
_KEEP = _WRITE.format(rendition="VALUES (:uuid, :name, :hash, :key, :content_type, :width, :height, :size)")
# What the recipe makes may lie there already, under this name or another.
_REUSE = _WRITE.format(
    rendition="""SELECT image_id, :name, recipe_hash, key, content_type, width, height, size_bytes
    FROM renditions WHERE image_id = :uuid AND recipe_hash = :hash ORDER BY name = :name DESC LIMIT 1"""
)
_PLACE = """
    INSERT INTO rendition_orders (image_id, name, recipe_hash, recipe)
    VALUES (:uuid, :name, :hash, CAST(:recipe AS jsonb))
"""
_OUTSTANDING = """
    SELECT name, recipe_hash, recipe FROM rendition_orders WHERE image_id = :uuid AND failure_code IS NULL ORDER BY name
"""
# What a recipe's hash is made of may have changed with a release.
_REHASH = "UPDATE rendition_orders SET recipe_hash = :hash WHERE image_id = :uuid AND name = :name"
# What used up a decoder's time or memory, or killed it, is not tried again at once: after a minute, then two, four …
_COOLING = """
    SELECT 1 FROM rendition_orders WHERE image_id = :uuid AND name = :name AND recipe_hash = :hash
    AND failure_code IN ('decoder_timeout', 'decoder_out_of_memory', 'decoder_crashed')
    AND refused_at + make_interval(mins => least(power(2, refusals - 1), 1440)::integer) > now()
"""
_AGAIN = """
    UPDATE rendition_orders SET failure_code = NULL, failure_message = NULL
    WHERE image_id = :uuid AND name = :name AND recipe_hash = :hash AND failure_code IS NOT NULL RETURNING name
"""
_COUNT = """
    SELECT count(*) AS names FROM (SELECT name FROM renditions WHERE image_id = :uuid
                                   UNION SELECT name FROM rendition_orders WHERE image_id = :uuid) known
"""
_REFUSE = """
    UPDATE rendition_orders SET failure_code = :code, failure_message = :message,
                                refused_at = now(), refusals = refusals + 1
    WHERE image_id = :uuid AND name = :name AND recipe_hash = :hash
"""


def place(tx: Transaction, uuid: UUID, recipes: Sequence[Recipe]) -> bool:
    """
    Order renditions; one of the same name is replaced, once the new one is made. False if none is to be made.

    One that was refused for what it cost a decoder stays refused for a while, twice as long each time. Raises Conflict
    when the image would have too many.
    """
    outstanding = False
    for recipe in recipes:
        order = {"uuid": uuid, "name": recipe.name, "hash": recipe.hash}
        if tx.row(_COOLING, **order):
            continue
        if tx.row(_REUSE, **order):
            tx.rows(_WITHDRAW, uuid=uuid, name=recipe.name)
            continue
        outstanding = True
        if tx.row(_AGAIN, **order) is None:
            tx.rows(_WITHDRAW, uuid=uuid, name=recipe.name)
            tx.rows(_PLACE, **_columns(uuid, recipe))
    if recipes and tx.rows(_COUNT, uuid=uuid)[0]["names"] > MAX_RENDITIONS:
        raise Conflict(f"An image has at most {MAX_RENDITIONS} renditions", code="too_many_renditions")
    return outstanding


def list_outstanding(tx: Transaction, uuid: UUID) -> tuple[tuple[Recipe, ...], bool]:
    """
    What is still to be made, and whether anything was refused on the way.

    A stored recipe that this release cannot read is refused alone, with what is wrong with it.
    """
    recipes, refused = [], False
    for row in tx.rows(_OUTSTANDING, uuid=uuid):
        try:
            recipe = read_recipe(row["recipe"])
        except ValidationError as error:
            tx.rows(_REFUSE, uuid=uuid, name=row["name"], hash=row["recipe_hash"], **_describe(error))
            refused = True
            continue
        if recipe.hash != row["recipe_hash"]:
            tx.rows(_REHASH, uuid=uuid, name=recipe.name, hash=recipe.hash)
        recipes.append(recipe)
    return tuple(recipes), refused


def _describe(error: ValidationError) -> dict[str, str]:
    mistake = error.errors()[0]
    place = ".".join(map(str, mistake["loc"])) or "recipe"
    return {
        "code": FailureCode.UNSUPPORTED_RECIPE.value,
        "message": f"This release cannot carry out the recipe ({place}: {describe_mistake(mistake)}). Ask for it anew.",
    }


def fulfil(tx: Transaction, uuid: UUID, made: Rendition, key: str, *, unasked: bool) -> None:
    """
    Strike out an order, and write down what was made of it, unless another recipe has been asked for under its name.

    With `unasked` also what nobody ordered, because every image gets it.
    """
    sql = _WITHDRAW + " AND recipe_hash = :hash RETURNING name"
    if tx.row(sql, uuid=uuid, name=made.name, hash=made.recipe.hash) is None and not unasked:
        return
    tx.rows(
        _KEEP,
        uuid=uuid,
        name=made.name,
        hash=made.recipe.hash,
        key=key,
        content_type=made.content_type,
        width=made.width,
        height=made.height,
        size=len(made.data),
    )


def refuse(tx: Transaction, uuid: UUID, refused: Iterable[FailedRecipe], *, unasked: bool) -> None:
    """
    Write down why renditions cannot be made; asking again for one tries again, a costly one after a while.

    With `unasked` also of those that nobody ordered, because every image gets them.
    """
    for each in refused:
        if unasked:
            tx.rows(_PLACE + " ON CONFLICT DO NOTHING", **_columns(uuid, each.recipe))
        tx.rows(
            _REFUSE,
            uuid=uuid,
            name=each.recipe.name,
            hash=each.recipe.hash,
            code=each.reason.code,
            message=each.reason.public,
        )


def _columns(uuid: UUID, recipe: Recipe) -> dict[str, object]:
    return {"uuid": uuid, "name": recipe.name, "hash": recipe.hash, "recipe": write_recipe(recipe)}
