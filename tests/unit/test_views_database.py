"""Feeding the views and asking them: now, in the past, within limits and within scopes."""

import datetime
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from guildbook.chain.changes import BlockChanges, RowChange
from guildbook.primitives.canonical import decode_value, encode
from guildbook.primitives.errors import GuildbookError
from guildbook.views import tables
from guildbook.views.answer import Limits
from guildbook.views.database import Views
from guildbook.views.schema import Field, TableView, ViewSchema
from guildbook.views.scope import Part, Scope
from guildbook.views.settings import ViewsSettings
from views_chain import GENESIS_MS, LOTS, SCHEMA, TRANSFERRED, Book, lot


def refused(code, call, *arguments, **named):
    with pytest.raises(GuildbookError) as caught:
        call(*arguments, **named)
    assert caught.value.code == code, caught.value
    assert caught.value.hint
    return caught.value


def merged(views):
    """Wait until no table has a tail."""
    for _ in range(500):
        with views._instance.writer() as cursor:
            if not any(base.tail_rows for base in tables.read_bases(cursor).values()):
                return
        time.sleep(0.01)
    raise AssertionError("the bases were not merged")


@pytest.fixture
def book():
    """Three lots at genesis; one split at height 1; one deleted and one refused transfer at height 2; nothing at 3."""
    made = Book()
    made.block({("points.lots", 1): lot(1), ("points.lots", 2): lot(2, "bob", 20), ("points.lots", 3): lot(3, "eve", 7),
                ("points.totals", ("ann", None)): ["ann", None, 10]})
    made.block({("points.lots", 1): lot(1, units=6), ("points.lots", 4): lot(4, "bob", 4, None, shares=(("bob", 4),)),
                ("points.totals", ("ann", None)): ["ann", None, 6], ("points.totals", ("ann", "b")): ["ann", "b", 1]},
               [(0, [["points", "transferred", [1, "bob", 4]]])])
    made.block({("points.lots", 3): None}, [(1, []), (0, [])])
    made.block()
    return made


@pytest.fixture
def views(tmp_path, book):
    with Views(tmp_path / "views.duckdb", "test-net", SCHEMA) as made:
        made.apply(book.blocks)
        yield made


# Reading


def test_a_table_shows_the_rows_after_the_last_block(views):
    result = views.query("SELECT id, holder, units FROM points.lots ORDER BY id")
    assert result.rows == [(1, "ann", 6), (2, "bob", 20), (4, "bob", 4)]
    assert result.height == 3
    assert result.names == ("id", "holder", "units")


def test_every_kind_of_field_has_its_own_kind_of_column(views):
    [row] = views.query("SELECT * FROM points.lots WHERE id = 4").records()
    assert row == {"id": 4, "holder": "bob", "units": 4, "open": True, "evidence": None,
                   "expires_at": datetime.datetime.fromtimestamp(GENESIS_MS / 1000, datetime.UTC),
                   "shares": '[{"party":"bob","units":4}]'}
    assert [column.type for column in views.query("FROM points.lots").columns] == [
        "BIGINT", "VARCHAR", "BIGINT", "TIMESTAMP", "BLOB", "BOOLEAN", "VARCHAR"]


def test_a_history_has_one_row_for_each_change(views):
    rows = views.query("SELECT _height, _op, id, units FROM points.lots_history").rows
    assert rows == [(0, "insert", 1, 10), (0, "insert", 2, 20), (0, "insert", 3, 7), (1, "update", 1, 6),
                    (1, "insert", 4, 4), (2, "delete", 3, 7)]


def test_a_history_carries_the_time_of_its_block(views):
    [(time_at_1,)] = views.query("SELECT DISTINCT _time FROM points.lots_history WHERE _height = 1").rows
    assert time_at_1 == datetime.datetime.fromtimestamp(GENESIS_MS / 1000 + 1, datetime.UTC)


