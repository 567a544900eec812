"""Headers, commits and validator sets: CometBFT's own encodings, hashes and rules of trust.

Both engines make the same blocks, so one verifier serves both: a header commits to everything in and before
its block, a commit holds the validators' signatures over the header's hash, and a validator set says whose
signatures count.

Three hashes hold it together, all of them RFC 6962 Merkle roots over SHA-256 (leaf `00 ‖ x`, node `01 ‖ l ‖
r`): the header's hash over its fourteen fields, the validator set's over its (key, power) pairs, and the part
set's over the 64 KiB parts of the block's bytes. A validator signs, for a height and round, the pair (header
hash, part set header), called the block id. The state after block H is in the header of block H + 1, as
`app_hash`; so are the results of H.

Trust runs as follows. More than two thirds of the power of a known set signed a block: as long as fewer than
a third are faulty, there is no other block at this height (`verify_commit`). A header names the set of the
next height, so the next header can be checked without any clock (`verify_adjacent`). To jump further, more
than a third of the set once trusted must have signed as well, and recently enough that those validators can
still be held to account (`verify_non_adjacent`).

Times are integer nanoseconds since 1970 in UTC, exactly as signed. Nothing here reads a clock: `now_ns` is an
argument.

Source: CometBFT v0.38/v0.39, spec/core/{data_structures,encoding}.md, spec/light-client/verification and
proto/tendermint/types.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guildbook.primitives import keys, merkle_log
from guildbook.primitives import protobuf as pb
from guildbook.primitives.errors import GuildbookError

BLOCK_PROTOCOL = 11
"""The block protocol of CometBFT v0.38 and v0.39, in every header's version."""
PART_SIZE_BYTES = 65_536
HASH_SIZE_BYTES = 32
ADDRESS_SIZE_BYTES = 20
SIGNATURE_SIZE_BYTES = 64
ED25519_KEY_SIZE_BYTES = 32

BLOCK_SIZE_BYTES_MAX = 104_857_600
CHAIN_ID_SIZE_BYTES_MAX = 50
VALIDATORS_MAX = 10_000
TOTAL_POWER_MAX = pb.INT64_MAX // 8
INT32_MAX = (1 << 31) - 1
PARTS_MAX = BLOCK_SIZE_BYTES_MAX // PART_SIZE_BYTES + 1

_ED25519 = bytes((keys.ED25519,))

FLAG_ABSENT = 1
"""The validator's vote was not seen."""
FLAG_COMMIT = 2
"""The validator signed this block."""
FLAG_NIL = 3
"""The validator signed that it saw no acceptable block."""
PRECOMMIT = 2
"""The vote type of every signature in a commit."""

NANOSECONDS_PER_SECOND = 1_000_000_000
ZERO_TIME_NS = -62_135_596_800 * NANOSECONDS_PER_SECOND
"""0001-01-01T00:00:00Z, the time of an absent vote."""
TIME_NS_MAX = 253_402_300_800 * NANOSECONDS_PER_SECOND - 1
"""The last nanosecond of the year 9999."""

TRUST_LEVEL_ONE_THIRD = (1, 3)
CLOCK_DRIFT_NS = 10 * NANOSECONDS_PER_SECOND
"""How far ahead of `now_ns` a header may be, as in CometBFT's light client."""

EMPTY_HASH = merkle_log.EMPTY_ROOT
"""The Merkle root of an empty list: no transactions, no results, no evidence."""


class CometError(GuildbookError):
    """A header, commit or validator set is malformed or does not verify; `code` starts with `cometbft.`."""


def _malformed(message: str, **fields: object) -> CometError:
    return CometError(
        "cometbft.malformed",
        message,
        hint="The bytes were damaged on the way, or come from another engine version; fetch them again.",
        **fields,
    )


# --- records ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PartSetHeader:
    """How many parts a block's bytes make, and the Merkle root over them (32 bytes); (0, b"") for no
    block.
    """

    total: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class BlockID:
    """What validators sign: the header's hash (32 bytes) and the part set header; `NO_BLOCK` for nil."""

    hash: bytes
    parts: PartSetHeader


NO_BLOCK = BlockID(b"", PartSetHeader(0, b""))
"""The block id of nothing: the last block of the first one, and the subject of a vote for nil."""


@dataclass(frozen=True, slots=True)
class Header:
    """A block's header: fourteen fields, each of them a leaf of its hash.

    Hashes are 32 bytes or empty, `proposer_address` is 20 bytes, `app_hash` any bytes, `height` at least 1 (0
    in none), `time_ns` nanoseconds since 1970. `app_hash` and `last_results_hash` are those after the block
    before this one.
    """

    chain_id: str
    height: int
    time_ns: int
    last_block_id: BlockID
    last_commit_hash: bytes
    data_hash: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes
    last_results_hash: bytes
    evidence_hash: bytes
    proposer_address: bytes
    version_app: int = 0
    version_block: int = BLOCK_PROTOCOL


@dataclass(frozen=True, slots=True)
class CommitSig:
    """One validator's place in a commit: flag (1 absent, 2 for the block, 3 for nil), address, time and
    signature.
    """

    flag: int
    address: bytes
    time_ns: int
    signature: bytes


ABSENT = CommitSig(FLAG_ABSENT, b"", ZERO_TIME_NS, b"")
"""The place of a validator whose vote was not seen."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The precommits of one height and round, one place for each validator in the order of the set."""

    height: int
    round: int
    block_id: BlockID
    signatures: tuple[CommitSig, ...]


EMPTY_COMMIT = Commit(0, 0, NO_BLOCK, ())
"""The last commit of the first block."""


