"""Founding with several members: the same genesis on every machine, and each way in which a join can be wrong."""

import json
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guildbook.chain.genesis import read_genesis
from guildbook.chain.ledger import Ledger
from guildbook.node.joining import (
    Join,
    JoiningParty,
    ProposedMember,
    check_join,
    check_proposal,
    check_sources,
    collect,
    contracts_at_hand,
    is_address,
    make_join,
    make_proposal,
    read_join,
    read_peers,
    read_proposal,
    roles_of,
)
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.runtime.registry import Registry
from guildbook.state.kv import MemoryStore

APPLICATION = "sample_contract:Units"
MEMBERS = ("kettle-and-crumb", "moss-and-fern", "paper-lantern")
OBSERVER = "points-watch"


def key(number: int) -> SigningKey:
    return SigningKey.from_seed(number.to_bytes(32, "big"))


def proposal(**changes):
    members = [
        ProposedMember(name, name.title(), "XX", ["parties:admin", "units:issuer"]) for name in MEMBERS
    ]
    members.append(ProposedMember(OBSERVER, "Points Watch", "XX", ["parties:admin"], observer=True))
    made = make_proposal("harbour-net", members, [APPLICATION], 1_700_000_000_000, {"events_max": 500})
    return msgspec.structs.replace(made, **changes)


PROPOSAL = proposal()


def join_of(number: int, answered=PROPOSAL, **changes) -> Join:
    member = answered.members[number]
    party = JoiningParty(f"admin-{number}", "person", "An administrator", "", ["parties:admin"])
    values = {"parties": [(party, key(100 + number))], "validator": key(200 + number), "node": key(300 + number),
              "p2p_address": f"node{number}.example.org:26656", "api_url": "", **changes}  # fmt: skip
    return make_join(answered, member.organisation, **values)


JOINS = [join_of(number) for number in range(4)]


def refused(code: str, *words: str):
    def right(error: GuildbookError) -> bool:
        assert error.hint
        return error.code == code and all(word in error.message for word in words)

    return pytest.raises(GuildbookError, check=right)


def resigned(join: Join, **changes) -> Join:
    """``join`` with ``changes``, signed again by the keys that are known."""
    keys = {
        key_text(key(number).public_key): key(number)
        for hundred in (100, 200, 300)
        for number in range(hundred, hundred + 9)
    }
    draft = msgspec.structs.replace(join, **changes)
    return msgspec.structs.replace(
        draft,
        signatures={text: keys[text].sign(draft.statement).hex() for text in draft.keys if text in keys},
    )


# founding


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_genesis_is_the_same_whatever_the_order_and_however_often_a_join_came(
    source: random.Random, times: int
):
    joins = [read_join(one.to_json()) for one in JOINS * times]
    source.shuffle(joins)
    genesis, peers = collect(read_proposal(PROPOSAL.to_json()), joins)
    again, same = collect(PROPOSAL, JOINS)
    assert genesis.to_json() == again.to_json()
    assert peers.to_json() == same.to_json()
    assert read_genesis(genesis.to_json()).hash == again.hash


def test_the_genesis_founds_a_ledger_with_one_validator_for_each_member_and_none_for_the_observer():
    genesis, peers = collect(PROPOSAL, JOINS)
    ledger = Ledger.create(MemoryStore(), genesis, Registry())
    assert ledger.head.height == 0
    assert sorted(one.organisation for one in genesis.validators) == sorted(MEMBERS)
    assert {one.id for one in genesis.organisations} == {*MEMBERS, OBSERVER}
    assert genesis.parameters == {"events_max": 500}
    assert genesis.engine == "cometbft"
    assert {one.id: one.member_class for one in genesis.organisations} == {
        **dict.fromkeys(MEMBERS, "member"),
        OBSERVER: "",
    }
    assert [(one.organisation, one.observer) for one in peers.nodes] == [
        *((name, False) for name in MEMBERS),
        (OBSERVER, True),
    ]
    assert peers.genesis_hash == genesis.hash.hex()
    assert read_peers(peers.to_json()) == peers
    assert len({one.id for one in peers.engines}) == 4
    assert peers.engines[0].address == "node0.example.org:26656"


