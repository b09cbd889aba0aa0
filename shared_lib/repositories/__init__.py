"""All SQL: images, uploads, claims, renditions, deliveries, collections, dead letters, audit, tenants, keys."""

from shared_lib.repositories.api_keys import ApiKeys
from shared_lib.repositories.audit import AuditLog, acting_as
from shared_lib.repositories.claims import Claim, Claims, UploadAwaited
from shared_lib.repositories.collections import Collections
from shared_lib.repositories.dead_letters import DeadLetter, DeadLetters
from shared_lib.repositories.deliveries import Deliveries
from shared_lib.repositories.drift import BATCH, BULK, Drift, Overdue, Pair
from shared_lib.repositories.foreign_images import ForeignImages
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.repositories.images import Images
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.repositories.leases import Superseded
from shared_lib.repositories.multipart import MultipartUploads
from shared_lib.repositories.operations import Operations
from shared_lib.repositories.originals import BeingRemoved, Originals
from shared_lib.repositories.presets import Presets
from shared_lib.repositories.privacy import Privacy
from shared_lib.repositories.purges import Purges
from shared_lib.repositories.rates import Rates
from shared_lib.repositories.renditions import Renditions, StoredRendition
from shared_lib.repositories.retries import Retries
from shared_lib.repositories.tenants import Tenants

__all__ = [
    "BATCH",
    "BULK",
    "ApiKeys",
    "AuditLog",
    "BeingRemoved",
    "Claim",
    "Claims",
    "Collections",
    "DeadLetter",
    "DeadLetters",
    "Deliveries",
    "Drift",
    "ForeignImages",
    "ImageQueries",
    "Images",
    "IssuerKeys",
    "MultipartUploads",
    "Operations",
    "Originals",
    "Overdue",
    "Pair",
    "Presets",
    "Privacy",
    "Purges",
    "Rates",
    "Renditions",
    "Retries",
    "StoredRendition",
    "Superseded",
    "Tenants",
    "UploadAwaited",
    "acting_as",
]
