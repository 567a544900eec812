"""Exporting evidence: from what a ledger holds to a file that proves one fact of it.

A receipt of block H is anchored at the header of block H + 1, whatever has come since: the log of that time
can be read from today's tiles, and the header of H + 1 names block H, so the file also proves the time of the
block. Rows are proven as they are now: the tree keeps no history, so the last block must be an empty one,
whose header states the roots that still hold. A ledger that has come to rest is in that state, because the
engine cuts such a block behind every other.

A file has the shortest way from a set that its reader trusts to the one that signed: the handovers that are needed,
and no others, however often validators have changed in between. Without a trust anchor that set is the first one, as
long as it signed without a break; with one (``trust``), any set that it names, at the heights at which it is believed.

`EvidenceSource` is all that is asked of a ledger, so a solo store, a node behind an interface and a
simulation are exported by the same functions. What they return has not been verified; whoever exports may do
that with `guildbook.evidence.verify`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from guildbook.chain.head import Roots
from guildbook.evidence.format import (
    AbsenceEvidence,
    Anchor,
    Evidence,
    EvidenceError,
    Handover,
    RangeEvidence,
    ReceiptEvidence,
    RowEvidence,
    Subject,
    encode_evidence,
)
from guildbook.evidence.trust import Trust
from guildbook.primitives import cometbft as comet
from guildbook.primitives.merkle_log import LogReader
from guildbook.primitives.state_tree import TreeReader


@dataclass(frozen=True, slots=True)
class ReceiptPlace:
    """Where a receipt is: height, index in the block, index in the log, all from the ledger's own index."""

    height: int
    index: int
    log_index: int


class EvidenceSource(Protocol):
    """A ledger as of its last committed block, for as long as one export takes."""

    @property
    def network(self) -> str:
        """The network's id."""

    @property
    def height(self) -> int:
        """The last block whose header is there; 0 for a ledger that has only its genesis state."""

    @property
    def state_height(self) -> int:
        """The block after which the rows, the tree and the log are; not above `height`."""

    def header(self, height: int) -> comet.Header | None:
        """The header of block `height` (1 up), None if it is not there (not yet, or no longer)."""

    def commit(self, height: int) -> comet.Commit | None:
        """The commit for block `height`, None if it is not there."""

    def validators(self, height: int) -> comet.ValidatorSet:
        """The validators that sign block `height`."""

    def handover_heights(self, height: int) -> Sequence[int]:
        """The heights below `height`, ascending, whose block is the last of its validator set."""

    def roots(self, height: int) -> Roots:
        """The roots after block `height` (0 up)."""

    def place(self, transaction: bytes) -> ReceiptPlace | None:
        """Where the receipt of a transaction (32 bytes) is, None if the ledger has none."""

    def receipt(self, place: ReceiptPlace) -> bytes:
        """The canonical receipt at a place that `place` has given."""

    def envelope(self, place: ReceiptPlace) -> bytes | None:
        """The envelope of the same transaction, None if the ledger no longer has the block."""

    def row(self, table: str, key: bytes) -> bytes | None:
        """The canonical row under an ordered primary key, None if there is none."""

    def rows(self, table: str, start: bytes, end: bytes | None) -> Sequence[tuple[bytes, bytes]]:
        """All (key, row) of a table with start <= key < end (None: to its end), in key order."""

    def log(self) -> LogReader:
        """The log over all receipts."""

    def tree(self) -> TreeReader:
        """The state tree."""


def _not_available(message: str, hint: str, **fields: object) -> EvidenceError:
    return EvidenceError("evidence.not_available", message, hint=hint, step="build", **fields)


def receipt_evidence(
    source: EvidenceSource, transaction: bytes, *, with_envelope: bool = True, trust: Trust | None = None
) -> bytes:
    """The file that proves what became of `transaction` (32 bytes), and with its envelope, who signed what.

    Without the envelope the file shows the receipt alone, for a reader who may know the result but not the
    order. Raises `EvidenceError` "evidence.not_available" for a transaction without a receipt, or whose block
    no header states yet.
    """
    place = source.place(transaction)
    if place is None:
        raise _not_available(
            f"no receipt of transaction {transaction.hex()}",
            "check the id, and that the transaction was answered",
            transaction=transaction.hex(),
        )
    anchor = _anchor(source, place.height, trust)
    subject = ReceiptEvidence(
        source.receipt(place),
        source.envelope(place) if with_envelope else None,
        place.log_index,
        tuple(source.log().inclusion_proof(place.log_index, anchor.log_size)),
    )
    return _file(source, subject, anchor)


