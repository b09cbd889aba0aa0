"""Functions connect to the database with roles that may do no more than they need."""

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from uuid import uuid4

import pytest
import requests
from alembic import command
from pydantic import SecretStr
from service import Api, Platform, find_consumers, find_processes, make_photo, serve_function

from shared_lib import settings
from shared_lib.commands.bootstrap import alembic_config, revoke_last_release
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database, acting_for
from shared_lib.database.rights import (
    APP,
    DELIVERY,
    FUNCTIONS,
    OWNER,
    PURGE_KEYS,
    RECONCILER,
    REPORTER,
    RIGHTS,
    SEARCH,
    SHARED,
    VIEWS,
    WORKER,
)
from shared_lib.database.sockets import open_for_migrations
from shared_lib.errors import Misconfigured
from shared_lib.repositories.images import Images
from shared_lib.repositories.issuer_keys import IssuerKeys

Connect = Callable[[str], Database]
URLS = {
    OWNER: "DATABASE_URL",
    APP: "DATABASE_APP_URL",
    DELIVERY: "DATABASE_DELIVERY_URL",
    WORKER: "DATABASE_WORKER_URL",
    RECONCILER: "DATABASE_RECONCILER_URL",
    REPORTER: "DATABASE_REPORTER_URL",
}
BELONGS_TO = {OWNER: [SEARCH], RECONCILER: [WORKER]}
FUNCTIONS_RUN_AS = [role for role in URLS if role != OWNER]


@pytest.fixture(scope="module")
def connect(platform: Platform) -> Iterator[Connect]:
    """Connect to the service's database as one of its roles."""
    opened: dict[str, Database] = {}

    def open_as(role: str) -> Database:
        url = SecretStr(platform.environment[URLS[role]])
        tenant = DEFAULT_TENANT if role in (APP, DELIVERY) else None
        return opened.setdefault(role, Database(settings.Database(url=url), tenant))

    yield open_as
    for each in opened.values():
        each.disconnect()


@pytest.mark.parametrize("role", URLS)
def test_no_role_is_above_the_rules(connect: Connect, role: str) -> None:
    with connect(role).transaction() as tx:
        found = tx.rows("SELECT * FROM pg_roles WHERE rolname = current_user")[0]
        belongs_to = tx.rows("""
            SELECT rolname FROM pg_roles WHERE rolname <> current_user AND pg_has_role(current_user, oid, 'MEMBER')
        """)

    assert found["rolname"] == role
    assert not [name for name, has in found.items() if has is True and name not in ("rolcanlogin", "rolinherit")]
    assert [each["rolname"] for each in belongs_to] == BELONGS_TO.get(role, [])


CHANGES = (
    "CREATE TABLE mine (id integer)",
    "CREATE TEMPORARY TABLE mine (id integer)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE images ADD COLUMN mine integer",
    "DROP TABLE images",
    "TRUNCATE images",
    "CREATE TRIGGER mine BEFORE INSERT ON images FOR EACH ROW EXECUTE FUNCTION count_image()",
    "COPY images TO PROGRAM 'true'",
    "SELECT * FROM pg_authid",
    "SET ROLE images_owner",
    "SET ROLE postgres",
    "SET ROLE images_search",
    "UPDATE alembic_version SET version_num = '0001'",
)


@pytest.mark.parametrize(
    ("role", "sql"),
    # Reconciliation, a worker, deletes rows.
    [*itertools.product(FUNCTIONS_RUN_AS, CHANGES), (APP, "DELETE FROM images")],
)
def test_a_function_cannot_change_what_there_is(connect: Connect, role: str, sql: str) -> None:
    with pytest.raises(Misconfigured) as raised, connect(role).transaction() as tx:
        tx.rows(sql)

    assert "42501" in f"{raised.value.__cause__}"


@pytest.mark.parametrize("table", ["api_keys", "collections", "tenants"])
def test_what_decodes_images_reads_neither_keys_nor_collections(connect: Connect, table: str) -> None:
    with pytest.raises(Misconfigured), connect(WORKER).transaction() as tx:
        tx.rows(f"SELECT * FROM {table}")  # noqa: S608  a table of ours


def test_no_function_reads_the_digest_of_a_key(connect: Connect) -> None:
    for role in FUNCTIONS_RUN_AS:
        with pytest.raises(Misconfigured), connect(role).transaction() as tx:
            tx.rows("SELECT digest FROM api_keys")


def test_every_table_says_who_may_do_what_with_it(connect: Connect) -> None:
    with connect(OWNER).transaction() as tx:
        tables = tx.rows("SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public'")
        granted = tx.rows("""
            SELECT DISTINCT relname AS table, grantee::regrole::text AS role, privilege_type AS right
            FROM pg_class LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0,
                 LATERAL (SELECT * FROM aclexplode(relacl) UNION SELECT * FROM aclexplode(attacl)) AS acl
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND grantee <> relowner
        """)
        secured = tx.rows("""
            SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
            AND relrowsecurity AND relforcerowsecurity
        """)

    assert {each["tablename"] for each in tables} == RIGHTS.keys()
    assert {each["tableowner"] for each in tables} == {OWNER}
    assert {(each["table"], each["role"], each["right"]) for each in granted} == {
        (table, role, right)
        for table, roles in RIGHTS.items()
        for role, rights in roles.items()
        for right in re.findall("[A-Z]+", rights)
    }
    assert {each["relname"] for each in secured} == RIGHTS.keys() - set(SHARED)


