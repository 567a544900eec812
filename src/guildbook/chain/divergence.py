"""Where two ledgers part: the first height whose application hashes differ, and there the transaction, table and row.

Two nodes that run the same blocks have the same hash after each. When they do not, the question is where it began:
everything later differs too, so the first height is found by halving. At that height the change feeds of both say what
each of them did: which transactions, with which receipts, and which rows became what.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from guildbook.chain.changes import BlockChanges, RowChange
from guildbook.chain.head import application_hash
from guildbook.chain.ledger import View
from guildbook.chain.receipt import Outcome, decode_receipt
from guildbook.primitives.canonical import CanonicalError, decode_value
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.arguments import fields_to_json, to_json
from guildbook.runtime.catalogue import Catalogue
from guildbook.runtime.releases import active_releases, source_text
from guildbook.state.overlay import Overlay

ROWS_SHOWN_MAX = 50
"""Rows that differ and are told in full."""

Decode = Callable[[str, bytes], Any]
"""The values of a row of a table by name, from its canonical bytes."""


class Side(Protocol):
    """One of two ledgers that are compared."""

    @property
    def first_height(self) -> int:
        """The first height whose application hash it can tell."""

    @property
    def last_height(self) -> int:
        """The last such height."""

    def app_hash(self, height: int) -> bytes:
        """The application hash after the block of ``height``."""

    def changes(self, height: int) -> BlockChanges | None:
        """What the block of ``height`` did, None where that cannot be told."""

    def row(self, height: int, table: str, data: bytes) -> Any:
        """A row's values by field, as the contract version of ``height`` names them."""


class Received(msgspec.Struct, frozen=True):
    """A receipt as it is told: outcome, code and fields of a refusal, results and events."""

    outcome: str
    code: str
    fields: Any
    results: Any
    events: Any


class PartedTransaction(msgspec.Struct, frozen=True):
    """The first transaction of a block whose receipts differ, or that one side lacks (None)."""

    index: int
    id: str
    calls: list[str]
    party: str
    left: Received | None
    right: Received | None


class PartedRow(msgspec.Struct, frozen=True):
    """A row that the two sides made different. ``before`` and ``after`` hold values by field, None where absent.

    ``fields`` are the names of the fields in which ``after`` differs.
    """

    table: str
    key: str
    fields: list[str]
    left_before: Any
    left_after: Any
    right_before: Any
    right_after: Any


class Divergence(msgspec.Struct, frozen=True):
    """Where two ledgers part. ``why`` is a sentence; the rest says it in values.

    ``transactions`` are the calls of the block, where no receipt differs: one of them made the rows differ.
    """

    height: int
    left_app_hash: str
    right_app_hash: str
    why: str
    transaction: PartedTransaction | None
    transactions: list[str]
    rows: list[PartedRow]
    rows_parted: int


