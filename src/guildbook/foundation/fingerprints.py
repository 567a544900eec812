"""Fingerprints of documents, made outside the ledger with a key that is never on it.

Theory. A digest of a whole document finds only what was copied byte for byte. So a document gets several fingerprints,
each over some of its fields. The combinations here leave out one field each: of two documents that differ in one field,
whichever it is, the combination without that field is the same. What differs in two fields is found by none of them.

The key (HMAC-SHA256, RFC 2104) keeps those without it from trying out what a document says. All who want to find each
other's duplicates share the key, and the ledger's scope stands for it: another key is another scope.

Values are compared as ``normalised`` leaves them: small letters are capitals, and spaces and punctuation of ASCII are
nothing. Letters outside ASCII stay as they are; bring them into one form first (NFKC), and amounts and dates into one
notation (minor units; 2026-11-24).
"""

import hmac
from collections.abc import Mapping

from guildbook.foundation.documents import Fingerprint
from guildbook.primitives.canonical import encode

KEY_SIZE_BYTES_MIN = 16
LETTERS_AND_DIGITS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
INVOICE: dict[str, tuple[str, ...]] = {
    "without-number": ("seller", "buyer", "date", "currency", "amount"),
    "without-date": ("seller", "buyer", "number", "currency", "amount"),
    "without-amount": ("seller", "buyer", "number", "date"),
    "without-buyer": ("seller", "number", "date", "currency", "amount"),
    "without-seller": ("buyer", "number", "date", "currency", "amount"),
}
"""Combinations for invoices. Sellers who bill one buyer the same amount twice a day meet ``without-number``: leave it
out where that is common."""


def normalised(value: str) -> str:
    """``value`` in capitals, without the spaces and punctuation of ASCII."""
    kept = [one.upper() if one.isascii() else one for one in value]
    return "".join([one for one in kept if not one.isascii() or one in LETTERS_AND_DIGITS])


def keyed_digest(key: bytes, content: bytes) -> bytes:
    """HMAC-SHA256, 32 bytes: of a document's canonical form under its own salt, or of fields under a scope's key.

    Raises ValueError for a key of fewer than 16 bytes.
    """
    if len(key) < KEY_SIZE_BYTES_MIN:
        raise ValueError(f"a key or salt has at least {KEY_SIZE_BYTES_MIN} bytes")
    return hmac.digest(key, content, "sha256")


def fingerprints(
    key: bytes, fields: Mapping[str, str], combinations: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[Fingerprint, ...]:
    """The fingerprints of a document with these ``fields``, one for each of ``combinations`` (None: ``INVOICE``).

    A combination is left out where the document lacks one of its fields, or has nothing in it. The name of a
    combination is its code on the ledger. Raises ValueError for a short key.
    """
    made = []
    for name, wanted in (INVOICE if combinations is None else combinations).items():
        values = [normalised(fields.get(one, "")) for one in wanted]
        if all(values):
            content = encode([name, [[one, value] for one, value in zip(wanted, values, strict=True)]])
            made.append(Fingerprint(combination=name, value=keyed_digest(key, content)))
    return tuple(made)
