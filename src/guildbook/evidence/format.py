"""What an evidence file holds, and its one encoding.

A file is the canonical encoding (docs/spec/encoding.md) of an array:

    ["guildbook-evidence", version, kind, network, subject, proof, anchor, seal]

The *subject* is the fact, the *proof* leads from it to a root, and the *anchor* leads from the root to the
signatures of the network's validators. There are four kinds:

| kind | subject | proof | what is shown |
|------|---------|-------|---------------|
| receipt | [receipt, envelope or nil] | [index in the log, [hash, ...]] | what became of a transaction, and
who signed it |
| row | [table, key, row] | tree proof | a table has this row |
| absence | [table, key] | tree proof | a table has no row under this key |
| range | [table, start, end or nil, [[key, row], ...]] | tree proof | a table has these rows between two
keys, and no others |

A tree proof is [[[branch key, children, hashes], ...], [[leaf key, digest], ...]], as
docs/spec/state-tree.md has it.

The anchor is

    [state root, log root, log size, block, header, commit, validators, [[header, commit, validators], ...]]

where *block* is the header of the block H after which the fact holds (empty for the genesis state), *header*
the header of block H + 1, whose application hash commits to the roots, *commit* and *validators* those of H +
1, and the list has one handover for each change of validators since a set that the reader trusts. Headers,
commits and sets are the protobuf bytes of docs/spec/headers.md. The *seal* is the tagged hash (`evidence`) of
all bytes before its own 34. It is no secret and proves nothing; it tells a damaged file from a forged one,
and makes one statement of one file: an absence proof also shows that the neighbours of its key are absent,
and without the seal a change of the key would turn it into that other, true statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from guildbook.evidence.reference_canonical import Value, decode_value, encode_value
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.primitives.state_tree import OutsideBranch, OutsideLeaf, TreeProof

MAGIC: Final = "guildbook-evidence"
FORMAT_VERSION: Final = 1
SUFFIX: Final = ".evidence"
EVIDENCE_SIZE_BYTES_MAX: Final = 16_777_216
HANDOVERS_MAX: Final = 1_000
HASH_SIZE_BYTES: Final = 32
SEAL_SIZE_BYTES: Final = 34
"""The seal at the end of a file with the two bytes that say that 32 bytes follow."""
NETWORK_SIZE_CHARS_MAX: Final = 50
TABLE_SIZE_CHARS_MAX: Final = 200
INT64_MAX: Final = (1 << 63) - 1


class EvidenceError(GuildbookError):
    """A file that proves nothing: `code` is `evidence.<what failed>`, and the field `step` names the step."""


@dataclass(frozen=True, slots=True)
class ReceiptEvidence:
    """A receipt (canonical bytes) at `log_index` (from 0), the hashes that lead from it to the log's root,
    and the signed envelope of its transaction, None if there is none to show.
    """

    receipt: bytes
    envelope: bytes | None
    log_index: int
    path: tuple[bytes, ...]

    kind = "receipt"


@dataclass(frozen=True, slots=True)
class RowEvidence:
    """A row (canonical bytes) under `key` (the ordered primary key) in `table`."""

    table: str
    key: bytes
    row: bytes
    proof: TreeProof

    kind = "row"


@dataclass(frozen=True, slots=True)
class AbsenceEvidence:
    """That `table` has no row under `key`."""

    table: str
    key: bytes
    proof: TreeProof

    kind = "absence"


@dataclass(frozen=True, slots=True)
class RangeEvidence:
    """All rows of `table` with start <= key < end, as (key, row) in key order; `end` is None to the end of
    the table.
    """

    table: str
    start: bytes
    end: bytes | None
    rows: tuple[tuple[bytes, bytes], ...]
    proof: TreeProof

    kind = "range"


Subject = ReceiptEvidence | RowEvidence | AbsenceEvidence | RangeEvidence


@dataclass(frozen=True, slots=True)
class Handover:
    """The last block of a validator set: header, commit and the set itself (protobuf bytes). The header names
    the next.
    """

    header: bytes
    commit: bytes
    validators: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """From the roots after block H to the signatures under block H + 1; see the head of this module."""

    state_root: bytes
    log_root: bytes
    log_size: int
    block: bytes
    header: bytes
    commit: bytes
    validators: bytes
    handovers: tuple[Handover, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """A whole file: the network's id, the fact with its proof, and the anchor."""

    network: str
    subject: Subject
    anchor: Anchor


