"""An order for a signed URL, and the URL."""

from typing import Annotated

from pydantic import Field

from shared_lib.domain.timestamps import Time
from shared_lib.web.schemas import ApiModel


class UrlOrder(ApiModel):
    options: Annotated[str, Field(min_length=1, max_length=512, examples=["w=320,h=240,fit=cover"])]
    format: Annotated[str, Field(pattern="^[a-z]{3,4}$", examples=["auto"])] | None = None
    expires_in: (
        Annotated[int, Field(ge=1, le=31_536_000, description="Seconds. Absent: the URL doesn't expire.")] | None
    ) = None


class SignedUrl(ApiModel):
    url: Annotated[str, Field(examples=["https://images.example.com/i/k1.c2lnbmF0dXJl/w=320/0b9c0f3e.auto"])]
    expires_at: Time | None
