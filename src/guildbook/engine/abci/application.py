"""The protocol mapping: what CometBFT asks over ABCI 2.0, answered from one ledger. No sockets, no threads.

Course. ``Info`` tells the last committed height; ``InitChain`` is asked until the first block is committed. Then comes
for each height any number of ``PrepareProposal`` and ``ProcessProposal``, ``FinalizeBlock`` for the block that was
decided, and ``Commit``. After a crash of either side the engine asks ``Info`` and sends what is missing again, so a
block may be finalized twice, or without ever having been proposed here. CometBFT v0.38 and v0.39, spec/abci.

Laws. Nothing is stored before ``Commit``, and ``Commit`` stores all of a block in one write. What is answered about
blocks depends on the request and committed state alone. Of a bundle's result the code and the data are hashed by
everybody, so both are fixed: 0 and the Merkle root over its receipts, or ``MALFORMED_BUNDLE_CODE`` and nothing.

Lanes. Requests about blocks run one after another (``Lane.BLOCKS``). ``CheckTx`` and the questions read what is
committed and wait for no block: before ``Commit`` the engine waits until every ``CheckTx`` is answered.
"""

import enum
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from guildbook.chain.bundle import decode_bundle
from guildbook.chain.keeping import NO_PARTS, Decided
from guildbook.chain.ledger import Ledger, View
from guildbook.chain.misbehaviour import Misbehaviour
from guildbook.chain.transition import BlockResult
from guildbook.engine.abci import messages_pb2 as pb
from guildbook.engine.abci.proposal import (
    Basis,
    CheckedTransactions,
    Read,
    acceptable,
    judge,
    prepared,
    read_bundles,
)
from guildbook.engine.crash import CrashPoints
from guildbook.engine.desk import StageTimes
from guildbook.engine.signatures import SignatureChecker
from guildbook.primitives.cometbft import BlockID, Validator, ValidatorSet
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import ED25519
from guildbook.runtime.parameters import Parameters, parameters_in_force
from guildbook.state import layout
from guildbook.state.overlay import Overlay

NANOSECONDS_PER_SECOND = 1_000_000_000
NANOSECONDS_PER_MILLISECOND = 1_000_000
APP_VERSION = 0
"""Which rules blocks are run by, as headers state it; releases on the ledger change contracts, not this."""
CHECK_OK = 0
CHECK_MALFORMED = 1
CHECK_REFUSED = 2
CHECK_FAILED = 3
QUERY_OK = 0
QUERY_UNKNOWN_PATH = 1
QUERY_NOT_FOUND = 2
QUERY_FAILED = 3

_log = logging.getLogger("guildbook.engine")


class Lane(enum.Enum):
    """Where a request runs; those of one lane run one after another."""

    BLOCKS = "blocks"
    MEMPOOL = "mempool"
    QUESTIONS = "questions"


LANES = {
    "init_chain": Lane.BLOCKS,
    "prepare_proposal": Lane.BLOCKS,
    "process_proposal": Lane.BLOCKS,
    "extend_vote": Lane.BLOCKS,
    "verify_vote_extension": Lane.BLOCKS,
    "finalize_block": Lane.BLOCKS,
    "commit": Lane.BLOCKS,
    "offer_snapshot": Lane.BLOCKS,
    "apply_snapshot_chunk": Lane.BLOCKS,
    "check_tx": Lane.MEMPOOL,
    "info": Lane.QUESTIONS,
    "query": Lane.QUESTIONS,
    "list_snapshots": Lane.QUESTIONS,
    "load_snapshot_chunk": Lane.QUESTIONS,
}
"""The lane of each request; ``echo`` and ``flush`` need none."""


