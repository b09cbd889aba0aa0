"""Read the store's answers. One that is cut off, or is not what S3 answers, is an outage of the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from defusedxml import ElementTree

from shared_lib.errors import Unavailable
from shared_lib.storage.store import STORE, to_error

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


@contextmanager
def reading() -> Iterator[None]:
    """Translate the errors of reading an answer: a missing header or element, or text that is no number or date."""
    try:
        yield
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise Unavailable(f"{STORE} cannot answer now") from error


def parse(answer: bytes, name: str) -> "Element":
    """Return the answer's root element, which has to have that name.

    S3 begins some answers with status 200 before it knows their outcome, which may then be an error.
    """
    with reading():
        root: Element = ElementTree.fromstring(answer)
    if root.tag.rpartition("}")[2] != name or root.find("{*}Error") is not None:
        raise to_error(f"{name} expected", 500, answer)
    return root


def read_text(parent: "Element", name: str) -> str:
    """Return the text of an element, which some stores put into S3's namespace. Call it inside `reading()`."""
    text = parent.findtext(f"{{*}}{name}")
    if not text:
        raise ValueError(f"there is no {name}")
    return text


def is_truncated(page: "Element") -> bool:
    return page.findtext("{*}IsTruncated") == "true"