def test_an_event_names_its_transaction(views):
    [row] = views.query("SELECT e.*, t.outcome, t.party FROM points.transferred_events e "
                        "JOIN chain.transactions t ON t.id = e._transaction").records()
    assert (row["_height"], row["_index"], row["_event"], row["lot"], row["to"], row["units"]) == (1, 0, 0, 1, "bob", 4)
    assert (row["outcome"], row["party"]) == ("applied", "ann")


def test_a_refused_transaction_says_why(views):
    [row] = views.query("SELECT * FROM chain.transactions WHERE outcome = 'rejected'").records()
    assert (row["code"], row["fields"]) == ("points.not_enough_units", '{"wanted":5,"free":0}')
    assert (row["calls"], row["results"], row["organisation"]) == ('["points.transfer"]', "[0]", "bank")


def test_every_block_is_there_even_an_empty_one(views):
    assert views.query("SELECT height, transactions, row_changes FROM chain.blocks").rows == [
        (0, 0, 4), (1, 1, 4), (2, 2, 1), (3, 0, 0)]


def test_a_key_with_an_empty_part_is_a_key(views):
    assert views.query("SELECT * FROM points.totals ORDER BY ALL").rows == [("ann", "b", 1), ("ann", None, 6)]
    assert views.query("FROM points.totals", at=0).rows == [("ann", None, 10)]


def test_show_tables_lists_what_there_is(views):
    assert views.query("SHOW TABLES").rows == views.query("DESCRIBE").rows == [
        ("chain.blocks", "chain"), ("chain.columns", "chain"), ("chain.tables", "chain"),
        ("chain.transactions", "chain"), ("points.lots", "current"), ("points.lots_history", "history"),
        ("points.totals", "current"), ("points.totals_history", "history"), ("points.transferred_events", "events")]
    assert views.query("SELECT name FROM chain.columns WHERE table_name = 'points.totals' ORDER BY position").rows == [
        ("holder",), ("branch",), ("units",)]


def test_parameters_go_by_place_or_by_name(views):
    assert views.query("SELECT id FROM points.lots WHERE holder = ? AND units > ?", ["bob", 5]).rows == [(2,)]
    assert views.query("SELECT id FROM points.lots WHERE holder = $who", {"who": "ann"}).rows == [(1,)]
    for parameters in (None, [], ["a", "b"], {"other": 1}):
        refused("sql.syntax", views.query, "SELECT id FROM points.lots WHERE holder = ?", parameters)


def test_plain_values_come_out_whatever_the_type(views):
    [row] = views.query("SELECT sum(units), 1.50::DECIMAL(5, 2), 170141183460469231731687303715884105727::HUGEINT, "
                        "[1, NULL], {'a': DATE '2026-01-01', 'b': 2.5::DECIMAL(3, 1)}, map {'k': 1}, "
                        "DATE '2026-01-01', 1.5::DOUBLE, NULL, 'x'::BLOB FROM points.lots").rows
    assert row == (30, Decimal("1.50"), 2**127 - 1, [1, None], {"a": "2026-01-01", "b": "2.5"}, {"k": 1},
                   "2026-01-01", 1.5, None, b"x")


def test_an_answer_becomes_an_arrow_table_that_names_its_height(views):
    table = views.query("SELECT *, sum(units) OVER () AS total FROM points.lots ORDER BY id").arrow()
    assert table.num_rows == 3
    assert table.schema.metadata[b"guildbook.height"] == b"3"
    assert table.column("total").to_pylist() == [Decimal(30)] * 3
    assert views.query("FROM points.lots WHERE false").arrow().num_rows == 0


# The past


def test_at_a_height_the_same_statement_reads_the_past(views):
    sql = "SELECT id, units FROM points.lots ORDER BY id"
    assert views.query(sql, at=0).rows == [(1, 10), (2, 20), (3, 7)]
    assert views.query(sql, at=1).rows == [(1, 6), (2, 20), (3, 7), (4, 4)]
    assert views.query(sql, at=2).rows == views.query(sql, at=3).rows == [(1, 6), (2, 20), (4, 4)]
    assert views.query(sql, at=1).height == 1


