"""pyvips, imported when it is first used.

Every HTTP function reads recipes, and so imports all operations. It must not load an imaging library for that, which
takes 70 to 120 ms of a cold start.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyvips
    from pyvips import Image
else:

    class _Lazy:
        def __getattr__(self, name: str) -> object:
            return getattr(import_module("pyvips"), name)

    pyvips = _Lazy()
    Image = Any  # for annotations

__all__ = ["Image", "pyvips"]
