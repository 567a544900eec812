"""Parameters, sources and releases: only forward, never in the past, and every refusal by name."""

from pathlib import Path

import msgspec
import pytest

from guildbook.foundation import governance as module
from guildbook.foundation.governance import Governance
from guildbook.primitives.hashing import sha256
from guildbook.runtime.parameters import BOUNDS, Parameters
from guildbook.testing.ledger import TestLedger, refused

NOTES = '''"""Notes."""

from guildbook.contract import Contract, Record, Table, Text, command, key


class Note(Record):
    """A note."""

    id: int = key()
    text: Text


class Notes(Contract, name="notes", version={version}):
    """Notes."""

    notes = Table(Note)

    @command
    def write(self, text: Text) -> int:
        """Write a note."""
        return self.notes.insert(Note(id=self.sequence("notes"), text=text + "{ending}")).id
'''
FIRST = NOTES.format(version=1, ending="")
SECOND = NOTES.format(version=2, ending="!")


@pytest.fixture
def ledger() -> TestLedger:
    return TestLedger(actors={"shop/anna": []})


def governor(ledger: TestLedger):
    return ledger.actor("council/registrar").governance


def height(ledger: TestLedger) -> int:
    """The height of the next block."""
    return ledger.ledger.head.height + 1


def schedule(ledger: TestLedger, version: int, text: str, active_from: int) -> None:
    governor(ledger).schedule_release("notes", version, sha256(text.encode()), active_from)


# parameters


def test_a_parameter_is_in_force_from_the_next_block_on(ledger):
    governor(ledger).set_parameter("calls_per_transaction_max", 1)
    assert ledger.query("governance.parameter", "calls_per_transaction_max") == 1
    with refused("transaction.too_many_calls", most=1):
        ledger.actor("council/registrar").calls(
            ("governance.set_parameter", {"name": "events_max", "value": 20}),
            ("governance.set_parameter", {"name": "events_max", "value": 21}))
    governor(ledger).set_parameter("calls_per_transaction_max", 2)
    assert [row.value for row in ledger.rows("governance.parameters")] == [2]


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_a_parameter_stays_within_its_bounds(ledger, name):
    least, greatest = BOUNDS[name]
    for value in (least - 1, greatest + 1, -(2**63), 2**63 - 1):
        with refused("governance.parameter_out_of_bounds", least=least, greatest=greatest):
            governor(ledger).set_parameter(name, value)


def test_an_unknown_parameter_is_refused(ledger):
    with refused("governance.unknown_parameter", name="speed"):
        governor(ledger).set_parameter("speed", 1)
    with pytest.raises(module.UnknownParameter):
        ledger.query("governance.parameter", "speed")


def test_a_parameter_that_was_not_set_has_its_default(ledger):
    assert set(Parameters.__struct_fields__) == set(BOUNDS)
    for name, value in msgspec.structs.asdict(Parameters()).items():
        assert ledger.query("governance.parameter", name) == value


def test_the_largest_transaction_always_fits_into_a_block(ledger):
    governor(ledger).set_parameter("transaction_size_bytes_max", 1_000_000)
    with refused("governance.transaction_larger_than_block", transaction_size_bytes_max=1_000_000):
        governor(ledger).set_parameter("block_size_bytes_max", 1_001_023)
    governor(ledger).set_parameter("block_size_bytes_max", 1_001_024)
    with refused("governance.transaction_larger_than_block", block_size_bytes_max=1_001_024):
        governor(ledger).set_parameter("transaction_size_bytes_max", 1_000_001)


def test_only_a_governor_changes_the_rules(ledger):
    for command, arguments in (
        ("set_parameter", ("events_max", 20)),
        ("register_source", ("notes", FIRST)),
        ("schedule_release", ("notes", 1, bytes(32), 9)),
        ("withdraw_release", ("notes", 1)),
    ):
        with refused("call.not_permitted", permission="governance:governor"):
            ledger.actor("shop/anna").call(f"governance.{command}", *arguments)


# sources and releases


def test_a_source_runs_from_its_height_and_not_before(ledger):
    assert governor(ledger).register_source("notes", FIRST) == sha256(FIRST.encode())
    at = height(ledger) + 2
    schedule(ledger, 1, FIRST, at)
    with refused("call.unknown_contract", contract="notes"):
        ledger.actor("shop/anna").call("notes.write", "early")
    assert height(ledger) == at
    assert ledger.actor("shop/anna").notes.write("on time") == 1


def test_the_next_version_takes_over_the_rows(ledger):
    for text in (FIRST, SECOND):
        governor(ledger).register_source("notes", text)
    schedule(ledger, 1, FIRST, height(ledger) + 1)
    schedule(ledger, 2, SECOND, height(ledger) + 2)
    anna = ledger.actor("shop/anna")
    anna.notes.write("first")
    anna.notes.write("second")
    assert [row.text for row in ledger.rows("notes.notes")] == ["first", "second!"]


