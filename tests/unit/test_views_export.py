"""Exports: whole files that name their height, or no file at all."""

import csv
import datetime
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from guildbook.primitives.errors import GuildbookError
from guildbook.views.answer import Limits
from guildbook.views.database import Views
from guildbook.views.export import export
from guildbook.views.scope import Part, Scope
from views_chain import GENESIS_MS, SCHEMA, Book, lot


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    book = Book()
    book.block({("points.lots", 3): lot(3, "bob", 3), ("points.lots", 1): lot(1, "bob", 1),
                ("points.lots", 2): lot(2, 'a"n,n\n', 2)})
    book.block({("points.lots", 1): lot(1, "", 99, None, shares=(("bob", 1),)), ("points.lots", 2): None})
    with Views(tmp_path_factory.mktemp("views") / "v", "test-net", SCHEMA) as made:
        made.apply(book.blocks)
        yield made


def refused(code, *arguments, **named):
    with pytest.raises(GuildbookError) as caught:
        export(*arguments, **named)
    assert caught.value.code == code, caught.value
    return caught.value


def test_a_table_becomes_a_parquet_file_that_names_its_height(views, tmp_path):
    done = export(views, tmp_path / "lots.parquet", table="points.lots")
    table = pq.read_table(tmp_path / "lots.parquet")
    assert (done.rows, done.height, done.size_bytes) == (2, 1, (tmp_path / "lots.parquet").stat().st_size)
    assert table.column("id").to_pylist() == [1, 3]
    assert table.column("expires_at").to_pylist()[0] == datetime.datetime(2026, 1, 1)
    assert table.schema.metadata[b"guildbook.height"] == b"1"
    assert table.schema.metadata[b"guildbook.network"] == b"test-net"
    assert b"points" in table.schema.metadata[b"guildbook.statement"]


def test_a_table_can_be_exported_as_it_was(views, tmp_path):
    done = export(views, tmp_path / "lots.parquet", table="points.lots", at=0)
    table = pq.read_table(tmp_path / "lots.parquet")
    assert (done.height, table.column("units").to_pylist()) == (0, [1, 2, 3])
    assert table.schema.metadata[b"guildbook.height"] == b"0"


def test_an_answer_becomes_a_csv_file_with_its_height_beside_it(views, tmp_path):
    done = export(views, tmp_path / "lots.csv", form="csv", at=1,
                  sql="SELECT * FROM points.lots WHERE units > ? ORDER BY id", parameters=[1])
    data = (tmp_path / "lots.csv").read_bytes()
    with (tmp_path / "lots.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert data.endswith(b"\r\n")
    assert rows == [
        ["id", "holder", "units", "expires_at", "evidence", "open", "shares"],
        ["1", "", "99", "2026-01-01T00:00:00.000Z", "", "true", '[{"party":"bob","units":1}]'],
        ["3", "bob", "3", "2026-01-01T00:00:00.000Z", "01" * 32, "true", "[]"]]
    assert b'1,"",99,' in data, "an empty text is not NULL"
    notes = json.loads((tmp_path / "lots.csv-metadata.json").read_text())
    assert notes["@context"] == "http://www.w3.org/ns/csvw"
    assert notes["url"] == "lots.csv"
    assert notes["notes"][0]["guildbook.height"] == done.height == 1
    assert notes["notes"][0]["guildbook.rows"] == 2
    assert [column["datatype"] for column in notes["tableSchema"]["columns"]] == [
        "integer", "string", "integer", "dateTime", "hexBinary", "boolean", "string"]


def test_texts_survive_in_csv_whatever_is_in_them(views, tmp_path):
    export(views, tmp_path / "x.csv", form="csv", sql="SELECT holder FROM points.lots_at(0) ORDER BY id")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[2] == ['a"n,n\n']


def test_structures_and_intervals_have_their_text_in_csv(views, tmp_path):
    export(views, tmp_path / "x.csv", form="csv",
           sql="SELECT [1, NULL], {'a': 1}, INTERVAL 90 MINUTE, 1.50::DECIMAL(5, 2), 'x'::BLOB, NULL")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1] == ["[1,null]", '{"a":1}', "P0M0DT5400.000000S", "1.50", "78", ""]


