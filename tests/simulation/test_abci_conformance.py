"""An application under an engine that asks everything in every allowed order, and crashes between any two requests.

The laws: every request is answered in its own kind; what the application proposed it accepts, however often it is
asked; nothing is stored before ``Commit``; a block gives the same roots however it came to be run; and what is stored
after any course of events is exactly what a replay from its blocks gives.
"""

import random
import socket
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fake_engine import REGISTRY, VALIDATORS, Connection, FakeEngine, founded, several_validators
from guildbook.chain.bundle import encode_bundle
from guildbook.chain.keeping import kept_writes
from guildbook.chain.ledger import Ledger
from guildbook.chain.replay import check_chain, compare, replay
from guildbook.chain.transaction import Envelope, build_transaction
from guildbook.engine.abci import messages_pb2 as pb
from guildbook.engine.abci.application import Application, Halted
from guildbook.engine.abci.server import SOCKET_MODE, AbciServer
from guildbook.engine.signatures import SignatureChecker
from guildbook.primitives.canonical import encode
from guildbook.primitives.cometbft import ABSENT, NO_BLOCK, CometError
from guildbook.primitives.errors import GuildbookError
from guildbook.state.kv import MemoryStore
from guildbook.testing.ledger import test_key as key_of

NETWORK = "test-net"
GENESIS = several_validators()
SECOND_NS = 1_000_000_000
KINDS = ("issue", "move", "stranger", "elsewhere", "expired", "too_far", "forged", "garbage", "again")
GOOD = ("issue", "move", "again")
BAD_BUNDLES = (b"", b"\x90", b"\xff", b"\x91\xc4\x01", bytes(40), encode([["nested"]]))


def content(store: MemoryStore) -> dict[bytes, bytes]:
    return dict(store.scan(b"", None))


