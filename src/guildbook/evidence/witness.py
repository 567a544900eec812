"""A witness: it keeps the last checkpoint of a log that it has seen, and cosigns only what continues it.

The operator of a log could show one history to one reader and another to the next; each would verify. A witness of
another house makes that visible: whoever believes a checkpoint only with its cosignature sees what the witness saw,
and the witness never cosigns two histories.

When a log contradicts what it has signed before, both checkpoints are kept: `SplitView` holds them with what shows that
they cannot be of one log, and `prove_split` convinces a stranger with the log's public key alone. For equal sizes the
two roots show it. For different ones, a consistency proof of the later checkpoint shows which root its own log had at
the earlier size, and that is another than the earlier checkpoint says.

Nothing here has a clock, a socket or a disk. Source: C2SP tlog-witness, tlog-cosignature v1, tlog-checkpoint.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from guildbook.primitives.checkpoint import (
    NOTE_SIZE_BYTES_MAX,
    Checkpoint,
    NoteKey,
    SignedNote,
    parse_checkpoint,
    parse_note,
    parse_note_key,
    verify_checkpoint,
)
from guildbook.primitives.cosignature import cosign
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey
from guildbook.primitives.merkle_log import verify_consistency

PROOF_LINES_MAX: Final = 63
REQUEST_SIZE_BYTES_MAX: Final = NOTE_SIZE_BYTES_MAX + 64 + PROOF_LINES_MAX * 45
SPLIT_SIZE_BYTES_MAX: Final = 4 * NOTE_SIZE_BYTES_MAX
STATE_FORMAT: Final = 1
SIZE_TYPE: Final = "text/x.tlog.size"
PLAIN_TYPE: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class SplitView:
    """Two checkpoints (signed notes) of one log that exclude each other: `first` is the smaller or earlier seen one.

    `older_root` is the root that the log of `second` had at the size of `first`, shown by `proof`; both are empty for
    equal sizes.
    """

    log: str
    first: bytes
    second: bytes
    older_root: bytes = b""
    proof: tuple[bytes, ...] = ()

    def to_json(self) -> bytes:
        """The file that is kept and shown."""
        document = {
            "split_view": 1,
            "log": self.log,
            "first": self.first.decode(),
            "second": self.second.decode(),
            "older_root": base64.b64encode(self.older_root).decode(),
            "proof": [base64.b64encode(one).decode() for one in self.proof],
        }
        return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


class SplitFound(GuildbookError):
    """The log contradicts itself; `split` shows it."""

    def __init__(self, split: SplitView, message: str) -> None:
        super().__init__(
            "witness.split_view",
            message,
            hint="keep the file with both checkpoints, show it to the members, and believe neither",
        )
        self.split = split


def read_split(data: bytes) -> SplitView:
    """The split view in a file; raises GuildbookError "evidence.malformed"."""
    try:
        if len(data) > SPLIT_SIZE_BYTES_MAX:
            raise ValueError("it is too long")
        found: dict[str, Any] = json.loads(data)
        if found["split_view"] != 1:
            raise ValueError("its format is another")
        return SplitView(
            str(found["log"]),
            str(found["first"]).encode(),
            str(found["second"]).encode(),
            base64.b64decode(found["older_root"], validate=True),
            tuple(base64.b64decode(one, validate=True) for one in found["proof"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise GuildbookError(
            "evidence.malformed", f"this is no file of a split view: {error}", hint="use the file that a witness kept"
        ) from None


def prove_split(split: SplitView, log: NoteKey) -> tuple[Checkpoint, Checkpoint]:
    """Both checkpoints, after checking that `log` signed them and that no log can have both.

    Raises GuildbookError "evidence.*" for notes that `log` did not sign, and "witness.no_split" where the two do not
    exclude each other.
    """
    first, second = verify_checkpoint(split.first, log), verify_checkpoint(split.second, log)
    if first.size == second.size:
        if first.root == second.root:
            raise GuildbookError("witness.no_split", "both checkpoints have the same size and the same root")
        return first, second
    if first.size > second.size or not first.size:
        raise GuildbookError("witness.no_split", "the first checkpoint is not the smaller one, or is of an empty log")
    verify_consistency(first.size, split.older_root, second.size, second.root, split.proof)
    if split.older_root == first.root:
        raise GuildbookError("witness.no_split", "the second checkpoint continues the first")
    return first, second


class Answer(NamedTuple):
    """An answer to add-checkpoint: HTTP status, content type and body."""

    status: int
    content_type: str
    body: bytes


@dataclass
class Witness:
    """A witness with its key. `logs` are the logs it knows, by origin; `seen` its last cosigned checkpoint of each, as
    a note with the witness's signature.

    What a call changes in `seen` must be durable before its result is given away, and calls come one at a time.
    """

    name: str
    key: SigningKey
    logs: dict[str, NoteKey]
    seen: dict[str, bytes] = field(default_factory=dict)

    def last(self, origin: str) -> Checkpoint | None:
        """The last checkpoint of a log that was cosigned."""
        data = self.seen.get(origin)
        return None if data is None else parse_checkpoint(parse_note(data).text)

    def consider(self, data: bytes, old_root: bytes | None, proof: tuple[bytes, ...], time_s: int) -> SignedNote:
        """Cosign the checkpoint in the signed note `data`, which continues the last one; the note with both signatures.

        `proof` leads from the last size to the new one. `old_root` is what it shows the log to have had at the last
        size, where the caller has computed it from the log's tiles (None: nothing is known). Raises GuildbookError
        "witness.unknown_log", "evidence.*" for a note that the log did not sign, "witness.older" for a smaller log,
        "evidence.log_consistency", and `SplitFound`.
        """
        text_origin = parse_checkpoint(parse_note(data).text).origin
        log = self.logs.get(text_origin)
        if log is None:
            raise GuildbookError(
                "witness.unknown_log",
                f"this witness does not know the log {text_origin[:120]!r}",
                hint="give the witness the log's key",
            )
        new = verify_checkpoint(data, log)
        before = self.last(new.origin)
        if before is not None and before.size:
            self._compare(log, data, before, new, old_root, proof)
        elif proof:
            raise GuildbookError("evidence.log_consistency", "a first checkpoint needs no proof")
        note = parse_note(data)
        own = next(one for one in note.signatures if (one.name, one.key_id) == (log.name, log.key_id))
        cosigned = SignedNote(note.text, (own, cosign(note.text, self.name, self.key, time_s)))
        self.seen[new.origin] = cosigned.encode()
        return cosigned

    def _compare(
        self,
        log: NoteKey,
        data: bytes,
        before: Checkpoint,
        new: Checkpoint,
        old_root: bytes | None,
        proof: tuple[bytes, ...],
    ) -> None:
        kept = self.seen[new.origin]
        if new.size == before.size:
            if new.root != before.root:
                raise SplitFound(
                    SplitView(log.text(), kept, data), f"the log shows two roots for its size {new.size}"
                )
            return
        if new.size < before.size:
            raise GuildbookError(
                "witness.older",
                f"the log shows {new.size} entries, and showed {before.size} before",
                hint="ask again; if it stays so, the log was put back, and its operator owes an explanation",
                size=new.size,
                last=before.size,
            )
        if old_root is not None and old_root != before.root:
            verify_consistency(before.size, old_root, new.size, new.root, proof)
            raise SplitFound(
                SplitView(log.text(), kept, data, old_root, proof),
                f"the log of {new.size} entries does not continue the one of {before.size} that was cosigned",
            )
        verify_consistency(before.size, before.root, new.size, new.root, proof)

    def add_checkpoint(self, body: bytes, time_s: int) -> tuple[Answer, SplitView | None]:
        """The answer to a request by C2SP tlog-witness, and the split view that it shows, if it does."""
        try:
            old_size, proof, data = _read_request(body)
            new = parse_checkpoint(parse_note(data).text)
            log = self.logs.get(new.origin)
            if log is None:
                return Answer(404, PLAIN_TYPE, b"unknown log\n"), None
            try:
                verify_checkpoint(data, log)
            except GuildbookError:
                return Answer(403, PLAIN_TYPE, b"not signed by the log\n"), None
            if old_size > new.size:
                return Answer(400, PLAIN_TYPE, b"the old size is above the new one\n"), None
        except GuildbookError as error:
            return Answer(400, PLAIN_TYPE, f"{error.message}\n".encode()), None
        before = self.last(new.origin)
        last = 0 if before is None else before.size
        if old_size != last:
            split = None
            if before is not None and before.size == new.size and before.root != new.root:
                split = SplitView(log.text(), self.seen[new.origin], data)
            return Answer(409, SIZE_TYPE, f"{last}\n".encode()), split
        try:
            cosigned = self.consider(data, None, proof, time_s)
        except SplitFound as found:
            return Answer(409, SIZE_TYPE, f"{last}\n".encode()), found.split
        except GuildbookError as error:
            return Answer(422, PLAIN_TYPE, f"{error.message}\n".encode()), None
        line = SignedNote("", cosigned.signatures[-1:]).encode().removeprefix(b"\n")
        return Answer(200, PLAIN_TYPE, line), None

    def state(self) -> bytes:
        """What has to outlive the process."""
        notes = {origin: data.decode() for origin, data in sorted(self.seen.items())}
        return json.dumps({"format": STATE_FORMAT, "seen": notes}, indent=2, ensure_ascii=False).encode() + b"\n"


def read_state(data: bytes) -> dict[str, bytes]:
    """The checkpoints by origin in `Witness.state`. Raises GuildbookError "evidence.malformed"."""
    try:
        found = json.loads(data)
        if found["format"] != STATE_FORMAT:
            raise ValueError("its format is another")
        seen = {str(origin): str(note).encode() for origin, note in found["seen"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise GuildbookError(
            "evidence.malformed",
            f"the state of the witness cannot be read: {error}",
            hint="a witness that has lost its state must not go on under its key: make a new one",
        ) from None
    for origin, note in seen.items():
        if parse_checkpoint(parse_note(note).text).origin != origin:
            raise GuildbookError("evidence.malformed", f"the state of the witness is not of log {origin[:120]!r}")
    return seen


def request_of(old_size: int, proof: tuple[bytes, ...], note: bytes) -> bytes:
    """The body of an add-checkpoint request."""
    lines = [f"old {old_size}", *(base64.b64encode(one).decode() for one in proof), ""]
    return "".join(f"{line}\n" for line in lines).encode() + note


def _read_request(body: bytes) -> tuple[int, tuple[bytes, ...], bytes]:
    head, separator, note = body.partition(b"\n\n")
    try:
        if not separator or len(body) > REQUEST_SIZE_BYTES_MAX:
            raise ValueError("no empty line, or too long")
        first, *hashes = head.decode("ascii").split("\n")
        size = int(first.removeprefix("old "))
        proof = tuple(base64.b64decode(one, validate=True) for one in hashes)
        if first != f"old {size}" or len(proof) > PROOF_LINES_MAX or any(len(one) != 32 for one in proof):
            raise ValueError("the lines before the checkpoint")
    except ValueError as error:
        raise GuildbookError("evidence.malformed", f"this is no request: {error}") from None
    return size, proof, note


def log_key(text: str) -> NoteKey:
    """The key of a log, which is its origin as well. Raises GuildbookError "evidence.malformed"."""
    return parse_note_key(text)