@dataclass(frozen=True, slots=True)
class Validator:
    """A key that may sign blocks, in Guildbook's key encoding (algorithm byte, raw key), and its voting power
    (>= 1).
    """

    public_key: bytes
    power: int

    @property
    def address(self) -> bytes:
        """The first 20 bytes of the SHA-256 of the raw key."""
        return hashlib.sha256(self.public_key[1:]).digest()[:ADDRESS_SIZE_BYTES]


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """The validators of a height, by power descending and address ascending; made with `ValidatorSet.of`."""

    validators: tuple[Validator, ...]

    @classmethod
    def of(cls, validators: Iterable[Validator]) -> ValidatorSet:
        """The set in its order. `CometError` when it is empty or too large, a key is doubled or of another
        algorithm, a power is below 1, or the powers add up to more than 2^60 - 1.
        """
        ordered = tuple(sorted(validators, key=lambda validator: (-validator.power, validator.address)))
        if not 1 <= len(ordered) <= VALIDATORS_MAX:
            raise _malformed("a validator set is empty or too large", validators=len(ordered))
        for validator in ordered:
            if (
                validator.public_key[:1] != _ED25519
                or len(validator.public_key) != 1 + ED25519_KEY_SIZE_BYTES
            ):
                raise _malformed("a validator's key is not an Ed25519 key", key=validator.public_key.hex())
            if validator.power < 1:
                raise _malformed("a validator has no voting power", power=validator.power)
        if len({validator.public_key for validator in ordered}) != len(ordered):
            raise _malformed("a validator set names one key twice")
        if sum(validator.power for validator in ordered) > TOTAL_POWER_MAX:
            raise _malformed("a validator set has too much power", power_max=TOTAL_POWER_MAX)
        return cls(ordered)

    @property
    def total_power(self) -> int:
        """The sum of all powers."""
        return sum(validator.power for validator in self.validators)


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header and the commit that is said to be for it."""

    header: Header
    commit: Commit


@dataclass(frozen=True, slots=True)
class Block:
    """A block: header, transactions as opaque bytes, evidence of misbehaviour as opaque messages, and the
    commit of the block before.
    """

    header: Header
    txs: tuple[bytes, ...]
    evidence: tuple[bytes, ...]
    last_commit: Commit


@dataclass(frozen=True, slots=True)
class ExecTxResult:
    """The part of a transaction's result that is hashed: code (uint32), data, gas wanted and gas used
    (int64).
    """

    code: int
    data: bytes
    gas_wanted: int = 0
    gas_used: int = 0


# --- hashes -------------------------------------------------------------------------------------------------


def merkle_root(items: Iterable[bytes]) -> bytes:
    """The RFC 6962 Merkle root (32 bytes) over `items`; `EMPTY_HASH` when there are none."""
    return merkle_log.root([merkle_log.leaf_hash(item) for item in items])


def header_hash(header: Header) -> bytes:
    """The block's hash (32 bytes): the Merkle root over the header's fourteen fields, each in its protobuf
    form.
    """
    return merkle_root(
        (
            _version(header),
            pb.octets(1, header.chain_id.encode()),
            pb.integer(1, header.height),
            _timestamp(header.time_ns),
            _block_id(header.last_block_id),
            pb.octets(1, header.last_commit_hash),
            pb.octets(1, header.data_hash),
            pb.octets(1, header.validators_hash),
            pb.octets(1, header.next_validators_hash),
            pb.octets(1, header.consensus_hash),
            pb.octets(1, header.app_hash),
            pb.octets(1, header.last_results_hash),
            pb.octets(1, header.evidence_hash),
            pb.octets(1, header.proposer_address),
        )
    )


def validator_set_hash(validators: ValidatorSet) -> bytes:
    """A header's `validators_hash` (32 bytes): the Merkle root over SimpleValidator{key, power} in the set's
    order.
    """
    return merkle_root(
        pb.message(1, _public_key(validator.public_key)) + pb.integer(2, validator.power)
        for validator in validators.validators
    )


def commit_hash(commit: Commit) -> bytes:
    """The next header's `last_commit_hash` (32 bytes): the Merkle root over the commit's signatures."""
    return merkle_root(_commit_sig(signature) for signature in commit.signatures)


def data_hash(txs: Iterable[bytes]) -> bytes:
    """A header's `data_hash` (32 bytes): the Merkle root over the SHA-256 of each transaction."""
    return merkle_root(hashlib.sha256(tx).digest() for tx in txs)


def results_hash(results: Iterable[ExecTxResult]) -> bytes:
    """The next header's `last_results_hash` (32 bytes): the Merkle root over the deterministic part of each
    result.
    """
    return merkle_root(
        pb.integer(1, result.code)
        + pb.octets(2, result.data)
        + pb.integer(5, result.gas_wanted)
        + pb.integer(6, result.gas_used)
        for result in results
    )


def consensus_params_hash(block_size_bytes_max: int, block_gas_max: int) -> bytes:
    """A header's `consensus_hash` (32 bytes): the SHA-256 over the two hashed parameters; -1 for no gas
    limit.
    """
    return hashlib.sha256(pb.integer(1, block_size_bytes_max) + pb.integer(2, block_gas_max)).digest()


def evidence_hash(evidence: Iterable[bytes]) -> bytes:
    """A header's `evidence_hash` (32 bytes): the Merkle root over the evidence messages, without their
    `Evidence` wrapper.
    """
    return merkle_root(_unwrap_evidence(item) for item in evidence)


def part_set_header(block_bytes: bytes) -> PartSetHeader:
    """The number of 64 KiB parts in a block's bytes and the Merkle root over them."""
    parts = [
        block_bytes[offset : offset + PART_SIZE_BYTES]
        for offset in range(0, len(block_bytes), PART_SIZE_BYTES)
    ]
    return PartSetHeader(len(parts), merkle_root(parts))


