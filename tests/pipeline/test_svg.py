"""An SVG is drawn as in an <img>: nothing is executed, no other file is read, and no bomb explodes."""

from pathlib import Path

import pytest
from hostile.drawings import ENTITIES, USE_OF_USE, data_uri, svg
from pipeline.pictures import color_at, decode, encode, plain

from shared_lib.errors import FailureCode, Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.codecs.svg import sanitize
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.rendition import Rendered
from shared_lib.pipeline.sandbox.pool import Sandbox

BLUE = '<rect width="100%" height="100%" fill="#00f"/>'


def clean(data: bytes) -> str:
    return sanitize(data, Limits(), len).markup


def middle(rendered: Rendered) -> list[int]:
    return color_at(decode(rendered.renditions[0].data), 50, 50)


def test_an_svg_is_drawn_at_the_size_of_the_rendition(sandbox: Sandbox) -> None:
    """A checkerboard one unit wide would be blurred if its pixels were enlarged."""
    rendered = sandbox.render(svg('<rect width="1" height="2" fill="#00f"/>', 'width="2" height="2"'), [THUMBNAIL])

    thumbnail = decode(rendered.renditions[0].data)
    assert [color_at(thumbnail, x, 50) for x in (49, 50)] == [[0, 0, 255, 255], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('width="400" height="200"', (400, 200)),
        ('width="100mm" height="2in"', (378, 192)),
        ('viewBox="0 0 30 60"', (30, 60)),
        ('viewBox="0,0,30,60" width="100%"', (30, 60)),
        ('viewBox="0 0 30 60" width="90"', (90, 180)),
        ('height="90" viewBox="0 0 30 60"', (45, 90)),
        ('width="90"', (90, 150)),
        ("", (300, 150)),
        ('width="0" height="-4"', (300, 150)),
        ('viewBox="0 0 nan inf"', (300, 150)),
        ('width="0.2" height="0.1"', (1, 1)),
    ],
)
def test_an_svg_s_own_size_is_that_in_a_browser(sandbox: Sandbox, attributes: str, size: tuple[int, int]) -> None:
    rendered = sandbox.render(svg(BLUE, attributes), [THUMBNAIL])

    assert (rendered.width, rendered.height) == size
    assert middle(rendered) == [0, 0, 255, 255]


@pytest.mark.parametrize("family", ["sans-serif", "serif", "monospace", "No Such Font", ""])
def test_text_is_drawn_if_the_system_has_fonts(sandbox: Sandbox, family: str) -> None:
    if not any(Path("/usr/share/fonts").rglob("DejaVuS*.ttf")):
        pytest.skip("Debian's fonts-dejavu is not installed")
    text = f'<text x="0" y="90" font-size="120" font-family="{family}">M</text>'

    rendered = sandbox.render(svg(text), [THUMBNAIL])

    assert decode(rendered.renditions[0].data)[3].max() == 255


def test_a_document_type_is_accepted(sandbox: Sandbox) -> None:
    doctype = '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://localhost:1/svg11.dtd">\n'

    assert middle(sandbox.render(svg(BLUE, prologue=doctype), [THUMBNAIL])) == [0, 0, 255, 255]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_common_encodings_are_read(sandbox: Sandbox, encoding: str) -> None:
    assert sandbox.render(svg(BLUE).decode().encode(encoding), [THUMBNAIL]).format == "svg"


def test_entities_of_plain_text_are_read(sandbox: Sandbox) -> None:
    doctype = """<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.0//EN" "http://localhost:1/svg10.dtd" [
        <!ENTITY ns_svg "http://www.w3.org/2000/svg">
        <!ENTITY st0 "fill:#0000FF;">
    ]>"""
    drawing = (
        f'{doctype}<svg xmlns="&ns_svg;" width="100" height="100"><rect width="100" height="100" style="&st0;"/></svg>'
    )

    assert middle(sandbox.render(drawing.encode(), [THUMBNAIL])) == [0, 0, 255, 255]


@pytest.mark.parametrize("prologue", ENTITIES.values(), ids=ENTITIES)
def test_entity_declarations_are_rejected(sandbox: Sandbox, prologue: str) -> None:
    with pytest.raises(Rejected) as rejection:
        sandbox.render(svg("<text>&a;</text>", prologue=prologue), [THUMBNAIL])

    assert rejection.value.failure is FailureCode.UNSAFE_SVG


def test_elements_that_use_each_other_a_billion_times_are_rejected(sandbox: Sandbox) -> None:
    with pytest.raises(Rejected) as rejection:
        sandbox.render(svg(USE_OF_USE), [THUMBNAIL])

    assert rejection.value.failure is FailureCode.TOO_MANY_ELEMENTS
    assert rejection.value.public == (
        "The SVG has more than 1,000,000 elements when it is drawn; at most 1,000,000 are allowed."
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (svg(BLUE, 'width="1e9" height="1"'), FailureCode.SIDE_TOO_LONG),
        (svg(BLUE, 'width="20000" height="20000"'), FailureCode.TOO_MANY_PIXELS),
        (svg("<g>"), FailureCode.CORRUPT_IMAGE),
        (svg(BLUE)[:-3], FailureCode.CORRUPT_IMAGE),
        (b'<?xml version="1.0" encoding="nonsense"?><svg/>', FailureCode.CORRUPT_IMAGE),
    ],
)
def test_an_svg_that_cannot_be_drawn_is_rejected(sandbox: Sandbox, data: bytes, code: FailureCode) -> None:
    with pytest.raises(Rejected) as rejection:
        sandbox.render(data, [THUMBNAIL])

    assert rejection.value.failure is code


