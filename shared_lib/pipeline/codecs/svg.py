"""SVG: sanitize and draw.

The result is what a browser draws for an SVG in an `<img>`: nothing is executed and nothing is fetched (SVG
Integration, "secure static mode"). So scripts and references to anything outside the file are dropped, as browsers
ignore them there. Only attacks on the parser are rejected. The renderer, resvg, runs no scripts, but it would open any
file that an `href` names.
"""

import base64
import binascii
import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from xml.sax import SAXParseException  # only the exception; the parser is defusedxml's
from xml.sax.saxutils import XMLGenerator  # writes XML, reads none
from xml.sax.xmlreader import AttributesImpl  # a mapping

import defusedxml
import defusedxml.expatreader
import resvg_py

from shared_lib.errors import FailureCode, Rejected
from shared_lib.limits import Limits

_DROPPED_ELEMENTS = {"script", "foreignObject", "iframe", "audio", "video", "canvas", "object", "embed"}
_INLINE_IMAGE = re.compile(r"\s*data:image/(?:png|jpe?g|gif|webp)\s*;\s*base64\s*,", re.IGNORECASE)
_EXTERNAL_URL = re.compile(r"url\((?!\s*(?:['\"]\s*)?#)[^)]*\)?", re.IGNORECASE)
_CSS_IMPORT = re.compile(r"@import[^;]*;?", re.IGNORECASE)
_LENGTH = re.compile(r"\s*\+?((?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?)(px|pt|pc|in|cm|mm|q|em|ex)?\s*", re.IGNORECASE)
_PX_PER_UNIT = {"px": 1.0, "pt": 96 / 72, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6}
_PX_PER_UNIT |= {"em": 16.0, "ex": 8.0}  # of the initial font size
_DEFAULT_SIZE = (300.0, 150.0)  # px, of a replaced element without a size (CSS 2.2, 10.3.2)
_MAX_DRAWN = 1_000_000  # elements, each counted as often as it is used; resvg's own limit
_LARGEST = 1e9  # px; stands for infinity, and is over every limit


@dataclass(frozen=True, slots=True)
class Drawing:
    """A sanitized SVG and its own size, px."""

    markup: str
    width: float
    height: float


def sanitize(data: bytes, limits: Limits, count_pixels: Callable[[bytes], int]) -> Drawing:
    """Read an SVG and write it anew, without what secure static mode ignores.

    `count_pixels` reads the header of an embedded raster image. It raises Rejected if that must not be decoded.
    Raises Rejected: unsafe_svg, corrupt_image, unsupported_format for other XML, or the code of a limit.
    """
    limits.enforce("max_svg_bytes", len(data), "The SVG has {} bytes")
    cleaner = _Cleaner(limits, count_pixels)
    parser = _Parser(references=data.count(b"&"), max_bytes=limits.max_svg_bytes)
    parser.setContentHandler(cleaner)
    try:
        parser.parse(io.BytesIO(data))
    except defusedxml.DefusedXmlException as error:
        raise Rejected(FailureCode.UNSAFE_SVG, "The SVG declares XML entities that are not plain text.") from error
    except (SAXParseException, LookupError, ValueError) as error:  # the latter two: an unknown or a wrong encoding
        raise Rejected(FailureCode.CORRUPT_IMAGE, "The SVG is not well-formed XML.") from error
    return Drawing(cleaner.markup, *cleaner.size)


def rasterize(markup: str, width: int, height: int) -> bytes:
    """Draw into at most width x height px, with the system's fonts. Return a PNG. Raises Rejected."""
    try:
        return resvg_py.svg_to_bytes(
            svg_string=markup,
            width=width,
            height=height,
            # Fallbacks for families that are not installed. Debian installs DejaVu with any font.
            font_family="DejaVu Sans",
            sans_serif_family="DejaVu Sans",
            serif_family="DejaVu Serif",
            monospace_family="DejaVu Sans Mono",
        )
    except ValueError as error:
        if "nodes limit" in str(error):  # elements that use each other soon exceed it
            raise Rejected(
                FailureCode.TOO_MANY_ELEMENTS,
                f"The SVG has more than {_MAX_DRAWN:,} elements when it is drawn; at most {_MAX_DRAWN:,} are allowed.",
            ) from error
        raise Rejected(FailureCode.CORRUPT_IMAGE, "The SVG cannot be drawn.") from error
    except BaseException as error:
        # A panic in Rust, whose class cannot be imported, about numbers that resvg does not expect. resvg keeps no
        # state of the drawing, so this process can go on.
        if type(error).__name__ != "PanicException":
            raise
        raise Rejected(FailureCode.CORRUPT_IMAGE, "The SVG cannot be drawn.") from error


class _Parser(defusedxml.expatreader.DefusedExpatParser):
    """Reads a document type, which is common and harmless: its external subset is never read.

    Entities are read if they are plain text, as old drawing programs wrote them for namespaces and styles. One that
    refers to another, to a file or to an address is rejected. So none grows, and all of them together fit the limit.
    """

    def __init__(self, references: int, max_bytes: int) -> None:
        """`references` is the number of ampersands, so at least that of references to entities."""
        super().__init__(forbid_dtd=False, forbid_entities=True, forbid_external=False)
        self._longest = max_bytes // max(references, 1)

    def defused_entity_decl(  # noqa: PLR0913, PLR0917  as expat calls it
        self,
        name: str,
        is_parameter_entity: bool,  # noqa: FBT001
        value: str | None,
        base: str | None,
        sysid: str,
        pubid: str | None,
        notation_name: str | None,
    ) -> None:
        """`value` is None for an entity from outside."""
        if is_parameter_entity or value is None or len(value.encode()) > self._longest or re.search("[&%<]", value):
            super().defused_entity_decl(name, is_parameter_entity, value, base, sysid, pubid, notation_name)


