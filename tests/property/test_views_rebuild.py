"""The law of the views: whatever the blocks, and however they were fed, the tables follow from the blocks alone."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guildbook.primitives.canonical import decode_value, encode
from guildbook.primitives.errors import GuildbookError
from guildbook.views import database, tables
from guildbook.views.answer import NO_LIMIT, Limits
from guildbook.views.database import Views
from guildbook.views.export import export
from views_chain import SCHEMA, Book, lot

FILES = ("v", "v.wal", "v.bases")
ALL = Limits(NO_LIMIT, NO_LIMIT, 60_000)

texts = st.text(max_size=6)
holders = st.sampled_from(["ann", "bob", "eve", ""])
lots = st.builds(lot, st.just(0), texts, st.integers(-(2**63), 2**63 - 1),
                 st.none() | st.binary(min_size=32, max_size=32),
                 expires_at=st.integers(0, 2**63 - 1), is_open=st.booleans(),
                 shares=st.lists(st.tuples(texts, st.integers(0, 2**63 - 1)), max_size=2).map(tuple))
lot_changes = st.dictionaries(st.tuples(st.just("points.lots"), st.integers(0, 9)), st.none() | lots, max_size=6)
total_changes = st.dictionaries(
    st.tuples(st.just("points.totals"), st.tuples(holders, st.none() | holders)),
    st.none() | st.integers(-(2**63), 2**63 - 1), max_size=4)
events = st.lists(st.tuples(st.integers(0, 9), holders, st.integers(1, 2**63 - 1)), max_size=3)
transactions = st.lists(st.tuples(st.sampled_from([0, 1, 2]), events), max_size=3)
steps = st.lists(st.tuples(lot_changes, total_changes, transactions), min_size=1, max_size=10)


def book_of(steps: Any) -> Book:
    book = Book()
    for changed_lots, changed_totals, made in steps:
        changes: dict[Any, Any] = {(table, number): None if row is None else [number, *row[1:]]
                                   for (table, number), row in changed_lots.items()}
        changes |= {(table, key): None if units is None else [*key, units]
                    for (table, key), units in changed_totals.items()}
        book.block(changes, [(outcome, [["points", "transferred", list(one)] for one in happened if outcome == 0])
                             for outcome, happened in made])
    return book


def fed(path: Any, book: Book, sizes: list[int]) -> Views:
    """Views at ``path`` that took the blocks in transactions of the given sizes, opened again after each."""
    start, turn = 0, 0
    while start < len(book.blocks):
        with Views(path, "test-net", SCHEMA) as views:
            start = views.apply(book.blocks[:start + sizes[turn % len(sizes)]]) + 1
        turn += 1
    return Views(path, "test-net", SCHEMA)


def content(views: Views) -> dict[str, list[Any]]:
    """Everything that can be read; histories, events and chain in their own order, current rows sorted."""
    found = {}
    for name, relation in views.relations().items():
        order = " ORDER BY ALL" if relation.kind == "current" else ""
        found[name] = views.query(f"SELECT * FROM {name}{order}", limits=ALL).rows
    return found


def rows_of(book: Book, table: str, height: int) -> set[bytes]:
    return {row for (name, _key), row in book.states[height].items() if name == table}


def read_rows(views: Views, table: str, height: int | None) -> set[bytes]:
    """The rows of a table with integer, text and NULL fields alone, encoded again."""
    return {encode(list(row)) for row in views.query(f"FROM {table}", at=height, limits=ALL)}


@settings(max_examples=12, deadline=None)
@given(steps, st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 6))
def test_rebuilt_views_equal_those_that_followed(tmp_path_factory, steps, sizes, tail):
    folder = tmp_path_factory.mktemp("views")
    book = book_of(steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "TAIL_ROWS_MIN", tail)
        patch.setattr(tables, "TAIL_ROWS_MAX", tail)
        patch.setattr(database, "BATCH_ROWS_MAX", 3 * tail)
        with fed(folder / "followed", book, sizes) as followed:
            read = content(followed)
    with Views(folder / "rebuilt", "test-net", SCHEMA) as rebuilt:
        rebuilt.apply([encode(block) for block in book.blocks])
        assert content(rebuilt) == read
        assert rebuilt.height == followed.height == book.height
    shutil.rmtree(folder)


@settings(max_examples=12, deadline=None)
@given(steps, st.integers(1, 6))
def test_every_height_reads_as_it_was(tmp_path_factory, steps, tail):
    folder = tmp_path_factory.mktemp("views")
    book = book_of(steps)
    with pytest.MonkeyPatch.context() as patch, Views(folder / "v", "test-net", SCHEMA) as views:
        patch.setattr(tables, "TAIL_ROWS_MIN", tail)
        patch.setattr(tables, "TAIL_ROWS_MAX", tail)
        for block in book.blocks:
            views.apply([block])
        for height in [*range(book.height + 1), None]:
            state = book.height if height is None else height
            assert read_rows(views, "points.totals", height) == rows_of(book, "points.totals", state)
            rows: list[Any] = [decode_value(row) for row in rows_of(book, "points.lots", state)]
            stored = {row[0]: row for row in rows}
            shown = {row["id"]: row for row in views.query("FROM points.lots", at=height).records()}
            assert shown.keys() == stored.keys()
            for number, row in shown.items():
                assert [row["holder"], row["units"], row["evidence"], row["open"]] == [
                    stored[number][1], stored[number][2], stored[number][4], stored[number][5]]
            assert views.query("SELECT count(*) FROM points.lots_history", at=height).rows[0][0] == sum(
                change.table == "points.lots" for block in book.blocks[:state + 1] for change in block.rows)
            assert views.query('SELECT _height, _index, _event, lot, "to", units FROM points.transferred_events',
                               at=height).rows == [(at, index, place, *event[2])
                                                   for at, index, place, event in expected_events(book) if at <= state]
    shutil.rmtree(folder)


def expected_events(book: Book) -> list[Any]:
    found = []
    for block in book.blocks:
        for data in block.receipts:
            receipt: Any = decode_value(data)
            found += [(receipt[1], receipt[2], place, event) for place, event in enumerate(receipt[7])]
    return found


def many_blocks(count: int) -> Book:
    book = Book()
    draws = random.Random(7)
    for height in range(count):
        book.block({("points.lots", number): None if draws.random() < 0.2 else lot(number, units=height)
                    for number in draws.sample(range(200), 20)}
                   | {("points.totals", ("ann", None)): ["ann", None, height]},
                   [(0, [["points", "transferred", [height, "bob", 1]]])])
    return book


def digests(views: Views, folder: Any) -> dict[str, str]:
    """The SHA-256 of each relation's export."""
    found = {}
    for name in views.relations():
        export(views, folder / "x.csv", table=name, form="csv")
        found[name] = hashlib.sha256((folder / "x.csv").read_bytes()).hexdigest()
    return found


