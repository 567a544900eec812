"""Checkpoints: the size and the root of a log as a short text that its keeper signs.

*Note.* A signed note is a text that ends with a newline, an empty line, and one line for each signature: an em
dash, the name of the key, and in base64 four bytes of key id and the signature of the text. Name and id
together say which key it is. A reader has the keys it trusts; lines of other keys say nothing to it, which is
how witnesses can add theirs and how keys are replaced.

*Key id.* The first four bytes of SHA-256(name || 0A || type || key). The type is that of the signature; 01 is
Ed25519 over the text. A type that signs more than the text, as a witness's cosignature does, is a further type
with further keys in the same note: it is kept here as it came.

*Checkpoint.* The text of a checkpoint has a line with the origin (which log it is), one with the number of
leaves in decimal digits, one with the root in base64, and possibly further lines, which are kept.

Sources: C2SP signed-note v1; C2SP tlog-checkpoint v1. Ed25519 is judged by ZIP-215, as everywhere here.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Sequence
from typing import Final

from guildbook.primitives import keys
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import DIGEST_SIZE_BYTES, sha256
from guildbook.primitives.merkle_log import LOG_SIZE_LEAVES_MAX

NOTE_SIZE_BYTES_MAX: Final = 524_288
NOTE_SIGNATURES_MAX: Final = 64
KEY_ID_SIZE_BYTES: Final = 4
ED25519_SIGNATURE: Final = 0x01

_SIGNATURE_START: Final = "— "
_LOG_SIZE_DIGITS_MAX: Final = len(str(LOG_SIZE_LEAVES_MAX))
_TYPE_OF_ALGORITHM: Final = {keys.ED25519: ED25519_SIGNATURE}


def _malformed(message: str) -> GuildbookError:
    return GuildbookError("evidence.malformed", message)


def _decode_base64(text: str) -> bytes | None:
    """The bytes of which `text` is the base64 encoding (RFC 4648, section 4), or None."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return data if base64.b64encode(data).decode() == text else None


# Keys


@dataclasses.dataclass(frozen=True, slots=True)
class NoteKey:
    """A key that may sign notes: its `name` (no spaces, no plus sign) and its `public_key` (algorithm byte and
    raw key).

    Raises `GuildbookError` "evidence.malformed" for a name that cannot stand in a note, and "key.unsupported"
    for an algorithm that has no type of signature in notes.
    """

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not _is_key_name(self.name):
            raise _malformed(
                f"{self.name!r} is no name of a key: it is empty, or has a space or a plus sign."
            )
        if self.public_key[:1] not in (bytes((algorithm,)) for algorithm in _TYPE_OF_ALGORITHM):
            raise GuildbookError("key.unsupported", f"Key {self.name} is of no algorithm that signs notes.")

    @property
    def key_id(self) -> bytes:
        """The id (4 bytes) of the key, together with its name."""
        return sha256(f"{self.name}\n".encode() + self._typed_key())[:KEY_ID_SIZE_BYTES]

    def text(self) -> str:
        """The key as a line of text, as it is handed to those who verify: `<name>+<id>+<base64>`."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._typed_key()).decode()}"

    def _typed_key(self) -> bytes:
        return bytes((_TYPE_OF_ALGORITHM[self.public_key[0]],)) + self.public_key[1:]


def parse_note_key(text: str) -> NoteKey:
    """The key of which `text` is the `NoteKey.text`. Raises `GuildbookError` "evidence.malformed"."""
    name, _, rest = text.partition("+")
    _, _, encoded = rest.partition("+")
    typed_key = _decode_base64(encoded) or b""
    for algorithm, signature_type in _TYPE_OF_ALGORITHM.items():
        if (
            typed_key[:1] == bytes((signature_type,))
            and len(typed_key) == 1 + keys.SUITES[algorithm].key_size_bytes
        ):
            key = NoteKey(name, bytes((algorithm,)) + typed_key[1:])
            if key.text() == text:
                return key
    raise _malformed(f"{text[:160]!r} is no key of signed notes, or its id is not that of the key.")


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(letter.isspace() or letter < " " for letter in name)


# Notes


@dataclasses.dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: the `name` of a key, its `key_id` (4 bytes), and the signature (1 byte or more)."""

    name: str
    key_id: bytes
    signature: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class SignedNote:
    """A text that ends with a newline, and its signatures (1 to 64) in their order, of known keys and unknown."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The bytes of the note, which `parse_note` reads."""
        lines = [
            f"{_SIGNATURE_START}{signed.name} {base64.b64encode(signed.key_id + signed.signature).decode()}\n"
            for signed in self.signatures
        ]
        return f"{self.text}\n{''.join(lines)}".encode()