class Side:
    """The application's side: a store that outlives crashes, and the application on it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        founded(GENESIS, self.store)
        self.restart()

    def restart(self) -> None:
        """The node was killed and comes back: what is in the store is all that it knows."""
        self.ledger = Ledger(self.store, REGISTRY)
        self.application = Application(
            self.ledger, signatures=SignatureChecker(0), clock=lambda: GENESIS.time_ms * 1_000_000
        )

    def call(self, request: pb.Request) -> pb.Response:
        read = pb.Request.FromString(request.SerializeToString())
        return pb.Response.FromString(self.application.handle(read).SerializeToString())


class Envelopes:
    """Makes envelopes of every kind; the same course of a test makes the same ones."""

    def __init__(self) -> None:
        self.count = 0
        self.made: list[bytes] = []

    def make(self, kind: str, height: int) -> bytes:
        self.count += 1
        nonce = self.count.to_bytes(8, "big")
        anna, valid_until = key_of("mill/anna"), height + 40
        if kind == "again" and self.made:
            return self.made[self.count % len(self.made)]
        if kind == "garbage":
            return b"\x92garbage" + nonce
        if kind == "stranger":
            anna = key_of("nobody")
        network = "other-net" if kind == "elsewhere" else NETWORK
        valid_until = {"expired": height - 1, "too_far": 1 << 40}.get(kind, valid_until)
        arguments = ["units", "issue", ["x", self.count]]
        if kind == "move":
            arguments = ["units", "move", ["x", "y", self.count % 7 + 1]]
        data = build_transaction(network, anna, max(valid_until, 0), nonce, [tuple(arguments)])  # type: ignore[list-item]
        if kind == "forged":
            body = encode([1, NETWORK, anna.public_key, valid_until, nonce, [arguments]])
            return encode(Envelope(body, bytes(64)))
        if kind in GOOD:
            self.made.append(data)
        return data


class Course(RuleBasedStateMachine):
    """What an engine may do to an application, in any order."""

    @initialize()
    def begin(self) -> None:
        self.side = Side()
        self.engine = FakeEngine(GENESIS, lambda request: self.side.call(request))
        self.envelopes = Envelopes()
        self.kept = 0
        self.time_ns = GENESIS.time_ms * 1_000_000
        self.engine.start()

    def next_time(self) -> int:
        """The first block has genesis' time; later ones are later, if only by a nanosecond."""
        return self.time_ns

    @rule(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    def a_bundle_comes(self, kinds: list[str]) -> None:
        height = self.engine.height + 1
        bundle = encode_bundle([self.envelopes.make(kind, height) for kind in kinds])
        admitted = self.engine.check(bundle)
        if set(kinds) & {"garbage", "forged"}:
            assert not admitted
        elif set(kinds) & {"issue", "move"}:
            assert admitted
        elif set(kinds) <= {"stranger", "elsewhere", "expired", "too_far"}:
            assert not admitted

    @rule(bundle=st.sampled_from(BAD_BUNDLES))
    def what_is_no_bundle_comes(self, bundle: bytes) -> None:
        assert not self.engine.check(bundle)

    @rule()
    def anything_is_asked(self) -> None:
        self.engine.small_talk()
        assert not self.engine.ask("extend_vote", height=self.engine.height + 1).vote_extension
        assert self.engine.ask("verify_vote_extension").status == pb.ResponseVerifyVoteExtension.ACCEPT
        assert not self.engine.ask("load_snapshot_chunk", height=3).chunk

    @rule(most=st.sampled_from([0, 300, 2_000, 1 << 20]), times=st.integers(0, 2), order=st.randoms())
    def a_round_without_a_decision(self, most: int, times: int, order: random.Random) -> None:
        bundles = [*self.engine.mempool, *(BAD_BUNDLES if times == 2 else ())]
        order.shuffle(bundles)
        before = content(self.side.store)
        proposal = self.engine.propose(self.next_time(), bundles, most)
        for _ in range(times):
            assert self.engine.accepts(self.next_time(), proposal), "a proposal of its own is not accepted"
        assert content(self.side.store) == before

    @rule(kinds=st.lists(st.sampled_from(KINDS), max_size=3), bundle=st.sampled_from(BAD_BUNDLES))
    def a_faulty_member_proposes(self, kinds: list[str], bundle: bytes) -> None:
        height = self.engine.height + 1
        bad = [*(encode_bundle([self.envelopes.make(one, height)]) for one in kinds), bundle]
        assert not self.engine.accepts(self.next_time(), bad)

    @rule(
        proposed=st.sampled_from(["own", "own", "nothing", "faulty"]),
        crash=st.sampled_from(["", "", "", "decided", "run", "run_twice", "committed"]),
        who=st.sampled_from(["node", "engine"]),
        guilty=st.sampled_from([None, None, None, *VALIDATORS]),
        absent=st.sampled_from([None, *VALIDATORS]),
        asked=st.booleans(),
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
        gap=st.sampled_from([1, SECOND_NS]),
    )
    def a_block_is_decided(
        self,
        proposed: str,
        crash: str,
        who: str,
        guilty: str | None,
        absent: str | None,
        asked: bool,
        kinds: list[str],
        gap: int,
    ) -> None:
        engine, time_ns = self.engine, self.next_time()
        bundles = engine.propose(time_ns, engine.mempool) if proposed == "own" else []
        if proposed == "faulty":
            bundles = [
                encode_bundle([self.envelopes.make(one, engine.height + 1) for one in kinds]),
                *BAD_BUNDLES[:2],
            ]
        if asked and proposed != "faulty":
            assert engine.accepts(time_ns, bundles)
        before, stood = content(self.side.store), engine.height
        height = engine.decide(time_ns, bundles, guilty=guilty, absent=absent)
        self.time_ns = time_ns + gap
        if crash == "decided":
            self.crash(who)
        else:
            engine.finalize(height)
            if crash == "run_twice":
                engine.finalize(height)
            assert content(self.side.store) == before, "something is stored before Commit"
            assert engine.committed == stood
            if crash in ("run", "run_twice"):
                self.crash(who)
            else:
                engine.commit()
                if crash == "committed":
                    self.crash(who)
        assert engine.committed == height
        assert self.side.ledger.head.state_root == engine.reference.head.state_root
        assert self.side.ledger.head.log_root == engine.reference.head.log_root
        engine.recheck()

    @rule(who=st.sampled_from(["node", "engine"]))
    def crash(self, who: str) -> None:
        """A crash between two blocks, or within one: whoever comes back, what is missing is sent again."""
        if who == "node":
            self.side.restart()
        self.engine.start()

    @precondition(lambda self: self.engine.height == 0)
    @rule()
    def the_beginning_again(self) -> None:
        self.engine.init_chain()

    @rule(upto=st.integers(1, 4))
    def blocks_are_kept(self, upto: int) -> None:
        """The keeper's part: blocks come in full, one after another, some time after they were run."""
        for height in range(self.kept + 1, min(self.kept + upto, self.engine.height) + 1):
            self.keep(height)

    def keep(self, height: int) -> None:
        made = self.engine.blocks[height - 1]
        before = self.engine.blocks[height - 2].id if height > 1 else NO_BLOCK
        identity, writes = kept_writes(self.side.ledger.view(), made.block, made.commit, before)
        assert identity == made.id
        self.side.store.write(writes)
        self.kept = height

    def teardown(self) -> None:
        if not hasattr(self, "side"):
            return
        view = self.side.ledger.view()
        assert view.kept_height == self.kept
        assert list(check_chain(view)) == []
        scratch = MemoryStore()
        assert list(replay(view, scratch, REGISTRY)) == []
        assert list(compare(view.reader, scratch)) == []


Course.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestCourse = Course.TestCase


# the same over the real socket -----------------------------------------------------------------------------------


class Served:
    """An application on a real socket, with an engine's four connections to it."""

    def __init__(self, folder: Path, side: Side) -> None:
        self.side = side
        self.path = folder / "abci.sock"
        self.halted: list[BaseException] = []
        self.server = AbciServer(side.application, self.path, on_halt=self.halted.append)
        self.server.start()
        self.connections = [Connection(self.path) for _ in range(4)]

    def call(self, request: pb.Request) -> pb.Response:
        kind = request.WhichOneof("value") or ""
        place = 1 if kind == "check_tx" else 2 if kind in ("info", "query") else 3 if "snapshot" in kind else 0
        return self.connections[place].ask(request)

    def close(self) -> None:
        for one in self.connections:
            one.close()
        self.server.stop()


@pytest.fixture
def served(tmp_path):
    one = Served(tmp_path, Side())
    yield one
    one.close()


def test_a_course_over_the_socket_gives_what_it_gives_without(tmp_path):
    served = Served(tmp_path, Side())
    engine = FakeEngine(GENESIS, lambda request: served.call(request))
    try:
        engine.start()
        envelopes, dice = Envelopes(), random.Random(7)
        for height in range(1, 13):
            time_ns = GENESIS.time_ms * 1_000_000 + height * SECOND_NS
            for _ in range(dice.randrange(4)):
                engine.check(
                    encode_bundle([envelopes.make(dice.choice(KINDS), height) for _ in range(dice.randint(1, 5))])
                )
            bundles = engine.propose(time_ns, engine.mempool)
            assert engine.accepts(time_ns, bundles)
            engine.finalize(engine.decide(time_ns, bundles))
            if dice.random() < 0.3:  # the node is killed before it could commit
                served.close()
                served.side.restart()
                served = Served(tmp_path, served.side)
                engine.start()
            else:
                engine.commit()
            engine.recheck()
            engine.small_talk()
        assert served.side.ledger.head.state_root == engine.reference.head.state_root
        assert not served.halted
    finally:
        served.close()


def test_the_socket_is_its_owners_alone_and_leaves_with_the_node(served):
    assert served.path.stat().st_mode & 0o777 == SOCKET_MODE
    served.close()
    assert not served.path.exists()


def test_a_socket_of_a_killed_node_is_replaced_also_in_a_deep_folder(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    (deep / "abci.sock").touch()
    server = AbciServer(Side().application, deep / "abci.sock", on_halt=lambda _error: None)
    server.start()
    server.stop()
    with pytest.raises(GuildbookError) as caught:
        AbciServer(Side().application, tmp_path / "none" / "x.sock", on_halt=lambda _error: None).start()
    assert caught.value.code == "node.bad_configuration"


def test_answers_come_in_the_order_of_the_requests(served):
    """Also when those between are answered in other lanes, and before any flush is sent."""
    connection = served.connections[1]
    bundle = encode_bundle([Envelopes().make("issue", 1)])
    requests = []
    for number in range(40):
        requests += [
            pb.Request(check_tx=pb.RequestCheckTx(tx=bundle)),
            pb.Request(echo=pb.RequestEcho(message=str(number))),
            pb.Request(query=pb.RequestQuery(path="/head")),
        ]
    connection.send(*requests)
    answers = [connection.receive() for _ in requests]
    assert [one.WhichOneof("value") for one in answers] == ["check_tx", "echo", "query"] * 40
    assert [one.echo.message for one in answers[1::3]] == [str(number) for number in range(40)]


def test_a_check_is_answered_while_a_block_runs(served):
    """Before Commit an engine waits for its checks: one that waited for the block would stop both for ever."""
    released, running = served.side, served.side.ledger.apply
    seen = []

    def slow(block, checked=None):
        bundle = encode_bundle([Envelopes().make("issue", 1)])
        seen.append(served.call(pb.Request(check_tx=pb.RequestCheckTx(tx=bundle))).check_tx.code)
        return running(block, checked)

    released.ledger.apply = slow  # type: ignore[method-assign]
    engine = FakeEngine(GENESIS, lambda request: served.call(request))
    engine.start()
    engine.finalize(engine.decide(GENESIS.time_ms * 1_000_000, []))
    engine.commit()
    assert seen == [0]


@pytest.mark.parametrize(
    "data",
    [b"\x80\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff\x7f", b"\x05\xff\xff\xff\xff\xff", b"\x0a\x01"],
    ids=["length too long", "message too large", "no message", "cut"],
)
def test_what_is_no_frame_ends_its_connection_and_no_other(served, data):
    bad = served.connections[3]
    bad.socket.sendall(data)
    bad.socket.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        bad.receive()
    assert served.connections[0].ask(pb.Request(echo=pb.RequestEcho(message="on"))).echo.message == "on"
    assert not served.halted


def test_a_request_of_an_unknown_kind_is_told_so(served):
    assert "unknown" in served.connections[0].ask(pb.Request()).exception.error


def test_a_broken_law_in_a_block_halts_the_node_loudly(served):
    engine = FakeEngine(GENESIS, lambda request: served.call(request))
    engine.start()
    breaker = build_transaction(NETWORK, key_of("mill/anna"), 9, b"nonce-01", [("units", "break_the_law", [])])
    engine.decide(GENESIS.time_ms * 1_000_000, [encode_bundle([breaker])])
    with pytest.raises(AssertionError):
        engine.finalize(1)
    assert [type(one) for one in served.halted] == [AssertionError]
    answer = served.call(pb.Request(commit=pb.RequestCommit()))
    assert "halted" in answer.exception.error
    assert served.side.ledger.head.height == 0


# refusals and faults ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("genesis hash", {"app_state_bytes": b'{"genesis_hash":"00"}'}),
        ("genesis hash", {"app_state_bytes": b"{}"}),
        ("network", {"chain_id": "other-net"}),
        ("validators", {"validators": [pb.ValidatorUpdate(pub_key=pb.PublicKey(ed25519=bytes(32)), power=1)]}),
        ("first height", {"initial_height": 7}),
        (
            "votes' extensions",
            {"consensus_params": pb.ConsensusParams(abci=pb.AbciParams(vote_extensions_enable_height=1))},
        ),
    ],
)
def test_an_engine_of_another_genesis_is_refused(what, change):
    side = Side()
    founding = {**FakeEngine(GENESIS, side.call).founding(), **change}
    with pytest.raises(Halted, match=what) as caught:
        side.call(pb.Request(init_chain=pb.RequestInitChain(**founding)))
    assert isinstance(caught.value.cause, GuildbookError)
    assert caught.value.cause.code == "genesis.mismatch"


