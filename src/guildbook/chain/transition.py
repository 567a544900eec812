"""The state transition: a block and the state before it give receipts, a new state, and its hash.

``apply_block`` depends on its arguments alone. It writes nothing: what it returns is committed by the ledger in one
batch, or dropped. The order of work is the protocol: release changes, then each transaction in order, then the
misbehaviour that the engine reports, then roots.

A transaction is judged in this order: form, version and network, validity in height, id not used before, signature,
signer active, then its calls. A failure before the calls makes it invalid: it should not have been proposed, takes no
effect and does not use up its id.
"""

import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import msgspec

from guildbook.chain.bundle import decode_bundle
from guildbook.chain.changes import BlockChanges, RowChange, TransactionSummary
from guildbook.chain.head import Roots, application_hash
from guildbook.chain.misbehaviour import Misbehaviour
from guildbook.chain.receipt import Location, Outcome, Receipt
from guildbook.chain.state import State
from guildbook.chain.transaction import Transaction, decode_transaction, signature_holds
from guildbook.chain.validators import Updates, validator_updates
from guildbook.contract.contract import Sender
from guildbook.primitives.cometbft import ExecTxResult, results_hash
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.primitives.log_entry import entry_of
from guildbook.primitives.merkle_log import LogEdge, extend, leaf_hash
from guildbook.primitives.merkle_log import root as merkle_root
from guildbook.primitives.state_tree import TreeUpdate
from guildbook.runtime.call import Applied, Execution, Fault, Refused
from guildbook.runtime.freezes import freezes_in_force
from guildbook.runtime.identity import Refusal
from guildbook.runtime.parameters import Parameters, parameters_in_force
from guildbook.runtime.registry import Registry
from guildbook.runtime.releases import RELEASES, Release, active_releases, source_text
from guildbook.state import layout
from guildbook.state.overlay import Overlay, RowDifference
from guildbook.state.schema import IndexSchema, TableSchema

NANOSECONDS_PER_MILLISECOND = 1_000_000
MALFORMED_BUNDLE_CODE = 1

_encode = msgspec.msgpack.Encoder().encode
_NO_SENDER = Sender("", "", b"")


class BlockInput(NamedTuple):
    """What the engine decided: height (1 up), time in nanoseconds since 1970, the bundles in order, and which
    validators are proven to have misbehaved.
    """

    height: int
    time_ns: int
    bundles: Sequence[bytes]
    misbehaviour: Sequence[Misbehaviour] = ()


class BlockResult(NamedTuple):
    """What a block does, not yet committed. ``writes`` are all pairs to store but those of the engine.

    ``validator_updates`` are what it changes in the set that signs block ``height`` + 2.
    """

    height: int
    time_ns: int
    receipts: list[bytes]
    changes: bytes
    state_root: bytes
    edge: LogEdge
    app_hash: bytes
    results: Sequence[ExecTxResult]
    results_hash: bytes
    writes: list[tuple[bytes, bytes | None]]
    differences: list[RowDifference]
    groups: set[bytes]
    tree_update: TreeUpdate
    faults: list[Fault]
    validator_updates: Updates


class _Done(NamedTuple):
    """One transaction's receipt and who sent it."""

    receipt: Receipt
    sender: Sender
    calls: list[list[str]]


