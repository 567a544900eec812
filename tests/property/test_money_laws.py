"""The laws of money, against a model that keeps books in another way.

The model knows no totals, states or journal rows. It keeps a list of promises: each is an amount from one account to
another, and is done, held, or given up. Balances are sums over the list. From that alone it says of each operation
whether it must succeed, and with which refusal it must not; the contract must agree, operation by operation.
"""

from dataclasses import dataclass, field
from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from guildbook.contract import Rejected, Rounding, allocate, fits_int64, mul_div
from guildbook.contract.contract import Context, Sender
from guildbook.foundation.money import (
    AccountState,
    Guard,
    HoldState,
    Money,
    OwnerKind,
    Transfer,
    available_of,
)
from guildbook.state.kv import MemoryStore
from guildbook.state.overlay import Overlay

START_MS = 1_767_225_600_000
NONE, CREDIT, DEBIT = Guard.NONE, Guard.DEBITS_MUST_NOT_EXCEED_CREDITS, Guard.CREDITS_MUST_NOT_EXCEED_DEBITS
ACCOUNTS = {
    "mint": ("eur", NONE), "a": ("eur", CREDIT), "b": ("eur", CREDIT), "c": ("eur", CREDIT), "vault": ("eur", DEBIT),
    "source": ("jpy", NONE), "x": ("jpy", CREDIT), "y": ("jpy", CREDIT),
}  # fmt: skip
REFUSED = "money."


@dataclass
class Promise:
    """An amount from one account to another."""

    source: str
    target: str
    amount: int
    done: int = 0
    held: bool = False
    posted: int = 0
    """What became of a hold."""
    ends: int = 0
    """When a hold's time is over, milliseconds; 0 for a transfer."""
    kind: str = "transfer"
    reversed: bool = False


@dataclass
class Model:
    """Books as a list of promises by the number of their entry."""

    promises: dict[int, Promise] = field(default_factory=dict)
    states: dict[str, AccountState] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, AccountState.OPEN))
    references: dict[str, tuple] = field(default_factory=dict)

    def balance(self, account: str) -> int:
        """Credits less debits of what is done."""
        return sum(one.done * ((one.target == account) - (one.source == account)) for one in self.promises.values())

    def held(self, account: str, *, as_source: bool) -> int:
        """What is held away from (or for) an account."""
        return sum(
            one.amount
            for one in self.promises.values()
            if one.held and (one.source if as_source else one.target) == account
        )

    def free(self, account: str) -> int | None:
        """What may be drawn; None without a bound."""
        guard = ACCOUNTS[account][1]
        if guard is NONE:
            return None
        if guard is CREDIT:
            return self.balance(account) - self.held(account, as_source=True)
        return -self.balance(account) - self.held(account, as_source=False)

    def stopped(self, account: str, *, outgoing: bool) -> bool:
        state = self.states[account]
        return state in (AccountState.FROZEN, AccountState.FROZEN_OUT if outgoing else AccountState.FROZEN_IN)

    def refusal(self, source: str, target: str, amount: int) -> str:
        """Why the amount cannot go from ``source`` to ``target``; empty if it can."""
        if amount < 1:
            return "amount_not_positive"
        if source == target:
            return "same_account"
        if ACCOUNTS[source][0] != ACCOUNTS[target][0]:
            return "ledgers_differ"
        if self.frozen(source, target):
            return "account_frozen"
        for account, draws in ((source, ACCOUNTS[source][1] is CREDIT), (target, ACCOUNTS[target][1] is DEBIT)):
            free = self.free(account)
            if draws and free is not None and amount > free:
                return "overdrawn"
        return ""

    def frozen(self, source: str, target: str) -> bool:
        return self.stopped(source, outgoing=ACCOUNTS[source][1] is not DEBIT) or self.stopped(
            target, outgoing=ACCOUNTS[target][1] is DEBIT
        )


accounts = st.sampled_from(sorted(ACCOUNTS))
amounts = st.one_of(st.integers(1, 60), st.integers(1, 60), st.integers(-1, 200))
references = st.integers(0, 60).map(lambda n: f"ref-{n}")


