"""Publish events that nothing depends on, because the rows say the same."""

from dataclasses import dataclass
from uuid import UUID

from shared_lib import observability
from shared_lib.broker import Broker
from shared_lib.domain.images import ImageEnd
from shared_lib.errors import Unavailable
from shared_lib.events import Payload, describe_end
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.repositories.images import Images

log = observability.get_logger()


@dataclass(frozen=True)
class Announcer:
    images: Images
    image_queries: ImageQueries
    broker: Broker

    def publish_best_effort(self, event: Payload, *, wait: bool = True) -> bool:
        """Publish an event. Return False if Kafka is unavailable: reconciliation makes up for it.

        Without `wait` the caller does not learn whether Kafka has taken it.
        """
        try:
            self.broker.publish(event, wait=wait)
        except Unavailable as error:
            observability.log_failure(log, "event_not_published", error, type=event.type, image=str(event.uuid))
            return False
        return True

    def announce(self, uuid: UUID) -> bool:
        """Publish how an image ended. Return whether it was published.

        False if Kafka is unavailable, the image is gone, or processing was requested again meanwhile.
        """
        end = self.image_queries.get_end(uuid)
        if end is None:
            return False
        with observability.resume_trace(end.traceparent, "announce image"):
            return self.publish_end(end)

    def publish_end(self, end: ImageEnd) -> bool:
        """Publish how an image has just ended. Return False if Kafka is unavailable."""
        if not self.publish_best_effort(describe_end(end)):
            return False
        self.images.mark_announced(end)
        return True
