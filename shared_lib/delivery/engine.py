"""Find what was ordered, or make it: once for each image and recipe, whatever process is asked, and in any dialect."""

import hashlib
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from shared_lib.backoff import Backoff
from shared_lib.database.connection import acting_for
from shared_lib.delivery.order import ORIGINAL, Constantly, Order
from shared_lib.delivery.signatures import REVOKED
from shared_lib.errors import (
    FailureCode,
    Forbidden,
    NotFound,
    Rejected,
    ServiceError,
    TooManyAttempts,
    Unavailable,
    WorkerError,
)
from shared_lib.observability import get_logger, log_failure
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.rendition import Rendition
from shared_lib.repositories.audit import current_caller
from shared_lib.repositories.deliveries import (
    Claimable,
    Deliveries,
    PublishedImage,
    State,
    StoredDelivery,
    describe_absence,
)
from shared_lib.services.foreign_ingestion import ForeignIngestion
from shared_lib.services.renderer import Renderer, RenderRequest
from shared_lib.settings import Settings
from shared_lib.storage.buckets import Download, Gallery

log = get_logger()

_MARGIN_SECONDS = 15  # of a claim, for the store and the database, beyond the time of one rendering
_FAILED_SECONDS = 3600  # that an image's own failure counts
_CRASHED_SECONDS = 60  # that a crash counts, which may have another cause
_NO_ORIGINAL = "The image's original is missing"
_PENDING = "The rendition is still being made"
_WAITING = 4  # renditions that wait to be made in a process, beyond those that are being made
_BEHIND = 32  # renditions that are to be made behind others
_BUSY = "Too many renditions are being made: try again later"


