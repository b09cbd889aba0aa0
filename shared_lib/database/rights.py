"""What each role may do with each table. Bootstrap grants it after the migrations.

No function connects as the owner of the tables or as a superuser. `infra/k8s/components/postgres/roles.sql` creates the
roles, and its administrator decides who can log in as them.
"""

from collections.abc import Iterable, Iterator

OWNER, APP, WORKER = "images_owner", "images_app", "images_worker"

ALL = "SELECT, INSERT, UPDATE, DELETE"
RIGHTS: dict[str, dict[str, str]] = {
    "images": {APP: "SELECT, INSERT, UPDATE", WORKER: ALL},
    "renditions": {APP: ALL, WORKER: ALL},
    "rendition_requests": {APP: ALL, WORKER: ALL},
    "deliveries": {APP: ALL, WORKER: ALL},
    "processing_attempts": {APP: "SELECT, DELETE", WORKER: ALL},
    "dead_letters": {APP: "SELECT, DELETE", WORKER: ALL},
    "collections": {APP: ALL},
    "image_counts": {APP: "SELECT, INSERT, DELETE", WORKER: "SELECT, INSERT, DELETE"},
    "original_removals": {APP: ALL, WORKER: ALL},
    "multipart_uploads": {APP: "SELECT, INSERT, DELETE", WORKER: "SELECT, DELETE"},
    "image_stocks": {APP: "SELECT, INSERT, DELETE", WORKER: "SELECT, INSERT, DELETE"},
    "rates": {APP: "SELECT, INSERT, UPDATE", WORKER: "SELECT, UPDATE, DELETE"},
    "scans": {WORKER: ALL},
    "reconciliation_counts": {APP: "SELECT", WORKER: "SELECT, INSERT, UPDATE"},
    "api_keys": {APP: "SELECT, INSERT, UPDATE"},
    "issuer_keys": {APP: "SELECT, INSERT, UPDATE", WORKER: "SELECT, INSERT, UPDATE"},
    "alembic_version": {},
}


def compose_grants(tables: Iterable[str]) -> Iterator[str]:
    """Yield statements that grant exactly these rights on the tables, as far as they are listed here."""
    for table in sorted(set(tables) & RIGHTS.keys()):
        yield f"REVOKE ALL ON TABLE {table} FROM PUBLIC, {APP}, {WORKER}"
        for role, rights in RIGHTS[table].items():
            yield f"GRANT {rights} ON TABLE {table} TO {role}"