def apply_block(
    state: State, block: BlockInput, registry: Registry, checked: Mapping[bytes, Transaction] | None = None
) -> BlockResult:
    """Run ``block`` on ``state``.

    ``checked`` maps envelopes to transactions whose form and signature were already found good; it saves work and
    changes nothing. Raises GuildbookError ``block.wrong_height``; AssertionError halts the node.
    """
    earliest_ns = state.head.time_ns + (1 if state.head.height else 0)  # the first block may have genesis' time
    if block.height != state.head.height + 1 or block.time_ns < earliest_ns:
        raise GuildbookError(
            "block.wrong_height",
            f"block {block.height} does not follow {state.head.height}",
            hint="the engine and the store are of different ledgers",
            height=block.height,
            expected=state.head.height + 1,
        )
    overlay = Overlay(state.reader, state.cache, state.groups)
    execution = begin_block(overlay, state.network, block.height, block.time_ns, registry)
    judge = _Judge(state, execution, block.height, checked or {})
    results = []
    for bundle in block.bundles:
        try:
            envelopes = decode_bundle(bundle)
        except GuildbookError:
            results.append(ExecTxResult(MALFORMED_BUNDLE_CODE, b""))
            continue
        first = len(judge.done)
        judge.judge(envelopes)
        results.append(ExecTxResult(0, merkle_root([leaf_hash(one) for one in judge.entries[first:]])))
    for number, report in enumerate(block.misbehaviour):
        judge.record(number, report)
    return finish_block(
        state, block.height, block.time_ns, execution, judge.done, judge.receipts, judge.entries, results
    )


def begin_block(
    overlay: Overlay, network: str, height: int, time_ns: int, registry: Registry, *, migrate: bool = True
) -> Execution:
    """The execution of a block: its releases are looked up, and those which begin at this height migrate.

    A release whose migration fails is withdrawn, and the one before it goes on: it must not stop every node at one
    height. Without ``migrate`` the execution is for reading only.
    """
    mark = overlay.begin(1 << 62)
    failed: list[Release] = []
    faults: list[Fault] = []
    while True:
        overlay.rollback(mark)
        for release in failed:
            overlay.write(RELEASES, RELEASES.key_of(release), None)
        releases = active_releases(overlay, height, registry)
        earlier = active_releases(overlay, height - 1, registry) if height > 1 and migrate else releases
        if {name: one.source for name, one in releases.items()} != {
            name: one.source for name, one in earlier.items()
        }:
            overlay.forget()
        active = {
            name: registry.resolve(one.source, partial(source_text, overlay, one.source))
            for name, one in releases.items()
        }
        now = time_ns // NANOSECONDS_PER_MILLISECOND
        execution = Execution(
            overlay, active, network, height, now, parameters_in_force(overlay), freezes_in_force(overlay, now)
        )
        broken = _migrate(execution, releases, earlier, faults)
        if broken is None:
            _reindex(overlay, execution, releases, earlier, registry)
            execution.faults.extend(faults)
            return execution
        failed.append(broken)