# --- writing ------------------------------------------------------------------------------------------------


def encode_evidence(evidence: Evidence) -> bytes:
    """The bytes of the file. `EvidenceError` "evidence.too_large" above `EVIDENCE_SIZE_BYTES_MAX`."""
    subject, anchor = evidence.subject, evidence.anchor
    about: tuple[object, ...]
    proof: tuple[object, ...]
    if isinstance(subject, ReceiptEvidence):
        about, proof = (subject.receipt, subject.envelope), (subject.log_index, subject.path)
    elif isinstance(subject, RowEvidence):
        about, proof = (subject.table, subject.key, subject.row), _tree_proof_value(subject.proof)
    elif isinstance(subject, AbsenceEvidence):
        about, proof = (subject.table, subject.key), _tree_proof_value(subject.proof)
    else:
        about = (subject.table, subject.start, subject.end, subject.rows)
        proof = _tree_proof_value(subject.proof)
    file = (
        MAGIC,
        FORMAT_VERSION,
        subject.kind,
        evidence.network,
        about,
        proof,
        (
            anchor.state_root,
            anchor.log_root,
            anchor.log_size,
            anchor.block,
            anchor.header,
            anchor.commit,
            anchor.validators,
            tuple((step.header, step.commit, step.validators) for step in anchor.handovers),
        ),
        b"\0" * HASH_SIZE_BYTES,
    )
    data = seal(encode_value(file)[:-SEAL_SIZE_BYTES])
    if len(data) > EVIDENCE_SIZE_BYTES_MAX:
        raise EvidenceError(
            "evidence.too_large",
            f"the evidence would have {len(data)} bytes",
            hint="ask for a smaller range of rows",
            size_bytes=len(data),
            size_bytes_max=EVIDENCE_SIZE_BYTES_MAX,
        )
    return data


def seal(unsealed: bytes) -> bytes:
    """The whole file for all of its bytes but the seal."""
    return unsealed + encode_value(tagged("evidence", unsealed))


def _tree_proof_value(proof: TreeProof) -> tuple[object, ...]:
    return (
        tuple((branch.key, branch.children, branch.hashes) for branch in proof.branches),
        tuple((leaf.key, leaf.digest) for leaf in proof.leaves),
    )


# --- reading ------------------------------------------------------------------------------------------------


def malformed(message: str, **fields: object) -> EvidenceError:
    """The error for a file that has not the form of this module."""
    return EvidenceError(
        "evidence.malformed",
        message,
        hint="the file was damaged, or is no evidence file: export or fetch it again",
        step="form",
        **fields,
    )


def array(value: Value, name: str, size: int | None = None) -> list[Value]:
    """`value` if it is an array (of `size` items); `EvidenceError` "evidence.malformed" otherwise, as with
    the others.
    """
    if not isinstance(value, list) or (size is not None and len(value) != size):
        raise malformed(f"{name} is not an array" + ("" if size is None else f" of {size}"))
    return value


def octets(value: Value, name: str, size: int | None = None) -> bytes:
    """`value` if it is bytes (`size` of them)."""
    if not isinstance(value, bytes) or (size is not None and len(value) != size):
        raise malformed(f"{name} is not bytes" if size is None else f"{name} does not have {size} bytes")
    return value


def text(value: Value, name: str, size_chars_max: int) -> str:
    """`value` if it is text of at most `size_chars_max` characters."""
    if not isinstance(value, str) or len(value) > size_chars_max:
        raise malformed(f"{name} is not a text of at most {size_chars_max} characters")
    return value


