"""Laws of the canonical encoding, against a second encoder written from its page; every refusal by name."""

import contextlib
import datetime
import decimal
import enum
import sys
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guildbook.primitives.canonical import (
    INT_MAX,
    INT_MIN,
    NESTING_DEPTH_MAX,
    CanonicalError,
    Value,
    decode,
    decode_value,
    encode,
    first_fault,
)


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 300


class Line(msgspec.Struct, frozen=True, array_like=True):
    code: str
    units: int


class Order(msgspec.Struct, frozen=True, array_like=True):
    number: int
    open: bool
    digest: bytes
    colour: Colour
    level: Level
    lines: tuple[Line, ...]
    note: str | None = None


class Message(msgspec.Struct, frozen=True, array_like=True):
    name: str
    arguments: list[Value]


class Tree(msgspec.Struct, frozen=True, array_like=True):
    children: "tuple[Tree, ...]"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
integers = st.one_of(
    st.integers(INT_MIN, INT_MAX),
    st.integers(-(2**9), 2**9),
    st.sampled_from(
        [sign * 2**power + step for power in range(64) for sign in (1, -1) for step in (-1, 0, 1)]
    ),
).filter(lambda value: INT_MIN <= value <= INT_MAX)
scalars = st.one_of(st.none(), st.booleans(), integers, texts, st.binary(max_size=300))
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=20), max_leaves=30)
orders = st.builds(
    Order,
    number=integers,
    open=st.booleans(),
    digest=st.binary(max_size=40),
    colour=st.sampled_from(Colour),
    level=st.sampled_from(Level),
    lines=st.lists(st.builds(Line, code=texts, units=integers), max_size=18).map(tuple),
    note=st.none() | texts,
)


def _number(number: int, *forms: tuple[int, int]) -> bytes:
    """`number` in the first of the forms (first byte, bytes that follow) that holds it."""
    for first, width in forms:
        if number < 256**width:
            return bytes([first]) + number.to_bytes(width, "big")
    raise AssertionError(number)


def written_from_the_page(value: Any) -> bytes:
    """A second encoder, written from docs/spec/encoding.md and not from the library."""
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if value < -32:
            width = next(width for width in (1, 2, 4, 8) if value >= -(256**width) // 2)
            return bytes([0xD0 + (1, 2, 4, 8).index(width)]) + value.to_bytes(width, "big", signed=True)
        if value < 128:
            return value.to_bytes(1, "big", signed=True)
        return _number(value, (0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8))
    if isinstance(value, str):
        raw = value.encode()
        start = (
            bytes([0xA0 + len(raw)]) if len(raw) < 32 else _number(len(raw), (0xD9, 1), (0xDA, 2), (0xDB, 4))
        )
        return start + raw
    if isinstance(value, bytes):
        return _number(len(value), (0xC4, 1), (0xC5, 2), (0xC6, 4)) + value
    start = bytes([0x90 + len(value)]) if len(value) < 16 else _number(len(value), (0xDC, 2), (0xDD, 4))
    return start + b"".join(written_from_the_page(item) for item in value)


@st.composite
def loose_bytes(draw: st.DrawFn) -> bytes:
    """MessagePack that need not be of the profile: long forms, floats, maps, extensions, cut off, run on."""

    def any_form(value: Any) -> bytes:
        if not draw(st.integers(0, 3)):
            if isinstance(value, bool) or value is None:
                return draw(
                    st.sampled_from([b"\xca" + bytes(4), b"\xcb" + bytes(8), b"\x80", b"\xd4\xff\0", b"\xc1"])
                )
            if isinstance(value, int):
                return (
                    b"\xd3" + value.to_bytes(8, "big", signed=True) if value < 2**63 else b"\xcf" + bytes(8)
                )
            if isinstance(value, str):
                return b"\xdb" + len(value.encode()).to_bytes(4, "big") + value.encode()
            if isinstance(value, bytes):
                return b"\xc6" + len(value).to_bytes(4, "big") + value
        if isinstance(value, list):
            start = b"\xdd" + len(value).to_bytes(4, "big")
            if draw(st.booleans()):
                start = written_from_the_page(value)[
                    : len(written_from_the_page(value))
                    - len(b"".join(written_from_the_page(item) for item in value))
                ]
            return start + b"".join(any_form(item) for item in value)
        return written_from_the_page(value)

    data = any_form(draw(values))
    cut = draw(st.integers(0, len(data)) | st.just(len(data)))
    return data[:cut] + draw(st.just(b"") | st.binary(max_size=3))


@given(values)
def test_encoding_is_the_one_that_the_page_describes(value):
    assert encode(value) == written_from_the_page(value)


@given(values)
def test_decoding_gives_back_what_was_encoded(value):
    assert decode_value(encode(value)) == value


@given(orders)
def test_a_record_is_the_array_of_its_fields_and_comes_back_the_same(order):
    lines = [[line.code, line.units] for line in order.lines]
    fields = [order.number, order.open, order.digest, order.colour.value, int(order.level), lines, order.note]
    assert encode(order) == written_from_the_page(fields)
    assert decode(encode(order), Order) == order


@given(values, values)
def test_two_values_have_two_encodings(one, other):
    same = written_from_the_page(one) == written_from_the_page(other)
    assert (encode(one) == encode(other)) is same


@given(st.binary(max_size=64) | loose_bytes())
@example(b"")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdb\xff\xff\xff\xff")
@example(b"\xd6\xff\x00\x00\x00\x00")
def test_any_bytes_are_either_the_encoding_of_what_they_decode_to_or_refused(data):
    fault = first_fault(data)
    if fault is None:
        value = decode_value(data)
        assert encode(value) == data == written_from_the_page(value)
    else:
        with pytest.raises(CanonicalError) as caught:
            decode_value(data)
        assert (caught.value.code, caught.value.message) == (fault.code, fault.message)


@given(orders, st.data())
def test_no_change_of_one_byte_gives_another_encoding_of_the_same_record(order, data):
    encoded = bytearray(encode(order))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CanonicalError):
        assert decode(bytes(encoded), Order) != order


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_nesting_is_accepted_up_to_the_bound():
    value = nested(NESTING_DEPTH_MAX)
    assert decode_value(encode(value)) == value