def test_at_a_height_everything_in_the_statement_is_of_the_past(views):
    assert views.query(
        'WITH lots AS (SELECT * FROM "Points"."LOTS") SELECT l.id, (SELECT count(*) FROM points.lots_history h '
        "WHERE h.id = l.id), (SELECT max(height) FROM chain.blocks), (SELECT count(*) FROM chain.transactions), "
        "(SELECT count(*) FROM points.transferred_events) FROM lots l "
        "JOIN (SELECT id FROM points.lots WHERE id IN (SELECT id FROM points.lots)) USING (id) ORDER BY 1",
        at=1).rows == [(1, 2, 1, 1, 1), (2, 1, 1, 1, 1), (3, 1, 1, 1, 1), (4, 1, 1, 1, 1)]


def test_two_heights_can_be_compared_in_one_statement(views):
    assert views.query("SELECT n.id, n.units - o.units FROM points.lots_at(?) n JOIN points.lots_at(0) o USING (id) "
                       "WHERE n.units <> o.units", [2]).rows == [(1, -4)]


@pytest.mark.parametrize("height", [-1, 4, 2**62])
def test_a_height_that_is_not_held_is_refused(views, height):
    error = refused("sql.unknown_height", views.query, "FROM points.lots", at=height)
    assert (error.fields["first"], error.fields["last"]) == (0, 3)
    refused("sql.unknown_height", views.query, "FROM points.lots_at(?)", [height])


def test_the_past_does_not_know_its_future(views):
    refused("sql.unknown_height", views.query, "FROM points.lots_at(2)", at=1)
    assert len(views.query("FROM points.lots_at(1)", at=1)) == 4


def test_the_past_is_the_same_after_bases_were_merged(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "TAIL_ROWS_MIN", 0)
    monkeypatch.setattr(tables, "TAIL_ROWS_MAX", 0)
    book = Book()
    for height in range(12):
        totals: dict[Any, Any] = {("points.totals", ("ann", None)): ["ann", None, height]}
        book.block(totals | {("points.lots", number): None if (height + number) % 5 == 0 else lot(number, units=height)
                    for number in range(height % 3, 6)})
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        for block in book.blocks:
            views.apply([block])
            if block.height % 4 == 3:
                merged(views)
            for height in range(block.height + 1):
                expected = sorted(int(key) for table, key in book.states[height] if table == "points.lots")
                past = views.query("SELECT id FROM points.lots ORDER BY 1", at=height)
                named = views.query(f"SELECT id FROM points.lots_at({height}) ORDER BY 1")
                assert past.rows == named.rows == [(number,) for number in expected]


# The feed


def test_blocks_are_taken_as_objects_or_as_canonical_bytes(tmp_path, book):
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        assert views.apply([book.blocks[0], encode(book.blocks[1])]) == 1


def test_a_block_that_is_held_is_passed_over(views, book):
    before = views.query("FROM points.lots_history").rows
    assert views.apply(book.blocks) == 3
    assert views.query("FROM points.lots_history").rows == before


def test_a_gap_is_refused_and_leaves_the_blocks_before_it(tmp_path, book):
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        error = refused("block.wrong_height", views.apply, [book.blocks[1]])
        assert (error.fields["expected"], error.fields["got"]) == (0, 1)
        refused("block.wrong_height", views.apply, [book.blocks[0], book.blocks[2]])
        assert views.apply(book.blocks) == 3


def test_a_block_is_taken_whole_or_not_at_all(tmp_path, book):
    unknown = RowChange("points.nothing", b"k", None, encode([1]))
    bad = BlockChanges(1, GENESIS_MS, [*book.blocks[1].rows, unknown], [], [])
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        views.apply(book.blocks[:1])
        refused("views.unknown_table", views.apply, [bad])
        assert views.height == 0
        assert len(views.query("FROM points.lots_history")) == 3
        assert views.apply(book.blocks) == 3


