"""Images, collections, attempts and dead letters, in and out of the database: the only room with SQL."""

from shared_lib.repositories.attempts import Claim, Superseded
from shared_lib.repositories.collections import Collections
from shared_lib.repositories.dead_letters import DeadLetter, DeadLetters
from shared_lib.repositories.drift import BATCH, BULK, Drift, Overdue, Pair
from shared_lib.repositories.images import Images
from shared_lib.repositories.originals import BeingRemoved, Originals
from shared_lib.repositories.renditions import Renditions, StoredRendition

__all__ = [
    "BATCH",
    "BULK",
    "BeingRemoved",
    "Claim",
    "Collections",
    "DeadLetter",
    "DeadLetters",
    "Drift",
    "Images",
    "Originals",
    "Overdue",
    "Pair",
    "Renditions",
    "StoredRendition",
    "Superseded",
]
