"""What a programme publishes: its contracts and payments as OCDS, its lines as IATI activities, from ledger rows alone.

The same rows give the same bytes. Payees stand under the pseudonyms that they have on the ledger; nothing else is
known of them there. What the ledger does not know is left out, and never made up.

**OCDS.** One process for each contract with a contractor, and one for the benefits of a line in a cycle, in which each
household has an award. A payment is a transaction under its EndToEndId, on the day that the bank valued it; what came
back is a transaction below zero beside it. So the transactions of a process add up to what is paid.

**IATI.** One activity for each line, with its parent and children as related ones. Each payment is an expenditure, by
the part that the line bears of it, and what came back one below zero; the budget is what was allocated to the line and
not passed on. So the transactions of all activities add up to what is paid.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from guildbook.standards import iati, ocds
from guildbook.standards.amounts import Money
from guildbook.standards.times import When, date_at, date_time_at
from guildbook_apps.funds.contract import (
    DAY_MS,
    PAID_STAGES,
    Entitlement,
    Kind,
    Line,
    Programme,
    Request,
    Stage,
    Works,
)

LOCAL_GOVERNMENT = "11"
"""IATI code list OrganisationType."""
FUNDING, ACCOUNTABLE, IMPLEMENTING = "1", "2", "4"
EXPENDITURE = "4"
UNDER_WAY, FINISHING, CLOSED = "2", "3", "4"
PLANNED_START, PLANNED_END = "1", "3"
PARENT, CHILD = "1", "2"
REVISED, COMMITTED_BUDGET = "2", "2"
GENERAL = "1"


class Standing(NamedTuple):
    """What is free, committed and paid on a line, in minor units."""

    free: int
    committed: int
    paid: int

    @property
    def allocated(self) -> int:
        """All that the line was given and did not pass on."""
        return self.free + self.committed + self.paid


class Position(NamedTuple):
    """The rows of one programme at one moment."""

    programme: Programme
    lines: tuple[Line, ...]
    standings: Mapping[str, Standing]
    entitlements: tuple[Entitlement, ...]
    works: tuple[Works, ...]
    requests: tuple[Request, ...]
    paid_on: Mapping[int, int]
    """Request -> when the bank valued its payment, milliseconds since 1970."""
    returned_on: Mapping[int, int]
    """Request -> when the bank valued the first return."""

    def paid(self) -> Iterator[Request]:
        """The requests that were paid, whether or not money came back, in the order of their numbers."""
        return (row for row in self.requests if row.stage in PAID_STAGES or row.stage is Stage.RETURNED)

    def under(self, line: str) -> Standing:
        """The sums of a line and all lines below it."""
        found = [self.standings[line], *(self.under(one.id) for one in self.lines if one.parent == line)]
        return Standing(*(sum(part) for part in zip(*found, strict=True)))


def position_of(programme: str, rows: Callable[[str], Iterable[Any]],
                standing: Callable[[str], Sequence[int]]) -> Position:
    """The rows of a programme: ``rows`` gives those of a table, ``standing`` the answer of ``funds.standing_of``."""
    payees = {row.id for row in rows("funds.payees") if row.programme == programme}
    lines = tuple(row for row in rows("funds.lines") if row.programme == programme)
    requests = tuple(row for row in rows("funds.requests") if row.programme == programme)
    names = {line.id for line in lines}
    told: dict[str, dict[int, int]] = {"BOOK": {}, "RTRN": {}}
    numbers = {f"request/{row.number}": row.number for row in requests}
    for item in rows("messages.items"):
        number = numbers.get(item.reference or "")
        if number is not None and item.kind in told and item.valued_at is not None:
            told[item.kind].setdefault(number, item.valued_at)
    return Position(
        programme=next(row for row in rows("funds.programmes") if row.id == programme), lines=lines,
        standings={line: Standing(*standing(line)) for line in sorted(names)},
        entitlements=tuple(row for row in rows("funds.entitlements") if row.payee in payees),
        works=tuple(row for row in rows("funds.works") if row.line in names), requests=requests,
        paid_on=told["BOOK"], returned_on=told["RTRN"])


# OCDS ---------------------------------------------------------------------------------------------------------


def contracting(position: Position, *, prefix: str, uri: str, at_ms: int) -> bytes:
    """The OCDS 1.1 release package of a programme as it stood at ``at_ms``; ``prefix`` is the publisher's own.

    There is no tender and no signing day, as the ledger knows neither; awards are what was granted, contracts what was
    registered. A benefit that nobody was paid of is in the budget alone.
    """
    lines = {line.id: line for line in position.lines}
    payments: dict[tuple[str, str], list[Request]] = {}
    for row in position.paid():
        if row.kind is not Kind.BENEFIT:
            payments.setdefault((row.about, row.payee), []).append(row)
    releases = [_works_release(position, one, lines[one.line], payments.get((one.id, one.payee), []), prefix, at_ms)
                for one in position.works]
    benefits: dict[tuple[str, str], list[Request]] = {}
    for row in position.paid():
        if row.kind is Kind.BENEFIT:
            benefits.setdefault((row.parts[0].line, row.about), []).append(row)
    releases += [_benefits_release(position, lines[line], cycle, rows, prefix, at_ms)
                 for (line, cycle), rows in benefits.items()]
    authority = position.programme.authority
    return ocds.write_releases(ocds.package_of(
        uri=uri, published_date=date_time_at(at_ms).text, publisher=ocds.Publisher(authority), releases=releases))


def _works_release(position: Position, works: Works, line: Line, rows: Sequence[Request], prefix: str,
                   at_ms: int) -> ocds.Release:
    value = ocds.value_of(Money(works.value_minor, position.programme.currency))
    supplier = ocds.Reference(works.payee, works.payee)
    contract = ocds.Contract(works.id, works.id, status="active", value=value,
                             implementation=_implementation(position, line, rows))
    award = ocds.Award(works.id, status="active", value=value, suppliers=(supplier,))
    return _release(position, line, f"{prefix}-{_code(works.id)}", [works.payee], [award], [contract], at_ms)


def _benefits_release(position: Position, line: Line, cycle: str, rows: Sequence[Request], prefix: str,
                      at_ms: int) -> ocds.Release:
    granted = {row.payee: row.granted_minor for row in position.entitlements if row.cycle == cycle}
    payees = sorted({row.payee for row in rows})
    awards, contracts = [], []
    for payee in payees:
        value = ocds.value_of(Money(granted[payee], position.programme.currency))
        own = [row for row in rows if row.payee == payee]
        awards.append(ocds.Award(payee, status="active", value=value, suppliers=(ocds.Reference(payee, payee),)))
        contracts.append(ocds.Contract(payee, payee, status="active", value=value,
                                       implementation=_implementation(position, line, own)))
    return _release(position, line, f"{prefix}-{_code(line.id)}-{_code(cycle)}", payees, awards, contracts, at_ms)


def _release(position: Position, line: Line, ocid: str, payees: Sequence[str], awards: Sequence[ocds.Award],
             contracts: Sequence[ocds.Contract], at_ms: int) -> ocds.Release:
    currency = position.programme.currency
    paid = any(contract.implementation is not None for contract in contracts)
    budget = ocds.Budget(id=line.id, description=line.purpose, project=position.programme.id,
                         amount=ocds.value_of(Money(position.standings[line.id].allocated, currency)))
    parties = [ocds.Organisation(line.organisation, line.organisation, roles=("buyer", "payer"))]
    parties += [ocds.Organisation(payee, payee, roles=("supplier", "payee")) for payee in payees]
    return ocds.Release(
        ocid, f"{ocid}-{at_ms}", date_time_at(at_ms).text,
        ("planning", "award", "contract", "implementation") if paid else ("planning", "award", "contract"), "tender",
        language="en", parties=tuple(parties), buyer=ocds.Reference(line.organisation, line.organisation),
        planning=ocds.Planning(budget=budget), awards=tuple(awards), contracts=tuple(contracts))


def _implementation(position: Position, line: Line, rows: Sequence[Request]) -> ocds.Implementation | None:
    transactions = []
    for row in rows:
        payee, payer = ocds.Reference(row.payee, row.payee), ocds.Reference(line.organisation, line.organisation)
        for name, minor, at in _movements(position, row):
            transactions.append(ocds.Transaction(
                name, source=None, date=None if at is None else date_time_at(at).text,
                value=ocds.value_of(Money(minor, position.programme.currency)), payer=payer, payee=payee))
    return ocds.Implementation(transactions=tuple(transactions)) if transactions else None


def _movements(position: Position, row: Request) -> Iterator[tuple[str, int, int | None]]:
    """What was paid of a request and what came back, below zero: name, minor units, and when the bank valued it."""
    yield row.end_to_end, row.amount_minor, position.paid_on.get(row.number)
    if row.returned_minor:
        yield f"{row.end_to_end}-returned", -row.returned_minor, position.returned_on.get(row.number)


def _code(text: str) -> str:
    return text.replace("/", "-")


# IATI ---------------------------------------------------------------------------------------------------------


def activities(position: Position, *, reporting: iati.ReportingOrg, since: When, at_ms: int) -> bytes:
    """The IATI 2.03 file of a programme as it stood at ``at_ms``, with an activity for each line.

    ``since`` is the day on which the programme's money began, of which the ledger keeps no row. Sectors, countries and
    results are not known to it.
    """
    made = [_activity(position, line, reporting, since, at_ms) for line in position.lines]
    return iati.write_activities(made, generated=date_time_at(at_ms))


def _activity(position: Position, line: Line, reporting: iati.ReportingOrg, since: When, at_ms: int) -> iati.Activity:
    programme = position.programme
    under = position.under(line.id)
    standing = position.standings[line.id]
    last_day = date_at(line.lapses_at - DAY_MS)
    status = UNDER_WAY if at_ms < line.lapses_at else FINISHING if under.committed else CLOSED
    related = [iati.RelatedActivity(_identifier(reporting, one.id), CHILD) for one in position.lines
               if one.parent == line.id]
    if line.parent is not None:
        related.insert(0, iati.RelatedActivity(_identifier(reporting, line.parent), PARENT))
    budgets = []
    if standing.allocated:
        budgets.append(iati.Budget(since, last_day, iati.value_of(Money(standing.allocated, programme.currency), since),
                                   type=REVISED, status=COMMITTED_BUDGET))
    authority = (iati.Narrative(programme.authority),)
    return iati.Activity(
        reporting_org=reporting, identifier=_identifier(reporting, line.id), titles=(iati.Narrative(line.id, "en"),),
        descriptions=(iati.Description(GENERAL, (iati.Narrative(
            f"Line {line.id} of the programme {programme.id}, for {line.purpose}, level {line.level}", "en"),)),),
        participating_orgs=(
            iati.ParticipatingOrg(FUNDING, ref=reporting.ref, names=authority),
            iati.ParticipatingOrg(ACCOUNTABLE, ref=reporting.ref, names=authority),
            iati.ParticipatingOrg(IMPLEMENTING, names=(iati.Narrative(line.organisation),))),
        status=status, dates=(iati.ActivityDate(PLANNED_START, since), iati.ActivityDate(PLANNED_END, last_day)),
        last_updated=date_time_at(at_ms), language="en", default_currency=programme.currency,
        hierarchy=str(line.depth + 1), budgets=tuple(budgets),
        transactions=tuple(_transactions(position, line, reporting)), related=tuple(related))


def _transactions(position: Position, line: Line, reporting: iati.ReportingOrg) -> Iterator[iati.Transaction]:
    """The payments that a line bears: by the part of each, on the day that the bank valued it."""
    provider = iati.PayingOrg(ref=reporting.ref, names=(iati.Narrative(line.organisation),))
    for row in position.paid():
        for part in row.parts:
            if part.line != line.id:
                continue
            sums = ((row.end_to_end, part.amount_minor, position.paid_on.get(row.number)),
                    (f"{row.end_to_end}-returned", -part.returned_minor, position.returned_on.get(row.number)))
            for name, minor, at in sums:
                if minor:
                    day = date_at(row.stage_at if at is None else at)
                    yield iati.Transaction(
                        EXPENDITURE, day, iati.value_of(Money(minor, position.programme.currency), day), ref=name,
                        description=(iati.Narrative(f"{row.kind.value} {row.about}", "en"),), provider=provider,
                        receiver=iati.PayingOrg(names=(iati.Narrative(row.payee),)))


def _identifier(reporting: iati.ReportingOrg, line: str) -> str:
    return f"{reporting.ref}-{_code(line)}"