class MoneyMachine(RuleBasedStateMachine):
    """The contract beside the model; every account belongs to the calling contract, so that only books matter."""

    @initialize()
    def found(self) -> None:
        self.overlay = Overlay(MemoryStore())
        self.context = Context("test-net", 1, START_MS)
        self.context.sender = Sender("signer", "organisation", b"")
        self.context.permissions = lambda _permission: True
        self.context.caller = "books"
        self.context.events_max = 1 << 30
        self.money = Money(self.overlay, self.context)
        self.model = Model()
        self.fresh = 0
        self.money.open_ledger("eur", "EUR")
        self.money.open_ledger("jpy", "JPY")
        for account, (ledger, guard) in ACCOUNTS.items():
            self.money.open_account(account, ledger, OwnerKind.CONTRACT, "books", guard)
        self.did("", "seed-1", ("transfer", "mint", "a", 100), lambda: self.transfer("seed-1", "mint", "a", 100))
        self.did("", "seed-2", ("transfer", "mint", "b", 60), lambda: self.transfer("seed-2", "mint", "b", 60))
        self.did("", "seed-3", ("transfer", "source", "x", 50), lambda: self.transfer("seed-3", "source", "x", 50))
        self.did("", "seed-4", ("transfer", "vault", "c", 70), lambda: self.transfer("seed-4", "vault", "c", 70))

    # running one operation on both sides

    def attempt(self, operation):
        """(code of the refusal or an empty text, result); a refusal leaves no trace."""
        mark = self.overlay.begin(1 << 62)
        self.context.events = []
        try:
            return "", operation()
        except Rejected as rejection:
            self.overlay.rollback(mark)
            return rejection.code.removeprefix(REFUSED), rejection

    def did(self, expected, reference, content, operation):
        """Run ``operation`` and compare; returns its result, or None where it was refused or done before."""
        known = self.model.references.get(reference)
        before = {row.id: row for row in self.money.accounts.find(index=())}
        code, result = self.attempt(operation)
        if known is not None:
            assert code == ("" if known[0] == content else "reference_used"), (known, content)
            assert {row.id: row for row in self.money.accounts.find(index=())} == before
            if code == "":
                assert result == known[1]
            return None
        assert code == expected, (content, result)
        if code:
            return None
        self.model.references[reference] = (content, result)
        if content[0] == "transfer":
            self.model.promises[result] = Promise(content[1], content[2], content[3], done=content[3])
        return result

    def transfer(self, reference, source, target, amount):
        return self.money.transfer(reference, source, target, amount, "purpose")

    # operations

    @rule(reference=references, payer=accounts, payee=accounts, amount=amounts)
    def make_transfer(self, reference, payer, payee, amount):
        self.did(
            self.model.refusal(payer, payee, amount),
            reference,
            ("transfer", payer, payee, amount),
            lambda: self.transfer(reference, payer, payee, amount),
        )

    @rule(legs=st.lists(st.tuples(accounts, accounts, st.integers(1, 60)), min_size=1, max_size=4))
    def make_batch(self, legs):
        """A batch is its transfers one after another, or nothing."""
        self.fresh += 1
        trial = Model({-n: one for n, one in enumerate(self.model.promises.values(), 1)}, self.model.states)
        expected = ""
        for number, (source, target, amount) in enumerate(legs, 1):
            expected = expected or trial.refusal(source, target, amount)
            trial.promises[number] = Promise(source, target, amount, done=amount)
        batch = tuple(Transfer(debit=s, credit=t, amount_minor=a, purpose="purpose") for s, t, a in legs)
        code, result = self.attempt(lambda: self.money.post(f"batch-{self.fresh}", batch))
        assert code == expected
        if not code:
            assert len(result) == len(legs)
            for number, (source, target, amount) in zip(result, legs, strict=True):
                self.model.promises[number] = Promise(source, target, amount, done=amount)

    @rule(reference=references, payer=accounts, payee=accounts, amount=amounts, seconds=st.integers(1, 200))
    def make_hold(self, reference, payer, payee, amount, seconds):
        ends = self.context.now + seconds * 1000
        number = self.did(
            self.model.refusal(payer, payee, amount),
            reference,
            ("hold", payer, payee, amount, ends),
            lambda: self.money.hold(reference, payer, payee, amount, ends, "purpose"),
        )
        if number is not None:
            self.model.promises[number] = Promise(payer, payee, amount, held=True, ends=ends, kind="hold")

    def a_hold(self, data) -> tuple[int, Promise]:
        holds = [(number, one) for number, one in self.model.promises.items() if one.kind == "hold"]
        chosen: tuple[int, Promise] = data.draw(st.sampled_from(holds))
        return chosen

    def has_hold(self) -> bool:
        return any(one.kind == "hold" for one in self.model.promises.values())

    @precondition(has_hold)
    @rule(data=st.data(), reference=references, share=st.sampled_from(("all", "some", "one more", "none")))
    def post_hold(self, data, reference, share):
        number, one = self.a_hold(data)
        part = {"all": None, "some": (one.amount + 1) // 2, "one more": one.amount + 1, "none": 0}[share]
        amount = one.amount if part is None else part
        expected = ""
        if amount < 1:
            expected = "amount_not_positive"
        elif not one.held:
            expected = "hold_not_pending"
        elif self.context.now >= one.ends:
            expected = "hold_time_over"
        elif amount > one.amount:
            expected = "more_than_held"
        elif self.model.frozen(one.source, one.target):
            expected = "account_frozen"
        posted = self.did(
            expected, reference, ("post", number, amount), lambda: self.money.post_hold(reference, number, part)
        )
        if posted is not None:
            one.held, one.posted = False, amount
            self.model.promises[posted] = Promise(one.source, one.target, amount, done=amount, kind="post")

    @precondition(has_hold)
    @rule(data=st.data(), reference=references)
    def void_hold(self, data, reference):
        number, one = self.a_hold(data)
        expected = "" if one.held else "hold_not_pending"
        if (
            self.did(expected, reference, ("void", number), lambda: self.money.void_hold(reference, number))
            is not None
        ):
            one.held = False

    @precondition(has_hold)
    @rule(data=st.data())
    def expire_one(self, data):
        number, one = self.a_hold(data)
        expected = "hold_not_pending" if not one.held else "hold_not_due" if self.context.now < one.ends else ""
        code, _result = self.attempt(lambda: self.money.expire_hold(number))
        assert code == expected
        if not code:
            one.held = False

    @rule(limit=st.integers(1, 4))
    def expire_some(self, limit):
        due = sorted(
            (one.ends, number)
            for number, one in self.model.promises.items()
            if one.held and one.ends <= self.context.now
        )
        code, count = self.attempt(lambda: self.money.expire_holds(limit))
        assert (code, count) == ("", min(limit, len(due)))
        for _ends, number in due[:limit]:
            self.model.promises[number].held = False

    @precondition(lambda self: bool(self.model.promises))
    @rule(data=st.data(), reference=references)
    def reverse(self, data, reference):
        number = data.draw(st.sampled_from(sorted(self.model.promises)))
        one = self.model.promises[number]
        expected = self.model.refusal(one.target, one.source, one.done or one.amount)
        if one.kind in ("hold", "reversal"):
            expected = "not_reversible"
        elif one.reversed:
            expected = "already_reversed"
        entry = self.did(
            expected, reference, ("reverse", number), lambda: self.money.reverse(reference, number, "mistake")
        )
        if entry is not None:
            one.reversed = True
            self.model.promises[entry] = Promise(one.target, one.source, one.done, done=one.done, kind="reversal")

    @rule(account=accounts, state=st.sampled_from(sorted(AccountState)))
    def freeze(self, account, state):
        self.context.caller = ""
        frozen = self.model.states[account] is not AccountState.OPEN
        if state is AccountState.OPEN:
            code, _result = self.attempt(lambda: self.money.unfreeze(account))
            assert code == ("" if frozen else "account_not_frozen")
        else:
            code, _result = self.attempt(lambda: self.money.freeze(account, state, "order"))
            assert code == ("not_a_freeze" if state is AccountState.CLOSED else "")
        if not code:
            self.model.states[account] = state
        self.context.caller = "books"

    @rule(seconds=st.integers(1, 15))
    def time_passes(self, seconds):
        self.context.now += seconds * 1000
        self.context.height += 1

    @precondition(has_hold)
    @rule(data=st.data(), early=st.integers(0, 1))
    def time_reaches_the_end_of_a_hold(self, data, early):
        """To the millisecond of the end of a hold, or the one before."""
        _number, one = self.a_hold(data)
        self.context.now = max(self.context.now, one.ends - early)

    # laws

    @invariant()
    def the_books_agree(self):
        for row in self.money.accounts.find(index=()):
            assert row.credits_posted - row.debits_posted == self.model.balance(row.id)
            assert row.debits_pending == self.model.held(row.id, as_source=True)
            assert row.credits_pending == self.model.held(row.id, as_source=False)
            assert row.state is self.model.states[row.id]
            free = self.model.free(row.id)
            assert free is None or available_of(row) == free >= 0

    @invariant()
    def the_contracts_own_laws_hold(self):
        for law in Money.invariants:
            getattr(self.money, law)()

    @invariant()
    def holds_and_reversals_agree(self):
        for row in self.money.holds.find(index=()):
            promise = self.model.promises[row.number]
            assert (row.state is HoldState.PENDING) == promise.held
            assert row.posted_minor == promise.posted
        reversed_once = [row.entry for row in self.money.reversals.find()]
        assert reversed_once == sorted(number for number, one in self.model.promises.items() if one.reversed)

    def teardown(self):
        """An auditor who has the journal alone comes to the same totals."""
        if not hasattr(self, "money"):
            return
        totals = {account: [0, 0, 0, 0] for account in ACCOUNTS}
        entries = {row.number: row for row in self.money.entries.find(index=())}
        assert list(entries) == list(range(1, len(entries) + 1))
        for row in entries.values():
            moved = row.amount_minor if row.kind in ("transfer", "post", "reversal") else 0
            reserved = row.amount_minor if row.kind == "hold" else 0
            if row.kind in ("post", "void", "expiry"):
                reserved = -entries[row.about or 0].amount_minor
            for account, place in ((row.debit, 0), (row.credit, 1)):
                totals[account][place] += moved
                totals[account][place + 2] += reserved
        for account_row in self.money.accounts.find(index=()):
            assert totals[account_row.id] == [
                account_row.debits_posted,
                account_row.credits_posted,
                account_row.debits_pending,
                account_row.credits_pending,
            ]


TestMoney = MoneyMachine.TestCase
TestMoney.settings = settings(settings(), stateful_step_count=40)


# shares and rates

wide = st.integers(-(2**70), 2**70)
positive = st.integers(1, 2**70)


@given(wide, wide, positive)
def test_a_rate_is_the_exact_quotient_rounded_once(value, numerator, denominator):
    exact = Fraction(value * numerator, denominator)
    assert mul_div(value, numerator, denominator, Rounding.FLOOR) == exact.__floor__()
    assert mul_div(value, numerator, denominator, Rounding.CEILING) == exact.__ceil__()
    assert mul_div(value, numerator, denominator, Rounding.HALF_EVEN) == round(exact)
    assert mul_div(value, numerator, denominator) == round(exact)


@pytest.mark.parametrize(("value", "result"), [(1, 0), (3, 2), (5, 2), (7, 4), (-1, 0), (-3, -2), (-5, -2)])
def test_the_middle_goes_to_the_even_unit(value, result):
    assert mul_div(value, 1, 2, Rounding.HALF_EVEN) == result


@pytest.mark.parametrize("denominator", [0, -1])
def test_a_rate_without_a_positive_denominator_is_a_fault(denominator):
    with pytest.raises(ValueError, match="positive"):
        mul_div(1, 1, denominator)


@given(st.integers(0, 2**70), st.lists(st.integers(0, 2**40), min_size=1, max_size=30).filter(any))
def test_parts_add_up_and_are_within_a_unit_of_their_share(total, weights):
    parts = allocate(total, tuple(weights))
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        exact = Fraction(total * weight, sum(weights))
        assert abs(part - exact) < 1
        assert weight or not part


@given(st.integers(0, 10_000), st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any))
def test_left_over_units_go_to_the_largest_fractions_and_then_to_the_first(total, weights):
    parts = allocate(total, tuple(weights))
    fractions = [Fraction(total * weight, sum(weights)) % 1 for weight in weights]
    got = [
        part - Fraction(total * weight, sum(weights)).__floor__() for part, weight in zip(parts, weights, strict=True)
    ]
    ranked = sorted(range(len(weights)), key=lambda place: (-fractions[place], place))
    assert [got[place] for place in ranked] == sorted(got, reverse=True)