@pytest.mark.crash
@pytest.mark.timeout(300)
def test_views_killed_at_any_moment_go_on_to_the_same_tables(tmp_path):
    """A process is killed again and again while it feeds; each time the next one goes on from what is there."""
    book = many_blocks(250)
    (tmp_path / "blocks").mkdir()
    for block in book.blocks:
        (tmp_path / "blocks" / f"{block.height:06d}").write_bytes(encode(block))
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from guildbook.views import database, tables
        from guildbook.views.database import Views
        from views_chain import SCHEMA
        tables.TAIL_ROWS_MIN = tables.TAIL_ROWS_MAX = 100
        folder = Path(sys.argv[1])
        with Views(folder / "v", "test-net", SCHEMA) as views:
            print(views.height, flush=True)
            for place in sorted((folder / "blocks").iterdir()):
                views.apply([place.read_bytes()])
        """)
    draws = random.Random(11)
    reached, runs = -1, 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    while True:
        runs += 1
        with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=environment,
                              stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            height = int(process.stdout.readline())
            assert height >= reached, "a height that was there is there after the crash"
            reached = height
            try:
                status = process.wait(draws.uniform(0.05, 0.8) if runs <= 8 else None)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                status = process.wait()
        if status == 0:
            break
        assert status == -signal.SIGKILL
        with Views(tmp_path / "v", "test-net", SCHEMA) as views:
            for table in ("points.totals", "points.lots"):
                assert views.query(f"SELECT count(*) FROM {table}").rows == [
                    (len(rows_of(book, table, views.height)) if views.height >= 0 else 0,)]
            reached = max(reached, views.height)
    assert runs > 3, "the process was killed on its way"
    with Views(tmp_path / "v", "test-net", SCHEMA) as crashed, Views(tmp_path / "w", "test-net", SCHEMA) as rebuilt:
        rebuilt.apply(book.blocks)
        assert digests(crashed, tmp_path) == digests(rebuilt, tmp_path)


def written_into_its_file(views):
    """The bases are in their file; the connection is that of the merger, which may be at work."""
    for _ in range(600):
        try:
            with views._instance.merger() as cursor:
                cursor.execute("CHECKPOINT _current")
        except duckdb.Error:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the merger never rested")


@pytest.mark.crash
@pytest.mark.timeout(300)
def test_a_damaged_file_gives_an_error_or_the_right_answer_but_never_a_wrong_one(tmp_path, monkeypatch):
    """Bytes of the file or of its log are changed or cut off; what can then be read is the state at some height."""
    monkeypatch.setattr(tables, "TAIL_ROWS_MIN", 50)
    monkeypatch.setattr(tables, "TAIL_ROWS_MAX", 50)
    book = many_blocks(60)
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        views.apply(book.blocks[:30])
    with Views(tmp_path / "v", "test-net", SCHEMA) as views:
        for block in book.blocks[30:]:
            views.apply([block])
        written_into_its_file(views)
        for name in FILES:
            shutil.copy(tmp_path / name, tmp_path / f"{name}.whole")

    def expected(height: int) -> dict[str, list[Any]]:
        with Views(tmp_path / f"w{height}", "test-net", SCHEMA) as views:
            views.apply(book.blocks[:height + 1])
            return content(views)

    draws = random.Random(5)
    sizes = {name: (tmp_path / f"{name}.whole").stat().st_size for name in FILES}
    outcomes = {"views.corrupt": 0, "views.mismatch": 0, "views.unavailable": 0, "right": 0}
    for turn in range(60):
        for name in sizes:
            shutil.copy(tmp_path / f"{name}.whole", tmp_path / name)
        name = FILES[turn % len(FILES)]
        place = draws.randrange(sizes[name])
        if turn % 4 == 0:
            os.truncate(tmp_path / name, place)
        else:
            with (tmp_path / name).open("r+b") as file:
                file.seek(place)
                byte = file.read(1)
                file.seek(place)
                file.write(bytes([byte[0] ^ 1 << draws.randrange(8)]))
        try:
            with Views(tmp_path / "v", "test-net") as views:
                assert content(views) == expected(views.height), (turn, name, place)
                outcomes["right"] += 1
        except GuildbookError as error:
            outcomes[error.code] += 1
    assert outcomes["views.corrupt"] > 20, outcomes
    assert outcomes["right"] > 0, outcomes
