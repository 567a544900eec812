"""Key files from the command line."""

import os
import stat

import pytest

from command_line import CommandLine, environment, finished, process
from guildbook.client.keyfile import read_key
from guildbook.contract.keys import proves_possession
from guildbook.primitives.keys import key_text


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.delenv("GUILDBOOK_KEY_PASSPHRASE", raising=False)
    return CommandLine(capsys)


def test_a_new_key_is_readable_by_its_owner_alone(run, tmp_path):
    ran = run.done("keys", "new", tmp_path / "till.key")
    assert stat.S_IMODE((tmp_path / "till.key").stat().st_mode) == 0o600
    text = key_text(read_key(tmp_path / "till.key").public_key)
    assert f"public key: {text}" in ran.out
    assert "The file is not encrypted" in ran.out
    assert run.done("keys", "show", tmp_path / "till.key").out == text + "\n"
    assert run.done("keys", "show", tmp_path / "till.key", "--json").document == {
        "file": str(tmp_path / "till.key"),
        "algorithm": "ed25519",
        "key": text,
        "encrypted": False,
    }


def test_a_key_is_never_overwritten(run, tmp_path):
    run.done("keys", "new", tmp_path / "till.key")
    before = (tmp_path / "till.key").read_bytes()
    ran = run("keys", "new", tmp_path / "till.key")
    assert ran.status == 2
    assert "exists, and a key is never overwritten" in ran.err
    assert (tmp_path / "till.key").read_bytes() == before


def test_the_secret_is_shown_nowhere(run, tmp_path):
    new = run.done("keys", "new", tmp_path / "till.key")
    seed = read_key(tmp_path / "till.key").seed.hex()
    shown = run.done("keys", "show", tmp_path / "till.key", "--json")
    listed = run.done("keys", "list", tmp_path, "--json")
    assert seed not in new.out + shown.out + listed.out


def test_a_key_under_a_passphrase_opens_with_it_alone(run, tmp_path, monkeypatch):
    monkeypatch.setenv("GUILDBOOK_KEY_PASSPHRASE", "the quiet harbour")
    assert "The file is encrypted" in run.done("keys", "new", tmp_path / "a.key", "--passphrase").out
    assert b"ENCRYPTED" in (tmp_path / "a.key").read_bytes()
    run.done("keys", "show", tmp_path / "a.key")
    monkeypatch.setenv("GUILDBOOK_KEY_PASSPHRASE", "another")
    wrong = run("keys", "show", tmp_path / "a.key", "--json")
    assert wrong.status == 2
    assert wrong.error["code"] == "key.malformed"
    monkeypatch.delenv("GUILDBOOK_KEY_PASSPHRASE")
    without = run("keys", "show", tmp_path / "a.key")
    assert without.status == 2
    assert "is under a passphrase" in without.err


def test_a_passphrase_in_the_environment_does_no_harm_to_a_plain_key(run, tmp_path, monkeypatch):
    run.done("keys", "new", tmp_path / "a.key")
    monkeypatch.setenv("GUILDBOOK_KEY_PASSPHRASE", "the quiet harbour")
    run.done("keys", "show", tmp_path / "a.key")


def test_a_passphrase_is_asked_for_twice(tmp_path):
    env = environment()
    env.pop("GUILDBOOK_KEY_PASSPHRASE", None)
    ran = finished(process("keys", "new", tmp_path / "a.key", "--passphrase", env=env))
    assert ran.status == 130, ran
    assert not (tmp_path / "a.key").exists()


def test_keys_of_a_folder_are_listed_whatever_is_wrong_with_one(run, tmp_path, monkeypatch):
    run.done("keys", "new", tmp_path / "b.key")
    run.done("keys", "new", tmp_path / "a.key")
    monkeypatch.setenv("GUILDBOOK_KEY_PASSPHRASE", "the quiet harbour")
    run.done("keys", "new", tmp_path / "c.key", "--passphrase")
    (tmp_path / "d.key").write_text("no key")
    os.chmod(tmp_path / "d.key", 0o600)
    (tmp_path / "notes.txt").write_text("no key either")
    lines = run.done("keys", "list", tmp_path).out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["a.key", "b.key", "c.key", "d.key"]
    assert "under a passphrase" in lines[4]
    assert "is no private key" in lines[5]
    assert len(run.done("keys", "list", tmp_path, "--json").document["keys"]) == 4


def test_a_folder_without_keys_says_so(run, tmp_path):
    assert "no key files" in run.done("keys", "list", tmp_path).out
    assert run("keys", "list", tmp_path / "nowhere").status == 2


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", bytes(range(256))])
def test_what_is_no_key_is_refused(run, tmp_path, content):
    path = tmp_path / "a.key"
    path.write_bytes(content)
    path.chmod(0o600)
    ran = run("keys", "show", path)
    assert ran.status == 2
    assert "is no private key" in ran.err


def test_a_key_that_others_can_read_is_refused_with_the_way_out(run, tmp_path):
    run.done("keys", "new", tmp_path / "a.key")
    (tmp_path / "a.key").chmod(0o644)
    ran = run("keys", "show", tmp_path / "a.key")
    assert ran.status == 2
    assert f"chmod 600 {tmp_path / 'a.key'}" in ran.err


def test_a_key_in_a_folder_that_is_not_there_is_refused(run, tmp_path):
    ran = run("keys", "new", tmp_path / "nowhere" / "a.key")
    assert ran.status == 2
    assert "No such file or directory" in ran.err


def test_possession_of_a_key_is_proven_as_its_registration_asks(run, tmp_path):
    run.done("keys", "new", tmp_path / "till.key")
    words = ("--network", "alliance", "--party", "till", "--json")
    told = run.done("keys", "prove", tmp_path / "till.key", *words).document
    key, proof = bytes.fromhex(told["public_key"]), bytes.fromhex(told["proof"])
    assert key == read_key(tmp_path / "till.key").public_key
    assert proves_possession("alliance", "till", key, proof)
    assert not proves_possession("alliance", "other", key, proof)
    ran = run("keys", "prove", tmp_path / "till.key", "--network", "No Network", "--party", "till")
    assert ran.status == 2
    assert "is no network id" in ran.err
