"""Write which options of other services' URLs are understood into docs/dialects.md."""

from collections.abc import Iterator
from pathlib import Path

from infra.functions import ROOT
from infra.regions import fill
from shared_lib.delivery.imgproxy import options as imgproxy
from shared_lib.delivery.thumbor import filters as thumbor

DIALECTS = ROOT / "docs" / "dialects.md"


def generate() -> dict[Path, str]:
    tables = {
        "options of imgproxy": ("| option | |\n|---|---|\n", *sorted(_describe_options())),
        "filters of thumbor": ("| filter | |\n|---|---|\n", *sorted(_describe_filters())),
    }
    return {DIALECTS: fill(DIALECTS, **tables)}


def _describe_options() -> Iterator[str]:
    by_effect: dict[object, list[str]] = {imgproxy.PRESET: sorted(imgproxy.PRESET, reverse=True)}
    for name, apply in imgproxy.OPTIONS.items():
        by_effect.setdefault(apply, []).append(name)
    ignored = {names.split()[0]: f", without effect: {reason}" for names, reason in imgproxy.IGNORED.items()}
    for names in by_effect.values():
        yield f"| `{'`, `'.join(names)}` | understood{ignored.get(names[0], '')} |\n"
    yield f"| `{'`, `'.join(sorted(imgproxy.SECURITY))}` | refused with 403: URLs don't set limits |\n"


def _describe_filters() -> Iterator[str]:
    return (f"| `{name}` | understood |\n" for name in thumbor.FILTERS)
