"""Witnesses: published cosignatures, growth that is cosigned, and everything that is refused or proves a split view."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import CommandLine, filled, founded
from guildbook.cli.witnessing import _server
from guildbook.client.keyfile import read_key, write_key
from guildbook.evidence.witness import (
    SplitFound,
    SplitView,
    Witness,
    prove_split,
    read_split,
    read_state,
    request_of,
)
from guildbook.node import open_node
from guildbook.node.witnesses import Witnesses, parse_witness_place
from guildbook.primitives.checkpoint import (
    Checkpoint,
    NoteKey,
    NoteSignature,
    SignedNote,
    parse_checkpoint,
    parse_note,
    sign_checkpoint,
)
from guildbook.primitives.cosignature import WitnessKey, cosign, cosigned_at, parse_witness_key
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey
from guildbook.primitives.merkle_log import LogEdge, LogReader, extend, leaf_hash
from shared_data import shared

LOG_KEY = SigningKey.from_seed(bytes(range(32)))
LOG = NoteKey("ledger.example/receipts", LOG_KEY.public_key)
OWN_KEY = SigningKey.from_seed(b"w" * 32)
NAME = "witness.example/w1"
OWN = WitnessKey(NAME, OWN_KEY.public_key)
TILE_LOG_KEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"


class Log:
    """A log whose leaves are texts, with its checkpoints and proofs."""

    def __init__(self, *texts: str) -> None:
        edge, tiles = extend(LogEdge(), [leaf_hash(one.encode()) for one in texts])
        self.reader = LogReader(tiles.get, edge.size)

    def note(self, size: int | None = None) -> bytes:
        count = self.reader.size if size is None else size
        return sign_checkpoint(Checkpoint(LOG.name, count, self.reader.root(count)), LOG_KEY)

    def proof(self, old: int, size: int | None = None) -> tuple[bytes, ...]:
        count = self.reader.size if size is None else size
        return tuple(self.reader.consistency_proof(old, count)) if 0 < old < count else ()


TEXTS = [f"receipt {number}" for number in range(20)]
HONEST = Log(*TEXTS)
REWRITTEN = Log(*TEXTS[:3], "another", *TEXTS[4:])


def witness(seen: int = 0) -> Witness:
    made = Witness(NAME, OWN_KEY, {LOG.name: LOG})
    if seen:
        made.consider(HONEST.note(seen), None, (), 1_000)
    return made


def refused(code, call):
    with pytest.raises(GuildbookError) as caught:
        call()
    assert caught.value.code == code, caught.value
    return caught.value


# cosignatures ----------------------------------------------------------------------------------------------------


def test_a_published_cosignature_is_read_and_its_key_id_is_recomputed():
    """The envelope of a public log with three witnesses' lines; their keys are not published with it."""
    bundle = json.loads(
        shared("crypto/sigstore-bundles/a.dsse.staging-rekor-v2.txt.sigstore.json").read_text()
    )
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    note = parse_note(entry["inclusionProof"]["checkpoint"]["envelope"].encode())
    for line in note.signatures[1:]:
        stranger = WitnessKey(line.name, OWN_KEY.public_key)
        assert cosigned_at(note, stranger) is None
        assert len(line.signature) == 72
        assert 1_600_000_000 < int.from_bytes(line.signature[:8], "big") < 2_000_000_000


def test_what_is_signed_is_header_time_and_text():
    text = parse_note(HONEST.note(5)).text
    line = cosign(text, NAME, OWN_KEY, 1_679_315_147)
    assert line.signature[:8] == (1_679_315_147).to_bytes(8, "big")
    assert line.signature[8:] == OWN_KEY.sign(f"cosignature/v1\ntime 1679315147\n{text}".encode())


def test_keys_of_witnesses_and_of_logs_are_never_taken_for_one_another():
    assert parse_witness_key(OWN.text()) == OWN
    assert OWN.key_id != NoteKey(NAME, OWN_KEY.public_key).key_id
    for text in (
        LOG.text(),
        OWN.text()[:-2],
        OWN.text().replace("w1", "w2"),
        "",
        "a+b+c",
        "a b+00000000+BA==",
    ):
        refused("evidence.malformed", lambda text=text: parse_witness_key(text))