def row_evidence(source: EvidenceSource, table: str, key: bytes, *, trust: Trust | None = None) -> bytes:
    """The file that proves that `table` has its row under `key` (the ordered primary key), or that it has
    none.

    Raises `EvidenceError` "evidence.not_available" while no header states the last block's roots.
    """
    anchor = _state_anchor(source, trust)
    row = source.row(table, key)
    proof = source.tree().prove(table.encode() + b"\0" + key)
    subject: Subject = (
        AbsenceEvidence(table, key, proof) if row is None else RowEvidence(table, key, row, proof)
    )
    return _file(source, subject, anchor)


def range_evidence(
    source: EvidenceSource,
    table: str,
    start: bytes = b"",
    end: bytes | None = None,
    *,
    trust: Trust | None = None,
) -> bytes:
    """The file that proves that the rows of `table` with start <= key < end are these and no others.

    `start` empty and `end` None are the whole table. Raises `EvidenceError` "evidence.not_available" while no
    header states the last block's roots, and "evidence.too_large" for more rows than a file may hold.
    """
    anchor = _state_anchor(source, trust)
    prefix = table.encode() + b"\0"
    proof = source.tree().prove_range(
        prefix + start, table.encode() + b"\x01" if end is None else prefix + end
    )
    return _file(
        source, RangeEvidence(table, start, end, tuple(source.rows(table, start, end)), proof), anchor
    )


def _file(source: EvidenceSource, subject: Subject, anchor: Anchor) -> bytes:
    return encode_evidence(Evidence(source.network, subject, anchor))


def _state_anchor(source: EvidenceSource, trust: Trust | None) -> Anchor:
    """The anchor of the roots that rows are proven in: at the next header, or at the last one if its own block has
    changed nothing.
    """
    height = source.state_height
    if height > 0 and source.roots(height) == source.roots(height - 1):
        return _anchor(source, height - 1, trust)
    if source.height <= height:
        raise _not_available(
            f"no header states the roots after block {height} yet",
            "wait for the next block, which the engine cuts within a second",
            height=height,
        )
    return _anchor(source, height, trust)


def _anchor(source: EvidenceSource, height: int, trust: Trust | None) -> Anchor:
    """From the roots after block `height` to the signatures under the block after it."""
    roots = source.roots(height)
    header, commit = _signed(source, height + 1)
    if height == 0:
        block = b""
    else:
        before = source.header(height)
        if before is None:
            raise _pruned(height)
        block = comet.encode_header(before)
    handovers = []
    for handover in descent(source, height + 1, trust):
        last_header, last_commit = _signed(source, handover)
        members = comet.encode_validator_set(source.validators(handover))
        handovers.append(Handover(last_header, last_commit, members))
    return Anchor(
        roots.state_root,
        roots.log_root,
        roots.log_size,
        block,
        header,
        commit,
        comet.encode_validator_set(source.validators(height + 1)),
        tuple(handovers),
    )


def descent(source: EvidenceSource, height: int, trust: Trust | None = None) -> tuple[int, ...]:
    """The heights of the fewest handovers, ascending, that lead from a believed set to the one that signs `height`.

    Believed is what `trust` believes, or without it the first set until its first handover. Where nothing believed
    leads there, these are all handovers: the reader's anchor may know another set.

    A set counts by what it is, not by when it was: where A hands over to B, B to C and C to B again, one handover leads
    to the second B. So for each set the shortest way to it so far is kept, while the handovers are gone through once.
    """
    heights = source.handover_heights(height)
    first = comet.validator_set_hash(source.validators(1)) if trust is None else b""
    last = heights[0] if heights else height

    def believed(members: bytes, at: int) -> bool:
        return members == first and at <= last if trust is None else trust.believes(members, at)

    ways: dict[bytes, tuple[int, ...]] = {}
    for handover in heights:
        giving = comet.validator_set_hash(source.validators(handover))
        taking = comet.validator_set_hash(source.validators(handover + 1))
        way = () if believed(giving, handover) else ways.get(giving)
        if way is not None and (taking not in ways or len(way) + 1 < len(ways[taking])):
            ways[taking] = (*way, handover)
    signing = comet.validator_set_hash(source.validators(height))
    return () if believed(signing, height) else ways.get(signing, tuple(heights))


def _signed(source: EvidenceSource, height: int) -> tuple[bytes, bytes]:
    header, commit = source.header(height), source.commit(height)
    if height > source.height or commit is None or header is None:
        if height > source.height:
            raise _not_available(
                f"there is no block {height} yet, whose header states the result of the one before",
                "wait for the next block, which the engine cuts within a second",
                height=height,
            )
        raise _pruned(height)
    return comet.encode_header(header), comet.encode_commit(commit)


def _pruned(height: int) -> EvidenceError:
    return _not_available(
        f"this node no longer has block {height}", "ask a node that keeps the whole history", height=height
    )
