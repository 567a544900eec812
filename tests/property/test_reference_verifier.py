"""The auditor's plain Python agrees with the fast libraries on every input, borderline ones included."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guildbook.evidence import reference_canonical, reference_ed25519
from guildbook.primitives import canonical, keys
from guildbook.primitives.errors import GuildbookError
from shared_data import shared

integers = st.one_of(
    st.integers(canonical.INT_MIN, canonical.INT_MAX),
    st.sampled_from(
        [sign * (1 << bits) + near for bits in range(64) for near in (-1, 0, 1) for sign in (1, -1)]
    ),
).filter(lambda number: canonical.INT_MIN <= number <= canonical.INT_MAX)
scalars = st.one_of(st.none(), st.booleans(), integers, st.text(), st.binary())
values = st.recursive(scalars, lambda children: st.lists(children, max_size=20), max_leaves=40)


@given(values)
@example(["x" * size for size in (31, 32, 255, 256, 65_535, 65_536)])
@example([b"x" * size for size in (255, 256, 65_535, 65_536)])
@example([[0] * size for size in (15, 16, 65_535, 65_536)])
def test_both_encoders_write_the_same_bytes_and_both_decoders_read_them(
    value: reference_canonical.Value,
) -> None:
    encoded = canonical.encode(value)
    assert reference_canonical.encode_value(value) == encoded
    assert reference_canonical.decode_value(encoded) == canonical.decode_value(encoded) == value


def accepts(decode: object, data: bytes) -> object:
    try:
        return ("read", decode(data))  # type: ignore[operator]
    except GuildbookError:
        return "refused"


@given(st.binary(max_size=40))
@example(b"\x91" * 32 + b"\xc0")
@example(b"\x91" * 33 + b"\xc0")
@example(b"\xdc\x00\x0f" + b"\xc0" * 15)
@example(b"\xdc\x00\x10" + b"\xc0" * 16)
@example(b"\xa2\xed\xa0")
@example(b"\xa3\xed\xa0\x80")
def test_both_decoders_accept_the_same_bytes(data: bytes) -> None:
    assert accepts(reference_canonical.decode_value, data) == accepts(canonical.decode_value, data)


@given(values, st.data())
def test_both_decoders_agree_on_damaged_encodings(value: object, data: st.DataObject) -> None:
    damaged = bytearray(canonical.encode(value))
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] = data.draw(st.integers(0, 255))
    found = bytes(damaged)
    assert accepts(reference_canonical.decode_value, found) == accepts(canonical.decode_value, found)


@pytest.mark.parametrize("value", [1.5, {}, {1}, 1 << 64, -(1 << 63) - 1, "\ud800", [[1.5]]], ids=ascii)
def test_the_reference_encoder_refuses_what_has_no_canonical_form(value: object) -> None:
    with pytest.raises(GuildbookError, match=r"canonical\.malformed"):
        reference_canonical.encode_value(value)  # type: ignore[arg-type]


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.data())
def test_the_reference_verifier_agrees_on_true_and_on_damaged_signatures(
    seed: bytes, message: bytes, data: st.DataObject
) -> None:
    key = keys.SigningKey.from_seed(seed)
    signature, raw_key = key.sign(message), key.public_key[1:]
    assert reference_ed25519.ed_verify(signature, message, raw_key)
    damaged = bytearray(signature + raw_key)
    damaged[data.draw(st.integers(0, 95))] ^= 1 << data.draw(st.integers(0, 7))
    signature, raw_key = bytes(damaged[:64]), bytes(damaged[64:])
    native = keys.verify(bytes((keys.ED25519,)) + raw_key, message, signature)
    assert reference_ed25519.ed_verify(signature, message, raw_key) == native


@given(st.binary(max_size=70), st.binary(max_size=40))
def test_the_reference_verifier_refuses_wrong_lengths_without_raising(
    signature: bytes, raw_key: bytes
) -> None:
    if (len(signature), len(raw_key)) != (64, 32):
        assert not reference_ed25519.ed_verify(signature, b"", raw_key)


def test_the_reference_verifier_decides_all_borderline_vectors_as_the_library_does() -> None:
    """549 signatures over which libraries differ: small orders, non-canonical encodings, S at and above the
    group order."""
    vectors = json.loads(shared("crypto/cctv-ed25519/ed25519vectors.json").read_text())
    assert len(vectors) == 549
    verdicts = []
    for vector in vectors:
        signature, raw_key = bytes.fromhex(vector["sig"]), bytes.fromhex(vector["key"])
        message = vector["msg"].encode()
        verdict = reference_ed25519.ed_verify(signature, message, raw_key)
        assert verdict == keys.verify(bytes((keys.ED25519,)) + raw_key, message, signature), vector["number"]
        verdicts.append(verdict)
    assert any(verdicts)