class Halted(Exception):
    """The application cannot go on; ``cause`` is why. The engine is told, and stops itself."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class OfferedSnapshot(NamedTuple):
    """A snapshot as nodes name it to each other; ``hash`` is equal only where all of it is."""

    height: int
    format: int
    chunks: int
    hash: bytes
    metadata: bytes


class ChunkAnswer(NamedTuple):
    """What became of a chunk: a number of ``ResponseApplySnapshotChunk.Result``, chunks to fetch again, and senders
    to refuse.
    """

    result: int
    refetch: Sequence[int] = ()
    reject_senders: Sequence[str] = ()


class Snapshots(Protocol):
    """Snapshots of the ledger, to give and to begin with."""

    def available(self) -> Sequence[OfferedSnapshot]:
        """Those that this node has."""

    def chunk(self, height: int, form: int, index: int) -> bytes:
        """One chunk; empty where there is none."""

    def offer(self, snapshot: OfferedSnapshot, app_hash: bytes) -> int:
        """A peer offers a snapshot whose state has ``app_hash``: a number of ``ResponseOfferSnapshot.Result``."""

    def apply(self, index: int, chunk: bytes, sender: str) -> ChunkAnswer:
        """A chunk of the snapshot that was taken; after the last one the ledger is at its height."""


class NoSnapshots:
    """A node that neither gives snapshots nor begins with one."""

    def available(self) -> Sequence[OfferedSnapshot]:
        """See Snapshots."""
        return ()

    def chunk(self, height: int, form: int, index: int) -> bytes:  # noqa: ARG002 - the protocol's signature
        """See Snapshots."""
        return b""

    def offer(self, snapshot: OfferedSnapshot, app_hash: bytes) -> int:  # noqa: ARG002 - the protocol's signature
        """See Snapshots."""
        return int(pb.ResponseOfferSnapshot.ABORT)

    def apply(self, index: int, chunk: bytes, sender: str) -> ChunkAnswer:  # noqa: ARG002 - the protocol's signature
        """See Snapshots."""
        return ChunkAnswer(int(pb.ResponseApplySnapshotChunk.ABORT))


class Run(NamedTuple):
    """A block that was run and is not committed."""

    decided: Decided
    result: BlockResult


class Application:
    """Answers an engine's requests from ``ledger``.

    ``handle`` of requests in ``Lane.BLOCKS`` belongs to one thread, that of the ledger; the other lanes may run in
    threads of their own. ``on_commit`` is called after each durable block, ``on_info`` when an engine connects.
    ``retain_blocks`` is how many blocks the engine is to keep in its own store (0: all); what was not fetched from it
    is never given up. ``clock`` (nanoseconds since 1970) serves checks alone, never a block.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        signatures: SignatureChecker,
        checked: CheckedTransactions | None = None,
        snapshots: Snapshots | None = None,
        retain_blocks: int = 0,
        software: str = "",
        on_commit: Callable[[Run], None] | None = None,
        on_info: Callable[[], None] | None = None,
        crash: CrashPoints | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.ledger = ledger
        self.checked = checked if checked is not None else CheckedTransactions()
        self._signatures = signatures
        self._snapshots: Snapshots = snapshots if snapshots is not None else NoSnapshots()
        self._retain_blocks = retain_blocks
        self._software = software
        self._on_commit = on_commit
        self._on_info = on_info
        self._crash = crash or CrashPoints("")
        self._clock = clock
        self.times = StageTimes()
        self._run: Run | None = None
        self._parameters: tuple[int, Parameters] = (-1, Parameters())
        self._handlers: dict[str, Callable[[Any], dict[str, Any]]] = {
            "echo": lambda request: {"echo": pb.ResponseEcho(message=request.message)},
            "flush": lambda _request: {"flush": pb.ResponseFlush()},
            "info": self._info,
            "init_chain": self._init_chain,
            "check_tx": self._check_tx,
            "prepare_proposal": self._prepare_proposal,
            "process_proposal": self._process_proposal,
            "extend_vote": lambda _request: {"extend_vote": pb.ResponseExtendVote()},
            "verify_vote_extension": self._verify_vote_extension,
            "finalize_block": self._finalize_block,
            "commit": self._commit,
            "query": self._query,
            "list_snapshots": self._list_snapshots,
            "load_snapshot_chunk": self._load_snapshot_chunk,
            "offer_snapshot": self._offer_snapshot,
            "apply_snapshot_chunk": self._apply_snapshot_chunk,
        }

    def handle(self, request: pb.Request) -> pb.Response:
        """The answer to ``request``. Raises Halted when the node cannot go on.

        A fault in answering a question, a check or a proposal costs that answer alone: the check is refused, the
        proposal empty or not accepted. A broken law, and a block that cannot be run or stored, halts.
        """
        kind = request.WhichOneof("value")
        if kind is None:
            return pb.Response(exception=pb.ResponseException(error="the request is of an unknown kind"))
        try:
            return pb.Response(**self._handlers[kind](getattr(request, kind)))
        except Exception as error:  # the protocol's rim: either the answer or the node bears it
            replacement = _REPLACEMENTS.get(kind)
            if replacement is None or isinstance(error, AssertionError | MemoryError):
                raise Halted(error) from error
            _log.error("the engine's request %s could not be answered: %s", kind, error, exc_info=error)
            return pb.Response(**replacement())

    # the chain's beginning -------------------------------------------------------------------------------------

    def _info(self, _request: pb.RequestInfo) -> dict[str, Any]:
        if self._on_info is not None:
            self._on_info()
        head = self.ledger.head
        return {
            "info": pb.ResponseInfo(
                data="guildbook",
                version=self._software,
                app_version=APP_VERSION,
                last_block_height=head.height,
                last_block_app_hash=head.app_hash if head.height else b"",
            )
        }

    def _init_chain(self, request: pb.RequestInitChain) -> dict[str, Any]:
        genesis = self.ledger.genesis
        try:
            stated = msgspec.json.decode(request.app_state_bytes, type=_AppState).genesis_hash
        except msgspec.DecodeError:
            stated = "none"
        validators = ValidatorSet.of(
            Validator(bytes([ED25519]) + one.pub_key.ed25519, one.power) for one in request.validators
        )
        for what, found, expected in (
            ("genesis hash", stated, genesis.hash.hex()),
            ("network", request.chain_id, genesis.network),
            ("validators", _keys(validators), _keys(genesis.validator_set)),
            ("first height", max(request.initial_height, 1), 1),
            ("votes' extensions from height", request.consensus_params.abci.vote_extensions_enable_height, 0),
        ):
            if found != expected:
                raise GuildbookError(
                    "genesis.mismatch",
                    f"the engine's genesis states {what} {found}, and the ledger's {expected}",
                    hint="make the engine's genesis from the ledger's own, and compare both with other members",
                )
        assert self.ledger.head.height == 0, f"InitChain at height {self.ledger.head.height}"
        return {"init_chain": pb.ResponseInitChain(app_hash=self.ledger.head.app_hash)}

    # the mempool -----------------------------------------------------------------------------------------------

    def parameters(self, view: View) -> Parameters:
        """The parameters in force after the last block of ``view``."""
        height, parameters = self._parameters
        if height != view.head.height:
            parameters = parameters_in_force(Overlay(view.reader))
            self._parameters = (view.head.height, parameters)
        return parameters

    def _check_tx(self, request: pb.RequestCheckTx) -> dict[str, Any]:
        """Whether a bundle may wait here: something in it is new, and nothing in it is ill made.

        What is asked again after a block was good once; then it is looked up whether anything is left of it.
        """
        view = self.ledger.view()
        head = view.head
        if request.type == pb.RequestCheckTx.RECHECK:
            known = [self.checked.get(one) for one in _envelopes(request.tx)]
            if all(known) and known:
                stored = view.reader.get_many([layout.TRANSACTIONS + one.id for one in known if one])
                left = [
                    one
                    for one, location in zip(known, stored, strict=True)
                    if one and location is None and one.body.valid_until > head.height
                ]
                return _checked(CHECK_OK if left else CHECK_REFUSED, "" if left else "nothing is left of it")
        (read,) = read_bundles([request.tx], self.checked, self._signatures)
        if not read.envelopes:
            return _checked(CHECK_MALFORMED, "block.malformed")
        ill = next((one for one in read.transactions if isinstance(one, str)), None)
        if ill is not None:
            return _checked(CHECK_MALFORMED, ill)
        basis = Basis(
            view.network,
            view.reader,
            None,
            self.parameters(view),
            head.height + 1,
            max(head.time_ns, self._clock()) // NANOSECONDS_PER_MILLISECOND,
        )
        reason = _first_reason(basis, read)
        return _checked(CHECK_REFUSED if reason else CHECK_OK, reason)

    # blocks ----------------------------------------------------------------------------------------------------

    def _basis(self, height: int, time_ns: int) -> Basis:
        state = self.ledger.state
        if height != state.head.height + 1:
            raise GuildbookError(
                "block.wrong_height",
                f"block {height} does not follow {state.head.height}",
                hint="the engine and the store are of different ledgers",
                height=height,
                expected=state.head.height + 1,
            )
        parameters = parameters_in_force(Overlay(state.reader, state.cache))
        now = time_ns // NANOSECONDS_PER_MILLISECOND
        return Basis(state.network, state.reader, state.cache, parameters, height, now)

    def _prepare_proposal(self, request: pb.RequestPrepareProposal) -> dict[str, Any]:
        started = time.perf_counter_ns()
        basis = self._basis(request.height, _nanoseconds(request.time))
        bundles = list(request.txs)
        read = read_bundles(bundles, self.checked, self._signatures)
        chosen = prepared(basis, bundles, read, request.max_tx_bytes)
        self.times.build += time.perf_counter_ns() - started
        return {"prepare_proposal": pb.ResponsePrepareProposal(txs=chosen)}

    def _process_proposal(self, request: pb.RequestProcessProposal) -> dict[str, Any]:
        started = time.perf_counter_ns()
        basis = self._basis(request.height, _nanoseconds(request.time))
        reason = acceptable(basis, read_bundles(list(request.txs), self.checked, self._signatures))
        if reason:
            _log.warning(
                "block %d proposed by %s is refused: %s", request.height, request.proposer_address.hex(), reason
            )
        self.times.build += time.perf_counter_ns() - started
        status = pb.ResponseProcessProposal.REJECT if reason else pb.ResponseProcessProposal.ACCEPT
        return {"process_proposal": pb.ResponseProcessProposal(status=status)}

    def _verify_vote_extension(self, request: pb.RequestVerifyVoteExtension) -> dict[str, Any]:
        verdict = pb.ResponseVerifyVoteExtension
        status = verdict.REJECT if request.vote_extension else verdict.ACCEPT
        return {"verify_vote_extension": verdict(status=status)}

    def _finalize_block(self, request: pb.RequestFinalizeBlock) -> dict[str, Any]:
        self._crash.passed("before_execute")
        started = time.perf_counter_ns()
        decided = Decided(
            request.height,
            _nanoseconds(request.time),
            request.hash,
            list(request.txs),
            [_misbehaviour(one) for one in request.misbehavior],
        )
        read = read_bundles(decided.bundles, self.checked, self._signatures)
        checked = {
            envelope: transaction
            for one in read
            for envelope, transaction in zip(one.envelopes or (), one.transactions, strict=True)
            if not isinstance(transaction, str)
        }
        result = self.ledger.apply(decided.input, checked)
        assert len(result.results) == len(decided.bundles), "a result for each bundle"
        self._run = Run(decided, result)
        self.times.execute += time.perf_counter_ns() - started
        return {
            "finalize_block": pb.ResponseFinalizeBlock(
                tx_results=[pb.ExecTxResult(code=one.code, data=one.data) for one in result.results],
                validator_updates=[
                    pb.ValidatorUpdate(pub_key=pb.PublicKey(ed25519=key[1:]), power=power)
                    for key, power in result.validator_updates
                ],
                app_hash=result.app_hash,
            )
        }

    def _commit(self, _request: pb.RequestCommit) -> dict[str, Any]:
        run = self._run
        assert run is not None, "Commit without FinalizeBlock"
        decided, result = run
        self._crash.passed("before_write")
        started = time.perf_counter_ns()
        self.ledger.commit(
            result,
            BlockID(decided.block_hash, NO_PARTS),
            self.ledger.head.app_hash,
            [decided.write()],
        )
        self._crash.passed("after_write")
        written = time.perf_counter_ns()
        self._run = None
        self.checked.forget(one for bundle in decided.bundles for one in _envelopes(bundle))
        if self._on_commit is not None:
            self._on_commit(run)
        self._crash.passed("before_answer")
        self.times.write += written - started
        self.times.answer += time.perf_counter_ns() - written
        self.times.blocks += 1
        self.times.transactions += len(result.receipts)
        return {"commit": pb.ResponseCommit(retain_height=self._retain_height())}

    def _retain_height(self) -> int:
        if not self._retain_blocks:
            return 0
        height = self.ledger.head.height
        first = next(iter(self.ledger.store.scan(layout.DECIDED, layout.DECIDED + b"\xff" * 9)), None)
        lowest = height if first is None else int.from_bytes(first[0][1:], "big")
        return max(0, min(height - self._retain_blocks + 1, lowest))

    # questions -------------------------------------------------------------------------------------------------

    def _query(self, request: pb.RequestQuery) -> dict[str, Any]:
        view = self.ledger.view()
        code, value = QUERY_UNKNOWN_PATH, b""
        if request.path.startswith("/p2p/filter/"):
            code = QUERY_OK
        elif request.path == "/head":
            code, value = QUERY_OK, view.head.encode()
        elif request.path == "/receipt":
            location = view.location(request.data)
            code = QUERY_NOT_FOUND if location is None else QUERY_OK
            value = b"" if location is None else view.receipt_bytes(location)
        return {"query": pb.ResponseQuery(code=code, value=value, height=view.head.height)}

    # snapshots -------------------------------------------------------------------------------------------------

    def _list_snapshots(self, _request: pb.RequestListSnapshots) -> dict[str, Any]:
        found = [pb.Snapshot(**one._asdict()) for one in self._snapshots.available()]
        return {"list_snapshots": pb.ResponseListSnapshots(snapshots=found)}

    def _load_snapshot_chunk(self, request: pb.RequestLoadSnapshotChunk) -> dict[str, Any]:
        chunk = self._snapshots.chunk(request.height, request.format, request.chunk)
        return {"load_snapshot_chunk": pb.ResponseLoadSnapshotChunk(chunk=chunk)}

    def _offer_snapshot(self, request: pb.RequestOfferSnapshot) -> dict[str, Any]:
        one = request.snapshot
        offered = OfferedSnapshot(one.height, one.format, one.chunks, one.hash, one.metadata)
        result = self._snapshots.offer(offered, request.app_hash)
        return {"offer_snapshot": pb.ResponseOfferSnapshot(result=result)}  # type: ignore[arg-type]

    def _apply_snapshot_chunk(self, request: pb.RequestApplySnapshotChunk) -> dict[str, Any]:
        answer = self._snapshots.apply(request.index, request.chunk, request.sender)
        return {
            "apply_snapshot_chunk": pb.ResponseApplySnapshotChunk(
                result=answer.result,  # type: ignore[arg-type]
                refetch_chunks=answer.refetch,
                reject_senders=answer.reject_senders,
            )
        }


