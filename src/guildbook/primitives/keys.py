"""Public keys, signatures, and the one rule by which all nodes judge them.

A public key on the wire is one byte for the algorithm and then the key as the algorithm writes it. The
algorithm is part of the key, never of the signature: a signature cannot choose how it is checked.

| byte | algorithm | key | signature |
|------|-----------|-----|-----------|
| 01   | Ed25519, checked by ZIP-215 | 32 bytes | 64 bytes |

RFC 8032 leaves open which borderline signatures are valid, and libraries differ; on a ledger a difference is
a fork. ZIP-215 decides every case: the key A and the point R are any encodings of curve points, non-canonical
ones included; S is less than the group order; and [8][S]B = [8]R + [8][k]A, with k hashed over the bytes as
received. A batch check agrees with that equation, which is why later, faster verifiers can agree as well.

Under those rules a key of small order has signatures that anybody can make, for any message. Such keys
verify, as the rule says, and are refused where a key is registered: `check_public_key`.

Sources: RFC 8032, section 5.1; ZIP 215 (Zcash, 2020).
"""

from __future__ import annotations

from typing import Final, Protocol

import ed25519_zebra

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged

ED25519: Final = 0x01
ENTROPY_SIZE_BYTES_MIN: Final = 32
SEED_SIZE_BYTES: Final = 32
_HEXADECIMAL: Final = frozenset("0123456789abcdef")