@given(st.integers(0, 71), st.integers(1, 255))
def test_a_cosignature_with_another_byte_is_refused(place, change):
    note = witness(7)
    cosigned = parse_note(note.seen[LOG.name])
    line = cosigned.signatures[-1]
    forged = bytearray(line.signature)
    forged[place] ^= change
    changed = SignedNote(
        cosigned.text, (cosigned.signatures[0], NoteSignature(line.name, line.key_id, bytes(forged)))
    )
    refused("evidence.bad_signature", lambda: cosigned_at(changed, OWN))


# growth ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_growth_is_cosigned_and_nothing_else(sizes):
    one = witness()
    last = 0
    for time_s, size in enumerate(sizes, 5):
        if size < last:
            refused("witness.older", lambda size=size: one.consider(HONEST.note(size), None, (), 9))
            continue
        note = one.consider(HONEST.note(size), None, HONEST.proof(last, size), time_s)
        assert cosigned_at(note, OWN) == time_s
        assert parse_checkpoint(note.text).size == size
        last = size
    again = Witness(NAME, OWN_KEY, {LOG.name: LOG}, read_state(one.state()))
    assert again.last(LOG.name) == one.last(LOG.name)


def test_the_checkpoints_of_a_published_log_are_cosigned_one_after_another():
    """The tile log of the transparency tests, sizes 1 to 15, with proofs from its own leaves."""
    from guildbook.primitives.checkpoint import parse_note_key

    folder = shared("crypto/merkle-tile-log")
    log = parse_note_key(TILE_LOG_KEY)
    tiles = {(0, 0): b""}
    for file in sorted((folder / "tile").rglob("*")):
        if (
            file.is_file()
            and "/0/" in file.as_posix().split("merkle-tile-log")[1]
            and "entries" not in file.as_posix()
        ):
            content = file.read_bytes()
            if len(content) % 32 == 0 and len(content) > len(tiles[0, 0]):
                tiles[0, 0] = content
    if len(tiles[0, 0]) < 15 * 32:
        pytest.skip("the tiles of the published log are not laid out as expected")
    reader = LogReader(lambda _key: tiles[0, 0], 15)
    one = Witness(NAME, OWN_KEY, {log.name: log})
    for size in range(1, 16):
        data = (folder / f"checkpoint.{size}").read_bytes()
        proof = tuple(reader.consistency_proof(size - 1, size)) if size > 1 else ()
        assert cosigned_at(one.consider(data, None, proof, size), OWN) == size


def test_a_proof_that_does_not_hold_is_refused_and_nothing_is_remembered():
    one = witness(7)
    before = dict(one.seen)
    for proof in ((), HONEST.proof(6, 12), (*HONEST.proof(7, 12), bytes(32))):
        refused("evidence.log_consistency", lambda proof=proof: one.consider(HONEST.note(12), None, proof, 2))
    refused(
        "evidence.log_consistency", lambda: one.consider(REWRITTEN.note(12), None, HONEST.proof(7, 12), 2)
    )
    refused("evidence.log_consistency", lambda: witness().consider(HONEST.note(12), None, (bytes(32),), 2))
    assert one.seen == before


def test_a_checkpoint_that_the_log_did_not_sign_is_refused():
    other = sign_checkpoint(Checkpoint(LOG.name, 9, bytes(32)), OWN_KEY)
    refused("evidence.untrusted", lambda: witness().consider(other, None, (), 2))
    strange = sign_checkpoint(Checkpoint("other.example/log", 9, bytes(32)), LOG_KEY)
    refused("witness.unknown_log", lambda: witness().consider(strange, None, (), 2))
    for data in (b"", b"\n\n", HONEST.note(3)[:-5]):
        refused("evidence.malformed", lambda data=data: witness().consider(data, None, (), 2))


# split views -----------------------------------------------------------------------------------------------------


def split(size: int) -> SplitView:
    one = witness(7)
    proof = REWRITTEN.proof(7, size)
    old_root = REWRITTEN.reader.root(7) if size > 7 else None
    with pytest.raises(SplitFound) as caught:
        one.consider(REWRITTEN.note(size), old_root, proof, 3)
    assert caught.value.code == "witness.split_view"
    assert one.last(LOG.name).size == 7
    return caught.value.split


@pytest.mark.parametrize("size", [7, 8, 15, 20])
def test_two_histories_are_refused_and_proven_to_a_stranger(size):
    kept = read_split(split(size).to_json())
    first, second = prove_split(kept, LOG)
    assert (first.size, second.size) == (7, size)
    refused("evidence.untrusted", lambda: prove_split(kept, NoteKey(LOG.name, OWN_KEY.public_key)))