@pytest.mark.parametrize(("changes", "code"), [
    (RowChange("points.lots", b"k", None, b"\xc1"), "views.corrupt"),
    (RowChange("points.lots", b"k", None, encode("no array")), "views.corrupt"),
    (RowChange("points.lots", b"k", None, None), "views.corrupt"),
    (RowChange("points.lots", b"k", None, encode(["text", "ann", 1, 0, None, True, []])), "views.corrupt"),
    (RowChange("points.lots", b"k", None, encode([2**64 - 1, "ann", 1, 0, None, True, []])), "views.corrupt"),
    (RowChange("points.lots", b"k", None, encode([*lot(1), "one more"])), "views.unknown_table"),
    (RowChange("other.table", b"k", None, encode([1])), "views.unknown_table"),
], ids=["no value", "no array", "no image", "text for a number", "a number of 64 bits without sign", "a field too many",
        "an unknown table"])
def test_changes_that_do_not_fit_are_refused(tmp_path, changes, code):
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        refused(code, views.apply, [BlockChanges(0, GENESIS_MS, [changes], [], [])])
        assert views.height == -1


def test_two_changes_of_one_row_in_a_block_are_refused(tmp_path):
    change = RowChange("points.lots", b"k", None, encode(lot(1)))
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        refused("views.corrupt", views.apply, [BlockChanges(0, GENESIS_MS, [change, change], [], [])])


def test_bytes_that_are_no_block_are_refused(tmp_path):
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        refused("views.corrupt", views.apply, [b"\xc1"])


def test_a_timestamp_beyond_the_calendar_is_later_than_any_other(tmp_path):
    book = Book()
    book.block({("points.lots", 1): lot(1, expires_at=2**63 - 1),
                ("points.lots", 2): lot(2, expires_at=253_402_300_799_999)})
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        views.apply(book.blocks)
        assert views.query("SELECT expires_at FROM points.lots ORDER BY 1").rows == [
            (datetime.datetime(9999, 12, 31, 23, 59, 59, 999000, datetime.UTC),),
            (datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, datetime.UTC),)]


def test_texts_and_bytes_survive_whatever_is_in_them(tmp_path):
    book = Book()
    book.block({("points.lots", 1): lot(1, "a'b\"c\n\0\u20ac\U0001f600", evidence=bytes(range(32)))})
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        views.apply(book.blocks)
        assert views.query("SELECT holder, evidence FROM points.lots").rows == [
            ("a'b\"c\n\0\u20ac\U0001f600", bytes(range(32)))]


def test_waiting_ends_when_the_height_comes(views, book):
    threading.Timer(0.05, lambda: views.apply([book.block()])).start()
    assert views.wait_for(4, 5_000) == 4
    error = refused("views.behind", views.wait_for, 9, 20)
    assert (error.fields["wanted"], error.fields["held"]) == (9, 4)


def test_views_go_on_where_they_were(tmp_path, book):
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        views.apply(book.blocks[:2])
    with Views(tmp_path / "v", "test-net") as views:
        assert views.height == 1
        assert views.schema == SCHEMA
        views.apply(book.blocks[2:])
        assert len(views.query("FROM points.lots")) == 3


def test_views_can_begin_at_a_later_height(tmp_path):
    book = Book()
    for _ in range(5):
        book.block()
    book.block({("points.lots", 1): lot(1)})
    book.block({("points.lots", 1): lot(1, units=1)})
    with Views(tmp_path / "v", "test-net", SCHEMA, settings=ViewsSettings(first_height=5)) as views:
        refused("block.wrong_height", views.apply, [book.blocks[6]])
        assert views.apply(book.blocks[5:]) == 6
        assert views.query("SELECT units FROM points.lots", at=5).rows == [(10,)]
        refused("sql.unknown_height", views.query, "FROM points.lots", at=4)


