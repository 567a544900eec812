"""Keys in files: everybody's format, nobody else's eyes, and never a second key over the first."""

import errno
import os
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from guildbook.client.keyfile import new_key, read_key, write_key
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey


def refused(path, said, passphrase=None):
    with pytest.raises(GuildbookError, match=r"key\.malformed") as caught:
        read_key(path, passphrase)
    assert said in caught.value.message + caught.value.hint


def test_a_key_reads_back_and_signs_the_same(tmp_path):
    key = new_key()
    write_key(tmp_path / "a.key", key)
    again = read_key(tmp_path / "a.key")
    assert again.seed == key.seed
    assert again.sign(b"x") == key.sign(b"x")


def test_a_key_that_cannot_be_written_whole_leaves_no_file(tmp_path, monkeypatch):
    def no_room(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_room)
        with pytest.raises(OSError, match="No space left"):
            write_key(tmp_path / "a.key", new_key())
    assert not list(tmp_path.iterdir())
    write_key(tmp_path / "a.key", new_key())


def test_two_new_keys_differ():
    assert new_key().public_key != new_key().public_key


def test_the_file_belongs_to_its_owner_alone(tmp_path):
    path = tmp_path / "a.key"
    write_key(path, new_key())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for mode in (0o640, 0o604, 0o660, 0o644):
        path.chmod(mode)
        refused(path, "chmod 600")


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "a.key"
    write_key(path, new_key())
    before = path.read_bytes()
    with pytest.raises(GuildbookError, match="never overwritten"):
        write_key(path, new_key())
    assert path.read_bytes() == before


def test_a_passphrase_is_needed_and_must_be_right(tmp_path):
    path, key = tmp_path / "a.key", new_key()
    write_key(path, key, "correct horse")
    assert key.seed not in path.read_bytes()
    assert read_key(path, "correct horse").seed == key.seed
    refused(path, "under a passphrase")
    refused(path, "passphrase is wrong", "battery staple")
    write_key(tmp_path / "b.key", key)
    refused(tmp_path / "b.key", "not under a passphrase", "correct horse")


def test_the_format_is_what_other_tools_write(tmp_path):
    """RFC 8410, section 10.3: the example private key and its public key."""
    path = tmp_path / "rfc8410.key"
    path.write_text(
        "-----BEGIN PRIVATE KEY-----\n"
        "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
        "-----END PRIVATE KEY-----\n"
    )
    path.chmod(0o600)
    key = read_key(path)
    assert key.public_key.hex() == "0119bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
    write_key(tmp_path / "again.key", SigningKey.from_seed(key.seed))
    assert (tmp_path / "again.key").read_text() == path.read_text()


def test_what_is_no_key_file_is_said_to_be_none(tmp_path):
    path = tmp_path / "a.key"
    refused(path, "cannot be read")
    for content in (
        b"",
        b"hello",
        bytes(100_000),
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ):
        path.write_bytes(content)
        path.chmod(0o600)
        refused(path, "is no private key")
    curve = generate_private_key(SECP256R1())
    path.write_bytes(curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    refused(path, "Ed25519")
    os.unlink(path)
    path.mkdir()
    refused(path, "cannot be read")
