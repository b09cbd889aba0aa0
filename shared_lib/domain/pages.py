"""Pages of lists."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

SortColumn = Literal["created_at", "updated_at", "filename", "status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """A page of a list, and the order of the list."""

    page: int = 1
    limit: int = 10
    sort: Literal["asc", "desc"] = "desc"
    sort_by: SortColumn = "created_at"
    search: str = ""
    """Only items that contain this text; empty for all."""

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.limit


Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    items: list[Item]
    total: int
    """Number of all items that match."""
