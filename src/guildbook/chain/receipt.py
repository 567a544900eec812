"""Receipts: what became of a transaction. The log over all receipts since genesis has an entry for each.

A receipt is hashed, so it holds stable codes and typed values alone. Texts for people are made from the code
outside. Format and vectors: docs/spec/receipt.md.
"""

import enum
from typing import Any

import msgspec

from guildbook.primitives.canonical import decode


class Outcome(enum.IntEnum):
    """What became of a transaction."""

    APPLIED = 0
    """All calls took effect."""
    REJECTED = 1
    """A contract or the runtime refused; nothing took effect; the transaction is used up."""
    INVALID = 2
    """It should not have been in a block; nothing took effect, and its id is not used up."""


class Receipt(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One receipt.

    ``transaction``: the id, 32 bytes. ``height``, ``index``: the block and the place in it, from 0. ``code``: empty
    when applied, else the refusal's. ``fields``: [name, value] pairs of the refusal. ``results``: what each call
    returned. ``events``: [contract, event, [values in order of declaration]].
    """

    transaction: bytes
    height: int
    index: int
    outcome: int
    code: str
    fields: list[list[Any]]
    results: list[Any]
    events: list[list[Any]]


class Location(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a transaction's receipt is: block height, place in the block, place in the log."""

    height: int
    index: int
    log_index: int


def decode_receipt(data: bytes) -> Receipt:
    """The receipt in canonical ``data``; raises CanonicalError."""
    receipt: Receipt = decode(data, Receipt)
    return receipt