def test_a_reader_keeps_its_height_while_the_feed_goes_on(views, book):
    with views.reading("SELECT units FROM points.lots ORDER BY id") as reading:
        views.apply([book.block({("points.lots", 1): lot(1, units=999)})])
        assert [row for rows in reading.batches for row in rows] == [(6,), (20,), (4,)]
        assert reading.height == 3
    assert views.query("SELECT units FROM points.lots WHERE id = 1").rows == [(999,)]


def test_readers_see_one_height_while_bases_are_merged(tmp_path, monkeypatch):
    """The sum of all units never changes; a reader that mixed an old base with a new tail would see another."""
    monkeypatch.setattr(tables, "TAIL_ROWS_MIN", 1)
    monkeypatch.setattr(tables, "TAIL_ROWS_MAX", 1)
    book = Book()
    book.block({("points.lots", number): lot(number, units=100) for number in range(20)})
    for height in range(1, 61):
        first, second = height % 20, (height * 7 + 3) % 20
        moved = height % 5 if first != second else 0
        rows: list[Any] = [decode_value(book.states[-1]["points.lots", repr(number).encode()])
                           for number in (first, second)]
        units = {row[0]: row[2] for row in rows}
        book.block({("points.lots", first): lot(first, units=units[first] - moved),
                    ("points.lots", second): lot(second, units=units[second] + moved)} if moved else {})
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        views.apply(book.blocks[:1])
        wrong = []

        def read():
            while views.height < 60:
                result = views.query("SELECT count(*), sum(units), (SELECT max(height) FROM chain.blocks) "
                                     "FROM points.lots")
                if result.rows != [(20, 2000, result.height)]:
                    wrong.append(result.rows)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for block in book.blocks[1:]:
            views.apply([block])
        for reader in readers:
            reader.join()
        assert wrong == []


# Later versions


def test_a_later_version_adds_columns_and_tables(views, book):
    wider = TableView("points.lots", (*LOTS.fields, Field("note", "text", True, False)))
    news = TableView("points.news", (Field("id", "int", False, True),))
    views.ensure_schema(ViewSchema((wider, news), (TRANSFERRED,)))
    views.apply([book.block({("points.lots", 1): [*lot(1), "new"], ("points.news", 1): [5]})])
    assert views.query("SELECT id, note FROM points.lots ORDER BY id").rows == [(1, "new"), (2, None), (4, None)]
    assert views.query("SELECT DISTINCT note FROM points.lots", at=3).rows == [(None,)]
    assert views.query("FROM points.news").rows == [(5,)]
    assert ("points.news", "current") in views.query("SHOW TABLES").rows


def test_the_same_catalogue_again_changes_nothing(views):
    views.ensure_schema(SCHEMA)
    assert views.schema == SCHEMA


def test_a_changed_field_is_refused_and_the_views_go_on(views, book):
    refused("contract.bad_declaration", views.ensure_schema,
            ViewSchema((TableView("points.lots", (Field("id", "text", False, True),)),)))
    views.apply([book.block()])
    assert views.query("SELECT count(*) FROM points.lots").rows == [(3,)]


# Limits


def test_too_many_rows_are_refused_rather_than_cut(views):
    assert len(views.query("FROM range(10)", limits=Limits(rows_max=10))) == 10
    error = refused("sql.too_many_rows", views.query, "FROM range(11)", limits=Limits(rows_max=10))
    assert error.fields["rows_max"] == 10


def test_too_many_bytes_are_refused(views):
    sql = "SELECT string_agg(md5(i::VARCHAR), '') FROM range(1000) t(i)"
    refused("sql.too_large", views.query, sql, limits=Limits(size_bytes_max=1_000))
    assert len(views.query(sql)) == 1


def test_a_statement_ends_when_its_time_is_over(views):
    started = time.perf_counter()
    refused("sql.timeout", views.query, "SELECT count(*) FROM range(100000000000) a, range(1000) b",
            limits=Limits(time_ms_max=200))
    assert time.perf_counter() - started < 5
    assert views.query("SELECT 1").rows == [(1,)]


def test_recursion_without_end_ends(views):
    refused("sql.timeout", views.query, "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t) "
            "SELECT count(*) FROM t", limits=Limits(time_ms_max=300))


