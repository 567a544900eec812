"""A citizen's receipt on paper: two QR codes for one payment.

The *name* of a receipt is a short text: the network, the transaction, the digest of its evidence file, and what it is
about. A phone reads it from any print, and an office finds the evidence by the transaction id, at any node and at any
time. It proves nothing by itself, and another node may export other bytes, with the signatures it has: the digest says
whether a file is the very one that the citizen was given.

The *proof* is the whole evidence file, so that paper, trust anchor and program are enough and no office is asked. It is
deflated and written in base 45 (RFC 9285), whose alphabet is the alphanumeric mode of QR codes: some 1,800 bytes make a
square of about 130 modules, which wants a good print of 6 cm or more. Bytes as they are would need less room, but many
readers give text alone and break them. A file that does not fit has no such code: where validators have changed, each
handover that the proof needs adds to it.
"""

import sys
import zlib
from pathlib import Path

import segno

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import sha256

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
"""RFC 9285, table 1."""
MARK = "GB1:"
"""What a proof in a code begins with: this form, first version."""
CHARACTERS_MAX = 4_296
"""What the largest QR code holds in alphanumeric mode at the lowest correction (ISO/IEC 18004, table 7)."""
EVIDENCE_BYTES_MAX = 64 << 10
"""What a proof may inflate to."""
MODULE_PIXELS = 6


def name_text(network: str, transaction: bytes, evidence: bytes, about: str) -> str:
    """The text of a receipt's name; ``about`` is a few words for people."""
    return f"guildbook receipt\nnetwork {network}\ntransaction {transaction.hex()}\n" \
           f"evidence sha256 {sha256(evidence).hex()}\n{about}"


def proof_text(evidence: bytes) -> str | None:
    """The text of a whole evidence file; None where it is too long for a code."""
    text = MARK + _base45(zlib.compress(evidence, 9))
    return text if len(text) <= CHARACTERS_MAX else None


def read_proof(text: str) -> bytes:
    """The evidence file in the text of a code; raises GuildbookError ``evidence.malformed``."""
    try:
        if not text.startswith(MARK) or len(text) > CHARACTERS_MAX:
            raise ValueError("it is no proof of this form")
        inflate = zlib.decompressobj()
        data = inflate.decompress(_bytes_of(text.removeprefix(MARK)), EVIDENCE_BYTES_MAX)
        if not inflate.eof or inflate.unused_data:
            raise ValueError("it is not whole")
    except (ValueError, zlib.error) as error:
        raise GuildbookError("evidence.malformed", f"the text is no receipt's proof: {error}",
                             hint="scan the larger of the two codes again, and keep spaces as they are") from None
    return data


def draw(text: str, path: Path, *, correction: str) -> str:
    """Write the QR code of ``text`` as PNG; returns its version, 1 to 40. ``correction`` is L, M, Q or H."""
    code = segno.make_qr(text, error=correction, boost_error=False)
    code.save(str(path), scale=MODULE_PIXELS, border=4)
    return str(code.version)


def _base45(data: bytes) -> str:
    characters = []
    for start in range(0, len(data), 2):
        pair = data[start:start + 2]
        number = int.from_bytes(pair, "big")
        for _ in range(len(pair) + 1):
            number, digit = divmod(number, len(ALPHABET))
            characters.append(ALPHABET[digit])
    return "".join(characters)


def _bytes_of(text: str) -> bytes:
    data = bytearray()
    for start in range(0, len(text), 3):
        group = text[start:start + 3]
        number = sum(ALPHABET.index(character) * len(ALPHABET) ** place for place, character in enumerate(group))
        if len(group) == 1 or number >> 8 * (len(group) - 1):
            raise ValueError("it is no base 45")
        data += number.to_bytes(len(group) - 1, "big")
    return bytes(data)


if __name__ == "__main__":
    sys.stdout.buffer.write(read_proof(sys.stdin.read().rstrip("\r\n")))
