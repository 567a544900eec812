"""The views in a process of their own: following, answering, falling over and getting up."""

import os
import signal
import threading
import time
from typing import Any

import pytest

from guildbook.chain.changes import BlockChanges, RowChange
from guildbook.primitives.canonical import encode
from guildbook.primitives.errors import GuildbookError
from guildbook.views.answer import Limits
from guildbook.views.database import Views
from guildbook.views.process import ViewsProcess
from guildbook.views.schema import Field, TableView, ViewSchema
from guildbook.views.scope import Part, Scope
from guildbook.views.settings import ViewsSettings
from views_chain import GENESIS_MS, LOTS, SCHEMA, TRANSFERRED, Book, lot

ENDLESS = "SELECT count(*) FROM range(100000000000) a, range(1000) b"


class Store:
    """What the node keeps: the blocks so far, and how often they were read."""

    def __init__(self):
        self.book = Book()
        self.reads = []
        self.grow(10)

    def grow(self, count=1):
        for _ in range(count):
            height = len(self.book.blocks)
            self.book.block({("points.lots", height): lot(height, units=height)}, [(0, [])])
        return self.book.blocks[-count:]

    def read_changes(self, height):
        self.reads.append(height)
        return iter([encode(block) for block in self.book.blocks[height:]])


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def views(tmp_path, store):
    with ViewsProcess(tmp_path / "v", "test-net", SCHEMA, store.read_changes) as made:
        made.wait_for(9, 30_000)
        yield made


def refused(code, call, *arguments, **named):
    with pytest.raises(GuildbookError) as caught:
        call(*arguments, **named)
    assert caught.value.code == code, caught.value
    return caught.value


def count(views):
    return views.query("SELECT count(*) FROM points.lots").rows[0][0]


def kill(views):
    """Kill the process, and wait until that is noticed."""
    process_id = views.status.process_id
    os.kill(process_id, signal.SIGKILL)
    with views._changed:
        assert views._changed.wait_for(lambda: views._child is None or views._child.process.pid != process_id, 10)
    return process_id


def test_what_the_store_has_is_read_at_the_start(views, store):
    assert store.reads == [0]
    assert count(views) == 10
    assert views.status.state == "running"


def test_new_blocks_come_without_reading_the_store(views, store):
    for _ in range(5):
        views.apply(store.grow(2))
    assert views.wait_for(19) == 19
    assert count(views) == 20
    assert store.reads == [0]


def test_blocks_that_were_not_handed_over_are_read_from_the_store(views, store):
    store.grow(5)
    views.apply(store.grow(1))
    assert views.wait_for(15) == 15
    assert store.reads == [0, 10]


def test_a_block_handed_over_twice_or_out_of_turn_does_no_harm(views, store):
    first, second, third = store.grow(3)
    views.apply([third])
    views.apply([first, second, third])
    views.apply([second])
    assert views.wait_for(12) == 12
    assert count(views) == 13


def test_answers_are_the_same_as_in_process(tmp_path, views, store):
    statements: list[tuple[str, dict[str, Any]]] = [
        ("FROM points.lots ORDER BY id", {}), ("FROM points.lots ORDER BY id", {"at": 4}), ("SHOW TABLES", {}),
        ("SELECT sum(units), avg(units), 1.5::DECIMAL(4, 2), 170141183460469231731687303715884105727::HUGEINT, NULL, "
         "[1, 2], {'a': 1.5::DECIMAL(4, 2)}, max(expires_at) FROM points.lots", {}),
        ("SELECT * FROM points.lots WHERE units > ? AND holder = ?", {"parameters": [3, "ann"]}),
        ("SELECT * FROM points.lots WHERE units > $n", {"parameters": {"n": 3}}),
        ("FROM points.lots", {"scope": Scope({"points.lots": Part(("id",), "units < 3")})}),
        ("SELECT * FROM points.lots WHERE false", {}), ("SELECT * FROM range(2500)", {}),
    ]
    with Views(tmp_path / "other", "test-net", SCHEMA) as own:
        own.apply(store.book.blocks)
        for sql, options in statements:
            here, there = own.query(sql, **options), views.query(sql, **options)
            assert (there.rows, there.columns, there.height) == (here.rows, here.columns, here.height), sql