class Suite(Protocol):
    """A signature algorithm: what the byte in front of a public key stands for."""

    @property
    def name(self) -> str:
        """The name in the text form of a key: lower-case letters and digits."""

    @property
    def key_size_bytes(self) -> int:
        """The size of a raw public key."""

    @property
    def signature_size_bytes(self) -> int:
        """The size of a signature."""

    def verify(self, raw_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is one of `message` by `raw_key`; both have their sizes. Never raises."""

    def check(self, raw_key: bytes) -> None:
        """Raise `GuildbookError` "key.malformed" or "key.small_order" unless the raw key, which has the right
        size, is fit to be registered.
        """


_ED25519_P: Final = 2**255 - 19
_ED25519_D: Final = -121665 * pow(121666, -1, _ED25519_P) % _ED25519_P
_ED25519_SQRT_MINUS_1: Final = pow(2, (_ED25519_P - 1) // 4, _ED25519_P)


def _ed25519_point(raw_key: bytes) -> tuple[int, int] | None:
    """The point (x, y) of edwards25519 that 32 bytes encode by ZIP-215, or None: y may be written as y + p,
    and x = 0 may have the sign bit (RFC 8032, section 5.1.3, without those two refusals).
    """
    p = _ED25519_P
    number = int.from_bytes(raw_key, "little")
    sign, y = number >> 255, (number & ((1 << 255) - 1)) % p
    u, v = (y * y - 1) % p, (_ED25519_D * y * y + 1) % p
    x = u * pow(v, 3, p) * pow(u * pow(v, 7, p), (p - 5) // 8, p) % p
    if (v * x * x - u) % p:
        x = x * _ED25519_SQRT_MINUS_1 % p
        if (v * x * x - u) % p:
            return None
    return (p - x if x & 1 != sign else x) % p, y


def _ed25519_double(x: int, y: int) -> tuple[int, int]:
    """Twice the point (x, y): the addition law of edwards25519 with both points the same."""
    p = _ED25519_P
    product = _ED25519_D * x * x * y * y % p
    return 2 * x * y * pow(1 + product, -1, p) % p, (y * y + x * x) * pow(1 - product, -1, p) % p


class _Ed25519:
    """Ed25519 with the verification rules of ZIP-215."""

    name = "ed25519"
    key_size_bytes = 32
    signature_size_bytes = 64

    def verify(self, raw_key: bytes, message: bytes, signature: bytes) -> bool:
        """See `Suite.verify`."""
        valid: bool = ed25519_zebra.ed_verify(signature, message, raw_key)
        return valid

    def check(self, raw_key: bytes) -> None:
        """See `Suite.check`. A key whose y is not reduced is refused too: it would give a point two keys."""
        point = _ed25519_point(raw_key)
        if point is None:
            raise GuildbookError("key.malformed", f"{raw_key.hex()} is no point of the curve", key=raw_key)
        multiple = point
        for _ in range(3):
            multiple = _ed25519_double(*multiple)
        if multiple == (0, 1):
            raise GuildbookError("key.small_order", f"{raw_key.hex()} is a point of small order", key=raw_key)
        if int.from_bytes(raw_key, "little") & ((1 << 255) - 1) >= _ED25519_P:
            raise GuildbookError(
                "key.malformed", f"{raw_key.hex()} is not the reduced form of its point", key=raw_key
            )


SUITES: Final[dict[int, Suite]] = {ED25519: _Ed25519()}
"""The algorithms by their byte. Two suites never share a byte, and a byte never changes its meaning."""


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is one of `message` by `public_key` (algorithm byte and raw key).

    False for an unknown algorithm and for bytes of any wrong length or content; never raises.
    """
    suite = SUITES.get(public_key[0]) if public_key else None
    return (
        suite is not None
        and len(public_key) == 1 + suite.key_size_bytes
        and len(signature) == suite.signature_size_bytes
        and suite.verify(public_key[1:], message, signature)
    )


def _suite_names() -> str:
    return ", ".join(suite.name for suite in SUITES.values())


def _suite_of(public_key: bytes) -> Suite:
    """The suite of a public key that has the size its algorithm byte asks for."""
    if not public_key:
        raise GuildbookError("key.malformed", "the public key is empty", key=public_key)
    suite = SUITES.get(public_key[0])
    if suite is None:
        raise GuildbookError(
            "key.unsupported",
            f"no algorithm has the byte {public_key[0]:#04x}",
            hint=f"use {_suite_names()}",
            key=public_key,
        )
    if len(public_key) != 1 + suite.key_size_bytes:
        raise GuildbookError(
            "key.malformed",
            f"{suite.name} has keys of {suite.key_size_bytes} bytes after the algorithm byte, "
            f"and this has {len(public_key) - 1}",
            key=public_key,
        )
    return suite


def check_public_key(public_key: bytes) -> None:
    """Raise `GuildbookError` unless `public_key` is fit to be registered.

    "key.unsupported" for an unknown algorithm byte, "key.malformed" for a wrong length or bytes that are not
    a key, "key.small_order" for a key with which anybody can sign.
    """
    _suite_of(public_key).check(public_key[1:])


class SigningKey:
    """A secret Ed25519 key. Signing is deterministic (RFC 8032): the same key and message give the same
    signature.

    `repr` does not show the secret.
    """

    __slots__ = ("_seed", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE_BYTES:
            raise GuildbookError(
                "key.malformed", f"a seed has {SEED_SIZE_BYTES} bytes, and this has {len(seed)}"
            )
        self._seed = seed
        self.public_key: bytes = bytes((ED25519,)) + ed25519_zebra.ed_public_from_secret(seed)

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key of a seed of 32 secret bytes (RFC 8032, section 5.1.5); raises "key.malformed" for another
        length.
        """
        return cls(seed)

    @classmethod
    def generate(cls, entropy: bytes) -> SigningKey:
        """A new key from at least 32 bytes of the caller's randomness, which this layer has none of.

        The seed is `tagged("key-seed", entropy)`; raises `GuildbookError` "key.malformed" for fewer bytes.
        """
        if len(entropy) < ENTROPY_SIZE_BYTES_MIN:
            raise GuildbookError(
                "key.malformed",
                f"a key needs {ENTROPY_SIZE_BYTES_MIN} bytes of entropy or more, and "
                f"{len(entropy)} were given",
            )
        return cls(tagged("key-seed", entropy))

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes, to be kept by whoever keeps the key."""
        return self._seed

    def sign(self, message: bytes) -> bytes:
        """The signature (64 bytes) of `message`."""
        signature: bytes = ed25519_zebra.ed_sign(self._seed, message)
        return signature

    def __repr__(self) -> str:
        """The public key, in its text form."""
        return f"SigningKey({key_text(self.public_key)})"


def key_text(public_key: bytes) -> str:
    """The text form of a public key, `ed25519:<64 hexadecimal digits>`.

    Raises `GuildbookError` "key.unsupported" for an unknown algorithm byte and "key.malformed" for a wrong
    length.
    """
    return f"{_suite_of(public_key).name}:{public_key[1:].hex()}"


def parse_key_text(text: str) -> bytes:
    """The public key (algorithm byte and raw key) whose text form is `text`: lower-case digits, no spaces.

    Raises `GuildbookError` "key.unsupported" for an unknown algorithm and "key.malformed" for anything else
    that is not such a text. It does not judge the key: that is `check_public_key`.
    """
    name, colon, digits = text.partition(":")
    for algorithm, suite in SUITES.items():
        if suite.name == name and colon:
            if len(digits) != 2 * suite.key_size_bytes or not _HEXADECIMAL.issuperset(digits):
                raise GuildbookError(
                    "key.malformed",
                    f"{text[:160]!r} is no {name} key",
                    hint=f"use {name}: and {2 * suite.key_size_bytes} lower-case hexadecimal digits",
                    text=text,
                )
            return bytes((algorithm,)) + bytes.fromhex(digits)
    raise GuildbookError(
        "key.unsupported",
        f"{text[:160]!r} names no known algorithm",
        hint=f"use {_suite_names()}",
        text=text,
    )