def block_id(header: Header, block_bytes: bytes) -> BlockID:
    """The id of a block: its header's hash and the part set header of its bytes, as `encode_block` made
    them.
    """
    return BlockID(header_hash(header), part_set_header(block_bytes))


def vote_sign_bytes(
    chain_id: str, height: int, round_: int, subject: BlockID, time_ns: int, vote_type: int = PRECOMMIT
) -> bytes:
    """What a validator signs: CanonicalVote behind its length. `NO_BLOCK` as subject is a vote for nil."""
    subject_field = b"" if subject == NO_BLOCK else pb.message(4, _block_id(subject))
    return pb.delimited(
        pb.integer(1, vote_type)
        + pb.sfixed64(2, height)
        + pb.sfixed64(3, round_)
        + subject_field
        + pb.message(5, _timestamp(time_ns))
        + pb.octets(6, chain_id.encode())
    )


# --- protobuf -----------------------------------------------------------------------------------------------


def _version(header: Header) -> bytes:
    return pb.integer(1, header.version_block) + pb.integer(2, header.version_app)


def _timestamp(time_ns: int) -> bytes:
    seconds, nanoseconds = divmod(time_ns, NANOSECONDS_PER_SECOND)
    return pb.integer(1, seconds) + pb.integer(2, nanoseconds)


def _part_set_header(parts: PartSetHeader) -> bytes:
    return pb.integer(1, parts.total) + pb.octets(2, parts.hash)


def _block_id(value: BlockID) -> bytes:
    return pb.octets(1, value.hash) + pb.message(2, _part_set_header(value.parts))


def _public_key(public_key: bytes) -> bytes:
    return pb.octets(1, public_key[1:])


def _commit_sig(value: CommitSig) -> bytes:
    return (
        pb.integer(1, value.flag)
        + pb.octets(2, value.address)
        + pb.message(3, _timestamp(value.time_ns))
        + pb.octets(4, value.signature)
    )


def _unwrap_evidence(item: bytes) -> bytes:
    fields = tuple(pb.fields(item))
    if len(fields) != 1 or fields[0][1] != pb.BYTES:
        raise _malformed("evidence of misbehaviour is not one message")
    return fields[0][3]


def encode_header(header: Header) -> bytes:
    """The header as the protobuf message tendermint.types.Header."""
    return (
        pb.message(1, _version(header))
        + pb.octets(2, header.chain_id.encode())
        + pb.integer(3, header.height)
        + pb.message(4, _timestamp(header.time_ns))
        + pb.message(5, _block_id(header.last_block_id))
        + pb.octets(6, header.last_commit_hash)
        + pb.octets(7, header.data_hash)
        + pb.octets(8, header.validators_hash)
        + pb.octets(9, header.next_validators_hash)
        + pb.octets(10, header.consensus_hash)
        + pb.octets(11, header.app_hash)
        + pb.octets(12, header.last_results_hash)
        + pb.octets(13, header.evidence_hash)
        + pb.octets(14, header.proposer_address)
    )


def encode_commit(commit: Commit) -> bytes:
    """The commit as the protobuf message tendermint.types.Commit."""
    return (
        pb.integer(1, commit.height)
        + pb.integer(2, commit.round)
        + pb.message(3, _block_id(commit.block_id))
        + b"".join(pb.message(4, _commit_sig(signature)) for signature in commit.signatures)
    )


def encode_validator_set(validators: ValidatorSet) -> bytes:
    """The set as the protobuf message tendermint.types.ValidatorSet, without the fields a verifier has no use
    for (proposer, priorities, total).
    """
    return b"".join(
        pb.message(
            1,
            pb.octets(1, validator.address)
            + pb.message(2, _public_key(validator.public_key))
            + pb.integer(3, validator.power),
        )
        for validator in validators.validators
    )


def encode_block(
    header: Header, txs: Sequence[bytes], last_commit: Commit, evidence: Sequence[bytes] = ()
) -> bytes:
    """The block as the protobuf message tendermint.types.Block, whose parts the block id commits to.

    The hashes in `header` are the caller's: `data_hash(txs)`, `commit_hash(last_commit)`,
    `evidence_hash(evidence)`.
    """
    data = b"".join([piece for tx in txs for piece in (b"\x0a", pb.varint(len(tx)), tx)])
    return b"".join(
        (
            pb.message(1, encode_header(header)),
            b"\x12",
            pb.varint(len(data)),
            data,
            pb.message(3, b"".join(pb.message(1, item) for item in evidence)),
            pb.message(4, encode_commit(last_commit)),
        )
    )


def _same(name: str, data: bytes, again: bytes) -> None:
    """Refuses a second spelling of the same message: only then is every byte of it covered by a hash."""
    if data != again:
        raise _malformed(f"{name}: not in CometBFT's own encoding")


def _sized(name: str, value: bytes, *sizes: int) -> bytes:
    if len(value) not in sizes:
        raise _malformed(f"{name} has the wrong size", size_bytes=len(value))
    return value


