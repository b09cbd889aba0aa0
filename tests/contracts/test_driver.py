"""`shared_lib/database/driver.py` needs internals of pg8000, which another version may change without notice.

If a test fails after an upgrade of pg8000, read what has changed in what it names, and adapt the driver. Then note
the new digests.
"""

import ast
import hashlib
import inspect
from importlib import import_module, metadata
from types import ModuleType

import pytest

from shared_lib.database import driver

VERSION = "1.31.6"
SOURCES = {
    "core.CoreConnection": "34d58f60bb8e",
    "core.Context": "ab6a35f50b87",
    "core._create_message": "20cca30829af",
    "core._flush": "8ea5fbe2b4f7",
    "core._read": "ac28f1e42e48",
    "core._write": "5b99b3248c8f",
    "core.pack_funcs": "81c1bdee4676",
    "converters.make_params": "d164156f5ba5",
    "native.to_statement": "84da27c9c28e",
}
"""The beginning of the SHA-256 of each one's source."""
VALUES = {
    "BIND": b"B",
    "COMMAND_COMPLETE": b"C",
    "DESCRIBE": b"D",
    "EXECUTE_MSG": b"E\0\0\0\x09\0\0\0\0\0",
    "IDLE": b"I",
    "NULL_BYTE": b"\0",
    "PARSE": b"P",
    "PARSE_COMPLETE": b"1",
    "PORTAL": b"P",
    "READY_FOR_QUERY": b"Z",
    "SYNC_MSG": b"S\0\0\0\x04",
}
"""In pg8000.core: parts of the protocol."""
PACKERS = {"H_pack": b"\0\x01", "i_pack": b"\0\0\0\x01"}
"""In pg8000.core, made by `pack_funcs`: what each makes of 1."""
UNPACKER = "ci_unpack"
PUBLIC = {"Connection", "InterfaceError"}
INHERITED = {"_client_encoding", "_sock", "_transaction_status", "message_types", "py_types"}
"""Attributes of CoreConnection that the driver uses."""


def import_core() -> ModuleType:
    return import_module("pg8000.core")


def test_the_driver_runs_on_the_version_it_was_written_for() -> None:
    assert metadata.version("pg8000") == VERSION, "another version: the other tests here say what to look at"


@pytest.mark.parametrize("name", SOURCES)
def test_what_the_driver_uses_of_pg8000_is_what_it_was_written_for(name: str) -> None:
    module, _, attribute = name.partition(".")
    source = inspect.getsource(getattr(import_module(f"pg8000.{module}"), attribute))
    assert hashlib.sha256(source.encode()).hexdigest()[:12] == SOURCES[name]


def test_the_protocol_s_constants_have_their_values() -> None:
    core = import_core()
    assert {name: getattr(core, name) for name in VALUES} == VALUES
    assert {name: getattr(core, name)(1) for name in PACKERS} == PACKERS
    assert getattr(core, UNPACKER)(b"Z\0\0\0\x05I") == (b"Z", 5)


def test_the_driver_uses_no_other_internals() -> None:
    tree = ast.parse(inspect.getsource(driver))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pg8000")
        for alias in node.names
    }
    listed = {name.partition(".")[2] for name in SOURCES} - {"CoreConnection", "pack_funcs"}
    assert imported == listed | {*VALUES, *PACKERS, UNPACKER} | PUBLIC
    own = vars(driver.PipelinedConnection).keys() | {"_prepares", "_prepared", "_described", "_numbers"}
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    assert used - own == INHERITED