def test_a_history_comes_in_the_order_it_happened(views, tmp_path):
    export(views, tmp_path / "h.parquet", table="points.lots_history")
    rows = pq.read_table(tmp_path / "h.parquet").select(["_height", "_op", "id"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (0, "insert", 1), (0, "insert", 2), (0, "insert", 3), (1, "update", 1), (1, "delete", 2)]


def test_an_export_without_rows_is_a_file_with_columns(views, tmp_path):
    for form in ("parquet", "csv"):
        assert export(views, tmp_path / "e", table="points.totals", form=form).rows == 0
        assert (tmp_path / "e").stat().st_size > 0


def test_the_same_state_gives_the_same_bytes(views, tmp_path):
    for form in ("parquet", "csv"):
        export(views, tmp_path / "a", table="points.lots", form=form)
        export(views, tmp_path / "b", table="points.lots", form=form)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_that_is_there_is_replaced(views, tmp_path):
    (tmp_path / "lots.parquet").write_text("old")
    export(views, tmp_path / "lots.parquet", table="points.lots")
    assert pq.read_table(tmp_path / "lots.parquet").num_rows == 2


def test_an_export_keeps_to_a_scope(views, tmp_path):
    scope = Scope({"points.lots": Part(("id",), "holder = 'bob'")})
    export(views, tmp_path / "x.parquet", table="points.lots", scope=scope)
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == [{"id": 3}]
    refused("sql.syntax", views, tmp_path / "y.parquet", table="points.lots_history", scope=scope)


@pytest.mark.parametrize(("options", "code"), [
    ({"table": "points.nothing"}, "sql.syntax"),
    ({"table": "_meta.state"}, "sql.syntax"),
    ({"sql": "SELECT nobody FROM points.lots"}, "sql.syntax"),
    ({"sql": "DROP TABLE points.lots"}, "sql.not_allowed"),
    ({"sql": "EXPLAIN SELECT 1"}, "sql.not_allowed"),
    ({"table": "points.lots", "at": 99}, "sql.unknown_height"),
    ({"sql": "SELECT i::VARCHAR::TINYINT FROM range(300000) t(i)"}, "sql.failed"),
    ({"sql": "SELECT list(md5(i::VARCHAR)) FROM range(9000000) t(i)"}, "sql.too_large"),
    ({"sql": "SELECT i FROM range(1000000000000) t(i)", "limits": Limits(2**62, 2**62, 300)}, "sql.timeout"),
], ids=["no such table", "a table of the views' own", "no such column", "not a reading statement", "a plan",
        "no such height", "a value that fails late", "too much memory", "too much time"])
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_refused_export_leaves_nothing(views, tmp_path, options, code, form):
    refused(code, views, tmp_path / "out", form=form, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_old_file(views, tmp_path):
    (tmp_path / "out").write_text("old")
    refused("sql.failed", views, tmp_path / "out", sql="SELECT i::VARCHAR::TINYINT FROM range(300000) t(i)")
    assert (tmp_path / "out").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_path_that_cannot_be_written_is_named(views, tmp_path):
    for place in (tmp_path / "nowhere" / "x.csv", Path("/proc/x.csv")):
        error = refused("store.io", views, place, table="points.lots")
        assert str(place) in error.message
    (tmp_path / "folder").mkdir()
    refused("store.io", views, tmp_path / "folder", table="points.lots")
    assert [place.name for place in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    """A limit on the size of a file stands for a full disk; it holds for a whole process, so it gets its own."""
    program = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        from guildbook.primitives.errors import GuildbookError
        from guildbook.views.database import Views
        from guildbook.views.export import export
        folder = Path(sys.argv[1])
        with Views(folder / "v", "test-net") as views:
            before = sorted(folder.iterdir())
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
            for form in ("csv", "parquet"):
                try:
                    export(views, folder / "out", form=form, sql="SELECT md5(i::VARCHAR) FROM range(100000) t(i)")
                except GuildbookError as error:
                    print(error.code, sorted(folder.iterdir()) == before)
        """)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["store.full True", "store.full True"]


def test_time_stands_for_utc(views, tmp_path):
    export(views, tmp_path / "b.csv", table="chain.blocks", form="csv")
    expected = datetime.datetime.fromtimestamp(GENESIS_MS / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert expected in (tmp_path / "b.csv").read_text()
