"""All settings, in one tree with a branch for each concern. `load()` reads them. No secret has a default."""

from functools import cache
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared_lib.settings.access import NO_QUOTAS, Audit, Auth, Http, Issuer, Quotas, Rates
from shared_lib.settings.backends import Database, Kafka, Store
from shared_lib.settings.delivery import Delivery, Foreign, Imgproxy, Thumbor
from shared_lib.settings.environment import Branch, InvalidSettings, find_secrets_folder
from shared_lib.settings.process import Build, Log, Serving, Telemetry
from shared_lib.settings.processing import FORM_OVERHEAD, Limits, Processing, Reconciliation
from shared_lib.settings.purging import (
    CloudflareCache,
    CloudFrontCache,
    FastlyCache,
    NginxCache,
    NginxFolder,
    Purge,
    PurgedCache,
    SouinCache,
)
from shared_lib.validation import describe_mistake

__all__ = [
    "BRANCHES",
    "FORM_OVERHEAD",
    "NO_QUOTAS",
    "Auth",
    "Build",
    "CloudFrontCache",
    "CloudflareCache",
    "Database",
    "Delivery",
    "FastlyCache",
    "Foreign",
    "Http",
    "Imgproxy",
    "InvalidSettings",
    "Issuer",
    "Kafka",
    "Limits",
    "NginxCache",
    "NginxFolder",
    "Processing",
    "PurgedCache",
    "Quotas",
    "Rates",
    "Reconciliation",
    "Serving",
    "Settings",
    "SouinCache",
    "Store",
    "Thumbor",
    "load",
]


class Settings(BaseModel, frozen=True, defer_build=True):
    """All settings of a function. `load()` builds it once for a process, of branches that are valid already."""

    database: Database
    store: Store
    kafka: Kafka
    http: Http
    auth: Auth
    rates: Rates
    quotas: Quotas
    processing: Processing
    audit: Audit
    delivery: Delivery
    imgproxy: Imgproxy
    thumbor: Thumbor
    purge: Purge
    foreign: Foreign
    reconciliation: Reconciliation
    limits: Limits
    log: Log
    telemetry: Telemetry


BRANCHES: dict[str, type[Branch]] = {
    name: cast("type[Branch]", field.annotation) for name, field in Settings.model_fields.items()
}


@cache
def load() -> Settings:
    """Read the environment.

    Raises InvalidSettings, which names every variable that is missing or wrong. It shows no value: it may be secret.
    """
    branches: dict[str, Any] = {}
    mistakes = []
    folder = find_secrets_folder()
    if folder and not folder.is_dir():
        mistakes.append("SECRETS_DIR: must name a folder of files, one for each secret variable")
    for name, branch in BRANCHES.items():
        try:
            branches[name] = branch.read()
        except ValidationError as error:
            mistakes += [_describe(branch, each) for each in error.errors()]
    if mistakes:
        raise InvalidSettings("Settings are missing or wrong: " + "; ".join(mistakes))
    return Settings.model_construct(**branches)


def _describe(branch: type[Branch], mistake: ErrorDetails) -> str:
    """Return the variable, the place in its JSON if it has one, and the mistake."""
    variable, *place = map(str, mistake["loc"])
    return ".".join((branch.name_variable(variable), *place)) + f": {describe_mistake(mistake, branch)}"