class _Cleaner(XMLGenerator):
    """Writes a document anew, without dropped elements and attributes."""

    def __init__(self, limits: Limits, count_pixels: Callable[[bytes], int]) -> None:
        self._text = io.StringIO()
        super().__init__(self._text, encoding="utf-8", short_empty_elements=True)
        self._limits = limits
        self._count_pixels = count_pixels
        self._embedded_pixels = 0
        self._elements = 0
        self._depth = 0
        self._dropped_below: int | None = None  # depth of the dropped element that contains the current one
        self._style: list[str] | None = None  # parts of the current style sheet, which arrive in pieces
        self.size = _DEFAULT_SIZE

    @property
    def markup(self) -> str:
        return self._text.getvalue()

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802  # SAX's name
        local = _local(name)
        if self._elements == 0:
            _require_svg(local)
        self._elements += 1
        self._depth += 1
        self._bound_structure()
        if self._dropped_below is None and local in _DROPPED_ELEMENTS:
            self._dropped_below = self._depth
        if self._dropped_below is not None:
            return
        kept = {key: clean for key, value in attrs.items() if (clean := self._clean_attribute(key, value)) is not None}
        if self._elements == 1:
            self.size = _intrinsic_size(kept)
            kept |= dict(zip(("width", "height"), (f"{side:.6f}" for side in self.size), strict=True))
        self._style = [] if local == "style" else None
        super().startElement(name, AttributesImpl(kept))

    def endElement(self, name: str) -> None:  # noqa: N802  # SAX's name
        if self._style is not None:
            super().characters(_clean_css("".join(self._style)))
            self._style = None
        if self._dropped_below is None:
            super().endElement(name)
        elif self._dropped_below == self._depth:
            self._dropped_below = None
        self._depth -= 1

    def characters(self, content: str) -> None:
        if self._style is not None:
            self._style.append(content)
        elif self._dropped_below is None:
            super().characters(content)

    def processingInstruction(self, target: str, data: str) -> None:  # noqa: N802  # SAX's name
        """Drop it: it could only refer to a style sheet."""

    def _bound_structure(self) -> None:
        """Raise Rejected at the first element beyond a limit, without counting the rest."""
        self._limits.enforce("max_svg_elements", self._elements, "The SVG has {} elements or more")
        self._limits.enforce("max_svg_depth", self._depth, "The SVG is nested {} levels deep or more")

    def _clean_attribute(self, name: str, value: str) -> str | None:
        """Return an attribute's sanitized value, or None to drop it."""
        local = _local(name)
        if local.lower().startswith("on") or name == "xml:base":
            return None
        if local == "href":
            return value if value.strip().startswith("#") else self._inline_image(value)
        if name.startswith("xmlns"):
            return value
        return _EXTERNAL_URL.sub("none", value)

    def _inline_image(self, href: str) -> str | None:
        """Keep a raster image that the file itself contains, in a canonical form."""
        match = _INLINE_IMAGE.match(href)
        if match is None:
            return None
        try:
            image = base64.b64decode(href[match.end() :])
        except binascii.Error:
            return None
        self._embedded_pixels += self._count_pixels(image)
        self._limits.enforce("max_pixels", self._embedded_pixels, "The SVG embeds images of {} pixels or more")
        return match.group().strip() + base64.b64encode(image).decode()


def _require_svg(root: str) -> None:
    if root != "svg":
        raise Rejected(FailureCode.UNSUPPORTED_FORMAT, "The file is XML, but not an SVG image.")


def _local(name: str) -> str:
    """Return an element's or attribute's name without the namespace prefix, which is arbitrary."""
    return name.rpartition(":")[2]


def _clean_css(css: str) -> str:
    return _CSS_IMPORT.sub("", _EXTERNAL_URL.sub("none", css))


def _intrinsic_size(root: dict[str, str]) -> tuple[float, float]:
    """Return width and height, px, by CSS's rules for replaced elements: a missing one follows from the view box."""
    width, height = _length(root.get("width")), _length(root.get("height"))
    box_width, box_height = _view_box(root.get("viewBox")) or (width or _DEFAULT_SIZE[0], height or _DEFAULT_SIZE[1])
    if width is None and height is None:
        width, height = box_width, box_height
    if width is None:
        width = (height or box_height) * box_width / box_height
    if height is None:
        height = width * box_height / box_width
    return min(max(1.0, width), _LARGEST), min(max(1.0, height), _LARGEST)


def _view_box(value: str | None) -> tuple[float, float] | None:
    try:
        _, _, width, height = map(float, re.split(r"[\s,]+", (value or "").strip()))
    except ValueError:
        return None
    return (width, height) if _is_size(width) and _is_size(height) else None


def _length(value: str | None) -> float | None:
    """Return a CSS length in px, or None if it is missing, relative to a parent, or invalid."""
    match = _LENGTH.fullmatch(value or "")
    if match is None:
        return None
    number = float(match[1]) * _PX_PER_UNIT[(match[2] or "px").lower()]
    return min(number, _LARGEST) if number > 0 else None


def _is_size(number: float) -> bool:
    return math.isfinite(number) and 0 < number <= _LARGEST
