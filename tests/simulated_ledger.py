"""A ledger of a few tables and transactions, made from primitives alone, that evidence can be exported from.

It is an `EvidenceSource`: what a node does with a store, this does with dictionaries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guildbook.chain.head import Roots
from guildbook.evidence.build import ReceiptPlace
from guildbook.evidence.trust import Trust, TrustedSet
from guildbook.primitives import cometbft as comet
from guildbook.primitives import merkle_log, state_tree
from guildbook.primitives.canonical import decode, encode
from guildbook.primitives.hashing import sha256, tagged
from guildbook.primitives.log_entry import entry_of
from guildbook.primitives.ordered import encode_int
from simulated_chain import NETWORK, SimulatedChain, signing_key, validator_set

TABLE = "points.lots"
OTHER_TABLE = "points.totals"


def row_key(number: int) -> bytes:
    return encode_int(number)


def signed_envelope(number: int, network: str = NETWORK) -> bytes:
    """A transaction that issues lot `number`, signed by key 100 + number."""
    key = signing_key(100 + number)
    calls = [["points", "issue", ["miles", f"holder-{number}", 10 * number + 1, sha256(b"%d" % number)]]]
    body = encode([1, network, key.public_key, 500, b"nonce%03d" % number, calls])
    return encode([body, key.sign(b"guildbook/sign/v1\0" + body)])


class SimulatedLedger:
    """Blocks of transactions; block 1 is empty, so its header states the genesis roots."""

    def __init__(self, powers: Mapping[int, int] | None = None, network: str = NETWORK) -> None:
        self.chain = SimulatedChain(powers=dict(powers or {1: 10}), network=network)
        self.genesis_powers = dict(self.chain.powers)
        self._rows: dict[bytes, bytes] = {}
        self._nodes: dict[bytes, bytes] = {}
        self._tiles: dict[bytes, bytes] = {}
        self._edge = merkle_log.LogEdge()
        self._tree = state_tree.StateTree(self._nodes.get)
        self._roots = [Roots(self._tree.root(), self._edge.root(), 0)]
        self._receipts: dict[bytes, tuple[ReceiptPlace, bytes, bytes]] = {}
        self._handovers: list[int] = []

    # What a test does with it

    def add_block(
        self,
        numbers: Sequence[int] = (),
        *,
        deletes: Sequence[int] = (),
        next_powers: Mapping[int, int] | None = None,
        absent: Sequence[int] = (),
    ) -> int:
        """Cut a block that issues the lots `numbers` and deletes others; its height."""
        envelopes = [signed_envelope(number, self.network) for number in numbers]
        bundles = [encode(envelopes)] if envelopes else []
        previous = self._roots[-1]
        app_hash = tagged("app", previous.state_root, previous.log_root, previous.log_size.to_bytes(8, "big"))
        header = self.chain.add_block(app_hash, bundles, next_powers=next_powers, absent=absent)
        if header.next_validators_hash != header.validators_hash:
            self._handovers.append(header.height)
        entries = []
        changes: dict[bytes, bytes | None] = {}
        for index, (number, envelope) in enumerate(zip(numbers, envelopes, strict=True)):
            transaction = transaction_of(envelope)
            outcome, code = (1, "points.not_enough_units") if number % 5 == 4 else (0, "")
            receipt = encode(
                [transaction, header.height, index, outcome, code, [["wanted", number]] if code else [],
                 [] if code else [number], [] if code else [["points", "issued", [number, 10 * number + 1]]]]
            )  # fmt: skip
            place = ReceiptPlace(header.height, index, self._edge.size + index)
            self._receipts[transaction] = (place, receipt, envelope)
            entries.append(entry_of(receipt, transaction, header.height, index, outcome))
            row = encode([number, "miles", f"holder-{number}", 10 * number + 1])
            self._rows[TABLE.encode() + b"\0" + row_key(number)] = row
            changes[TABLE.encode() + b"\0" + row_key(number)] = sha256(row)
        for number in deletes:
            del self._rows[TABLE.encode() + b"\0" + row_key(number)]
            changes[TABLE.encode() + b"\0" + row_key(number)] = None
        if changes:
            total_key = OTHER_TABLE.encode() + b"\0" + row_key(1)
            self._rows[total_key] = encode([1, header.height])
            changes[total_key] = sha256(self._rows[total_key])
        update = self._tree.update(changes)
        for key, value in update.writes.items():
            if value is None:
                self._nodes.pop(key, None)
            else:
                self._nodes[key] = value
        self._tree.commit(update)
        self._edge, tiles = merkle_log.extend(self._edge, [merkle_log.leaf_hash(item) for item in entries])
        self._tiles.update(tiles)
        self._roots.append(Roots(update.root, self._edge.root(), self._edge.size))
        return header.height

    def trust(self) -> Trust:
        """The trust anchor that this network would publish at genesis."""
        return Trust(self.network, (TrustedSet(validator_set(self.genesis_powers)),))

    def transactions(self) -> list[bytes]:
        return list(self._receipts)

    # EvidenceSource

    @property
    def network(self) -> str:
        return self.chain.network

    @property
    def height(self) -> int:
        return len(self.chain.headers)

    @property
    def state_height(self) -> int:
        return self.height

    def header(self, height: int) -> comet.Header | None:
        return self.chain.header(height) if 1 <= height <= self.height else None

    def commit(self, height: int) -> comet.Commit | None:
        return self.chain.commit(height) if 1 <= height <= self.height else None

    def validators(self, height: int) -> comet.ValidatorSet:
        return self.chain.validators(height)

    def handover_heights(self, height: int) -> Sequence[int]:
        return [handover for handover in self._handovers if handover < height]

    def roots(self, height: int) -> Roots:
        return self._roots[height]

    def place(self, transaction: bytes) -> ReceiptPlace | None:
        found = self._receipts.get(transaction)
        return None if found is None else found[0]

    def receipt(self, place: ReceiptPlace) -> bytes:
        return next(receipt for found, receipt, _ in self._receipts.values() if found == place)

    def envelope(self, place: ReceiptPlace) -> bytes | None:
        return next(envelope for found, _, envelope in self._receipts.values() if found == place)

    def row(self, table: str, key: bytes) -> bytes | None:
        return self._rows.get(table.encode() + b"\0" + key)

    def rows(self, table: str, start: bytes, end: bytes | None) -> Sequence[tuple[bytes, bytes]]:
        prefix = table.encode() + b"\0"
        found = sorted((key[len(prefix) :], row) for key, row in self._rows.items() if key.startswith(prefix))
        return [(key, row) for key, row in found if start <= key and (end is None or key < end)]

    def log(self) -> merkle_log.LogReader:
        return merkle_log.LogReader(self._tiles.get, self._edge.size)

    def tree(self) -> state_tree.TreeReader:
        return state_tree.TreeReader(self._nodes.get, lambda key: sha256(self._rows[key]))


def transaction_of(envelope: bytes) -> bytes:
    """The id of the transaction in an envelope that `signed_envelope` has made."""
    body, _ = decode(envelope, tuple[bytes, bytes])
    return tagged("transaction", body)


def busy_ledger(powers: Mapping[int, int] | None = None) -> SimulatedLedger:
    """Nine blocks, the first and the last empty: 42 lots, of which one is taken away again."""
    ledger = SimulatedLedger(powers)
    ledger.add_block()
    for first in range(0, 42, 7):
        ledger.add_block(range(first, first + 7))
    ledger.add_block(deletes=[20])
    ledger.add_block()
    return ledger