@pytest.mark.parametrize(("total", "weights"), [(-1, (1,)), (1, ()), (1, (0, 0)), (1, (2, -1))])
def test_what_cannot_be_shared_is_a_fault(total, weights):
    with pytest.raises(ValueError, match="allocated"):
        allocate(total, weights)


def test_one_hundred_in_three_gives_the_odd_unit_to_the_first():
    assert allocate(100, (1, 1, 1)) == (34, 33, 33)
    assert allocate(101, (1, 1, 1)) == (34, 34, 33)
    assert allocate(1, (0, 1, 2)) == (0, 0, 1)


@pytest.mark.parametrize(
    ("value", "fits"), [(2**63 - 1, True), (2**63, False), (-(2**63), True), (-(2**63) - 1, False)]
)
def test_sixty_four_bits_end_where_they_end(value, fits):
    assert fits_int64(value) == fits


def test_a_machine_can_see_a_broken_law():
    """The auditor above is not blind: a total moved beside the journal is found."""
    machine = MoneyMachine()
    machine.found()
    row = machine.money.accounts.get("a")
    assert row is not None
    machine.money.accounts.update(row, credits_posted=row.credits_posted + 1)
    with pytest.raises(AssertionError):
        machine.the_contracts_own_laws_hold()
    with pytest.raises(AssertionError):
        machine.teardown()
