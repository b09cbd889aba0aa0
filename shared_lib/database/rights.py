"""The rights of each role on each table, view and function. Bootstrap grants them after the migrations.

No function connects as the owner of the tables or as a superuser. `infra/k8s/components/postgres/roles.sql` creates the
roles, and its administrator decides who can log in as them. Of a table with a tenant, row-level security shows the app
and delivery one tenant's rows. The worker serves all tenants.
"""

from collections.abc import Iterator

OWNER, APP, WORKER = "images_owner", "images_app", "images_worker"
DELIVERY = "images_delivery"
"""Sends and makes renditions. Who has a URL has no tenant, so it finds any image by its uuid, and makes no API key."""
RECONCILER = "images_reconciler"
"""Belongs to WORKER, which decodes images, and also stores the keys of token issuers: who does that can be anybody."""
REPORTER = "images_reporter"
"""Reads counts and times of all tenants."""
AUDITOR = "images_auditor"
"""Reads the audit log, and nothing else."""
SEARCH = "images_search"
"""Owns functions that search with an index, or find whose a key or an image is, and views of the whole service."""

GRANTEES = (APP, DELIVERY, WORKER, RECONCILER, REPORTER, SEARCH, AUDITOR)

ALL = "SELECT, INSERT, UPDATE, DELETE"
_HTTP = (APP, DELIVERY)
_KEY = "id, tenant_id, name, role, scopes, created_at, created_by, expires_at, last_used_at, revoked_at, replaced_by"
_SEARCHED = "uuid, tenant_id, filename, description, status, created_at, collection_id, deleted_at"
_DELIVERED = "sha256, original_key, content_type, size_bytes, width, height, queued_at, fence"
# The database itself sets a record's ID and time.
_RECORD = "INSERT (tenant_id, principal, address, request_id, action, subject, details)"
# Enough to read the keys, and to ask for fresh ones.
_ISSUER = "SELECT, INSERT (issuer, wanted_at), UPDATE (wanted_at)"
RIGHTS: dict[str, dict[str, str]] = {
    "images": {
        **dict.fromkeys(_HTTP, "SELECT, INSERT, UPDATE"),
        WORKER: ALL,
        SEARCH: f"SELECT ({_SEARCHED}, {_DELIVERED}, perceptual_hash, perceptual_quarters)",
    },
    "renditions": {
        **dict.fromkeys(_HTTP, ALL),
        WORKER: ALL,
        SEARCH: "SELECT (image_id, key, content_type, size_bytes)",
    },
    "rendition_requests": {**dict.fromkeys(_HTTP, ALL), WORKER: ALL},
    "deliveries": {
        **dict.fromkeys(_HTTP, ALL),
        WORKER: ALL,
        SEARCH: "SELECT (image_id, recipe_hash, key, content_type, size_bytes, claimable_at, failure_code,"
        " failure_message, used_at)",
    },
    "presets": {APP: "SELECT, INSERT, DELETE", DELIVERY: "SELECT"},
    "foreign_images": {**dict.fromkeys(_HTTP, ALL), WORKER: "SELECT, UPDATE, DELETE"},
    "watermarks": dict.fromkeys((*_HTTP, WORKER), "SELECT, INSERT, DELETE"),
    "processing_attempts": {
        **dict.fromkeys(_HTTP, "SELECT, DELETE"),
        WORKER: ALL,
        SEARCH: "SELECT (image_id, tenant_id, fence, started_at, ended_at, outcome, reason)",
    },
    "dead_letters": {
        **dict.fromkeys(_HTTP, "SELECT, DELETE"),
        WORKER: ALL,
        SEARCH: "SELECT (tenant_id, received_at)",
    },
    "collections": {APP: ALL, SEARCH: "SELECT (uuid, tenant_id, name, created_at, updated_at)"},
    "image_counts": {
        **dict.fromkeys(_HTTP, "SELECT, INSERT, DELETE"),
        WORKER: "SELECT, INSERT, DELETE",
        SEARCH: "SELECT",
    },
    "original_removals": {**dict.fromkeys(_HTTP, ALL), WORKER: ALL},
    "outbox": {**dict.fromkeys(_HTTP, "SELECT, DELETE"), WORKER: ALL},
    "multipart_uploads": {
        **dict.fromkeys(_HTTP, "SELECT, INSERT, DELETE"),
        WORKER: "SELECT, DELETE",
    },
    "gallery_sizes": {WORKER: ALL, SEARCH: "SELECT"},
    "image_stocks": {**dict.fromkeys(_HTTP, "SELECT, INSERT, DELETE"), WORKER: "SELECT, INSERT, DELETE"},
    "rates": {**dict.fromkeys(_HTTP, "SELECT, INSERT, UPDATE"), WORKER: ALL},
    "scans": {WORKER: ALL},
    "purges": {WORKER: "SELECT, UPDATE, DELETE"},
    "reconciliation_counts": {
        APP: "SELECT",
        WORKER: "SELECT, INSERT, UPDATE",
        REPORTER: "SELECT",
    },
    "tenants": {
        APP: "SELECT, INSERT, UPDATE (links_since)",
        DELIVERY: "SELECT",
        WORKER: "SELECT (id)",
        SEARCH: "SELECT",
    },
    # Nobody but a function reads the digest of a secret, and that function one at a time.
    "api_keys": {
        APP: f"SELECT ({_KEY}), INSERT, UPDATE (expires_at, last_used_at, revoked_at, replaced_by)",
        DELIVERY: "SELECT (id, tenant_id), UPDATE (last_used_at)",
        SEARCH: "SELECT",
    },
    "erasures": {APP: "SELECT, INSERT, UPDATE", WORKER: "SELECT, UPDATE, DELETE"},
    # Whoever writes it can neither read nor change it. A trigger keeps young records from being deleted.
    "audit_events": {
        **dict.fromkeys(_HTTP, _RECORD),
        WORKER: f"SELECT, {_RECORD}, DELETE",
        SEARCH: "SELECT",
        AUDITOR: "SELECT",
    },
    "audit_chain": {WORKER: "SELECT, INSERT, DELETE", AUDITOR: "SELECT"},
    "audit_unlinked": {WORKER: "SELECT", REPORTER: "SELECT", AUDITOR: "SELECT"},
    # Whoever writes these keys decides who is an admin.
    "issuer_keys": {
        **dict.fromkeys(_HTTP, _ISSUER),
        WORKER: _ISSUER,
        RECONCILER: "SELECT, INSERT, UPDATE",
    },
    # Whether a function is ready depends on its number.
    "alembic_version": dict.fromkeys((*_HTTP, WORKER, REPORTER), "SELECT"),
}
SHARED = (
    "scans",
    "purges",
    "audit_chain",
    "audit_unlinked",
    "reconciliation_counts",
    "issuer_keys",
    "alembic_version",
)
"""Tables whose rows belong to no tenant."""