@dataclass(frozen=True)
class Found:
    """An order with its image and its recipe. Its ETag is known before anything is made."""

    order: Order
    image: PublishedImage
    recipe: Recipe
    state: State
    successor: Recipe | None = None
    """The rendition that takes its place once it is made."""

    @property
    def stored(self) -> StoredDelivery | None:
        """Return it if it is made already."""
        return self.state if isinstance(self.state, StoredDelivery) else None

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
    storing: Future[None] | None = None
    """Ends when a new rendition is stored. Nobody has to wait for that."""


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
        slots = 2 * settings.processing.decoders
        self._slots = threading.BoundedSemaphore(slots)
        self._reading = ThreadPoolExecutor(slots, thread_name_prefix="reading")
        # Beyond them a few wait. So there are threads left that send what is stored.
        places = slots + _WAITING
        self._places = threading.BoundedSemaphore(places)
        # As many are stored behind their answers. The process ends only after that.
        self._unstored = threading.BoundedSemaphore(places)
        self._storing = ThreadPoolExecutor(places, thread_name_prefix="storing")
        self._made_now: dict[tuple[UUID, str], Future[Made]] = {}
        self._lock = threading.Lock()
        self._behind: queue.Queue[tuple[PublishedImage, Recipe]] = queue.Queue(_BEHIND)
        self._maker: threading.Thread | None = None

    def find(self, order: Order) -> Found:
        """Raises NotFound, Invalid, and the Rejected that making it ended with lately."""
        with acting_for(order.tenant) if order.tenant else nullcontext():
            image, state = self._look_up(order)
        if not order.covers(image):
            raise describe_absence()
        if order.issued_at is not None and image.links_since and order.issued_at < image.links_since.timestamp():
            raise Forbidden(REVOKED, code="link_revoked")
        if order.content and not image.sha256.startswith(order.content):
            raise NotFound("The image has other content than the URL names", code="content_not_found")
        recipe = order.lower(image)
        if recipe is ORIGINAL:
            original = StoredDelivery(image.original_key, image.form.content_type, image.size_bytes)
            return Found(order, image, recipe, original)
        with acting_for(image.tenant):
            if order.lower_meanwhile is None:
                return Found(order, image, recipe, self._find_state(image, recipe, state))
            return self._find_for_now(order, image, recipe, state, order.lower_meanwhile(image))

    def _look_up(self, order: Order) -> tuple[PublishedImage, State | None]:
        """Return the image, and the rendition's state if what is to be made does not depend on the image."""
        if order.source:
            return self._foreign.find_image(order.source), None
        if isinstance(order.lower, Constantly) and order.lower.recipe is not ORIGINAL:
            return self._deliveries.find_both(order.image, order.lower.recipe.hash)
        return self._deliveries.find_both(order.image, None)[0], None

    def _find_for_now(
        self, order: Order, image: PublishedImage, recipe: Recipe, state: State | None, meanwhile: Recipe
    ) -> Found:
        """Find a rendition, or else another one that is made more quickly, or that can be made at all."""
        try:
            state = self._find_state(image, recipe, state)
        except Rejected:
            return Found(order, image, meanwhile, self._find_state(image, meanwhile))
        if isinstance(state, StoredDelivery):
            return Found(order, image, recipe, state)
        return Found(order.for_now(), image, meanwhile, self._find_state(image, meanwhile), successor=recipe)

    def _find_state(self, image: PublishedImage, recipe: Recipe, known: State | None = None) -> State:
        found = known or self._deliveries.find(image.uuid, recipe.hash)
        if isinstance(found, Rejected):
            raise found
        if isinstance(found, StoredDelivery) and found.is_long_unused:
            self._deliveries.touch(image.uuid, recipe.hash)
        return found

    def open(self, found: Found, stored: StoredDelivery, span: range | None) -> Download | bytes:
        """Open a stored rendition, or the original. If it has a successor, that is made behind it.

        A rendition whose object is missing is made again. Raises what `make` raises, and NotFound for an original.
        """
        download = self._gallery.stream(stored.key, span)
        if download is None and found.is_original:
            raise NotFound(_NO_ORIGINAL, code="original_missing")
        opened = self._make_again(found, stored, span) if download is None else download
        self._begin_successor(found)
        return opened

    def _make_again(self, found: Found, lost: StoredDelivery, span: range | None) -> bytes:
        log.warning("rendition_lost", image=f"{found.image.uuid}", key=lost.key)
        with acting_for(found.image.tenant):
            self._deliveries.forget(found.image.uuid, found.recipe.hash, lost.key)
        made = self._make_once(found.image, found.recipe, Claimable())
        data = made.data or self._gallery.read(made.stored.key)
        if data is None or len(data) != lost.size:  # the headers have its size
            raise Unavailable("The rendition has to be made again", code="rendition_lost", retry_after=1)
        return data[span.start : span.stop] if span else data

    def make(self, found: Found) -> Made:
        """Make it unless it is stored, or wait while another process does. A successor follows behind it.

        It is stored behind the answer. If the process dies before that, the next request makes it again. Raises
        Rejected, WorkerError, NotFound, TooManyAttempts, and Unavailable if it takes too long.
        """
        if found.stored:
            return Made(found.stored, None, "hit")
        made = self._make_once(found.image, found.recipe, found.state)
        self._begin_successor(found)
        return made

    def _make_once(self, image: PublishedImage, recipe: Recipe, state: State) -> Made:
        """Make it, or wait for the thread of this process that does. Until it is stored, it is sent from memory."""
        key = (image.uuid, recipe.hash)
        own = Future[Made]()
        with self._lock:
            first = self._made_now.setdefault(key, own)
        if first is not own:
            try:
                made = first.result(self._wait_seconds)
            except TimeoutError:
                raise Unavailable(_PENDING, code="rendition_pending", retry_after=2) from None
            return replace(made, how="collapsed")
        try:
            with acting_for(image.tenant):
                made = self._make(image, recipe, state)
        except BaseException as error:  # the others have to know, whatever it is
            self._forget_made(key)
            own.set_exception(error)
            raise
        own.set_result(made)
        if made.storing:
            made.storing.add_done_callback(lambda _: self._forget_made(key))
        else:
            self._forget_made(key)
        return made

    def _forget_made(self, key: tuple[UUID, str]) -> None:
        with self._lock:
            del self._made_now[key]

    def _begin_successor(self, found: Found) -> None:
        """Have a rendition made behind the one that is delivered.

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
                self._make_once(image, recipe, Claimable())
            except ServiceError as error:
                log.info("successor_not_made", image=str(image.uuid), code=error.code)
            except Exception:
                log.exception("successor_not_made", image=str(image.uuid))

    def preview(self, uuid: UUID, recipe: Recipe) -> Rendition:
        """Make a rendition that is stored nowhere, among at most as many others as this process makes at once.

        Raises Rejected, WorkerError, NotFound, and TooManyAttempts if there are too many others.
        """
        image = self._deliveries.find_image(uuid)
        with self._place(), self._slot(time.monotonic() + self._wait_seconds):
            return self._render(image, recipe, self._read_original(image))

    def _make(self, image: PublishedImage, recipe: Recipe, state: State) -> Made:
        """`state` is what it was when it was found."""
        until = time.monotonic() + self._wait_seconds
        backoff = Backoff(until)
        while not isinstance(state, StoredDelivery):
            if isinstance(state, Claimable) and (made := self._claim_and_make(image, recipe, until)):
                return made
            if not backoff.sleep():
                raise Unavailable(_PENDING, code="rendition_pending", retry_after=2)
            state = self._find_state(image, recipe)
        return Made(state, None, "collapsed")

    def _claim_and_make(self, image: PublishedImage, recipe: Recipe, until: float) -> Made | None:
        """Return None if another process has claimed it meanwhile."""
        self._renderer.rate_limiter.check_decoding(image.tenant)
        with self._place():
            with self._slot(until):
                reading = self._reading.submit(copy_context().run, self._read_original, image)  # while it is claimed
                claim = self._deliveries.claim(
                    image.uuid,
                    recipe.hash,
                    seconds=self._claim_seconds,
                    most=self._most,
                    overlays=recipe.overlays,
                )
                if claim is None:
                    return None
                with self._ending_claim(image.uuid, recipe.hash, claim):
                    rendition = self._render(image, recipe, reading.result())
            prefix = self._gallery.rendition_prefix(image.tenant, image.uuid, image.sha256)
            key = f"{prefix}{recipe.hash}.{rendition.extension}"
            stored = StoredDelivery(key, rendition.content_type, len(rendition.data))
            if not self._unstored.acquire(blocking=False):  # the store is slower than we are, so this caller waits
                self._store(image, rendition, stored, claim)
                return Made(stored, rendition.data, "stored")
        storing = self._storing.submit(copy_context().run, self._store, image, rendition, stored, claim)
        storing.add_done_callback(lambda _: self._unstored.release())
        return Made(stored, rendition.data, "stored", storing)

    @contextmanager
    def _ending_claim(self, uuid: UUID, recipe_hash: str, claim: UUID) -> Iterator[None]:
        """End the claim if the rendition can't be made, with the reason if that is the image's fault."""
        try:
            yield
        except Rejected as reason:
            self._deliveries.fail(uuid, recipe_hash, claim, reason, seconds=_FAILED_SECONDS)
            raise
        except WorkerError as error:
            crash = Rejected(FailureCode(error.code), error.public)
            self._deliveries.fail(uuid, recipe_hash, claim, crash, seconds=_CRASHED_SECONDS)
            raise
        except BaseException:
            self._release(uuid, recipe_hash, claim)
            raise

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Hold a place among the renditions that this process makes, and those that wait."""
        if not self._places.acquire(blocking=False):
            raise TooManyAttempts(_BUSY, code="busy", retry_after=2)
        try:
            yield
        finally:
            self._places.release()

    @contextmanager
    def _slot(self, until: float) -> Iterator[None]:
        if not self._slots.acquire(timeout=max(0, until - time.monotonic())):
            raise TooManyAttempts(_BUSY, code="busy", retry_after=2)
        try:
            yield
        finally:
            self._slots.release()

    def _read_original(self, image: PublishedImage) -> bytes:
        original = self._gallery.read(image.original_key)
        if original is None:
            raise NotFound(_NO_ORIGINAL, code="original_missing")
        return original

    def _render(self, image: PublishedImage, recipe: Recipe, original: bytes) -> Rendition:
        caller = current_caller()  # of a preview: a URL's is nobody in particular
        request = RenderRequest(original=original, tenant=image.tenant, recipes=(recipe,), requested_by=caller)
        return self._renderer.render(request).get(recipe.name)

    def _store(self, image: PublishedImage, rendition: Rendition, stored: StoredDelivery, claim: UUID) -> None:
        """Store it, and then record it. An object that is never recorded is found by the gallery's comparison."""
        uuid, recipe_hash = image.uuid, rendition.recipe.hash
        about = {"image": f"{uuid}", "key": stored.key}
        try:
            self._gallery.put(stored.key, rendition.data, stored.content_type)
            if self._deliveries.complete(uuid, recipe_hash, stored):
                log.info("rendition_stored", bytes=stored.size, **about)
            else:
                self._gallery.delete(stored.key)
                self._release(uuid, recipe_hash, claim)
                log.info("rendition_not_stored", reason="The image was deleted meanwhile", **about)
        except ServiceError as error:
            log_failure(log, "rendition_not_stored", error, **about)
            self._release(uuid, recipe_hash, claim)
        except Exception:
            log.exception("rendition_not_stored", **about)
            self._release(uuid, recipe_hash, claim)

    def _release(self, uuid: UUID, recipe_hash: str, claim: UUID) -> None:
        try:
            self._deliveries.release(uuid, recipe_hash, claim)
        except Unavailable:
            log.warning("claim_not_released", image=str(uuid))  # its deadline passes
