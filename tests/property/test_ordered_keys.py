"""Laws of ordered keys: they sort as their values do, come back the same, and no key begins with another."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.ordered import (
    INT_MAX,
    INT_MIN,
    decode_bool,
    decode_bytes,
    decode_digest,
    decode_int,
    decode_presence,
    decode_text,
    encode_bool,
    encode_bytes,
    encode_digest,
    encode_int,
    encode_optional,
    encode_text,
    prefix_end,
)

awkward_bytes = st.lists(st.sampled_from([0, 1, 0xFE, 0xFF]), max_size=8).map(bytes) | st.binary(max_size=12)
awkward_text = st.text(st.sampled_from("\0\x01aé￿\U0010ffff"), max_size=8) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=12
)

KINDS: dict[str, tuple[Callable[[Any], bytes], Callable[..., tuple[Any, int]], st.SearchStrategy[Any]]] = {
    "int": (encode_int, decode_int, st.integers(INT_MIN, INT_MAX) | st.integers(-3, 3)),
    "bool": (encode_bool, decode_bool, st.booleans()),
    "text": (encode_text, decode_text, awkward_text),
    "bytes": (encode_bytes, decode_bytes, awkward_bytes),
    "digest": (encode_digest, decode_digest, st.binary(min_size=32, max_size=32)),
}


@st.composite
def pairs_of_keys(draw):
    """Kinds of components, and two tuples of values of those kinds, often with the same beginning."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    one = tuple(draw(KINDS[kind][2]) for kind in kinds)
    shared = draw(st.integers(0, len(kinds)))
    other = one[:shared] + tuple(draw(KINDS[kind][2]) for kind in kinds[shared:])
    return kinds, one, other


def encoded(kinds, values):
    return b"".join(KINDS[kind][0](value) for kind, value in zip(kinds, values, strict=True))


@given(pairs_of_keys())
def test_keys_sort_as_their_values_do(case):
    kinds, one, other = case
    assert (encoded(kinds, one) < encoded(kinds, other)) == (one < other)
    assert (encoded(kinds, one) == encoded(kinds, other)) == (one == other)


@given(pairs_of_keys())
def test_no_key_begins_with_another_of_the_same_kinds(case):
    kinds, one, other = case
    if one != other:
        assert not encoded(kinds, one).startswith(encoded(kinds, other))


@given(pairs_of_keys(), st.binary(max_size=4))
def test_components_come_back_the_same_whatever_follows(case, following):
    kinds, values, _ = case
    key = encoded(kinds, values) + following
    offset = 0
    for kind, value in zip(kinds, values, strict=True):
        read, offset = KINDS[kind][1](key, offset)
        assert read == value
        assert type(read) is type(value)
    assert key[offset:] == following


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_nothing_sorts_before_every_value_of_an_optional_component(kind, data):
    encode, decode, values = KINDS[kind]
    value = data.draw(values)
    present, absent = encode_optional(encode(value)), encode_optional(None)
    assert absent < present
    assert not present.startswith(absent)
    assert decode_presence(absent) == (False, 1)
    assert decode_presence(present) == (True, 1)
    assert decode(present, 1)[0] == value


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=80))
def test_bytes_that_are_no_key_are_refused_and_the_others_encode_back(kind, data):
    encode, decode, _ = KINDS[kind]
    with contextlib.suppress(GuildbookError):
        value, end = decode(data)
        assert encode(value) == data[:end]


@given(awkward_bytes, awkward_bytes, awkward_bytes)
@example(b"", b"", b"")
@example(b"\xff\xff", b"", b"\xff\xff\xff")
@example(b"a\xff", b"", b"b")
def test_prefix_end_is_the_smallest_key_after_all_keys_with_the_prefix(prefix, rest, other):
    end = prefix_end(prefix)
    assert end is None or prefix + rest < end
    if other > prefix and not other.startswith(prefix):
        assert end is not None
        assert other >= end
    if end is None:
        assert prefix.strip(b"\xff") == b""


@pytest.mark.parametrize("value", [INT_MIN - 1, INT_MAX + 1])
def test_an_integer_beyond_64_bits_is_refused(value):
    with pytest.raises(GuildbookError, match="64 bits"):
        encode_int(value)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_digest_of_another_length_is_refused(size):
    with pytest.raises(GuildbookError, match="32 bytes"):
        encode_digest(bytes(size))


def test_text_with_a_lone_surrogate_is_refused():
    with pytest.raises(GuildbookError, match="no UTF-8"):
        encode_text("\ud800")


@pytest.mark.parametrize("data", [b"", b"abc", b"a\0", b"a\0\xfe\0\0", b"a\0\xff"])
def test_text_and_bytes_without_a_proper_end_are_refused(data):
    for decode in (decode_bytes, decode_text):
        with pytest.raises(GuildbookError, match="no ended text or bytes"):
            decode(data)


def test_text_in_a_key_that_is_not_utf8_is_refused():
    with pytest.raises(GuildbookError, match="no UTF-8 text"):
        decode_text(b"\xff\0\0")


@pytest.mark.parametrize("data", [b"", b"\x02", b"\xff"])
def test_a_truth_value_other_than_00_and_01_is_refused(data):
    with pytest.raises(GuildbookError, match="no truth value"):
        decode_bool(data)