def _within(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise _malformed(f"{name} is out of range", value=value)
    return value


def _read_timestamp(name: str, data: bytes) -> int:
    fields = pb.Message(name, data)
    seconds = fields.signed(1)
    nanoseconds = _within(f"{name} nanoseconds", fields.signed(2), 0, NANOSECONDS_PER_SECOND - 1)
    fields.close()
    return _within(name, seconds * NANOSECONDS_PER_SECOND + nanoseconds, ZERO_TIME_NS, TIME_NS_MAX)


def decode_time(data: bytes) -> int:
    """The nanoseconds since 1970 in a protobuf Timestamp; `CometError` or `ProtobufError` when it is none."""
    return _read_timestamp("time", data)


def _read_block_id(name: str, data: bytes) -> BlockID:
    fields = pb.Message(name, data)
    digest = _sized(f"{name} hash", fields.octets(1), 0, HASH_SIZE_BYTES)
    inner = pb.Message(f"{name} parts", fields.message(2))
    fields.close()
    total = _within(f"{name} parts", inner.signed(1), 0, PARTS_MAX)
    parts = PartSetHeader(total, _sized(f"{name} parts hash", inner.octets(2), 0, HASH_SIZE_BYTES))
    inner.close()
    return BlockID(digest, parts)


def _read_commit_sig(data: bytes) -> CommitSig:
    fields = pb.Message("commit signature", data)
    value = CommitSig(
        flag=_within("commit signature flag", fields.signed(1), FLAG_ABSENT, FLAG_NIL),
        address=_sized("commit signature address", fields.octets(2), 0, ADDRESS_SIZE_BYTES),
        time_ns=_read_timestamp("commit signature time", fields.message(3)),
        signature=_sized("commit signature", fields.octets(4), 0, SIGNATURE_SIZE_BYTES),
    )
    fields.close()
    return value


def decode_header(data: bytes) -> Header:
    """The header behind exactly the bytes `encode_header` gives; `CometError` or `ProtobufError` for any
    others.
    """
    fields = pb.Message("header", data)
    version = pb.Message("header version", fields.message(1))
    header = Header(
        version_block=version.unsigned(1),
        version_app=version.unsigned(2),
        chain_id=fields.text(2),
        height=_within("header height", fields.signed(3), 0, pb.INT64_MAX),
        time_ns=_read_timestamp("header time", fields.message(4)),
        last_block_id=_read_block_id("header last block id", fields.message(5)),
        last_commit_hash=_sized("header last commit hash", fields.octets(6), 0, HASH_SIZE_BYTES),
        data_hash=_sized("header data hash", fields.octets(7), 0, HASH_SIZE_BYTES),
        validators_hash=_sized("header validators hash", fields.octets(8), 0, HASH_SIZE_BYTES),
        next_validators_hash=_sized("header next validators hash", fields.octets(9), 0, HASH_SIZE_BYTES),
        consensus_hash=_sized("header consensus hash", fields.octets(10), 0, HASH_SIZE_BYTES),
        app_hash=fields.octets(11),
        last_results_hash=_sized("header last results hash", fields.octets(12), 0, HASH_SIZE_BYTES),
        evidence_hash=_sized("header evidence hash", fields.octets(13), 0, HASH_SIZE_BYTES),
        proposer_address=_sized("header proposer address", fields.octets(14), 0, ADDRESS_SIZE_BYTES),
    )
    version.close()
    fields.close()
    _same("header", data, encode_header(header))
    return header


def decode_commit(data: bytes) -> Commit:
    """The commit behind exactly the bytes `encode_commit` gives; `CometError` or `ProtobufError` for any
    others.
    """
    fields = pb.Message("commit", data)
    commit = Commit(
        height=_within("commit height", fields.signed(1), 0, pb.INT64_MAX),
        round=_within("commit round", fields.signed(2), 0, INT32_MAX),
        block_id=_read_block_id("commit block id", fields.message(3)),
        signatures=tuple(_read_commit_sig(item) for item in fields.repeated(4)),
    )
    fields.close()
    _within("commit signatures", len(commit.signatures), 0, VALIDATORS_MAX)
    _same("commit", data, encode_commit(commit))
    return commit


def decode_validator_set(data: bytes) -> ValidatorSet:
    """The set behind exactly the bytes `encode_validator_set` gives; `CometError` or `ProtobufError` for any
    others.
    """
    fields = pb.Message("validator set", data)
    validators = []
    for item in fields.repeated(1):
        inner = pb.Message("validator", item)
        inner.octets(1)
        key = pb.Message("validator key", inner.message(2))
        raw = _sized("validator key", key.octets(1), ED25519_KEY_SIZE_BYTES)
        key.close()
        validators.append(Validator(_ED25519 + raw, inner.signed(3)))
        inner.close()
    fields.close()
    found = ValidatorSet.of(validators)
    _same("validator set", data, encode_validator_set(found))
    return found


def decode_block(data: bytes) -> Block:
    """The block behind exactly the bytes `encode_block` gives; `CometError` or `ProtobufError` for any
    others.

    Only the form is checked; whether header, transactions and commit belong together is `check_block`'s
    question.
    """
    if len(data) > BLOCK_SIZE_BYTES_MAX:
        raise _malformed("a block is too large", size_bytes=len(data), size_bytes_max=BLOCK_SIZE_BYTES_MAX)
    fields = pb.Message("block", data)
    body = pb.Message("block data", fields.message(2))
    evidence = pb.Message("block evidence", fields.message(3))
    block = Block(
        header=decode_header(fields.message(1)),
        txs=body.repeated(1),
        evidence=evidence.repeated(1),
        last_commit=decode_commit(fields.message(4)),
    )
    body.close()
    evidence.close()
    fields.close()
    for item in block.evidence:
        _unwrap_evidence(item)
    _same("block", data, encode_block(block.header, block.txs, block.last_commit, block.evidence))
    return block


def check_block(block: Block) -> None:
    """Refuses (`cometbft.block_mismatch`) a block whose header does not commit to its own content and last
    commit.
    """
    header = block.header
    for name, found, expected in (
        ("data hash", data_hash(block.txs), header.data_hash),
        ("last commit hash", commit_hash(block.last_commit), header.last_commit_hash),
        ("evidence hash", evidence_hash(block.evidence), header.evidence_hash),
    ):
        if found != expected:
            raise CometError(
                "cometbft.block_mismatch",
                f"the block's content does not match the {name} in its header",
                hint="The block was put together from two; fetch it again from another node.",
                height=header.height,
                expected=expected.hex(),
                found=found.hex(),
            )
    if header.last_block_id != block.last_commit.block_id:
        raise CometError(
            "cometbft.block_mismatch",
            "the last commit is for another block than the header's last block",
            hint="The block was put together from two; fetch it again from another node.",
            height=header.height,
            expected=header.last_block_id.hash.hex(),
            found=block.last_commit.block_id.hash.hex(),
        )


# --- trust --------------------------------------------------------------------------------------------------


def verify_commit(
    chain_id: str, validators: ValidatorSet, height: int, subject: BlockID, commit: Commit
) -> int:
    """The power that signed `subject` at `height`, when it is more than two thirds of the set's; `CometError`
    otherwise.

    Every signature in the commit is checked, also those for nil and those not needed, so that no byte of it
    is without meaning; only those for the block count. Place i belongs to validator i of the set.

    Refusals, in this order: `cometbft.commit_mismatch` (other height, block or number of places),
    `cometbft.bad_vote` (an absent vote with content, another validator's address, the address of two),
    `cometbft.bad_signature`, `cometbft.not_enough_power`.
    """
    if commit.height != height or commit.block_id != subject:
        raise CometError(
            "cometbft.commit_mismatch",
            "the commit is for another block",
            hint="Header and commit must be of the same height; fetch both again.",
            height=height,
            commit_height=commit.height,
            expected=subject.hash.hex(),
            found=commit.block_id.hash.hex(),
        )
    if len(commit.signatures) != len(validators.validators):
        raise CometError(
            "cometbft.commit_mismatch",
            "the commit has another number of places than the set has validators",
            hint="The validator set must be the one of the commit's height.",
            height=height,
            validators=len(validators.validators),
            places=len(commit.signatures),
        )
    power = 0
    for place, (validator, vote) in enumerate(zip(validators.validators, commit.signatures, strict=True)):
        if vote.flag == FLAG_ABSENT:
            if vote != ABSENT:
                raise _bad_vote("an absent vote has content", height, place)
            continue
        if vote.address != validator.address:
            raise _bad_vote("a vote has the address of another validator", height, place)
        _verify_vote(chain_id, commit, vote, validator)
        if vote.flag == FLAG_COMMIT:
            power += validator.power
    if power * 3 <= validators.total_power * 2:
        raise CometError(
            "cometbft.not_enough_power",
            "no more than two thirds of the voting power signed the block",
            hint="The block is not final by this commit; fetch a complete commit from another node.",
            height=height,
            power=power,
            total_power=validators.total_power,
        )
    return power


def verify_commit_trusting(
    chain_id: str, trusted: ValidatorSet, commit: Commit, trust_level: tuple[int, int] = TRUST_LEVEL_ONE_THIRD
) -> int:
    """The power of an earlier, trusted set that signed the commit's block, when it is more than `trust_level`
    (a fraction from 1/3 to 1) of that set's; `cometbft.not_enough_trust` otherwise, or `cometbft.bad_vote`,
    `cometbft.bad_signature`.
    """
    numerator, denominator = trust_level
    assert 0 < numerator <= denominator <= numerator * 3, "a trust level is from 1/3 to 1"
    by_address = {validator.address: validator for validator in trusted.validators}
    seen: set[bytes] = set()
    power = 0
    for place, vote in enumerate(commit.signatures):
        validator = by_address.get(vote.address)
        if vote.flag != FLAG_COMMIT or validator is None:
            continue
        if vote.address in seen:
            raise _bad_vote("one validator has two votes", commit.height, place)
        seen.add(vote.address)
        _verify_vote(chain_id, commit, vote, validator)
        power += validator.power
    if power * denominator <= trusted.total_power * numerator:
        raise CometError(
            "cometbft.not_enough_trust",
            "too little of the trusted voting power signed the block",
            hint="Too much of the validator set has changed; verify a header in between first.",
            height=commit.height,
            power=power,
            total_power=trusted.total_power,
        )
    return power


def _bad_vote(message: str, height: int, place: int) -> CometError:
    return CometError(
        "cometbft.bad_vote",
        message,
        hint="Fetch the commit again from another node.",
        height=height,
        place=place,
    )


def _verify_vote(chain_id: str, commit: Commit, vote: CommitSig, validator: Validator) -> None:
    subject = commit.block_id if vote.flag == FLAG_COMMIT else NO_BLOCK
    message = vote_sign_bytes(chain_id, commit.height, commit.round, subject, vote.time_ns)
    if not keys.verify(validator.public_key, message, vote.signature):
        raise CometError(
            "cometbft.bad_signature",
            "a validator's signature does not verify",
            hint="The commit was altered, or is of another network; fetch it again from another node.",
            height=commit.height,
            validator=validator.address.hex(),
        )


def verify_signed_header(chain_id: str, signed: SignedHeader, validators: ValidatorSet) -> bytes:
    """The hash of a header that `validators`, the very set it names, made final.

    Refusals, in this order: `cometbft.wrong_network`, `cometbft.wrong_validators`, those of `verify_commit`.
    """
    header = signed.header
    if header.chain_id != chain_id:
        raise CometError(
            "cometbft.wrong_network",
            "the header is of another network",
            hint="Verify it with that network's trust anchor.",
            expected=chain_id,
            found=header.chain_id,
        )
    expected = validator_set_hash(validators)
    if header.validators_hash != expected:
        raise CometError(
            "cometbft.wrong_validators",
            "the header names another validator set",
            hint="The validator set must be the one of the header's height.",
            height=header.height,
            expected=expected.hex(),
            found=header.validators_hash.hex(),
        )
    digest = header_hash(header)
    if signed.commit.block_id.hash != digest:
        raise CometError(
            "cometbft.commit_mismatch",
            "the commit is for another header",
            hint="Header and commit must be of the same block; fetch both again.",
            height=header.height,
            expected=digest.hex(),
            found=signed.commit.block_id.hash.hex(),
        )
    verify_commit(chain_id, validators, header.height, signed.commit.block_id, signed.commit)
    return digest


def _verify_progress(
    trusted: Header, untrusted: Header, trusting_period_ns: int, now_ns: int, clock_drift_ns: int
) -> None:
    """The rules of time and height between a trusted header and a later one."""
    if trusted.time_ns + trusting_period_ns <= now_ns:
        raise CometError(
            "cometbft.trust_expired",
            "the trusted header is older than the trusting period",
            hint="Obtain a newer trusted header from a source you trust.",
            trusted_time_ns=trusted.time_ns,
            trusting_period_ns=trusting_period_ns,
            now_ns=now_ns,
        )
    if untrusted.height <= trusted.height or untrusted.time_ns <= trusted.time_ns:
        raise CometError(
            "cometbft.not_later",
            "the header is not later than the trusted one in height and time",
            hint="Trust runs forwards only.",
            trusted_height=trusted.height,
            height=untrusted.height,
        )
    if untrusted.time_ns >= now_ns + clock_drift_ns:
        raise CometError(
            "cometbft.from_the_future",
            "the header's time is ahead of now",
            hint="Check the clock of this computer.",
            time_ns=untrusted.time_ns,
            now_ns=now_ns,
        )


def verify_adjacent(
    chain_id: str,
    trusted: Header,
    untrusted: SignedHeader,
    validators: ValidatorSet,
    *,
    trusting_period_ns: int,
    now_ns: int,
    clock_drift_ns: int = CLOCK_DRIFT_NS,
) -> bytes:
    """The hash of the header right after `trusted`, verified by the set that `trusted` names as next.

    Raises `CometError`: `cometbft.trust_expired`, `cometbft.not_later`, `cometbft.from_the_future`, those of
    `verify_signed_header`.
    """
    assert untrusted.header.height == trusted.height + 1, "adjacent headers only"
    _verify_progress(trusted, untrusted.header, trusting_period_ns, now_ns, clock_drift_ns)
    if untrusted.header.validators_hash != trusted.next_validators_hash:
        raise CometError(
            "cometbft.wrong_validators",
            "the header names another validator set than the one before it announced",
            hint="One of the two headers is not of this chain.",
            height=untrusted.header.height,
            expected=trusted.next_validators_hash.hex(),
            found=untrusted.header.validators_hash.hex(),
        )
    return verify_signed_header(chain_id, untrusted, validators)


def verify_non_adjacent(
    chain_id: str,
    trusted: Header,
    trusted_next_validators: ValidatorSet,
    untrusted: SignedHeader,
    validators: ValidatorSet,
    *,
    trusting_period_ns: int,
    now_ns: int,
    trust_level: tuple[int, int] = TRUST_LEVEL_ONE_THIRD,
    clock_drift_ns: int = CLOCK_DRIFT_NS,
) -> bytes:
    """The hash of a header further on, signed by enough of the set that followed `trusted` and by two thirds
    of its own.

    `trusted_next_validators` must be the set `trusted` names as next. Raises `CometError`: as
    `verify_adjacent`, and `cometbft.not_enough_trust` when the sets differ too much for one step (then verify
    a header in between first).
    """
    assert untrusted.header.height != trusted.height + 1, "adjacent headers are verified by verify_adjacent"
    _verify_progress(trusted, untrusted.header, trusting_period_ns, now_ns, clock_drift_ns)
    if validator_set_hash(trusted_next_validators) != trusted.next_validators_hash:
        raise CometError(
            "cometbft.wrong_validators",
            "the given set is not the one the trusted header names as next",
            hint="Fetch the validator set of the height after the trusted header.",
            height=trusted.height,
            expected=trusted.next_validators_hash.hex(),
        )
    verify_commit_trusting(chain_id, trusted_next_validators, untrusted.commit, trust_level)
    return verify_signed_header(chain_id, untrusted, validators)


# --- the RPC's JSON -----------------------------------------------------------------------------------------
#
# 64-bit numbers are decimal strings, hashes and addresses upper-case hexadecimal, keys and signatures base64,
# times RFC 3339 with up to nine digits of fraction. Empty things are left out, null or "". Newer engines
# write `parts`, older `part_set_header`.

_DAYS_PER_400_YEARS = 146_097
_DAYS_0000_TO_1970 = 719_468
"""Days from 0000-03-01 to 1970-01-01 in the Gregorian calendar."""


def _days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01; years are counted from March, so that the leap day comes last."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return (
        era * _DAYS_PER_400_YEARS
        + year_of_era * 365
        + year_of_era // 4
        - year_of_era // 100
        + day_of_year
        - _DAYS_0000_TO_1970
    )


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time such as `2023-05-17T14:12:53.605374524Z`; `CometError` when
    it is none.

    UTC only (`Z`), years 0001 to 9999, up to nine digits of fraction, no leap seconds: what CometBFT writes.
    """
    whole, dot, fraction = text.removesuffix("Z").partition(".")
    digits = whole[0:4] + whole[5:7] + whole[8:10] + whole[11:13] + whole[14:16] + whole[17:19]
    shape = whole[4:5] + whole[7:8] + whole[10:11] + whole[13:14] + whole[16:17]
    numbers = digits + fraction
    if (
        not text.endswith("Z")
        or len(whole) != 19
        or shape != "--T::"
        or not (numbers.isascii() and numbers.isdigit())
        or (bool(dot) != bool(fraction))
        or len(fraction) > 9
    ):
        raise _malformed("a time is not in RFC 3339 form", time=text)
    year, month, day = int(whole[0:4]), int(whole[5:7]), int(whole[8:10])
    hour, minute, second = int(whole[11:13]), int(whole[14:16]), int(whole[17:19])
    days = _days_from_civil(year, month, day) if 1 <= month <= 12 else 0
    month_end = _days_from_civil(year + month // 12, month % 12 + 1, 1) if 1 <= month <= 12 else 0
    if not (
        year >= 1
        and 1 <= month <= 12
        and day >= 1
        and days < month_end
        and hour < 24
        and minute < 60
        and second < 60
    ):
        raise _malformed("a time is not on the calendar", time=text)
    seconds = days * 86_400 + hour * 3_600 + minute * 60 + second
    return seconds * NANOSECONDS_PER_SECOND + int(fraction.ljust(9, "0"))


def format_time(time_ns: int) -> str:
    """The RFC 3339 form `parse_time` reads, with as many digits of fraction as the time needs."""
    seconds, nanoseconds = divmod(time_ns, NANOSECONDS_PER_SECOND)
    days, second_of_day = divmod(seconds, 86_400)
    era, day_of_era = divmod(days + _DAYS_0000_TO_1970, _DAYS_PER_400_YEARS)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = (month_from_march + 2) % 12 + 1
    year = era * 400 + year_of_era + (month <= 2)
    clock = f"{second_of_day // 3_600:02}:{second_of_day // 60 % 60:02}:{second_of_day % 60:02}"
    fraction = f".{nanoseconds:09}".rstrip("0") if nanoseconds else ""
    return f"{year:04}-{month:02}-{day:02}T{clock}{fraction}Z"


Json = Mapping[str, Any]
"""A JSON object as the standard library reads it; every member is checked before it is used."""


def _object(value: object, name: str) -> Json:
    if not isinstance(value, dict):
        raise _malformed(f"{name} is not an object")
    return value


def _list(value: object, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _malformed(f"{name} is not a list")
    return value


def _text(value: object, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _malformed(f"{name} is not a text")
    return value


def _number(value: object, name: str) -> int:
    if value is None:
        return 0
    if isinstance(value, str) and value.removeprefix("-").isdigit() and value.isascii() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _malformed(f"{name} is not a number")
    return _within(name, value, pb.INT64_MIN, pb.INT64_MAX)


def _hex(value: object, name: str) -> bytes:
    try:
        return binascii.unhexlify(_text(value, name))
    except (binascii.Error, ValueError):
        raise _malformed(f"{name} is not hexadecimal") from None


def _base64(value: object, name: str) -> bytes:
    try:
        return binascii.a2b_base64(_text(value, name), strict_mode=True)
    except (binascii.Error, ValueError):
        raise _malformed(f"{name} is not base64") from None


def _json_block_id(value: object, name: str) -> BlockID:
    if value is None:
        return NO_BLOCK
    found = _object(value, name)
    parts = _object(found.get("parts", found.get("part_set_header")), f"{name} parts")
    return BlockID(
        _hex(found.get("hash"), f"{name} hash"),
        PartSetHeader(
            _number(parts.get("total"), f"{name} parts total"), _hex(parts.get("hash"), f"{name} parts hash")
        ),
    )


def header_from_json(value: object) -> Header:
    """The header behind the `header` object of an RPC answer; `CometError` or `ProtobufError` when it is
    none.
    """
    found = _object(value, "header")
    version = _object(found.get("version"), "header version")
    header = Header(
        version_block=_number(version.get("block"), "header version block"),
        version_app=_number(version.get("app"), "header version app"),
        chain_id=_text(found.get("chain_id"), "header chain id"),
        height=_number(found.get("height"), "header height"),
        time_ns=parse_time(_text(found.get("time"), "header time")),
        last_block_id=_json_block_id(found.get("last_block_id"), "header last block id"),
        last_commit_hash=_hex(found.get("last_commit_hash"), "header last commit hash"),
        data_hash=_hex(found.get("data_hash"), "header data hash"),
        validators_hash=_hex(found.get("validators_hash"), "header validators hash"),
        next_validators_hash=_hex(found.get("next_validators_hash"), "header next validators hash"),
        consensus_hash=_hex(found.get("consensus_hash"), "header consensus hash"),
        app_hash=_hex(found.get("app_hash"), "header app hash"),
        last_results_hash=_hex(found.get("last_results_hash"), "header last results hash"),
        evidence_hash=_hex(found.get("evidence_hash"), "header evidence hash"),
        proposer_address=_hex(found.get("proposer_address"), "header proposer address"),
    )
    try:
        return decode_header(encode_header(header))
    except UnicodeEncodeError:
        raise _malformed("header chain id is not a text") from None


def commit_from_json(value: object) -> Commit:
    """The commit behind the `commit` or `last_commit` object of an RPC answer; `CometError` when it is
    none.
    """
    found = _object(value, "commit")
    signatures = []
    for item in _list(found.get("signatures"), "commit signatures"):
        vote = _object(item, "commit signature")
        flag = _number(vote.get("block_id_flag"), "commit signature flag")
        address = _hex(vote.get("validator_address"), "commit signature address")
        signature = _base64(vote.get("signature"), "commit signature")
        if flag == FLAG_ABSENT and not address and not signature:
            signatures.append(
                ABSENT
            )  # what nobody signed has no time, though some programs write 1970 for it
            continue
        time_ns = parse_time(_text(vote.get("timestamp"), "commit signature time"))
        signatures.append(CommitSig(flag, address, time_ns, signature))
    commit = Commit(
        height=_number(found.get("height"), "commit height"),
        round=_number(found.get("round"), "commit round"),
        block_id=_json_block_id(found.get("block_id"), "commit block id"),
        signatures=tuple(signatures),
    )
    return decode_commit(encode_commit(commit))


def validator_set_from_json(value: object) -> ValidatorSet:
    """The set behind the `validators` list of an RPC answer or of a genesis document; `CometError` when it is
    none.

    An address, where given, must be that of its key. Only Ed25519 keys are validators in Guildbook.
    """
    validators = []
    for item in _list(value, "validators"):
        found = _object(item, "validator")
        key = _object(found.get("pub_key"), "validator key")
        if key.get("type") != "tendermint/PubKeyEd25519":
            raise _malformed("a validator's key is not an Ed25519 key", type=str(key.get("type")))
        power = _number(found.get("voting_power", found.get("power")), "validator power")
        raw = _sized("validator key", _base64(key.get("value"), "validator key"), ED25519_KEY_SIZE_BYTES)
        validator = Validator(_ED25519 + raw, power)
        address = _hex(found.get("address"), "validator address")
        if address and address != validator.address:
            raise _malformed("a validator's address is not that of its key", address=address.hex())
        validators.append(validator)
    return ValidatorSet.of(validators)


def signed_header_from_json(value: object) -> SignedHeader:
    """The header and commit behind the `signed_header` object of an RPC answer; `CometError` when it is
    none.
    """
    found = _object(value, "signed header")
    return SignedHeader(header_from_json(found.get("header")), commit_from_json(found.get("commit")))


def _vote_from_json(value: object) -> bytes:
    found = _object(value, "vote")
    return (
        pb.integer(1, _number(found.get("type"), "vote type"))
        + pb.integer(2, _number(found.get("height"), "vote height"))
        + pb.integer(3, _number(found.get("round"), "vote round"))
        + pb.message(4, _block_id(_json_block_id(found.get("block_id"), "vote block id")))
        + pb.message(5, _timestamp(parse_time(_text(found.get("timestamp"), "vote time"))))
        + pb.octets(6, _hex(found.get("validator_address"), "vote address"))
        + pb.integer(7, _number(found.get("validator_index"), "vote place"))
        + pb.octets(8, _base64(found.get("signature"), "vote signature"))
        + pb.octets(9, _base64(found.get("extension") or "", "vote extension"))
        + pb.octets(10, _base64(found.get("extension_signature") or "", "vote extension signature"))
    )


def _full_validator_from_json(value: object) -> bytes:
    found = _object(value, "validator")
    key = _base64(_object(found.get("pub_key"), "validator key").get("value"), "validator key")
    return (
        pb.octets(1, _hex(found.get("address"), "validator address"))
        + pb.message(2, pb.octets(1, key))
        + pb.integer(3, _number(found.get("voting_power"), "validator power"))
        + pb.integer(4, _number(found.get("proposer_priority", "0"), "validator priority"))
    )


def _full_set_from_json(value: object) -> bytes:
    found = _object(value, "validator set")
    members = b"".join(
        pb.message(1, _full_validator_from_json(one))
        for one in _list(found.get("validators"), "validator set")
    )
    proposer = found.get("proposer")
    return members + (b"" if proposer is None else pb.message(2, _full_validator_from_json(proposer)))


def evidence_from_json(value: object) -> bytes:
    """The protobuf message behind one piece of evidence of misbehaviour in an RPC answer, as a block holds it;
    `CometError` when it is none that is known. Whether every byte is the engine's is for the block's hashes to say.
    """
    found = _object(value, "evidence")
    kind, body = found.get("type"), _object(found.get("value"), "evidence")

    def field(name: str, other: str) -> object:
        return body.get(name, body.get(other))  # engines before and after v0.38 spell them differently

    total = _number(field("total_voting_power", "TotalVotingPower"), "evidence total power")
    time = pb.message(5, _timestamp(parse_time(_text(field("timestamp", "Timestamp"), "evidence time"))))
    if kind == "tendermint/DuplicateVoteEvidence":
        return pb.message(
            1,
            pb.message(1, _vote_from_json(body.get("vote_a")))
            + pb.message(2, _vote_from_json(body.get("vote_b")))
            + pb.integer(3, total)
            + pb.integer(4, _number(field("validator_power", "ValidatorPower"), "evidence power"))
            + time,
        )
    if kind == "tendermint/LightClientAttackEvidence":
        block = _object(field("conflicting_block", "ConflictingBlock"), "evidence block")
        signed = signed_header_from_json(block.get("signed_header"))
        header = pb.message(1, encode_header(signed.header)) + pb.message(2, encode_commit(signed.commit))
        return pb.message(
            2,
            pb.message(1, pb.message(1, header) + pb.message(2, _full_set_from_json(block.get("validator_set"))))
            + pb.integer(2, _number(field("common_height", "CommonHeight"), "evidence height"))
            + b"".join(
                pb.message(3, _full_validator_from_json(one))
                for one in _list(field("byzantine_validators", "ByzantineValidators"), "evidence validators")
            )
            + pb.integer(4, total)
            + time,
        )
    raise _malformed("evidence of misbehaviour of an unknown kind", kind=str(kind)[:100])


def block_from_json(value: object) -> Block:
    """The block behind the `block` object of an RPC answer; `CometError` when it is none."""
    found = _object(value, "block")
    evidence = _list(_object(found.get("evidence"), "block evidence").get("evidence"), "block evidence")
    data = _object(found.get("data"), "block data")
    return Block(
        header=header_from_json(found.get("header")),
        txs=tuple(_base64(tx, "transaction") for tx in _list(data.get("txs"), "block transactions")),
        evidence=tuple(evidence_from_json(item) for item in evidence),
        last_commit=commit_from_json(found.get("last_commit")),
    )
