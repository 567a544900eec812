"""An independent book of a points alliance, kept from signed calls and receipts alone.

Theory. The auditor never runs the contract and never reads its rows to form its own opinion. It reads what
every member can read in the blocks: who signed which call, whether it was applied, and the events. From those
it keeps its own lots, debts, quotas and claims, in structures unlike the contract's, and it disagrees in
three ways:

1. *before* each call it says whether the call should be refused, and with which code (``expected_code``); 2.
*at* each event it checks the law behind it: spending order, expiry, quota, offsets, claims, restored
expiries; 3. *after* a block it compares its whole book with the ledger's rows (``compare``), and counts that
no unit was invented or lost: what was issued is in lots, redeemed, expired or revoked.

Any disagreement is a ``Difference``. Limits (how many lots a call may touch, how long a hold may last) are
the published constants of the contract; how they are applied is written here again.
"""

import bisect
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from guildbook.chain.receipt import Outcome, Receipt
from guildbook_apps.points import contract as rules
from guildbook_apps.points.contract import Points

DAY_MS = 86_400_000
Arguments = Mapping[str, Any]
Rows = Callable[[str], Iterable[Any]]
"""Gives the rows of a table, ``points.lots`` for instance, to be compared with the auditor's book."""


class Difference(Exception):
    """The ledger says one thing and the auditor's book another; the message has both and the place."""


@dataclasses.dataclass(frozen=True)
class Signer:
    """Who signed: party and organisation, and the roles of ``points`` that the party holds (None: not known)."""

    party: str
    organisation: str
    roles: frozenset[str] | None = None


@dataclasses.dataclass
class BookLot:
    """One lot in the auditor's book; units are free units."""

    id: int
    programme: str
    member: str
    units: int
    held: int
    issued_at: int
    active_from: int
    expires_at: int
    profile: int
    evidence: bytes | None
    parent: int | None

    @property
    def order(self) -> tuple[int, int, int]:
        """The place in the order of spending."""
        return (self.expires_at, self.issued_at, self.id)


@dataclasses.dataclass
class BookProgramme:
    """A programme, its published terms by version (from 1), and its sums."""

    issuer: str
    operator: str
    supervisor: str
    active: bool = True
    profiles: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    granted: int = 0
    issued: int = 0
    redeemed: int = 0
    restored: int = 0
    expired: int = 0
    revoked: int = 0
    debt: int = 0

    def in_force(self, now: int) -> dict[str, Any] | None:
        """The terms that apply at ``now``."""
        return next((one for one in reversed(self.profiles) if one["effective_from"] <= now), None)


@dataclasses.dataclass
class BookMember:
    """A member's account."""

    controller: str
    status: str = "active"
    merged_into: str | None = None
    mergers: int = 0


@dataclasses.dataclass
class BookEarning:
    """What a purchase line earned."""

    programme: str
    member: str
    lot: int | None
    units: int
    returned: int = 0
    expired: int = 0


