"""From an original to what is published of it: what is still to be made is rendered, stored, and made the image's."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from shared_lib.errors import FailureCode, Invalid, NotFound, Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.rendition import FailedRecipe, Rendered, Rendition
from shared_lib.pipeline.sandbox.pool import DecoderBox, DecoderBroke
from shared_lib.repositories import Claim, Originals
from shared_lib.storage.buckets import Gallery, Inbox


@dataclass(frozen=True)
class Rendering:
    originals: Originals
    inbox: Inbox
    gallery: Gallery
    box: DecoderBox
    presets: dict[str, Recipe]
    always: tuple[Recipe, ...]
    """What every image gets, the thumbnail first."""
    keep_location: bool
    limits: Limits

    def choose(self, renditions: Sequence[Recipe] | None, preset: str | None) -> tuple[Recipe, ...]:
        """Return the requested recipes. Raises Invalid, and NotFound for missing watermark images."""
        if preset is not None:
            if preset not in self.presets:
                raise _mistake("preset", f"there is no {preset!r}, only {', '.join(sorted(self.presets))}")
            return (self.presets[preset],)
        recipes = tuple(renditions or ())
        for at, recipe in enumerate(recipes):
            if recipe.name == THUMBNAIL.name:
                raise _mistake(f"renditions.{at}.name", "every image has a thumbnail; choose another name")
        overlays = {image for recipe in recipes for image in recipe.overlays}
        if missing := overlays - self.originals.find(overlays).keys():
            named = ", ".join(sorted(map(str, missing)))
            raise NotFound(f"There is no processed image {named} to lay on another", code="watermark_not_found")
        return recipes

    def read_original(self, claim: Claim) -> bytes | None:
        """The image's bytes, or None if they have not arrived. Raises Rejected when they are too many."""
        if claim.published:
            original = self.gallery.read(claim.published, check_size=self.limits.enforce_file)
            if original is None:
                raise Rejected(FailureCode.UPLOAD_MISSING, "The original is not in the store any more")
            return original
        return self.inbox.read(str(claim.uuid), check_size=self.limits.enforce_file)

    def render(self, claim: Claim, original: bytes) -> Rendered:
        """
        Make all that is still to be made, by one decode; by one for each, if together they are refused.

        Raises Rejected when nothing can be made, or no thumbnail of an image that has none; and DecoderBroke, unless
        it is the last attempt and something can be made all the same.
        """
        # With the last that begins by then it is three tasks' time at most; the event's source waits for four.
        until = time.monotonic() + 2 * self.limits.wall_seconds
        wanted = claim.orders if claim.published else (*self.always, *claim.orders)
        recipes = tuple({recipe.name: recipe for recipe in wanted}.values())
        learn = not claim.published
        try:
            return self._render(original, recipes, learn=learn)
        except (Rejected, DecoderBroke) as error:
            if len(recipes) == 1 or _may_pass(error, claim):
                raise
            reason = _to_refusal(error)
        return self._render_apart(claim, original, recipes, reason, until)

    def _render_apart(
        self, claim: Claim, original: bytes, recipes: tuple[Recipe, ...], reason: Rejected, until: float
    ) -> Rendered:
        """
        Make each by a task of its own: what spoiled them together may lie in one, and not in the image.

        But the first none begins after `until`, of the monotonic clock: what is left is refused for what they met
        together.
        """
        learn = not claim.published
        first: Rendered | None = None
        made: list[Rendition] = []
        refused: list[FailedRecipe] = []
        for at, recipe in enumerate(recipes):
            claim.ensure_held()
            if at and time.monotonic() > until:
                refused.append(FailedRecipe(recipe, reason))
                continue
            try:
                task = self._render(original, (recipe,), learn=learn and first is None)
                size = sum(len(each.data) for each in (*made, *task.renditions))
                self.limits.enforce_output(size)
            except (Rejected, DecoderBroke) as error:
                if _may_pass(error, claim) or (learn and first is None):  # not even a thumbnail
                    raise
                refused.append(FailedRecipe(recipe, _to_refusal(error)))
            else:
                first = first or task
                made += task.renditions
                refused += task.failed
        if first is None:
            raise reason
        return replace(first, renditions=tuple(made), failed=tuple(refused))

    def _render(self, original: bytes, recipes: tuple[Recipe, ...], *, learn: bool) -> Rendered:
        overlays = self._read_overlays(recipes, self.limits.max_bytes - len(original))
        rendered = self.box.render(original, recipes, overlays, learn=learn, location=self.keep_location)
        if learn:
            rendered.get(THUMBNAIL.name)
        return rendered

    def _read_overlays(self, recipes: tuple[Recipe, ...], room: int) -> dict[UUID, bytes]:
        """As many as have room in one task, bytes; a recipe whose overlay is left out is refused alone."""
        keys = self.originals.find({image for recipe in recipes for image in recipe.overlays})
        overlays = {}
        for image, key in keys.items():
            found = self.gallery.head(key)
            if found and found.size <= room and (data := self.gallery.read(key)) is not None:
                overlays[image] = data
                room -= len(data)
        return overlays

    def publish(self, claim: Claim, original: bytes, rendered: Rendered) -> None:
        """
        Write what was made, under keys of its own, then make it the image's, in one update.

        Raises Superseded when the claim was lost; nothing then points to what was written.
        """
        claim.ensure_held()
        digest = hashlib.sha256(original).hexdigest()
        folder = self.gallery.rendition_prefix(claim.uuid, digest)
        keys = {
            each.name: self.gallery.rendition_key(claim.uuid, digest, each.recipe.hash, each.extension)
            for each in rendered.renditions
        }
        if not claim.published:
            key = self.gallery.original_key(digest, rendered.extension)
            claim.name_original(key, digest, len(original))
            if self.gallery.head(key) is None:  # an equal image's may be there
                self.gallery.put(key, original, rendered.content_type)
        for each in rendered.renditions:
            self.gallery.put(keys[each.name], each.data, each.content_type)
        claim.succeed(rendered, keys)
        if claim.attempt > 1 and not claim.published:  # an earlier attempt may have read other bytes
            self.gallery.delete_renditions(claim.uuid, keep=folder)


def _may_pass(error: Exception, claim: Claim) -> bool:
    """Whether another attempt may end otherwise: a decoder that died may have done so by itself."""
    return isinstance(error, DecoderBroke) and not claim.is_last


def _to_refusal(error: Rejected | DecoderBroke) -> Rejected:
    return error if isinstance(error, Rejected) else Rejected(FailureCode(error.code), error.public)


def _mistake(parameter: str, message: str) -> Invalid:
    return Invalid(f"{parameter}: {message}", details=[{"parameter": parameter, "message": message}])
