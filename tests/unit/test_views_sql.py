"""What a reader may ask: every kind of statement that is refused, by name, and those that are not."""

from contextlib import nullcontext

import duckdb
import pytest

from guildbook.primitives.errors import GuildbookError
from guildbook.views.sql import PARAMETERS_MAX, STATEMENT_CHARS_MAX, Parser, StatementChecker
from views_chain import SCHEMA

RELATIONS = SCHEMA.relations()

ATTACKS = {
    "two statements": "SELECT 1; DROP TABLE points.lots",
    "two reading statements": "SELECT 1; SELECT 2",
    "a second statement after a comment": "SELECT 1 /* ; */; -- \nDELETE FROM points.lots",
    "copy to a file": "COPY points.lots TO 'stolen.csv'",
    "copy from a file": "COPY points.lots FROM 'forged.csv'",
    "attach a file": "ATTACH 'other.db'",
    "detach the ledger": "DETACH _ledger",
    "install an extension": "INSTALL httpfs",
    "load an extension": "LOAD httpfs",
    "pragma": "PRAGMA database_list",
    "set": "SET memory_limit = '10GB'",
    "reset": "RESET threads",
    "set a variable": "SET VARIABLE x = 1",
    "use another database": "USE memory",
    "call": "CALL pragma_version()",
    "checkpoint": "CHECKPOINT",
    "vacuum": "VACUUM",
    "export the database": "EXPORT DATABASE 'folder'",
    "import a database": "IMPORT DATABASE 'folder'",
    "prepare": "PREPARE a AS SELECT 1",
    "execute": "EXECUTE a",
    "begin": "BEGIN",
    "commit": "COMMIT",
    "create a table": "CREATE TABLE x (a INT)",
    "create a macro": "CREATE MACRO f() AS 1",
    "create a secret": "CREATE SECRET (TYPE s3)",
    "insert": "INSERT INTO points.lots VALUES (1)",
    "update": "UPDATE points.lots SET units = 0",
    "delete": "DELETE FROM points.lots",
    "truncate": "TRUNCATE points.lots",
    "merge": "MERGE INTO points.lots USING points.totals ON true WHEN MATCHED THEN DELETE",
    "alter": "ALTER TABLE points.lots ADD COLUMN x INT",
    "drop": "DROP SCHEMA points CASCADE",
    "comment on": "COMMENT ON TABLE points.lots IS 'x'",
    "insert inside with": "WITH x AS (INSERT INTO points.lots VALUES (1) RETURNING *) SELECT * FROM x",
    "explain that runs": "EXPLAIN ANALYZE SELECT 1",
    "explain an insert": "EXPLAIN INSERT INTO points.lots VALUES (1)",
    "explain a copy": "/* c */ EXPLAIN COPY points.lots TO 'x'",
    "read a csv file": "SELECT * FROM read_csv('/etc/passwd')",
    "read a text file": "SELECT * FROM read_text('/etc/passwd')",
    "read a blob": "SELECT * FROM range(3), read_blob('/etc/passwd')",
    "read a parquet file": "SELECT * FROM parquet_scan('x.parquet')",
    "read json": "SELECT * FROM read_json('x')",
    "list files": "SELECT * FROM glob('/*')",
    "a file as a table": "SELECT * FROM '/etc/passwd'",
    "a quoted file as a table": 'SELECT * FROM "data.csv"',
    "a web address as a table": "SELECT * FROM 'https://example.org/x.parquet'",
    "a file in a subquery": "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "a file in a condition": "SELECT * FROM points.lots WHERE id IN (SELECT 1 FROM read_csv('x'))",
    "a file in a common table": "WITH a AS (SELECT * FROM read_csv('x')) SELECT * FROM a",
    "a file in a lateral join": "SELECT * FROM points.lots, LATERAL (SELECT * FROM read_text(holder))",
    "a file in describe": "DESCRIBE SELECT * FROM read_csv('x')",
    "a file in explain": "EXPLAIN SELECT * FROM read_csv('x')",
    "a file in an argument of a table function": "SELECT * FROM unnest((SELECT list(content) FROM read_text('x')))",
    "the environment": "SELECT getenv('HOME')",
    "a setting": "SELECT current_setting('memory_limit')",
    "a variable": "SELECT getvariable('x')",
    "settings": "SELECT * FROM duckdb_settings()",
    "secrets": "SELECT * FROM duckdb_secrets()",
    "logs": "SELECT write_log('x')",
    "the system's catalogue": "SELECT * FROM information_schema.tables",
    "the postgres catalogue": "SELECT * FROM pg_catalog.pg_class",
    "another database": "SELECT * FROM _ledger._meta.state",
    "the views' own table": "SELECT * FROM _ledger._base.\"points.lots\"",
    "sql in a string": "SELECT * FROM query('DROP TABLE points.lots')",
    "a table in a string": "SELECT * FROM query_table('points.lots')",
    "a statement as json": "FROM json_execute_serialized_sql('{}')",
    "serialised sql": "SELECT json_serialize_sql('SELECT 1')",
    "a sequence": "SELECT nextval('s')",
    "random numbers": "SELECT random()",
    "random ids": "SELECT uuid()",
    "the clock": "SELECT now()",
    "the clock without brackets": "SELECT current_timestamp",
    "the clock as a quoted name": 'SELECT "CURRENT_DATE"',
    "the age until today": "SELECT age(TIMESTAMP '2025-01-01')",
    "sleeping": "SELECT sleep_ms(100000)",
    "an error of the reader's own": "SELECT error('x')",
    "an internal function": "SELECT __internal_decompress_string(1)",
    "a test function": "SELECT * FROM test_all_types()",
    "a function with a schema": "SELECT system.main.random()",
    "a function called on a value": "SELECT x.random() FROM (SELECT 1 AS x)",
    "a function as a window": "SELECT write_log('x') OVER ()",
    "a sample": "SELECT * FROM points.lots USING SAMPLE 1",
    "a table sample": "SELECT * FROM points.lots TABLESAMPLE 10%",
    "time travel of another kind": "FROM points.lots AT (VERSION => 1)",
    "a height from a subquery": "FROM points.lots_at((SELECT 1))",
    "a height that is computed": "FROM points.lots_at(1 + 1)",
    "a height that is text": "FROM points.lots_at('1')",
    "no height": "FROM points.lots_at()",
    "two heights": "FROM points.lots_at(1, 2)",
    "databases": "SHOW DATABASES",
    "show tables as a table": "SELECT * FROM (SHOW TABLES)",
    "pivot that makes types": "PIVOT points.lots ON holder USING sum(units)",
    "a text of any length": "SELECT repeat('x', 1000000000)",
    "a padded text": "SELECT lpad('x', 2000000000, 'y')",
    "a long number format": "SELECT printf('%2000000000d', 1)",
    "a list of any length": "SELECT range(1000000000)",
    "nesting without end": "SELECT * FROM " + "(SELECT * FROM " * 400 + "points.lots" + ")" * 400,
}