class _AppState(msgspec.Struct):
    """What the engine's genesis says of ours."""

    genesis_hash: str


_REPLACEMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "check_tx": lambda: _checked(CHECK_FAILED, "the check failed"),
    "prepare_proposal": lambda: {"prepare_proposal": pb.ResponsePrepareProposal()},
    "process_proposal": lambda: {
        "process_proposal": pb.ResponseProcessProposal(status=pb.ResponseProcessProposal.REJECT)
    },
    "query": lambda: {"query": pb.ResponseQuery(code=QUERY_FAILED, log="the question could not be answered")},
    "list_snapshots": lambda: {"list_snapshots": pb.ResponseListSnapshots()},
    "load_snapshot_chunk": lambda: {"load_snapshot_chunk": pb.ResponseLoadSnapshotChunk()},
    "offer_snapshot": lambda: {"offer_snapshot": pb.ResponseOfferSnapshot(result=pb.ResponseOfferSnapshot.ABORT)},
    "apply_snapshot_chunk": lambda: {
        "apply_snapshot_chunk": pb.ResponseApplySnapshotChunk(result=pb.ResponseApplySnapshotChunk.ABORT)
    },
}
"""What is answered instead of an answer that failed. Requests that are not here halt the node when they fail."""


def _checked(code: int, reason: str) -> dict[str, Any]:
    return {"check_tx": pb.ResponseCheckTx(code=code, log=reason)}


def _first_reason(basis: Basis, read: Read) -> str:
    """"" when the next block may carry something of the bundle, else why it may not carry the first of it."""
    (codes,) = judge(basis, [read])
    return codes[0] if all(codes) else ""


def _envelopes(bundle: bytes) -> list[bytes]:
    try:
        return decode_bundle(bundle)
    except GuildbookError:
        return []


def _keys(validators: ValidatorSet) -> str:
    return ", ".join(f"{one.public_key[1:].hex()} {one.power}" for one in validators.validators)


def _nanoseconds(time: pb.Timestamp) -> int:
    return time.seconds * NANOSECONDS_PER_SECOND + time.nanos


def _misbehaviour(told: pb.Misbehavior) -> Misbehaviour:
    return Misbehaviour(
        int(told.type),
        told.validator.address,
        told.validator.power,
        told.height,
        _nanoseconds(told.time),
        told.total_voting_power,
    )
