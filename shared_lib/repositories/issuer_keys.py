"""Public keys of token issuers, cached for all functions, so that no request waits for an issuer.

Only the reconciler's tick fetches them, and only its role may store them: `database/rights.py`. A function that meets
an unknown key asks for a fetch.
"""

import json
from typing import Any

from shared_lib.database.connection import Database

FETCH_SECONDS = 50  # less than the minute between two ticks
PAUSE_SECONDS = 10  # between two fetches of the whole installation
MAX_AGE_HOURS = 48  # an issuer that was not reached for so long is no longer trusted

# A time in the future counts for nothing: a clock has jumped, or somebody wrote it.
_READ = """
    SELECT keys FROM issuer_keys
    WHERE issuer = :issuer AND fetched_at BETWEEN now() - make_interval(hours => :hours) AND now() + interval '1 minute'
"""
_REQUEST = """
    INSERT INTO issuer_keys AS k (issuer, wanted_at) VALUES (:issuer, now())
    ON CONFLICT (issuer) DO UPDATE SET wanted_at = now()
    WHERE (k.wanted_at BETWEEN now() - make_interval(secs => :pause) AND now()) IS NOT TRUE
"""
_BEGIN = """
    INSERT INTO issuer_keys AS k (issuer, attempted_at) VALUES (:issuer, now())
    ON CONFLICT (issuer) DO UPDATE SET attempted_at = now()
    WHERE (k.attempted_at BETWEEN now() - make_interval(secs => :pause) AND now()) IS NOT TRUE
      AND ((k.fetched_at BETWEEN now() - make_interval(secs => :fetch) AND now()) IS NOT TRUE
           OR k.wanted_at > k.fetched_at)
    RETURNING k.issuer
"""
_STORE = "UPDATE issuer_keys SET keys = CAST(:keys AS jsonb), fetched_at = now() WHERE issuer = :issuer"


class IssuerKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, issuer: str) -> list[dict[str, str]]:
        """Return the issuer's keys, as JWKs. Empty if there are none, or none that are young enough."""
        with self._database.transaction() as tx:
            row = tx.row(_READ, issuer=issuer, hours=MAX_AGE_HOURS)
        keys: list[dict[str, str]] = row["keys"] if row else []
        return keys

    def request_fetch(self, issuer: str) -> None:
        """Ask the next tick to fetch the keys. Many requests cost one write in PAUSE_SECONDS."""
        with self._database.transaction() as tx:
            tx.rows(_REQUEST, issuer=issuer, pause=PAUSE_SECONDS)

    def begin_fetch(self, issuer: str) -> bool:
        """Return whether it is time to fetch. For PAUSE_SECONDS, it is not time for anybody else."""
        with self._database.transaction() as tx:
            return bool(tx.rows(_BEGIN, issuer=issuer, pause=PAUSE_SECONDS, fetch=FETCH_SECONDS))

    def store(self, issuer: str, keys: list[dict[str, Any]]) -> None:
        with self._database.transaction() as tx:
            tx.rows(_STORE, issuer=issuer, keys=json.dumps(keys))
