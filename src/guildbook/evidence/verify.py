"""Verifying an evidence file: eight steps, each of which must hold, without any input but the file and the
trust anchor.

There is no network, no clock and no store here, and nothing is believed because a node said so. The steps go
from the form of the file up to the signatures and down again to the fact:

1. *form*: the file is a complete evidence file, in the one encoding it has.
2. *network*: file, trust anchor and headers name the same network.
3. *trust*: the validators who signed descend from a set that the trust anchor names, each set handing over to
the next. 4. *commit*: more than two thirds of their power signed the header of block H + 1, and no signature
is false. 5. *block*: that header names block H as the one before it, which gives H and its time.
6. *application hash*: that header commits to the state root, the log root and the log size.
7. *proof*: the fact is in the log or in the state tree with these roots.
8. *content*: the receipt is of block H; the transaction is the one it names, signed by the key it names.

A step refuses with an `EvidenceError` whose field `step` has its name. What follows from a verdict is
integrity (these bytes were agreed then, and not changed since) and origin (this key signed them). Whether
what was written is true is not a question that mathematics answers.

Source: docs/spec/evidence.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from guildbook.evidence.format import (
    AbsenceEvidence,
    Anchor,
    Evidence,
    EvidenceError,
    RangeEvidence,
    ReceiptEvidence,
    RowEvidence,
    decode_evidence,
)
from guildbook.evidence.reference_canonical import Value, decode_value
from guildbook.evidence.trust import Trust
from guildbook.primitives import cometbft as comet
from guildbook.primitives import keys, merkle_log, state_tree
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import sha256, tagged
from guildbook.primitives.log_entry import entry_of

STEPS: Final = ("form", "network", "trust", "commit", "block", "application hash", "proof", "content")
"""The names of the steps in their order."""
SIGN_PREFIX: Final = b"guildbook/sign/v1\0"
TRANSACTION_VERSION: Final = 1
OUTCOMES: Final = ("applied", "rejected", "invalid")
"""The names of the outcomes in a receipt, by their numbers."""


@dataclass(frozen=True, slots=True)
class Call:
    """One command of a transaction: contract, command and arguments, as they were signed."""

    contract: str
    command: str
    arguments: list[Value]


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """What the key `key` (algorithm byte and raw key) signed: valid until a height, with a nonce, the calls
    in order.
    """

    key: bytes
    valid_until: int
    nonce: bytes
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class ReceiptFact:
    """What became of a transaction: place in the block and in the log, outcome (0 applied, 1 rejected, 2
    invalid), the code and fields of a refusal, the results of the calls, the events; and what was signed, if
    the file shows it.
    """

    transaction: bytes
    index: int
    log_index: int
    outcome: int
    code: str
    fields: list[Value]
    results: list[Value]
    events: list[Value]
    signed: SignedTransaction | None


@dataclass(frozen=True, slots=True)
class RowFact:
    """A row of a table: the ordered primary key, the canonical bytes, and the values they hold."""

    table: str
    key: bytes
    row: bytes
    values: Value


@dataclass(frozen=True, slots=True)
class AbsenceFact:
    """That a table has no row under a key."""

    table: str
    key: bytes


@dataclass(frozen=True, slots=True)
class RangeFact:
    """All rows of a table with start <= key < end (None: to the end of the table), in key order."""

    table: str
    start: bytes
    end: bytes | None
    rows: tuple[RowFact, ...]


Fact = ReceiptFact | RowFact | AbsenceFact | RangeFact


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a file proves.

    The fact holds after block `height` (0: the genesis state) of `network`, whose time is `time_ns`
    (nanoseconds since 1970) and whose hash is `block_hash` (32 bytes; empty at height 0). The block after it
    is signed by the keys `signers`, which have `power` of `total_power`, after `handovers` changes of
    validators since the trusted set. `steps` are the names of the steps that held.
    """

    kind: str
    network: str
    height: int
    time_ns: int
    block_hash: bytes
    power: int
    total_power: int
    signers: tuple[bytes, ...]
    handovers: int
    fact: Fact
    steps: tuple[str, ...] = STEPS


@contextmanager
def _step(name: str, code: str, hint: str) -> Iterator[None]:
    """Turns any refusal inside into that of the step, with its number and name in front."""
    number = STEPS.index(name) + 1
    try:
        yield
    except GuildbookError as error:
        code = error.code if error.code.startswith("evidence.") else code
        raise EvidenceError(
            code,
            f"step {number} of {len(STEPS)} ({name}) failed: {error.message}",
            hint=error.hint if isinstance(error, EvidenceError) else hint,
            **{**error.fields, "step": name},
        ) from error


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise _refused(message)


def _refused(message: str) -> GuildbookError:
    """A refusal whose code is that of the step in which it happens."""
    return GuildbookError("evidence", message)


