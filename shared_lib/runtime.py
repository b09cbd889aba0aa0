"""Make live clients and services of the settings. Nothing connects at import, because the process may still fork."""

import threading
from functools import cache, cached_property
from typing import TYPE_CHECKING

from pydantic import ValidationError

from shared_lib import observability, settings
from shared_lib.broker import Broker
from shared_lib.database.connection import Database
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import read_presets
from shared_lib.pipeline.sandbox.pool import Sandbox
from shared_lib.repositories import (
    ApiKeys,
    AuditLog,
    Claims,
    Collections,
    DeadLetters,
    Deliveries,
    Drift,
    ForeignImages,
    ImageQueries,
    Images,
    IssuerKeys,
    MultipartUploads,
    Operations,
    Originals,
    Presets,
    Privacy,
    Purges,
    Rates,
    Renditions,
    Retries,
    Tenants,
)
from shared_lib.services.announcing import Announcer
from shared_lib.services.authentication import Authenticator
from shared_lib.services.comparison import Comparison
from shared_lib.services.denials import Denials
from shared_lib.services.finishing import Finisher
from shared_lib.services.health import Health
from shared_lib.services.ingestion import Ingestion
from shared_lib.services.issuer_refresh import IssuerRefresh
from shared_lib.services.key_management import KeyManagement
from shared_lib.services.multipart import MultipartIngestion
from shared_lib.services.overlays import Overlays
from shared_lib.services.processing import Processor
from shared_lib.services.publishing import Publisher
from shared_lib.services.purging import Purging
from shared_lib.services.rate_limiting import RateLimiter
from shared_lib.services.recipes import Recipes
from shared_lib.services.reconciliation import Reconciliation
from shared_lib.services.renderer import Renderer
from shared_lib.services.state_report import StateReport
from shared_lib.services.token_verification import TokenVerifier
from shared_lib.settings import InvalidSettings, Processing, Settings
from shared_lib.storage.buckets import Gallery, Inbox
from shared_lib.storage.multipart import MultipartStore
from shared_lib.storage.presigned import UploadUrls
from shared_lib.storage.store import Store
from shared_lib.validation import describe_mistake

if TYPE_CHECKING:
    from shared_lib.delivery.delivery import Delivery

RENDER_MARGIN_SECONDS = 30  # for a rendition to reach a cache after it was made


