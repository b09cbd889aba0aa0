"""Presets as the API shows them."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from shared_lib.constraints import NAME_PATTERN
from shared_lib.domain.timestamps import Time
from shared_lib.pipeline.recipe import Recipe
from shared_lib.repositories import presets as stored
from shared_lib.web.schemas import ApiModel

PresetName = Annotated[str, NAME_PATTERN, Field(examples=["hero"])]
_HERO = {
    "name": "hero",
    "operations": [{"kind": "resize", "width": 1200, "height": 630, "gravity": "smart"}],
    "output": {"format": "webp", "quality": 75},
}


class PresetOrder(BaseModel):
    recipe: Annotated[Recipe, Field(description="Its name is the preset's.", examples=[_HERO])]


class PresetVersion(ApiModel):
    version: int = Field(examples=[1])
    recipe: Recipe | None = Field(description="Null: the preset was deleted.", examples=[_HERO])
    created_at: Time
    created_by: str = Field(description="The caller who made it.", examples=["key:0Zk3TmWq7b"])


class Preset(ApiModel):
    name: PresetName
    origin: Literal["built-in", "tenant"] = Field(
        description="`tenant`: made at run time. It replaces a built-in one of the same name.", examples=["tenant"]
    )
    version: int | None = Field(description="Null of a built-in one.", examples=[1])
    recipe: Recipe = Field(examples=[_HERO])


class PresetList(ApiModel):
    data: tuple[Preset, ...]


class PresetEnvelope(ApiModel):
    data: Preset


class PresetVersions(ApiModel):
    data: tuple[PresetVersion, ...]


def show_built_in(recipe: Recipe) -> Preset:
    return Preset(name=recipe.name, origin="built-in", version=None, recipe=recipe)


def show_preset(preset: stored.Preset, recipe: Recipe) -> Preset:
    return Preset(name=preset.name, origin="tenant", version=preset.version, recipe=recipe)


def show_version(preset: stored.Preset) -> PresetVersion:
    return PresetVersion(
        version=preset.version, recipe=preset.recipe, created_at=preset.created_at, created_by=preset.created_by
    )
