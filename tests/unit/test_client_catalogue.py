"""The catalogue as a document: names and written values become exactly what a contract's call carries."""

import enum
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guildbook.client.catalogue import (
    CatalogueDocument,
    ContractDocument,
    bind_named,
    describe,
    describe_field,
    value_of,
    value_of_text,
)
from guildbook.contract import (
    Code,
    Contract,
    Digest,
    NonNegative,
    PublicKeyBytes,
    Record,
    Rejected,
    Table,
    Text,
    Timestamp,
    command,
    key,
    query,
)
from guildbook.contract.contract import CommandSpec
from guildbook.primitives.canonical import decode, encode
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.arguments import from_json, to_json
from guildbook.runtime.catalogue import Catalogue


class Colour(enum.StrEnum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Line(Record):
    """A part of an order."""

    article: Code
    count: NonNegative
    seal: Digest | None = None


class Order(Record):
    """An order."""

    id: Code = key()
    lines: tuple[Line, ...]
    colour: Colour


class NoStock(Rejected):
    """There is nothing left."""

    article: Code
    since: Timestamp


class Orders(Contract, name="orders", version=1):
    """Orders of articles."""

    orders = Table(Order, index=[("colour", "id")])
    rejections = (NoStock,)

    @command(role="buyer")
    def place(
        self,
        number: Code,
        lines: tuple[Line, ...],
        colour: Colour,
        due: Timestamp,
        signer: PublicKeyBytes,
        tags: tuple[Code, ...] = (),
        note: Text | None = None,
        urgent: bool = False,
        digests: tuple[Digest, ...] = (),
    ) -> None:
        """Place an order."""

    @query
    def open_orders(self, since: Timestamp = 0) -> int:
        """How many orders are open."""
        return since


CATALOGUE = Catalogue([Orders])
RUNNING = {"orders": ContractDocument("orders", 1, "00" * 32, 0, "Orders of articles.")}
DOCUMENT = describe("test-net", CATALOGUE, RUNNING)
PLACE = DOCUMENT.command("orders.place").arguments


def field(name):
    return next(one for one in PLACE if one.name == name)


def test_the_document_says_everything_that_a_program_needs_to_call():
    assert [one.name for one in PLACE] == [
        "number", "lines", "colour", "due", "signer", "tags", "note", "urgent", "digests",
    ]  # fmt: skip
    assert [one.required for one in PLACE] == [True] * 5 + [False] * 4
    assert field("colour").choices == ("red", "blue")
    assert (field("number").minimum, field("number").maximum) == (1, 64)
    assert field("number").pattern
    lines = field("lines")
    assert lines.kind == "json"
    assert lines.items.kind == "record"
    assert [(one.name, one.kind, one.required) for one in lines.items.fields] == [
        ("article", "text", True),
        ("count", "int", True),
        ("seal", "digest", False),
    ]
    assert field("digests").items.kind == "digest"
    assert field("note").optional
    assert field("note").default is None
    command_document = DOCUMENT.commands["orders.place"]
    assert command_document.permission == "orders:buyer"
    assert DOCUMENT.rejections["orders.no_stock"].message == "There is nothing left."
    assert DOCUMENT.tables["orders.orders"].key == ("id",)
    assert DOCUMENT.tables["orders.orders"].indexes == (("colour", "id"),)


def test_the_document_survives_the_wire():
    assert msgspec.json.decode(msgspec.json.encode(DOCUMENT), type=CatalogueDocument) == DOCUMENT


GIVEN = {
    "number": "o-1",
    "lines": [{"article": "tea", "count": 2}, {"article": "rice", "count": 1, "seal": "ab" * 32}],
    "colour": "blue",
    "due": "2026-01-31T12:00:00Z",
    "signer": "ed25519:" + "cd" * 32,
}


def test_written_values_become_what_the_command_accepts():
    bound = bind_named(PLACE, (), GIVEN, "orders.place")
    arguments = decode(encode(bound), CATALOGUE.commands["orders.place"].arguments_type)
    assert arguments.lines == (Line(article="tea", count=2), Line(article="rice", count=1, seal=b"\xab" * 32))
    assert arguments.due == 1_769_860_800_000
    assert arguments.signer == b"\x01" + b"\xcd" * 32
    assert (arguments.tags, arguments.note, arguments.urgent, arguments.digests) == ((), None, False, ())


def test_python_values_mean_the_same_as_written_ones():
    objects = {
        **GIVEN,
        "lines": (Line(article="tea", count=2), ("rice", 1, b"\xab" * 32)),
        "colour": Colour.BLUE,
        "due": datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1))),
        "signer": b"\x01" + b"\xcd" * 32,
    }
    assert encode(bind_named(PLACE, (), objects, "o")) == encode(bind_named(PLACE, (), GIVEN, "o"))


