"""The laws of documents, against a model that keeps a list of slices, and an auditor who has the events alone.

The model knows no totals. A document is its limit and a list of slices, each an amount in one of four hands: taken,
back, used or over. From that alone it says of each act whether it must succeed, and what it must be refused with.
"""

from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from clerk_contract import Clerk
from guildbook.chain.receipt import Outcome
from guildbook.contract import Rejected
from guildbook.contract.contract import Context, Sender
from guildbook.foundation.documents import Actor, Documents, Fingerprint, free_of
from guildbook.state.kv import MemoryStore
from guildbook.state.overlay import Overlay
from guildbook.testing.ledger import TestLedger

START_MS = 1_767_225_600_000
DAY = 24 * 3600 * 1000
NAMES = ("d1", "d2", "d3", "d4")
VALUES = (b"1" * 32, b"2" * 32, b"3" * 32)


@dataclass
class Slice:
    """An amount taken of a document, piece by piece in other hands later."""

    document: str
    taken: int
    ends: int
    """Milliseconds; 0 when only an act ends it."""
    back: int = 0
    used: int = 0
    over: int = 0
    how: str = "live"

    @property
    def left(self) -> int:
        """What is still taken."""
        return self.taken - self.back - self.used - self.over


@dataclass
class Paper:
    """A document: what it is good for at most, and what was used of it without being taken before."""

    limit: int
    status: str = "live"
    version: int = 1
    used_free: int = 0
    marks: list[bytes] = field(default_factory=list)


@dataclass
class Model:
    """Documents and slices by number."""

    papers: dict[str, Paper] = field(default_factory=dict)
    slices: dict[int, Slice] = field(default_factory=dict)
    references: dict[str, tuple] = field(default_factory=dict)

    def of(self, name: str) -> list[Slice]:
        return [one for one in self.slices.values() if one.document == name]

    def free(self, name: str) -> int:
        return self.papers[name].limit - self.papers[name].used_free - sum(one.left + one.used for one in self.of(name))

    def sweep(self, name: str, now: int) -> None:
        for one in self.of(name):
            if one.how == "live" and one.ends and one.ends <= now:
                one.over, one.how = one.left, "expired"

    def swept_free(self, name: str, now: int) -> int:
        over = [one.left for one in self.of(name) if one.how == "live" and one.ends and one.ends <= now]
        return self.free(name) + sum(over)

    def mark_taken(self, value: bytes, name: str) -> bool:
        return any(
            value in one.marks for other, one in self.papers.items() if other != name and one.status != "cancelled"
        )


amounts = st.one_of(st.integers(1, 40), st.integers(1, 120))
names = st.sampled_from(NAMES)