def test_an_element_that_uses_itself_is_drawn_once(sandbox: Sandbox) -> None:
    loop = f'{BLUE}<g id="a"><use href="#a"/></g><pattern id="p"><rect fill="url(#p)"/></pattern>'

    assert middle(sandbox.render(svg(loop), [THUMBNAIL])) == [0, 0, 255, 255]


def test_a_panic_of_the_renderer_makes_the_image_corrupt(sandbox: Sandbox) -> None:
    """Otherwise it would end the worker, and the image would be tried again."""
    beyond = '<filter id="f"><feOffset dx="1e12" dy="-1e12"/></filter><rect width="99" height="99" filter="url(#f)"/>'

    with pytest.raises(Rejected) as rejection:
        sandbox.render(svg(beyond), [THUMBNAIL])

    assert rejection.value.failure is FailureCode.CORRUPT_IMAGE


@pytest.mark.parametrize("attribute", ["href", "xlink:href"])
def test_an_embedded_image_is_drawn(sandbox: Sandbox, attribute: str) -> None:
    inline = data_uri(encode(plain(8, 8, 0, 255, 0), "png"))

    rendered = sandbox.render(svg(f'<image {attribute}="{inline}" width="100" height="100"/>'), [THUMBNAIL])

    assert middle(rendered) == [0, 255, 0, 255]


@pytest.mark.parametrize(
    ("element", "scheme"), [("image", ""), ("image", "file://"), ("feImage", ""), ("x:image", "FILE://localhost")]
)
def test_an_image_in_another_file_is_not_drawn(sandbox: Sandbox, tmp_path: Path, element: str, scheme: str) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(encode(plain(8, 8, 255, 0, 0), "png"))
    image = f'<{element} xlink:href="{scheme}{secret}" href="{scheme}{secret}" width="100" height="100"/>'

    rendered = sandbox.render(svg(f'{BLUE}<g xmlns:x="http://www.w3.org/2000/svg">{image}</g>'), [THUMBNAIL])

    assert middle(rendered) == [0, 0, 255, 255]


@pytest.mark.parametrize(
    "content",
    [
        '<image href="http://localhost:1/evil.png"/>',
        '<image href="data:image/svg+xml;base64,PHN2Zy8+evil"/>',
        '<image href="data:text/html,evil"/>',
        '<a xlink:href="javascript:evil()"/>',
        '<use href="other.svg#evil"/>',
        "<script>evil()</script>",
        '<svg:script xmlns:svg="http://www.w3.org/2000/svg"><g>evil</g></svg:script>',
        '<foreignObject><body xmlns="http://www.w3.org/1999/xhtml">evil</body></foreignObject>',
        '<g onload="evil()" ONCLICK="evil()"/>',
        '<g xml:base="http://evil/"/>',
        '<style>@import url("http://evil/"); g{fill:url(http://evil/x)}</style>',
        '<style><![CDATA[g{fill:URL( "//evil" )}]]></style>',
        '<g fill="url(evil.svg#x)" style="fill:url(\'evil\')"/>',
    ],
)
def test_scripts_and_references_to_other_files_are_dropped(content: str) -> None:
    markup = clean(svg(content))

    assert "evil" not in markup


def test_a_reference_to_a_style_sheet_is_dropped() -> None:
    assert "evil" not in clean(svg("", prologue='<?xml-stylesheet href="http://evil/"?>'))


def test_references_inside_the_file_are_kept() -> None:
    content = (
        '<style>.a{fill:url(#g)}</style><g class="a" style="stroke:url( \'#g\' )"><use xlink:href="#g"/></g>&lt;&amp;'
    )

    markup = clean(svg(content))

    assert ".a{fill:url(#g)}" in markup
    assert "style=\"stroke:url( '#g' )\"" in markup
    assert 'xlink:href="#g"' in markup
    assert "&lt;&amp;" in markup


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/gif", "image/webp"])
def test_an_embedded_image_with_too_many_pixels_is_rejected(sandbox: Sandbox, media_type: str) -> None:
    bomb = data_uri(plain(10_001, 10_000, 0).pngsave_buffer(bitdepth=1), media_type)

    with pytest.raises(Rejected) as rejection:
        sandbox.render(svg(f'<image href="{bomb}"/>'), [THUMBNAIL])

    assert rejection.value.failure is FailureCode.TOO_MANY_PIXELS


def test_the_pixels_of_all_embedded_images_are_added_up(sandbox: Sandbox) -> None:
    image = f'<image href="{data_uri(plain(8_000, 8_000, 0).pngsave_buffer(bitdepth=1))}"/>'

    with pytest.raises(Rejected) as rejection:
        sandbox.render(svg(image * 2), [THUMBNAIL])

    assert rejection.value.public.startswith("The SVG embeds images of 128,000,000 pixels or more; at most 100,")


@pytest.mark.parametrize("inside", [b"", b"GIF89a", b"not an image", svg(BLUE)])
def test_an_embedded_image_must_be_a_raster_image(sandbox: Sandbox, inside: bytes) -> None:
    with pytest.raises(Rejected) as rejection:
        sandbox.render(svg(f'<image href="{data_uri(inside)}"/>'), [THUMBNAIL])

    assert rejection.value.failure in {FailureCode.UNSUPPORTED_FORMAT, FailureCode.CORRUPT_IMAGE}