class Runtime:
    """Everything a function needs from outside. No part of it connects, or starts anything, before it is used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database)
        self.store = Store(settings.store)
        self.broker = Broker(settings.kafka)
        self.health = Health({"database": self.database.ping, "store": self.store.ping, "kafka": self.broker.ping})
        self.sandbox = Sandbox(
            settings.limits,
            workers=settings.processing.decoders,
            images_per_worker=settings.processing.images_per_worker,
            required=settings.processing.sandbox == "required",
        )
        self.inbox = Inbox(self.store, settings.store.upload_bucket)
        self.gallery = Gallery(self.store, settings.store.completed_bucket)
        self.upload_urls = UploadUrls(self.store, settings.store.upload_bucket)
        self.multipart_store = MultipartStore(self.store, settings.store.upload_bucket)
        self._make_repositories()
        self._make_services()
        self._make_processor()

    def _make_repositories(self) -> None:
        self.images = Images(self.database, self.settings.processing, self.settings.quotas)
        self.image_queries = ImageQueries(self.database)
        self.claims = Claims(self.database, self.settings.processing)
        self.collections = Collections(self.database)
        self.originals = Originals(self.database)
        self.multipart_uploads = MultipartUploads(self.database, self.settings.quotas)
        self.dead_letters = DeadLetters(self.database)
        self.operations = Operations(self.database)
        self.retries = Retries(self.database)
        self.api_keys = ApiKeys(self.database)
        self.issuer_keys = IssuerKeys(self.database)
        self.rates = Rates(self.database)
        self.privacy = Privacy(self.database)
        self.audit_log = AuditLog(self.database)
        self.tenants = Tenants(self.database)
        self.drift = Drift(self.database)
        self.deliveries = Deliveries(self.database)
        presets = _read_presets(self.settings.processing)
        names = dict.fromkeys((THUMBNAIL.name, *self.settings.processing.default_presets))
        self.presets = Presets(self.database)
        self.recipes = Recipes(self.originals, self.presets, presets, defaults=tuple(presets[name] for name in names))
        self.renditions = Renditions(self.database, (recipe.name for recipe in self.recipes.defaults))

    def _make_services(self) -> None:
        settings = self.settings
        self.state_report = StateReport(self.operations, self.broker)
        self.key_management = KeyManagement(self.api_keys)
        self.authenticator = Authenticator(
            settings.auth, self.api_keys, TokenVerifier(settings.auth.issuers, self.issuer_keys, self.tenants)
        )
        self.denials = Denials(self.audit_log)
        self.rate_limiter = RateLimiter(settings.rates, self.rates)
        self.purging = Purging(
            Purges(self.database),
            settings.purge.caches,
            settings.limits.wall_seconds + settings.delivery.wait_seconds + RENDER_MARGIN_SECONDS,
        )
        self.issuer_refresh = IssuerRefresh(settings.auth.issuers, self.issuer_keys)
        self.announcer = Announcer(self.images, self.image_queries, self.broker)
        self.ingestion = Ingestion(
            self.images,
            self.image_queries,
            self.inbox,
            self.gallery,
            self.announcer,
            settings.limits,
        )
        self.finisher = Finisher(
            self.images,
            self.image_queries,
            self.claims,
            self.originals,
            self.inbox,
            self.gallery,
            self.multipart_store,
            self.announcer,
        )
        self.multipart_ingestion = MultipartIngestion(
            self.multipart_uploads,
            self.images,
            self.inbox,
            self.multipart_store,
            self.finisher,
            settings.limits.max_bytes,
            settings.processing,
        )
        self.reconciliation = Reconciliation(
            self.drift,
            self.images,
            self.image_queries,
            self.dead_letters,
            self.operations,
            self.rates,
            self.api_keys,
            self.audit_log,
            self.privacy,
            self.originals,
            self.multipart_uploads,
            self.multipart_store,
            self.deliveries,
            self.inbox,
            self.gallery,
            self.ingestion,
            self.finisher,
            self.announcer,
            Comparison(self.drift, self.image_queries, self.originals, self.gallery),
            settings.processing,
            settings.delivery.retention_days,
            settings.audit.retention_days,
            settings.reconciliation,
        )

    def _make_processor(self) -> None:
        overlays = Overlays(self.originals, self.gallery)
        limits, keep_location = self.settings.limits, self.settings.processing.keep_location
        self.renderer = Renderer(self.sandbox, overlays, limits, keep_location)
        self.publisher = Publisher(self.claims, self.gallery)
        self.processor = Processor(
            self.claims,
            self.inbox,
            self.gallery,
            self.recipes,
            self.renderer,
            self.publisher,
            self.finisher,
            self.ingestion,
        )

    @cached_property
    def delivery(self) -> "Delivery":
        """Imported on first use: the other functions start without it."""
        from shared_lib.delivery.delivery import Delivery  # noqa: PLC0415  (see above)
        from shared_lib.delivery.engine import Engine  # noqa: PLC0415  (same)
        from shared_lib.foreign import ForeignSources  # noqa: PLC0415  (same)
        from shared_lib.services.foreign_ingestion import ForeignIngestion  # noqa: PLC0415  (same)

        foreign = ForeignIngestion(
            ForeignSources(
                self.settings.foreign.sources, self.settings.foreign.networks, self.settings.processing.max_upload_bytes
            ),
            ForeignImages(self.database),
            self.images,
            self.deliveries,
            self.ingestion,
            self.settings.foreign.max_age_seconds,
            self.settings.delivery.wait_seconds,
        )
        engine = Engine(self.settings, self.deliveries, self.gallery, self.renderer, foreign)
        return Delivery(self.settings, engine, self.recipes)


def _read_presets(settings: Processing) -> dict[str, Recipe]:
    """Raise InvalidSettings if a preset is invalid, or a default one is not defined."""
    try:
        presets = read_presets(settings.presets)
    except ValidationError as error:
        places = [".".join(map(str, each["loc"])) + ": " + describe_mistake(each) for each in error.errors()]
        raise InvalidSettings(f"PROCESSING_PRESETS: {'; '.join(places)}") from error
    if unknown := set(settings.default_presets) - presets.keys():
        raise InvalidSettings(f"PROCESSING_DEFAULT_PRESETS: there is no preset {', '.join(sorted(unknown))}")
    return presets


_making = threading.Lock()


def current() -> Runtime:
    """Return the process's only runtime, also to threads that call this for the first time at once."""
    with _making:
        return _make()


@cache
def _make() -> Runtime:
    loaded = settings.load()
    observability.configure(loaded.log.level, loaded.log.format)
    if endpoint := loaded.telemetry.exporter_otlp_endpoint:
        from shared_lib import otlp  # noqa: PLC0415  it loads OpenTelemetry, which takes 150 ms

        otlp.export(endpoint, loaded.telemetry.metric_export_interval / 1000)
    return Runtime(loaded)
