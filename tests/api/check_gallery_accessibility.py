"""Look for accessibility violations on each page of the gallery, in each theme and language.

Run by `make test-gallery`. The tests look at each page in one light and one dark combination.
"""

from collections.abc import Callable

import accessibility
import pytest
from gallery import Gallery
from service import Api

THEMES, LANGUAGES = ["light", "dark"], ["en", "de", "ar"]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_has_an_accessibility_violation_in_any_theme_and_language(  # noqa: PLR0913, PLR0917  fixtures
    gallery: Gallery, api: Api, make_image: Callable[..., str], letter: str, language: str, theme: str
) -> None:
    uuid = make_image("shore")
    gallery.choose(theme, language)

    assert accessibility.look_at_library(gallery, api, uuid) == []
    assert accessibility.look_at_playground(gallery, uuid) == []
    assert accessibility.look_at_operations(gallery, letter) == []
