"""What a block may carry: the one judgement by which a proposer makes a block and everybody else accepts it.

A proposal is judged against committed state, the block's own height and time, and the parameters on the ledger: never
against a clock or a node's configuration, and never against what earlier transactions of the same block will do. So
whoever has the same state judges alike, and a block that ``prepared`` made is one that ``acceptable`` accepts.

What the judgement asks of each transaction: it can be read, is of this network and its limits, may still be in this
block, was never in one, is not twice in this one, is signed by a party that may act, and the block has room for it.
Applying a block asks the same again, since a block can be decided that this node was never asked about.
"""

from collections.abc import Iterable, Sequence
from threading import Lock
from typing import NamedTuple

from guildbook.chain.bundle import decode_bundle, encode_bundle
from guildbook.chain.transaction import Transaction, decode_transaction
from guildbook.chain.transition import admit
from guildbook.engine.signatures import SignatureChecker
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.identity import Identities, Refusal
from guildbook.runtime.parameters import Parameters
from guildbook.state import layout
from guildbook.state.kv import Reader
from guildbook.state.overlay import Overlay, RowCache

ENVELOPE_ROOM_BYTES = 8
"""What an envelope takes in a bundle beside its own bytes, at most."""
BUNDLE_ROOM_BYTES = 16
"""What a bundle takes in a block beside its envelopes, at most."""
CHECKED_SIZE_BYTES_MAX = 128 << 20


class CheckedTransactions:
    """Envelopes whose form and signature were found good, so that neither is checked twice. Safe in any thread.

    The oldest leave first when their bytes are more than ``size_bytes_max``.
    """

    def __init__(self, size_bytes_max: int = CHECKED_SIZE_BYTES_MAX) -> None:
        self._known: dict[bytes, Transaction] = {}
        self._size = 0
        self._size_max = size_bytes_max
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, envelope: bytes) -> Transaction | None:
        """The transaction in ``envelope``, where it was checked."""
        return self._known.get(envelope)

    def put(self, found: Iterable[tuple[bytes, Transaction]]) -> None:
        """Note checked envelopes."""
        with self._lock:
            for envelope, transaction in found:
                if envelope not in self._known:
                    self._known[envelope] = transaction
                    self._size += len(envelope)
            while self._size > self._size_max:
                oldest = next(iter(self._known))
                del self._known[oldest]
                self._size -= len(oldest)

    def forget(self, envelopes: Iterable[bytes]) -> None:
        """Drop envelopes that are in a committed block."""
        with self._lock:
            for envelope in envelopes:
                if self._known.pop(envelope, None) is not None:
                    self._size -= len(envelope)


class Read(NamedTuple):
    """A bundle as read: its envelopes, and for each its transaction, or the code of why it can be none.

    ``envelopes`` is None where the bytes are no bundle at all.
    """

    envelopes: list[bytes] | None
    transactions: list[Transaction | str]


class Basis(NamedTuple):
    """What a block is judged on: committed state, and the block's height and time (milliseconds)."""

    network: str
    reader: Reader
    cache: RowCache | None
    parameters: Parameters
    height: int
    now: int


def read_bundles(
    bundles: Sequence[bytes], checked: CheckedTransactions, signatures: SignatureChecker
) -> list[Read]:
    """The bundles, read; form and signature of what is not in ``checked`` are checked, and noted when good."""
    found: list[Read] = []
    unchecked: list[tuple[list[Transaction | str], int, bytes, Transaction]] = []
    for bundle in bundles:
        try:
            envelopes = decode_bundle(bundle)
        except GuildbookError:
            found.append(Read(None, []))
            continue
        transactions: list[Transaction | str] = []
        for place, envelope in enumerate(envelopes):
            transaction = checked.get(envelope)
            if transaction is not None:
                transactions.append(transaction)
                continue
            try:
                transaction = decode_transaction(envelope)
            except GuildbookError as error:
                transactions.append(error.code)
                continue
            transactions.append(transaction)
            unchecked.append((transactions, place, envelope, transaction))
        found.append(Read(envelopes, transactions))
    if unchecked:
        verdicts = signatures.submit([one for _list, _place, _envelope, one in unchecked]).result()
        checked.put(
            (envelope, one)
            for (_list, _place, envelope, one), good in zip(unchecked, verdicts, strict=True)
            if good
        )
        for (transactions, place, _envelope, _one), good in zip(unchecked, verdicts, strict=True):
            if not good:
                transactions[place] = "transaction.bad_signature"
    return found


def judge(basis: Basis, read: Sequence[Read], size_bytes_max: int | None = None) -> list[list[str]]:
    """For each envelope of each bundle, in order: "" when the block may carry it, else the code of why not.

    ``size_bytes_max`` bounds the block further than the parameters do. A bundle that cannot be read has no codes.
    """
    parameters = basis.parameters
    size_max = parameters.block_size_bytes_max if size_bytes_max is None else size_bytes_max
    size_max = min(size_max, parameters.block_size_bytes_max)
    ids = [one.id for bundle in read for one in bundle.transactions if not isinstance(one, str)]
    stored = basis.reader.get_many([layout.TRANSACTIONS + one for one in ids])
    used = {one for one, location in zip(ids, stored, strict=True) if location is not None}
    identities = Identities(Overlay(basis.reader, basis.cache), basis.now)
    senders: dict[bytes, str] = {}
    count = size = 0
    verdicts: list[list[str]] = []
    for bundle in read:
        codes: list[str] = []
        room = BUNDLE_ROOM_BYTES
        for transaction in bundle.transactions:
            if isinstance(transaction, str):
                codes.append(transaction)
                continue
            code = _refusal(basis, transaction, used, identities, senders)
            needed = transaction.size_bytes + ENVELOPE_ROOM_BYTES + room
            if not code and (count >= parameters.block_transactions_max or size + needed > size_max):
                code = "block.too_large"
            if not code:
                used.add(transaction.id)
                count += 1
                size += needed
                room = 0
            codes.append(code)
        verdicts.append(codes)
    return verdicts


def _refusal(
    basis: Basis,
    transaction: Transaction,
    used: set[bytes],
    identities: Identities,
    senders: dict[bytes, str],
) -> str:
    refused = admit(transaction, basis.network, basis.height, basis.parameters)
    if refused is not None:
        return refused.code
    if transaction.id in used:
        return "transaction.duplicate"
    key = transaction.body.key
    code = senders.get(key)
    if code is None:
        sender = identities.sender(key)
        code = senders[key] = sender.code if isinstance(sender, Refusal) else ""
    return code


def prepared(basis: Basis, bundles: Sequence[bytes], read: Sequence[Read], size_bytes_max: int) -> list[bytes]:
    """The bundles of a block made from ``bundles``: each as it is where all of it is good, else what is good of it."""
    chosen: list[bytes] = []
    for bundle, one, codes in zip(bundles, read, judge(basis, read, size_bytes_max), strict=True):
        if not one.envelopes or all(codes):
            continue
        if any(codes):
            good = [envelope for envelope, code in zip(one.envelopes, codes, strict=True) if not code]
            chosen.append(encode_bundle(good))
        else:
            chosen.append(bundle)
    return chosen


def acceptable(basis: Basis, read: Sequence[Read]) -> str:
    """Why a proposed block is refused, as a code; "" when it is accepted."""
    if any(not one.envelopes for one in read):
        return "block.malformed"
    return next((code for codes in judge(basis, read) for code in codes if code), "")