def test_errors_are_the_same_as_in_process(views):
    refused("sql.not_allowed", views.query, "DROP TABLE points.lots")
    refused("sql.syntax", views.query, "FROM points.nothing")
    refused("sql.failed", views.query, "SELECT 'x'::INT")
    refused("sql.unknown_height", views.query, "FROM points.lots", at=99)
    refused("sql.too_many_rows", views.query, "FROM range(11)", limits=Limits(rows_max=10))
    refused("sql.timeout", views.query, ENDLESS, limits=Limits(time_ms_max=200))
    assert refused("sql.too_many_rows", views.query, "FROM range(200000)").hint


def test_a_parameter_that_cannot_be_sent_is_refused(views):
    refused("sql.failed", views.query, "SELECT ?", [2**70])
    refused("sql.failed", views.query, "SELECT ?", [object()])
    assert count(views) == 10


def test_many_callers_are_answered(views):
    answers = []
    threads = [threading.Thread(target=lambda number=number: answers.append(
        views.query("SELECT ? + count(*) FROM points.lots", [number]).rows[0][0])) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(10, 30))


def test_the_feed_goes_on_while_statements_run(views, store):
    def ask():
        refused("sql.timeout", views.query, ENDLESS, limits=Limits(time_ms_max=2_000))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    started = time.perf_counter()
    views.apply(store.grow())
    assert views.wait_for(10, 2_000) == 10
    assert time.perf_counter() - started < 2
    for thread in threads:
        thread.join()


def test_more_statements_than_may_wait_are_refused(tmp_path, store):
    settings = ViewsSettings(queries_max=1, waiting_max=1)
    with ViewsProcess(tmp_path / "v", "test-net", SCHEMA, store.read_changes, settings=settings) as views:
        views.wait_for(9, 30_000)
        codes = []

        def ask():
            with pytest.raises(GuildbookError) as caught:
                views.query(ENDLESS, limits=Limits(time_ms_max=700))
            codes.append(caught.value.code)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == ["sql.busy", "sql.busy", "sql.timeout", "sql.timeout"]
        assert count(views) == 10


def test_an_export_is_written_by_the_process(views, tmp_path):
    done = views.export(tmp_path / "lots.parquet", table="points.lots", at=3)
    assert (done.rows, done.height) == (4, 3)
    assert (tmp_path / "lots.parquet").stat().st_size == done.size_bytes
    refused("store.io", views.export, tmp_path / "nowhere" / "x", table="points.lots")


def test_a_killed_process_is_started_again_and_catches_up(views, store):
    process_id = kill(views)
    views.apply(store.grow(3))
    assert views.wait_for(12, 30_000) == 12
    assert count(views) == 13
    assert views.status.process_id != process_id
    assert views.status.restarts == 1


def test_a_statement_that_was_running_when_the_process_died_is_told(views):
    threading.Timer(0.3, kill, [views]).start()
    refused("views.unavailable", views.query, ENDLESS)
    assert count(views) == 10, "the next question waits for the process to come back"


def test_a_process_that_takes_too_much_memory_fails_the_statement_alone(tmp_path, store):
    settings = ViewsSettings(overhead_bytes_max=400 * 2**20)
    with ViewsProcess(tmp_path / "v", "test-net", SCHEMA, store.read_changes, settings=settings) as views:
        views.wait_for(9, 30_000)
        doubled = "SELECT string_agg(md5(i::VARCHAR), '') AS x FROM range(100000) t(i)"
        for _ in range(10):
            doubled = f"SELECT x || x AS x FROM ({doubled})"
        with pytest.raises(GuildbookError) as caught:
            views.query(f"SELECT length(x) FROM ({doubled})")
        assert caught.value.code in ("sql.too_large", "sql.failed", "views.unavailable")
        views.apply(store.grow())
        assert views.wait_for(10, 30_000) == 10
        assert count(views) == 11


