"""An order for a preview: a recipe without a name."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared_lib.pipeline.output import DEFAULTS, OutputOptions
from shared_lib.pipeline.recipe import Operations, Output, Recipe
from shared_lib.pipeline.spellings import read_other_spellings


class PreviewOrder(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid")

    operations: Operations = Field(
        default=(), examples=[[{"kind": "resize", "width": 640, "height": 360, "gravity": "smart"}]]
    )
    output: Output = Field(
        default=OutputOptions(), examples=[{"format": "webp", "quality": 75}], json_schema_extra={"default": DEFAULTS}
    )

    @model_validator(mode="before")
    @classmethod
    def _read_other_spellings(cls, order: object) -> object:
        return read_other_spellings(order)

    @model_validator(mode="after")
    def _is_a_recipe(self) -> Self:
        _ = self.recipe  # raises ValueError for operations that exclude one another
        return self

    @property
    def recipe(self) -> Recipe:
        return Recipe(name="preview", operations=self.operations, output=self.output)
