"""Founding a network from the command line: proposal, joins, one genesis, nodes; and what the doctor says of one."""

import json
import re
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

import guildbook
from command_line import CommandLine
from guildbook.chain.ledger import Ledger
from guildbook.cli.access import installed, store_at_rest
from guildbook.client.keyfile import new_key, read_key, write_key
from guildbook.engine.cometbft.home import HomeSettings
from guildbook.engine.cometbft.view import EnginePeer, EngineStatus, EngineView
from guildbook.node import NodeFolder, doctor, read_config
from guildbook.node.doctor import Finding, examine, worst
from guildbook.node.folder import RunningNode, stored_genesis
from guildbook.node.joining import read_peers, read_proposal
from guildbook.node.member import genesis_app_hash, prepare_engine
from guildbook.primitives.errors import GuildbookError

APPLICATION = "sample_contract:Units"
ORGANISATIONS = ("kettle", "moss", "watch")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


@pytest.fixture
def joined(run):
    """A proposal and the joins of two members and an observer, each in a folder named after it."""
    run.done("network", "init", "proposal.json", "--network", "harbour-net", "--app", APPLICATION, "--member", "kettle",
             "--member", "moss=Moss and Fern,GB", "--observer", "watch", "--parameter", "events_max=500")  # fmt: skip
    for number, name in enumerate(ORGANISATIONS):
        run.done(
            "network",
            "join",
            "proposal.json",
            name,
            "--organisation",
            name,
            "--address",
            f"127.0.0.1:{1 + number}",
        )
    return [f"{name}/{name}.join.json" for name in ORGANISATIONS]


@pytest.fixture
def accepted(run, joined):
    """The same with the nodes of all three, and the genesis hash."""
    agreed = run.done("network", "genesis", "collect", "proposal.json", *joined, "--json").document[
        "genesis_hash"
    ]
    for name in ORGANISATIONS:
        run.done("network", "genesis", "accept", name, *joined, "--hash", agreed)
    return agreed


def told(findings: list[Finding], name: str) -> Finding:
    (found,) = [one for one in findings if one.name == name]
    return found


# founding


def test_a_proposal_says_who_takes_part_and_how_many_may_fail(run):
    words = ["network", "init", "p.json", "--network", "harbour-net", "--observer", "watch=The Watch,GB"]
    ran = run.done(*words, *[word for name in "abcd" for word in ("--member", name)], "--json")
    assert ran.document["members"] == ["a", "b", "c", "d"]
    assert ran.document["observers"] == ["watch"]
    assert ran.document["validators_that_may_fail"] == 1
    proposal = read_proposal(Path("p.json").read_bytes())
    assert proposal.hash.hex() == ran.document["proposal"]
    assert (proposal.member("watch").name, proposal.member("watch").jurisdiction) == ("The Watch", "GB")
    assert proposal.member("watch").permissions == ["parties:admin"]
    assert "governance:governor" in proposal.member("a").permissions
    assert run(*words, "--member", "a").status == 5, "a proposal is never overwritten"


@pytest.mark.parametrize("parameter", ["events_max", "events_max=x", "events_max=-5"])
def test_a_parameter_that_is_none_is_refused(run, parameter):
    ran = run(
        "network", "init", "p.json", "--network", "harbour-net", "--member", "a", "--parameter", parameter
    )
    assert ran.status == 2
    assert not Path("p.json").exists()


def test_a_join_draws_its_keys_here_and_its_file_holds_no_secret(run, joined):
    for name in ("validator", "node", "admin-kettle"):
        path = Path("kettle/keys") / f"{name}.key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert read_key(path).seed.hex() not in Path(joined[0]).read_text()
    assert stat.S_IMODE(Path("kettle").stat().st_mode) == 0o700


