"""Settings become live clients, each on first use. Nothing connects at import: the process may yet fork."""

import threading
from functools import cache

from pydantic import ValidationError

from shared_lib import observability, settings
from shared_lib.broker import Broker
from shared_lib.database.connection import Database
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import read_presets
from shared_lib.pipeline.sandbox.pool import DecoderBox
from shared_lib.repositories import Collections, DeadLetters, Drift, Images, Originals, Renditions
from shared_lib.services.health import Health
from shared_lib.services.reconciliation import Reconciliation
from shared_lib.services.rendering import Rendering
from shared_lib.services.workflow import Workflow
from shared_lib.settings import InvalidSettings, Processing, Settings
from shared_lib.storage.buckets import Gallery, Inbox, Store
from shared_lib.storage.presigned import UploadUrls
from shared_lib.validation import describe_mistake


class Runtime:
    """What a function is handed: the outside world. No part of it connects, or starts anything, before it is used."""

    def __init__(self, told: Settings) -> None:
        self.settings = told
        self.database = Database(told.database)
        self.store = Store(told.store)
        self.broker = Broker(told.kafka)
        self.health = Health({"database": self.database.ping, "store": self.store.ping, "kafka": self.broker.ping})
        self.box = DecoderBox(
            told.limits, children=told.processing.decoders, required=told.processing.sandbox == "required"
        )
        self.images = Images(self.database, told.processing)
        self.collections = Collections(self.database)
        self.originals = Originals(self.database)
        self.dead_letters = DeadLetters(self.database)
        self.inbox = Inbox(self.store, told.store.upload_bucket)
        self.gallery = Gallery(self.store, told.store.completed_bucket)
        self.upload_urls = UploadUrls(self.store, told.store.upload_bucket)
        self.presets = _read_presets(told.processing)
        self.rendering = Rendering(
            self.originals,
            self.inbox,
            self.gallery,
            self.box,
            presets=self.presets,
            always=tuple(self.presets[name] for name in dict.fromkeys((THUMBNAIL.name, *told.processing.always))),
            keep_location=told.processing.keep_location,
            limits=told.limits,
        )
        self.renditions = Renditions(self.database, (recipe.name for recipe in self.rendering.always))
        self.workflow = Workflow(
            self.images, self.originals, self.inbox, self.gallery, self.broker, told.limits, told.store.notifies
        )
        self.reconciliation = Reconciliation(
            Drift(self.database), self.dead_letters, self.workflow, told.processing, told.reconciliation
        )


def _read_presets(told: Processing) -> dict[str, Recipe]:
    """Raises InvalidSettings."""
    try:
        presets = read_presets(told.presets)
    except ValidationError as error:
        places = [".".join(map(str, each["loc"])) + ": " + describe_mistake(each) for each in error.errors()]
        raise InvalidSettings(f"PROCESSING_PRESETS: {'; '.join(places)}") from error
    if unknown := set(told.always) - presets.keys():
        raise InvalidSettings(f"PROCESSING_ALWAYS: there is no preset {', '.join(sorted(unknown))}")
    return presets


_making = threading.Lock()


def current() -> Runtime:
    """The process's own runtime; the same for all threads, however many come first at once."""
    with _making:
        return _make()


@cache
def _make() -> Runtime:
    told = settings.load()
    observability.configure(told.log.level, told.log.format)
    return Runtime(told)
