"""Signing keys in files: PKCS #8 in PEM (RFC 5958, RFC 7468, RFC 8410), optionally under a passphrase.

The format is everybody's, so that a key can be made, looked at and moved with ordinary tools. A file that others can
read is refused, because a key that somebody else may have copied proves nothing about who signed.
"""

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey

KEY_FILE_MODE = 0o600
KEY_FILE_SIZE_BYTES_MAX = 65_536
OTHERS_MODE_BITS = 0o077
ENTROPY_SIZE_BYTES = 64


def new_key() -> SigningKey:
    """A new signing key from the operating system's randomness."""
    return SigningKey.generate(os.urandom(ENTROPY_SIZE_BYTES))


def write_key(path: Path, key: SigningKey, passphrase: str | None = None) -> None:
    """Write ``key`` to the new file ``path``, readable by its owner alone, and make it durable.

    Raises GuildbookError ``key.malformed`` when the file exists: a key is never overwritten.
    When it cannot be written whole, nothing of it is left.
    """
    encryption: KeySerializationEncryption = (
        NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase.encode("utf-8"))
    )
    text = Ed25519PrivateKey.from_private_bytes(key.seed).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, encryption
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, KEY_FILE_MODE)
    except FileExistsError:
        raise GuildbookError(
            "key.malformed",
            f"{path} exists, and a key is never overwritten",
            hint="name another file",
            path=str(path),
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)  # half a key is none, and would be in the way of the next attempt
        raise


def read_key(path: Path, passphrase: str | None = None) -> SigningKey:
    """The signing key in ``path``. Raises GuildbookError ``key.malformed`` saying what is wrong with the file."""

    def refuse(what: str, hint: str) -> GuildbookError:
        return GuildbookError("key.malformed", f"{path} {what}", hint=hint, path=str(path))

    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            text = file.read(KEY_FILE_SIZE_BYTES_MAX)
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}", "check the path and who owns the file") from None
    if stat.S_IMODE(mode) & OTHERS_MODE_BITS:
        raise refuse(f"can be read by others (mode {stat.S_IMODE(mode):o})", f"run: chmod 600 {path}")
    try:
        key = load_pem_private_key(text, None if passphrase is None else passphrase.encode("utf-8"))
    except TypeError:
        encrypted = passphrase is None
        raise refuse(
            "is under a passphrase" if encrypted else "is not under a passphrase",
            "give the passphrase" if encrypted else "give no passphrase",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise refuse(
            "is no private key, or the passphrase is wrong", "a key file is PKCS #8 in PEM"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise refuse(f"holds a {type(key).__name__}", "make an Ed25519 key with: guildbook keys new")
    return SigningKey.from_seed(key.private_bytes_raw())