def test_a_statement_that_needs_too_much_memory_is_refused(tmp_path, book):
    settings = ViewsSettings(memory_bytes_max=32 * 2**20, temporary_bytes_max=2**20)
    with Views(tmp_path / "v", "test-net", SCHEMA, settings=settings) as views:
        views.apply(book.blocks)
        refused("sql.too_large", views.query, "SELECT list(md5(i::VARCHAR)) FROM range(9000000) t(i)")
        assert views.query("SELECT count(*) FROM points.lots").rows == [(3,)]


def test_the_feed_goes_on_while_statements_take_the_memory(tmp_path, book):
    settings = ViewsSettings(memory_bytes_max=48 * 2**20, temporary_bytes_max=2**20)
    with Views(tmp_path / "v", "test-net", SCHEMA, settings=settings) as views:
        views.apply(book.blocks)
        stop = threading.Event()

        def ask():
            while not stop.is_set():
                with pytest.raises(GuildbookError) as caught:
                    views.query("SELECT list(md5(i::VARCHAR)) FROM range(9000000) t(i)")
                assert caught.value.code == "sql.too_large"

        asker = threading.Thread(target=ask)
        asker.start()
        for number in range(20):
            views.apply([book.block({("points.lots", 100 + number): lot(100 + number)})])
        stop.set()
        asker.join()
        assert views.query("SELECT count(*) FROM points.lots").rows == [(23,)]


@pytest.mark.parametrize(("sql", "code"), [
    ("SELECT 'x'::INT", "sql.failed"),
    ("SELECT 9223372036854775807 + 1", "sql.failed"),
    ("SELECT holder + 1 FROM points.lots", "sql.syntax"),
    ("SELECT nobody FROM points.lots", "sql.syntax"),
    ("SELECT count(*) FROM points.lots WHERE sum(units) > 1", "sql.syntax"),
    ("SELECT time AT TIME ZONE 'UTC' FROM chain.blocks", "sql.not_allowed"),
], ids=["a value that is none", "a sum too large", "text as a number", "no such column", "an aggregate out of place",
        "a time with a zone"])
def test_a_statement_that_cannot_be_computed_says_why(views, sql, code):
    refused(code, views.query, sql)


def test_nothing_is_left_in_front_of_the_ledger(views):
    for _ in range(3):
        views.query("FROM points.lots", at=1)
        refused("sql.failed", views.query, "SELECT 'x'::INT FROM points.lots", at=1)
    with views._instance.writer() as cursor:
        names = [name for name, in cursor.execute("SELECT database_name FROM duckdb_databases()").fetchall()]
    assert sorted(name for name in names if name.startswith("_")) == ["_current", "_ledger"]


# Walls behind the checker


@pytest.mark.parametrize("sql", [
    "DELETE FROM points.totals_history", "CREATE TABLE points.x (a INT)", "COPY (SELECT 1) TO 'stolen.csv'",
    "SELECT * FROM read_text('/etc/passwd')", "SET memory_limit = '1GB'", "ATTACH 'x.db'", "INSTALL httpfs",
    "SELECT * FROM '/etc/passwd'"])
def test_a_statement_that_slipped_past_the_checker_would_fail_too(views, sql):
    with views.prepared("SELECT 1", None, at=None, scope=None, limits=Limits()) as (cursor, _statement, _height), \
            pytest.raises(duckdb.Error):
        cursor.execute(sql)


# Scopes

BOBS = Scope({"points.lots": Part(("id", "units"), "holder = 'bob'"), "points.lots_history": Part(None, "id = 2")})


def test_a_scope_shows_its_rows_and_columns_and_nothing_else(views):
    assert views.query("SELECT * FROM points.lots ORDER BY id", scope=BOBS).rows == [(2, 20), (4, 4)]
    assert views.query("SELECT * FROM points.lots", scope=BOBS, at=0).rows == [(2, 20)]
    assert views.query("SELECT * FROM points.lots_at(0)", scope=BOBS).rows == [(2, 20)]
    assert [row[3] for row in views.query("FROM points.lots_history", scope=BOBS)] == [2]
    assert views.query("FROM points.lots_history", scope=BOBS, at=0).rows[0][3] == 2


