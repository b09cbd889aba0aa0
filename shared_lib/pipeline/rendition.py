"""The pipeline's results: renditions, and the metadata of their source."""

from dataclasses import dataclass

from shared_lib.errors import Rejected
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.metadata.model import ImageMetadata
from shared_lib.pipeline.output import OutputOptions
from shared_lib.pipeline.recipe import Recipe


def possible_formats(output: OutputOptions, source: Format) -> set[Format]:
    """Return the formats that a rendition may have, depending on its pixels."""
    if isinstance(output.format, Format):
        return {output.format}
    if output.format == "auto":
        return {Format.WEBP}
    if output.format == "compatible":
        return {Format.JPEG, Format.PNG}
    return {Format.JPEG, Format.PNG} | ({source} if source.info.browser_safe else set())


@dataclass(frozen=True, slots=True)
class Rendition:
    """One encoded image, made by one recipe."""

    recipe: Recipe
    format: Format
    width: int
    height: int
    data: bytes

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def content_type(self) -> str:
        return self.format.content_type

    @property
    def extension(self) -> str:
        return self.format.extension


@dataclass(frozen=True, slots=True)
class FailedRecipe:
    """A recipe that cannot be carried out for this image, although others can."""

    recipe: Recipe
    reason: Rejected


@dataclass(frozen=True, slots=True)
class Rendered:
    """A source's real format and size, and its renditions in the recipes' order."""

    format: Format
    width: int
    """Pixels, after orientation."""
    height: int
    renditions: tuple[Rendition, ...]
    failed: tuple[FailedRecipe, ...] = ()
    metadata: ImageMetadata | None = None
    """None unless requested."""

    def get(self, name: str) -> Rendition:
        """Return the rendition of that name. Raises the Rejected that its recipe failed with."""
        for each in self.failed:
            if each.recipe.name == name:
                raise each.reason
        return next(each for each in self.renditions if each.name == name)