def test_another_voting_power_is_another_genesis():
    members = [msgspec.structs.replace(PROPOSAL.members[0], power=5), *PROPOSAL.members[1:]]
    other = msgspec.structs.replace(PROPOSAL, members=members)
    genesis, _peers = collect(other, [join_of(number, other) for number in range(4)])
    assert {one.organisation: one.power for one in genesis.validators}["kettle-and-crumb"] == 5
    assert genesis.hash != collect(PROPOSAL, JOINS)[0].hash


def test_missing_joins_are_named():
    with refused("network.incomplete", "moss-and-fern, points-watch"):
        collect(PROPOSAL, [JOINS[0], JOINS[2]])


def test_two_different_joins_of_one_organisation_are_refused():
    with refused("network.malformed", "two different joins of moss-and-fern"):
        collect(PROPOSAL, [*JOINS, join_of(1, node=key(305))])


@pytest.mark.parametrize("what", ["party", "key"])
def test_what_belongs_to_one_organisation_cannot_be_brought_by_another(what):
    party = JoiningParty("admin-0" if what == "party" else "admin-9", "person", "x", "", [])
    other = join_of(
        1, parties=[(party, key(109 if what == "party" else 100) if what == "party" else key(100))]
    )
    with refused("network.malformed", "kettle-and-crumb and moss-and-fern both name"):
        collect(PROPOSAL, [JOINS[0], other, *JOINS[2:]])


def test_a_member_with_other_sources_is_told_which_contract_differs():
    contracts = [
        msgspec.structs.replace(one, source="00" * 32) if one.name == "units" else one
        for one in PROPOSAL.contracts
    ]
    with refused("network.mismatch", "units", "00" * 32):
        check_sources(msgspec.structs.replace(PROPOSAL, contracts=contracts))
    with refused("network.mismatch", "not installed"):
        check_sources(msgspec.structs.replace(PROPOSAL, applications=[]))
    with refused("network.mismatch", "proposed"):
        check_sources(msgspec.structs.replace(PROPOSAL, contracts=PROPOSAL.contracts[:-1]))


# joins


def test_a_join_is_signed_by_every_key_that_it_names():
    join = JOINS[0]
    assert set(join.signatures) == {key_text(key(number).public_key) for number in (100, 200, 300)}
    for text in join.signatures:
        broken = msgspec.structs.replace(join, signatures={**join.signatures, text: "00" * 64})
        with refused("network.bad_proof", text):
            check_join(PROPOSAL, broken)
        without = {other: one for other, one in join.signatures.items() if other != text}
        with refused("network.bad_proof"):
            check_join(PROPOSAL, msgspec.structs.replace(join, signatures=without))


@pytest.mark.parametrize("signature", ["", "zz", "00" * 63])
def test_a_signature_that_is_none_is_refused(signature):
    join = msgspec.structs.replace(JOINS[0], signatures=dict.fromkeys(JOINS[0].signatures, signature))
    with refused("network.bad_proof"):
        check_join(PROPOSAL, join)


@pytest.mark.parametrize(
    "changes",
    [{"p2p_address": "elsewhere.example.org:26656"}, {"api_url": "http://x:1"}, {"organisation": "moss-and-fern"},
     {"parties": []}],
)  # fmt: skip
def test_an_altered_join_is_refused(changes):
    with pytest.raises(GuildbookError) as caught:
        check_join(PROPOSAL, msgspec.structs.replace(JOINS[0], **changes))
    assert caught.value.code in ("network.bad_proof", "network.malformed")


def test_nobody_joins_with_a_key_of_somebody_else():
    stolen = resigned(JOINS[1], validator=JOINS[0].validator)
    missing = msgspec.structs.replace(
        stolen, signatures={**stolen.signatures, stolen.validator: JOINS[0].signatures[stolen.validator]}
    )
    with refused("network.bad_proof", stolen.validator):
        check_join(PROPOSAL, missing)


def test_a_join_for_another_proposal_is_refused():
    with refused("network.mismatch", PROPOSAL.hash.hex()):
        check_join(proposal(time_ms=5), JOINS[0])


def test_an_organisation_that_nobody_asked_is_refused():
    with refused("network.mismatch", "does not ask stranger"):
        check_join(PROPOSAL, resigned(JOINS[0], organisation="stranger"))