def test_positional_values_come_first():
    by_place = bind_named(
        PLACE, ["o-1", GIVEN["lines"]], {k: GIVEN[k] for k in ("colour", "due", "signer")}, "o"
    )
    assert by_place == bind_named(PLACE, (), GIVEN, "o")


@pytest.mark.parametrize(
    ("positional", "named", "said"),
    [
        ([], {}, "number is missing"),
        (["a"] * 10, {}, "10 arguments, at most 9"),
        (["a"], {"number": "b"}, "number is given twice"),
        ([], {**GIVEN, "unknown": 1}, "unknown argument unknown"),
        ([], {**GIVEN, "due": "soon"}, "'soon' is not a time"),
        ([], {**GIVEN, "due": "2026-01-31T12:00:00"}, "has no zone"),
        ([], {**GIVEN, "due": datetime(2026, 1, 1)}, "a time without a zone"),
        ([], {**GIVEN, "signer": "xyz"}, "is not hexadecimal"),
        ([], {**GIVEN, "lines": ["tea"]}, "not a record"),
        ([], {**GIVEN, "lines": [{"article": "tea"}]}, "count is missing"),
        ([], {**GIVEN, "lines": [{"article": "tea", "count": 1, "price": 1}]}, "unknown argument price"),
        ([], {**GIVEN, "digests": ["zz"]}, "is not hexadecimal"),
        ([], {**GIVEN, "lines": [{"article": "tea", "count": 1.5}]}, "not a whole number"),
    ],
)
def test_values_that_do_not_fit_are_named(positional, named, said):
    with pytest.raises(GuildbookError, match=r"call\.bad_arguments") as caught:
        bind_named(PLACE, positional, named, "orders.place")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("urgent", "true", True),
        ("urgent", "false", False),
        ("number", "7", "7"),
        ("due", "1700000000000", 1_700_000_000_000),
        ("tags", '["a", "b"]', ("a", "b")),
        ("lines", '[{"article": "tea", "count": 2}]', (("tea", 2, None),)),
    ],
)
def test_text_of_an_address_becomes_a_value_by_its_kind(name, text, value):
    assert value_of_text(field(name), text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("urgent", "yes"), ("urgent", "1"), ("tags", "a,b"), ("tags", "[" * 9999), ("due", "now")],
)
def test_text_that_is_no_value_is_refused(name, text):
    with pytest.raises(GuildbookError, match=r"call\.bad_arguments"):
        value_of_text(field(name), text)


def test_whole_numbers_are_digits_only():
    spec = describe_field(CATALOGUE.tables["orders.counters"].fields[1])
    assert value_of_text(spec, "-12") == -12
    for text in ("1.0", "1e3", " 1", "1_000", "٣", "", "9" * 30):
        with pytest.raises(GuildbookError, match="not a whole number"):
            value_of_text(spec, text)


def test_names_that_do_not_exist_are_answered_with_those_that_do():
    for ask, code, hint in (
        (lambda: DOCUMENT.command("orders.plaice"), "call.unknown_command", "place"),
        (lambda: DOCUMENT.query("orders.x"), "call.unknown_command", "open_orders"),
        (lambda: DOCUMENT.table("orders.x"), "api.not_found", "orders"),
    ):
        with pytest.raises(GuildbookError, match=code) as caught:
            ask()
        assert hint in caught.value.hint


@given(
    st.fixed_dictionaries(
        {
            "number": st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True),
            "lines": st.lists(
                st.builds(
                    lambda article, count, seal: Line(article=article, count=count, seal=seal),
                    st.from_regex(r"[a-z]{1,9}", fullmatch=True),
                    st.integers(0, 2**63 - 1),
                    st.none() | st.binary(min_size=32, max_size=32),
                ),
                max_size=4,
            ).map(tuple),
            "colour": st.sampled_from(Colour),
            "due": st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)),
            "signer": st.binary(min_size=2, max_size=60),
            "digests": st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple),
            "note": st.none() | st.text(max_size=20),
            "urgent": st.booleans(),
        }
    )
)
def test_what_is_written_reads_back_as_the_same_value(values):
    spec: CommandSpec = CATALOGUE.commands["orders.place"]
    bound = bind_named(PLACE, (), values, "orders.place")
    written = {one.name: to_json(value) for one, value in zip(PLACE, bound, strict=True)}
    again = bind_named(PLACE, (), msgspec.json.decode(msgspec.json.encode(written)), "orders.place")
    assert encode(again) == encode(bound)
    assert from_json(spec, dict(zip((one.name for one in PLACE), again, strict=True)))


def test_an_enumeration_by_its_value_or_itself():
    assert value_of(field("colour"), Colour.RED) == value_of(field("colour"), "red") == "red"
