"""The audit log says who did what, and shows if anyone changed it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from alembic import command
from pydantic import SecretStr
from service import ENVIRONMENT, ROOT, Api, Platform, make_photo

from shared_lib import settings
from shared_lib.commands.bootstrap import alembic_config
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database, acting_for
from shared_lib.database.indexes import build_indexes
from shared_lib.database.sockets import open_for_migrations
from shared_lib.domain.audit import Action, Actor
from shared_lib.errors import Conflict, Misconfigured
from shared_lib.repositories.audit import AuditLog, BrokenChain, Head, acting_as
from shared_lib.repositories.tenants import Tenants
from shared_lib.services.denials import MOST, Denials

Events = list[dict[str, Any]]
AWAIT_LINKS = """
    INSERT INTO audit_unlinked (event_id) SELECT id FROM audit_events
    WHERE id NOT IN (SELECT event_id FROM audit_chain) ON CONFLICT DO NOTHING
"""


def insert(action: str = "image_deleted", **further: str) -> str:
    """Return a statement that inserts a record, with further columns as SQL."""
    columns = {"tenant_id": "'default'", "principal": "'key:1'", "action": f"'{action}'", "details": "'{}'"} | further
    columns |= dict.fromkeys(("address", "request_id", "subject"), "''")
    names, values = ", ".join(columns), ", ".join(columns.values())
    return f"INSERT INTO audit_events ({names}) OVERRIDING SYSTEM VALUE VALUES ({values})"  # noqa: S608  ours


def find(admin: Api, **query: str) -> Events:
    found: Events = admin("GET", "/audit-events", params=query).json()["data"]
    return found


@pytest.fixture(scope="module")
def connect(guarded: Platform) -> Iterator[Callable[[str], Database]]:
    """Connect as the role of a variable with its URL."""
    opened: list[Database] = []

    def open_as(variable: str) -> Database:
        url = SecretStr(guarded.environment[variable])
        opened.append(Database(settings.Database(url=url), DEFAULT_TENANT if "APP" in variable else None))
        return opened[-1]

    yield open_as
    for each in opened:
        each.disconnect()


def test_it_says_who_did_what_from_where_and_with_which_request(admin: Api, admin_key: str) -> None:
    headers = {"X-Request-Id": "request-4711"}
    image = admin.upload(make_photo())
    assert admin("DELETE", f"/images/{image}", headers=headers).status_code == 200

    [event] = find(admin, subject=image)

    who = f"key:{admin_key.split('_')[1]}"
    assert (event["action"], event["principal"]) == ("image_deleted", who)
    assert (event["address"], event["requestId"]) == ("127.0.0.1", "request-4711")


def test_keys_and_collections_leave_their_traces_and_no_secrets(admin: Api) -> None:
    response = admin("POST", "/api-keys", json={"name": "nightly", "role": "viewer"})
    assert response.status_code == 201, response.text
    made = response.json()["data"]
    rotated = admin("POST", f"/api-keys/{made['id']}/actions/rotate", json={}).json()["data"]
    assert admin("DELETE", f"/api-keys/{rotated['id']}").status_code == 200
    collection = admin("POST", "/collections", json={"name": "album"}).json()["data"]["uuid"]
    assert admin("DELETE", f"/collections/{collection}").status_code == 200

    [created, rotation] = reversed(find(admin, subject=made["id"]))
    assert (created["action"], created["details"]["name"]) == ("api_key_created", "nightly")
    assert (rotation["action"], rotation["details"]["successor"]) == ("api_key_rotated", rotated["id"])
    assert [each["action"] for each in find(admin, subject=rotated["id"])] == ["api_key_revoked"]
    assert [each["action"] for each in find(admin, subject=collection)] == ["collection_deleted"]
    assert made["key"].split("_")[2] not in str(find(admin, limit="100"))


def test_each_version_of_a_preset_leaves_its_trace(admin: Api) -> None:
    name = f"preset-{uuid4().hex[:8]}"
    for _ in range(2):
        assert admin("POST", "/presets", json={"recipe": {"name": name}}).status_code == 201
    assert admin("DELETE", f"/presets/{name}").status_code == 200

    found = [(each["action"], each["details"]["version"]) for each in reversed(find(admin, subject=name))]

    assert found == [("preset_saved", 1), ("preset_saved", 2), ("preset_deleted", 3)]


def test_what_did_not_happen_is_not_recorded(connect: Callable[[str], Database]) -> None:
    database = connect("DATABASE_URL")
    name = f"t-{uuid4().hex[:8]}"
    Tenants(database).create(name)
    with pytest.raises(Conflict):
        Tenants(database).create(name)

    with acting_for(name):
        assert [each.action for each in AuditLog(database).list(10)] == [Action.TENANT_CREATED]


def test_a_denied_call_is_recorded_with_the_caller(admin: Api, make_key: Callable[..., str]) -> None:
    viewer = make_key("viewer")
    for _ in range(3):
        assert admin("GET", "/api-keys", headers={"X-API-Key": viewer}).status_code == 403
    assert admin("GET", "/api-keys", headers={"X-API-Key": f"{viewer}x"}).status_code == 401

    denied = find(admin, action="access_denied", subject="list_api_keys", limit="100")
    who = f"key:{viewer.split('_')[1]}"
    assert [each["details"]["code"] for each in denied if each["principal"] == who] == ["permission_missing"]
    assert "credentials_refused" in [each["details"]["code"] for each in denied if each["principal"] == ""]


def test_a_flood_of_denied_calls_fills_nothing(connect: Callable[[str], Database]) -> None:
    audit, subject = AuditLog(connect("DATABASE_APP_URL")), f"flooded-{uuid4()}"
    denials = Denials(audit)
    for number in range(500):
        denials.record(Actor("", f"2001:db8::{number:x}"), "", subject, "credentials_refused")

    assert len(audit.list(100, subject=subject)) == MOST


def test_a_flood_by_strangers_does_not_use_up_the_records_of_known_callers(
    connect: Callable[[str], Database],
) -> None:
    audit, subject = AuditLog(connect("DATABASE_APP_URL")), f"flooded-{uuid4()}"
    denials = Denials(audit)
    for number in range(500):
        denials.record(Actor("", f"2001:db8::{number:x}"), "", subject, "credentials_refused")
    for number in range(500):
        denials.record(Actor("key:noisy", f"2001:db8::{number:x}"), "elsewhere", subject, "permission_missing")

    denials.record(Actor("key:known", "192.0.2.1"), DEFAULT_TENANT, subject, "permission_missing")

    [event] = [each for each in audit.list(100, subject=subject) if each.principal == "key:known"]
    assert json.loads(event.details) == {"code": "permission_missing", "left_out": 0}


def test_pages_of_the_log_follow_each_other(admin: Api) -> None:
    seen: list[str] = []
    after: dict[str, str] = {}
    for _ in range(3):
        page = admin("GET", "/audit-events", params={"limit": "2", **after}).json()
        seen += [each["id"] for each in page["data"]]
        after = {"after": page["next"]}
    assert seen == sorted({*seen}, key=int, reverse=True)
    assert len(seen) == 6
    assert admin("GET", "/audit-events", params={"action": "No Action"}).status_code == 400


def test_another_tenant_sees_nothing_of_it(admin: Api, guarded: Platform, connect: Callable[[str], Database]) -> None:
    database = connect("DATABASE_APP_URL")
    with acting_for("someone-else"):
        assert AuditLog(database).list(100) == []


# Who may do what with the table


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM audit_events",
        "UPDATE audit_events SET principal = 'x'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "SELECT * FROM audit_chain",
        "INSERT INTO audit_chain (position, event_id, hash) VALUES (0, 0, '')",
        "SELECT refuse_audit_change()",
        insert(recorded_at="'2099-01-01'"),
        insert(id="7"),
        # It says up to which link records are gone with good reason.
        insert("audit_purged"),
        "DELETE FROM audit_unlinked",
    ],
)
def test_whoever_writes_the_log_can_do_nothing_else_with_it(connect: Callable[[str], Database], sql: str) -> None:
    with pytest.raises(Exception) as raised, connect("DATABASE_APP_URL").transaction() as tx:  # noqa: PT011  any error
        tx.rows(sql)
    assert isinstance(raised.value, Misconfigured) or "trigger" in f"{raised.value}"


@pytest.mark.parametrize("sql", ["UPDATE {} SET recorded_at = now()", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", ["audit_events", "audit_chain"])
@pytest.mark.parametrize("variable", ["DATABASE_URL", "DATABASE_WORKER_URL"])
def test_nobody_changes_a_young_record(
    connect: Callable[[str], Database], admin: Api, variable: str, table: str, sql: str
) -> None:
    database = connect(variable)
    AuditLog(connect("DATABASE_WORKER_URL")).link()
    with pytest.raises(Misconfigured) as raised, database.transaction() as tx:
        tx.rows(sql.format(table))
    assert "42501" in f"{raised.value.__cause__}"


# The chain


@pytest.fixture(scope="module")
def own_database(empty_database: str) -> Iterator[Database]:
    described = settings.Database(url=SecretStr(empty_database))
    config = alembic_config()
    config.attributes["connect"] = lambda: open_for_migrations(described)
    command.upgrade(config, "head")
    with closing(open_for_migrations(described)) as connection:
        build_indexes(connection)
    database = Database(described, DEFAULT_TENANT)
    yield database
    database.disconnect()


@pytest.fixture
def log(own_database: Database, tamper: Callable[..., None]) -> AuditLog:
    """A log of seven records, six of them linked."""
    tamper("TRUNCATE audit_events, audit_chain, audit_unlinked")
    audit = AuditLog(own_database)
    for number in range(6):
        with acting_as(Actor(f"key:{number}", "192.0.2.1", "")):
            audit.record(Action.IMAGE_DELETED, f"image {number}", number=number)
    assert audit.link()[0] == 6
    audit.record(Action.IMAGE_DELETED, "not linked yet")
    return audit


@pytest.fixture(scope="module")
def tamper(empty_database: str, administrator_url: str) -> Iterator[Callable[..., None]]:
    """Run a statement as a superuser whom no trigger stops."""
    url = administrator_url.replace("/images?", f"/{re.findall('own_[0-9a-f]+', empty_database)[0]}?")
    database = Database(settings.Database(url=SecretStr(url)))

    def run(sql: str, **parameters: object) -> None:
        with database.transaction() as tx:
            tx.rows("SET LOCAL session_replication_role = replica")
            tx.rows(sql, **parameters)

    yield run
    database.disconnect()


def test_an_untouched_log_is_whole_and_grows_from_its_head(log: AuditLog) -> None:
    head = log.verify()
    assert head.position == 6
    assert log.link() == (1, log.verify(head))
    assert log.verify().position == 7
    assert log.link()[0] == 0


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("UPDATE audit_events SET principal = 'key:9' WHERE subject = 'image 2'", "link 3 does not fit.*image_deleted"),
        ("UPDATE audit_events SET details = '{}' WHERE subject = 'image 5'", "link 6 does not fit"),
        (
            "UPDATE audit_events SET recorded_at = now() WHERE subject = 'image 0'",
            "link 1 does not fit",
        ),
        ("UPDATE audit_events SET action = 'image_erased' WHERE subject = 'image 3'", "link 4 does not fit"),
        ("DELETE FROM audit_events WHERE subject = 'image 3'", "record of the link 4 is gone"),
        ("DELETE FROM audit_chain WHERE position = 4", "link 4 is gone"),
        ("DELETE FROM audit_chain WHERE position <= 2", "begins with the link 3"),
        ("UPDATE audit_chain SET hash = sha256(hash) WHERE position = 2", "link 2 does not fit"),
        *(
            (
                insert(recorded_at=f"now() + interval '{when}'"),
                "no link after 5 minutes: [0-9]+. ",
            )
            for when in ("-2 days", "-1 minute", "75 years")
        ),
        (
            "UPDATE audit_unlinked SET waiting_since = waiting_since - interval '5 minutes'",
            "no link after 5 minutes: [0-9]+. ",
        ),
        (
            "UPDATE audit_unlinked SET waiting_since = '2099-01-01'",
            "no link after 5 minutes: [0-9]+. ",
        ),
    ],
)
def test_the_first_place_that_was_changed_is_named(
    log: AuditLog, tamper: Callable[..., None], sql: str, found: str
) -> None:
    tamper(sql)
    with pytest.raises(BrokenChain, match=found):
        log.verify()


def test_a_record_of_the_future_stops_no_other_from_being_linked(
    own_database: Database, log: AuditLog, tamper: Callable[..., None]
) -> None:
    tamper(insert(recorded_at="'2099-01-01'"))
    tamper("INSERT INTO audit_unlinked (event_id) SELECT max(id) FROM audit_events")
    assert log.link()[0] == 2

    for number in range(40):
        log.record(Action.IMAGE_DELETED, f"later {number}")

    assert log.link()[0] == 40
    assert log.verify().position == 48


def test_the_database_sets_the_time_of_a_record_whoever_inserts_it(own_database: Database, log: AuditLog) -> None:
    with own_database.transaction() as tx:
        tx.rows(insert(recorded_at="'2099-01-01'"))

    assert log.list(1)[0].recorded_at < datetime.now(UTC) + timedelta(minutes=1)


def test_records_that_others_insert_at_the_same_time_are_linked_when_they_are_committed(
    own_database: Database, log: AuditLog
) -> None:
    log.link()
    with own_database.transaction() as tx:
        tx.rows(insert())  # has the lower ID, and commits later
        log.record(Action.IMAGE_DELETED, "meanwhile")
        assert log.link()[0] == 1

    assert log.link()[0] == 1
    assert log.verify().position == 9


def test_a_head_that_was_kept_elsewhere_shows_a_chain_that_was_cut_or_written_anew(
    log: AuditLog, tamper: Callable[..., None]
) -> None:
    head = log.verify()
    tamper("DELETE FROM audit_chain WHERE position = 6")
    with pytest.raises(BrokenChain, match="ends with the link 5"):
        log.verify(head)
    tamper("UPDATE audit_events SET principal = 'key:9' WHERE subject = 'image 5'")
    tamper(AWAIT_LINKS)
    log.link()
    assert log.verify().position == 7
    with pytest.raises(BrokenChain, match="written the chain anew"):
        log.verify(head)


def test_a_kept_head_shows_that_an_old_record_was_changed_and_all_links_after_it_written_anew(
    log: AuditLog, tamper: Callable[..., None]
) -> None:
    log.link()
    head = log.verify()
    tamper("UPDATE audit_events SET principal = 'key:9' WHERE subject = 'image 1'")
    tamper("DELETE FROM audit_chain")
    tamper(AWAIT_LINKS)
    log.link()
    assert log.verify().position == head.position

    with pytest.raises(BrokenChain, match="written the chain anew"):
        log.verify(head)


def test_old_records_go_and_the_rest_stays_whole(log: AuditLog, tamper: Callable[..., None]) -> None:
    tamper("TRUNCATE audit_chain")
    tamper(AWAIT_LINKS)
    tamper("UPDATE audit_events SET recorded_at = recorded_at - interval '401 days' WHERE subject < 'image 4'")
    log.link()
    tamper("UPDATE audit_chain SET recorded_at = recorded_at - interval '401 days' WHERE position <= 4")

    assert [log.purge(400), log.purge(400)] == [4, 0]

    log.link()
    assert log.verify().position == 8
    newest = log.list(10)
    assert (newest[0].action, newest[0].subject, newest[0].principal) == (Action.AUDIT_PURGED, "4", "service")
    assert "image 0" not in [each.subject for each in newest]


def test_the_command_names_the_head_and_the_first_broken_link(
    log: AuditLog, tamper: Callable[..., None], empty_database: str
) -> None:
    def check(*options: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "shared_lib.commands.audit", "check", *options]
        auditor = empty_database.replace("images_owner", "images_auditor")
        environ = ENVIRONMENT | {"DATABASE_URL": auditor}
        return subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    head = log.verify()
    assert check("--head", f"{head}").stdout == f"The audit log is whole. Its head is {head}\n"
    assert check("--head", f"{Head(head.position, bytes(32))}").returncode == 1
    assert check("--head", "x").returncode == 2
    tamper("UPDATE audit_events SET principal = 'x' WHERE subject = 'image 2'")
    broken = check()
    assert (broken.returncode, broken.stdout) == (1, "")
    assert broken.stderr.startswith("audit: The link 3 does not fit: the record ")


def test_the_command_does_not_say_whole_while_a_record_waits_for_too_long(
    log: AuditLog, tamper: Callable[..., None], empty_database: str
) -> None:
    tamper("UPDATE audit_unlinked SET waiting_since = waiting_since - interval '5 minutes'")
    environ = ENVIRONMENT | {"DATABASE_URL": empty_database.replace("images_owner", "images_auditor")}
    words = [sys.executable, "-m", "shared_lib.commands.audit", "check"]

    checked = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stdout) == (1, "")
    assert checked.stderr == (
        f"audit: Records that have no link after 5 minutes: {log.list(1)[0].id}. Reconciliation does not run, or "
        "somebody inserted them past the database's rules\n"
    )
    log.link()
    assert log.verify().position == 7


def count_blocks(database: Database, call: str) -> int:
    """Return how many blocks of 8 KiB a function of the database reads."""
    with database.transaction() as tx:
        [row] = tx.rows(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM {call}")  # noqa: S608  a function
    [plan] = row["QUERY PLAN"]
    return int(plan["Plan"]["Shared Hit Blocks"]) + int(plan["Plan"]["Shared Read Blocks"])


def test_what_is_said_about_a_caller_does_not_read_the_records_of_all_others(
    own_database: Database, log: AuditLog, tamper: Callable[..., None]
) -> None:
    tamper("""
        INSERT INTO audit_events (tenant_id, principal, address, request_id, action, subject, details)
        SELECT 'default', 'key:' || n % 400, '', '', 'image_deleted', 'i' || n, '{}'
        FROM generate_series(1, 40000) AS n
    """)
    tamper("ANALYZE audit_events")

    for call in (
        "count_audit_events('key:7', NULL)",
        "count_audit_events(NULL, 'i4711')",
        "list_audit_events(9223372036854775807, NULL, 'i4711', 100)",
        "list_audit_events(9223372036854775807, 'image_erased', NULL, 100)",
    ):
        assert count_blocks(own_database, call) < 350, call  # all records have 600
    with own_database.transaction() as tx:
        assert tx.rows("SELECT total FROM count_audit_events('key:7', NULL)") == [{"total": 100}]


def test_an_auditor_reads_the_log_and_nothing_else(empty_database: str, own_database: Database) -> None:
    url = SecretStr(empty_database.replace("images_owner", "images_auditor"))
    auditor = Database(settings.Database(url=url))
    with auditor.transaction() as tx:
        tx.rows("SELECT count(*) FROM audit_events, audit_chain")
    for table in ("images", "api_keys", "collections", "dead_letters"):
        with pytest.raises(Misconfigured), auditor.transaction() as tx:
            tx.rows(f"SELECT * FROM {table}")  # noqa: S608  a table of ours
    auditor.disconnect()


def test_reconciliation_links_what_was_recorded(connect: Callable[[str], Database]) -> None:
    """With the rights of a worker: it reads and links, and changes nothing."""
    app, worker = AuditLog(connect("DATABASE_APP_URL")), AuditLog(connect("DATABASE_WORKER_URL"))
    app.record(Action.IMAGE_DELETED, "to be linked")
    while worker.link()[0]:
        pass
    assert worker.verify().position > 0