def test_a_permission_beyond_the_organisations_is_refused():
    party = msgspec.structs.replace(JOINS[0].parties[0], permissions=["governance:governor"])
    with refused("network.mismatch", "governance:governor"):
        check_join(PROPOSAL, resigned(JOINS[0], parties=[party]))


PARTY = JOINS[0].parties[0]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"p2p_address": "no-port"}, "no address"),
        ({"p2p_address": "host:0"}, "no address"),
        ({"p2p_address": "host:70000"}, "no address"),
        ({"api_url": "ftp://host"}, "no address of an interface"),
        ({"api_url": "http://a b"}, "no address of an interface"),
        ({"node": JOINS[0].validator}, "twice"),
        ({"node": "ed25519:00"}, "key"),
        ({"parties": []}, "0 parties"),
        ({"parties": [PARTY, PARTY]}, "twice"),
        ({"parties": [msgspec.structs.replace(PARTY, kind="robot")]}, "robot"),
        ({"parties": [msgspec.structs.replace(PARTY, name="")]}, "0 characters"),
        ({"parties": [msgspec.structs.replace(PARTY, id="a b")]}, "a b"),
        ({"parties": [msgspec.structs.replace(PARTY, permissions=["all"])]}, "all"),
        ({"format": 2}, "format 2"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(changes, word):
    with refused("network.malformed", word):
        check_join(PROPOSAL, resigned(JOINS[0], **changes))


@pytest.mark.parametrize("address", ["a:1", "10.0.0.1:26656", "[::1]:26656", "node-1.example.org:65535"])
def test_an_address_is_accepted(address):
    assert is_address(address)


@pytest.mark.parametrize(
    "address", ["", ":1", "a", "a:", "a:x", "-a:1", "a,b:1", "a@b:1", "a b:1", "a:1\n", "::1:5"]
)
def test_an_address_is_refused(address):
    assert not is_address(address)


# proposals


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"network": "X"}, "network id"),
        ({"members": []}, "0 organisations"),
        ({"members": [PROPOSAL.members[3]]}, "1 organisations, 1 of them as observers"),
        ({"members": [PROPOSAL.members[0], PROPOSAL.members[0]]}, "twice"),
        ({"members": [msgspec.structs.replace(PROPOSAL.members[0], power=0)]}, "no voting power"),
        ({"members": [msgspec.structs.replace(PROPOSAL.members[0], name="")]}, "0 characters"),
        ({"members": [msgspec.structs.replace(PROPOSAL.members[0], member_class="a b")]}, "member class"),
        ({"members": [msgspec.structs.replace(PROPOSAL.members[0], affiliation="a b")]}, "affiliation"),
        ({"members": [msgspec.structs.replace(PROPOSAL.members[0], organisation="a b")]}, "a b"),
        ({"members": [msgspec.structs.replace(PROPOSAL.members[0], permissions=["x"])]}, "permission"),
        ({"parameters": {"events_max": 1}}, "events_max = 1"),
        ({"parameters": {"nothing": 1}}, "nothing"),
        ({"time_ms": 0}, "1970"),
        ({"format": 9}, "format 9"),
    ],
)
def test_a_proposal_that_cannot_found_a_network_is_refused(changes, word):
    with refused("network.malformed", word):
        check_proposal(msgspec.structs.replace(PROPOSAL, **changes))


@pytest.mark.parametrize("read", [read_proposal, read_join, read_peers])
@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b"x" * (1 << 20) + b"y"])
def test_what_is_no_document_is_refused(read, data):
    with refused("network.malformed"):
        read(data)


def test_a_field_that_nobody_knows_is_refused():
    document = json.loads(PROPOSAL.to_json())
    with refused("network.malformed", "surprise"):
        read_proposal(json.dumps({**document, "surprise": 1}).encode())


@pytest.mark.parametrize(("field", "value"), [("id", "XY"), ("p2p_address", "nowhere")])
def test_a_peer_without_id_or_address_is_refused(field, value):
    _genesis, peers = collect(PROPOSAL, JOINS)
    document = json.loads(peers.to_json())
    document["nodes"][0][field] = value
    with refused("network.malformed"):
        read_peers(json.dumps(document).encode())


def test_roles_are_those_of_the_contracts():
    assert "units:issuer" in roles_of(contracts_at_hand([APPLICATION]))