def test_encoding_refuses_nesting_beyond_the_bound():
    for depth in (NESTING_DEPTH_MAX + 1, 100_000):
        with pytest.raises(CanonicalError, match="more than 32 arrays"):
            encode(nested(depth))


def test_encoding_refuses_a_value_that_contains_itself():
    value: list[Any] = []
    value.append(value)
    with pytest.raises(CanonicalError, match="more than 32 arrays"):
        encode(value)


@pytest.mark.parametrize("data", [b"\x91" * 33, b"\x91" * 100_000, b"\x91" * 100_000 + b"\x90"])
def test_decoding_refuses_nesting_beyond_the_bound(data):
    with pytest.raises(CanonicalError, match="more than 32 arrays") as caught:
        decode_value(data)
    assert caught.value.code == "canonical.malformed"


def test_deep_nesting_in_a_surplus_field_has_the_same_code_however_full_the_stack_is():
    deep = b"\x93\xa1x\x01" + b"\x91" * 600 + b"\x90"

    def refusal_at(frames: int) -> str:
        if frames:
            return refusal_at(frames - 1)
        with pytest.raises(CanonicalError) as caught:
            decode(deep, Line)
        return caught.value.code

    assert {refusal_at(0), refusal_at(sys.getrecursionlimit() // 2)} == {"canonical.malformed"}


def test_a_record_whose_type_is_recursive_is_bounded_as_well():
    tree = Tree(())
    for _ in range(15):
        tree = Tree((tree,))
    assert decode(encode(tree), Tree) == tree
    with pytest.raises(CanonicalError, match="more than 32 arrays"):
        encode(Tree((tree,)))
    with pytest.raises(CanonicalError, match="more than 32 arrays"):
        decode(b"\x91" * 33 + b"\x90", Tree)


def test_untyped_arguments_inside_a_record_are_examined():
    message = Message("transfer", [7, "party-9", [b"\0", None]])
    assert decode(encode(message), Message) == message
    assert decode(encode(message), Message).arguments[2] == [b"\0", None]
    with pytest.raises(CanonicalError, match="a float"):
        decode(msgspec.msgpack.encode(["transfer", [1.5]]), Message)
    with pytest.raises(CanonicalError, match="a map"):
        decode(msgspec.msgpack.encode(["transfer", [{}]]), Message)


REFUSED_FORMS = {
    "a 32-bit float": ("ca3f800000", "canonical.malformed"),
    "a 64-bit float": ("cb3ff0000000000000", "canonical.malformed"),
    "an empty map": ("80", "canonical.malformed"),
    "a map of 16-bit length": ("de0000", "canonical.malformed"),
    "a map of 32-bit length": ("df00000000", "canonical.malformed"),
    "an extension": ("d40100", "canonical.malformed"),
    "a time": ("d6ff00000000", "canonical.malformed"),
    "an extension of any length": ("c70001", "canonical.malformed"),
    "the unused byte": ("c1", "canonical.malformed"),
    "nothing": ("", "canonical.malformed"),
    "a byte after the value": ("0101", "canonical.malformed"),
    "an array cut off": ("9201", "canonical.malformed"),
    "text cut off": ("a26f", "canonical.malformed"),
    "bytes cut off": ("c40201", "canonical.malformed"),
    "a number cut off": ("cd01", "canonical.malformed"),
    "text that is not UTF-8": ("a1ff", "canonical.malformed"),
    "text with an encoded surrogate": ("a3eda080", "canonical.malformed"),
    "text in overlong UTF-8": ("a2c080", "canonical.malformed"),
    "1 in 8 bits": ("cc01", "canonical.not_canonical"),
    "1 in 16 bits": ("cd0001", "canonical.not_canonical"),
    "1 in 32 bits": ("ce00000001", "canonical.not_canonical"),
    "1 in 64 bits": ("cf0000000000000001", "canonical.not_canonical"),
    "255 in 16 bits": ("cd00ff", "canonical.not_canonical"),
    "1 as a signed number": ("d001", "canonical.not_canonical"),
    "200 as a signed number": ("d100c8", "canonical.not_canonical"),
    "-1 in 8 bits": ("d0ff", "canonical.not_canonical"),
    "-32 in 8 bits": ("d0e0", "canonical.not_canonical"),
    "-128 in 16 bits": ("d1ff80", "canonical.not_canonical"),
    "text with a long length": ("d90161", "canonical.not_canonical"),
    "bytes with a long length": ("c5000100", "canonical.not_canonical"),
    "an array with a long length": ("dc000101", "canonical.not_canonical"),
    "an array with a very long length": ("dd0000000101", "canonical.not_canonical"),
    "a long form, and then a float": ("92cc01ca00000000", "canonical.malformed"),
}


@pytest.mark.parametrize(("data", "code"), REFUSED_FORMS.values(), ids=REFUSED_FORMS)
def test_decoding_refuses(data, code):
    with pytest.raises(CanonicalError) as caught:
        decode_value(bytes.fromhex(data))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["x"], Line),
        (["x", 1, 2], Line),
        (["x", "1"], Line),
        (["x", True], Line),
        ([b"x", 1], Line),
        ("x", Line),
        ([None, 1], Line),
        (["x", None], Line),
        ("green", Colour),
        (2, Level),
        ("text", bytes),
        (b"bytes", str),
        (1, bool),
        ([1, 2, 3], tuple[int, int]),
    ],
)
def test_decoding_refuses_a_value_of_another_type(value, kind):
    with pytest.raises(CanonicalError) as caught:
        decode(encode(value), kind)
    assert caught.value.code == "canonical.malformed"