def test_a_join_may_bring_services_with_their_permissions(run, joined):
    ran = run.done("network", "join", "proposal.json", "other", "--organisation", "kettle", "--address", "k:1",
                   "--administrator", "ida", "--party", "till=units:issuer", "--json")  # fmt: skip
    assert ran.document["parties"] == ["ida", "till"]
    join = json.loads(Path("other/kettle.join.json").read_text())
    assert [(one["id"], one["kind"], one["permissions"]) for one in join["parties"]][1] == (
        "till",
        "service",
        ["units:issuer"],
    )
    assert Path("other/keys/till.key").exists()
    ran = run(
        "network",
        "join",
        "proposal.json",
        "x",
        "--organisation",
        "kettle",
        "--address",
        "k:1",
        "--party",
        "t=units:all",
    )
    assert ran.status == 2
    assert not Path("x").exists()


def test_keys_of_a_join_may_be_under_a_passphrase(run, joined, monkeypatch):
    monkeypatch.setenv("GUILDBOOK_KEY_PASSPHRASE", "a long one")
    run.done(
        "network",
        "join",
        "proposal.json",
        "secret",
        "--organisation",
        "moss",
        "--address",
        "m:1",
        "--passphrase",
    )
    with pytest.raises(GuildbookError):
        read_key(Path("secret/keys/validator.key"))
    read_key(Path("secret/keys/validator.key"), "a long one")


@pytest.mark.parametrize(("words", "status"), [
    (["--organisation", "stranger", "--address", "a:1"], 2),
    (["--organisation", "kettle", "--address", "nowhere"], 2),
    (["--organisation", "kettle", "--address", "a:1", "--api", "x"], 2),
])  # fmt: skip
def test_a_join_that_cannot_be_leaves_nothing(run, joined, words, status):
    assert run("network", "join", "proposal.json", "new", *words).status == status
    assert not Path("new").exists()
    ran = run("network", "join", "proposal.json", "kettle", "--organisation", "kettle", "--address", "a:1")
    assert (ran.status, "holds something already" in ran.err) == (5, True)


