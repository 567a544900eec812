"""A new version of a contract runs only after members have run it themselves, and got the same."""

import pytest

from governed import SET_EVENTS, Network, action
from guildbook.primitives.hashing import sha256
from guildbook.testing import refused

NOTES = '''"""Notes."""

from guildbook.contract import Contract, Record, Table, Text, command, key


class Note(Record):
    """A note."""

    id: int = key()
    text: Text


class Notes(Contract, name="notes", version=1):
    """Notes."""

    notes = Table(Note)

    @command
    def write(self, text: Text) -> int:
        """Write a note."""
        return self.notes.insert(Note(id=self.sequence("notes"), text=text)).id
'''
SOURCE = sha256(NOTES.encode())
ROOT, OUTCOME = b"r" * 32, b"o" * 32


@pytest.fixture
def network() -> Network:
    network = Network()
    assert network.of("mill").publish_source("notes", NOTES) == SOURCE
    for _ in range(3):
        network.ledger.cut([])
    return network


def release(network: Network):
    return action(
        "schedule_release", name="notes", value=1, digest=SOURCE, height=network.ledger.ledger.head.height + 60
    )


def propose(network: Network, **options) -> int:
    return network.propose(release(network), rehearsal_from=1, rehearsal_to=3, **options)


def approve(network: Network, number: int, *organisations: str, outcome: bytes = OUTCOME) -> None:
    for organisation in organisations:
        network.of(organisation).approve_rehearsal(number, 1, 3, ROOT, outcome)


def test_a_release_is_voted_on_by_those_who_ran_it(network):
    number = propose(network, required=("farm",))
    with refused("council.rehearsal_missing", rehearsal_from=1, rehearsal_to=3):
        network.vote(number, mill="yes")
    network.vote(number, port="no")
    approve(network, number, "mill", "farm", "shop")
    network.vote(number, mill="yes", farm="yes", shop="yes")
    assert network.close(number) == "passed"
    network.execute(number)
    at = network.ledger.rows("governance.releases", "notes")[0].active_from
    while network.ledger.ledger.head.height < at - 1:
        network.ledger.cut([])
    assert network.actor("guest").notes.write("by vote") == 1


def test_roots_that_differ_block_the_release_until_somebody_ran_it_again(network):
    number = propose(network)
    approve(network, number, "mill", "farm", "shop")
    network.vote(number, mill="yes", farm="yes", shop="yes")
    approve(network, number, "port", outcome=b"x" * 32)
    assert network.close(number) == "passed"
    with refused("council.rehearsals_differ", organisation="farm", other="port"):
        network.execute(number)
    approve(network, number, "port")
    network.execute(number)
    with refused("council.already_decided", status="executed"):
        approve(network, number, "port")


def test_a_delegate_does_not_rehearse_for_others(network):
    network.of("shop").delegate("mill")
    number = propose(network)
    approve(network, number, "mill", "farm")
    network.vote(number, mill="yes", farm="yes")
    assert network.tally(number).yes == 2


def test_a_rehearsal_is_of_the_blocks_that_the_proposal_names(network):
    number = propose(network)
    with refused("council.other_blocks", rehearsal_from=1, rehearsal_to=3):
        network.of("mill").approve_rehearsal(number, 1, 2, ROOT, OUTCOME)
    other = network.propose(SET_EVENTS)
    with refused("council.nothing_to_rehearse", proposal=other):
        network.of("mill").approve_rehearsal(other, 1, 3, ROOT, OUTCOME)
    with refused("council.not_an_elector", organisation="guest"):
        approve(network, number, "guest")


def test_the_blocks_of_a_rehearsal_are_there(network):
    latest = network.ledger.ledger.head.height
    for first, last in ((0, 0), (3, 3), (3, 2), (1, latest + 60)):
        with refused("council.rehearsal_range"):
            network.propose(release(network), rehearsal_from=first, rehearsal_to=last)
    with refused("council.rehearsal_range"):
        network.propose(SET_EVENTS, rehearsal_from=1, rehearsal_to=3)


def test_releases_are_rehearsed_one_by_one(network):
    with refused("council.one_release_at_a_time"):
        network.propose(release(network), release(network), rehearsal_from=1, rehearsal_to=3)


def test_a_source_is_published_by_members(network):
    with refused("council.not_a_member", organisation="guest"):
        network.of("guest").publish_source("notes", NOTES + "\n")
    with refused("governance.source_exists", source=SOURCE):
        network.of("mill").publish_source("notes", NOTES)


def test_a_network_of_one_releases_without_a_rehearsal():
    network = Network({"mill": "member"}, validators=None)
    network.of("mill").publish_source("notes", NOTES)
    network.of("mill").act("Notes", "We want notes", (release(network),))
    assert [row.version for row in network.ledger.rows("governance.releases", "notes")] == [1]
