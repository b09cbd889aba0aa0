"""Pages of lists."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, TypeVar
from uuid import UUID

SortColumn = Literal["created_at", "updated_at", "filename", "status"]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a sorted list: that of an item, whether or not the item still exists."""

    value: datetime | str
    """In the column that the list is sorted by."""
    uuid: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """A page of a list, and the order of the list."""

    page: int = 1
    limit: int = 10
    sort: Literal["asc", "desc"] = "desc"
    sort_by: SortColumn = "created_at"
    search: str = ""
    """Only items that contain this text; empty for all."""
    after: Position | None = None
    """Begin after this place instead of at the page's number."""

    @property
    def offset(self) -> int:
        return 0 if self.after else (self.page - 1) * self.limit


@dataclass(frozen=True, slots=True)
class Total:
    """Number of all items that match."""

    items: int
    is_exact: bool = True
    """Otherwise there are at least so many."""


Item = TypeVar("Item")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    items: list[Item]
    total: Total
    end: Position | None = None
    """The place of the last item, if others follow it."""

    def map(self, change: Callable[[Item], Other]) -> "Page[Other]":
        return Page([change(each) for each in self.items], self.total, self.end)