def test_every_machine_collects_the_same_bytes(run, joined):
    first = run.done(
        "network", "genesis", "collect", "proposal.json", *joined, "--out", "one", "--json"
    ).document
    second = run.done(
        "network", "genesis", "collect", "kettle/proposal.json", *reversed(joined), "--out", "two", "--json"
    ).document
    assert first["genesis_hash"] == second["genesis_hash"]
    for name in ("genesis.json", "peers.json"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
    shown = run.done("network", "genesis", "collect", "proposal.json", *joined).out
    assert first["genesis_hash"] in shown
    assert re.search(r"watch +0 +127\.0\.0\.1:3 +admin-watch", shown)


def test_a_join_that_was_altered_names_its_file(run, joined):
    document = json.loads(Path(joined[1]).read_text())
    Path(joined[1]).write_text(json.dumps({**document, "p2p_address": "evil:1"}))
    ran = run("network", "genesis", "collect", "proposal.json", *joined)
    assert ran.status == 6
    assert "join of moss is not signed" in ran.err
    Path(joined[1]).write_text("{")
    assert joined[1] in run("network", "genesis", "collect", "proposal.json", *joined).err


def test_a_node_is_made_only_of_the_genesis_that_was_agreed_on(run, joined):
    ran = run("network", "genesis", "accept", "kettle", *joined, "--hash", "00" * 32)
    assert (ran.status, "do not go on" in ran.err) == (2, True)
    assert not Path("kettle/genesis.json").exists()


def test_a_node_is_not_made_of_another_join_than_its_own(run, joined):
    run.done(
        "network", "join", "proposal.json", "again", "--organisation", "kettle", "--address", "127.0.0.1:9"
    )
    joins = ["again/kettle.join.json", *joined[1:]]
    agreed = run.done("network", "genesis", "collect", "proposal.json", *joins, "--json").document[
        "genesis_hash"
    ]
    ran = run("network", "genesis", "accept", "kettle", *joins, "--hash", agreed)
    assert (ran.status, "not the one among those" in ran.err) == (2, True)


def test_accepting_makes_a_node_of_the_folder(run, accepted):
    for name in ORGANISATIONS:
        folder = NodeFolder(Path(name))
        assert stored_genesis(folder).hash.hex() == accepted
        assert read_peers(folder.peers.read_bytes()).genesis_hash == accepted
        config = read_config(folder.config)
        assert (config.engine.kind, config.applications) == ("cometbft", [APPLICATION])
        assert config.network.p2p_listen == f"0.0.0.0:{1 + ORGANISATIONS.index(name)}"
    assert len(stored_genesis(NodeFolder(Path("kettle"))).validators) == 2
    assert run(
        "network", "genesis", "accept", "kettle", "kettle/kettle.join.json", "--hash", accepted
    ).status in (2, 5)


def test_an_observer_joins_later_with_the_files_of_any_member(run, accepted):
    files = ["--genesis", "moss/genesis.json", "--peers", "moss/peers.json"]
    words = ["network", "observe", "late", *files, "--address", "127.0.0.1:9", "--organisation", "late"]
    ran = run(*words, "--hash", "00" * 32)
    assert (ran.status, "do not go on" in ran.err) == (2, True)
    assert not Path("late").exists()
    made = run.done(*words, "--hash", accepted, "--json").document
    folder = NodeFolder(Path("late"))
    assert stored_genesis(folder).hash.hex() == accepted
    own = read_peers(folder.peers.read_bytes()).nodes[-1]
    assert (own.id, own.observer, own.p2p_address) == (made["id"], True, "127.0.0.1:9")
    assert told(examine(folder.path), "node key").state == "ok"
    assert "observer" in told(examine(folder.path), "validator key").found
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert run(*words, "--hash", accepted).status == 5
    Path("other.json").write_bytes(
        msgspec.structs.replace(read_peers(folder.peers.read_bytes()), genesis_hash="00" * 32).to_json()
    )
    words = [*words[:2], "later", *words[3:6], "other.json", *words[7:]]
    assert run(*words, "--hash", accepted).status == 2


def test_a_backup_holds_where_the_nodes_are_reached(run, accepted):
    run.done("backup", "kettle", "saved")
    run.done("restore", "saved", "again")
    assert Path("again/peers.json").read_bytes() == Path("kettle/peers.json").read_bytes()


def test_an_engine_without_blocks_does_not_begin_behind_its_ledger(run, accepted):
    folder = NodeFolder(Path("kettle"))
    keys = [read_key(one) for one in (folder.validator_key, folder.node_key)]
    with store_at_rest(folder.path) as store:
        ledger = Ledger(store, installed())
        ledger.state.head = msgspec.structs.replace(ledger.head, height=812)
        with pytest.raises(GuildbookError, match="at block 812") as caught:
            prepare_engine(folder, read_config(folder.config), ledger, *keys)
        assert caught.value.code == "engine.wrong_home"
        (folder.engine / "data" / "blockstore.db").mkdir(parents=True)
        prepare_engine(folder, read_config(folder.config), ledger, *keys)


# the doctor


@pytest.fixture
def node(run, accepted):
    """The first member's node, with its engine's home as a start writes it."""
    folder = NodeFolder(Path("kettle"))
    with store_at_rest(folder.path) as store:
        ledger = Ledger(store, installed())
        keys = [read_key(one) for one in (folder.validator_key, folder.node_key)]
        prepare_engine(folder, read_config(folder.config), ledger, *keys)
        assert (
            json.loads((folder.engine / "config/genesis.json").read_text())["app_hash"]
            == genesis_app_hash(ledger).hex().upper()
        )
    return folder


def test_a_stopped_node_is_told_as_it_is(run, node):
    ran = run.done("network", "doctor", "kettle", "--json")
    states = {one["name"]: one["state"] for one in ran.document["findings"]}
    assert states["node"] == states["peer moss"] == "warning"
    assert {
        state
        for name, state in states.items()
        if name not in ("node", "peer moss", "peer watch", "engine program")
    } == {"ok"}
    assert ran.document["state"] == "warning"
    assert "what to do: start it: guildbook run kettle" in run.done("network", "doctor", "kettle").out


def test_a_key_that_others_can_read_is_wrong_and_what_to_do_is_said(run, node):
    node.validator_key.chmod(0o644)
    ran = run("network", "doctor", "kettle")
    assert ran.status == 5
    assert "chmod 600" in ran.out
    node.validator_key.chmod(0o600)
    node.keys.chmod(0o755)
    finding = told(examine(node.path), "file modes")
    assert (finding.state, "chmod go=" in finding.fix) == ("wrong", True)


def test_keys_of_another_node_are_noticed(node):
    node.node_key.unlink()
    write_key(node.node_key, new_key())
    assert told(examine(node.path), "node key").state == "wrong"
    node.validator_key.unlink()
    write_key(node.validator_key, read_key(Path("moss/keys/validator.key")))
    node.node_key.unlink()
    write_key(node.node_key, read_key(Path("watch/keys/node.key")))
    assert told(examine(node.path), "validator key").state == "wrong"


def test_another_genesis_is_noticed(node):
    peers = read_peers(node.peers.read_bytes())
    node.peers.write_bytes(msgspec.structs.replace(peers, genesis_hash="00" * 32).to_json())
    assert told(examine(node.path), "genesis of the peers").state == "wrong"
    genesis = stored_genesis(node)
    node.genesis.write_bytes(msgspec.structs.replace(genesis, time_ms=5).to_json())
    findings = examine(node.path)
    assert told(findings, "genesis of the store").state == "wrong"
    assert told(findings, "engine genesis").state == "wrong"
    assert worst(findings) == "wrong"


def test_a_configuration_that_was_changed_by_hand_is_shown(node):
    config = node.engine / "config" / "config.toml"
    config.write_text(config.read_text().replace("max_tx_bytes = 1572864", "max_tx_bytes = 5"))
    finding = told(examine(node.path), "engine configuration")
    assert finding.state == "warning"
    assert "mempool.max_tx_bytes: 5, not 1572864" in finding.found
    config.write_text("[")
    assert told(examine(node.path), "engine configuration").state == "wrong"


def test_another_program_is_shown(node, tmp_path, monkeypatch):
    monkeypatch.setenv("GUILDBOOK_COMETBFT", str(tmp_path / "none"))
    finding = told(examine(node.path), "engine program")
    assert (finding.state, HomeSettings().version in finding.found) == ("wrong", True)
    monkeypatch.delenv("GUILDBOOK_COMETBFT")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert told(examine(node.path), "engine program").state == "warning"


def test_a_full_disk_is_shown(node, monkeypatch):
    monkeypatch.setenv("GUILDBOOK_STORE_FREE_BYTES_WARN", str(1 << 50))
    import os

    assert told(examine(node.path, os.environ), "disk").state == "warning"
    monkeypatch.setenv("GUILDBOOK_STORE_FREE_BYTES_MIN", str(1 << 50))
    assert told(examine(node.path, os.environ), "disk").state == "wrong"


def test_a_network_of_one_needs_no_doctor(run, tmp_path):
    run.done("init", "alone", "--network", "alone-net")
    ran = run("network", "doctor", "alone")
    assert (ran.status, "network of one" in ran.err) == (2, True)


def test_a_clock_is_judged_by_what_it_tells_in_whole_seconds():
    date = "Tue, 24 Nov 2026 23:00:10 GMT"
    at = 1_795_561_210.0
    assert doctor._clock_offset(date, at + 0.2, at + 0.3) == 0
    assert doctor._clock_offset(date, at - 8, at - 7) == 7
    assert doctor._clock_offset(date, at + 41, at + 42) == -40
    assert doctor._clock_offset("yesterday", at, at) is None
    assert [doctor._clock("moss", offset).state for offset in (0, 4, -7, 35)] == [
        "ok",
        "ok",
        "warning",
        "wrong",
    ]
    assert "7 s behind" in doctor._clock("moss", -7.0).found


# the other members


@pytest.fixture
def member(node):
    """Another member's node, whose interface the doctor asks; `answer` and `headers` are what it says."""
    headers: dict[str, str] = {}
    answer: dict = {
        "genesis_hash": stored_genesis(node).hash.hex(),
        "height": 5,
        "software": guildbook.__version__,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(answer).encode()
            self.send_response_only(200)
            self.send_header("Date", headers.get("Date") or self.date_time_string())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        peers = read_peers(node.peers.read_bytes())
        nodes = [
            msgspec.structs.replace(one, api_url=f"http://127.0.0.1:{server.server_port}")
            if one.organisation == "moss"
            else one
            for one in peers.nodes
        ]
        node.peers.write_bytes(msgspec.structs.replace(peers, nodes=nodes).to_json())
        yield answer, headers
        server.shutdown()
        thread.join()


def test_a_member_with_the_same_genesis_version_and_clock_is_well(node, member):
    findings = examine(node.path)
    assert (told(findings, "member moss").state, told(findings, "clock of moss").state) == ("ok", "ok")
    assert not [one for one in findings if one.name == "software of moss"]


def test_a_member_with_another_genesis_is_wrong(node, member):
    answer, _headers = member
    answer["genesis_hash"] = "00" * 32
    finding = told(examine(node.path), "member moss")
    assert (finding.state, "accepted other joins" in finding.fix) == ("wrong", True)


def test_a_member_with_another_version_or_clock_is_shown(node, member):
    answer, headers = member
    answer["software"] = "9.9"
    headers["Date"] = "Tue, 24 Nov 2020 23:00:10 GMT"
    findings = examine(node.path)
    assert told(findings, "software of moss").state == "warning"
    assert told(findings, "clock of moss").state == "wrong"


def test_what_answers_otherwise_is_no_node(node, member):
    answer, _headers = member
    answer.clear()
    assert told(examine(node.path), "member moss").state == "warning"


def engine_says(
    monkeypatch, height: int, power: int, versions: dict[str, str], network: str = "harbour-net"
) -> None:
    """Let the doctor find a running node whose engine says this; `versions` are those of the connected peers, by id."""
    monkeypatch.setattr(doctor, "running_node", lambda _path: RunningNode(1, "http://127.0.0.1:1"))
    monkeypatch.setattr(
        EngineView, "status", lambda _view: EngineStatus("x", network, "0.39.4", height, False, power)
    )
    connected = [EnginePeer(one, "", version, network, "") for one, version in versions.items()]
    monkeypatch.setattr(EngineView, "peers", lambda _view: connected)


def test_connected_power_is_counted_and_versions_are_compared(node, monkeypatch):
    ids = {one.organisation: one.id for one in read_peers(node.peers.read_bytes()).nodes}
    engine_says(monkeypatch, 7, 1, {ids["moss"]: "0.39.4"})
    findings = examine(node.path)
    assert told(findings, "voting power").state == "ok"
    assert told(findings, "peer moss").state == "ok"
    assert told(findings, "peer watch").state == "wrong"
    engine_says(monkeypatch, 7, 1, {ids["moss"]: "0.38.25"})
    assert told(examine(node.path), "peer moss").state == "warning"
    engine_says(monkeypatch, 7, 1, {})
    assert told(examine(node.path), "voting power").state == "wrong"
    engine_says(monkeypatch, 7, 1, {}, network="other-net")
    assert told(examine(node.path), "engine").state == "wrong"


def test_a_node_that_is_behind_a_member_is_shown(node, member, monkeypatch):
    answer, _headers = member
    answer["height"] = 500
    engine_says(monkeypatch, 7, 1, {})
    assert "493 blocks behind moss" in told(examine(node.path), "height").found
