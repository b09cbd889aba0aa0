"""Presets that tenants make at run time. Each change adds a version, and the highest one counts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared_lib.database.connection import Database
from shared_lib.database.failures import ConstraintViolated
from shared_lib.domain.audit import Action
from shared_lib.errors import Conflict, Forbidden, NotFound
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.recipe_schema import read_recipe, write_recipe
from shared_lib.repositories import audit

MOST = 500
"""Presets of a tenant."""
_VERSIONS = 20  # that are kept of a preset

_LATEST = """
    SELECT DISTINCT ON (name) name, version, recipe, created_at, created_by FROM presets
    WHERE tenant_id = :tenant ORDER BY name, version DESC
"""
_LIST = f"SELECT * FROM ({_LATEST}) AS latest WHERE recipe IS NOT NULL ORDER BY name"
_FIND = """
    SELECT name, version, recipe, created_at, created_by FROM presets WHERE tenant_id = :tenant AND name = :name
    ORDER BY version DESC LIMIT :most
"""
_ADD = """
    INSERT INTO presets (tenant_id, name, version, recipe, created_by)
    SELECT :tenant, :name, 1 + coalesce(max(version), 0), CAST(:recipe AS jsonb), :by
    FROM presets WHERE tenant_id = :tenant AND name = :name
    RETURNING name, version, recipe, created_at, created_by
"""
_FORGET = "DELETE FROM presets WHERE tenant_id = :tenant AND name = :name AND version <= :version"


class PresetNotFound(NotFound):
    public = "Preset not found"
    code = "preset_not_found"


class PresetChanged(Conflict):
    public = "The preset was changed at the same time: try again"
    code = "preset_changed"


class TooManyPresets(Forbidden):
    public = f"There may be {MOST} presets: delete one first"
    code = "too_many_presets"


@dataclass(frozen=True, slots=True)
class Preset:
    """One version of a preset."""

    name: str
    version: int
    recipe: Recipe | None
    """None: it was deleted."""
    created_at: datetime
    created_by: str


class Presets:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, name: str) -> Recipe | None:
        """Return the recipe that the name stands for now."""
        with self._database.transaction() as tx:
            row = tx.row(_FIND, name=name, most=1)
        return _to_preset(row).recipe if row else None

    def list_versions(self, name: str) -> list[Preset]:
        """Return the versions that are kept, newest first. Raises NotFound if there are none."""
        with self._database.transaction() as tx:
            rows = tx.rows(_FIND, name=name, most=_VERSIONS)
        if not rows:
            raise PresetNotFound
        return [_to_preset(row) for row in rows]

    def list(self) -> list[Preset]:
        """Return the current version of each, by name."""
        with self._database.transaction() as tx:
            return [_to_preset(row) for row in tx.rows(_LIST)]

    def save(self, recipe: Recipe, by: str) -> Preset:
        """Add a version. Raises Conflict if someone else did at the same time, and Forbidden if there are too many."""
        return self._add(recipe.name, write_recipe(recipe), by)

    def delete(self, name: str, by: str) -> None:
        """Raises NotFound and Conflict."""
        if self.find(name) is None:
            raise PresetNotFound
        self._add(name, None, by)

    def _add(self, name: str, recipe: str | None, by: str) -> Preset:
        try:
            with self._database.transaction() as tx:
                added = tx.rows(_ADD, name=name, recipe=recipe, by=by)[0]
                if added["version"] == 1 and len(tx.rows(_LIST)) > MOST:
                    raise TooManyPresets
                action = Action.PRESET_DELETED if recipe is None else Action.PRESET_SAVED
                audit.record(tx, action, name, version=added["version"])
                tx.rows(_FORGET, name=name, version=added["version"] - _VERSIONS)
        except ConstraintViolated as error:
            raise PresetChanged from error
        return _to_preset(added)


def _to_preset(row: dict[str, Any]) -> Preset:
    recipe = row.pop("recipe")
    return Preset(recipe=None if recipe is None else read_recipe(recipe), **row)