def _migrate(
    execution: Execution, releases: dict[str, Release], earlier: dict[str, Release], faults: list[Fault]
) -> Release | None:
    """Run the migrations of the releases that begin; returns the first that failed, with its fault noted."""
    for name, release in releases.items():
        before = earlier.get(name)
        if before is None or before.version == release.version:
            continue
        contract = execution.contract(name)
        method = type(contract).migrations.get(before.version)
        if method is None:
            continue
        try:
            getattr(contract, method)()
        except (MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001 - whatever its author did wrong, the release does not begin
            faults.append(Fault(b"", name, method, traceback.format_exc()))
            return release
    return None


def _reindex(
    overlay: Overlay,
    execution: Execution,
    releases: dict[str, Release],
    earlier: dict[str, Release],
    registry: Registry,
) -> None:
    """Make the entries of orders that a release declares anew, and remove those of orders that it gives up.

    So what the indexes hold follows from the rows and the releases in force, whatever was declared before.
    """
    for name, release in releases.items():
        before = earlier.get(name)
        if before is None or before.source == release.source:
            continue
        old = registry.resolve(before.source, partial(source_text, overlay, before.source)).contract
        old_orders = {table: _orders(spec.schema) for table, spec in old.tables.items()}
        for table, spec in execution.active[name].contract.tables.items():
            held, declared = old_orders.pop(table, {}), _orders(spec.schema)
            for form, index in held.items():
                if form not in declared:
                    overlay.drop_index(index)
            for form, index in declared.items():
                if form not in held:
                    overlay.build_index(spec.schema, index)
        for held in old_orders.values():
            for index in held.values():
                overlay.drop_index(index)


def _orders(schema: TableSchema) -> dict[tuple[object, ...], IndexSchema]:
    """The orders of a table by all that decides their keys: fields with their kinds."""
    kinds = {one.name: (one.name, one.kind, one.optional) for one in schema.fields}
    return {tuple(kinds[name] for name in index.order): index for index in schema.indexes}


class _Judge:
    """Judges the transactions of one block in order."""

    def __init__(
        self, state: State, execution: Execution, height: int, checked: Mapping[bytes, Transaction]
    ) -> None:
        self.done: list[_Done] = []
        self.receipts: list[bytes] = []
        self.entries: list[bytes] = []
        self._state = state
        self._execution = execution
        self._height = height
        self._checked = checked
        self._used: set[bytes] = set()

    def judge(self, envelopes: Sequence[bytes]) -> None:
        """Run the envelopes of a bundle in order and note their receipts."""
        read: list[tuple[bytes, Transaction | None, str]] = []
        for envelope in envelopes:
            transaction, code = self._checked.get(envelope), ""
            if transaction is None:
                try:
                    transaction = decode_transaction(envelope)
                except GuildbookError as error:
                    code = error.code
            read.append((envelope, transaction, code))
        ids = [transaction.id for _envelope, transaction, _code in read if transaction is not None]
        stored = self._state.reader.get_many([layout.TRANSACTIONS + one for one in ids])
        self._used.update(one for one, location in zip(ids, stored, strict=True) if location is not None)
        for envelope, transaction, code in read:
            if transaction is None:
                malformed = tagged("malformed", envelope)
                self._note(malformed, Outcome.INVALID, Refused(code, []), _NO_SENDER, [])
            else:
                self._judge(transaction, good_signature=envelope in self._checked)

    def _judge(self, transaction: Transaction, *, good_signature: bool) -> None:
        body = transaction.body
        calls = [[call.contract, call.command] for call in body.calls]
        refusal = admit(transaction, self._state.network, self._height, self._execution.parameters)
        if refusal is None and transaction.id in self._used:
            refusal = Refused("transaction.duplicate", [])
        if refusal is None and not good_signature and not signature_holds(transaction):
            refusal = Refused("transaction.bad_signature", [])
        if refusal is not None:
            self._note(transaction.id, Outcome.INVALID, refusal, _NO_SENDER, calls)
            return
        sender = self._execution.identities.sender(body.key)
        if isinstance(sender, Refusal):
            self._note(
                transaction.id, Outcome.INVALID, Refused(sender.code, [*sender.fields]), _NO_SENDER, calls
            )
            return
        self._used.add(transaction.id)
        outcome = self._execution.run(transaction.id, sender, body.calls)
        self._note(
            transaction.id,
            Outcome.APPLIED if isinstance(outcome, Applied) else Outcome.REJECTED,
            outcome,
            sender,
            calls,
        )

    def record(self, number: int, report: Misbehaviour) -> None:
        """Let governance record a report of the engine, in a receipt of its own that no party has sent.

        A release of governance that cannot record it is a mistake of its author, and must not stop every node.
        """
        execution = self._execution
        context = execution.context
        context.sender, context.transaction_id, context.caller, context.events = _NO_SENDER, b"", "", []
        id_ = tagged("misbehaviour", _encode([self._height, number, report]))
        mark = execution.overlay.begin(1 << 62)
        outcome: Applied | Refused = Applied([], context.events)
        try:
            execution.contract("governance").record_misbehaviour(  # type: ignore[attr-defined]
                number,
                report.kind,
                report.address,
                report.power,
                report.height,
                report.time_ns // NANOSECONDS_PER_MILLISECOND,
                report.total_power,
            )
        except (AssertionError, MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001 - whatever its author did wrong, the block goes on
            execution.overlay.rollback(mark)
            where = ("governance", "record_misbehaviour")
            execution.faults.append(Fault(id_, *where, traceback.format_exc()))
            outcome = Refused("call.contract_fault", [["contract", where[0]], ["command", where[1]]])
        kind = Outcome.APPLIED if isinstance(outcome, Applied) else Outcome.REJECTED
        self._note(id_, kind, outcome, _NO_SENDER, [])

    def _note(
        self,
        transaction: bytes,
        kind: Outcome,
        outcome: Applied | Refused,
        sender: Sender,
        calls: list[list[str]],
    ) -> None:
        index = len(self.done)
        if isinstance(outcome, Applied):
            receipt = Receipt(
                transaction, self._height, index, int(kind), "", [], outcome.results, outcome.events
            )
        else:
            receipt = Receipt(
                transaction, self._height, index, int(kind), outcome.code, outcome.fields, [], []
            )
        self.done.append(_Done(receipt, sender, calls))
        data = _encode(receipt)
        self.receipts.append(data)
        self.entries.append(entry_of(data, transaction, self._height, index, int(kind)))


def admit(transaction: Transaction, network: str, height: int, parameters: Parameters) -> Refused | None:
    """Why ``transaction`` may not be in a block of ``height`` of ``network``, from its body alone; None when it may."""
    body = transaction.body
    if body.network != network:
        return Refused("transaction.wrong_network", [])
    if transaction.size_bytes > parameters.transaction_size_bytes_max:
        return Refused(
            "transaction.too_large",
            [["size_bytes", transaction.size_bytes], ["most", parameters.transaction_size_bytes_max]],
        )
    if body.valid_until < height:
        return Refused("transaction.expired", [["valid_until", body.valid_until], ["height", height]])
    if body.valid_until > height + parameters.validity_blocks_max:
        return Refused(
            "transaction.valid_too_far",
            [["valid_until", body.valid_until], ["most", height + parameters.validity_blocks_max]],
        )
    return None


def finish_block(
    state: State,
    height: int,
    time_ns: int,
    execution: Execution,
    done: Sequence[_Done],
    receipts: list[bytes],
    entries: list[bytes],
    results: Sequence[ExecTxResult],
) -> BlockResult:
    """Turn the overlay and the receipts into roots and the pairs to store."""
    writes: list[tuple[bytes, bytes | None]] = []
    rows: list[RowChange] = []
    leaves: dict[bytes, bytes | None] = {}
    differences = execution.overlay.differences()
    for difference in differences:
        encode = difference.schema.encode
        after = difference.data
        before = encode(difference.before) if difference.before is not None else None
        key = difference.key
        writes.append((key, after))
        leaves[key[1:]] = sha256(after).digest() if after is not None else None
        name = difference.schema.name
        rows.append(RowChange(name, key[len(name) + 2 :], before, after))
    writes.extend(execution.overlay.index_writes())
    update = state.tree.update(leaves)
    writes.extend((layout.TREE + path, node) for path, node in update.writes.items())
    edge, tiles = extend(state.edge, [leaf_hash(entry) for entry in entries])
    writes.extend((layout.LOG + tile, hashes) for tile, hashes in tiles.items())
    first = state.edge.size
    if entries:
        writes.append((layout.height_key(layout.ENTRIES, first), b"".join(entries)))
    for index, one in enumerate(done):
        if one.receipt.outcome != Outcome.INVALID:
            writes.append(
                (
                    layout.TRANSACTIONS + one.receipt.transaction,
                    _encode(Location(height, index, first + index)),
                )
            )
    summaries = [
        TransactionSummary(one.receipt.transaction, one.sender.party, one.sender.organisation, one.calls)
        for one in done
    ]
    changes = _encode(BlockChanges(height, time_ns // NANOSECONDS_PER_MILLISECOND, rows, receipts, summaries))
    writes.append((layout.height_key(layout.CHANGES, height), changes))
    log_root = edge.root()
    writes.append((layout.height_key(layout.ROOTS, height), _encode(Roots(update.root, log_root, edge.size))))
    return BlockResult(
        height,
        time_ns,
        receipts,
        changes,
        update.root,
        edge,
        application_hash(update.root, log_root, edge.size),
        results,
        results_hash(results),
        writes,
        differences,
        execution.overlay.changed_groups(),
        update,
        execution.faults,
        validator_updates(differences) if height else (),
    )