@dataclasses.dataclass
class BookHold:
    """A hold: (lot as it was, units) in order."""

    programme: str
    member: str
    merchant: str
    lapses_at: int
    price: Fraction
    parts: list[tuple[BookLot, int]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class BookRedemption:
    """A redemption: (lot as it was, units) in order, and the claim that follows."""

    programme: str
    member: str
    merchant: str
    at: int
    price: Fraction
    parts: list[tuple[BookLot, int]] = dataclasses.field(default_factory=list)
    claim_minor: int = 0
    currency: str = ""
    reversed: bool = False
    restored: int = 0

    @property
    def units(self) -> int:
        """Units redeemed."""
        return sum(units for _lot, units in self.parts)


def check(holds: bool, *what: object) -> None:
    """Raise ``Difference`` with ``what`` unless ``holds``."""
    if not holds:
        raise Difference(" ".join(str(one) for one in what))


class Auditor:
    """The book. Feed every transaction in block order with ``observe``; ask ``compare`` after a block."""

    def __init__(self) -> None:
        self.programmes: dict[str, BookProgramme] = {}
        self.partners: dict[tuple[str, str], Fraction] = {}
        self.members: dict[str, BookMember] = {}
        self.lots: dict[int, BookLot] = {}
        self.earnings: dict[bytes, BookEarning] = {}
        self.debts: dict[tuple[str, str], int] = {}
        self.holds: dict[int, BookHold] = {}
        self.redemptions: dict[int, BookRedemption] = {}
        self.proposals: dict[int, dict[str, Any]] = {}
        self.claims: dict[tuple[str, str, str], int] = {}
        """(debtor, creditor, currency) -> minor units owed."""
        self.transactions = 0
        self.refusals: dict[str, int] = {}
        self._accounts: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
        self._dying: list[tuple[int, int]] = []
        self._last_lot = 0
        self._last_number = 0
        self._now = 0

    # Reading the ledger --------------------------------------------------------------------------------------

    def observe(self, now: int, signer: Signer, calls: Sequence[tuple[str, Arguments]],
                receipt: Receipt) -> None:
        """Take in one transaction: block time (milliseconds), signer, its calls of ``points`` with named
        arguments, and its receipt.

        Raises ``Difference`` when the outcome or an event is not what the book says. The outcome is foretold
        for transactions of one call.
        """
        self._now = now
        self.transactions += 1
        where = f"transaction {receipt.height}/{receipt.index} {[name for name, _arguments in calls]}"
        if len(calls) == 1 and receipt.outcome != Outcome.INVALID:
            expected = self.expected_code(now, signer, *calls[0])
            check(expected == receipt.code, where, calls[0][1], "by", signer.party, "ended with",
                  receipt.code or "success", receipt.fields, "and the book says", expected or "success")
        if receipt.outcome != Outcome.APPLIED:
            self.refusals[receipt.code] = self.refusals.get(receipt.code, 0) + 1
            check(not receipt.events, where, "was refused and has events")
            return
        for (name, arguments), result in zip(calls, receipt.results, strict=True):
            if name == "publish_profile":
                self._learn_profile(arguments, now)
            elif name == "propose_quota":
                self.proposals[result] = {**arguments, "proposer": signer.party, "at": now,
                                          "granted": self.programmes[arguments["programme"]].granted}
        self._operator = signer.organisation
        for contract, name, values in receipt.events:
            if contract != Points.contract_name:
                continue
            schema = Points.event_schemas[name]
            check(len(values) == len(schema.fields), where, "event", name, "has", len(values), "values")
            event = {field.name: value for field, value in zip(schema.fields, values, strict=True)}
            try:
                getattr(self, f"_{name}")(**event)
            except Difference as difference:
                raise Difference(f"{where}, event {name} {event}: {difference}") from None
            except KeyError as missing:
                raise Difference(f"{where}, event {name} {event}: the book has no {missing}") from missing
        for hold in [number for number, one in self.holds.items() if not one.parts]:
            del self.holds[hold]

    def _learn_profile(self, arguments: Arguments, now: int) -> None:
        programme = self.programmes[arguments["programme"]]
        effective_from = arguments["effective_from"] if programme.profiles else now
        programme.profiles.append({**arguments, "effective_from": effective_from})

    # Events --------------------------------------------------------------------------------------------------

    def _programme_registered(self, programme: str, issuer: str, supervisor: str, **_rest: Any) -> None:
        check(programme not in self.programmes, "programme registered twice")
        self.programmes[programme] = BookProgramme(issuer, self._operator, supervisor)

    def _profile_published(self, programme: str, version: int, effective_from: int, terms: bytes) -> None:
        learned = self.programmes[programme].profiles
        check(version == len(learned) and learned[-1]["effective_from"] == effective_from,
              "another profile was signed")
        check(learned[-1]["terms"] == terms, "other terms were signed")

    def _programme_status_changed(self, programme: str, status: str, **_rest: Any) -> None:
        self.programmes[programme].active = status == "active"

    def _merchant_admitted(self, programme: str, merchant: str, price_numerator: int,
                           price_denominator: int) -> None:
        self.partners[programme, merchant] = Fraction(price_numerator, price_denominator)

    def _merchant_withdrawn(self, programme: str, merchant: str) -> None:
        del self.partners[programme, merchant]

    def _quota_granted(self, proposal: int, programme: str, units: int) -> None:
        asked = self.proposals.pop(proposal)
        check((asked["programme"], asked["units"]) == (programme, units), "another quota was proposed:",
              asked)
        self.programmes[programme].granted += units

    def _member_enrolled(self, member: str, controller: str) -> None:
        check(member not in self.members, "enrolled twice")
        self.members[member] = BookMember(controller)

    def _controller_changed(self, member: str, controller: str) -> None:
        self.members[member].controller = controller

    def _member_status_changed(self, member: str, status: str, **_rest: Any) -> None:
        self.members[member].status = status

    def _members_merged(self, member: str, survivor: str) -> None:
        gone, stays = self.members[member], self.members[survivor]
        gone.status, gone.merged_into = "merged", survivor
        stays.mergers = max(stays.mergers, gone.mergers + 1)
        for hold in self.holds.values():
            if hold.member == member:
                hold.member = survivor

    def _lot_moved(self, lot: int, member: str, survivor: str) -> None:
        moving = self.lots[lot]
        check(moving.member == member, "the lot belongs to", moving.member)
        self._drop(moving)
        moving.member = survivor
        self._keep(moving)

    def _debt_moved(self, programme: str, member: str, survivor: str, units: int) -> None:
        check(self.debts.pop((member, programme), 0) == units, "another debt was moved")
        self._owe(survivor, programme, units)

    def _issued(self, evidence: bytes, programme: str, member: str, units: int, debt_paid: int, lot: int | None,
                active_from: int, expires_at: int) -> None:
        check(evidence not in self.earnings, "one purchase line was issued twice")
        sums = self.programmes[programme]
        terms = sums.in_force(self._now)
        assert terms is not None
        check(sums.issued + units <= sums.granted, "issued beyond the quota of", sums.granted)
        check(expires_at == expiry(terms, self._now), "the terms give the expiry", expiry(terms, self._now))
        check(active_from == self._now + terms["pending_days"] * DAY_MS,
              "the terms give another pending time")
        owed = self.debts.get((member, programme), 0)
        check(debt_paid == min(owed, units), "a debt of", owed, "was not offset rightly")
        check((lot is None) == (debt_paid == units),
              "a lot where all was offset, or none where something was left")
        self._pay(member, programme, debt_paid)
        sums.issued += units
        sums.revoked += debt_paid
        self.earnings[evidence] = BookEarning(programme, member, lot, units)
        if lot is not None:
            self._new_lot(BookLot(lot, programme, member, units - debt_paid, 0, self._now, active_from,
                                  expires_at, sums.profiles.index(terms) + 1, evidence, None))

    def _activated(self, lot: int) -> None:
        check(self.lots[lot].active_from > self._now, "the lot was active")
        self.lots[lot].active_from = self._now

    def _transferred(self, programme: str, from_member: str, to_member: str, from_lot: int, to_lot: int,
                     units: int, expires_at: int) -> None:
        source = self._first(from_member, programme)
        check(source is not None and source.id == from_lot and source.expires_at == expires_at,
              "the earliest spendable lot is", source)
        assert source is not None
        check(units <= source.units, "the lot has", source.units)
        mates = [self.lots[number] for ends, _issued, number in self._accounts.get((to_member, programme), [])
                 if ends == expires_at]
        newest = sorted(mates, key=lambda one: one.order, reverse=True)[: rules.MERGE_SEARCH_LOTS]
        target = next((one for one in newest if one.evidence is None and one.profile == source.profile), None)
        self._spend(source, units, 0)
        if target is not None:
            check(to_lot == target.id, "the units should have joined", target)
            target.units += units
        else:
            self._new_lot(BookLot(to_lot, programme, to_member, units, 0, self._now, self._now, expires_at,
                                  source.profile, None, from_lot))

    def _held(self, hold: int, programme: str, member: str, merchant: str, lot: int, units: int,
              lapses_at: int) -> None:
        source = self._first(member, programme)
        check(source is not None and source.id == lot, "the earliest spendable lot is", source)
        assert source is not None
        check(units <= source.units, "the lot has", source.units)
        if hold not in self.holds:
            self._new_number(hold)
            self.holds[hold] = BookHold(programme, member, merchant, lapses_at, self._price(programme,
                                                                                            merchant))
        self.holds[hold].parts.append((dataclasses.replace(source), units))
        self._spend(source, units, units)

    def _released(self, hold: int, lot: int, units: int) -> None:
        self._unhold(hold, lot, units)
        self.lots[lot].held -= units
        self.lots[lot].units += units

    def _redeemed(self, redemption: int, hold: int | None, programme: str, member: str, merchant: str,
                  lot: int, units: int) -> None:
        if hold is None:
            source = self._first(member, programme)
            check(source is not None and source.id == lot, "the earliest spendable lot is", source)
            assert source is not None
            check(units <= source.units, "the lot has", source.units)
            before = dataclasses.replace(source)
            self._spend(source, units, 0)
        else:
            check(redemption == hold, "the capture has another number than its hold")
            before = self._unhold(hold, lot, units)
            self._spend(self.lots[lot], 0, -units)
        if redemption not in self.redemptions:
            if hold is None:
                self._new_number(redemption)
            price = self._price(programme, merchant) if hold is None else self.holds[hold].price
            self.redemptions[redemption] = BookRedemption(programme, member, merchant, self._now, price)
        self.redemptions[redemption].parts.append((before, units))
        self.programmes[programme].redeemed += units

    def _claim_booked(self, redemption: int, programme: str, debtor: str, creditor: str, units: int,
                      amount_minor: int, currency: str) -> None:
        booked, sums = self.redemptions[redemption], self.programmes[programme]
        check((sums.issuer, booked.merchant) == (debtor, creditor), "the claim is between others")
        if units > 0:
            check(not booked.currency, "a claim was booked twice")
            booked.claim_minor = round(units * booked.price)
            booked.currency = sums.profiles[0]["currency"]
            check((units, amount_minor, currency) == (booked.units, booked.claim_minor, booked.currency),
                  "the book has", booked)
        else:
            check((-units, -amount_minor, currency) == (booked.units, booked.claim_minor, booked.currency)
                  and booked.restored == booked.units and not booked.reversed, "the book has", booked)
            booked.reversed = True
            check(self._now < booked.at + rules.REVERSAL_MS, "reversed too late")
        self.claims[debtor, creditor, currency] = self.claims.get((debtor, creditor, currency),
                                                                  0) + amount_minor

    def _restored(self, redemption: int, programme: str, member: str, original: int, lot: int, units: int,
                  expires_at: int) -> None:
        booked, sums = self.redemptions[redemption], self.programmes[programme]
        part = next((one for one in booked.parts if one[0].id == original), None)
        check(part is not None and part[1] == units, "the redemption took", part)
        assert part is not None
        before = part[0]
        check(expires_at == max(before.expires_at, self._now + rules.RESTORED_GRACE_MS),
              "the original expiry is", before.expires_at)
        there = self.lots.get(original)
        if there is not None and there.expires_at == expires_at:
            check(lot == original, "the units should be back in their lot")
            there.units += units
        elif there is None:
            check(lot == original, "the lot should be there again")
            self._keep(dataclasses.replace(before, member=member, units=units, held=0, expires_at=expires_at))
        else:
            self._new_lot(dataclasses.replace(before, id=lot, member=member, units=units, held=0,
                                              expires_at=expires_at, evidence=None, parent=original))
        booked.restored += units
        sums.redeemed -= units
        sums.restored += units

    def _expired(self, programme: str, member: str, lot: int, units: int) -> None:
        gone = self.lots[lot]
        check(gone.expires_at <= self._now, "the lot lives until", gone.expires_at)
        check((gone.units, gone.member) == (units, member), "the lot is", gone)
        if gone.evidence is not None:
            self.earnings[gone.evidence].expired += units
        self.programmes[programme].expired += units
        self._spend(gone, units, 0)

    def _revoked(self, evidence: bytes, programme: str, member: str, lot: int | None, taken: int, debt: int,
                 lapsed: int) -> None:
        earning, sums = self.earnings[evidence], self.programmes[programme]
        asked = taken + debt + lapsed
        check(lot == earning.lot, "the line was issued into lot", earning.lot)
        check(earning.returned + asked <= earning.units, "returned more than was earned")
        claim = max(0, min(asked, earning.units - earning.returned - earning.expired))
        source = None if earning.lot is None else self.lots.get(earning.lot)
        there = 0 if source is None or source.expires_at <= self._now else source.units
        check((taken, debt, lapsed) == (min(claim, there), claim - min(claim, there), asked - claim),
              "the claim is", claim, "and the lot has", there)
        if source is not None and taken:
            self._spend(source, taken, 0)
        earning.returned += asked
        earning.expired -= lapsed
        sums.revoked += taken
        if debt:
            self._owe(member, programme, debt)
            sums.debt += debt

    # The book ------------------------------------------------------------------------------------------------

    def _price(self, programme: str, merchant: str) -> Fraction:
        return Fraction(0) if merchant == self.programmes[programme].issuer else self.partners[programme,
                                                                                               merchant]

    def _new_number(self, number: int) -> None:
        check(number == self._last_number + 1, "the last number was", self._last_number)
        self._last_number = number

    def _new_lot(self, lot: BookLot) -> None:
        check(lot.id == self._last_lot + 1, "the last lot was", self._last_lot)
        self._last_lot = lot.id
        self._keep(lot)

    def _keep(self, lot: BookLot) -> None:
        self.lots[lot.id] = lot
        bisect.insort(self._accounts.setdefault((lot.member, lot.programme), []), lot.order)
        bisect.insort(self._dying, (lot.expires_at, lot.id))

    def _drop(self, lot: BookLot) -> None:
        del self.lots[lot.id]
        account = self._accounts[lot.member, lot.programme]
        del account[bisect.bisect_left(account, lot.order)]
        del self._dying[bisect.bisect_left(self._dying, (lot.expires_at, lot.id))]

    def _spend(self, lot: BookLot, units: int, held: int) -> None:
        lot.units -= units
        lot.held += held
        check(lot.units >= 0 and lot.held >= 0, "the lot would have", lot.units, "free and", lot.held,
              "held units")
        if lot.units == 0 and lot.held == 0:
            self._drop(lot)

    def _unhold(self, hold: int, lot: int, units: int) -> BookLot:
        """Take units off the first part of a hold that lies in ``lot``; returns the lot as it was when held."""
        parts = self.holds[hold].parts
        place = next((place for place, one in enumerate(parts) if one[0].id == lot), None)
        check(place is not None, "the hold has nothing in this lot")
        assert place is not None
        before, left = parts[place]
        check(units <= left, "the hold has", left, "units in this lot")
        if units == left:
            del parts[place]
        else:
            parts[place] = (before, left - units)
        return before

    def _owe(self, member: str, programme: str, units: int) -> None:
        self.debts[member, programme] = self.debts.get((member, programme), 0) + units

    def _pay(self, member: str, programme: str, units: int) -> None:
        if units:
            self.debts[member, programme] -= units
            self.programmes[programme].debt -= units
            if not self.debts[member, programme]:
                del self.debts[member, programme]

    def _spendable(self, member: str, programme: str) -> Iterable[BookLot]:
        account = self._accounts.get((member, programme), [])
        for _expires_at, _issued_at, number in account[bisect.bisect_left(account, (self._now + 1,)):]:
            lot = self.lots[number]
            if lot.units and lot.active_from <= self._now:
                yield lot

    def _first(self, member: str, programme: str) -> BookLot | None:
        return next(iter(self._spendable(member, programme)), None)

    def survivor(self, member: str) -> str:
        """The member that ``member`` was merged into, however often."""
        while (into := self.members[member].merged_into) is not None:
            member = into
        return member

    def free(self, now: int, member: str, programme: str) -> int:
        """Units that ``member`` can spend at ``now``, without what lapsed holds would release."""
        self._now = now
        return sum(lot.units for lot in self._spendable(member, programme))

    def lots_of(self, member: str, programme: str) -> list[BookLot]:
        """A member's lots in a programme, in order of spending."""
        return [self.lots[number] for _ends, _issued, number in self._accounts.get((member, programme), [])]

    def due(self, now: int) -> int:
        """How many lots have free units whose time is over at ``now``."""
        over = self._dying[: bisect.bisect_left(self._dying, (now + 1,))]
        return sum(1 for _ends, number in over if self.lots[number].units)

    def outstanding(self, programme: str) -> int:
        """Units of a programme in lots, free and held, counted lot by lot."""
        return sum(lot.units + lot.held for lot in self.lots.values() if lot.programme == programme)

    # What should be refused ----------------------------------------------------------------------------------

    def expected_code(self, now: int, signer: Signer, command: str, arguments: Arguments) -> str:
        """The refusal that a single call should meet at ``now``; empty when it should be applied."""
        self._now = now
        role = Points.commands[command].role
        if role is not None and signer.roles is not None and role not in signer.roles:
            return "call.not_permitted"
        code: str = getattr(self, f"_refusal_of_{command}")(signer, **arguments)
        return f"{Points.contract_name}.{code}" if code else ""

    def _of_issuer(self, signer: Signer, programme: str) -> str:
        if programme not in self.programmes:
            return "unknown_programme"
        return "" if self.programmes[programme].issuer == signer.organisation else "not_yours"

    def _refusal_of_register_programme(self, _signer: Signer, programme: str, **_rest: Any) -> str:
        return "already_registered" if programme in self.programmes else ""

    def _refusal_of_publish_profile(self, signer: Signer, programme: str, effective_from: int,
                                    **terms: Any) -> str:
        if refusal := self._of_issuer(signer, programme):
            return refusal
        published = self.programmes[programme].profiles
        if _broken_terms(terms) or (published and published[-1]["currency"] != terms["currency"]):
            return "bad_profile"
        if not published:
            return ""
        if published[-1]["effective_from"] > self._now:
            return "profile_pending"
        notice_over = self._now + published[-1]["notice_days"] * DAY_MS
        return "" if effective_from >= notice_over else "notice_too_short"

    def _refusal_of_admit_merchant(self, signer: Signer, programme: str, price_numerator: int,
                                   **_rest: Any) -> str:
        if price_numerator > rules.PRICE_MINOR_MAX:
            return "above_limit"
        return self._of_issuer(signer, programme)

    def _refusal_of_withdraw_merchant(self, signer: Signer, programme: str, merchant: str) -> str:
        return self._of_issuer(signer, programme) or (
            "" if (programme, merchant) in self.partners else "out_of_scope")

    def _refusal_of_set_programme_status(self, signer: Signer, programme: str, status: str, **_rest: Any) -> str:
        if programme not in self.programmes:
            return "unknown_programme"
        if self.programmes[programme].supervisor != signer.organisation:
            return "not_yours"
        present = "active" if self.programmes[programme].active else "frozen"
        return "no_change" if status in (present, "merged") else ""

    def _refusal_of_propose_quota(self, signer: Signer, programme: str, units: int, **_rest: Any) -> str:
        if refusal := self._of_issuer(signer, programme):
            return refusal
        if not self.programmes[programme].active:
            return "frozen_programme"
        return "quota_too_large" if self.programmes[programme].granted + units > rules.UNITS_MAX else ""

    def _refusal_of_approve_quota(self, signer: Signer, proposal: int, programme: str, units: int) -> str:
        asked = self.proposals.get(proposal)
        if asked is None:
            return "unknown_number"
        sums = self.programmes[asked["programme"]]
        tests = (
            ("not_yours", signer.organisation in (sums.issuer, sums.operator)),
            ("own_proposal", signer.party != asked["proposer"]),
            ("frozen_programme", sums.active),
            ("proposal_expired", self._now < asked["at"] + rules.PROPOSAL_LIFE_MS),
            ("proposal_mismatch", (programme, units) == (asked["programme"], asked["units"])),
            ("stale_proposal", sums.granted == asked["granted"]),
        )
        return next((code for code, holds in tests if not holds), "")

    def _refusal_of_enrol(self, _signer: Signer, member: str, **_rest: Any) -> str:
        return "already_registered" if member in self.members else ""

    def _of_controller(self, signer: Signer, member: str) -> str:
        if member not in self.members:
            return "unknown_member"
        return "" if self.members[member].controller == signer.party else "not_yours"

    def _inactive(self, *members: str) -> str:
        return "" if all(self.members[one].status == "active" for one in members) else "inactive_member"

    def _refusal_of_set_controller(self, signer: Signer, member: str, **_rest: Any) -> str:
        return self._of_controller(signer, member) or self._inactive(member)

    def _refusal_of_set_member_status(self, _signer: Signer, member: str, status: str, **_rest: Any) -> str:
        if member not in self.members:
            return "unknown_member"
        present = self.members[member].status
        return "no_change" if status in (present, "merged") or present == "merged" else ""

    def _refusal_of_merge_members(self, signer: Signer, member: str, survivor: str) -> str:
        for one in (member, survivor):
            if one not in self.members:
                return "unknown_member"
        for one in (member, survivor):
            if self.members[one].controller != signer.party:
                return "not_yours"
        if member == survivor:
            return "same_member"
        gone, stays = self.members[member], self.members[survivor]
        if (gone.status != "active" and self.survivor(member) != survivor) or stays.status != "active":
            return "inactive_member"
        return "too_many_mergers" if max(gone.mergers + 1, stays.mergers) > rules.MERGERS_MAX else ""

    def _refusal_of_issue(self, signer: Signer, programme: str, member: str, units: int,
                          evidence: bytes) -> str:
        if programme not in self.programmes:
            return "unknown_programme"
        if member not in self.members:
            return "unknown_member"
        sums = self.programmes[programme]
        terms = sums.in_force(self._now)
        if sums.issuer != signer.organisation:
            return "not_yours"
        if not sums.active:
            return "frozen_programme"
        if refusal := self._inactive(member):
            return refusal
        if terms is None:
            return "no_profile"
        if units > sums.granted - sums.issued:
            return "quota_exceeded"
        if evidence in self.earnings:
            return "duplicate_evidence"
        return "" if expiry(terms,
                            self._now) > self._now + terms["pending_days"] * DAY_MS else "validity_over"

    def _refusal_of_activate(self, signer: Signer, evidence: bytes) -> str:
        earning = self.earnings.get(evidence)
        if earning is None:
            return "unknown_evidence"
        if self.programmes[earning.programme].issuer != signer.organisation:
            return "not_yours"
        lot = None if earning.lot is None else self.lots.get(earning.lot)
        return "already_active" if lot is None or lot.active_from <= self._now else ""

    def _refusal_of_revoke_issue(self, signer: Signer, evidence: bytes, units: int) -> str:
        earning = self.earnings.get(evidence)
        if earning is None:
            return "unknown_evidence"
        if self.programmes[earning.programme].issuer != signer.organisation:
            return "not_yours"
        return "return_exceeds_earning" if units > earning.units - earning.returned else ""

    def _refusal_of_transfer(self, signer: Signer, programme: str, from_member: str, to_member: str,
                             units: int) -> str:
        if programme not in self.programmes:
            return "unknown_programme"
        if from_member not in self.members or to_member not in self.members:
            return "unknown_member"
        if self.members[from_member].controller != signer.party:
            return "not_yours"
        if from_member == to_member:
            return "same_member"
        if not self.programmes[programme].active:
            return "frozen_programme"
        if refusal := self._inactive(from_member, to_member):
            return refusal
        terms = self.programmes[programme].in_force(self._now)
        if terms is None:
            return "no_profile"
        return self._uncovered(from_member, programme, units) if terms["transferable"] else "not_transferable"

    def _refusal_of_hold(self, signer: Signer, ttl_ms: int, **payment: Any) -> str:
        return "above_limit" if ttl_ms > rules.HOLD_MS_MAX else self._refusal_of_redeem(signer, **payment)

    def _refusal_of_redeem(self, signer: Signer, programme: str, member: str, units: int, merchant: str,
                           **_rest: Any) -> str:
        if programme not in self.programmes:
            return "unknown_programme"
        if refusal := self._of_controller(signer, member):
            return refusal
        sums = self.programmes[programme]
        if not sums.active:
            return "frozen_programme"
        if refusal := self._inactive(member):
            return refusal
        terms = sums.in_force(self._now)
        if terms is None:
            return "no_profile"
        open_to_it = merchant == sums.issuer or (terms["scope"] == "partners" and (programme,
                                                                                   merchant) in self.partners)
        return self._uncovered(member, programme, units) if open_to_it else "out_of_scope"

    def _uncovered(self, member: str, programme: str, units: int) -> str:
        """Why ``units`` cannot be had: free units, and what lapsed holds release when those do not suffice."""
        chosen = [lot.units for lot in self._spendable(member, programme)]
        if sum(chosen[: rules.LOTS_PER_CALL_MAX]) >= units:
            return ""
        if len(chosen) > rules.LOTS_PER_CALL_MAX:
            return "too_many_lots"
        freed: dict[int, int] = {}
        parts = 0
        for hold in self._lapsed(member, programme):
            parts += len(hold.parts)
            if parts > rules.LOTS_PER_CALL_MAX:
                break
            for lot, held in hold.parts:
                freed[lot.id] = freed.get(lot.id, 0) + held
        chosen = [lot.units + freed.get(lot.id, 0) for lot in self.lots_of(member, programme)
                  if lot.expires_at > self._now >= lot.active_from and lot.units + freed.get(lot.id, 0)]
        if sum(chosen[: rules.LOTS_PER_CALL_MAX]) >= units:
            return ""
        return "too_many_lots" if len(chosen) > rules.LOTS_PER_CALL_MAX else "insufficient_units"

    def _lapsed(self, member: str, programme: str) -> list[BookHold]:
        over = [(hold.lapses_at, number) for number, hold in self.holds.items()
                if (hold.member, hold.programme) == (member, programme) and hold.lapses_at <= self._now]
        return [self.holds[number] for _lapses_at, number in sorted(over)]

    def _of_merchant(self, signer: Signer, hold: int) -> str:
        if hold not in self.holds:
            return "unknown_number"
        return "" if self.holds[hold].merchant == signer.organisation else "not_yours"

    def _refusal_of_capture(self, signer: Signer, hold: int, units: int) -> str:
        if refusal := self._of_merchant(signer, hold):
            return refusal
        kept = self.holds[hold]
        if self._now >= kept.lapses_at:
            return "hold_lapsed"
        return "capture_exceeds_hold" if units > sum(part for _lot, part in kept.parts) else ""

    def _refusal_of_void(self, signer: Signer, hold: int) -> str:
        return self._of_merchant(signer, hold)

    def _refusal_of_void_due(self, _signer: Signer) -> str:
        return ""

    def _refusal_of_reverse_redemption(self, signer: Signer, redemption: int) -> str:
        booked = self.redemptions.get(redemption)
        if booked is None:
            return "unknown_number"
        if booked.merchant != signer.organisation:
            return "not_yours"
        if booked.reversed:
            return "already_reversed"
        return "" if self._now < booked.at + rules.REVERSAL_MS else "reversal_too_late"

    def _refusal_of_expire_due(self, _signer: Signer, lots_max: int, **_rest: Any) -> str:
        return "above_limit" if lots_max > rules.EXPIRY_BATCH_LOTS_MAX else ""

    # Comparing -----------------------------------------------------------------------------------------------

    def check_sums(self) -> None:
        """No unit was invented or lost, in this book by itself: each programme's units add up, and so do its
        debts.
        """
        in_lots = dict.fromkeys(self.programmes, 0)
        for lot in self.lots.values():
            in_lots[lot.programme] += lot.units + lot.held
        for name, sums in self.programmes.items():
            left = sums.issued - sums.redeemed - sums.expired - sums.revoked
            check(in_lots[name] == left, name, "has", in_lots[name], "units in lots; the sums leave", left)
            owed = sum(units for (_member, programme), units in self.debts.items() if programme == name)
            check(owed == sums.debt, name, "has debts of", owed, "and the sum is", sums.debt)

    def compare(self, rows: Rows) -> None:
        """The whole book against the ledger's rows; raises ``Difference`` with the first rows that differ."""
        self.check_sums()
        for table, (key, view) in _TABLES.items():
            ledger = {key(row): view(row) for row in rows(f"points.{table}")}
            for number in ledger.keys() - self._entries(table).keys():
                raise Difference(f"{table} {number}: the ledger has {ledger[number]}, the book nothing")
            for number in self._entries(table):
                self._same(table, number, ledger.get(number))

    def compare_changed(self, changed: Iterable[tuple[str, Any, Any]]) -> int:
        """The rows that a block changed, as (``points.table``, row before, row after), against the book.

        Returns how many were compared; raises ``Difference``.
        """
        compared = 0
        for table, before, after in changed:
            _contract, _dot, name = table.partition(".")
            if name in _TABLES:
                key, view = _TABLES[name]
                self._same(name, key(before if after is None else after), None if after is None else view(after))
                compared += 1
        return compared

    def _entries(self, table: str) -> Mapping[Any, Any]:
        entries: Mapping[Any, Any] = getattr(self, "programmes" if table == "totals" else table)
        return entries

    def _same(self, table: str, number: Any, ledger: Any) -> None:
        entry = self._entries(table).get(number)
        book = None if entry is None else _BOOK[table](entry)
        check(ledger == book, f"{table} {number}: the ledger has {ledger}, the book {book}")


_LOT = tuple(one.name for one in dataclasses.fields(BookLot))
_SUMS = ("granted", "issued", "redeemed", "restored", "expired", "revoked", "debt")
_TABLES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "lots": (lambda row: row.id, lambda row: tuple(getattr(row, name) for name in _LOT)),
    "totals": (lambda row: row.programme, lambda row: tuple(getattr(row, name) for name in _SUMS)),
    "debts": (lambda row: (row.member, row.programme), lambda row: row.units),
    "members": (lambda row: row.id, lambda row: (row.controller, str(row.status), row.merged_into, row.mergers)),
    "earnings": (lambda row: row.evidence,
                 lambda row: (row.programme, row.member, row.lot, row.units, row.returned, row.expired)),
    "holds": (lambda row: row.id,
              lambda row: (row.member, row.merchant, [(part.lot, part.units) for part in row.parts])),
    "redemptions": (lambda row: row.id,
                    lambda row: (row.merchant, row.units, row.claim_minor, row.reversed_at is not None)),
}
"""For each table that is compared: the key of a row, and what of the row is compared."""
_BOOK: dict[str, Callable[[Any], Any]] = {
    "lots": lambda lot: tuple(getattr(lot, name) for name in _LOT),
    "totals": lambda sums: tuple(getattr(sums, name) for name in _SUMS),
    "debts": lambda units: units,
    "members": lambda member: (member.controller, member.status, member.merged_into, member.mergers),
    "earnings": lambda one: (one.programme, one.member, one.lot, one.units, one.returned, one.expired),
    "holds": lambda hold: (hold.member, hold.merchant, [(lot.id, units) for lot, units in hold.parts]),
    "redemptions": lambda one: (one.merchant, one.units, one.claim_minor, one.reversed),
}


