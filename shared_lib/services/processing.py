"""Process an image: claim it, read it, render what it lacks, publish that, and finish."""

from dataclasses import dataclass
from uuid import UUID

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline.recipe import Recipe
from shared_lib.repositories import Claim, Claims
from shared_lib.services.finishing import Finisher
from shared_lib.services.publishing import Publisher
from shared_lib.services.recipes import Recipes
from shared_lib.services.renderer import Renderer, RenderRequest
from shared_lib.storage.buckets import Gallery, Inbox


@dataclass(frozen=True)
class Processor:
    claims: Claims
    inbox: Inbox
    gallery: Gallery
    recipes: Recipes
    renderer: Renderer
    publisher: Publisher
    finisher: Finisher

    def process(self, uuid: UUID) -> None:
        """
        Make all that an image lacks. Returns when it has ended, is gone, or has no object yet.

        Raises Conflict while another worker holds it. Any other error releases the claim and means "try again".
        """
        with self.claims.hold(uuid) as claim:
            if claim and not self._carry_out(claim):
                return
        self.finisher.finish(uuid)

    def _carry_out(self, claim: Claim) -> bool:
        """Return False if the image has no object yet."""
        try:
            original = self._read_original(claim)
            if original is None:
                self.claims.withdraw(claim)
                return False
            rendered = self.renderer.render(self._describe(claim, original))
        except Rejected as reason:
            self.finisher.fail(claim, reason)
        else:
            self.publisher.publish(claim, original, rendered)
        return True

    def _read_original(self, claim: Claim) -> bytes | None:
        """Return the image's bytes, or None if they have not arrived. Raises Rejected if they are too many."""
        check_size = self.renderer.limits.enforce_file
        if claim.original_key is None:
            return self.inbox.read(str(claim.uuid), check_size=check_size)
        original = self.gallery.read(claim.original_key, check_size=check_size)
        if original is None:
            raise Rejected(FailureCode.UPLOAD_MISSING, "The original is not in the store any more")
        return original

    def _describe(self, claim: Claim, original: bytes) -> RenderRequest:
        return RenderRequest(
            original=original,
            recipes=self._list_recipes(claim),
            is_new=not claim.has_succeeded,
            accepts_crashes=claim.is_last,
            check=claim.lease.ensure_held,
        )

    def _list_recipes(self, claim: Claim) -> tuple[Recipe, ...]:
        """Return the recipes to make, each name once: a requested one replaces a default one."""
        recipes = claim.requested if claim.has_succeeded else (*self.recipes.defaults, *claim.requested)
        return tuple({recipe.name: recipe for recipe in recipes}.values())
