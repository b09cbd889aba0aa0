"""Types that operations' parameters have in common, each with its limits."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

from shared_lib.constraints import Bounds, Handler, IntegerBounds, Pattern, Schema
from shared_lib.limits import MAX_SIDE

Side = Annotated[int, IntegerBounds(ge=1, le=MAX_SIDE)]
Margin = Annotated[int, IntegerBounds(ge=0, le=MAX_SIDE)]
Offset = Annotated[int, IntegerBounds(ge=-MAX_SIDE, le=MAX_SIDE)]
Factor = Annotated[float, Bounds(ge=0, le=10, allow_inf_nan=False)]
Angle = Annotated[float, Bounds(ge=-360, le=360, allow_inf_nan=False)]
Share = Annotated[float, Bounds(ge=0, le=1, allow_inf_nan=False)]

_COLORS = r"#([0-9a-fA-F]{3,4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})|transparent"
Color = Annotated[
    str,
    Bounds(to_lower=True),
    Pattern(f"^({_COLORS})$", "must be a color such as #ff8800 or #ff880080, or transparent"),
]
"""As in CSS: #rgb, #rgba, #rrggbb, #rrggbbaa or transparent."""

ColorOrMean = Annotated[
    str,
    Bounds(to_lower=True),
    Pattern(f"^({_COLORS}|mean)$", "must be a color such as #ff8800 or #ff880080, or transparent or mean"),
]
"""A color, or `mean` for the mean of the image's own."""

Fill = Annotated[
    str,
    Bounds(to_lower=True),
    Pattern(f"^({_COLORS}|mean|blur)$", "must be a color such as #ff8800 or #ff880080, or transparent, mean or blur"),
]
"""A color, `mean` for the mean of the image's own, or `blur` for the image itself, stretched and blurred."""


def _require_kind(schema: Schema) -> None:
    """Require `kind` in JSON, where it is the discriminator. Its default is for Python alone."""
    if "kind" in schema["properties"]:
        schema["required"] = ["kind", *schema.get("required", ())]


@dataclass(frozen=True)
class StrictInput:
    """Base of dataclasses that callers write: unknown fields are errors, and no value is converted to another type."""

    __pydantic_config__: ClassVar[Schema] = {"extra": "forbid", "strict": True, "json_schema_extra": _require_kind}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Handler) -> Schema:
        schema = handler(source)
        handler.resolve_ref_schema(schema)["strict"] = False  # accept a mapping in place of an instance
        return schema


def changed_fields(described: StrictInput) -> dict[str, Any]:
    """Return the fields that differ from their defaults."""
    values = ((each, getattr(described, each.name)) for each in fields(described))
    return {each.name: value for each, value in values if value != each.default}