def test_functions_of_the_last_release_keep_their_rights_until_bootstrap_ends_them(empty_database: str) -> None:
    described = settings.Database(url=SecretStr(empty_database))
    config = alembic_config()
    config.attributes["connect"] = lambda: open_for_migrations(described)
    command.upgrade(config, "0030")
    command.upgrade(config, "head")
    app = Database(settings.Database(url=SecretStr(empty_database.replace(OWNER, APP))), DEFAULT_TENANT)

    def find() -> tuple[bool, ...]:
        return tuple(
            may(app, TRIES["SELECT"].format(column="*", table=each))
            for each in ("find_image(NULL)", "find_delivery(NULL, '')", *VIEWS)
        )

    assert {*find()} == {True}
    command.upgrade(config, "head")
    assert {*find()} == {True}
    with closing(open_for_migrations(described)) as connection:
        revoke_last_release(connection)
    assert {*find()} == {False}
    command.upgrade(config, "head")
    assert {*find()} == {False}
    app.disconnect()


# Each right is tried, and nothing is changed: EXPLAIN asks for the rights of what it explains.
TRIES = {
    "SELECT": "EXPLAIN SELECT {column} FROM {table}",
    "INSERT": "EXPLAIN INSERT INTO {table} ({column}) VALUES (DEFAULT)",
    "UPDATE": "EXPLAIN UPDATE {table} SET {column} = DEFAULT",
    "DELETE": "EXPLAIN DELETE FROM {table}",
}


def may(database: Database, sql: str) -> bool:
    try:
        with database.transaction() as tx:
            tx.rows(sql)
    except Misconfigured:  # every error that has no better name is one, and none of these statements has another
        return False
    return True


def list_columns(database: Database) -> list[tuple[str, str]]:
    with database.transaction() as tx:
        rows = tx.rows("""
            SELECT relname AS table, attname AS column FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0 AND NOT attisdropped
        """)
    return [(row["table"], row["column"]) for row in rows]


def declare(role: str) -> set[tuple[str, str, str]]:
    """Return each table, column and right that a role should have, with those of the role that it belongs to."""
    found = {(view, "*", "SELECT") for view, readers in VIEWS.items() if role in readers}
    for table, roles in RIGHTS.items():
        for owner in (role, *BELONGS_TO.get(role, ())):
            for right, columns in re.findall(r"([A-Z]+)(?: \(([^)]+)\))?", roles.get(owner, "")):
                found |= {(table, column.strip(), right) for column in (columns or "*").split(",")}
    return found


@pytest.mark.parametrize("role", FUNCTIONS_RUN_AS)
def test_a_role_can_do_with_each_table_what_is_declared_and_nothing_else(connect: Connect, role: str) -> None:
    declared, database = declare(role), connect(role)
    columns = list_columns(connect(OWNER))
    assert len(columns) > 150

    for table, column in columns:
        for right, sql in TRIES.items():
            is_declared = bool({(table, column, right), (table, "*", right)} & declared)
            assert may(database, sql.format(table=table, column=column)) == is_declared, (table, column, right)


@pytest.mark.parametrize("role", FUNCTIONS_RUN_AS)
def test_a_role_can_call_each_function_that_is_declared_and_no_other_that_reads_more(
    connect: Connect, role: str
) -> None:
    with connect(OWNER).transaction() as tx:
        rows = tx.rows("""
            SELECT p.oid::regprocedure::text AS name, p.proname AS called,
                   ARRAY(SELECT format_type(each, NULL) FROM unnest(p.proargtypes) AS each) AS types
            FROM pg_proc p WHERE pronamespace = 'public'::regnamespace AND prosecdef
            AND prorettype <> 'trigger'::regtype
        """)
    declared = FUNCTIONS | PURGE_KEYS
    assert {row["name"].replace(",", ", ") for row in rows} == declared.keys()
    for row in rows:
        arguments = ", ".join(f"CAST(NULL AS {kind})" for kind in row["types"])
        is_declared = bool({role, *BELONGS_TO.get(role, ())} & {*declared[row["name"].replace(",", ", ")]})
        assert may(connect(role), f"EXPLAIN SELECT {row['called']}({arguments})") == is_declared, row["name"]


def test_only_what_makes_keys_and_what_fetches_those_of_issuers_can_make_an_admin(connect: Connect) -> None:
    """The tables and columns that decide who somebody is."""
    deciding = [(table, column) for table, column in list_columns(connect(OWNER)) if (table, column) in DECIDING]
    assert {*deciding} == DECIDING
    makers = {
        (role, table)
        for role, (table, column), right in itertools.product(FUNCTIONS_RUN_AS, deciding, ("INSERT", "UPDATE"))
        if may(connect(role), TRIES[right].format(table=table, column=column))
    }

    assert makers == {(APP, "api_keys"), (RECONCILER, "issuer_keys")}