def test_an_honest_log_cannot_be_accused():
    same = SplitView(LOG.text(), HONEST.note(7), HONEST.note(7))
    refused("witness.no_split", lambda: prove_split(same, LOG))
    grown = SplitView(LOG.text(), HONEST.note(7), HONEST.note(12), HONEST.reader.root(7), HONEST.proof(7, 12))
    refused("witness.no_split", lambda: prove_split(grown, LOG))
    made_up = SplitView(LOG.text(), HONEST.note(7), HONEST.note(12), bytes(32), HONEST.proof(7, 12))
    refused("evidence.log_consistency", lambda: prove_split(made_up, LOG))
    turned = SplitView(LOG.text(), HONEST.note(12), HONEST.note(7), bytes(32), HONEST.proof(7, 12))
    refused("witness.no_split", lambda: prove_split(turned, LOG))


@pytest.mark.fuzz
@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode), st.just(b"{}"), st.just(b"[1]"))
)
def test_any_bytes_as_a_split_view_or_a_state_are_refused(data):
    refused("evidence.malformed", lambda: read_split(data))
    refused("evidence.malformed", lambda: read_state(data))


# add-checkpoint --------------------------------------------------------------------------------------------------


def asked(one: Witness, old: int, proof, note: bytes):
    answer, found = one.add_checkpoint(request_of(old, proof, note), 77)
    return answer.status, answer.content_type, answer.body, found


def test_requests_are_answered_as_the_protocol_says():
    one = witness()
    status, _type, body, _split = asked(one, 0, (), HONEST.note(7))
    assert status == 200
    line = parse_note(HONEST.note(7) + body).signatures[-1]
    assert (line.name, line.key_id) == (NAME, OWN.key_id)
    assert asked(one, 0, (), HONEST.note(12))[:3] == (409, "text/x.tlog.size", b"7\n")
    assert asked(one, 7, HONEST.proof(6, 12), HONEST.note(12))[0] == 422
    assert asked(one, 7, HONEST.proof(7, 12), HONEST.note(12))[0] == 200
    assert asked(one, 13, (), HONEST.note(12))[0] == 400
    assert asked(one, 12, (), HONEST.note(12))[0] == 200
    status, kind, body, found = asked(one, 12, (), REWRITTEN.note(12))
    assert (status, kind, body) == (409, "text/x.tlog.size", b"12\n")
    prove_split(found, LOG)
    assert asked(one, 0, (), REWRITTEN.note(12))[3] is not None
    assert asked(one, 0, (), sign_checkpoint(Checkpoint("x", 1, bytes(32)), LOG_KEY))[0] == 404
    assert asked(one, 0, (), sign_checkpoint(Checkpoint(LOG.name, 1, bytes(32)), OWN_KEY))[0] == 403
    assert parse_checkpoint(parse_note(one.seen[LOG.name]).text).size == 12


@pytest.mark.fuzz
@given(
    st.one_of(
        st.binary(max_size=300), st.binary(max_size=60).map(lambda head: head + b"\n\n" + HONEST.note(3))
    )
)
def test_any_bytes_as_a_request_are_refused(body):
    answer, found = witness(7).add_checkpoint(body, 1)
    assert 400 <= answer.status <= 422 or body.startswith(b"old ")
    assert found is None


# on the command line, against a node -----------------------------------------------------------------------------


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


def prepared(tmp_path: Path, run: CommandLine) -> tuple[Path, list[object]]:
    folder = founded(tmp_path / "node")
    filled(folder, blocks=1, calls=3)
    write_key(tmp_path / "witness.key", OWN_KEY)
    public = run.done(
        "witness", "key", folder / "keys" / "validator.key", "--name", "guildbook/test-net", "--log"
    ).out.strip()
    options = [
        "--name",
        NAME,
        "--key",
        tmp_path / "witness.key",
        "--log-key",
        public,
        "--state",
        tmp_path / "w1",
    ]
    return folder, options


