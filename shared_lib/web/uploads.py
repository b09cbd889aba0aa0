"""The API's models for uploads: the form, and rendition requests."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, Json, WithJsonSchema, model_validator

from shared_lib.pipeline.recipe import PRESETS
from shared_lib.pipeline.recipe_schema import Recipes
from shared_lib.web.schemas import Description, Filename, ImageId

# If the field had a media type of its own, Swagger UI would draw it as a file.
_RECIPES_AS_TEXT = {
    "type": "string",
    "examples": [""],
    "description": "As JSON: an array of Recipe. Give this or `preset`, not both.",
}

RequestedPreset = Annotated[
    str, Field(max_length=64, description=f"{', '.join(PRESETS)}, or a preset that the operator defined.")
]


class RenditionRequests(BaseModel):
    """Renditions to make besides the thumbnail: recipes, or the name of a preset."""

    model_config = ConfigDict(
        defer_build=True,  # most functions that import this module read no recipes
        json_schema_extra={
            "not": {
                "required": ["renditions", "preset"],
                "properties": {"renditions": {"not": {"type": "null"}}, "preset": {"not": {"type": "null"}}},
            }
        },
    )

    renditions: Recipes | None = Field(
        default=None,
        description="At most 20 at once, and 100 per image. One that exists already is not made again.",
        examples=[
            [
                {
                    "name": "hero",
                    "operations": [{"kind": "resize", "width": 1200, "height": 630, "gravity": "smart"}],
                    "output": {"format": "webp", "quality": 75},
                }
            ]
        ],
    )
    preset: RequestedPreset | None = None

    @model_validator(mode="after")
    def _has_one_of_both(self) -> Self:
        if self.renditions is not None and self.preset is not None:
            raise ValueError("give renditions or a preset, not both")
        return self


class ProcessingRequest(RenditionRequests):
    uuid: ImageId
    filename: Filename | None = Field(default=None, description="If absent, the image keeps its name.")
    description: Description | None = None


class UploadForm(RenditionRequests):
    # A form's fields may be empty strings, so the schema cannot express "one or the other". Their descriptions do.
    model_config = ConfigDict(json_schema_extra={})
    description: Description = ""
    renditions: Annotated[Json[Recipes] | None, WithJsonSchema(_RECIPES_AS_TEXT)] = None
    preset: Annotated[RequestedPreset | None, Field(examples=["web"])] = None


class UploadedImage(BaseModel):
    uuid: ImageId
    filename: Filename
    status: str = "pending"
    message: str = "Upload successful and processing started"


class UploadResponse(BaseModel):
    data: UploadedImage