def test_a_block_that_does_not_follow_is_not_run():
    side = Side()
    for height in (0, 2):
        with pytest.raises(Halted) as caught:
            side.call(pb.Request(finalize_block=pb.RequestFinalizeBlock(height=height)))
        assert isinstance(caught.value.cause, GuildbookError)
        assert caught.value.cause.code == "block.wrong_height"
    with pytest.raises(Halted, match="Commit without"):
        side.call(pb.Request(commit=pb.RequestCommit()))


def test_a_fault_costs_its_own_answer_and_not_the_node(monkeypatch):
    side = Side()
    engine = FakeEngine(GENESIS, side.call)
    monkeypatch.setattr("guildbook.engine.abci.application.read_bundles", lambda *_: 1 / 0)
    assert not engine.check(encode_bundle([Envelopes().make("issue", 1)]))
    assert engine.propose(GENESIS.time_ms * 1_000_000, [b"\x90"]) == []
    assert not engine.accepts(GENESIS.time_ms * 1_000_000, [])
    with pytest.raises(Halted):
        side.call(pb.Request(finalize_block=pb.RequestFinalizeBlock(height=1)))


def test_a_full_volume_at_commit_stops_the_node_and_keeps_nothing(monkeypatch):
    side = Side()
    engine = FakeEngine(GENESIS, side.call)
    engine.finalize(engine.decide(GENESIS.time_ms * 1_000_000, []))

    def full(_pairs):
        raise GuildbookError("store.full", "no space is left", hint="free some")

    monkeypatch.setattr(side.store, "write", full)
    with pytest.raises(Halted) as caught:
        side.call(pb.Request(commit=pb.RequestCommit()))
    assert isinstance(caught.value.cause, GuildbookError)
    assert caught.value.cause.code == "store.full"
    assert side.ledger.head.height == 0


