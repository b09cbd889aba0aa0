"""Authenticate callers by API key or bearer token."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from shared_lib.database.connection import acting_for
from shared_lib.domain.api_keys import ApiKey, ApiKeyText, is_first_in_hour, is_secret
from shared_lib.domain.principals import ANONYMOUS, Principal
from shared_lib.errors import TooManyAttempts, Unauthenticated
from shared_lib.observability import get_logger
from shared_lib.repositories.api_keys import ApiKeys
from shared_lib.services.token_verification import TokenVerifier
from shared_lib.settings import Auth

log = get_logger()

KEPT_SECONDS = 5  # that a key is trusted without asking the database: a revoked key is refused after that
KEPT_KEYS = 1_000
BAD_KEYS, BAD_KEYS_SECONDS = 10, 60
LOOK_UPS_A_SECOND = 20  # of keys from an address beyond that
WATCHED_ADDRESSES = 10_000


@dataclass(frozen=True)
class Credentials:
    """Credentials of a request. Empty texts are absent ones."""

    bearer: str
    api_key: str
    address: str


class Authenticator:
    """Thread-safe, with no state but caches."""

    def __init__(self, settings: Auth, api_keys: ApiKeys, tokens: TokenVerifier) -> None:
        self._settings = settings
        self._tokens = tokens
        self._keys = _KnownKeys(api_keys)
        self._bad_keys = _BadKeys()

    def identify(self, credentials: Credentials) -> Principal | None:
        """Return the caller, or None without credentials. Raises Unauthenticated and TooManyAttempts."""
        if credentials.api_key:
            return self._identify_key(credentials.api_key, credentials.address)
        if credentials.bearer:
            return self._tokens.verify(credentials.bearer)
        return ANONYMOUS if self._settings.mode == "anonymous" else None

    def _identify_key(self, text: str, address: str) -> Principal:
        parsed = ApiKeyText.parse(text)
        if parsed is None:  # it costs nothing, and can't be a guess
            raise Unauthenticated("The API key is not accepted")
        if key := self._keys.find(parsed, before_look_up=partial(self._bad_keys.check, address)):
            return key.principal
        log.info("api_key_refused", key=parsed.id, address=address)
        self._bad_keys.count(address)
        raise Unauthenticated("The API key is not accepted")


class _KnownKeys:
    """Keys that were looked up, for some seconds."""

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys
        self._found: OrderedDict[str, tuple[float, tuple[ApiKey, bytes]]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, text: ApiKeyText, before_look_up: Callable[[], None]) -> ApiKey | None:
        """Return the live key with this id and secret.

        The secret of an id never changes: of a key that was good here before, a wrong one is refused without a look
        into the database. `before_look_up` may raise for a key that was not.
        """
        started, now = time.monotonic(), datetime.now(UTC)
        with self._lock:
            known = self._found.get(text.id)
        if known and not is_secret(text, known[1][1]):
            return None
        if known is None:
            before_look_up()
        is_kept = known is not None and started - known[0] < KEPT_SECONDS
        stored = known[1] if known and is_kept else self._api_keys.look_up(text.id)
        if not (stored and is_secret(text, stored[1]) and stored[0].is_live(now)):
            return None
        if not is_kept:
            self._keep(started, stored)
            if is_first_in_hour(stored[0], now):
                with acting_for(stored[0].tenant_id):
                    self._api_keys.touch(text.id)
        return stored[0]

    def _keep(self, started: float, stored: tuple[ApiKey, bytes]) -> None:
        """Keep only keys that were used with their secret, so that guesses fill nothing."""
        with self._lock:
            self._found.pop(stored[0].id, None)
            self._found[stored[0].id] = started, stored
            if len(self._found) > KEPT_KEYS:
                self._found.popitem(last=False)


class _BadKeys:
    """Count bad keys by address. A key that was good in this process before always passes.

    Of others from an address with too many bad keys, a few are looked up in each second, so that nobody behind that
    address is locked out for long, and guesses cost little.
    """

    def __init__(self) -> None:
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._look_ups: dict[str, tuple[int, int]] = {}  # by address: a second, and how many there were in it
        self._lock = threading.Lock()

    def check(self, address: str) -> None:
        """Raise TooManyAttempts if an address has sent too many bad keys, and enough were looked up in this second."""
        now = time.monotonic()
        with self._lock:
            if self._find_wait(self._times.get(address), now) <= 0:
                return
            second, count = self._look_ups.get(address, (0, 0))
            if second != int(now):
                count = 0
            if count == LOOK_UPS_A_SECOND:
                raise _refuse(1)
            self._look_ups[address] = int(now), count + 1

    def count(self, address: str) -> None:
        """Raise TooManyAttempts for more than BAD_KEYS within BAD_KEYS_SECONDS."""
        now = time.monotonic()
        with self._lock:
            times = self._times.setdefault(address, deque(maxlen=BAD_KEYS))
            self._times.move_to_end(address)
            if len(self._times) > WATCHED_ADDRESSES:
                forgotten, _ = self._times.popitem(last=False)
                self._look_ups.pop(forgotten, None)
            wait = self._find_wait(times, now)
            if wait <= 0:
                times.append(now)
        if wait > 0:
            raise _refuse(wait)

    @staticmethod
    def _find_wait(times: deque[float] | None, now: float) -> float:
        """Return the seconds until one more bad key is within the limit."""
        return times[0] + BAD_KEYS_SECONDS - now if times and len(times) == BAD_KEYS else 0


def _refuse(wait: float) -> TooManyAttempts:
    return TooManyAttempts("Too many bad API keys from this address", retry_after=int(wait) + 1)
