"""Lists in pages: the parameters that request one, its place in the list, and the links to the pages around it."""

from collections.abc import Iterator
from typing import Any, Literal, cast
from urllib.parse import urlencode
from uuid import UUID

import flask
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel, to_snake

from shared_lib.domain.pages import Page, PageQuery, Position, SortColumn
from shared_lib.errors import Invalid
from shared_lib.settings import Http
from shared_lib.web import cursors
from shared_lib.web.schemas import ApiModel, SearchText

MAX_PAGE = 1_000_000

PAGE_HEADERS = {
    "X-Total-Count": "Number of matches.",
    "X-Total-Count-Relation": "`eq`, or `gte` if there are at least so many. Only a search with many matches has it.",
    "X-Next-Cursor": "The next page's `after`. Absent on the last page.",
    "Link": "The first, previous, next and last page. The next one begins where this one ends, by a cursor.",
}
"""Headers of a page, for OpenAPI."""

_EXAMPLE_CURSOR = "FC7pXvUbPU2OWyIyMDI2LTAzLTA4VDE5OjAyOjExLjYxNDAwMCswMDowMCIsIjBiOWMwZjNlIl0"


class Pagination(ApiModel):
    """A page's place in its list."""

    page: int = Field(examples=[1])
    limit: int = Field(examples=[10])
    total_items: int = Field(examples=[12])
    total_items_relation: Literal["eq", "gte"] = Field(
        description="`gte`: there are at least `totalItems`. Only a search with many matches has it.", examples=["eq"]
    )
    total_pages: int = Field(description="Of `totalItems`.", examples=[2])
    next_cursor: str | None = Field(
        description="The next page's `after`, or null if this page is the last.", examples=[_EXAMPLE_CURSOR]
    )


class PageParameters(BaseModel):
    """The query of a list: a page, and the order. Names are the contract's."""

    model_config = ConfigDict(defer_build=True, frozen=True, alias_generator=to_camel, extra="ignore")

    page: int = Field(default=1, ge=1, le=MAX_PAGE, description="With `after`, only the number to show.")
    limit: int = Field(default=10, ge=1, le=100)
    after: str | None = Field(
        default=None,
        max_length=4096,
        description="The cursor where the page begins, as the previous page has it, with the same filters and order.",
    )
    sort: Literal["asc", "desc"] = "desc"
    search: SearchText = ""
    sort_by: str = "createdAt"
    """Each endpoint declares the columns that it sorts by."""

    def to_query(self, within: UUID | None = None) -> PageQuery:
        """Return the query, of a list within a collection if one is given. Raises Invalid for a cursor of another."""
        return PageQuery(
            page=self.page,
            limit=self.limit,
            sort=self.sort,
            sort_by=self._column,
            search=self.search,
            after=self._read_cursor(within),
        )

    def paginate(self, page: Page[Any], within: UUID | None = None) -> Pagination:
        """Return the place of a page that was found by `to_query`."""
        return Pagination(
            page=self.page,
            limit=self.limit,
            total_items=page.total.items,
            total_items_relation="eq" if page.total.is_exact else "gte",
            total_pages=-(-page.total.items // self.limit),
            next_cursor=page.end and cursors.encode(page.end, self._name_list(within)),
        )

    @property
    def _column(self) -> SortColumn:
        return cast("SortColumn", to_snake(self.sort_by))

    def _read_cursor(self, within: UUID | None) -> Position | None:
        if self.after is None:
            return None
        try:
            return cursors.decode(self.after, self._name_list(within), is_timed=self.sort_by.endswith("At"))
        except ValueError as error:
            message = "is not a cursor of this list with these filters and this order; begin without it"
            raise Invalid(f"after: {message}", details=[{"parameter": "after", "message": message}]) from error

    def _name_list(self, within: UUID | None) -> str:
        """Return what a cursor is tied to: all that decides which items there are, and their order."""
        return f"{within} {self.model_dump_json(exclude={'page', 'limit', 'after', 'include'})}"


def describe_page(request: flask.Request, place: Pagination, http: Http) -> dict[str, str]:
    """Return the headers of a page."""
    cursor = {"X-Next-Cursor": place.next_cursor} if place.next_cursor else {}
    return cursor | {
        "X-Total-Count": f"{place.total_items}",
        "X-Total-Count-Relation": place.total_items_relation,
        "Link": ", ".join(_link(request, place, http)),
    }


def _link(request: flask.Request, place: Pagination, http: Http) -> Iterator[str]:
    """Link to the pages around this one (RFC 8288). Never uses the request's Host, which the caller chooses."""
    base = (http.public_base_url or "").rstrip("/") + request.path
    others = {name: value for name, value in request.args.to_dict().items() if name not in ("page", "after")}

    def link(relation: str, page: int, **cursor: str) -> str:
        return f'<{base}?{urlencode(others | {"page": page} | cursor)}>; rel="{relation}"'

    last = max(place.total_pages, 1)
    is_exact = place.total_items_relation == "eq"
    yield link("first", 1)
    if place.page > 1 and (place.page - 1 <= last or not is_exact):
        yield link("prev", place.page - 1)
    if place.next_cursor:
        yield link("next", min(place.page + 1, MAX_PAGE), after=place.next_cursor)
    if is_exact:
        yield link("last", last)