def verify(data: bytes, trust: Trust) -> Verdict:
    """What the file `data` proves to a reader who trusts `trust`.

    Raises `EvidenceError` with the code and the step of the first step that fails: form
    (`evidence.malformed`, `evidence.wrong_version`), network (`evidence.wrong_network`), trust
    (`evidence.untrusted`), commit (`evidence.bad_signature`), block (`evidence.wrong_block`), application
    hash (`evidence.wrong_app_hash`), proof (`evidence.log_inclusion`, `evidence.row_proof`,
    `evidence.absence_proof`, `evidence.range_proof`), content (`evidence.wrong_content`). Nothing else is
    raised, whatever the bytes.
    """
    # 1. Form.
    with _step("form", "evidence.malformed", "the file was damaged: export or fetch it again"):
        evidence = decode_evidence(data)
        anchor, subject = evidence.anchor, evidence.subject
        header = comet.decode_header(anchor.header)
        commit = comet.decode_commit(anchor.commit)
        validators = comet.decode_validator_set(anchor.validators)
        block = comet.decode_header(anchor.block) if anchor.block else None

    # 2. Network.
    with _step(
        "network", "evidence.wrong_network", "use the trust anchor that the evidence's network published"
    ):
        for place, network in (("file", evidence.network), ("header", header.chain_id)):
            _require(
                network == trust.network,
                f"the {place} is of network {network!r}, the trust anchor of {trust.network!r}",
            )

    # 3. Trust.
    with _step(
        "trust",
        "evidence.untrusted",
        "get the trust anchor from a second source, or evidence with all handovers",
    ):
        _verify_descent(evidence, header, validators, trust)

    # 4. Commit.
    with _step(
        "commit", "evidence.bad_signature", "treat the fact as unproven; ask another node for the evidence"
    ):
        comet.verify_signed_header(trust.network, comet.SignedHeader(header, commit), validators)

    # 5. Block.
    with _step(
        "block", "evidence.wrong_block", "header and block of the file are of two exports: export it again"
    ):
        height, time_ns, block_hash = _verify_block(header, block)

    # 6. Application hash.
    with _step("application hash", "evidence.wrong_app_hash", "treat the fact as unproven: export it again"):
        app_hash = tagged("app", anchor.state_root, anchor.log_root, anchor.log_size.to_bytes(8, "big"))
        _require(
            header.app_hash == app_hash,
            f"the roots make {app_hash.hex()}, the header says {header.app_hash.hex()}",
        )

    # 7. Proof.
    with _step("proof", "evidence.bad_proof", "treat the fact as unproven: export it again"):
        _verify_proof(subject, anchor)

    # 8. Content.
    with _step("content", "evidence.wrong_content", "the file was put together from two: export it again"):
        fact = _verify_content(evidence, height)

    signed = [
        (validator, vote)
        for validator, vote in zip(validators.validators, commit.signatures, strict=True)
        if vote.flag == comet.FLAG_COMMIT
    ]
    return Verdict(
        kind=subject.kind,
        network=trust.network,
        height=height,
        time_ns=time_ns,
        block_hash=block_hash,
        power=sum(validator.power for validator, _ in signed),
        total_power=validators.total_power,
        signers=tuple(validator.public_key for validator, _ in signed),
        handovers=len(anchor.handovers),
        fact=fact,
    )


def _verify_descent(
    evidence: Evidence, header: comet.Header, validators: comet.ValidatorSet, trust: Trust
) -> None:
    """The set is trusted at its height, or there is a row of handovers to it from one that was.

    At a handover, a believed set signs a header that names its successor: the rule by which a light client
    goes from one block to the next, so it needs no clock. Handovers from before the first believed set are
    checked like all others, but lend no belief.
    """
    announced: bytes | None = None
    last_height = 0
    for handover in evidence.anchor.handovers:
        signed = comet.SignedHeader(
            comet.decode_header(handover.header), comet.decode_commit(handover.commit)
        )
        members = comet.decode_validator_set(handover.validators)
        height, successor = signed.header.height, signed.header.next_validators_hash
        _require(last_height < height < header.height, f"the handover at height {height} is out of order")
        comet.verify_signed_header(trust.network, signed, members)
        _require(
            successor != signed.header.validators_hash, f"the validators do not change at height {height}"
        )
        known = signed.header.validators_hash
        announced = successor if known == announced or trust.believes(known, height) else None
        last_height = height
    found = comet.validator_set_hash(validators)
    _require(
        found == announced or trust.believes(found, header.height),
        f"validator set {found.hex()} is not trusted at height {header.height}, "
        "and no trusted set hands over to it",
    )


def _verify_block(header: comet.Header, block: comet.Header | None) -> tuple[int, int, bytes]:
    """Height, time and hash of the block before `header`; at height 0 the time is that of the first block, as
    in genesis.
    """
    if block is None:
        _require(
            header.last_block_id == comet.NO_BLOCK,
            f"the block before height {header.height} is not shown",
        )
        return header.height - 1, header.time_ns, b""
    digest = comet.header_hash(block)
    _require(
        header.last_block_id.hash == digest,
        f"the header names {header.last_block_id.hash.hex()} as the block before it, not {digest.hex()}",
    )
    _require(block.height == header.height - 1, f"block {block.height} is not the one before {header.height}")
    return block.height, block.time_ns, digest