def test_what_is_twice_in_a_block_or_was_in_one_before_is_left_out():
    side = Side()
    engine = FakeEngine(GENESIS, side.call)
    envelopes, time_ns = Envelopes(), GENESIS.time_ms * 1_000_000
    first, second, third = (envelopes.make("issue", 1) for _ in range(3))
    one, two = encode_bundle([first, second]), encode_bundle([second, third])
    assert engine.propose(time_ns, [one, two]) == [one, encode_bundle([third])]
    assert not engine.accepts(time_ns, [one, two])
    engine.finalize(engine.decide(time_ns, [one]))
    engine.commit()
    assert engine.propose(time_ns + 1, [one, two]) == [encode_bundle([third])]
    assert not engine.check(one)
    assert engine.check(two)


def test_a_proposal_keeps_the_ledgers_own_bounds():
    side = Side()
    engine = FakeEngine(GENESIS, side.call)
    envelopes, time_ns = Envelopes(), GENESIS.time_ms * 1_000_000
    many = [encode_bundle([envelopes.make("issue", 1) for _ in range(500)]) for _ in range(9)]
    proposal = engine.propose(time_ns, many, 100 << 20)
    assert proposal == many[:8], "4000 transactions are in a block"
    assert engine.accepts(time_ns, proposal)
    assert not engine.accepts(time_ns, many)
    few = engine.propose(time_ns, many, 10_000)
    assert len(few) == 1
    assert engine.accepts(time_ns, few)


