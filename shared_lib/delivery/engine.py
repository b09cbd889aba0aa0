"""Find what was ordered, or make it: once for each image and recipe, whatever process is asked, and in any dialect."""

import hashlib
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from shared_lib.database.connection import acting_for
from shared_lib.delivery.order import ORIGINAL, Order
from shared_lib.errors import (
    FailureCode,
    NotFound,
    Rejected,
    ServiceError,
    TooManyAttempts,
    Unavailable,
    WorkerError,
)
from shared_lib.observability import get_logger
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.rendition import Rendition
from shared_lib.repositories.deliveries import Claimable, Claimed, Deliveries, PublishedImage, StoredDelivery
from shared_lib.repositories.rows import NOT_FOUND
from shared_lib.services.foreign_ingestion import ForeignIngestion
from shared_lib.services.renderer import Renderer, RenderRequest
from shared_lib.settings import Settings
from shared_lib.storage.buckets import Download, Gallery

log = get_logger()

_POLL_SECONDS = 0.05
_MARGIN_SECONDS = 15  # of a claim, for the store and the database, beyond the time of one rendering
_FAILED_SECONDS = 3600  # that an image's own failure counts
_CRASHED_SECONDS = 60  # that a crash counts, which may have another cause
_NO_ORIGINAL = "The image's original is missing"
_PENDING = "The rendition is still being made"
_WAITING = 4  # renditions that wait to be made in a process, beyond those that are being made
_BEHIND = 32  # renditions that are to be made behind others


@dataclass(frozen=True)
class Found:
    """An order with its image and its recipe. Its ETag is known before anything is made."""

    order: Order
    image: PublishedImage
    recipe: Recipe
    stored: StoredDelivery | None
    """None if it is still to be made."""
    successor: Recipe | None = None
    """The rendition that takes its place once it is made."""

    @property
    def etag(self) -> str:
        """Identifies the bytes: a recipe's hash includes the revision of the pipeline."""
        made_by = "original" if self.is_original else self.recipe.hash
        return f'"{hashlib.sha256(f"{self.image.sha256}/{made_by}".encode()).hexdigest()[:32]}"'

    @property
    def is_original(self) -> bool:
        return self.recipe is ORIGINAL


@dataclass(frozen=True)
class Made:
    """A rendition that is stored, by an earlier request, by this one, or by one that it waited for."""

    stored: StoredDelivery
    data: bytes | None
    how: Literal["hit", "stored", "collapsed"]


