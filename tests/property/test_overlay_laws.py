"""The overlay against a model: whatever is written, found and undone, it is a sorted map with undo."""

import enum

from hypothesis import given, settings
from hypothesis import strategies as st

from guildbook.contract import Code, NonNegative, Record, Table, Text, key
from guildbook.state import layout
from guildbook.state.kv import MemoryStore
from guildbook.state.overlay import SCAN_PAGE_ROWS, GroupCache, Overlay, RowCache


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Item(Record):
    owner: Code = key()
    number: int = key()
    colour: Colour
    weight: NonNegative
    note: Text | None = None


ORDER = ("colour", "weight")


def table_on(overlay):
    table = Table(Item, index=[ORDER, ("weight",)])
    table.named("test.items")
    return table.bound(overlay)


owners = st.sampled_from(["a", "a\x61", "b", "B", "-"])
numbers = st.integers(-3, 3)
items = st.builds(
    Item,
    owner=owners,
    number=numbers,
    colour=st.sampled_from(Colour),
    weight=st.integers(0, 4),
    note=st.none() | st.text(max_size=3),
)
step = st.one_of(
    st.tuples(st.just("put"), items),
    st.tuples(st.just("delete"), owners, numbers),
    st.tuples(st.just("begin")),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("block")),
)


def model_order(model, fields):
    return sorted(
        model.values(), key=lambda row: (*(getattr(row, name) for name in fields), row.owner, row.number)
    )


def check(table, model, base_colour=None):
    for pk, row in model.items():
        assert table.get(*pk) == row
    by_key = sorted(model.values(), key=lambda row: (row.owner.encode(), row.number))
    assert list(table.find(index=())) == by_key
    assert list(table.find(index=(), reverse=True)) == by_key[::-1]
    by_colour = model_order(model, ORDER)
    assert list(table.find()) == by_colour
    for colour in Colour:
        chosen = [row for row in by_colour if row.colour is colour]
        assert list(table.find(colour)) == chosen
        assert list(table.find(colour, limit=2)) == chosen[:2]
        assert list(table.find(colour, 2, reverse=True)) == [row for row in chosen if row.weight == 2][::-1]
        if chosen:
            assert list(table.find(colour, after=chosen[0])) == chosen[1:]
            assert list(table.find(colour, after=chosen[-1], reverse=True)) == chosen[:-1][::-1]
    for weight in range(5):
        assert list(table.find(weight, index=("weight",))) == [
            row for row in model_order(model, ("weight",)) if row.weight == weight
        ]


def store_block(store, overlay, cache, groups=None):
    differences = overlay.differences()
    store.write(
        [(one.key, None if one.after is None else one.schema.encode(one.after)) for one in differences]
    )
    store.write(overlay.index_writes())
    for one in differences:
        cache.put(one.key, one.data)
    if groups is not None:
        groups.forget(overlay.changed_groups())


@given(st.lists(step, max_size=40), st.sampled_from([0, 1, 2, 100]))
@settings(max_examples=300)
def test_any_interleaving_of_writes_undo_and_blocks_is_a_sorted_map_with_undo(steps, groups_max):
    store, cache, groups = MemoryStore(), RowCache(3, 2), GroupCache(groups_max) if groups_max else None
    overlay = Overlay(store, cache, groups)
    table, model = table_on(overlay), {}
    marks = []
    for one in steps:
        if one[0] == "put":
            row = one[1]
            pk = (row.owner, row.number)
            if pk in model:
                assert table.update(model[pk], colour=row.colour, weight=row.weight, note=row.note) == row
            else:
                table.insert(row)
            model = {**model, pk: row}
        elif one[0] == "delete" and one[1:] in model:
            table.delete(model[one[1:]])
            model = {pk: row for pk, row in model.items() if pk != one[1:]}
        elif one[0] == "begin":
            marks.append((overlay.begin(1 << 60), model))
        elif one[0] == "rollback" and marks:
            mark, model = marks.pop()
            overlay.rollback(mark)
        elif one[0] == "block":
            store_block(store, overlay, cache, groups)
            overlay, marks = Overlay(store, cache, groups), []
            table = table_on(overlay)
        check(table, model)
    store_block(store, overlay, cache, groups)
    fresh = table_on(Overlay(store))
    check(fresh, model)
    rows = sum(1 for _ in store.scan(layout.ROWS, layout.TREE))
    indexes = sum(1 for _ in store.scan(layout.INDEXES, b"J"))
    assert (rows, indexes) == (len(model), 2 * len(model))


@given(
    st.integers(0, 3), st.sets(st.integers(0, 300), max_size=260), st.sets(st.integers(0, 300), max_size=260)
)
@settings(max_examples=40)
def test_a_long_scan_crosses_pages_in_order_over_stored_and_new_rows(weight, stored, new):
    store, cache, groups = MemoryStore(), RowCache(), GroupCache()
    overlay = Overlay(store, cache, groups)
    table = table_on(overlay)
    for number in sorted(stored):
        table.insert(Item(owner="a", number=number, colour=Colour.RED, weight=weight))
    assert [row.number for row in table.find(Colour.RED, weight)] == sorted(stored)
    store_block(store, overlay, cache, groups)
    table = table_on(Overlay(store, cache, groups))
    assert [row.number for row in table.find(Colour.RED)] == sorted(stored)
    assert [row.number for row in table.find(Colour.RED, weight, reverse=True)] == sorted(stored)[::-1]
    for number in sorted(new - stored):
        table.insert(Item(owner="a", number=number, colour=Colour.RED, weight=weight))
    for number in sorted(new & stored):
        table.delete(table.get("a", number))
    wanted = sorted(stored ^ new)
    assert [row.number for row in table.find(Colour.RED, weight)] == wanted
    assert [row.number for row in table.find("a", index=(), reverse=True)] == wanted[::-1]
    assert SCAN_PAGE_ROWS < 260


def test_rows_may_be_deleted_while_they_are_found():
    overlay = Overlay(MemoryStore())
    table = table_on(overlay)
    for number in range(200):
        table.insert(Item(owner="a", number=number, colour=Colour.RED, weight=0))
    for row in table.find(Colour.RED):
        table.delete(row)
    assert list(table.find()) == []
    assert overlay.differences() == []
