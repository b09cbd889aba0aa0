"""Make live clients and services of the settings. Nothing connects at import, because the process may still fork.

Each part is made, and its module imported, on first use. So a function starts without what it does not use: the store's
client, recipes or reconciliation are a third of a cold start.
"""

import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from shared_lib import observability, settings
from shared_lib.database.connection import Database
from shared_lib.database.schema import Schema
from shared_lib.settings import Settings

if TYPE_CHECKING:
    from shared_lib.broker import Broker
    from shared_lib.delivery.delivery import Delivery
    from shared_lib.pipeline.sandbox.pool import Sandbox
    from shared_lib.repositories.api_keys import ApiKeys
    from shared_lib.repositories.audit import AuditLog
    from shared_lib.repositories.claims import Claims
    from shared_lib.repositories.collections import Collections
    from shared_lib.repositories.dead_letters import DeadLetters
    from shared_lib.repositories.deliveries import Deliveries
    from shared_lib.repositories.drift import Drift
    from shared_lib.repositories.image_queries import ImageQueries
    from shared_lib.repositories.images import Images
    from shared_lib.repositories.issuer_keys import IssuerKeys
    from shared_lib.repositories.multipart import MultipartUploads
    from shared_lib.repositories.operations import Operations
    from shared_lib.repositories.originals import Originals
    from shared_lib.repositories.presets import Presets
    from shared_lib.repositories.privacy import Privacy
    from shared_lib.repositories.rates import Rates
    from shared_lib.repositories.renditions import Renditions
    from shared_lib.repositories.retries import Retries
    from shared_lib.repositories.tenants import Tenants
    from shared_lib.repositories.watermarks import Watermarks
    from shared_lib.services.announcing import Announcer
    from shared_lib.services.authentication import Authenticator
    from shared_lib.services.denials import Denials
    from shared_lib.services.finishing import Finisher
    from shared_lib.services.foreign_ingestion import ForeignIngestion
    from shared_lib.services.health import Health
    from shared_lib.services.ingestion import Ingestion
    from shared_lib.services.issuer_refresh import IssuerRefresh
    from shared_lib.services.key_management import KeyManagement
    from shared_lib.services.multipart import MultipartIngestion
    from shared_lib.services.processing import Processor
    from shared_lib.services.publishing import Publisher
    from shared_lib.services.purging import Purging
    from shared_lib.services.rate_limiting import RateLimiter
    from shared_lib.services.recipes import Recipes
    from shared_lib.services.reconciliation import Reconciliation
    from shared_lib.services.renderer import Renderer
    from shared_lib.services.reservations import Reservations
    from shared_lib.services.state_report import StateReport
    from shared_lib.storage.buckets import Gallery, Inbox
    from shared_lib.storage.multipart import MultipartStore
    from shared_lib.storage.store import Store

RENDER_MARGIN_SECONDS = 30  # for a rendition to reach a cache after it was made

Made = TypeVar("Made")


class part(Generic[Made]):  # noqa: N801  used like property
    """A property that is made on first use, and once, also if several threads use it first."""

    def __init__(self, make: Callable[[Any], Made]) -> None:
        self._make = make

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, runtime: "Runtime", _owner: type) -> Made:
        """Called only until the part is in the instance's dictionary."""
        with runtime.making:
            made = vars(runtime)
            if self._name not in made:
                made[self._name] = self._make(runtime)
            found: Made = made[self._name]
            return found