READS = {
    "select": "SELECT * FROM points.lots",
    "from first": "FROM points.lots",
    "a semicolon at the end": "SELECT 1;",
    "values": "VALUES (1), (2)",
    "table": "TABLE points.lots",
    "describe": "DESCRIBE points.lots",
    "describe a statement": "DESCRIBE SELECT 1",
    "show a table": "SHOW points.lots",
    "summarise": "SUMMARIZE points.lots",
    "show tables": "SHOW TABLES",
    "explain": "EXPLAIN SELECT * FROM points.lots",
    "comments": "-- first\n/* second */ SELECT 1",
    "explain after a comment": "-- why\nEXPLAIN SELECT 1",
    "letter case and quotes": 'SELECT l."ID" FROM "Points"."LOTS" AS l',
    "joins": "SELECT * FROM points.lots l LEFT JOIN points.totals t USING (holder)",
    "a common table with a table's name": "WITH lots AS (SELECT * FROM points.lots) SELECT * FROM lots",
    "a common table that uses another": "WITH a AS (SELECT 1), b AS (FROM a) FROM b",
    "recursion": "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 3) FROM t",
    "a subquery with a common table": "SELECT (WITH a AS (SELECT 1 AS x) SELECT x FROM a)",
    "windows": "SELECT sum(units) OVER (PARTITION BY holder ORDER BY id), row_number() OVER () FROM points.lots",
    "grouping sets": "SELECT holder, sum(units) FROM points.lots GROUP BY ROLLUP (holder)",
    "sets": "SELECT 1 UNION ALL SELECT 2 EXCEPT SELECT 3",
    "filters": "SELECT count(*) FILTER (WHERE open) FROM points.lots",
    "lambdas": "SELECT list_transform([1, 2], lambda x: x + 1)",
    "json": "SELECT shares->>'$[0].party', json_array_length(shares) FROM points.lots",
    "json rows": "SELECT j.value FROM points.lots, json_each(shares) AS j",
    "unnest": "SELECT unnest([1, 2])",
    "rows of numbers": "SELECT * FROM range(3)",
    "a table at a height": "SELECT * FROM points.lots_at(1)",
    "a pivot with its values": "FROM (PIVOT points.totals ON holder IN ('ann', 'bob') USING sum(units))",
    "dates": "SELECT date_trunc('day', _time), year(_time), _time + INTERVAL 1 DAY FROM points.lots_history",
    "casts": "SELECT id::VARCHAR, TRY_CAST(holder AS INT), units::DECIMAL(10, 2) FROM points.lots",
    "texts": "SELECT upper(holder) || 'x', holder LIKE 'a%', holder ILIKE 'A%', holder ~ 'a.*' FROM points.lots",
    "digests": "SELECT hex(evidence), sha256(holder) FROM points.lots",
    "the time of the ledger": "SELECT max(time) FROM chain.blocks",
}


