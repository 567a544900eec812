"""A genesis document names members, validators and an engine that can be."""

import msgspec
import pytest

from guildbook.chain.genesis import Genesis, GenesisValidator, check_genesis, read_genesis
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import key_text
from guildbook.runtime.validators import VALIDATORS_MAX
from guildbook.testing import TestLedger
from guildbook.testing.ledger import test_key as key_of

MEMBERS = {"mill": "maker", "shop": "seller"}


def founded() -> Genesis:
    return TestLedger(
        actors={f"{one}/{one}-voter": ["council:voter"] for one in MEMBERS},
        members=MEMBERS,
        affiliations={"shop": "mill"},
        validators={"mill": 10, "shop": 5},
    ).ledger.genesis


def refuses(genesis: Genesis, part: str) -> None:
    with pytest.raises(GuildbookError) as caught:
        check_genesis(genesis)
    assert caught.value.code == "genesis.malformed"
    assert part in caught.value.message


def test_members_classes_groups_and_engine_are_kept_in_the_document():
    genesis = read_genesis(founded().to_json())
    assert genesis == founded()
    assert genesis.engine == "cometbft"
    seats = {one.id: (one.member_class, one.affiliation) for one in genesis.organisations}
    assert seats == {"council": ("", ""), "mill": ("maker", ""), "shop": ("seller", "mill")}


def test_a_document_without_the_newer_fields_is_of_a_solo_network_of_members():
    data = msgspec.json.decode(founded().to_json())
    del data["engine"]
    for organisation in data["organisations"]:
        del organisation["member_class"], organisation["affiliation"]
    genesis = read_genesis(msgspec.json.encode(data))
    assert genesis.engine == "solo"
    assert all(one.member_class == "member" for one in genesis.organisations)


def test_what_cannot_found_a_network_is_refused():
    genesis = founded()
    replace = msgspec.structs.replace
    refuses(replace(genesis, engine="raft"), "engine 'raft'")
    refuses(replace(genesis, contracts=[one for one in genesis.contracts if one.name != "council"]), "council")
    weak = GenesisValidator("ed25519:" + "00" * 32, 1, "mill")
    refuses(replace(genesis, validators=[weak]), "small order")
    many = [
        GenesisValidator(key_text(key_of(f"v{number}").public_key), 1, "mill") for number in range(VALIDATORS_MAX + 1)
    ]
    refuses(replace(genesis, validators=many), f"{VALIDATORS_MAX + 1} validators")
    first = replace(genesis.organisations[0], member_class="no spaces please")
    refuses(replace(genesis, organisations=[first, *genesis.organisations[1:]]), "member class")