@pytest.mark.parametrize("damage", ["bundle", "power", "signature", "other block", "before"])
def test_a_block_is_kept_only_when_it_is_the_one_that_was_run(damage):
    side = Side()
    engine = FakeEngine(GENESIS, side.call)
    time_ns = GENESIS.time_ms * 1_000_000
    for number in range(2):
        engine.finalize(engine.decide(time_ns + number, [encode_bundle([Envelopes().make("issue", 1)])]))
        engine.commit()
    first, made = engine.blocks
    block, commit, before = made.block, made.commit, first.id
    votes = list(commit.signatures)
    if damage == "bundle":
        block = type(block)(block.header, (b"\x90",), block.evidence, block.last_commit)
    elif damage == "power":
        votes[0] = votes[1] = ABSENT
    elif damage == "signature":
        vote = votes[0]
        votes[0] = type(vote)(vote.flag, vote.address, vote.time_ns, bytes(64))
    elif damage == "other block":
        block, commit = first.block, first.commit
        side.store.write([(b"J" + (1).to_bytes(8, "big"), None)])
    else:
        before = made.id
    if damage in ("power", "signature"):
        commit = type(commit)(commit.height, commit.round, commit.block_id, tuple(votes))
    with pytest.raises(CometError):
        kept_writes(side.ledger.view(), block, commit, before)
    kept_writes(side.ledger.view(), made.block, made.commit, first.id)


def test_what_is_missing_or_changed_in_the_store_is_found():
    side = Side()
    engine = FakeEngine(GENESIS, side.call)
    time_ns = GENESIS.time_ms * 1_000_000
    for number in range(3):
        bundles = [encode_bundle([Envelopes().make("issue", 1)])] if number == 1 else []
        engine.finalize(engine.decide(time_ns + number, bundles))
        engine.commit()
    made = engine.blocks[0]
    _identity, writes = kept_writes(side.ledger.view(), made.block, made.commit, NO_BLOCK)
    side.store.write(writes)
    assert list(check_chain(side.ledger.view())) == []
    key = b"J" + (3).to_bytes(8, "big")
    data = side.store.get(key)
    side.store.write([(key, None)])
    assert [one.where for one in check_chain(side.ledger.view())] == ["block 3"]
    assert [one.where for one in replay(side.ledger.view(), MemoryStore(), REGISTRY)] == ["block 3"]
    side.store.write([(key, data)])
    run_as_two = b"J" + (2).to_bytes(8, "big")
    side.store.write([(run_as_two, (side.store.get(run_as_two) or b"").replace(b"issue", b"isssu"))])
    assert list(replay(side.ledger.view(), MemoryStore(), REGISTRY))


def test_the_engine_keeps_what_was_not_fetched_from_it():
    side = Side()
    side.application = Application(side.ledger, signatures=SignatureChecker(0), retain_blocks=2)
    engine = FakeEngine(GENESIS, side.call)
    time_ns = GENESIS.time_ms * 1_000_000
    heights = []
    for number in range(6):
        engine.finalize(engine.decide(time_ns + number, []))
        heights.append(engine.ask("commit").retain_height)
        if number == 2:
            before = NO_BLOCK
            for made in engine.blocks:
                before, writes = kept_writes(side.ledger.view(), made.block, made.commit, before)
                side.store.write(writes)
    assert heights == [0, 1, 1, 3, 4, 4]
