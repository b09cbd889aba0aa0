"""Keep the issuers' public keys up to date."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared_lib.errors import ServiceError
from shared_lib.observability import get_logger, log_failure
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.settings import Issuer

log = get_logger()


@dataclass(frozen=True)
class IssuerRefresh:
    issuers: Sequence[Issuer]
    keys: IssuerKeys

    def run(self) -> int:
        """Fetch the keys of every issuer whose turn it is, and return for how many that worked.

        An issuer that can't be reached keeps its keys, and delays nothing else.
        """
        return sum(self._fetch(issuer) for issuer in self.issuers)

    def _fetch(self, issuer: Issuer) -> bool:
        from shared_lib.issuers import fetch_keys  # noqa: PLC0415  urllib3 takes 15 ms, and only the tick needs it

        try:
            if not self.keys.begin_fetch(issuer.issuer):
                return False
            keys = fetch_keys(issuer)
            self.keys.store(issuer.issuer, keys)
        except ServiceError as error:
            log_failure(log, "issuer_keys_not_fetched", error, issuer=issuer.issuer)
            return False
        log.debug("issuer_keys_fetched", issuer=issuer.issuer, keys=len(keys))
        return True