def test_the_contracts_of_genesis_have_their_sources_and_releases(ledger):
    for release in ledger.rows("governance.releases"):
        source = ledger.rows("governance.sources", release.source)[0]
        assert (release.version, release.active_from, source.contract) == (1, 0, release.contract)
        assert sha256(source.text.encode()) == release.source
    members = [(row.organisation, row.member_class) for row in ledger.rows("governance.members")]
    assert members == [("council", "member")]


def test_a_source_is_registered_once_and_has_text(ledger):
    governor(ledger).register_source("notes", FIRST)
    with refused("governance.source_exists", source=sha256(FIRST.encode())):
        governor(ledger).register_source("notes", FIRST)
    with refused("governance.empty_source"):
        governor(ledger).register_source("notes", "")


def test_a_release_of_an_unknown_source_is_refused(ledger):
    with refused("governance.unknown_source", source=bytes(32)):
        governor(ledger).schedule_release("notes", 1, bytes(32), height(ledger) + 1)


def test_a_source_does_not_run_as_another_contract(ledger):
    governor(ledger).register_source("notes", FIRST)
    with refused("governance.source_of_another_contract", contract="notes"):
        governor(ledger).schedule_release("parties", 2, sha256(FIRST.encode()), height(ledger) + 1)


@pytest.mark.parametrize("version", [2, 3])
def test_versions_follow_one_another(ledger, version):
    governor(ledger).register_source("notes", FIRST)
    with refused("governance.not_the_next_version", next=1):
        schedule(ledger, version, FIRST, height(ledger) + 1)
    schedule(ledger, 1, FIRST, height(ledger) + 5)
    with refused("governance.not_the_next_version", next=2):
        schedule(ledger, 1, FIRST, height(ledger) + 9)


@pytest.mark.parametrize("ahead", [-1, 0])
def test_a_release_begins_strictly_in_the_future(ledger, ahead):
    governor(ledger).register_source("notes", FIRST)
    with refused("governance.too_early", earliest=height(ledger) + 1):
        schedule(ledger, 1, FIRST, height(ledger) + ahead)


def test_a_release_begins_after_the_one_before_it(ledger):
    for text in (FIRST, SECOND):
        governor(ledger).register_source("notes", text)
    at = height(ledger) + 10
    schedule(ledger, 1, FIRST, at)
    with refused("governance.too_early", earliest=at + 1):
        schedule(ledger, 2, SECOND, at)
    schedule(ledger, 2, SECOND, at + 1)


def test_a_release_is_withdrawn_only_before_it_begins(ledger):
    governor(ledger).register_source("notes", FIRST)
    schedule(ledger, 1, FIRST, height(ledger) + 5)
    governor(ledger).withdraw_release("notes", 1)
    at = height(ledger) + 1
    schedule(ledger, 1, FIRST, at)
    with refused("governance.release_active", active_from=at):
        governor(ledger).withdraw_release("notes", 1)


def test_releases_are_withdrawn_from_the_last_one_back(ledger):
    for text in (FIRST, SECOND):
        governor(ledger).register_source("notes", text)
    schedule(ledger, 1, FIRST, height(ledger) + 50)
    schedule(ledger, 2, SECOND, height(ledger) + 60)
    with refused("governance.later_release_exists", version=2):
        governor(ledger).withdraw_release("notes", 1)
    governor(ledger).withdraw_release("notes", 2)
    governor(ledger).withdraw_release("notes", 1)
    with refused("governance.unknown_release", version=1):
        governor(ledger).withdraw_release("notes", 1)


def test_a_founding_release_is_never_withdrawn(ledger):
    with refused("governance.release_active", active_from=0):
        governor(ledger).withdraw_release("parties", 1)


def test_no_other_contract_changes_the_rules(ledger):
    execution = ledger.ledger.view().execution()
    contract = execution.contract("governance")
    execution.context.caller = "points"
    for name, arguments in (
        ("set_parameter", ("events_max", 20)),
        ("register_source", ("notes", FIRST)),
        ("schedule_release", ("notes", 1, bytes(32), 9)),
        ("withdraw_release", ("notes", 1)),
    ):
        with pytest.raises(module.OnlyByTransaction):
            getattr(contract, name)(*arguments)


def test_every_refusal_has_a_case_here():
    text = Path(__file__).read_text() + Path(__file__).with_name("test_governance_register.py").read_text()
    for rejection in Governance.rejections:
        assert rejection.code.partition(".")[2] in text or rejection.__name__ in text, rejection.code