class ViewSide:
    """A ledger in a store."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._catalogues: dict[int, Catalogue] = {}

    @property
    def first_height(self) -> int:
        """See Side."""
        return self._view.kept_from

    @property
    def last_height(self) -> int:
        """See Side."""
        return self._view.head.height

    def app_hash(self, height: int) -> bytes:
        """See Side."""
        if height == self._view.head.height:
            return self._view.head.app_hash
        roots = self._view.roots(height)
        if roots is None:
            raise GuildbookError(
                "evidence.not_available",
                f"this store does not have the roots after block {height}",
                hint="use the folder of a node that keeps the whole history",
                height=height,
            )
        return application_hash(roots.state_root, roots.log_root, roots.log_size)

    def changes(self, height: int) -> BlockChanges | None:
        """See Side."""
        return self._view.changes(height)

    def row(self, height: int, table: str, data: bytes) -> Any:
        """See Side."""
        schema = self._catalogue(height).tables.get(table)
        return row_values(None if schema is None else schema.fields, data)

    def _catalogue(self, height: int) -> Catalogue:
        if height not in self._catalogues:
            overlay = Overlay(self._view.reader)
            registry = self._view.registry
            releases = active_releases(overlay, height, registry)
            self._catalogues[height] = Catalogue(
                registry.resolve(one.source, partial(source_text, overlay, one.source)).contract
                for one in releases.values()
            )
        return self._catalogues[height]


def row_values(fields: Sequence[Any] | None, data: bytes) -> Any:
    """The values of a canonical row, by the names of ``fields`` as far as they are known."""
    try:
        values = decode_value(data)
    except CanonicalError:
        return data.hex()
    if fields is None or not isinstance(values, list) or len(values) > len(fields):
        return to_json(values)
    return fields_to_json(fields[: len(values)], values)


def first_parting(left: Side, right: Side) -> int | None:
    """The first height whose application hashes differ, None when those of the last common height are equal.

    Raises GuildbookError ``diverge.nothing_common`` when no height can be told of both, and ``diverge.earlier`` when
    they differ at the first such height already, and that is not the first of all.
    """
    low, high = max(left.first_height, right.first_height), min(left.last_height, right.last_height)
    if low > high:
        raise GuildbookError(
            "diverge.nothing_common",
            f"one keeps heights {left.first_height} to {left.last_height}, the other {right.first_height} to "
            f"{right.last_height}",
            hint="use nodes that keep the whole history",
        )

    def parted(height: int) -> bool:
        return left.app_hash(height) != right.app_hash(height)

    if not parted(high):
        return None
    if parted(low):
        if low:
            raise GuildbookError(
                "diverge.earlier",
                f"they differ at height {low} already, the first that both keep",
                hint="use nodes that keep the whole history",
                height=low,
            )
        return 0
    while high - low > 1:  # equal at low, different at high
        middle = (low + high) // 2
        if parted(middle):
            high = middle
        else:
            low = middle
    return high


def explain(left: Side, right: Side) -> Divergence | None:
    """Where ``left`` and ``right`` part first, None where they do not. Raises as ``first_parting``."""
    height = first_parting(left, right)
    if height is None:
        return None
    hashes = (left.app_hash(height).hex(), right.app_hash(height).hex())
    mine, theirs = left.changes(height), right.changes(height)
    if mine is None or theirs is None:
        return Divergence(height, *hashes, "what one of them did in this block cannot be told", None, [], [], 0)
    transaction = _first_transaction(mine, theirs)
    pairs = list(_parted_rows(mine, theirs))
    rows = [_parted_row(height, left, right, one, other) for one, other in pairs[:ROWS_SHOWN_MAX]]
    calls = [_called(one.calls, one.id) for one in mine.transactions]
    if height == 0:
        why = "they were founded differently"
    elif transaction is not None and (transaction.left is None or transaction.right is None):
        why = f"they ran other transactions, from transaction {transaction.index} of the block on"
    elif transaction is not None:
        why = f"transaction {transaction.index} of the block came out differently"
    elif pairs:
        row = pairs[0][0] or pairs[0][1]
        assert row is not None
        why = f"the receipts are the same, and {row.table} is not"
    else:
        why = "receipts and rows of this block are the same: one store is damaged, or its tree or log is wrong"
    shown = calls if transaction is None and pairs else []
    return Divergence(height, *hashes, why, transaction, shown, rows, len(pairs))


def _first_transaction(mine: BlockChanges, theirs: BlockChanges) -> PartedTransaction | None:
    for index in range(max(len(mine.receipts), len(theirs.receipts))):
        one = mine.receipts[index] if index < len(mine.receipts) else None
        other = theirs.receipts[index] if index < len(theirs.receipts) else None
        if one == other:
            continue
        ids = [decode_receipt(data).transaction for data in (one, other) if data is not None]
        summary = (mine if one is not None else theirs).transactions[index]
        same = len(set(ids)) == 1 and len(ids) == 2
        return PartedTransaction(
            index,
            ids[0].hex(),
            [".".join(call) for call in summary.calls],
            f"{summary.organisation}/{summary.party}",
            None if one is None else _received(one),
            _received(other) if other is not None and (same or one is None) else None,
        )
    return None


def _received(data: bytes) -> Received:
    receipt = decode_receipt(data)
    return Received(
        Outcome(receipt.outcome).name.lower(),
        receipt.code,
        to_json(receipt.fields),
        to_json(receipt.results),
        to_json(receipt.events),
    )


def _called(calls: list[list[str]], transaction: bytes) -> str:
    return f"{transaction.hex()} {', '.join('.'.join(one) for one in calls)}"


def _parted_rows(
    mine: BlockChanges, theirs: BlockChanges
) -> Iterator[tuple[RowChange | None, RowChange | None]]:
    """The changes of rows that are not alike in both, in key order; None where one side changed nothing."""
    ours = {(one.table, one.key): one for one in mine.rows}
    others = {(one.table, one.key): one for one in theirs.rows}
    for place in sorted(ours.keys() | others.keys()):
        one, other = ours.get(place), others.get(place)
        if one != other:
            yield one, other


def _parted_row(
    height: int, left: Side, right: Side, one: RowChange | None, other: RowChange | None
) -> PartedRow:
    change = one or other
    assert change is not None

    def told(side: Side, own: RowChange | None, both: RowChange, after: bool) -> Any:
        # A side that changed nothing still has what the other found before.
        data = both.before if own is None else own.after if after else own.before
        return None if data is None else side.row(height, both.table, data)

    values = [
        told(left, one, change, False),
        told(left, one, change, True),
        told(right, other, change, False),
        told(right, other, change, True),
    ]
    fields: list[str] = []
    if isinstance(values[1], dict) and isinstance(values[3], dict):
        names = [*values[1], *(name for name in values[3] if name not in values[1])]
        fields = [name for name in names if values[1].get(name) != values[3].get(name)]
    return PartedRow(change.table, change.key.hex(), fields, *values)


def as_text(found: Divergence | None, left: str, right: str) -> list[str]:
    """``found`` in lines for people; ``left`` and ``right`` name the two."""
    if found is None:
        return [f"{left} and {right} do not part: their application hashes are equal at the last height of both"]
    lines = [
        f"They part at block {found.height}: {found.why}",
        f"  application hash of {left}: {found.left_app_hash}",
        f"  application hash of {right}: {found.right_app_hash}",
    ]
    one = found.transaction
    if one is not None:
        lines.append(f"transaction {one.index} of the block: {one.id}, {', '.join(one.calls)} by {one.party}")
        for name, got in ((left, one.left), (right, one.right)):
            lines.append(f"  {name}: {'not in the block' if got is None else _receipt_text(got)}")
    if found.transactions:
        lines.append("it was one of these transactions:")
        lines += [f"  {call}" for call in found.transactions]
    for row in found.rows:
        named = f", in {', '.join(row.fields)}" if row.fields else ""
        lines.append(f"row {row.key} of {row.table}{named}")
        lines.append(f"  before: {_value(row.left_before)}")
        if row.right_before != row.left_before:
            lines.append(f"  before, {right}: {_value(row.right_before)}")
        lines.append(f"  after, {left}: {_value(row.left_after)}")
        lines.append(f"  after, {right}: {_value(row.right_after)}")
    if found.rows_parted > len(found.rows):
        lines.append(f"and {found.rows_parted - len(found.rows)} rows more")
    return lines


def _receipt_text(got: Received) -> str:
    what = {"fields": got.fields, "results": got.results, "events": got.events}
    rest = ", ".join(f"{name} {_value(value)}" for name, value in what.items() if value)
    return " ".join(filter(None, (got.outcome, got.code, rest)))


def _value(value: Any) -> str:
    if value is None:
        return "no row"
    return msgspec.json.encode(value).decode()
