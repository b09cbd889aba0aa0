"""SVGs that need much, or refer to other files. Each one's name says what it tries."""

import base64
import gzip

from hostile.bombs import one_bit
from pipeline.pictures import ENDLESS, sample

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def svg(content: str, attributes: str = 'width="100" height="100"', prologue: str = "") -> bytes:
    return f"{prologue}<svg {NAMESPACES} {attributes}>{content}</svg>".encode()


def data_uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


ENTITIES = {
    "entity with an element": '<!DOCTYPE svg [<!ENTITY a "<g/>">]>',
    "entity that is used too often": f'<!DOCTYPE svg [<!ENTITY a "{"b" * 1_000_000}">]><!-- {"&a;" * 10} -->',
    "entity of a file": '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    "entity from outside": '<!DOCTYPE svg [<!ENTITY % a SYSTEM "http://localhost:1/x"> %a;]>',
    "entities of entities": "<!DOCTYPE svg [<!ENTITY l0 'ha'>"
    + "".join(f"<!ENTITY l{n + 1} '" + f"&l{n};" * 10 + "'>" for n in range(12))
    + '<!ENTITY a "&l12;">]>',
}

USE_OF_USE = '<g id="a0"><path d="M0 0h1"/></g>' + "".join(
    f'<g id="a{n + 1}">' + f'<use href="#a{n}"/>' * 10 + "</g>" for n in range(10)
)


def _nest(tag: str, refer: str, levels: int, each: int) -> str:
    """Return definitions that each refer to the previous one several times. The last one is used."""
    first = f'<{tag} id="x0" width="1" height="1"><rect width="9" height="9"/></{tag}>'
    rest = "".join(
        f'<{tag} id="x{n + 1}" width="1" height="1">'
        + f'<rect width="9" height="9" {refer}="url(#x{n})"/>' * each
        + f"</{tag}>"
        for n in range(levels)
    )
    return f'<defs>{first}{rest}</defs><rect width="100" height="100" {refer}="url(#x{levels})"/>'


def make_all() -> dict[str, bytes]:
    inline, large = data_uri(sample("png")), data_uri(one_bit(9_000, 9_000))
    filtered = '<rect width="4000" height="4000" filter="url(#f)"/>'
    wide = 'width="4000" height="4000"'
    made = {name: svg("<text>&a;</text>", prologue=prologue) for name, prologue in ENTITIES.items()}
    return made | {
        "elements in elements": svg("<g>" * 5_000 + "</g>" * 5_000),
        "elements without end": svg("<g/>" * 100_001),
        "use of use of use": svg(USE_OF_USE),
        "use of itself": svg('<g id="a"><use href="#a"/></g>'),
        "use of each other": svg('<g id="a"><use href="#b"/></g><g id="b"><use href="#a"/></g><use href="#a"/>'),
        "pattern of patterns": svg(_nest("pattern", "fill", 12, 8)),
        "masks of masks": svg(_nest("mask", "mask", 12, 8)),
        "clips of clips": svg(_nest("clipPath", "clip-path", 12, 8)),
        "pattern of itself": svg('<pattern id="p" width="1" height="1"><rect fill="url(#p)"/></pattern>'),
        "tiles without end": svg(
            '<pattern id="p" width="1e-6" height="1e-6"><path d="M0 0h1"/></pattern>'
            '<rect width="4000" height="4000" fill="url(#p)"/>',
            wide,
        ),
        "svg in svg": svg('<svg width="100%" height="100%">' * 190 + "<rect/>" + "</svg>" * 190, wide),
        "svg in data in svg": svg(f'<image href="{data_uri(svg("<rect/>"), "image/svg+xml")}"/>'),
        "layers on layers": svg('<g opacity="0.9">' * 190 + '<rect width="9" height="9"/>' + "</g>" * 190, wide),
        "octaves without end": ENDLESS,
        "blur without end": svg(f'<filter id="f"><feGaussianBlur stdDeviation="100000"/></filter>{filtered}', wide),
        "morphology without end": svg(f'<filter id="f"><feMorphology radius="4000"/></filter>{filtered}', wide),
        "convolution without end": svg(
            f'<filter id="f"><feConvolveMatrix order="99" kernelMatrix="{"1 " * 99 * 99}"/></filter>{filtered}', wide
        ),
        "filters in a row": svg(
            '<filter id="f">' + '<feGaussianBlur stdDeviation="9"/>' * 500 + "</filter>" + filtered, wide
        ),
        "dashes without end": svg('<path d="M0 0H1e9" stroke="red" stroke-dasharray="1e-6"/>'),
        "a long path": svg(f'<path d="M0 0{"l1 1 9-9" * 500_000}" stroke="red"/>'),
        "markers on a long path": svg(
            '<marker id="m"><rect width="9" height="9"/></marker>'
            f'<path marker-mid="url(#m)" d="M0 0{"l1 1" * 100_000}"/>'
        ),
        "stops without end": svg(
            '<linearGradient id="g">' + '<stop offset=".5"/>' * 90_000 + '</linearGradient><rect fill="url(#g)"/>'
        ),
        "styles without end": svg("<style>" + "g g g g:first-child{fill:red}" * 90_000 + "</style>" + "<g/>" * 90_000),
        "text without end": svg(f'<text font-size="9">{"M" * 5_000_000}</text>'),
        "large numbers": svg('<rect x="-1e38" width="1e39" height="1e300" transform="scale(1e30) rotate(1e30)"/>'),
        "offset beyond integers": svg(
            '<filter id="f"><feOffset dx="1e12" dy="-1e12"/></filter><rect width="99" height="99" filter="url(#f)"/>'
        ),
        "one image many times": svg(f'<image href="{inline}" width="100" height="100"/>' * 200),
        "large images inside": svg(f'<image href="{large}"/>' * 2),
        "a file outside": svg('<image href="file:///etc/passwd"/><use href="/etc/passwd#a"/>'),
        "the network outside": svg('<image href="http://127.0.0.1:1/"/><style>@import "http://127.0.0.1:1/"</style>'),
        "a script": svg("<script>for(;;){}</script>"),
        "a claim of width": svg("<rect/>", 'width="1e9" height="1"'),
        "a claim of both": svg("<rect/>", 'viewBox="0 0 30000 30000"'),
        "svgz": gzip.compress(svg("<g>" + " " * 50_000_000 + "</g>")),
        "utf-7": b'<?xml version="1.0" encoding="utf-7"?>+ADw-svg/+AD4-',
    }