class Engine:
    def __init__(
        self,
        settings: Settings,
        deliveries: Deliveries,
        gallery: Gallery,
        renderer: Renderer,
        foreign: ForeignIngestion,
    ) -> None:
        self._deliveries = deliveries
        self._foreign = foreign
        self._gallery = gallery
        self._renderer = renderer
        self._wait_seconds = settings.delivery.wait_seconds
        self._most = settings.delivery.new_per_hour
        self._claim_seconds = settings.limits.wall_seconds + _MARGIN_SECONDS
        # While one image is decoded, another one is read. More would only fill the memory.
        self._slots = threading.BoundedSemaphore(2 * settings.processing.decoders)
        # Beyond them a few wait. So there are threads left that send what is stored.
        self._places = threading.BoundedSemaphore(2 * settings.processing.decoders + _WAITING)
        self._made_now: dict[tuple[UUID, str], Future[Made]] = {}
        self._lock = threading.Lock()
        self._behind: queue.Queue[tuple[PublishedImage, Recipe]] = queue.Queue(_BEHIND)
        self._maker: threading.Thread | None = None

    def find(self, order: Order) -> Found:
        """Raises NotFound, Invalid, and the Rejected that making it ended with lately."""
        image = self._foreign.find_image(order.source) if order.source else self._deliveries.find_image(order.image)
        if not order.covers(image):
            raise NotFound(NOT_FOUND, code="image_not_found")
        if order.content and not image.sha256.startswith(order.content):
            raise NotFound("The image has other content than the URL names", code="content_not_found")
        recipe = order.lower(image)
        if recipe is ORIGINAL:
            original = StoredDelivery(image.original_key, image.form.content_type, image.size_bytes)
            return Found(order, image, recipe, original)
        with acting_for(image.tenant):
            if order.lower_meanwhile is None:
                return Found(order, image, recipe, self._find_stored(image, recipe))
            return self._find_for_now(order, image, recipe, order.lower_meanwhile(image))

    def _find_for_now(self, order: Order, image: PublishedImage, recipe: Recipe, meanwhile: Recipe) -> Found:
        """Find a rendition, or else another one that is made more quickly, or that can be made at all."""
        try:
            if stored := self._find_stored(image, recipe):
                return Found(order, image, recipe, stored)
        except Rejected:
            return Found(order, image, meanwhile, self._find_stored(image, meanwhile))
        return Found(order.for_now(), image, meanwhile, self._find_stored(image, meanwhile), successor=recipe)

    def _find_stored(self, image: PublishedImage, recipe: Recipe) -> StoredDelivery | None:
        found = self._deliveries.find(image.uuid, recipe.hash)
        if not isinstance(found, StoredDelivery):
            return None
        if found.is_long_unused:
            self._deliveries.touch(image.uuid, recipe.hash)
        return found

    def open(self, found: Found, stored: StoredDelivery, span: range | None) -> Download:
        """
        Open a stored rendition, or the original. If it has a successor, that is made behind it.

        Raises Unavailable if a rendition's object is missing: it is then made again. Raises NotFound for an original.
        """
        download = self._gallery.stream(stored.key, span)
        if download is None and found.is_original:
            raise NotFound(_NO_ORIGINAL, code="original_missing")
        if download is None:
            with acting_for(found.image.tenant):
                self._deliveries.forget(found.image.uuid, found.recipe.hash, stored.key)
            raise Unavailable("The rendition has to be made again", code="rendition_lost", retry_after=1)
        self._begin_successor(found)
        return download

    def make(self, found: Found) -> Made:
        """
        Make it unless it is stored, or wait while another process does. If it has a successor, that follows behind it.

        Raises Rejected, WorkerError, NotFound, TooManyAttempts, and Unavailable if it takes too long.
        """
        if found.stored:
            return Made(found.stored, None, "hit")
        made = self._make_once(found.image, found.recipe)
        self._begin_successor(found)
        return made

    def _make_once(self, image: PublishedImage, recipe: Recipe) -> Made:
        """Make it, or wait for the thread of this process that does."""
        key = (image.uuid, recipe.hash)
        own = Future[Made]()
        with self._lock:
            first = self._made_now.setdefault(key, own)
        if first is not own:
            try:
                made = first.result(self._wait_seconds)
            except TimeoutError:
                raise Unavailable(_PENDING, code="rendition_pending", retry_after=2) from None
            return Made(made.stored, made.data, "collapsed")
        try:
            with acting_for(image.tenant):
                own.set_result(self._make(image, recipe))
        except BaseException as error:  # the others have to know, whatever it is
            own.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._made_now[key]
        return own.result()

    def _begin_successor(self, found: Found) -> None:
        """
        Have a rendition made behind the one that is delivered.

        Nothing remembers it if the process dies, or if too many are to be made. But what is delivered now is cached
        briefly, so the next caller begins it again.
        """
        if found.successor is None:
            return
        with suppress(queue.Full):
            self._behind.put_nowait((found.image, found.successor))
        with self._lock:
            if self._maker is None:
                self._maker = threading.Thread(target=self._make_successors, name="successors", daemon=True)
                self._maker.start()

    def _make_successors(self) -> None:
        while True:
            image, recipe = self._behind.get()
            try:
                self._make_once(image, recipe)
            except ServiceError as error:
                log.info("successor_not_made", image=str(image.uuid), code=error.code)
            except Exception:
                log.exception("successor_not_made", image=str(image.uuid))

    def preview(self, uuid: UUID, recipe: Recipe) -> Rendition:
        """
        Make a rendition that is stored nowhere, among at most as many others as this process makes at once.

        Raises Rejected, WorkerError, NotFound, and TooManyAttempts if there are too many others.
        """
        image = self._deliveries.find_image(uuid)
        with self._slot(time.monotonic() + self._wait_seconds):
            return self._render(image, recipe)

    def _make(self, image: PublishedImage, recipe: Recipe) -> Made:
        until = time.monotonic() + self._wait_seconds
        while True:
            state = self._deliveries.find(image.uuid, recipe.hash)
            if isinstance(state, StoredDelivery):
                return Made(state, None, "collapsed")
            if isinstance(state, Claimable) and (made := self._claim_and_make(image, recipe, until)):
                return made
            if isinstance(state, Claimed):
                if time.monotonic() > until:
                    raise Unavailable(_PENDING, code="rendition_pending", retry_after=2)
                time.sleep(_POLL_SECONDS)

    def _claim_and_make(self, image: PublishedImage, recipe: Recipe, until: float) -> Made | None:
        """Return None if another process has claimed it meanwhile."""
        with self._slot(until):
            claim = self._deliveries.claim(image.uuid, recipe.hash, seconds=self._claim_seconds, most=self._most)
            if claim is None:
                return None
            try:
                rendition = self._render(image, recipe)
                return self._store(image, rendition)
            except Rejected as reason:
                self._deliveries.fail(image.uuid, recipe.hash, claim, reason, seconds=_FAILED_SECONDS)
                raise
            except WorkerError as error:
                crash = Rejected(FailureCode(error.code), error.public)
                self._deliveries.fail(image.uuid, recipe.hash, claim, crash, seconds=_CRASHED_SECONDS)
                raise
            except BaseException:
                self._release(image.uuid, recipe.hash, claim)
                raise

    @contextmanager
    def _slot(self, until: float) -> Iterator[None]:
        busy = TooManyAttempts("Too many renditions are being made: try again later", code="busy", retry_after=2)
        if not self._places.acquire(blocking=False):
            raise busy
        try:
            if not self._slots.acquire(timeout=max(0, until - time.monotonic())):
                raise busy
            try:
                yield
            finally:
                self._slots.release()
        finally:
            self._places.release()

    def _render(self, image: PublishedImage, recipe: Recipe) -> Rendition:
        original = self._gallery.read(image.original_key)
        if original is None:
            raise NotFound(_NO_ORIGINAL, code="original_missing")
        return self._renderer.render(RenderRequest(original=original, tenant=image.tenant, recipes=(recipe,))).get(
            recipe.name
        )

    def _store(self, image: PublishedImage, rendition: Rendition) -> Made:
        """Store it, and then record it. An object that is never recorded is found by the gallery's comparison."""
        prefix = self._gallery.rendition_prefix(image.tenant, image.uuid, image.sha256)
        key = f"{prefix}{rendition.recipe.hash}.{rendition.extension}"
        self._gallery.put(key, rendition.data, rendition.content_type)
        stored = StoredDelivery(key, rendition.content_type, len(rendition.data))
        if not self._deliveries.complete(image.uuid, rendition.recipe.hash, stored):
            self._gallery.delete(key)  # the image was deleted meanwhile
            raise NotFound("Image not found", code="image_not_found")
        log.info("rendition_delivered", image=str(image.uuid), key=key, bytes=stored.size)
        return Made(stored, rendition.data, "stored")

    def _release(self, uuid: UUID, recipe_hash: str, claim: UUID) -> None:
        try:
            self._deliveries.release(uuid, recipe_hash, claim)
        except Unavailable:
            log.warning("claim_not_released", image=str(uuid))  # its deadline passes