def expiry(terms: Mapping[str, Any], issued_at: int) -> int:
    """When units issued at ``issued_at`` under ``terms`` expire (milliseconds); 0 when the listed dates end
    before.
    """
    ends = list(terms["period_ends"])
    rule, length = str(terms["validity"]), terms["validity_length"]
    if rule == "fixed_date":
        return int(ends[0])
    if rule == "rolling_days":
        due = int(issued_at + length * DAY_MS)
        place = bisect.bisect_left(ends, due)
        return due if not ends else int(ends[place]) if place < len(ends) else 0
    place = bisect.bisect_right(ends, issued_at)
    return int(ends[place + length]) if place > 0 and place + length < len(ends) else 0


def _broken_terms(terms: Mapping[str, Any]) -> bool:
    lei, currency, ends = terms["issuer_lei"], terms["currency"], terms["period_ends"]
    rule, length = str(terms["validity"]), terms["validity_length"]
    good_lei = len(lei) == 20 and lei.isascii() and lei.isalnum() and lei.upper() == lei and \
        int("".join(str(int(one, 36)) for one in lei)) % 97 == 1
    good_currency = len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()
    good_length = length <= rules.VALIDITY_DAYS_MAX and (length == 0) is (rule == "fixed_date")
    good_days = max(terms["pending_days"], terms["notice_days"]) <= rules.NOTICE_DAYS_MAX
    rising = list(ends) == sorted(set(ends)) and len(ends) <= rules.PERIOD_ENDS_MAX
    enough = {"fixed_date": len(ends) == 1, "rolling_days": True, "rolling_months": len(ends) > length}[rule]
    return not (good_lei and good_currency and good_length and good_days and rising and enough)
