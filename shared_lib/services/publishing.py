"""Publish: store what was rendered, then make it the image's by one update of the database."""

import hashlib
from dataclasses import dataclass

from shared_lib.domain.images import ImageEnd
from shared_lib.pipeline.rendition import Rendered
from shared_lib.repositories import Claim, Claims
from shared_lib.storage.buckets import Gallery


@dataclass(frozen=True)
class Publisher:
    claims: Claims
    gallery: Gallery

    def publish(self, claim: Claim, original: bytes, rendered: Rendered) -> ImageEnd:
        """
        Store the original and the renditions under keys of their own, and publish them together.

        Raises Superseded if the claim was lost. Then no row references what was stored.
        """
        claim.lease.ensure_held()
        sha256 = hashlib.sha256(original).hexdigest()
        keys = {
            each.name: self.gallery.rendition_key(claim.uuid, sha256, each.recipe.hash, each.extension)
            for each in rendered.renditions
        }
        if not claim.has_succeeded:
            self._store_original(claim, original, sha256, rendered)
        for each in rendered.renditions:
            self.gallery.put(keys[each.name], each.data, each.content_type)
        end = self.claims.succeed(claim, rendered, keys)
        if claim.attempt > 1 and not claim.has_succeeded:  # an earlier attempt may have read other bytes
            self.gallery.delete_renditions(claim.uuid, keep=self.gallery.rendition_prefix(claim.uuid, sha256))
        return end

    def _store_original(self, claim: Claim, original: bytes, sha256: str, rendered: Rendered) -> None:
        key = self.gallery.original_key(sha256, rendered.extension)
        published = self.claims.name_original(claim, key, sha256, len(original))
        if not (published and self.gallery.head(key)):  # an attempt that broke off may have put the same bytes there
            self.gallery.put(key, original, rendered.content_type)