def test_what_a_scope_does_not_show_does_not_exist(views):
    for sql in ("SELECT holder FROM points.lots", "FROM points.totals", "FROM points.totals_history",
                "FROM points.totals_at(1)", "FROM points.transferred_events", "FROM chain.transactions"):
        refused("sql.syntax", views.query, sql, scope=BOBS)
    assert views.query("SHOW TABLES", scope=BOBS).rows == [
        ("chain.columns", "chain"), ("chain.tables", "chain"), ("points.lots", "current"),
        ("points.lots_history", "history")]
    assert views.query("SELECT name FROM chain.columns WHERE table_name = 'points.lots' ORDER BY 1",
                       scope=BOBS).rows == [("id",), ("units",)]


@pytest.mark.parametrize("probe", [
    "SELECT * FROM points.lots_history WHERE CASE WHEN id <> 2 THEN holder::INT = 1 ELSE true END",
    "SELECT count(*) FROM points.lots_history WHERE id = 2 OR holder::INT > 0",
    "SELECT id FROM points.lots_history WHERE [true][id - 1]",
])
def test_a_readers_condition_is_not_tried_on_hidden_rows(views, probe):
    views.query(probe, scope=BOBS)


def test_a_scope_with_a_bad_condition_shows_nothing(views):
    for condition, code in (("true) OR (true", "sql.syntax"), ("random() > 0", "sql.not_allowed"),
                            ("id IN (SELECT id FROM points.lots)", "sql.syntax")):
        refused(code, views.query, "FROM points.lots", scope=Scope({"points.lots": Part(None, condition)}))
    refused("sql.not_allowed", views.query, "FROM points.lots", scope=Scope({"points.lots": Part(("nothing",))}))


# Files


def test_views_of_another_network_are_refused(tmp_path):
    Views(tmp_path / "v", "test-net", SCHEMA).close()
    refused("views.mismatch", Views, tmp_path / "v", "other-net")


def test_a_database_of_something_else_is_refused(tmp_path):
    with duckdb.connect(str(tmp_path / "v")) as other:
        other.execute("CREATE TABLE t (a INT)")
    refused("views.mismatch", Views, tmp_path / "v", "test-net")


def mix_up(folder, book):
    """Bases of other views of the same network."""
    with Views(folder / "w", "test-net", SCHEMA) as other:
        other.apply([book.blocks[0]])
        merged(other)
    os.replace(folder / "w.bases", folder / "v.bases")


def put_back(folder, book):
    """Histories of before the bases."""
    shutil.copy(folder / "v", folder / "old")
    with Views(folder / "v", "test-net", SCHEMA) as views:
        views.apply([book.block({("points.lots", 1): lot(1, units=1000)})])
        merged(views)
    os.replace(folder / "old", folder / "v")


@pytest.mark.parametrize("spoil", [
    lambda folder, _book: (folder / "v.bases").unlink(),
    lambda folder, _book: (folder / "v.bases").write_bytes(b"no database" * 1000),
    lambda folder, _book: os.truncate(folder / "v.bases", 5_000),
    mix_up,
    put_back,
], ids=["lost", "overwritten", "cut off", "of other views", "ahead of the histories"])
def test_bases_that_are_of_no_use_are_made_again_from_the_histories(tmp_path, book, monkeypatch, spoil):
    monkeypatch.setattr(tables, "TAIL_ROWS_MIN", 0)
    monkeypatch.setattr(tables, "TAIL_ROWS_MAX", 0)
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        views.apply(book.blocks)
        merged(views)
        before = views.query("FROM points.lots ORDER BY id").rows
    spoil(tmp_path, book)
    with Views(tmp_path / "v", "test-net") as views:
        assert views.height == 3
        assert views.query("FROM points.lots ORDER BY id").rows == before
        merged(views)
        assert views.query("FROM points.lots ORDER BY id").rows == before


