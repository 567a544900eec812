"""Checkpoints against published ones, and everything that is refused."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guildbook.primitives.checkpoint import (
    NOTE_SIGNATURES_MAX,
    NOTE_SIZE_BYTES_MAX,
    Checkpoint,
    NoteKey,
    NoteSignature,
    SignedNote,
    parse_checkpoint,
    parse_note,
    parse_note_key,
    sign_checkpoint,
    sign_note,
    verify_checkpoint,
    verify_note,
)
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey
from guildbook.primitives.merkle_log import leaf_hash, verify_inclusion
from shared_data import shared

TILE_LOG_KEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"

# The example of the Go package golang.org/x/mod/sumdb/note.
EXAMPLE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
EXAMPLE_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

KEY = SigningKey.from_seed(bytes(range(32)))
OTHER_KEY = SigningKey.from_seed(bytes(32))
LOG = NoteKey("ledger.example/receipts", KEY.public_key)
CHECKPOINT = Checkpoint(LOG.name, 20852163, bytes(range(32)))


def refused(code, call, *arguments):
    with pytest.raises(GuildbookError) as refusal:
        call(*arguments)
    assert refusal.value.code == code


# Published ones


@pytest.mark.parametrize("size", range(16))
def test_every_checkpoint_of_the_tile_log_is_accepted_and_written_the_same(size):
    data = (shared("crypto/merkle-tile-log") / f"checkpoint.{size}").read_bytes()
    checkpoint = verify_checkpoint(data, parse_note_key(TILE_LOG_KEY))
    assert checkpoint.size == size
    note = parse_note(data)
    assert note.encode() == data
    assert checkpoint.text() == note.text


def test_the_example_note_is_accepted_and_its_key_is_written_the_same():
    key = parse_note_key(EXAMPLE_KEY)
    assert key.text() == EXAMPLE_KEY
    assert verify_note(parse_note(EXAMPLE_NOTE), [key]) == [key]


def witnessed_entry():
    bundle = json.loads(
        shared("crypto/sigstore-bundles/a.dsse.staging-rekor-v2.txt.sigstore.json").read_text()
    )
    return bundle["verificationMaterial"]["tlogEntries"][0]


def test_a_checkpoint_with_the_signatures_of_witnesses_is_read_and_written_the_same():
    envelope = witnessed_entry()["inclusionProof"]["checkpoint"]["envelope"].encode()
    note = parse_note(envelope)
    assert note.encode() == envelope
    assert [signed.name for signed in note.signatures][1:] == [
        "witness.stagemole.eu",
        "staging.witness.transparency.goog/ring-any-bells",
        "witness.navigli.sunlight.geomys.org",
    ]
    assert [len(signed.signature) for signed in note.signatures] == [64, 72, 72, 72]


def test_an_entry_of_a_public_log_is_in_the_tree_of_its_checkpoint():
    entry = witnessed_entry()
    checkpoint = parse_checkpoint(parse_note(entry["inclusionProof"]["checkpoint"]["envelope"].encode()).text)
    proof = [base64.b64decode(node) for node in entry["inclusionProof"]["hashes"]]
    leaf = leaf_hash(base64.b64decode(entry["canonicalizedBody"]))
    verify_inclusion(leaf, int(entry["logIndex"]), checkpoint.size, proof, checkpoint.root)


# Laws

LINES = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), min_size=1)
NAMES = st.text(
    st.characters(min_codepoint=0x21, exclude_categories=["Cs", "Z", "Cc"], exclude_characters="+"),
    min_size=1,
)


@given(NAMES, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.lists(LINES).map(tuple))
def test_what_is_signed_is_what_is_verified(origin, size, root, extensions):
    checkpoint = Checkpoint(origin, size, root, extensions)
    assert verify_checkpoint(sign_checkpoint(checkpoint, KEY), NoteKey(origin, KEY.public_key)) == checkpoint


@given(NAMES)
def test_a_key_is_read_from_its_text(name):
    key = NoteKey(name, KEY.public_key)
    assert parse_note_key(key.text()) == key


@given(st.data())
def test_no_bit_of_a_checkpoint_can_be_changed(data):
    note = sign_checkpoint(CHECKPOINT, KEY)
    at = data.draw(st.integers(0, len(note) * 8 - 1))
    changed = bytes(byte ^ (1 << at % 8 if place == at // 8 else 0) for place, byte in enumerate(note))
    with pytest.raises(GuildbookError):
        verify_checkpoint(changed, LOG)


@given(st.binary() | st.text().map(str.encode))
def test_anything_else_is_refused_as_malformed(data):
    refused("evidence.malformed", parse_note, data)


# Signatures


def note_of(*signatures):
    return SignedNote(CHECKPOINT.text(), signatures)


def test_signatures_of_unknown_keys_are_passed_over():
    own = sign_note(CHECKPOINT.text(), LOG.name, KEY)
    stranger = sign_note(CHECKPOINT.text(), "witness.example/w1", OTHER_KEY)
    same_name = sign_note(CHECKPOINT.text(), LOG.name, OTHER_KEY)
    same_id = NoteSignature("witness.example/w2", own.key_id, b"anything")
    assert verify_note(note_of(stranger, same_name, same_id, own), [LOG]) == [LOG]


def test_all_trusted_signers_are_named():
    witness = NoteKey("witness.example/w1", OTHER_KEY.public_key)
    absent = NoteKey("witness.example/w2", OTHER_KEY.public_key)
    note = note_of(
        sign_note(CHECKPOINT.text(), witness.name, OTHER_KEY), sign_note(CHECKPOINT.text(), LOG.name, KEY)
    )
    assert verify_note(note, [LOG, absent, witness]) == [LOG, witness]


def test_a_note_without_a_trusted_signature_is_refused():
    note = note_of(sign_note(CHECKPOINT.text(), "witness.example/w1", OTHER_KEY))
    refused("evidence.untrusted", verify_note, note, [LOG])
    refused("evidence.untrusted", verify_note, note, [])


def test_a_bad_signature_of_a_trusted_key_refuses_the_note_although_another_is_good():
    good = sign_note(CHECKPOINT.text(), LOG.name, KEY)
    bad = sign_note("other text\n", LOG.name, KEY)
    refused("evidence.bad_signature", verify_note, note_of(good, bad), [LOG])
    short = NoteSignature(LOG.name, LOG.key_id, b"short")
    refused("evidence.bad_signature", verify_note, note_of(short), [LOG])


def test_a_log_cannot_sign_for_another_one():
    text = CHECKPOINT.text().replace(LOG.name, "elsewhere.example")
    data = SignedNote(text, (sign_note(text, LOG.name, KEY),)).encode()
    refused("evidence.untrusted", verify_checkpoint, data, LOG)


# Malformed


GOOD_LINE = f"— {LOG.name} {base64.b64encode(LOG.key_id + bytes(64)).decode()}\n"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        f"text\n{GOOD_LINE}",
        "text\n\n",
        f"text\n\n{GOOD_LINE[:-1]}",
        f"text\n\n{GOOD_LINE}{GOOD_LINE[:-1]}",
        f"te\rxt\n\n{GOOD_LINE}",
        f"text\n\n{GOOD_LINE[1:]}",
        f"text\n\n{GOOD_LINE.replace('—', '-')}",
        "text\n\n—  AAAAAAA=\n",
        "text\n\n— na+me AAAAAAA=\n",
        "text\n\n— na\u2003me AAAAAAA=\n",
        "text\n\n— name AAAAAAA\n",
        "text\n\n— name AAAAAAB=\n",
        "text\n\n— name AAAAAA==\n",
        "text\n\n— name\n",
        f"text\n\n{GOOD_LINE * (NOTE_SIGNATURES_MAX + 1)}",
        f"{'x' * NOTE_SIZE_BYTES_MAX}\n\n{GOOD_LINE}",
    ],
    ids=[
        "nothing",
        "no signature",
        "no empty line",
        "no line behind the empty one",
        "no newline at the end",
        "no newline behind the second signature",
        "control character",
        "no dash",
        "another dash",
        "empty name",
        "plus in the name",
        "wide space in the name",
        "base64 without padding",
        "base64 with stray bits",
        "key id alone",
        "name alone",
        "too many signatures",
        "too long",
    ],
)
def test_what_is_no_signed_note_is_refused(note):
    refused("evidence.malformed", parse_note, note.encode())


def test_a_note_that_is_not_utf_8_is_refused():
    refused("evidence.malformed", parse_note, b"te\xffxt\n\n" + GOOD_LINE.encode())


ROOT_LINE = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"origin\n5\n{ROOT_LINE}",
        "origin\n5\n",
        f"\n5\n{ROOT_LINE}\n",
        f"origin\n5\n{ROOT_LINE}\n\n",
        f"origin\n5\n{ROOT_LINE}\n\nextension\n",
        f"origin\n05\n{ROOT_LINE}\n",
        f"origin\n-5\n{ROOT_LINE}\n",
        f"origin\n+5\n{ROOT_LINE}\n",
        f"origin\n5 \n{ROOT_LINE}\n",
        f"origin\n\u0665\n{ROOT_LINE}\n",
        f"origin\n{2**63}\n{ROOT_LINE}\n",
        f"origin\n{'9' * 10_000}\n{ROOT_LINE}\n",
        f"origin\n5\n{ROOT_LINE[:-1]}\n",
        "origin\n5\nAAAA\n",
    ],
    ids=[
        "nothing",
        "no newline at the end",
        "two lines",
        "empty origin",
        "empty extension",
        "empty line before an extension",
        "leading zero",
        "negative size",
        "signed size",
        "space behind the size",
        "digits of another script",
        "size out of range",
        "size of ten thousand digits",
        "root without padding",
        "short root",
    ],
)
def test_what_is_no_checkpoint_is_refused(text):
    refused("evidence.malformed", parse_checkpoint, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        EXAMPLE_KEY.replace("c74f20a3", "c74f20a4"),
        EXAMPLE_KEY.replace("c74f20a3", "C74F20A3"),
        EXAMPLE_KEY.replace("PeterNeumann", "Peter"),
        EXAMPLE_KEY[:-4],
        EXAMPLE_KEY.replace("+ARpc", "+BRpc"),
        f"+{EXAMPLE_KEY}",
    ],
    ids=[
        "nothing",
        "name alone",
        "other id",
        "upper case",
        "other name",
        "short key",
        "other type",
        "no name",
    ],
)
def test_what_is_no_key_of_notes_is_refused(text):
    refused("evidence.malformed", parse_note_key, text)


def test_names_and_algorithms_that_notes_do_not_have_are_refused():
    refused("evidence.malformed", NoteKey, "na me", KEY.public_key)
    refused("key.unsupported", NoteKey, "name", b"\xee" + bytes(32))
    refused("evidence.malformed", sign_checkpoint, Checkpoint("or igin", 0, bytes(32)), KEY)