def _tree_key(table: str, key: bytes) -> bytes:
    """The key of a row in the state tree: the table's name, a zero byte, and the ordered primary key."""
    return table.encode() + b"\0" + key


def _verify_proof(
    subject: ReceiptEvidence | RowEvidence | AbsenceEvidence | RangeEvidence, anchor: Anchor
) -> None:
    """The subject is under one of the roots."""
    if isinstance(subject, ReceiptEvidence):
        leaf = merkle_log.leaf_hash(_entry_of(subject.receipt))
        merkle_log.verify_inclusion(leaf, subject.log_index, anchor.log_size, subject.path, anchor.log_root)
    elif isinstance(subject, RowEvidence):
        digest = sha256(subject.row)
        state_tree.verify_presence(
            anchor.state_root, _tree_key(subject.table, subject.key), digest, subject.proof
        )
    elif isinstance(subject, AbsenceEvidence):
        state_tree.verify_absence(anchor.state_root, _tree_key(subject.table, subject.key), subject.proof)
    else:
        behind_the_table = subject.table.encode() + b"\x01"
        state_tree.verify_range(
            anchor.state_root,
            _tree_key(subject.table, subject.start),
            behind_the_table if subject.end is None else _tree_key(subject.table, subject.end),
            [(_tree_key(subject.table, key), sha256(row)) for key, row in subject.rows],
            subject.proof,
        )


def _entry_of(receipt: bytes) -> bytes:
    """The entry of the log that belongs to a receipt."""
    match decode_value(receipt):
        case [bytes() as transaction, int() as height, int() as index, int() as outcome, *_]:
            try:
                return entry_of(receipt, transaction, height, index, outcome)
            except (ValueError, OverflowError):
                pass
    raise _refused("what is shown is no receipt, so there is no entry of it in the log")


def _verify_content(evidence: Evidence, height: int) -> Fact:
    """The fact in typed form; a receipt must be of block `height`, and its transaction must be the one
    shown.
    """
    subject = evidence.subject
    if isinstance(subject, ReceiptEvidence):
        return _read_receipt(subject, evidence.network, height)
    if isinstance(subject, RowEvidence):
        return RowFact(subject.table, subject.key, subject.row, decode_value(subject.row))
    if isinstance(subject, AbsenceEvidence):
        return AbsenceFact(subject.table, subject.key)
    rows = tuple(RowFact(subject.table, key, row, decode_value(row)) for key, row in subject.rows)
    return RangeFact(subject.table, subject.start, subject.end, rows)


def _read_receipt(subject: ReceiptEvidence, network: str, height: int) -> ReceiptFact:
    match decode_value(subject.receipt):
        case [
            bytes() as transaction,
            int() as own_height,
            int() as index,
            int() as outcome,
            str() as code,
            list() as fields,
            list() as results,
            list() as events,
        ] if 0 <= outcome < len(OUTCOMES):
            _require(
                own_height == height, f"the receipt is of block {own_height}, the anchor of block {height}"
            )
            signed = None
            if subject.envelope is not None:
                signed = _read_transaction(subject.envelope, transaction, network)
            return ReceiptFact(
                transaction, index, subject.log_index, outcome, code, fields, results, events, signed
            )
    raise _refused("what the log has an entry of is no receipt")


def _read_transaction(envelope: bytes, transaction: bytes, network: str) -> SignedTransaction:
    """What `envelope` holds, which must be the transaction with this id, signed for this network."""
    match decode_value(envelope):
        case [bytes() as body, bytes() as signature]:
            pass
        case _:
            raise _refused("the envelope is not a body and a signature")
    found = tagged("transaction", body)
    _require(found == transaction, f"the envelope holds {found.hex()}, the receipt is of {transaction.hex()}")
    match decode_value(body):
        case [
            int() as version,
            str() as own_network,
            bytes() as key,
            int() as valid_until,
            bytes() as nonce,
            list() as calls,
        ]:
            _require(version == TRANSACTION_VERSION, f"the transaction has version {version}")
            _require(own_network == network, f"the transaction is of network {own_network!r}")
            _require(
                keys.verify(key, SIGN_PREFIX + body, signature), "the transaction's signature does not verify"
            )
            return SignedTransaction(key, valid_until, nonce, tuple(_read_call(call) for call in calls))
    raise _refused("the body of the envelope is no transaction")


def _read_call(value: Value) -> Call:
    match value:
        case [str() as contract, str() as command, list() as arguments]:
            return Call(contract, command, arguments)
    raise _refused("a call of the transaction is not contract, command and arguments")
