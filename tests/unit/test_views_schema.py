"""What the views make of declarations: relations, columns, shapes, and later versions."""

import enum
from types import SimpleNamespace

import pytest

from guildbook.contract import Code, Digest, Event, NonNegative, Record, Text, Timestamp, key
from guildbook.primitives.errors import GuildbookError
from guildbook.state.record import field_specs
from guildbook.views.schema import EventView, Field, Shape, TableView, ViewSchema


class Share(Record):
    party: Code
    units: NonNegative


class Side(enum.StrEnum):
    LEFT = "left"
    RIGHT = "right"


class Deed(Record):
    """A deed."""

    id: int = key()
    side: Side
    digest: Digest
    due: Timestamp
    note: Text | None = None
    shares: tuple[Share, ...] = ()
    tags: tuple[Text, ...] = ()


class Signed(Event):
    deed: int
    parties: tuple[Code, ...]


def catalogue(**records):
    tables = {name.replace("__", "."): SimpleNamespace(fields=field_specs(record))
              for name, record in records.items() if issubclass(record, Record)}
    events = {name.replace("__", "."): SimpleNamespace(fields=field_specs(record))
              for name, record in records.items() if issubclass(record, Event)}
    return SimpleNamespace(tables=tables, events=events)


def grown(table: TableView) -> ViewSchema:
    return ViewSchema((TableView("a.t", (Field("id", "int", False, True), Field("x", "text", False, False))),)
                      ).extended_by(ViewSchema((table,)))


def test_a_declared_record_becomes_columns_of_its_kinds():
    schema = ViewSchema.of(catalogue(deeds__deeds=Deed, deeds__signed=Signed))
    relations = schema.relations()
    assert relations["deeds.deeds"].columns == (
        ("id", "BIGINT"), ("side", "VARCHAR"), ("digest", "BLOB"), ("due", "TIMESTAMP"), ("note", "VARCHAR"),
        ("shares", "VARCHAR"), ("tags", "VARCHAR"))
    assert relations["deeds.deeds"].order == ("id",)
    assert [name for name, _kind in relations["deeds.deeds_history"].columns[:4]] == ["_height", "_time", "_op", "id"]
    assert [name for name, _kind in relations["deeds.signed_events"].columns] == [
        "_height", "_index", "_event", "_time", "_transaction", "deed", "parties"]
    assert {"chain.blocks", "chain.transactions", "chain.tables", "chain.columns"} <= set(relations)


def test_values_inside_tuples_keep_their_names():
    [table] = ViewSchema.of(catalogue(deeds__deeds=Deed)).tables
    shapes = {field.name: field.shape for field in table.fields}
    assert shapes["shares"] == Shape((), (Shape(("party", "units"), (None, None)),))
    assert shapes["tags"] == Shape((), (None,))
    assert shapes["note"] is None


def test_two_relations_of_one_name_are_refused():
    rows = (Field("id", "int", False, True),)
    with pytest.raises(GuildbookError, match=r"two SQL relations would be named a\.t_history") as refused:
        ViewSchema((TableView("a.t", rows), TableView("a.t_history", rows))).relations()
    assert refused.value.code == "contract.bad_declaration"
    with pytest.raises(GuildbookError, match=r"a\.moved_events"):
        ViewSchema((TableView("a.moved_events", rows),), (EventView("a.moved", ()),)).relations()


@pytest.mark.parametrize("name", ["chain", "memory", "main", "temp", "system", "information_schema", "pg_catalog"])
def test_a_contract_may_not_take_a_name_of_the_database(name):
    with pytest.raises(GuildbookError, match=f"schema named '{name}'") as refused:
        ViewSchema((TableView(f"{name}.t", (Field("id", "int", False, True),)),)).relations()
    assert refused.value.code == "contract.bad_declaration"


def test_a_field_may_not_look_like_a_column_of_the_views():
    field = SimpleNamespace(name="_height", kind="int", optional=False, is_key=True)
    with pytest.raises(GuildbookError, match="starts with an underscore"):
        ViewSchema.of(SimpleNamespace(tables={"a.t": SimpleNamespace(fields=(field,))}, events={}))


def test_a_later_version_adds_fields_tables_and_events():
    later = grown(TableView("a.t", (Field("id", "int", False, True), Field("x", "text", False, False),
                                    Field("y", "int", True, False))))
    assert [field.name for field in later.tables[0].fields] == ["id", "x", "y"]
    added = TableView("a.u", (Field("id", "int", False, True),))
    more = later.extended_by(ViewSchema((added,), (EventView("a.e", ()),)))
    assert [table.name for table in more.tables] == ["a.t", "a.u"]
    assert [event.name for event in more.events] == ["a.e"]


def test_an_older_catalogue_takes_nothing_away():
    assert grown(TableView("a.t", (Field("id", "int", False, True),))).tables[0].fields[1].name == "x"


@pytest.mark.parametrize("fields", [
    (Field("id", "text", False, True), Field("x", "text", False, False)),
    (Field("id", "int", False, True), Field("y", "text", False, False)),
    (Field("id", "int", False, False), Field("x", "text", False, True)),
    (Field("id", "int", False, True), Field("x", "text", False, False), Field("z", "int", False, True)),
], ids=["another kind", "another name", "another key", "a longer key"])
def test_a_later_version_that_changes_a_field_is_refused(fields):
    with pytest.raises(GuildbookError) as refused:
        grown(TableView("a.t", fields))
    assert refused.value.code == "contract.bad_declaration"
    assert "new table" in refused.value.hint