def test_a_long_form_goes_before_a_wrong_type():
    with pytest.raises(CanonicalError) as caught:
        decode(b"\x92\xc0\xcc\x01", Line)
    assert caught.value.code == "canonical.not_canonical"


def test_decoding_refuses_a_record_that_leaves_its_last_default_out():
    order = Order(1, True, b"", Colour.RED, Level.LOW, ())
    short = encode([1, True, b"", "red", 1, []])
    assert decode(encode(order), Order) == order
    with pytest.raises(CanonicalError, match="another number of fields"):
        decode(short, Order)


def test_decoding_refuses_a_float_where_an_integer_belongs():
    with pytest.raises(CanonicalError, match="a float"):
        decode(b"\xcb\x3f\xf0" + bytes(6), int)


class Loose(msgspec.Struct):
    units: int


class Plain(enum.Enum):
    ONE = 1


class Number(int):
    pass


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        {},
        {"a": 1},
        set(),
        frozenset({1}),
        bytearray(b"x"),
        memoryview(b"x"),
        decimal.Decimal(1),
        uuid.UUID(int=1),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        datetime.date(2026, 1, 1),
        Plain.ONE,
        Number(1),
        Loose(1),
        msgspec.Raw(b"\x01"),
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_encoding_refuses_a_value_of_type(value):
    for wrapped in (value, [1, [value]], Message("x", [value])):
        with pytest.raises(CanonicalError, match="has no canonical encoding") as caught:
            encode(wrapped)
        assert caught.value.code == "canonical.malformed"


@pytest.mark.parametrize("value", [INT_MAX + 1, INT_MIN - 1, 10**40])
def test_encoding_refuses_an_integer_outside_the_range(value):
    with pytest.raises(CanonicalError):
        encode([value])


def test_encoding_refuses_a_lone_surrogate():
    with pytest.raises(CanonicalError):
        encode("a\ud800")


@pytest.mark.parametrize(
    "kind", [float, dict, dict[str, int], set[int], datetime.datetime, Loose, msgspec.Raw, Plain, list[float]]
)
def test_a_type_outside_the_profile_is_our_own_mistake(kind):
    with pytest.raises(AssertionError):
        decode(b"\x01", kind)


def test_the_constraints_of_a_type_are_checked():
    from typing import Annotated

    small = Annotated[int, msgspec.Meta(ge=0, le=9)]
    assert decode(b"\x09", small) == 9
    with pytest.raises(CanonicalError, match="<= 9"):
        decode(b"\x0a", small)


def test_a_refusal_says_at_which_byte_the_trouble_lies():
    with pytest.raises(CanonicalError) as caught:
        decode_value(encode(["abc", 1])[:-1] + b"\xcc\x01")
    assert "at byte 5" in caught.value.message
    assert caught.value.fields["offset"] == 5
