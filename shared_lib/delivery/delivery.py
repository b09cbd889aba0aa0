"""The dialects, and the engine that they share."""

from dataclasses import replace
from datetime import datetime
from urllib.parse import unquote

from shared_lib.delivery.capabilities import Capability
from shared_lib.delivery.engine import Engine
from shared_lib.delivery.imgproxy.dialect import ImgproxyDialect
from shared_lib.delivery.negotiation import Accepted, read_accept
from shared_lib.delivery.order import Fetching, Order, Widths
from shared_lib.delivery.signatures import UrlKeys, choose_issue_time
from shared_lib.delivery.thumbor.dialect import ThumborDialect
from shared_lib.delivery.urls import Urls
from shared_lib.repositories.deliveries import PublishedImage
from shared_lib.services.recipes import Recipes
from shared_lib.settings import Settings

PREFIX = "/i/"
SLOW: Accepted = "avif"
"""The format that nobody waits for if another one will do."""


class Delivery:
    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        recipes: Recipes,
    ) -> None:
        allow_unsigned = settings.delivery.unsigned or settings.auth.mode == "anonymous"
        self.engine = engine
        self.max_age = settings.delivery.max_age_seconds
        self.keys = UrlKeys(settings.delivery, allow_unsigned=allow_unsigned)
        is_open = settings.auth.mode == "anonymous"
        fetching: Fetching = "never" if not settings.foreign.sources else "always" if is_open else "signed"
        widths = Widths(frozenset(settings.delivery.widths))
        self.imgproxy = ImgproxyDialect(
            settings.imgproxy,
            settings.store.upload_bucket,
            recipes.find_preset,
            allow_unsigned=allow_unsigned,
            is_open=is_open,
            fetching=fetching,
            widths=widths,
        )
        self.thumbor = ThumborDialect(settings.thumbor, allow_unsigned=allow_unsigned, fetching=fetching, widths=widths)
        self.urls = Urls(recipes.find_preset, widths, are_open=is_open)

    def sign(self, image: PublishedImage, options: str, file: str, expires_at: datetime | None) -> str:
        """Return the path of a signed URL. Raises Invalid if it would deliver nothing, and Forbidden without a key."""
        if expires_at is not None:
            options += f",exp={int(expires_at.timestamp())}"
        self.urls.read(options, file, "any", granted=True).lower(image)
        path = f"/{options}/{file}"
        return f"{PREFIX}{self.keys.sign(path, image.tenant, choose_issue_time(image.links_since))}{path}"

    def issue_token(self, image: PublishedImage, capability: Capability, options: str, file: str) -> str:
        """Return the path of a URL with a token. Raises Invalid or Forbidden if that would deliver nothing."""
        self.urls.read(options, file, "any", granted=capability).lower(image)
        token = self.keys.make_token(capability, image.tenant, choose_issue_time(image.links_since))
        return f"{PREFIX}{token}/{options}/{file}"

    def read_url(self, path: str, accept: str) -> Order:
        """Read the path of one of our own URLs, as it was sent. Its signature is checked before anything else."""
        signature, _, rest = path.removeprefix(PREFIX).partition("/")
        grant = self.keys.check(signature, f"/{rest}")
        options, _, file = map(unquote, rest.partition("/"))  # some clients encode commas and equals signs
        accepted = read_accept(accept)
        order = self.urls.read(
            options,
            file,
            accepted,
            granted=grant.allowed,
            meanwhile=read_accept(accept, besides=SLOW) if accepted == SLOW else None,
        )
        return replace(order, tenant=grant.tenant, issued_at=grant.issued_at)