def parse_note(data: bytes) -> SignedNote:
    """The signed note in `data` (at most 512 KiB); no signature is verified.

    Raises `GuildbookError` "evidence.malformed" for anything else.
    """
    if len(data) > NOTE_SIZE_BYTES_MAX:
        raise _malformed(f"A note has at most {NOTE_SIZE_BYTES_MAX} bytes; this one has {len(data)}.")
    try:
        note = data.decode()
    except UnicodeDecodeError as error:
        raise _malformed(f"The note is not UTF-8: {error}.") from error
    if any(letter < " " and letter != "\n" for letter in note):
        raise _malformed("The note has a control character.")
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise _malformed("The note has no empty line with signature lines behind it.")
    signatures = tuple(_parse_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > NOTE_SIGNATURES_MAX:
        raise _malformed(
            f"A note has at most {NOTE_SIGNATURES_MAX} signatures; this one has {len(signatures)}."
        )
    return SignedNote(text + "\n", signatures)


def _parse_signature(line: str) -> NoteSignature:
    name, _, encoded = line.removeprefix(_SIGNATURE_START).partition(" ")
    signed = _decode_base64(encoded)
    if not line.startswith(_SIGNATURE_START) or not _is_key_name(name):
        raise _malformed(f"{line[:160]!r} is no signature line.")
    if signed is None or len(signed) <= KEY_ID_SIZE_BYTES:
        raise _malformed(f"The signature of {name} is not base64 of a key id and a signature.")
    return NoteSignature(name, signed[:KEY_ID_SIZE_BYTES], signed[KEY_ID_SIZE_BYTES:])


def sign_note(text: str, name: str, key: keys.SigningKey) -> NoteSignature:
    """The signature of `text`, which ends with a newline, by `key` under the name `name`."""
    assert text.endswith("\n"), text
    return NoteSignature(name, NoteKey(name, key.public_key).key_id, key.sign(text.encode()))


def verify_note(note: SignedNote, trusted: Sequence[NoteKey]) -> list[NoteKey]:
    """The keys among `trusted` that have signed the note, in their order; at least one.

    Raises `GuildbookError` "evidence.bad_signature" if a signature with the name and id of a trusted key is not
    one of the text by that key, and "evidence.untrusted" if there is no signature of a trusted key.
    """
    signers = []
    message = note.text.encode()
    for key in trusted:
        own = [signed for signed in note.signatures if (signed.name, signed.key_id) == (key.name, key.key_id)]
        for signed in own:
            if not keys.verify(key.public_key, message, signed.signature):
                raise GuildbookError(
                    "evidence.bad_signature",
                    f"The signature of {key.name} is not one of this note.",
                    key=key.text(),
                )
        if own:
            signers.append(key)
    if not signers:
        names = ", ".join(signed.name for signed in note.signatures)
        raise GuildbookError(
            "evidence.untrusted", f"The note is signed by {names}, and no trusted key is among them."
        )
    return signers


# Checkpoints


@dataclasses.dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: of the log `origin` (a line of text), the number of leaves `size` (0 to 2**63 - 1)
    and the root (32 bytes); `extensions` are further lines, which say nothing here.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The text to sign, which `parse_checkpoint` reads."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint that the text of a note is. Raises `GuildbookError` "evidence.malformed"."""
    *lines, behind = text.split("\n")
    if len(lines) < 3 or behind or not all(lines):
        raise _malformed("A checkpoint has three lines or more, none of them empty.")
    origin, size_text, root_text, *extensions = lines
    digits = size_text.isascii() and size_text.isdigit() and len(size_text) <= _LOG_SIZE_DIGITS_MAX
    size = int(size_text) if digits else -1
    if str(size) != size_text or not 0 <= size <= LOG_SIZE_LEAVES_MAX:
        raise _malformed(f"{size_text[:160]!r} is no number of leaves.")
    root = _decode_base64(root_text)
    if root is None or len(root) != DIGEST_SIZE_BYTES:
        raise _malformed(f"{root_text[:160]!r} is not base64 of 32 bytes.")
    return Checkpoint(origin, size, root, tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, key: keys.SigningKey) -> bytes:
    """The checkpoint as a note signed by the log, under its origin as the name of the key.

    Raises `GuildbookError` "evidence.malformed" if the origin cannot be the name of a key.
    """
    text = checkpoint.text()
    assert parse_checkpoint(text) == checkpoint, checkpoint
    return SignedNote(text, (sign_note(text, checkpoint.origin, key),)).encode()


def verify_checkpoint(data: bytes, log: NoteKey) -> Checkpoint:
    """The checkpoint in a signed note, after checking that `log` signed it and that its origin is the name of
    that key.

    Raises `GuildbookError` "evidence.malformed", "evidence.untrusted" or "evidence.bad_signature".
    """
    note = parse_note(data)
    verify_note(note, [log])
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != log.name:
        raise GuildbookError(
            "evidence.untrusted", f"The checkpoint is one of {checkpoint.origin!r}, signed by {log.name}."
        )
    return checkpoint
