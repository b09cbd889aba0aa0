"""Functions connect to the database with roles that may do no more than they need."""

import itertools
import re
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr
from service import Platform, find_consumers, find_processes

from shared_lib import settings
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database
from shared_lib.database.rights import APP, OWNER, RIGHTS, SEARCH, SHARED, WORKER
from shared_lib.errors import Misconfigured

Connect = Callable[[str], Database]
URLS = {OWNER: "DATABASE_URL", APP: "DATABASE_APP_URL", WORKER: "DATABASE_WORKER_URL"}


@pytest.fixture(scope="module")
def connect(platform: Platform) -> Iterator[Connect]:
    """Connect to the service's database as one of its roles."""
    opened: dict[str, Database] = {}

    def open_as(role: str) -> Database:
        url = SecretStr(platform.environment[URLS[role]])
        tenant = DEFAULT_TENANT if role == APP else None
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
    assert belongs_to == ([{"rolname": SEARCH}] if role == OWNER else [])


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
    [*itertools.product((APP, WORKER), CHANGES), (APP, "DELETE FROM images")],
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
    for role in (APP, WORKER):
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


def test_each_part_of_the_service_connects_as_its_own_role(platform: Platform, connect: Connect) -> None:
    if not platform.environment["DATABASE_URL"].startswith(f"postgresql://{OWNER}@"):
        pytest.skip("the service runs elsewhere")
    processes = {
        APP: find_processes(platform, module="infra.local.gateway"),
        WORKER: [find_consumers(platform)],
    }
    for role, found in processes.items():
        for process in found:
            environ = process.environ()
            assert f"postgresql://{role}@" in environ["DATABASE_URL"]
            assert not [name for name, value in environ.items() if "postgresql://" in value and name != "DATABASE_URL"]
