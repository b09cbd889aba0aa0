"""Publish events that nothing depends on, because the rows say the same."""

from dataclasses import dataclass
from uuid import UUID

from shared_lib import observability
from shared_lib.broker import Broker
from shared_lib.errors import NotFound, Unavailable
from shared_lib.events import Payload, describe_end
from shared_lib.repositories import ImageQueries, Images

log = observability.get_logger()


@dataclass(frozen=True)
class Announcer:
    images: Images
    image_queries: ImageQueries
    broker: Broker

    def publish_best_effort(self, event: Payload) -> bool:
        """Publish an event. Return False if Kafka is unavailable: reconciliation makes up for it."""
        try:
            self.broker.publish(event)
        except Unavailable as error:
            observability.log_failure(log, "event_not_published", error, type=event.type, image=str(event.uuid))
            return False
        return True

    def announce(self, uuid: UUID) -> bool:
        """
        Publish how an image ended. Return whether it was published.

        False if Kafka is unavailable, the image is gone, or processing was requested again meanwhile.
        """
        try:
            image = self.image_queries.get(uuid)
        except NotFound:
            return False
        if not image.status.ended or not self.publish_best_effort(describe_end(image)):
            return False
        self.images.mark_announced(image)
        return True
