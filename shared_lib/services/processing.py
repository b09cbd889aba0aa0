"""Process an image: claim it, read it, render what it lacks, publish that, and finish.

Events come in the order of their images, of all tenants alike. So before its own image, an event takes those of
tenants that have had less done lately, while there are any. A tenant's backlog then delays no other tenant's images.
"""

import time
from dataclasses import dataclass
from uuid import UUID

from shared_lib.domain.images import ImageEnd
from shared_lib.errors import FailureCode, Rejected, ServiceError
from shared_lib.observability import get_logger, log_failure, resume_trace
from shared_lib.pipeline.recipe import Recipe
from shared_lib.repositories.claims import Claim, Claims, UploadAwaited
from shared_lib.repositories.fairness import Fairness, Waiting
from shared_lib.repositories.watermarks import Watermarks
from shared_lib.services.finishing import Finisher
from shared_lib.services.ingestion import Ingestion
from shared_lib.services.publishing import Publisher
from shared_lib.services.recipes import Recipes
from shared_lib.services.renderer import Renderer, RenderRequest
from shared_lib.storage.buckets import Gallery

log = get_logger()

OTHERS_SECONDS = 20  # for other tenants' images: less than an event's time


@dataclass(frozen=True)
class Processor:
    claims: Claims
    watermarks: Watermarks
    fairness: Fairness
    gallery: Gallery
    recipes: Recipes
    renderer: Renderer
    publisher: Publisher
    finisher: Finisher
    ingestion: Ingestion

    def process(self, uuid: UUID, key: str | None = None) -> None:
        """Make all that an image lacks. Returns when it has ended, is gone, or has no object yet.

        `key` is that of an object in the inbox, if it was notified of one: without a row, that becomes an image.
        Raises Conflict while another worker holds it. Any other error releases the claim and means "try again".
        """
        self._process_others_first(uuid)
        self._process_awaited(uuid, key)

    def _process_others_first(self, uuid: UUID) -> None:
        """Process images of tenants that have had less done, each of which still has an event of its own."""
        until = time.monotonic() + OTHERS_SECONDS
        while time.monotonic() < until:
            if not any(map(self._process_other, self.fairness.list_waiting(uuid))):
                return

    def _process_other(self, other: Waiting) -> bool:
        """Return whether the image could be processed. If not, its own event or reconciliation tries again."""
        try:
            if not (other.succeeded or self.ingestion.has_arrived(other.tenant, other.uuid, other.original_key)):
                return False
            self._process(other.uuid)
        except ServiceError as error:
            log_failure(log, "other_not_processed", error, image=str(other.uuid))
            return False
        return True

    def _process_awaited(self, uuid: UUID, key: str | None) -> None:
        try:
            self._process(uuid)
        except UploadAwaited as image:
            if self.ingestion.receive_awaited(uuid, image.tenant, key):
                self._process(uuid, arrived=True)

    def _process(self, uuid: UUID, *, arrived: bool = False) -> None:
        with (
            self.claims.hold(uuid, arrived=arrived) as claim,
            resume_trace(claim.traceparent if claim else None, "process image"),
        ):
            if claim:
                self.fairness.note_wait(claim.waited)
            end = claim and self._carry_out(claim)
        if claim is None:
            self.finisher.finish_ended(uuid)
        elif end:
            with resume_trace(end.traceparent, "finish image"):
                self.finisher.finish(end, from_inbox=claim.original_key is None)

    def _carry_out(self, claim: Claim) -> ImageEnd | None:
        """Return how the image ended, or None if it has no object yet."""
        try:
            original, in_gallery = self._read_original(claim)
            if original is None:
                self.claims.withdraw(claim)
                return None
            request = self._describe(claim, original)
            for recipe in request.recipes:
                if recipe.overlays:
                    self.watermarks.note(claim.uuid, recipe.hash, recipe.overlays)
            rendered = self.renderer.render(request)
        except Rejected as reason:
            return self.finisher.fail(claim, reason)
        return self.publisher.publish(claim, original, rendered, in_gallery=in_gallery)

    def _read_original(self, claim: Claim) -> tuple[bytes | None, bool]:
        """Return the image's bytes, or None if they have not arrived, and whether they are in the gallery.

        Raises Rejected if they are too many. An attempt that broke off may have named an original without storing it.
        """
        check_size = self.renderer.limits.enforce_file
        if claim.original_key:
            original = self.gallery.read(claim.original_key, check_size=check_size)
            if original is not None:
                return original, True
        if claim.has_succeeded:
            raise Rejected(FailureCode.UPLOAD_MISSING, "The original is not in the store any more")
        return self.ingestion.read_upload(claim.tenant, claim.uuid, check_size), False

    def _describe(self, claim: Claim, original: bytes) -> RenderRequest:
        return RenderRequest(
            original=original,
            tenant=claim.tenant,
            recipes=self._list_recipes(claim),
            requested_by=claim.requested_by,
            is_new=not claim.has_succeeded,
            accepts_crashes=claim.is_last,
            check=claim.lease.ensure_held,
        )

    def _list_recipes(self, claim: Claim) -> tuple[Recipe, ...]:
        """Return the recipes to make, each name once: a requested one replaces a default one."""
        recipes = claim.requested if claim.has_succeeded else (*self.recipes.defaults, *claim.requested)
        return tuple({recipe.name: recipe for recipe in recipes}.values())