DECIDING = {
    *(("api_keys", column) for column in ("digest", "role", "scopes", "tenant_id", "created_by")),
    *(("issuer_keys", column) for column in ("keys", "fetched_at")),
}


def test_keys_of_an_issuer_with_a_time_in_the_future_are_not_believed(connect: Connect) -> None:
    issuer = f"https://{uuid4().hex}.example.com"
    stored = IssuerKeys(connect(RECONCILER))
    assert stored.begin_fetch(issuer)
    stored.store(issuer, [{"kid": "true"}])
    assert stored.read(issuer) == [{"kid": "true"}]
    with connect(OWNER).transaction() as tx:
        tx.rows(
            "UPDATE issuer_keys SET fetched_at = now() + interval '10 years', attempted_at = now() + interval '1 day'"
            " WHERE issuer = :issuer",
            issuer=issuer,
        )

    assert stored.read(issuer) == []
    assert stored.begin_fetch(issuer)


def test_any_function_can_ask_for_the_keys_of_an_issuer_and_none_but_reconciliation_can_write_them(
    connect: Connect,
) -> None:
    issuer = f"https://{uuid4().hex}.example.com"
    reconciler = IssuerKeys(connect(RECONCILER))
    assert reconciler.begin_fetch(issuer)
    reconciler.store(issuer, [{"kid": "true"}])
    for role in (APP, DELIVERY, WORKER):
        IssuerKeys(connect(role)).request_fetch(issuer)
        with pytest.raises(Misconfigured):
            IssuerKeys(connect(role)).store(issuer, [{"kid": "false"}])
        with pytest.raises(Misconfigured):
            IssuerKeys(connect(role)).begin_fetch(issuer)

    assert reconciler.read(issuer) == [{"kid": "true"}]


def test_a_function_of_the_api_finds_no_image_of_another_tenant_by_its_uuid(connect: Connect) -> None:
    database, uuid = connect(APP), uuid4()
    with acting_for(f"t-{uuid4().hex[:8]}"):
        Images(database, settings.Processing()).reserve(uuid, "secret.jpg")
    for sql in ("SELECT * FROM find_rendition(:uuid, NULL)", "SELECT * FROM all_images WHERE uuid = :uuid"):
        with pytest.raises(Misconfigured), database.transaction() as tx:
            tx.rows(sql, uuid=uuid)


@pytest.mark.parametrize(
    ("function", "role", "request_line"),
    [
        ("deliver_image", DELIVERY, "GET /i/unsafe/w=20/{image}.webp"),
        ("deliver_imgproxy", DELIVERY, "GET /imgproxy/unsafe/rs:fit:21/plain/{image}@webp"),
        ("deliver_thumbor", DELIVERY, "GET /thumbor/unsafe/22x22/{image}"),
        ("preview_image", DELIVERY, "POST /api/v1/images/{image}/preview"),
        ("get_original", DELIVERY, "GET /api/v1/images/{image}/original"),
        ("get_rendition", DELIVERY, "GET /api/v1/images/{image}/renditions/thumbnail"),
        ("sign_url", APP, "POST /api/v1/images/{image}/actions/sign"),
        ("get_operations_summary", APP, "GET /api/v1/operations/summary"),
        ("report_state", REPORTER, "GET /metrics"),
    ],
)
def test_a_function_works_with_the_role_that_it_has_in_a_cluster(
    platform: Platform, api: Api, function: str, role: str, request_line: str
) -> None:
    image = api.await_end(api.upload(make_photo()))["uuid"]
    body: dict[str, object] = {"options": "w=30"} if function == "sign_url" else {"operations": []}
    method, path = request_line.split()
    url = platform.environment[URLS[role]]
    with serve_function(platform, function, DATABASE_URL=url, PROCESSING_SANDBOX="best-effort") as port:
        sent = requests.request(
            method,
            f"http://127.0.0.1:{port}{path.format(image=image)}",
            json=body if method == "POST" else None,
            headers={"X-Forwarded-For": "192.0.2.1"},  # or the server itself answers a scrape
            timeout=60,
        )

    assert sent.status_code == 200, sent.text
    if function == "report_state":
        assert "audit_oldest_unlinked_seconds" in sent.text


def test_each_part_of_the_service_connects_as_its_own_role(platform: Platform) -> None:
    if not platform.environment["DATABASE_URL"].startswith(f"postgresql://{OWNER}@"):
        pytest.skip("the service runs elsewhere")
    processes = {
        "images_front": find_processes(platform, module="infra.local.gateway"),
        RECONCILER: [find_consumers(platform)],
    }
    for role, found in processes.items():
        for process in found:
            environ = process.environ()
            assert f"postgresql://{role}@" in environ["DATABASE_URL"]
            assert not [name for name, value in environ.items() if "postgresql://" in value and name != "DATABASE_URL"]
