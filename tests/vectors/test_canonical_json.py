"""JSON against other people's parsing tests, and canonical JSON against the vectors of RFC 8785."""

from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from guildbook.primitives.errors import GuildbookError
from guildbook.standards.json import canonical_json, exact_json, plain_decimal, read_json, read_values
from shared_data import shared

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inside: st.lists(inside, max_size=4)
    | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inside, max_size=4),
    max_leaves=12,
)


def code_of(call):
    """The code of the error that a call ends with, or an empty text."""
    try:
        call()
    except GuildbookError as error:
        return error.code
    return ""


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "values"])
def test_the_vectors_of_the_canonical_form(name):
    folder = shared("crypto/jcs-rfc8785")
    canonical = canonical_json(read_json((folder / "input" / f"{name}.json").read_bytes()))
    assert canonical == (folder / "output" / f"{name}.json").read_bytes()
    assert canonical == bytes.fromhex((folder / "outhex" / f"{name}.txt").read_text())


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        (0x0000000000000000, "0"), (0x8000000000000000, "0"), (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"), (0x7FEFFFFFFFFFFFFF, "1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"), (0x4430000000000000, "295147905179352830000"),
        (0x44B52D02C7E14AF5, "9.999999999999997e+22"), (0x44B52D02C7E14AF6, "1e+23"),
        (0x444B1AE4D6E2EF4E, "999999999999999700000"), (0x444B1AE4D6E2EF4F, "999999999999999900000"),
        (0x444B1AE4D6E2EF50, "1e+21"), (0x3EB0C6F7A0B5ED8C, "9.999999999999997e-7"),
        (0x3EB0C6F7A0B5ED8D, "0.000001"), (0x41B3DE4355555553, "333333333.3333332"),
        (0xBECBF647612F3696, "-0.0000033333333333333333"), (0x43143FF3C1CB0959, "1424953923781206.2"),
    ],
)  # fmt: skip
def test_numbers_as_appendix_b_writes_them(bits, text):
    import struct

    (double,) = struct.unpack(">d", bits.to_bytes(8, "big"))
    assert canonical_json(double) == text.encode()


def test_files_that_every_parser_takes_and_files_that_none_takes():
    taken, strict = set(), {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}
    paths = sorted(shared("crypto/json-parsing/test_parsing").iterdir())
    for path in paths:
        code = code_of(lambda path=path: read_json(path.read_bytes(), file=path.name))
        assert code in ("", "standards.malformed", "standards.too_large"), path.name
        if not code:
            taken.add(path.name)
    names = {path.name for path in paths}
    assert {name for name in names if name.startswith("y_")} - taken == strict
    assert not {name for name in taken if name.startswith("n_")}


@given(VALUES)
def test_what_is_written_reads_back_as_it_was(value):
    assert read_json(exact_json(value)) == value
    assert canonical_json(read_json(canonical_json(value))) == canonical_json(value)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20))
def test_decimals_are_written_exactly(number):
    text = plain_decimal(number)
    assert Decimal(text) == number
    assert "e" not in text.lower()


@pytest.mark.fuzz
@settings(max_examples=300)
@given(st.binary(max_size=40) | st.text('[]{}",:0123456789.eE-truefalsn \\u', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(data):
    assert code_of(lambda: read_values(data)) in ("", "standards.malformed", "standards.too_large")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": 1, "a": 1}', "standards.malformed"),
        ("NaN", "standards.malformed"),
        ('["\\ud800"]', "standards.malformed"),
        ("1 2", "standards.malformed"),
        ("1e999999999", "standards.malformed"),
        ("1" * 401, "standards.malformed"),
        ("[" * 65 + "]" * 65, "standards.too_large"),
        ("", "standards.malformed"),
    ],
)
def test_what_readers_disagree_about_is_refused(text, code):
    with pytest.raises(GuildbookError) as error:
        read_json(text.encode(), file="f.json")
    assert (error.value.code, error.value.fields["file"]) == (code, "f.json")


def test_a_refusal_names_the_line():
    with pytest.raises(GuildbookError) as error:
        read_json(b'{\n "a": 1,\n "b": }\n', file="f.json")
    assert error.value.fields["line"] == 3


@pytest.mark.parametrize(
    "value", [2**53, -(2**53), float("nan"), float("inf"), {1: 2}, b"bytes", "\ud800", {"\udfff": 1}]
)
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(GuildbookError) as error:
        canonical_json(value)
    assert error.value.code == "standards.bad_value"
