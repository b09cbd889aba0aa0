"""Render: bytes and recipes in, renditions out. A recipe that spoils a common job fails alone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from shared_lib.errors import FailureCode, Rejected, WorkerError
from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.rendition import FailedRecipe, Rendered, Rendition
from shared_lib.pipeline.sandbox.pool import Sandbox
from shared_lib.services.overlays import Overlays
from shared_lib.services.rate_limiting import RateLimiter


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    original: bytes
    tenant: str
    """Whose image it is, and whose images its recipes may lay on it."""
    recipes: tuple[Recipe, ...]
    requested_by: str | None = None
    """The API key or the token's subject that asked, if any: it pays for decoding, as the tenant does."""
    is_new: bool = False
    """Also extract the image's metadata. The recipes then include the thumbnail, and it must succeed."""
    accepts_crashes: bool = False
    """Fail a recipe that crashes its worker, instead of raising the error for another attempt."""
    check: Callable[[], object] = lambda: None
    """Called before each job that is run apart. May raise, to stop work that has become useless."""


@dataclass(frozen=True)
class Renderer:
    sandbox: Sandbox
    overlays: Overlays
    limits: Limits
    keep_location: bool
    """Extract where a picture was taken, and leave it in renditions that keep metadata."""
    rate_limiter: RateLimiter

    def render(self, request: RenderRequest) -> Rendered:
        """Render all recipes in one job. If that fails, render each in a job of its own.

        Raises Rejected if nothing can be made, or no thumbnail of a new image, and WorkerError unless the request
        accepts crashes and something can be made all the same.
        """
        # Worst case: two timeouts plus one running job = three. The event source waits for four.
        until = time.monotonic() + 2 * self.limits.wall_seconds
        try:
            return self._run_job(request, request.recipes, with_metadata=request.is_new)
        except (Rejected, WorkerError) as error:
            if len(request.recipes) == 1 or _should_retry(error, request):
                raise
            reason = _to_rejected(error)
        return self._render_apart(request, reason, until)

    def _render_apart(self, request: RenderRequest, reason: Rejected, until: float) -> Rendered:
        """Render each recipe in a job of its own: the fault may lie in one of them and not in the image.

        Apart from the first, no job starts after `until` (monotonic). The rest fail with the common job's reason.
        """
        first: Rendered | None = None
        made: list[Rendition] = []
        failed: list[FailedRecipe] = []
        for index, recipe in enumerate(request.recipes):
            request.check()
            if index and time.monotonic() > until:
                failed.append(FailedRecipe(recipe, reason))
                continue
            is_first_of_new = request.is_new and first is None
            try:
                result = self._run_job(request, (recipe,), with_metadata=is_first_of_new)
                self.limits.enforce_output(_count_bytes(*made, *result.renditions))
            except (Rejected, WorkerError) as error:
                if _should_retry(error, request) or is_first_of_new:  # not even a thumbnail
                    raise
                failed.append(FailedRecipe(recipe, _to_rejected(error)))
            else:
                first = first or result
                made += result.renditions
                failed += result.failed
        if first is None:
            raise reason
        return replace(first, renditions=tuple(made), failed=tuple(failed))

    def _run_job(self, request: RenderRequest, recipes: Sequence[Recipe], *, with_metadata: bool) -> Rendered:
        images = {image for recipe in recipes for image in recipe.overlays}
        overlays = self.overlays.read(request.tenant, images, self.limits.max_bytes - len(request.original))
        rendered = self.sandbox.render(
            request.original,
            recipes,
            overlays,
            tenant=request.tenant,
            with_metadata=with_metadata,
            with_location=self.keep_location,
            charge=partial(self.rate_limiter.charge_decoding, request.tenant, request.requested_by),
        )
        if with_metadata:
            rendered.get(THUMBNAIL.name)  # raises if it failed
        return rendered


def _count_bytes(*renditions: Rendition) -> int:
    return sum(len(each.data) for each in renditions)


def _should_retry(error: Exception, request: RenderRequest) -> bool:
    """Return whether another attempt may end otherwise: a worker may also crash by itself."""
    return isinstance(error, WorkerError) and not request.accepts_crashes


def _to_rejected(error: Rejected | WorkerError) -> Rejected:
    return error if isinstance(error, Rejected) else Rejected(FailureCode(error.code), error.public)
