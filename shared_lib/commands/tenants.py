"""Make a tenant, with its first admin's key, revoke its links, or delete it, with the service's own database.

`python -m shared_lib.commands.tenants --help` lists its commands.
"""

import argparse
import sys

from shared_lib.commands.api_keys import read_tenant, show_new_key
from shared_lib.commands.connection import run_on_database
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database, acting_for
from shared_lib.delivery.signatures import derive_key
from shared_lib.domain.api_keys import DEFAULT_DAYS, KeyGrant
from shared_lib.domain.principals import OPERATOR, Role
from shared_lib.errors import Conflict
from shared_lib.repositories.api_keys import ApiKeys
from shared_lib.repositories.images import Images
from shared_lib.repositories.tenants import Tenants
from shared_lib.services.key_management import KeyManagement
from shared_lib.settings import Settings


def main(*words: str) -> int:
    """Run a command and return its exit status. Only the key is on standard output."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.error("name a command")
    return run_on_database("tenants", lambda loaded, database: _run(loaded, database, arguments))


def _run(loaded: Settings, database: Database, arguments: argparse.Namespace) -> None:
    if arguments.command == "create":
        _create(database, arguments.name)
    elif arguments.command == "revoke-links":
        since = Tenants(database).revoke_links(arguments.name)
        print(f"Links that were signed before {since:%Y-%m-%d %H:%M:%S %Z} are revoked")  # noqa: T201  a command's output
    elif arguments.command == "link-key":
        print(_derive_link_key(loaded, arguments.name))  # noqa: T201  (same)
    else:
        images = Images(database, loaded.processing)
        deleted = _delete(Tenants(database), images, arguments.name, confirmed=arguments.confirm)
        print(f"{deleted} images deleted. Reconciliation deletes their objects")  # noqa: T201  a command's output


def _derive_link_key(loaded: Settings, tenant: str) -> str:
    """Return the key that signs links to this tenant's images only, as DELIVERY_KEYS has keys."""
    for name, key in loaded.delivery.keys.items():
        return f"{name}:{derive_key(bytes.fromhex(key.get_secret_value()), tenant).hex()}"
    raise Conflict("There are no DELIVERY_KEYS", code="no_signing_key")


def _create(database: Database, tenant: str) -> None:
    Tenants(database).create(tenant)
    grant = KeyGrant(name="first admin", role=Role.ADMIN, scopes=None, days=DEFAULT_DAYS)
    with acting_for(tenant):
        show_new_key(KeyManagement(ApiKeys(database)).create(grant, OPERATOR))


def _delete(tenants: Tenants, images: Images, tenant: str, *, confirmed: bool) -> int:
    """Delete a tenant with all that it has. Return how many images that were.

    Keys end first. A caller that is known for some seconds may still upload: repeat the command then.
    """
    if tenant == DEFAULT_TENANT:
        raise Conflict("The tenant default cannot be deleted", code="default_tenant")
    if not confirmed:
        raise Conflict(f"All images of {tenant} would be lost: add --confirm", code="not_confirmed")
    tenants.end_keys(tenant)
    count = 0
    while found := tenants.list_images(tenant):
        with acting_for(tenant):
            count += len(images.delete_all(found))
    tenants.delete(tenant)
    return count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared_lib.commands.tenants",
        description="Make a tenant in the database in DATABASE_URL, with a key for its first admin, or delete one.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    creating = commands.add_parser("create", help="make a tenant, and print its first key, once", allow_abbrev=False)
    creating.add_argument("name", metavar="NAME", type=read_tenant, help="lower-case letters, digits and hyphens")
    revoking = commands.add_parser(
        "revoke-links", help="revoke all links that were signed for its images", allow_abbrev=False
    )
    revoking.add_argument("name", metavar="NAME", type=read_tenant)
    deriving = commands.add_parser(
        "link-key", help="print the key that signs links to its images alone", allow_abbrev=False
    )
    deriving.add_argument("name", metavar="NAME", type=read_tenant)
    deleting = commands.add_parser("delete", help="delete a tenant with all that it has", allow_abbrev=False)
    deleting.add_argument("name", metavar="NAME", type=read_tenant)
    deleting.add_argument("--confirm", action="store_true", help="without it, nothing is changed")
    return parser


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
