"""Images, collections, attempts and dead letters, in and out of the database: the only room with SQL."""

from shared_lib.repositories.attempts import Claim, Superseded
from shared_lib.repositories.collections import Collections
from shared_lib.repositories.dead_letters import DeadLetter, DeadLetters
from shared_lib.repositories.drift import BATCH, Drift, Overdue
from shared_lib.repositories.images import Images, Trace
from shared_lib.repositories.originals import Originals

__all__ = [
    "BATCH",
    "Claim",
    "Collections",
    "DeadLetter",
    "DeadLetters",
    "Drift",
    "Images",
    "Originals",
    "Overdue",
    "Superseded",
    "Trace",
]