class Runtime:
    """Everything a function needs from outside. No part of it connects, or starts anything, before it is used."""

    def __init__(self, settings: Settings) -> None:
        """Raise InvalidSettings for presets that cannot be read."""
        self.settings = settings
        self.database = Database(settings.database)
        self.schema = Schema(self.database)
        self.making = threading.RLock()
        if settings.processing.presets or settings.processing.default_presets:
            self.recipes  # noqa: B018  checks them

    @property
    def missing_confinement(self) -> tuple[str, ...]:
        """Parts of the kernel that are missing to confine the sandbox's workers. Empty if the sandbox does not run."""
        return self.sandbox.missing if "sandbox" in vars(self) else ()

    @part
    def broker(self) -> "Broker":
        from shared_lib.broker import Broker

        return Broker(self.settings.kafka)

    @part
    def store(self) -> "Store":
        from shared_lib.storage.store import Store

        return Store(self.settings.store)

    @part
    def inbox(self) -> "Inbox":
        from shared_lib.storage.buckets import Inbox

        return Inbox(self.store, self.settings.store.upload_bucket)

    @part
    def gallery(self) -> "Gallery":
        from shared_lib.storage.buckets import Gallery

        return Gallery(self.store, self.settings.store.completed_bucket)

    @part
    def multipart_store(self) -> "MultipartStore":
        from shared_lib.storage.multipart import MultipartStore

        return MultipartStore(self.store, self.settings.store.upload_bucket)

    @part
    def images(self) -> "Images":
        from shared_lib.repositories.images import Images

        return Images(self.database, self.settings.processing, self.settings.quotas)

    @part
    def image_queries(self) -> "ImageQueries":
        from shared_lib.repositories.image_queries import ImageQueries

        return ImageQueries(self.database)

    @part
    def claims(self) -> "Claims":
        from shared_lib.repositories.claims import Claims

        return Claims(self.database, self.settings.processing)

    @part
    def collections(self) -> "Collections":
        from shared_lib.repositories.collections import Collections

        return Collections(self.database)

    @part
    def originals(self) -> "Originals":
        from shared_lib.repositories.originals import Originals

        return Originals(self.database)

    @part
    def multipart_uploads(self) -> "MultipartUploads":
        from shared_lib.repositories.multipart import MultipartUploads

        return MultipartUploads(self.database, self.settings.quotas)

    @part
    def dead_letters(self) -> "DeadLetters":
        from shared_lib.repositories.dead_letters import DeadLetters

        return DeadLetters(self.database)

    @part
    def operations(self) -> "Operations":
        from shared_lib.repositories.operations import Operations

        return Operations(self.database)

    @part
    def retries(self) -> "Retries":
        from shared_lib.repositories.retries import Retries

        return Retries(self.database)

    @part
    def api_keys(self) -> "ApiKeys":
        from shared_lib.repositories.api_keys import ApiKeys

        return ApiKeys(self.database)

    @part
    def issuer_keys(self) -> "IssuerKeys":
        from shared_lib.repositories.issuer_keys import IssuerKeys

        return IssuerKeys(self.database)

    @part
    def rates(self) -> "Rates":
        from shared_lib.repositories.rates import Rates

        return Rates(self.database)

    @part
    def privacy(self) -> "Privacy":
        from shared_lib.repositories.privacy import Privacy

        return Privacy(self.database)

    @part
    def audit_log(self) -> "AuditLog":
        from shared_lib.repositories.audit import AuditLog

        return AuditLog(self.database)

    @part
    def tenants(self) -> "Tenants":
        from shared_lib.repositories.tenants import Tenants

        return Tenants(self.database)

    @part
    def drift(self) -> "Drift":
        from shared_lib.repositories.drift import Drift

        return Drift(self.database)

    @part
    def deliveries(self) -> "Deliveries":
        from shared_lib.repositories.deliveries import Deliveries

        return Deliveries(self.database, self.settings.quotas)

    @part
    def presets(self) -> "Presets":
        from shared_lib.repositories.presets import Presets

        return Presets(self.database)

    @part
    def renditions(self) -> "Renditions":
        from shared_lib.repositories.renditions import Renditions

        return Renditions(self.database, (recipe.name for recipe in self.recipes.defaults))

    @part
    def recipes(self) -> "Recipes":
        from shared_lib.pipeline.recipe import THUMBNAIL
        from shared_lib.services.recipes import Recipes, load_presets

        presets = load_presets(self.settings.processing)
        names = dict.fromkeys((THUMBNAIL.name, *self.settings.processing.default_presets))
        return Recipes(self.originals, self.presets, presets, defaults=tuple(presets[name] for name in names))

    @part
    def state_report(self) -> "StateReport":
        from shared_lib.services.state_report import StateReport

        return StateReport(self.operations, self.broker)

    @part
    def health(self) -> "Health":
        from shared_lib.services.health import Health

        return Health({"database": self.database.ping, "store": self.store.ping, "kafka": self.broker.ping})

    @part
    def key_management(self) -> "KeyManagement":
        from shared_lib.services.key_management import KeyManagement

        return KeyManagement(self.api_keys)

    @part
    def authenticator(self) -> "Authenticator":
        from shared_lib.services.authentication import Authenticator
        from shared_lib.services.token_verification import TokenVerifier

        auth = self.settings.auth
        return Authenticator(auth, self.api_keys, TokenVerifier(auth.issuers, self.issuer_keys, self.tenants))

    @part
    def denials(self) -> "Denials":
        from shared_lib.services.denials import Denials

        return Denials(self.audit_log)

    @part
    def rate_limiter(self) -> "RateLimiter":
        from shared_lib.services.rate_limiting import RateLimiter

        anonymous = self.settings.auth.mode == "anonymous"
        return RateLimiter(self.settings.rates, self.rates, serves_anonymous=anonymous)

    @part
    def purging(self) -> "Purging":
        from shared_lib.repositories.purges import Purges
        from shared_lib.services.purging import Purging

        made_within = self.settings.limits.wall_seconds + self.settings.delivery.wait_seconds + RENDER_MARGIN_SECONDS
        return Purging(Purges(self.database), self.settings.purge.caches, made_within)

    @part
    def issuer_refresh(self) -> "IssuerRefresh":
        from shared_lib.services.issuer_refresh import IssuerRefresh

        return IssuerRefresh(self.settings.auth.issuers, self.issuer_keys)

    @part
    def announcer(self) -> "Announcer":
        from shared_lib.services.announcing import Announcer

        return Announcer(self.images, self.image_queries, self.broker)

    @part
    def ingestion(self) -> "Ingestion":
        from shared_lib.services.ingestion import Ingestion

        return Ingestion(
            self.images,
            self.image_queries,
            self.originals,
            self.tenants,
            self.inbox,
            self.gallery,
            self.announcer,
            self.settings.limits,
        )

    @part
    def watermarks(self) -> "Watermarks":
        from shared_lib.repositories.watermarks import Watermarks

        return Watermarks(self.database)

    @part
    def finisher(self) -> "Finisher":
        from shared_lib.services.finishing import Finisher

        return Finisher(
            self.images,
            self.image_queries,
            self.claims,
            self.originals,
            self.watermarks,
            self.inbox,
            self.gallery,
            self.multipart_store,
            self.announcer,
        )

    @part
    def reservations(self) -> "Reservations":
        from shared_lib.services.reservations import Reservations
        from shared_lib.storage.presigned import UploadUrls

        urls = UploadUrls(self.store, self.settings.store.upload_bucket)
        return Reservations(
            self.images,
            urls,
            self.settings.limits.max_bytes,
            self.settings.processing.upload_url_seconds,
            requires_size=self.settings.auth.mode == "required",
        )

    @part
    def multipart_ingestion(self) -> "MultipartIngestion":
        from shared_lib.services.multipart import MultipartIngestion

        return MultipartIngestion(
            self.multipart_uploads,
            self.images,
            self.inbox,
            self.multipart_store,
            self.finisher,
            self.settings.limits.max_bytes,
            self.settings.processing,
        )

    @part
    def reconciliation(self) -> "Reconciliation":
        from shared_lib.repositories.foreign_images import ForeignImages
        from shared_lib.services.abandoned_uploads import AbandonedUploads
        from shared_lib.services.comparison import Comparison
        from shared_lib.services.housekeeping import Housekeeping
        from shared_lib.services.reconciliation import Reconciliation
        from shared_lib.services.recovery import Recovery
        from shared_lib.services.retention import Retention

        processing = self.settings.processing
        return Reconciliation(
            self.drift,
            self.operations,
            Recovery(
                self.drift,
                self.images,
                self.image_queries,
                self.inbox,
                self.ingestion,
                self.finisher,
                self.announcer,
                processing,
            ),
            AbandonedUploads(
                self.drift, self.images, self.multipart_uploads, self.multipart_store, processing.multipart_seconds
            ),
            Retention(
                self.drift,
                self.originals,
                self.deliveries,
                self.gallery,
                processing.retention_days,
                ForeignImages(self.database),
                self.settings.delivery.retention_days,
                self.settings.foreign.retention_days,
            ),
            Housekeeping(
                self.drift,
                self.dead_letters,
                self.rates,
                self.api_keys,
                self.audit_log,
                self.privacy,
                processing.retention_days,
                processing.dead_letter_days,
                self.settings.audit.retention_days,
            ),
            Comparison(self.drift, self.image_queries, self.originals, self.gallery),
            self.settings.reconciliation,
        )

    @part
    def sandbox(self) -> "Sandbox":
        from shared_lib.pipeline.sandbox.pool import Sandbox

        processing = self.settings.processing
        return Sandbox(
            self.settings.limits,
            workers=processing.decoders,
            images_per_worker=processing.images_per_worker,
            required=processing.sandbox == "required",
        )

    @part
    def renderer(self) -> "Renderer":
        from shared_lib.services.overlays import Overlays
        from shared_lib.services.renderer import Renderer

        return Renderer(
            self.sandbox,
            Overlays(self.originals, self.gallery),
            self.settings.limits,
            self.settings.processing.keep_location,
            self.rate_limiter,
        )

    @part
    def publisher(self) -> "Publisher":
        from shared_lib.services.publishing import Publisher

        return Publisher(self.claims, self.gallery)

    @part
    def processor(self) -> "Processor":
        from shared_lib.repositories.fairness import Fairness
        from shared_lib.services.processing import Processor

        return Processor(
            self.claims,
            self.watermarks,
            Fairness(self.database),
            self.gallery,
            self.recipes,
            self.renderer,
            self.publisher,
            self.finisher,
            self.ingestion,
        )

    @part
    def foreign_ingestion(self) -> "ForeignIngestion":
        from shared_lib.foreign import ForeignSources
        from shared_lib.repositories.foreign_images import ForeignImages
        from shared_lib.services.foreign_ingestion import ForeignIngestion

        foreign = self.settings.foreign
        return ForeignIngestion(
            ForeignSources(foreign.sources, foreign.networks, self.settings.processing.max_upload_bytes),
            ForeignImages(self.database),
            self.images,
            self.deliveries,
            self.ingestion,
            foreign.max_age_seconds,
            self.settings.delivery.wait_seconds,
        )

    @part
    def delivery(self) -> "Delivery":
        from shared_lib.delivery.delivery import Delivery
        from shared_lib.delivery.engine import Engine

        engine = Engine(self.settings, self.deliveries, self.gallery, self.renderer, self.foreign_ingestion)
        return Delivery(self.settings, engine, self.recipes)


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
        from shared_lib import otlp  # OpenTelemetry takes 150 ms

        otlp.export(endpoint, loaded.telemetry.metric_export_interval / 1000, share=loaded.telemetry.traces_sampler_arg)
    return Runtime(loaded)