def test_bases_left_behind_by_deleted_views_are_no_hindrance(tmp_path, book):
    Views(tmp_path / "v", "test-net", SCHEMA).close()
    (tmp_path / "v").unlink()
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        assert views.apply(book.blocks) == 3


def test_one_process_has_the_views_at_a_time(tmp_path):
    with Views(tmp_path / "v", "test-net"):
        refused("store.locked", Views, tmp_path / "v", "test-net")


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    refused("store.io", Views, tmp_path / "nowhere" / "v", "test-net")
    refused("store.io", Views, tmp_path, "test-net")


def test_a_full_disk_is_named_and_the_feed_goes_on_when_there_is_room(tmp_path):
    """A limit on the size of a file stands for a full disk; it holds for a whole process, so it gets its own."""
    program = textwrap.dedent("""
        import resource, sys
        from guildbook.primitives.errors import GuildbookError
        from guildbook.views.database import Views
        from views_chain import SCHEMA, Book, lot
        book = Book()
        for height in range(40):
            book.block({("points.lots", number): lot(number, units=height) for number in range(50)})
        no_limit = resource.RLIM_INFINITY
        with Views(sys.argv[1], "test-net", SCHEMA) as views:
            resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, no_limit))
            try:
                for block in book.blocks:
                    views.apply([block])
            except GuildbookError as error:
                print(error.code)
            stopped = views.height
            print(0 < stopped < 39, views.query("SELECT DISTINCT units FROM points.lots").rows == [(stopped,)])
            resource.setrlimit(resource.RLIMIT_FSIZE, (no_limit, no_limit))
            print(views.apply(book.blocks), views.query("SELECT DISTINCT units FROM points.lots").rows)
        """)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "v")], capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.splitlines() == ["store.full", "True True", "39 [(39,)]"]


def test_closed_views_answer_no_more(tmp_path):
    views = Views(tmp_path / "v", "test-net", SCHEMA)
    views.close()
    views.close()
    refused("views.unavailable", views.query, "SELECT 1")
    refused("views.unavailable", views.apply, [])


def test_closing_ends_running_statements(tmp_path):
    views = Views(tmp_path / "v", "test-net", SCHEMA)
    errors = []

    def ask():
        with pytest.raises(GuildbookError) as caught:
            views.query("SELECT count(*) FROM range(100000000000) a, range(1000) b")
        errors.append(caught.value.code)

    asker = threading.Thread(target=ask)
    asker.start()
    time.sleep(0.2)
    views.close()
    asker.join(5)
    assert errors == ["views.unavailable"]


def test_the_file_reads_without_the_program(tmp_path, book):
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        views.apply(book.blocks)
    with duckdb.connect() as other:
        other.execute(f"ATTACH '{tmp_path / 'v'}' AS _ledger (READ_ONLY)")
        other.execute(f"ATTACH '{tmp_path / 'v.bases'}' AS _current (READ_ONLY)")
        other.execute("USE _current")
        assert other.execute("SELECT id FROM points.lots ORDER BY id").fetchall() == [(1,), (2,), (4,)]


def test_a_database_object_that_a_statement_ended_is_opened_again(views, book, monkeypatch):
    def fail(_cursor):
        raise duckdb.FatalException("FATAL Error: as if a statement had met a fault of the database")

    before = views._instance.generation
    monkeypatch.setattr(views._instance, "_answers", lambda: False)
    with monkeypatch.context() as patch:
        patch.setattr(tables, "read_heights", fail)
        refused("views.unavailable", views.query, "SELECT 1")
    assert views.query("SELECT count(*) FROM points.lots").rows == [(3,)]
    assert views._instance.generation == before + 1
    assert views.apply([book.block({("points.lots", 9): lot(9)})]) == 4
    assert views.query("SELECT count(*) FROM points.lots").rows == [(4,)]
