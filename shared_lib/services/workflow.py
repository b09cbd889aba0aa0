"""How an image travels: the steps that more than one function takes, each safe to take again.

The row is the truth. Every event is a hint that says "look at this image now"; what a step could not do because
something was away, `reconcile_images` does later.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from shared_lib import observability
from shared_lib.broker import Broker
from shared_lib.domain.images import Status
from shared_lib.domain.uploads import PROBES, StoredObject
from shared_lib.errors import NOT_WORTH_KEEPING, NotFound, Rejected, Unavailable
from shared_lib.events import Payload, ProcessingRequested, Work, describe_end
from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import Recipe
from shared_lib.repositories import BeingRemoved, Claim, Images, Originals
from shared_lib.storage.buckets import Gallery, Inbox

log = observability.get_logger()


@dataclass(frozen=True)
class Workflow:
    images: Images
    originals: Originals
    inbox: Inbox
    gallery: Gallery
    broker: Broker
    limits: Limits
    store_notifies: bool
    """Whether the store tells Kafka of what comes into the inbox."""

    def receive(
        self, filename: str, description: str | None, data: bytes, content_type: str, recipes: Sequence[Recipe] = ()
    ) -> UUID:
        """Take in a direct upload: the row first, then the object, whose event, or one of our own, does the rest."""
        uuid = uuid4()
        self.images.create(uuid, filename, description, len(data), recipes)
        try:
            self.inbox.put(str(uuid), data, content_type)
        except Unavailable:
            self.images.delete(uuid)  # and not forget: the store may have it all the same, and tell of it later
            raise
        if not self.store_notifies:
            self.hint(ProcessingRequested(uuid=uuid))
        return uuid

    def admit(self, work: Work) -> Iterator[UUID]:
        """
        The images that an event is about. An object without a row is adopted on the way.

        An upload that is still awaited stays hidden, whatever the event says, until its object is there.
        """
        for name in work.names:
            uuid = StoredObject.name_image(name)
            if uuid and (state := self.images.get_state(uuid)):
                if state.status is not Status.AWAITING_UPLOAD or state.deleted or self.inbox.head(name):
                    yield uuid
            elif work.kind == "objects" and (found := self.inbox.head(name)) and self.adopt(found):
                yield found.image

    def adopt(self, found: StoredObject) -> bool:
        """
        Make an object that some client dropped into the inbox an image. False if it has gone meanwhile.

        One that is too large fails at once, without being copied to where it belongs, and is removed.
        """
        if found.key.startswith(PROBES):
            self.inbox.delete_if_unchanged(found)
            return False
        self.images.adopt(found)
        if found.named_image is None:
            try:
                self.limits.enforce_file(found.size)
            except Rejected as reason:
                self.images.fail(found.image, reason.failure, reason.public)
                self.inbox.delete_if_unchanged(found)
                return True
            if not self.inbox.move(found):
                if not self.inbox.head(str(found.image)):  # nor has anyone else taken it over
                    self.images.forget(found.image)
                return False
        log.info("object_adopted", key=found.key, image=str(found.image))
        return True

    def is_stored(self, uuid: UUID) -> bool:
        """Whether the image exists and its original, or what was made of it, is in the store."""
        for _ in range(2):  # the processor may publish and empty the inbox between the two looks
            state = self.images.get_state(uuid)
            if state is None or state.deleted:
                return False
            if state.status is Status.SUCCEEDED or self.inbox.head(str(uuid)):
                return True
        return False

    def give_up(self, claim: Claim, reason: Rejected) -> None:
        """
        Fail what a claim was to make, and remove an upload that is not worth keeping. Raises Superseded.

        Another that comes in its place once the image has failed stays.
        """
        judged = None
        if reason.failure in NOT_WORTH_KEEPING and not claim.published:
            judged = self.inbox.head(str(claim.uuid))
        claim.fail(reason)
        if judged:
            self.inbox.delete_if_unchanged(judged)

    def conclude(self, uuid: UUID) -> None:
        """
        What follows an image's end: its place in the inbox is cleared, and its end told, if nobody has told it.

        A failed image's upload stays, if it is worth keeping: it may be tried again. A deleted image's objects go.
        """
        state = self.images.get_state(uuid)
        if state is None:
            return
        if state.deleted:
            self.try_to_sweep(uuid)
            return
        if state.status is Status.SUCCEEDED:
            self.inbox.delete(str(uuid))
        if not state.announced:
            self.announce(uuid)

    def sweep(self, uuid: UUID) -> None:
        """Remove a deleted image's objects."""
        self.inbox.delete(str(uuid))
        self.gallery.delete_renditions(uuid)
        state = self.images.get_state(uuid)
        if state and state.original_key:
            self.originals.release(state.original_key, self.gallery.delete)
        self.images.mark_swept(uuid)
        log.info("image_erased", image=str(uuid))

    def try_to_sweep(self, uuid: UUID) -> None:
        """The same, for callers who need not know: what cannot be removed now is left for reconciliation."""
        try:
            self.sweep(uuid)
        except (Unavailable, BeingRemoved) as error:
            observability.log_failure(log, "objects_not_removed", error, image=str(uuid))

    def hint(self, event: Payload) -> bool:
        """Publish an event that nothing depends on, because the row already says it. False if Kafka is away."""
        try:
            self.broker.publish(event)
        except Unavailable as error:
            observability.log_failure(log, "event_not_published", error, type=event.type, image=str(event.uuid))
            return False
        return True

    def announce(self, uuid: UUID) -> bool:
        """Tell how an image ended. False if Kafka is away, or it is gone or has been asked for again meanwhile."""
        try:
            image = self.images.get(uuid)
        except NotFound:
            return False
        if not image.status.ended or not self.hint(describe_end(image)):
            return False
        self.images.mark_announced(image)
        return True