class DocumentsMachine(RuleBasedStateMachine):
    """The contract beside the model; every document is kept by the calling contract, so that only amounts matter."""

    @initialize()
    def found(self) -> None:
        self.overlay = Overlay(MemoryStore())
        self.context = Context("test-net", 1, START_MS)
        self.context.sender = Sender("signer", "organisation", b"")
        self.context.permissions = lambda _permission: True
        self.context.caller = "books"
        self.context.events_max = 1 << 30
        self.documents = Documents(self.overlay, self.context)
        self.model = Model()
        self.told: list = []
        self.register("d1", 100, VALUES[0])
        self.register("d2", 60, VALUES[1])

    def attempt(self, expected, operation):
        """Run ``operation``, which must be refused with ``expected`` or succeed where that is empty."""
        mark = self.overlay.begin(1 << 62)
        self.context.events = []
        refusal = None
        try:
            result = operation()
        except Rejected as rejection:
            self.overlay.rollback(mark)
            result = refusal = rejection
        assert (refusal.code if refusal else "") == (f"documents.{expected}" if expected else "")
        self.told += [] if refusal else self.context.events
        return result

    def register(self, name, limit, value):
        marks = (Fingerprint(combination="number.seller", value=value),)
        self.attempt(
            "fingerprint_taken" if self.model.mark_taken(value, name) else "",
            lambda: self.documents.register(name, "invoice", "trade", "mill", bytes(32), "EUR", limit, limit, marks),
        )
        if not self.model.mark_taken(value, name):
            self.model.papers[name] = Paper(limit, marks=[value])

    @precondition(lambda self: len(self.model.papers) < len(NAMES))
    @rule(limit=st.integers(0, 150), value=st.sampled_from(VALUES))
    def register_another(self, limit, value):
        self.register(next(one for one in NAMES if one not in self.model.papers), limit, value)

    @rule(name=names, amount=amounts, reference=st.integers(0, 40), days=st.integers(0, 5))
    def encumber(self, name, amount, reference, days):
        paper, ends = self.model.papers.get(name), self.context.now + days * DAY if days else 0
        known = self.model.references.get(f"e{reference}")
        content = (name, amount, ends)
        expected = ""
        if paper is None:
            expected = "unknown_document"
        elif known is not None:
            expected = "" if known[0] == content else "reference_used"
        elif paper.status != "live":
            expected = "document_not_live"
        elif amount > self.model.swept_free(name, self.context.now):
            expected = "over_capacity"
        got = self.attempt(
            expected,
            lambda: self.documents.encumber(f"e{reference}", name, amount, "bank", "loan", ends or None),
        )
        if expected == "over_capacity":
            assert got.values() == [
                ["document", name],
                ["wanted_minor", amount],
                ["remaining_minor", self.model.swept_free(name, self.context.now)],
            ]
        elif not expected and known is not None:
            assert got == known[1]
        elif not expected:
            self.model.sweep(name, self.context.now)
            self.model.slices[got] = Slice(name, amount, ends)
            self.model.references[f"e{reference}"] = (content, got)

    def one_slice(self, data) -> tuple[int, Slice]:
        chosen: tuple[int, Slice] = data.draw(st.sampled_from(list(self.model.slices.items())))
        return chosen

    @precondition(lambda self: bool(self.model.slices))
    @rule(data=st.data(), share=st.sampled_from(("rest", "all", "some", "one more")), settle=st.booleans())
    def reduce(self, data, share, settle):
        number, one = self.one_slice(data)
        some = max(1, one.left // 2)
        part = {"rest": None, "all": max(one.left, 1), "some": some, "one more": one.left + 1}[share]
        amount = one.left if part is None else part
        expected = ""
        if one.how != "live":
            expected = "encumbrance_ended"
        elif settle and one.ends and one.ends <= self.context.now:
            expected = "encumbrance_over"
        elif amount > one.left:
            expected = "more_than_encumbered"
        act = self.documents.settle if settle else self.documents.release
        reference = f"r{len(self.told)}-{number}-{share}"
        got = self.attempt(expected, lambda: act(reference, number, part))
        if not expected:
            one.back, one.used = one.back + amount * (not settle), one.used + amount * settle
            if one.left == 0:
                one.how = "settled" if settle else "released"
            assert got == one.left
            assert act(reference, number, part) == got, "once more is the same"

    @precondition(lambda self: bool(self.model.slices))
    @rule(data=st.data(), days=st.integers(0, 5))
    def prolong(self, data, days):
        number, one = self.one_slice(data)
        expected = ""
        if one.how != "live":
            expected = "encumbrance_ended"
        elif one.ends and one.ends <= self.context.now:
            expected = "encumbrance_over"
        ends = self.context.now + days * DAY if days else 0
        self.attempt(expected, lambda: self.documents.prolong(number, ends or None, "loan"))
        if not expected:
            one.ends = ends

    @rule(name=names, amount=amounts)
    def settle_free(self, name, amount):
        self.spend(name, amount, lambda reference: self.documents.settle_free(reference, name, amount), "used_free")

    @rule(name=names, amount=amounts)
    def credit(self, name, amount):
        note = len(self.told).to_bytes(32, "big")
        self.spend(name, amount, lambda _reference: self.documents.credit(name, note, amount), "limit")

    def spend(self, name, amount, act, what):
        paper = self.model.papers.get(name)
        expected = ""
        if paper is None:
            expected = "unknown_document"
        elif paper.status in ("closed", "cancelled"):
            expected = "document_ended"
        elif amount > self.model.swept_free(name, self.context.now):
            expected = "more_than_free"
        got = self.attempt(expected, lambda: act(f"s{len(self.told)}"))
        if not expected:
            assert paper is not None
            self.model.sweep(name, self.context.now)
            setattr(paper, what, getattr(paper, what) + (amount if what == "used_free" else -amount))
            assert got == self.model.free(name)

    @rule(name=names, limit=st.integers(0, 200), value=st.sampled_from(VALUES))
    def amend(self, name, limit, value):
        paper = self.model.papers.get(name)
        expected = ""
        if paper is None:
            expected = "unknown_document"
        elif paper.status in ("closed", "cancelled"):
            expected = "document_ended"
        elif self.model.mark_taken(value, name):
            expected = "fingerprint_taken"
        elif limit < paper.limit - self.model.swept_free(name, self.context.now):
            expected = "capacity_in_use"
        marks = (Fingerprint(combination="number.seller", value=value),)
        version = 1 if paper is None else paper.version
        self.attempt(
            expected, lambda: self.documents.amend(name, version, b"v" * 32, limit, limit, "change", marks)
        )
        if not expected:
            assert paper is not None
            self.model.sweep(name, self.context.now)
            paper.limit, paper.version = limit, version + 1
            paper.marks.append(value)

    @rule(name=names, act=st.sampled_from(("suspend", "resume", "close", "cancel", "resume", "suspend")))
    def change_status(self, name, act):
        paper = self.model.papers.get(name)
        before = {"suspend": ("live",), "resume": ("suspended",)}.get(act, ("live", "suspended"))
        expected = ""
        if paper is None:
            expected = "unknown_document"
        elif paper.status not in before:
            expected = "document_ended" if act in ("close", "cancel") else "document_not_live"
        elif act in ("close", "cancel"):
            left = [one for one in self.model.of(name) if one.left and not (one.ends and one.ends <= self.context.now)]
            if left:
                expected = "still_encumbered"
            elif act == "cancel" and paper.used_free + sum(one.used for one in self.model.of(name)):
                expected = "already_settled"
        self.attempt(expected, lambda: getattr(self.documents, act)(name, "so"))
        if not expected:
            assert paper is not None
            if act in ("close", "cancel"):
                self.model.sweep(name, self.context.now)
            paper.status = {"suspend": "suspended", "resume": "live", "close": "closed", "cancel": "cancelled"}[act]

    @rule(limit=st.integers(1, 4))
    def expire_some(self, limit):
        due = sorted(
            (one.ends, number)
            for number, one in self.model.slices.items()
            if one.how == "live" and one.ends and one.ends <= self.context.now
        )[:limit]
        assert self.attempt("", lambda: self.documents.expire_encumbrances(limit)) == len(due)
        for _ends, number in due:
            one = self.model.slices[number]
            one.over, one.how = one.left, "expired"

    @rule(hours=st.integers(1, 60))
    def time_passes(self, hours):
        self.context.now += hours * 3600 * 1000

    @invariant()
    def the_registers_agree(self):
        for row in self.documents.documents.find(index=()):
            paper = self.model.papers[row.id]
            assert free_of(row) == self.model.free(row.id) >= 0
            assert row.encumbered_minor == sum(one.left for one in self.model.of(row.id))
            assert row.encumbered_minor <= row.capacity_minor == paper.limit
            assert (row.status, row.version) == (paper.status, paper.version)
            assert self.documents.remaining(row.id) == self.model.swept_free(row.id, self.context.now)
        for one in self.documents.encumbrances.find(index=()):
            mine = self.model.slices[one.number]
            assert (one.state, one.remaining_minor, one.settled_minor) == (mine.how, mine.left, mine.used)

    @invariant()
    def the_contracts_own_laws_hold(self):
        for law in Documents.invariants:
            getattr(self.documents, law)()

    def teardown(self):
        """An auditor who has the events alone comes to the same sums, and sees no capacity exceeded on the way."""
        if not hasattr(self, "documents"):
            return
        assert audited(self.told) == {
            row.id: (row.capacity_minor, row.encumbered_minor, row.settled_minor)
            for row in self.documents.documents.find(index=())
        }


def audited(events: list) -> dict[str, tuple[int, int, int]]:
    """(capacity, encumbered, settled) by document, from events alone."""
    books: dict[str, list[int]] = {}
    for _contract, name, event in events:
        if name == "registered":
            books[event.document] = [event.capacity_minor, 0, 0]
        elif name in ("amended", "credited"):
            books[event.document][0] = event.capacity_minor
        elif name in ("encumbered", "released", "expired", "settled", "settled_free"):
            book = books[event.document]
            book[1] += {"encumbered": event.amount_minor, "settled_free": 0}.get(name, -event.amount_minor)
            book[2] += event.amount_minor if name.startswith("settled") else 0
        assert all(book[1] >= 0 and book[1] + book[2] <= book[0] for book in books.values()), name
    return {name: (book[0], book[1], book[2]) for name, book in books.items()}


TestDocuments = DocumentsMachine.TestCase
TestDocuments.settings = settings(settings(), stateful_step_count=40)


def test_a_machine_can_see_a_broken_law():
    """The laws are not blind: an amount that moves beside the encumbrances is found, by contract, model and auditor."""
    machine = DocumentsMachine()
    machine.found()
    row = machine.documents.documents.get("d1")
    assert row is not None
    machine.documents.documents.update(row, encumbered_minor=5)
    for look in (machine.the_contracts_own_laws_hold, machine.the_registers_agree, machine.teardown):
        with pytest.raises(AssertionError):
            look()


BANKS = {f"bank-{n}/lender-{n}": ["documents:holder"] for n in range(3)}


@settings(max_examples=25)
@given(st.integers(0, 100), st.lists(st.tuples(st.integers(0, 2), st.integers(1, 60)), min_size=2, max_size=8))
def test_in_one_block_ledger_order_decides_and_the_losers_learn_what_remains(capacity, wishes):
    ledger = TestLedger(Clerk, actors={"mill/boss": ["documents:issuer"], **BANKS})
    boss = ledger.actor("mill/boss").documents
    with ledger.block():
        boss.register("inv", "invoice", "trade", "mill", bytes(32), "EUR", capacity, capacity)
        for n in range(3):
            boss.permit("inv", Actor.ORGANISATION, f"bank-{n}", 10_000, ledger.now + DAY)
    with ledger.block() as receipts:
        for place, (bank, amount) in enumerate(wishes):
            lender = ledger.actor(f"bank-{bank}/lender-{bank}").documents
            lender.encumber(f"r{place}", "inv", amount, f"bank-{bank}", "loan")
    left = capacity
    for (_bank, amount), receipt in zip(wishes, receipts, strict=True):
        if amount <= left:
            assert receipt.outcome == Outcome.APPLIED
            left -= amount
        else:
            assert receipt.code == "documents.over_capacity"
            assert receipt.fields == [["document", "inv"], ["wanted_minor", amount], ["remaining_minor", left]]
    assert ledger.query("documents.remaining", "inv") == left
