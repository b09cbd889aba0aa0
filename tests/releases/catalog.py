"""What a database's catalog says that functions depend on, as one line for each fact."""

from collections.abc import Iterable

from shared_lib.database.connection import Transaction

_FACTS = """
    WITH tables AS (
        SELECT c.oid, c.relname AS name FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    ), columns AS (
        SELECT t.name || '.' || a.attname AS name, a.*, pg_get_expr(d.adbin, d.adrelid) AS value
        FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    ), functions AS (
        SELECT p.oid::regprocedure AS name, p.* FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f' AND NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    ), facts AS (
        SELECT 'table ' || name AS fact FROM tables
        UNION ALL SELECT 'column ' || name || ' ' || format_type(atttypid, atttypmod) FROM columns
        UNION ALL SELECT 'not null ' || name FROM columns WHERE attnotnull
        UNION ALL SELECT 'default ' || name || ' ' || CASE WHEN attidentity <> '' THEN 'identity' ELSE value END
        FROM columns WHERE value IS NOT NULL OR attidentity <> ''
        UNION ALL SELECT 'constraint ' || t.name || ' ' || pg_get_constraintdef(c.oid)
        FROM tables t JOIN pg_constraint c ON c.conrelid = t.oid WHERE c.contype <> 'n'
        UNION ALL SELECT 'unique index ' || t.name || ' ' || substring(pg_get_indexdef(i.indexrelid) FROM 'USING .*')
        FROM tables t JOIN pg_index i ON i.indrelid = t.oid WHERE i.indisunique
        UNION ALL SELECT 'trigger ' || t.name || ' ' || g.tgname
        FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid WHERE NOT g.tgisinternal
        UNION ALL SELECT 'policy ' || tablename || ' ' || policyname || ' ' || permissive || ' ' || cmd || ' to '
        || array_to_string(roles, ',') || coalesce(' using ' || qual, '') || coalesce(' check ' || with_check, '')
        FROM pg_policies WHERE schemaname = 'public'
        UNION ALL SELECT 'function ' || name || ' ' || pg_get_function_result(oid) FROM functions
        WHERE prorettype <> 'trigger'::regtype
        UNION ALL SELECT 'right ' || pg_get_userbyid(r.grantee) || ' EXECUTE ' || name
        FROM functions CROSS JOIN aclexplode(proacl) r WHERE r.grantee <> proowner AND r.grantee <> 0
        UNION ALL SELECT 'right ' || pg_get_userbyid(r.grantee) || ' ' || privilege_type || ' ' || t.name
        FROM tables t JOIN pg_class c USING (oid) CROSS JOIN aclexplode(c.relacl) r
        WHERE r.grantee <> c.relowner
        UNION ALL SELECT 'right ' || pg_get_userbyid(r.grantee) || ' ' || privilege_type || ' ' || c.name
        FROM columns c CROSS JOIN aclexplode(c.attacl) r
    )
    SELECT DISTINCT regexp_replace(fact, '\\s+', ' ', 'g') AS fact FROM facts ORDER BY fact
"""
_NARROWS = ("constraint ", "unique index ", "trigger ")
"""Kinds of facts that a statement of the last release may run into, if they are new."""


def read_facts(tx: Transaction) -> list[str]:
    return [row["fact"] for row in tx.rows(_FACTS)]


def find_removed(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Return what functions of before may miss: also a type, a default or a definition that has changed."""
    return sorted({*before} - {*after})


def find_narrowed(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Return what functions of before don't know, and what may refuse or change what they write."""
    known, now = {*before}, {*after}
    added = [fact for fact in now - known if f"table {_find_table(fact)}" in known]
    narrow = [fact for fact in added if fact.startswith(_NARROWS) or " RESTRICTIVE " in fact]
    has_default = {fact.split()[1] for fact in now if fact.startswith("default ")}
    narrow += [
        fact for fact in added if fact.startswith("not null ") and fact.removeprefix("not null ") not in has_default
    ]
    return sorted(narrow)


def _find_table(fact: str) -> str:
    words = fact.split()
    name = words[2] if fact.startswith(("not null ", "unique index ")) else words[1]
    return name.partition(".")[0]
