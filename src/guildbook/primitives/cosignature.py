"""Cosignatures: a witness's word that a log only grew, beside the log's own signature in one note.

A witness signs not the text of the checkpoint alone but when it saw it: the message is the line `cosignature/v1`, the
line `time <seconds since 1970>`, and the text. The signature in the note is the time (8 bytes, big-endian) and the
Ed25519 signature (64 bytes). The type of such a key is 04, in its id and in its text form, so a witness's key is never
taken for a log's.

Source: C2SP tlog-cosignature v1 (Ed25519). Signatures are judged by ZIP-215, as everywhere here.
"""

from __future__ import annotations

import base64
import dataclasses
from typing import Final

from guildbook.primitives import keys
from guildbook.primitives.checkpoint import KEY_ID_SIZE_BYTES, NoteKey, NoteSignature, SignedNote
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import sha256

COSIGNATURE_TYPE: Final = b"\x04"
TIME_SIZE_BYTES: Final = 8
TIME_S_MAX: Final = 2**63 - 1
KEY_SIZE_BYTES: Final = 32


@dataclasses.dataclass(frozen=True, slots=True)
class WitnessKey:
    """The key of a witness: its `name`, and its `public_key` (algorithm byte 01 and 32 bytes).

    Raises `GuildbookError` "evidence.malformed" for a name that cannot stand in a note, "key.unsupported" for a key
    of another algorithm than Ed25519.
    """

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        NoteKey(self.name, self.public_key)
        if self.public_key[0] != keys.ED25519 or len(self.public_key) != 1 + KEY_SIZE_BYTES:
            raise GuildbookError("key.unsupported", f"Witness {self.name} has no Ed25519 key.")

    @property
    def key_id(self) -> bytes:
        """The id (4 bytes) of the key, together with its name."""
        return sha256(f"{self.name}\n".encode() + COSIGNATURE_TYPE + self.public_key[1:])[:KEY_ID_SIZE_BYTES]

    def text(self) -> str:
        """The key as a line of text: `<name>+<id>+<base64>`."""
        typed = base64.b64encode(COSIGNATURE_TYPE + self.public_key[1:]).decode()
        return f"{self.name}+{self.key_id.hex()}+{typed}"


def parse_witness_key(text: str) -> WitnessKey:
    """The key of which `text` is the `WitnessKey.text`. Raises `GuildbookError` "evidence.malformed"."""
    name, _, rest = text.partition("+")
    _, _, encoded = rest.partition("+")
    try:
        typed = base64.b64decode(encoded, validate=True)
    except ValueError:
        typed = b""
    if typed[:1] == COSIGNATURE_TYPE and len(typed) == 1 + KEY_SIZE_BYTES:
        key = WitnessKey(name, bytes((keys.ED25519,)) + typed[1:])
        if key.text() == text:
            return key
    raise GuildbookError(
        "evidence.malformed", f"{text[:160]!r} is no key of a witness, or its id is not that of the key."
    )


def _message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosign(text: str, name: str, key: keys.SigningKey, time_s: int) -> NoteSignature:
    """The cosignature of a checkpoint's `text`, seen at `time_s` (seconds since 1970), by the witness `name`."""
    assert 0 <= time_s <= TIME_S_MAX, time_s
    signature = time_s.to_bytes(TIME_SIZE_BYTES, "big") + key.sign(_message(text, time_s))
    return NoteSignature(name, WitnessKey(name, key.public_key).key_id, signature)


def cosigned_at(note: SignedNote, witness: WitnessKey) -> int | None:
    """When `witness` cosigned the note (seconds since 1970; the last time, if several), None if it did not.

    Raises `GuildbookError` "evidence.bad_signature" if a line with its name and id is no cosignature of the note.
    """
    found = None
    for signed in note.signatures:
        if (signed.name, signed.key_id) != (witness.name, witness.key_id):
            continue
        time_s = int.from_bytes(signed.signature[:TIME_SIZE_BYTES], "big")
        if (
            len(signed.signature) <= TIME_SIZE_BYTES
            or time_s > TIME_S_MAX
            or not keys.verify(witness.public_key, _message(note.text, time_s), signed.signature[TIME_SIZE_BYTES:])
        ):
            raise GuildbookError(
                "evidence.bad_signature",
                f"The cosignature of {witness.name} is not one of this checkpoint.",
                key=witness.text(),
            )
        found = time_s if found is None else max(found, time_s)
    return found