VIEWS = dict.fromkeys(
    ("all_images", "all_processing_attempts", "all_dead_letters", "all_image_counts", "all_gallery_sizes"), (REPORTER,)
)
"""Who reads them. They have rows of all tenants, and belong to SEARCH like the functions."""
FUNCTIONS = {
    "find_api_key(text)": _HTTP,
    "find_similar_images(bit, integer[], integer, uuid, integer)": (APP,),
    "search_items(text, text, text[], uuid, text, boolean, text, uuid, integer)": (APP,),
    "list_audit_events(bigint, text, text, integer)": (APP,),
    "count_audit_events(text, text)": (APP,),
    "find_rendition(uuid, text)": (DELIVERY,),
    "find_image(uuid)": (),
    "find_delivery(uuid, text)": (),
}
"""Who calls those that read more than their caller may. Anybody calls the others, which read as the caller does."""
PURGE_KEYS = {"purge_api_keys()": (WORKER,)}
"""Belongs to OWNER: it deletes what ended long ago, whatever its caller wants."""

LAST_RELEASE = {
    **dict.fromkeys((f"TABLE {view}" for view in VIEWS), (APP,)),
    "FUNCTION find_image(uuid)": (APP,),
    "FUNCTION find_delivery(uuid, text)": (APP,),
}
"""Who has further rights as long as functions of the last release run. Bootstrap leaves them, until `contract`."""


def compose_grants() -> Iterator[str]:
    """Yield statements that grant exactly these rights, and leave those of the last release as they are."""
    for table, granted in RIGHTS.items():
        yield f"REVOKE ALL ON TABLE {table} FROM PUBLIC, {', '.join(GRANTEES)}"
        for role, rights in granted.items():
            yield f"GRANT {rights} ON TABLE {table} TO {role}"
    yield f"SET LOCAL ROLE {SEARCH}"
    readers = {f"TABLE {view}": ("SELECT", roles) for view, roles in VIEWS.items()}
    callers = {f"FUNCTION {function}": ("EXECUTE", roles) for function, roles in FUNCTIONS.items()}
    for name, (right, roles) in (readers | callers).items():
        others = [role for role in GRANTEES if role not in (SEARCH, *LAST_RELEASE.get(name, ()))]
        yield f"REVOKE ALL ON {name} FROM PUBLIC, {', '.join(others)}"
        yield f"GRANT {right} ON {name} TO {', '.join((OWNER, *roles))}"
    yield f"SET LOCAL ROLE {OWNER}"


def compose_revocations() -> Iterator[str]:
    """Yield statements that end the rights that only the last release needed."""
    yield f"SET LOCAL ROLE {SEARCH}"
    for name, roles in LAST_RELEASE.items():
        yield f"REVOKE ALL ON {name} FROM {', '.join(roles)}"
    yield f"SET LOCAL ROLE {OWNER}"