@pytest.fixture(scope="module")
def checker():
    with duckdb.connect() as connection:
        yield StatementChecker(lambda: nullcontext(Parser(connection)))


@pytest.mark.parametrize("attack", ATTACKS)
def test_refused(checker, attack):
    with pytest.raises(GuildbookError) as refused:
        checker.check(ATTACKS[attack], None, RELATIONS)
    assert refused.value.code == "sql.not_allowed"
    assert refused.value.hint, "a refusal says what to do instead"


@pytest.mark.parametrize("statement", READS)
def test_read(checker, statement):
    assert checker.check(READS[statement], None, RELATIONS).text


@pytest.mark.parametrize(("sql", "says"), [
    ("SELEC 1", "syntax error"),
    ("SELECT FROM WHERE", "error"),
    ("SELECT * FROM points.lot", "no table points.lot"),
    ("SELECT * FROM lots", "no table lots"),
    ("SELECT * FROM points.lot_at(1)", "no table points.lot_at"),
    ("WITH a AS (SELECT 1) SELECT * FROM (SELECT 1) b, c", "no table c"),
    ("SELECT (WITH a AS (SELECT 1) FROM a), (FROM a)", "no table a"),
    ("SELECT \ud800", "cannot be read"),
])
def test_a_wrong_statement_says_what_is_wrong(checker, sql, says):
    with pytest.raises(GuildbookError, match=says) as refused:
        checker.check(sql, None, RELATIONS)
    assert refused.value.code == "sql.syntax"


def test_a_misspelt_table_gets_a_proposal(checker):
    with pytest.raises(GuildbookError) as refused:
        checker.check("SELECT * FROM points.lost", None, RELATIONS)
    assert "points.lots" in refused.value.hint


def test_a_misspelt_function_gets_a_proposal(checker):
    with pytest.raises(GuildbookError) as refused:
        checker.check("SELECT uper(holder) FROM points.lots", None, RELATIONS)
    assert "upper" in refused.value.hint


def test_the_clock_is_refused_with_the_ledgers_time(checker):
    with pytest.raises(GuildbookError) as refused:
        checker.check("SELECT now()", None, RELATIONS)
    assert "chain.blocks" in refused.value.hint


def test_an_empty_statement_is_refused(checker):
    for sql in ("", " ; ", "-- nothing"):
        with pytest.raises(GuildbookError) as refused:
            checker.check(sql, None, RELATIONS)
        assert refused.value.code == "sql.not_allowed"


def test_a_statement_has_a_greatest_length(checker):
    with pytest.raises(GuildbookError, match="characters"):
        checker.check("SELECT '" + "x" * STATEMENT_CHARS_MAX + "'", None, RELATIONS)


def test_a_statement_has_a_greatest_number_of_parameters(checker):
    with pytest.raises(GuildbookError, match="parameters"):
        checker.check("SELECT 1", [1] * (PARAMETERS_MAX + 1), RELATIONS)


def test_heights_come_from_numbers_and_from_parameters(checker):
    check = checker.check
    assert check("FROM points.lots_at(3), points.totals_at(-1)", None, RELATIONS).heights in ((3, -1), (-1, 3))
    assert check("FROM points.lots_at(?)", [7], RELATIONS).heights == (7,)
    assert check("FROM points.lots_at($2)", [7, 8], RELATIONS).heights == (8,)
    assert check("FROM points.lots_at($h)", {"h": 9}, RELATIONS).heights == (9,)
    for parameters in (None, [], ["1"], [True], [1.0]):
        with pytest.raises(GuildbookError):
            check("FROM points.lots_at(?)", parameters, RELATIONS)


def test_what_a_statement_reads_is_known(checker):
    sql = "SELECT * FROM points.lots_at(1) JOIN (FROM points.totals) USING (holder)"
    statement = checker.check(sql, None, RELATIONS)
    assert statement.relations == {"points.lots", "points.totals"}


@pytest.mark.parametrize("condition", ["1=1) OR (1=1", "true; DROP TABLE x", "id IN (SELECT 1 FROM points.lots)",
                                       "random() > 0", "true UNION SELECT 1", "true ORDER BY 1", "true LIMIT 1",
                                       "true GROUP BY 1", "true HAVING true", ""])
def test_a_condition_of_a_scope_is_one_condition_on_one_row(checker, condition):
    with pytest.raises(GuildbookError):
        checker.check_condition(condition)


def test_an_honest_condition_of_a_scope_is_accepted(checker):
    checker.check_condition("holder = 'bob' AND units > 3 -- theirs")
