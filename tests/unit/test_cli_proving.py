"""Evidence from the command line: exported from a node, verified by anybody."""

import json

import pytest

from command_line import CommandLine, filled, founded
from guildbook.node import open_node


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = founded(tmp_path_factory.mktemp("proving") / "node")
    return folder, filled(folder, blocks=2, calls=3)


@pytest.fixture
def trust(run, node, tmp_path):
    run.done("trust", node[0], "-o", tmp_path / "trust.json")
    return tmp_path / "trust.json"


FACTS = [
    (["row", "units.accounts", "account-1"], "row"),
    (["absence", "units.accounts", "nobody"], "absence"),
    (["range", "units.accounts"], "range"),
    (["range", "units.accounts", "account-1"], "range"),
]


@pytest.mark.parametrize(("words", "kind"), FACTS, ids=[" ".join(words) for words, _kind in FACTS])
def test_a_fact_is_exported_and_verified(run, node, trust, tmp_path, words, kind):
    written = run.done("prove", *words, "-o", tmp_path / "fact.evidence", "--node", node[0])
    assert f"wrote the evidence of {kind}" in written.out
    verified = run.done("verify", tmp_path / "fact.evidence", "--trust", trust)
    assert verified.out.startswith(f"VERIFIED: {kind} on network test-net")
    assert "Proven:" in verified.out
    assert "Not assessed:" in verified.out
    assert "8 steps hold: form, network, trust, commit" in verified.out
    document = run.done("verify", tmp_path / "fact.evidence", "--trust", trust, "--json").document
    assert document["verified"] is True
    assert len(document["steps"]) == 8


def test_a_receipt_is_exported_from_a_running_node(run, node, trust, tmp_path):
    folder, transactions = node
    with open_node(folder) as opened, opened.running() as url:
        run.done("prove", "receipt", transactions[0], "-o", tmp_path / "a.evidence", "--url", url)
        run.done("prove", "row", "units.accounts", "account-2", "-o", tmp_path / "b.evidence", "--node", folder)
    document = run.done("verify", tmp_path / "a.evidence", "--trust", trust, "--json").document
    assert document["fact"]["transaction"] == transactions[0]
    assert document["fact"]["signed"]["calls"][0][:2] == ["units", "issue"]
    run.done("verify", tmp_path / "b.evidence", "--trust", trust)


def test_a_ledger_whose_last_state_no_header_states_yet_gets_that_header(run, tmp_path):
    """As after its founding, or when its process was killed."""
    folder = founded(tmp_path / "node")
    run.done("prove", "range", "parties.parties", "-o", tmp_path / "parties.evidence", "--node", folder)
    run.done("trust", folder, "-o", tmp_path / "trust.json")
    run.done("verify", tmp_path / "parties.evidence", "--trust", tmp_path / "trust.json")


def test_a_key_of_a_party_is_named_by_its_text(run, node, trust, tmp_path):
    shown = run.done("keys", "show", node[0] / "keys" / "admin.key").out.strip()
    run.done("prove", "row", "parties.keys", shown, "-o", tmp_path / "key.evidence", "--node", node[0], "--json")
    run.done("verify", tmp_path / "key.evidence", "--trust", trust)


def test_a_file_with_a_flipped_byte_proves_nothing(run, node, trust, tmp_path):
    run.done("prove", "receipt", node[1][0], "-o", tmp_path / "a.evidence", "--node", node[0])
    data = bytearray((tmp_path / "a.evidence").read_bytes())
    for place in range(3, len(data), len(data) // 12):
        damaged = bytes(data[:place]) + bytes((data[place] ^ 0x10,)) + bytes(data[place + 1 :])
        (tmp_path / "damaged.evidence").write_bytes(damaged)
        ran = run("verify", tmp_path / "damaged.evidence", "--trust", trust)
        assert ran.status == 6, ran
        assert ran.out.startswith("NOT VERIFIED: ")
        assert "Nothing is proven by this file." in ran.out
        assert ran.err.startswith("error: ")
        told = run("verify", tmp_path / "damaged.evidence", "--trust", trust, "--json")
        assert told.status == 6
        assert told.error["fields"]["step"]


def test_the_trust_anchor_of_another_network_does_not_verify(run, node, tmp_path):
    other = founded(tmp_path / "other")
    run.done("trust", other, "-o", tmp_path / "trust.json")
    run.done("prove", "receipt", node[1][0], "-o", tmp_path / "a.evidence", "--node", node[0])
    ran = run("verify", tmp_path / "a.evidence", "--trust", tmp_path / "trust.json")
    assert ran.status == 6
    assert "  trust: does not hold" in ran.out
    assert "  network: holds" in ran.out


@pytest.mark.parametrize("content", [b"", b"{}", b"nonsense", b"\xff" * 100])
def test_what_is_no_evidence_or_no_anchor_is_refused(run, node, trust, tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert run("verify", tmp_path / "x", "--trust", trust).status == 6
    run.done("prove", "receipt", node[1][0], "-o", tmp_path / "a.evidence", "--node", node[0])
    unusable = run("verify", tmp_path / "a.evidence", "--trust", tmp_path / "x")
    assert unusable.status == 2
    assert "the trust anchor cannot be used" in unusable.err


def test_a_file_in_a_folder_that_is_not_there_is_named_as_it_was_given(run, node, tmp_path):
    target = tmp_path / "nowhere" / "a.evidence"
    ran = run("prove", "receipt", node[1][0], "-o", target, "--node", node[0])
    assert ran.status == 2
    assert f"error: {target}: No such file or directory" in ran.err


def test_a_missing_file_is_told(run, trust, tmp_path):
    ran = run("verify", tmp_path / "nowhere.evidence", "--trust", trust)
    assert ran.status == 2
    assert "nowhere.evidence: No such file or directory" in ran.err


def test_the_trust_anchor_is_printed_or_written_once(run, node, tmp_path):
    printed = run.done("trust", node[0]).out
    assert json.loads(printed)["network"] == "test-net"
    assert run.done("trust", node[0], "--json").out == printed
    run.done("trust", node[0], "-o", tmp_path / "trust.json")
    assert (tmp_path / "trust.json").read_text() == printed
    again = run("trust", node[0], "-o", tmp_path / "trust.json")
    assert again.status == 5
    assert "is not overwritten" in again.err


REFUSED = [
    (["row", "units.accounts", "nobody"], 3, "api.not_found"),
    (["row", "units.nothing", "a"], 3, "api.not_found"),
    (["row", "nothing.accounts", "a"], 3, "call.unknown_contract"),
    (["row", "units.accounts", "a", "b"], 3, "call.bad_arguments"),
    (["receipt", "0" * 64], 3, "evidence.not_available"),
    (["absence", "units.accounts", "account-1"], 3, "evidence.not_available"),
]


@pytest.mark.parametrize(("words", "status", "code"), REFUSED, ids=[" ".join(one[0]) for one in REFUSED])
def test_what_cannot_be_proven_is_refused_and_writes_nothing(run, node, tmp_path, words, status, code):
    ran = run("prove", *words, "-o", tmp_path / "x.evidence", "--node", node[0], "--json")
    assert (ran.status, ran.error["code"]) == (status, code)
    assert not list(tmp_path.iterdir())


def test_evidence_overwrites_nothing(run, node, tmp_path):
    (tmp_path / "x.evidence").write_text("mine")
    ran = run("prove", "range", "units.accounts", "-o", tmp_path / "x.evidence", "--node", node[0])
    assert ran.status == 5
    assert (tmp_path / "x.evidence").read_text() == "mine"
