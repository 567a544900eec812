"""Hashes: SHA-256 (FIPS 180-4), and SHA-256 with a domain.

A plain hash says nothing about what was hashed: the same 32 bytes could be read as the id of a transaction
and as the root of a tree. Wherever Guildbook defines a hash itself, it begins with a tag that names the use
and its version, ended by a zero byte that no tag contains, so no input of one use is an input of another. The
parts after the tag are joined without lengths: a caller passes parts of fixed length, or one part of any
length at the end.
"""

from __future__ import annotations

import hashlib

DIGEST_SIZE_BYTES = 32


def sha256(data: bytes) -> bytes:
    """The SHA-256 digest (32 bytes) of `data`."""
    return hashlib.sha256(data).digest()


def tagged(tag: str, *parts: bytes) -> bytes:
    """SHA-256 (32 bytes) of `guildbook/<tag>/v1`, a zero byte, and `parts` joined.

    `tag` is ASCII without a zero byte. At most one of the parts may vary in length, or two inputs can meet in
    one.
    """
    return hashlib.sha256(b"".join((b"guildbook/", tag.encode("ascii"), b"/v1\0", *parts))).digest()
