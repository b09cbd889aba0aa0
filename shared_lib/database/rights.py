"""The rights of each role on each table. Bootstrap grants it after the migrations.

No function connects as the owner of the tables or as a superuser. `infra/k8s/components/postgres/roles.sql` creates the
roles, and its administrator decides who can log in as them. Of a table with a tenant, row-level security shows the app
one tenant's rows. The worker serves all tenants.
"""

from collections.abc import Iterator

OWNER, APP, WORKER = "images_owner", "images_app", "images_worker"
AUDITOR = "images_auditor"
"""Reads the audit log, and nothing else."""
SEARCH = "images_search"
"""Owns functions that search with an index, or find whose a key or an image is, and views of the whole service."""

GRANTEES = (APP, WORKER, SEARCH, AUDITOR)

ALL = "SELECT, INSERT, UPDATE, DELETE"
_KEY = "id, tenant_id, name, role, scopes, created_at, created_by, expires_at, last_used_at, revoked_at, replaced_by"
_SEARCHED = "uuid, tenant_id, filename, description, status, created_at, collection_id, deleted_at"
_DELIVERED = "sha256, original_key, content_type, size_bytes, width, height, queued_at, fence"
RIGHTS: dict[str, dict[str, str]] = {
    "images": {
        APP: "SELECT, INSERT, UPDATE",
        WORKER: ALL,
        SEARCH: f"SELECT ({_SEARCHED}, {_DELIVERED}, perceptual_hash, perceptual_quarters)",
    },
    "renditions": {APP: ALL, WORKER: ALL, SEARCH: "SELECT (image_id, key, content_type, size_bytes)"},
    "rendition_requests": {APP: ALL, WORKER: ALL},
    "deliveries": {
        APP: ALL,
        WORKER: ALL,
        SEARCH: "SELECT (image_id, recipe_hash, key, content_type, size_bytes, claimable_at, failure_code,"
        " failure_message, used_at)",
    },
    "presets": {APP: "SELECT, INSERT, DELETE"},
    "foreign_images": {APP: "SELECT, INSERT, UPDATE"},
    "processing_attempts": {
        APP: "SELECT, DELETE",
        WORKER: ALL,
        SEARCH: "SELECT (image_id, tenant_id, fence, started_at, ended_at, outcome, reason)",
    },
    "dead_letters": {APP: "SELECT, DELETE", WORKER: ALL, SEARCH: "SELECT (tenant_id, received_at)"},
    "collections": {APP: ALL, SEARCH: "SELECT (uuid, tenant_id, name, created_at, updated_at)"},
    "image_counts": {APP: "SELECT, INSERT, DELETE", WORKER: "SELECT, INSERT, DELETE", SEARCH: "SELECT"},
    "original_removals": {APP: ALL, WORKER: ALL},
    "outbox": {APP: "SELECT, DELETE", WORKER: ALL},
    "multipart_uploads": {APP: "SELECT, INSERT, DELETE", WORKER: "SELECT, DELETE"},
    "gallery_sizes": {WORKER: ALL, SEARCH: "SELECT"},
    "image_stocks": {APP: "SELECT, INSERT, DELETE", WORKER: "SELECT, INSERT, DELETE"},
    "rates": {APP: "SELECT, INSERT, UPDATE", WORKER: ALL},
    "scans": {WORKER: ALL},
    "purges": {WORKER: "SELECT, UPDATE, DELETE"},
    "reconciliation_counts": {APP: "SELECT", WORKER: "SELECT, INSERT, UPDATE"},
    "tenants": {APP: "SELECT, INSERT"},
    # Nobody but a function reads the digest of a secret, and that function one at a time.
    "api_keys": {
        APP: f"SELECT ({_KEY}), INSERT, UPDATE (expires_at, last_used_at, revoked_at, replaced_by)",
        SEARCH: "SELECT",
    },
    "erasures": {APP: "SELECT, INSERT, UPDATE", WORKER: "SELECT, UPDATE, DELETE"},
    # Whoever writes it can neither read nor change it. A trigger keeps young records from being deleted.
    "audit_events": {APP: "INSERT", WORKER: "SELECT, INSERT, DELETE", SEARCH: "SELECT", AUDITOR: "SELECT"},
    "audit_chain": {WORKER: "SELECT, INSERT, DELETE", AUDITOR: "SELECT"},
    "issuer_keys": {APP: "SELECT, INSERT, UPDATE", WORKER: "SELECT, INSERT, UPDATE"},
    "alembic_version": {APP: "SELECT", WORKER: "SELECT"},
}
SHARED = ("scans", "purges", "audit_chain", "reconciliation_counts", "issuer_keys", "alembic_version")
"""Tables whose rows belong to no tenant."""


def compose_grants() -> Iterator[str]:
    """Yield statements that grant exactly these rights."""
    for table, roles in RIGHTS.items():
        yield f"REVOKE ALL ON TABLE {table} FROM PUBLIC, {', '.join(GRANTEES)}"
        for role, rights in roles.items():
            yield f"GRANT {rights} ON TABLE {table} TO {role}"
