"""Send an invalid event, wait for its dead letter, and delete that. Runs in a function's pod.

Prints `recorded` and the status in the dead letter. MARK is replaced by a unique ID.
"""

import time

from shared_lib.runtime import current

SOURCE, ID = "/acceptance", "MARK"
FIND = "SELECT code FROM dead_letters WHERE event_source = :source AND event_id = :id"
DELETE = "DELETE FROM dead_letters WHERE event_source = :source AND event_id = :id"


class Poison:
    topic = "image-tasks"

    def to_kafka(self, _function: str, _traceparent: str | None) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        attributes = {
            "ce_specversion": b"1.0",
            "ce_id": ID.encode(),
            "ce_source": SOURCE.encode(),
            "ce_type": b"org.imageprocessing.image.processing.requested.v1",
            "content-type": b"application/json",
        }
        return ID.encode(), b"{}", list(attributes.items())


def await_dead_letter(seconds: float = 120) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with rt.database.transaction() as tx:
            if row := tx.row(FIND, source=SOURCE, id=ID):
                tx.rows(DELETE, source=SOURCE, id=ID)
                code: int | None = row["code"]
                return code
        time.sleep(1)
    raise SystemExit(f"No dead letter within {seconds:.0f} s: check the KafkaSource and record-dead-letter.")


rt = current()
rt.broker.publish(Poison())  # type: ignore[arg-type]  # no real payload is as broken
print("recorded", await_dead_letter())  # noqa: T201  # read by the caller