def test_damaged_views_say_so_until_they_are_built_again(tmp_path, store):
    path = tmp_path / "v"
    with ViewsProcess(path, "test-net", SCHEMA, store.read_changes) as views:
        views.wait_for(9, 30_000)
    os.truncate(path, 5_000)
    with ViewsProcess(path, "test-net", SCHEMA, store.read_changes) as views:
        assert "delete" in refused("views.corrupt", views.query, "FROM points.lots").hint
        refused("views.corrupt", views.wait_for, 9)
        assert views.status.state == "halted"
        views.rebuild()
        assert views.wait_for(9, 30_000) == 9
        assert count(views) == 10


def test_damaged_views_can_be_built_again_by_themselves(tmp_path, store):
    path = tmp_path / "v"
    path.write_bytes(b"this is no database" * 1000)
    with ViewsProcess(path, "test-net", SCHEMA, store.read_changes, rebuild_when_corrupt=True) as views:
        assert views.wait_for(9, 30_000) == 9
        assert count(views) == 10
        assert "views.corrupt" in views.status.error


def test_views_of_another_network_are_not_touched(tmp_path, store):
    Views(tmp_path / "v", "other-net").close()
    with ViewsProcess(tmp_path / "v", "test-net", SCHEMA, store.read_changes, rebuild_when_corrupt=True) as views:
        refused("views.mismatch", views.query, "SELECT 1")
    Views(tmp_path / "v", "other-net").close()


def test_healthy_views_can_be_built_again(views, store):
    views.rebuild()
    assert views.wait_for(9, 30_000) == 9
    assert store.reads == [0, 0]
    assert count(views) == 10


def test_a_later_version_reaches_the_process_before_its_first_block(views, store):
    wider = TableView("points.lots", (*LOTS.fields, Field("note", "text", True, False)))
    views.ensure_schema(ViewSchema((wider,), (TRANSFERRED,)))
    change = RowChange("points.lots", b"1000", None, encode([*lot(1000), "new"]))
    store.book.blocks.append(BlockChanges(10, GENESIS_MS, [change], [], []))
    views.apply(store.book.blocks[-1:])
    views.wait_for(10)
    assert views.query("SELECT note FROM points.lots WHERE id = 1000").rows == [("new",)]
    kill(views)
    assert views.query("SELECT note FROM points.lots WHERE id = 1000").rows == [("new",)]


def test_views_go_on_after_a_clean_stop(tmp_path, store):
    for height in (9, 12):
        with ViewsProcess(tmp_path / "v", "test-net", SCHEMA, store.read_changes) as views:
            assert views.wait_for(height, 30_000) == height
        store.grow(3)
    assert store.reads == [0, 10]


def test_a_clean_stop_ends_running_statements_and_the_process(tmp_path, store):
    views = ViewsProcess(tmp_path / "v", "test-net", SCHEMA, store.read_changes)
    views.wait_for(9, 30_000)
    process_id = views.status.process_id
    assert process_id is not None
    codes = []

    def ask():
        codes.append(refused("views.unavailable", views.query, ENDLESS).code)

    asker = threading.Thread(target=ask)
    asker.start()
    time.sleep(0.3)
    started = time.perf_counter()
    views.close()
    views.close()
    asker.join(5)
    assert codes == ["views.unavailable"]
    assert time.perf_counter() - started < 5
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
    refused("views.unavailable", views.query, "SELECT 1")
    refused("views.behind", views.wait_for, 99, 5_000)


def test_the_process_ends_when_the_node_dies(views, store, tmp_path):
    """The feed's other end is closed by the system when the node dies; nothing else is needed."""
    child = views._child
    child.feed.stop()
    assert child.process.wait(10) == 0
    assert views.wait_for(9, 30_000) == 9


def test_a_height_that_does_not_come_is_named(views):
    error = refused("views.behind", views.wait_for, 1_000, 50)
    assert (error.fields["wanted"], error.fields["held"]) == (1_000, 9)


def test_a_store_that_cannot_be_read_is_tried_again(tmp_path, store):
    failures = [GuildbookError("store.io", "as if the disk had failed")]

    def read_changes(height):
        if failures:
            raise failures.pop()
        return store.read_changes(height)

    with ViewsProcess(tmp_path / "v", "test-net", SCHEMA, read_changes) as views:
        assert views.wait_for(9, 30_000) == 9
        assert "store.io" in views.status.error
