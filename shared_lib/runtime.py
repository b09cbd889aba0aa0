"""Settings become live clients, each on first use. Nothing connects at import: the process may yet fork."""

from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, cached_property

from shared_lib import observability, settings
from shared_lib.broker import Broker
from shared_lib.database import Database
from shared_lib.errors import Unavailable
from shared_lib.pipeline import DecoderBox, Limits
from shared_lib.reconciliation import Reconciliation
from shared_lib.repositories import Collections, DeadLetters, Drift, Images
from shared_lib.settings import Settings
from shared_lib.storage import Gallery, Inbox, Store
from shared_lib.workflow import Workflow

HEALTH_SECONDS = 3  # less than the patience of the usual probe


class Runtime:
    """What a function is handed: the outside world, as far as it touches it."""

    def __init__(self, told: Settings) -> None:
        self.settings = told

    @cached_property
    def database(self) -> Database:
        return Database(self.settings.database)

    @cached_property
    def images(self) -> Images:
        return Images(self.database, self.settings.processing)

    @cached_property
    def collections(self) -> Collections:
        return Collections(self.database)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        return DeadLetters(self.database)

    @cached_property
    def store(self) -> Store:
        return Store(self.settings.store)

    @cached_property
    def inbox(self) -> Inbox:
        return Inbox(self.store, self.settings.store.upload_bucket)

    @cached_property
    def gallery(self) -> Gallery:
        return Gallery(self.store, self.settings.store.completed_bucket)

    @cached_property
    def broker(self) -> Broker:
        return Broker(self.settings.kafka)

    @cached_property
    def box(self) -> DecoderBox:
        return DecoderBox(
            Limits(max_bytes=self.settings.processing.max_object_bytes), children=self.settings.processing.decoders
        )

    @cached_property
    def workflow(self) -> Workflow:
        return Workflow(self.images, self.inbox, self.gallery, self.broker)

    @cached_property
    def reconciliation(self) -> Reconciliation:
        return Reconciliation(Drift(self.database), self.workflow, self.settings.processing)

    def check(self) -> None:
        """Raises Unavailable that names each part which does not answer within `HEALTH_SECONDS`."""
        pings = {"database": self.database.ping, "store": self.store.ping, "kafka": self.broker.ping}
        pool = ThreadPoolExecutor(len(pings), thread_name_prefix="health")
        asked = {part: pool.submit(ping) for part, ping in pings.items()}
        pool.shutdown(wait=False)  # a part that hangs keeps its thread until the client's own timeout, not the caller
        wait(asked.values(), timeout=HEALTH_SECONDS)
        failing = [part for part, answer in asked.items() if not answer.done() or answer.exception()]
        if failing:
            details = [{"parameter": part, "message": "does not answer"} for part in failing]
            raise Unavailable(f"Out of reach: {', '.join(failing)}", code="out_of_reach", details=details)


@cache
def current() -> Runtime:
    """The process's own runtime."""
    told = settings.load()
    observability.configure(told.log.level, told.log.format)
    return Runtime(told)