def integer(value: Value, name: str, greatest: int = INT64_MAX) -> int:
    """`value` if it is an integer from 0 to `greatest`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= greatest:
        raise malformed(f"{name} is not a number from 0 to {greatest}")
    return value


def decode_evidence(data: bytes) -> Evidence:
    """What a file holds, its form checked and nothing else: it is verified by `guildbook.evidence.verify`
    alone.

    Raises `EvidenceError` "evidence.malformed" or "evidence.wrong_version".
    """
    if len(data) > EVIDENCE_SIZE_BYTES_MAX:
        raise malformed(f"the file has {len(data)} bytes, more than {EVIDENCE_SIZE_BYTES_MAX}")
    try:
        value = decode_value(data)
    except GuildbookError as error:
        raise malformed(f"the file cannot be read: {error.message}") from error
    if not isinstance(value, list) or len(value) < 2 or value[0] != MAGIC:
        raise malformed("the file does not begin as an evidence file does")
    if value[1] is True or value[1] != FORMAT_VERSION:
        raise EvidenceError(
            "evidence.wrong_version",
            f"the file has version {value[1]!r}, and this verifier reads version {FORMAT_VERSION}",
            hint="use a verifier of the file's version",
            step="form",
        )
    _, _, kind, network, about, proof, anchor, _ = array(value, "the file", 8)
    if data != seal(data[:-SEAL_SIZE_BYTES]):
        raise malformed("the seal does not belong to the file, so a byte of it was changed")
    return Evidence(
        text(network, "the network", NETWORK_SIZE_CHARS_MAX), _subject(kind, about, proof), _anchor(anchor)
    )


def _subject(kind: Value, about: Value, proof: Value) -> Subject:
    if kind == ReceiptEvidence.kind:
        receipt, envelope = array(about, "the subject", 2)
        log_index, path = array(proof, "the log proof", 2)
        return ReceiptEvidence(
            octets(receipt, "the receipt"),
            None if envelope is None else octets(envelope, "the envelope"),
            integer(log_index, "the log index"),
            tuple(
                octets(node, "a hash of the log proof", HASH_SIZE_BYTES)
                for node in array(path, "the log path")
            ),
        )
    if kind == RowEvidence.kind:
        table, key, row = array(about, "the subject", 3)
        return RowEvidence(_table(table), octets(key, "the key"), octets(row, "the row"), _tree_proof(proof))
    if kind == AbsenceEvidence.kind:
        table, key = array(about, "the subject", 2)
        return AbsenceEvidence(_table(table), octets(key, "the key"), _tree_proof(proof))
    if kind == RangeEvidence.kind:
        table, start, end, rows = array(about, "the subject", 4)
        pairs = [array(pair, "a row of the range", 2) for pair in array(rows, "the rows")]
        return RangeEvidence(
            _table(table),
            octets(start, "the start"),
            None if end is None else octets(end, "the end"),
            tuple(
                (octets(key, "a key of the range"), octets(row, "a row of the range")) for key, row in pairs
            ),
            _tree_proof(proof),
        )
    raise malformed("the kind is none of receipt, row, absence and range")


def _table(value: Value) -> str:
    name = text(value, "the table", TABLE_SIZE_CHARS_MAX)
    if not name or "\0" in name:
        raise malformed("the table has no name")
    return name


def _tree_proof(value: Value) -> TreeProof:
    branches, leaves = array(value, "the tree proof", 2)
    outside_branches = []
    for item in array(branches, "the branches"):
        branch_key, children, hashes = array(item, "a branch", 3)
        outside_branches.append(
            OutsideBranch(
                octets(branch_key, "the key of a branch"),
                integer(children, "the children of a branch", (1 << 16) - 1),
                octets(hashes, "the hashes of a branch"),
            )
        )
    outside_leaves = []
    for item in array(leaves, "the leaves"):
        key, digest = array(item, "a leaf", 2)
        outside_leaves.append(
            OutsideLeaf(octets(key, "the key of a leaf"), octets(digest, "the digest of a leaf"))
        )
    return TreeProof(tuple(outside_branches), tuple(outside_leaves))


def _anchor(value: Value) -> Anchor:
    state_root, log_root, log_size, block, header, commit, validators, handovers = array(
        value, "the anchor", 8
    )
    steps = array(handovers, "the handovers")
    if len(steps) > HANDOVERS_MAX:
        raise malformed(f"there are more than {HANDOVERS_MAX} handovers")
    return Anchor(
        octets(state_root, "the state root", HASH_SIZE_BYTES),
        octets(log_root, "the log root", HASH_SIZE_BYTES),
        integer(log_size, "the log size"),
        octets(block, "the block"),
        octets(header, "the header"),
        octets(commit, "the commit"),
        octets(validators, "the validators"),
        tuple(
            Handover(
                octets(step[0], "the header of a handover"),
                octets(step[1], "the commit of a handover"),
                octets(step[2], "the validators of a handover"),
            )
            for step in (array(item, "a handover", 3) for item in steps)
        ),
    )
