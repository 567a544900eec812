"""Arguments by name and from JSON: what people and programs write becomes what is signed, or is refused by name."""

import pytest

from guildbook.contract import Amount, Blob, Code, Contract, Digest, Record, Text, Timestamp, command
from guildbook.foundation.money import Money
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.arguments import (
    bind,
    fields_to_json,
    format_time_ms,
    from_json,
    parse_time_ms,
    to_json,
)
from sample_contract import Units

MOVE = Units.commands["move"]
POST = Money.commands["post"]


class Line(Record):
    """A line of a form."""

    document: Digest
    amount: Amount
    due: Timestamp
    note: Text | None = None


class Forms(Contract, name="forms", version=1):
    """Forms of several lines."""

    @command
    def file(self, form: Code, lines: tuple[Line, ...], seals: tuple[Blob, ...]) -> None:
        """File a form."""


FILE = Forms.commands["file"]


def test_arguments_are_bound_by_place_and_name_with_defaults():
    assert bind(MOVE, ("a",), {"target": "b"}) == ["a", "b", 1]
    assert bind(MOVE, ("a", "b", 3)) == ["a", "b", 3]
    for positional, named, words in (
        (("a",), {}, "target is missing"),
        (("a", "b", 1, 2), {}, "at most 3"),
        (("a", "b"), {"source": "c"}, "given twice"),
        ((), {"source": "a", "target": "b", "unit": 1}, "unknown argument unit"),
    ):
        with pytest.raises(GuildbookError, match=words):
            bind(MOVE, positional, named)


def test_json_becomes_typed_arguments_records_in_lists_included():
    digest, due = "ab" * 32, "2026-01-31T12:00:00Z"
    lines = [
        {"document": digest, "amount": -5, "due": due},
        {"document": digest, "amount": 1, "due": 7, "note": "n"},
    ]
    form, made, seals = from_json(FILE, {"form": "f-1", "lines": lines, "seals": ["0x00ff", ""]})
    assert (form, seals) == ("f-1", (b"\x00\xff", b""))
    assert made == (
        Line(document=bytes.fromhex(digest), amount=-5, due=1769860800000),
        Line(document=bytes.fromhex(digest), amount=1, due=7, note="n"),
    )
    transfer = {"debit": "a", "credit": "b", "amount_minor": 5, "purpose": "x"}
    assert from_json(POST, {"reference": "r", "transfers": [transfer]})[1][0].amount_minor == 5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"source": "a", "target": "b", "units": 1.5}, "not a whole number"),
        ({"source": "a", "target": "b", "units": "1"}, "units"),
        ({"source": "a", "target": "b", "units": 0}, "units"),
        ({"source": "a", "target": None}, "target"),
        ({"source": "a", "target": ["b"]}, "target"),
    ],
)
def test_json_that_does_not_fit_is_refused_and_names_the_argument(given, words):
    with pytest.raises(GuildbookError, match=words) as caught:
        from_json(MOVE, given)
    assert caught.value.code == "call.bad_arguments"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("text", "is not an object"),
        ({"document": "00"}, "amount, due is missing"),
        ({"document": "zz" * 32, "amount": 1, "due": 1}, "not hexadecimal"),
        ({"document": "00" * 32, "amount": 1, "due": 1, "more": 1}, "is not an object of"),
        ({"document": "00" * 31, "amount": 1, "due": 1}, "lines"),
    ],
)
def test_a_record_in_a_list_that_does_not_fit_is_refused_by_name(line, words):
    with pytest.raises(GuildbookError, match=words):
        from_json(FILE, {"form": "f-1", "lines": [line], "seals": []})


def test_times_are_read_and_written_in_utc():
    assert (
        parse_time_ms("2026-01-31T13:00:00+01:00") == parse_time_ms("2026-01-31T12:00:00Z") == 1769860800000
    )
    assert parse_time_ms("1769860800000") == 1769860800000
    assert format_time_ms(1769860800007) == "2026-01-31T12:00:00.007Z"
    assert format_time_ms(2**62) == str(2**62)
    for text in ("2026-01-31T12:00:00", "yesterday", "", "2026-13-01T00:00:00Z"):
        with pytest.raises(GuildbookError, match="time"):
            parse_time_ms(text)


def test_values_become_json_as_people_read_them():
    line = Line(document=bytes(32), amount=1, due=0)
    assert to_json((line, b"\x01", None, [True])) == [
        {"document": "00" * 32, "amount": 1, "due": 0, "note": None},
        "01",
        None,
        [True],
    ]
    assert fields_to_json(FILE.arguments[:1], ["f-1"]) == {"form": "f-1"}
