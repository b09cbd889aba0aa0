"""Publish: store what was rendered, then make it the image's by one update of the database."""

from dataclasses import dataclass

from shared_lib.domain.images import ImageEnd
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.rendition import Rendered
from shared_lib.repositories.claims import Claim, Claims
from shared_lib.storage.buckets import Gallery


@dataclass(frozen=True)
class Publisher:
    claims: Claims
    gallery: Gallery

    def publish(self, claim: Claim, data: bytes, rendered: Rendered, *, in_gallery: bool = False) -> ImageEnd:
        """Store the renditions, and the original unless it is `in_gallery`, and publish them together.

        The thumbnail is part of the image's row, with which lists need it, and has no object. Raises Superseded if the
        claim was lost. Then no row references what was stored.
        """
        claim.lease.ensure_held()
        original = self.gallery.describe_original(data, rendered.format, claim.tenant)
        prefix = self.gallery.rendition_prefix(claim.tenant, claim.uuid, original.sha256)
        objects = [each for each in rendered.renditions if each.name != THUMBNAIL.name]
        keys = {each.name: f"{prefix}{each.recipe.hash}.{each.extension}" for each in objects}
        if not in_gallery:
            named = self.claims.name_original(claim, original)
            self.gallery.store_original(original, data, is_published=named.is_published)
        for each in objects:
            self.gallery.put(keys[each.name], each.data, each.content_type)
        end = self.claims.succeed(claim, rendered, keys)
        if claim.attempt > 1 and not claim.has_succeeded:  # an earlier attempt may have read other bytes
            self.gallery.delete_renditions(claim.tenant, claim.uuid, keep=prefix)
        return end