def test_a_witness_cosigns_a_node_s_log_as_it_grows(run, tmp_path):
    folder, options = prepared(tmp_path, run)
    with open_node(folder) as node, node.running() as url:
        first = run.done("witness", "cosign", url, *options).out.encode()
        assert cosigned_at(parse_note(first), OWN) is not None
        client = node.client(read_key(folder / "keys" / "admin.key"))
        for number in range(4):
            client.call("units.issue", to=f"late-{number}", units=1)
        second = run.done("witness", "run", url, *options, "--rounds", 1).err
        assert "cosigned 7 entries" in second
    ran = run("witness", "cosign", url, *options, "--json")
    assert ran.error["code"] == "client.unreachable"


def test_a_node_that_was_rewritten_is_refused_and_both_checkpoints_are_kept(run, tmp_path):
    """Each of the two histories is signed with the node's own key, and each verifies by itself."""
    folder, options = prepared(tmp_path, run)
    with open_node(folder) as node, node.running() as url:
        run.done("witness", "cosign", url, *options)
    other = tmp_path / "other"
    import shutil

    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("LOCK", "store"))
    from guildbook.chain.genesis import read_genesis
    from guildbook.chain.ledger import Ledger
    from guildbook.runtime.registry import Registry
    from guildbook.state.rocks import RocksStore

    store = RocksStore(other / "store")
    Ledger.create(store, read_genesis((other / "genesis.json").read_bytes()), Registry())
    store.close()
    shutil.rmtree(other / "views", ignore_errors=True)
    with open_node(other) as node, node.running() as url:
        client = node.client(read_key(other / "keys" / "admin.key"))
        for number in range(5):
            client.call("units.issue", to=f"rewritten-{number}", units=1)
        ran = run("witness", "cosign", url, *options, "--json")
    assert (ran.status, ran.error["code"]) == (6, "witness.split_view")
    (kept,) = (tmp_path / "w1").glob("split-view-*.json")
    key = options[options.index("--log-key") + 1]
    assert "SPLIT VIEW" in run.done("witness", "prove", kept, "--log-key", key).out
    wrong = NoteKey("guildbook/test-net", OWN_KEY.public_key).text()
    assert run("witness", "prove", kept, "--log-key", wrong).status == 6


def test_a_node_collects_cosignatures_and_serves_them_with_its_checkpoint(run, tmp_path):
    folder, _options = prepared(tmp_path, run)
    log = NoteKey("guildbook/test-net", read_key(folder / "keys" / "validator.key").public_key)
    (tmp_path / "w1").mkdir()
    one = Witness(NAME, OWN_KEY, {log.name: log})
    server = _server(one, tmp_path / "w1", "127.0.0.1:0")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with open_node(folder) as node:
            places = [parse_witness_place(f"{OWN.text()} {address}")]
            node.witnesses = Witnesses(places, node.reader.view, node._signed_checkpoint)
            assert cosigned_at(parse_note(node._checkpoint()), OWN) is None
            assert node.witnesses.ask() == 1
            assert cosigned_at(parse_note(node._checkpoint()), OWN) is not None
            node.engine.start()
            node.client(read_key(folder / "keys" / "admin.key")).call("units.issue", to="x", units=1)
            assert cosigned_at(parse_note(node._checkpoint()), OWN) is None
            node.witnesses = Witnesses(places, node.reader.view, node._signed_checkpoint)
            assert node.witnesses.ask() == 1
            assert parse_checkpoint(parse_note(node._checkpoint()).text).size == 4
            assert cosigned_at(parse_note(node._checkpoint()), OWN) is not None
            stranger = WitnessKey("witness.example/w2", LOG_KEY.public_key)
            node.witnesses = Witnesses(
                [parse_witness_place(f"{stranger.text()} {address}")],
                node.reader.view,
                node._signed_checkpoint,
            )
            assert node.witnesses.ask() == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (tmp_path / "w1" / "witness.json").exists()
    for text in ("", OWN.text(), f"{OWN.text()} ftp://x", "x http://y"):
        refused("evidence.malformed", lambda text=text: parse_witness_place(text))


def test_a_state_is_used_by_one_witness_at_a_time(run, tmp_path):
    import fcntl

    (tmp_path / "w1").mkdir()
    write_key(tmp_path / "witness.key", OWN_KEY)
    with (tmp_path / "w1" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ran = run("witness", "cosign", "http://127.0.0.1:1", "--name", NAME, "--key", tmp_path / "witness.key",
                  "--log-key", LOG.text(), "--state", tmp_path / "w1", "--json")  # fmt: skip
    assert ran.error["code"] == "store.locked"
