"""What operations' parameters are made of: sizes, colours and places, each with its limits."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from shared_lib.constraints import Bounds, Handler, IntegerBounds, Schema
from shared_lib.limits import MAX_SIDE

Side = Annotated[int, IntegerBounds(ge=1, le=MAX_SIDE)]
Margin = Annotated[int, IntegerBounds(ge=0, le=MAX_SIDE)]
Factor = Annotated[float, Bounds(ge=0, le=10, allow_inf_nan=False)]
Angle = Annotated[float, Bounds(ge=-360, le=360, allow_inf_nan=False)]
Share = Annotated[float, Bounds(ge=0, le=1, allow_inf_nan=False)]

Colour = Annotated[
    str, Bounds(pattern=r"^(#([0-9a-fA-F]{3,4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})|transparent)$", to_lower=True)
]
"""As in CSS: #rgb, #rgba, #rrggbb, #rrggbbaa or transparent."""


def _require_kind(schema: Schema) -> None:
    """It has a default in Python only: what comes as JSON is told apart by it."""
    if "kind" in schema["properties"]:
        schema["required"] = ["kind", *schema.get("required", ())]


class Described:
    """What callers write. An unknown parameter is a mistake, never ignored, and nothing is taken for another type."""

    __pydantic_config__: ClassVar[Schema] = {"extra": "forbid", "strict": True, "json_schema_extra": _require_kind}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Handler) -> Schema:
        schema = handler(source)
        handler.resolve_ref_schema(schema)["strict"] = False  # a mapping will do in the place of an instance
        return schema


@dataclass(frozen=True, kw_only=True)
class Focus(Described):
    """A point to keep in view, as shares of width and height from the top left corner."""

    x: Share
    y: Share


Compass = Literal["centre", "north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west"]
Gravity = Compass | Literal["smart"] | Focus
"""Which part is kept, or where the image lies: a compass point, a focus, or `smart`, where the eye is drawn."""
