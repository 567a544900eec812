"""The laws of consents, against a model that keeps a list of what was given and a list of what was read.

The model has no counters, states or periods: for each read it goes through the lists and says whether a consent covers
it. The contract must agree, read by read; ``may`` must agree before each read; an auditor who has the events alone must
count the same reads.
"""

from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from guildbook.contract import Rejected
from guildbook.contract.contract import Context, Sender
from guildbook.foundation.consents import Consents, Kind, Mode
from guildbook.foundation.parties import Parties
from guildbook.runtime.identity import PartyKind
from guildbook.state.kv import MemoryStore
from guildbook.state.overlay import Overlay

START_MS = 1_767_225_600_000
HOUR = 3600 * 1000
TYPES = ("a", "b", "c")
READERS = {"rita": "bank", "rob": "bank", "hal": "other-bank", "nobody": None}


@dataclass
class Given:
    """A consent as the model remembers it."""

    recipient: str
    types: tuple[str, ...]
    purpose: str
    mode: Mode
    most: int
    period: int | None
    begins: int
    ends: int
    revoked: bool = False
    read_at: list[int] = field(default_factory=list)

    def left(self, now: int) -> int:
        """Reads left: of all there were, those in the same period count."""
        if self.period is None:
            return self.most - len(self.read_at)
        mine = (now - self.begins) // self.period
        return self.most - sum((one - self.begins) // self.period == mine for one in self.read_at)

    def refusal(self, reader: str, purpose: str, mode: Mode, types: tuple[str, ...], now: int) -> str:
        """Why a read is not covered; empty where it is."""
        if not types:
            return "no_data_types"
        if self.revoked:
            return "consent_ended"
        if READERS[reader] != self.recipient:
            return "reader_of_another"
        if now >= self.ends:
            return "consent_over"
        if purpose != self.purpose:
            return "purpose_not_covered"
        if mode != self.mode:
            return "mode_not_covered"
        if not set(types) <= set(self.types):
            return "data_type_not_covered"
        return "" if self.left(now) > 0 else "read_too_often"


types = st.lists(st.sampled_from(TYPES), max_size=3, unique=True).map(tuple)
purposes = st.sampled_from(("loan", "loan", "audit"))
modes = st.sampled_from((Mode.VIEW, Mode.VIEW, Mode.STORE))
acts = st.one_of(
    st.tuples(st.just("give"), st.sampled_from(("bank", "other-bank")), types.filter(bool), purposes, modes,
              st.integers(1, 3), st.sampled_from((None, HOUR, 5 * HOUR)), st.integers(1, 12)),
    st.tuples(st.just("revoke"), st.integers(1, 5)),
    st.tuples(st.just("narrow"), st.integers(1, 5), types.filter(bool), st.integers(1, 12)),
    st.tuples(st.just("wait"), st.integers(1, 90)),
    *[st.tuples(st.just("read"), st.integers(1, 5), st.sampled_from(sorted(READERS)), purposes, modes, types)] * 4,
)  # fmt: skip


class Office:
    """The contract, its signer being subject and keeper at once, and the model beside it."""

    def __init__(self) -> None:
        overlay = Overlay(MemoryStore())
        self.overlay = overlay
        self.context = Context("test-net", 1, START_MS)
        self.context.sender = Sender("anna", "office", b"")
        self.context.permissions = lambda _permission: True
        self.context.events_max = 1 << 30
        parties = Parties(overlay, self.context)
        for organisation in ("office", "bank", "other-bank"):
            parties._insert_organisation(organisation, organisation, "XX", ())
        for reader, employer in (*READERS.items(), ("anna", "office")):
            if employer is not None:
                parties._insert_party(reader, employer, PartyKind.PERSON, reader, ())
        self.consents = Consents(overlay, self.context)
        self.consents.bind_use("parties", parties)
        self.consents.open_collection("own", TYPES)
        self.model: dict[int, Given] = {}
        self.reads = 0

    def attempt(self, expected: str, operation):
        mark, said, result = self.overlay.begin(1 << 62), len(self.context.events), None
        refusal = ""
        try:
            result = operation()
        except Rejected as rejection:
            self.overlay.rollback(mark)
            del self.context.events[said:]
            refusal = rejection.code
        assert refusal == (f"consents.{expected}" if expected else "")
        return result

    def give(self, recipient, data_types, purpose, mode, most, period, hours):
        ends = self.context.now + hours * HOUR
        whom = (f"c-{len(self.model)}", Kind.PARTY, "anna", recipient, "own")
        number = self.attempt(
            "", lambda: self.consents.give(*whom, data_types, purpose, mode, ends, most, period)
        )
        self.model[number] = Given(recipient, data_types, purpose, mode, most, period, self.context.now, ends)

    def revoke(self, number):
        one = self.model.get(number)
        expected = "unknown_consent" if one is None else "consent_ended" if one.revoked else ""
        self.attempt(expected, lambda: self.consents.revoke(number))
        if one is not None:
            one.revoked = True

    def narrow(self, number, data_types, hours):
        one, ends = self.model.get(number), self.context.now + hours * HOUR
        expected = ""
        if one is None:
            expected = "unknown_consent"
        elif ends > one.ends:
            expected = "time_out_of_range"
        elif one.revoked:
            expected = "consent_ended"
        elif not set(data_types) <= set(one.types):
            expected = "consent_wider_than_before"
        self.attempt(expected, lambda: self.consents.narrow(number, data_types, ends))
        if one is not None and not expected:
            one.types, one.ends = data_types, ends

    def wait(self, minutes):
        self.context.now += minutes * 60 * 1000
        self.context.height += 1

    def read(self, number, reader, purpose, mode, data_types):
        now, one = self.context.now, self.model.get(number)
        wanted = data_types or TYPES[:1]
        covering = [n for n, each in self.model.items() if not each.refusal(reader, purpose, mode, wanted, now)]
        may = self.consents.may(reader, Kind.PARTY, "anna", "own", purpose, wanted, mode)
        assert may == (min(covering) if covering else 0)
        expected = "unknown_consent" if one is None else one.refusal(reader, purpose, mode, data_types, now)
        arguments = (f"r-{self.reads}", number, reader, purpose, mode, data_types, 1, bytes(32))
        receipt = self.attempt(expected, lambda: self.consents.record_read(*arguments))
        if one is not None and not expected:
            self.reads += 1
            one.read_at.append(now)
            assert receipt == self.reads == self.consents.record_read(*arguments), "once more is the same"


@settings(max_examples=100)
@given(st.lists(acts, max_size=40))
def test_the_contract_lets_read_what_the_lists_cover(sequence):
    office = Office()
    for name, *arguments in sequence:
        getattr(office, name)(*arguments)
        for law in Consents.invariants:
            getattr(office.consents, law)()
    counted: dict[int, int] = {}
    for _contract, name, event in office.context.events:
        if name == "read_recorded":
            counted[event.consent] = counted.get(event.consent, 0) + 1
    assert counted == {number: len(one.read_at) for number, one in office.model.items() if one.read_at}
    for number, one in office.model.items():
        live = not one.revoked and office.context.now < one.ends
        assert office.consents.reads_left(number) == (one.left(office.context.now) if live else 0)


def test_the_laws_can_see_a_read_that_was_not_counted():
    office = Office()
    office.give("bank", ("a",), "loan", Mode.VIEW, 1, None, 1)
    office.read(1, "rita", "loan", Mode.VIEW, ("a",))
    row = office.consents.consents.get(1)
    assert row is not None
    office.consents.consents.update(row, reads=0, period_reads=0)
    with pytest.raises(AssertionError):
        office.consents.every_read_of_a_consent_has_its_receipt()
