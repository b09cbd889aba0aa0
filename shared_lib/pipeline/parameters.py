"""What operations' parameters are made of: sizes, colours and places, each with its limits."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared_lib.limits import MAX_SIDE

Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Margin = Annotated[int, Field(ge=0, le=MAX_SIDE)]
Factor = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Angle = Annotated[float, Field(ge=-360, le=360, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

Colour = Annotated[
    str, StringConstraints(pattern=r"^(#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})|transparent)$", to_lower=True)
]
"""As in CSS: #rgb, #rgba, #rrggbb, #rrggbbaa or transparent."""


def _require_kind(schema: dict[str, Any]) -> None:
    """It has a default in Python only: what comes as JSON is told apart by it."""
    if "kind" in schema["properties"]:
        schema["required"] = ["kind", *schema.get("required", ())]


class Described(BaseModel):
    """An unknown parameter is a mistake, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, json_schema_extra=_require_kind)


class Focus(Described):
    """A point to keep in view, as shares of width and height from the top left corner."""

    x: Share
    y: Share


Compass = Literal["centre", "north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west"]
Gravity = Compass | Literal["smart"] | Focus
"""Which part is kept, or where the image lies: a compass point, a focus, or `smart`, where the eye is drawn."""
