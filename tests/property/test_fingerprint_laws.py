"""Fingerprints: one changed field is always found, another notation is no change, and the key decides."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guildbook.foundation.fingerprints import INVOICE, fingerprints, keyed_digest, normalised

KEY = bytes(range(32))
FIELDS = ("seller", "buyer", "number", "date", "amount")
words = st.text("abcXYZ 0123456789-./é中", min_size=1, max_size=12).filter(normalised)
invoices = st.fixed_dictionaries({**dict.fromkeys(FIELDS, words), "currency": st.sampled_from(("EUR", "USD"))})


def values(fields: dict[str, str], key: bytes = KEY) -> set[bytes]:
    return {one.value for one in fingerprints(key, fields)}


@given(invoices, st.sampled_from(FIELDS), words)
def test_a_change_of_one_field_is_found(invoice, field, other):
    assert values(invoice) & values({**invoice, field: other})


@given(invoices, st.lists(st.sampled_from(FIELDS), min_size=2, unique=True))
def test_a_change_of_two_fields_is_not_and_nothing_else_meets(invoice, changed):
    other = {**invoice, **{field: invoice[field] + "9" for field in changed}}
    assert not values(invoice) & values(other)


@given(invoices, st.integers(0, 2**32))
def test_another_notation_is_no_change(invoice, seed):
    source = random.Random(seed)
    noisy = {
        name: "".join(source.choice(("", " ", "-")) + source.choice((one, one.upper())) for one in value)
        if value.isascii()
        else value
        for name, value in invoice.items()
    }
    assert values(invoice) == values(noisy)


@given(invoices)
def test_each_combination_gives_one_value_of_its_own(invoice):
    made = fingerprints(KEY, invoice)
    assert [one.combination for one in made] == list(INVOICE)
    assert len({one.value for one in made}) == len(INVOICE)
    assert not values(invoice) & values(invoice, b"another key of 32 bytes.........")


@given(invoices, st.sampled_from(FIELDS))
def test_a_field_that_lacks_leaves_out_its_combinations(invoice, field):
    without = {name: value for name, value in invoice.items() if name != field}
    assert [one.combination for one in fingerprints(KEY, without)] == [f"without-{field}"]
    assert fingerprints(KEY, {**invoice, field: " - "}) == fingerprints(KEY, without)


@given(st.binary(min_size=16, max_size=100), st.binary(max_size=50))
def test_a_keyed_digest_is_the_hmac_of_rfc_2104(key, content):
    padded = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(one ^ 0x36 for one in padded) + content).digest()
    assert keyed_digest(key, content) == hashlib.sha256(bytes(one ^ 0x5C for one in padded) + inner).digest()


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="16 bytes"):
        keyed_digest(b"short", b"")


def test_own_combinations_are_named_by_their_code():
    (only,) = fingerprints(KEY, {"customs": "NL 1", "number": "17"}, {"declaration": ("customs", "number")})
    assert only.combination == "declaration"
