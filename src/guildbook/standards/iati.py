"""Aid and public spending as activities: IATI 2.03 activity files, read to records and written from them.

An activity is a project: who pays and does it, where and for what, budgets, planned disbursements, and transactions.
Each activity of a file becomes a record or a refusal beside it. `write_activities` writes what the standard's schema
accepts. `rules` adds what a schema cannot say: shares that do not add up to a hundred, periods that end before they
begin, amounts without a currency.

Source: IATI 2.03, activity schema and the rules of the activity standard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from guildbook.primitives.errors import GuildbookError
from guildbook.standards.amounts import Money, read_money
from guildbook.standards.imported import Imported
from guildbook.standards.place import BAD_VALUE, BROKEN_RULE, UNKNOWN_MESSAGE, Refusal, refusal_of, refuse
from guildbook.standards.times import When
from guildbook.standards.xml import (
    BOOLEAN,
    DATE,
    DATE_TIME,
    DECIMAL,
    XML_PREFIX,
    Leaf,
    Reading,
    Shape,
    Writing,
    group,
    local_name,
    many,
    one,
    parsed,
)

VERSION: Final = "2.03"

TRANSACTION_TYPES: Final = {
    "1": "Incoming Funds", "2": "Outgoing Commitment", "3": "Disbursement", "4": "Expenditure",
    "5": "Interest Payment", "6": "Loan Repayment", "7": "Reimbursement", "8": "Purchase of Equity",
    "9": "Sale of Equity", "10": "Credit Guarantee", "11": "Incoming Commitment", "12": "Outgoing Pledge",
    "13": "Incoming Pledge",
}  # fmt: skip
"""IATI code list TransactionType."""

ACTIVITY_STATUSES: Final = {
    "1": "Pipeline/identification", "2": "Implementation", "3": "Finalisation", "4": "Closed", "5": "Cancelled",
    "6": "Suspended",
}  # fmt: skip
"""IATI code list ActivityStatus."""


class Narrative(msgspec.Struct, frozen=True):
    """A text for people, in a language."""

    text: str
    language: str | None = None


class ReportingOrg(msgspec.Struct, frozen=True):
    """Who reports."""

    ref: str
    type: str
    secondary: bool | None = None
    names: tuple[Narrative, ...] = ()


class ParticipatingOrg(msgspec.Struct, frozen=True):
    """Who takes part: `role` is 1 funding, 2 accountable, 3 extending, 4 implementing."""

    role: str
    ref: str | None = None
    type: str | None = None
    activity: str | None = None
    names: tuple[Narrative, ...] = ()


class PayingOrg(msgspec.Struct, frozen=True):
    """Who pays or receives, and under which activity of its own."""

    ref: str | None = None
    type: str | None = None
    activity: str | None = None
    names: tuple[Narrative, ...] = ()


class Description(msgspec.Struct, frozen=True):
    """A description; `type` is 1 general, 2 objectives, 3 target groups, 4 other."""

    type: str | None = None
    texts: tuple[Narrative, ...] = ()


class OtherIdentifier(msgspec.Struct, frozen=True):
    """An id of the activity elsewhere."""

    ref: str
    type: str


class ActivityDate(msgspec.Struct, frozen=True):
    """`type` is 1 planned start, 2 actual start, 3 planned end, 4 actual end."""

    type: str
    date: When


class Share(msgspec.Struct, frozen=True):
    """A country, region or sector by its code, with its share in percent as decimal text."""

    code: str
    vocabulary: str | None = None
    vocabulary_uri: str | None = None
    percentage: str | None = None
    names: tuple[Narrative, ...] = ()


class Value(msgspec.Struct, frozen=True):
    """An amount as decimal text, which can be below zero; without `currency` the activity's default counts."""

    amount: str
    value_date: When | None = None
    currency: str | None = None

    def money(self, default_currency: str | None) -> Money:
        """The amount in minor units; raises `ValueError` where it is not exact or has no currency."""
        currency = self.currency or default_currency
        if currency is None:
            raise ValueError("has no currency")
        return read_money(self.amount, currency)


def value_of(money: Money, value_date: When) -> Value:
    """The value that says an amount on a day."""
    return Value(money.text, value_date, money.currency)


class Budget(msgspec.Struct, frozen=True):
    """A budget for a period: `type` 1 original, 2 revised; `status` 1 indicative, 2 committed."""

    start: When
    end: When
    value: Value
    type: str | None = None
    status: str | None = None


class PlannedDisbursement(msgspec.Struct, frozen=True):
    """What is to be paid in a period."""

    start: When
    value: Value
    end: When | None = None
    type: str | None = None
    provider: PayingOrg | None = None
    receiver: PayingOrg | None = None


class Transaction(msgspec.Struct, frozen=True):
    """Money promised, moved or spent: `type` is a code of `TRANSACTION_TYPES`."""

    type: str
    date: When
    value: Value
    ref: str | None = None
    humanitarian: bool | None = None
    description: tuple[Narrative, ...] = ()
    provider: PayingOrg | None = None
    receiver: PayingOrg | None = None
    disbursement_channel: str | None = None
    sectors: tuple[Share, ...] = ()
    recipient_country: Share | None = None
    recipient_region: Share | None = None
    flow_type: str | None = None
    finance_type: str | None = None
    tied_status: str | None = None


class Category(msgspec.Struct, frozen=True):
    """What kind of document it is: a code of the list DocumentCategory."""

    code: str


class DocumentLink(msgspec.Struct, frozen=True):
    """A document about the activity."""

    url: str
    format: str
    titles: tuple[Narrative, ...] = ()
    categories: tuple[Category, ...] = ()


class RelatedActivity(msgspec.Struct, frozen=True):
    """Another activity: `type` is 1 parent, 2 child, 3 sibling, 4 co-funded, 5 third party."""

    ref: str
    type: str


class Activity(msgspec.Struct, frozen=True):
    """A project, as its publisher reports it. `identifier` is the same in every file that it occurs in."""

    reporting_org: ReportingOrg
    titles: tuple[Narrative, ...]
    descriptions: tuple[Description, ...]
    participating_orgs: tuple[ParticipatingOrg, ...]
    status: str
    dates: tuple[ActivityDate, ...]
    identifier: str | None = None
    last_updated: When | None = None
    language: str | None = None
    default_currency: str | None = None
    humanitarian: bool | None = None
    hierarchy: str | None = None
    other_identifiers: tuple[OtherIdentifier, ...] = ()
    scope: str | None = None
    recipient_countries: tuple[Share, ...] = ()
    recipient_regions: tuple[Share, ...] = ()
    sectors: tuple[Share, ...] = ()
    collaboration_type: str | None = None
    default_flow_type: str | None = None
    default_finance_type: str | None = None
    default_tied_status: str | None = None
    budgets: tuple[Budget, ...] = ()
    planned_disbursements: tuple[PlannedDisbursement, ...] = ()
    transactions: tuple[Transaction, ...] = ()
    documents: tuple[DocumentLink, ...] = ()
    related: tuple[RelatedActivity, ...] = ()


TEXT: Final[Leaf[str]] = Leaf(str)
NARRATIVE: Final = Shape(Narrative, {f"@{XML_PREFIX}lang": one("language", TEXT), "#text": one("text", TEXT)})
_NAMES: Final = {"narrative": many("names", NARRATIVE)}
_CODE_OF: Final = {
    field: group({"@code": one(field, TEXT)})
    for field in (
        "status", "scope", "collaboration_type", "default_flow_type", "default_finance_type", "default_tied_status",
        "disbursement_channel", "flow_type", "finance_type", "tied_status",
    )
}  # fmt: skip
_SHARE: Final = Shape(
    Share,
    {
        "@vocabulary": one("vocabulary", TEXT),
        "@vocabulary-uri": one("vocabulary_uri", TEXT),
        "@code": one("code", TEXT),
        "@percentage": one("percentage", DECIMAL),
        **_NAMES,
    },
)
_VALUE: Final = Shape(
    Value,
    {
        "@currency": one("currency", TEXT),
        "@value-date": one("value_date", DATE, must=True),
        "#text": one("amount", DECIMAL),
    },
)


def _day(field: str, *, must: bool = False) -> Any:
    return group({"@iso-date": one(field, DATE)}, must=must)


def _paying(activity: str) -> Shape[PayingOrg]:
    return Shape(
        PayingOrg,
        {
            "@ref": one("ref", TEXT),
            "@type": one("type", TEXT),
            f"@{activity}": one("activity", TEXT),
            **_NAMES,
        },
    )


_PROVIDER: Final = one("provider", _paying("provider-activity-id"))
_RECEIVER: Final = one("receiver", _paying("receiver-activity-id"))
TRANSACTION: Final = Shape(
    Transaction,
    {
        "@ref": one("ref", TEXT),
        "@humanitarian": one("humanitarian", BOOLEAN),
        "transaction-type": group({"@code": one("type", TEXT)}, must=True),
        "transaction-date": _day("date", must=True),
        "value": one("value", _VALUE, must=True),
        "description": group({"narrative": many("description", NARRATIVE)}),
        "provider-org": _PROVIDER,
        "receiver-org": _RECEIVER,
        "disbursement-channel": _CODE_OF["disbursement_channel"],
        "sector": many("sectors", _SHARE),
        "recipient-country": one("recipient_country", _SHARE),
        "recipient-region": one("recipient_region", _SHARE),
        "flow-type": _CODE_OF["flow_type"],
        "finance-type": _CODE_OF["finance_type"],
        "tied-status": _CODE_OF["tied_status"],
    },
)
ACTIVITY: Final = Shape(
    Activity,
    {
        "@last-updated-datetime": one("last_updated", DATE_TIME),
        f"@{XML_PREFIX}lang": one("language", TEXT),
        "@default-currency": one("default_currency", TEXT),
        "@humanitarian": one("humanitarian", BOOLEAN),
        "@hierarchy": one("hierarchy", TEXT),
        "iati-identifier": one("identifier", TEXT, must=True),
        "reporting-org": one(
            "reporting_org",
            Shape(
                ReportingOrg,
                {
                    "@ref": one("ref", TEXT),
                    "@type": one("type", TEXT),
                    "@secondary-reporter": one("secondary", BOOLEAN),
                    "narrative": many("names", NARRATIVE, must=True),
                },
            ),
            must=True,
        ),
        "title": group({"narrative": many("titles", NARRATIVE, must=True)}),
        "description": many(
            "descriptions",
            Shape(
                Description,
                {"@type": one("type", TEXT), "narrative": many("texts", NARRATIVE, must=True)},
                needed=["texts"],
            ),
            must=True,
        ),
        "participating-org": many(
            "participating_orgs",
            Shape(
                ParticipatingOrg,
                {
                    "@ref": one("ref", TEXT),
                    "@type": one("type", TEXT),
                    "@role": one("role", TEXT),
                    "@activity-id": one("activity", TEXT),
                    **_NAMES,
                },
            ),
            must=True,
        ),
        "other-identifier": many(
            "other_identifiers",
            Shape(OtherIdentifier, {"@ref": one("ref", TEXT), "@type": one("type", TEXT)}),
        ),
        "activity-status": group({"@code": one("status", TEXT)}, must=True),
        "activity-date": many(
            "dates",
            Shape(ActivityDate, {"@iso-date": one("date", DATE), "@type": one("type", TEXT)}),
            must=True,
        ),
        "activity-scope": _CODE_OF["scope"],
        "recipient-country": many("recipient_countries", _SHARE),
        "recipient-region": many("recipient_regions", _SHARE),
        "sector": many("sectors", _SHARE),
        "collaboration-type": _CODE_OF["collaboration_type"],
        "default-flow-type": _CODE_OF["default_flow_type"],
        "default-finance-type": _CODE_OF["default_finance_type"],
        "default-tied-status": _CODE_OF["default_tied_status"],
        "budget": many(
            "budgets",
            Shape(
                Budget,
                {
                    "@type": one("type", TEXT),
                    "@status": one("status", TEXT),
                    "period-start": _day("start", must=True),
                    "period-end": _day("end", must=True),
                    "value": one("value", _VALUE, must=True),
                },
            ),
        ),
        "planned-disbursement": many(
            "planned_disbursements",
            Shape(
                PlannedDisbursement,
                {
                    "@type": one("type", TEXT),
                    "period-start": _day("start", must=True),
                    "period-end": _day("end"),
                    "value": one("value", _VALUE, must=True),
                    "provider-org": _PROVIDER,
                    "receiver-org": _RECEIVER,
                },
            ),
        ),
        "transaction": many("transactions", TRANSACTION),
        "document-link": many(
            "documents",
            Shape(
                DocumentLink,
                {
                    "@format": one("format", TEXT),
                    "@url": one("url", TEXT),
                    "title": group({"narrative": many("titles", NARRATIVE, must=True)}),
                    "category": many("categories", Shape(Category, {"@code": one("code", TEXT)}), must=True),
                },
            ),
        ),
        "related-activity": many(
            "related", Shape(RelatedActivity, {"@ref": one("ref", TEXT), "@type": one("type", TEXT)})
        ),
    },
)


class ActivityRecord(msgspec.Struct, frozen=True):
    """An activity as it was imported, with the line where it begins."""

    line: int
    activity: Activity

    @property
    def id(self) -> str:
        """The activity's identifier; empty where its publisher left it empty."""
        return self.activity.identifier or ""


def read_activities(data: bytes, *, file: str = "") -> Imported[ActivityRecord]:
    """The activities in an IATI 2 file.

    Raises GuildbookError for a document that is not safe XML (`standards.malformed`, `standards.forbidden`,
    `standards.too_large`) or no activity file (`standards.unknown_message`). An activity that cannot be taken is a
    refusal beside the records.
    """
    root = parsed(data, file=file)
    if root.tag != "iati-activities" or not len(root):
        reason = (
            f"<{local_name(root)[:40]}> is no file of activities" if len(root) else "the file has no activity"
        )
        raise refuse(
            UNKNOWN_MESSAGE, reason, file=file, line=root.sourceline or 1, path=f"/{local_name(root)[:40]}"
        )
    records: list[ActivityRecord] = []
    refusals: list[Refusal] = []
    reading = Reading(file, "", 0)
    for element in root:
        if reading.name(element) != "iati-activity":
            reading.leave(element)
            continue
        try:
            activity = ACTIVITY.read(element, reading)
            assert activity is not None, "an activity has required fields"
        except GuildbookError as error:
            refusals.append(refusal_of(error))
            continue
        records.append(ActivityRecord(element.sourceline or 0, activity))
    return Imported(tuple(records), tuple(refusals), reading.not_carried)


def write_activities(activities: Sequence[Activity], *, generated: When | None = None) -> bytes:
    """The activities as a file of version 2.03, valid against the standard's schema: always the same bytes.

    Raises GuildbookError `standards.bad_value` for what the schema does not allow, and `standards.broken_rule` for the
    first rule of `rules` that an activity breaks, or an identifier that occurs twice.
    """
    seen: set[str] = set()
    for activity in activities:
        for path, reason in rules(activity):
            raise refuse(BROKEN_RULE, reason, path=f"iati-activity[{activity.identifier}]/{path}")
        if activity.identifier in seen:
            raise refuse(
                BROKEN_RULE, "the identifier occurs twice", path=f"iati-activity[{activity.identifier}]"
            )
        seen.add(activity.identifier or "")
    writing = Writing()
    attributes = f' version="{VERSION}"'
    if generated is not None:
        attributes += f' generated-datetime="{generated.text}"'
    try:
        if not activities:
            raise ValueError("a file has an activity")
        writing.inside("iati-activities", attributes, lambda: _write_all(activities, writing))
    except ValueError as error:
        raise refuse(BAD_VALUE, str(error), path="/iati-activities") from None
    return writing.document()


def _write_all(activities: Sequence[Activity], writing: Writing) -> None:
    for activity in activities:
        ACTIVITY.write("iati-activity", activity, writing)


def rules(activity: Activity) -> Iterator[tuple[str, str]]:
    """What is wrong with an activity although a schema accepts it: paths and reasons, in the order of the activity.

    An identifier is there and begins with its reporting organisation's; codes of transactions and of the status are of
    the lists; shares of one vocabulary that are given add up to 100; a period does not end before it begins; an amount
    has a currency and is exact in it; sectors stand at the activity or at every transaction, not at both.
    """
    reporting = activity.reporting_org.ref
    if not activity.identifier:
        yield "iati-identifier", "an activity has an identifier"
    elif not activity.identifier.startswith(reporting):
        yield "iati-identifier", f"an identifier begins with the reporting organisation's, {reporting[:40]!r}"
    if activity.status not in ACTIVITY_STATUSES:
        yield "activity-status", f"{activity.status[:20]!r} is not in the list of statuses"
    yield from _shares(
        "recipient-country", (*activity.recipient_countries, *activity.recipient_regions), joined=True
    )
    yield from _shares("sector", activity.sectors, joined=False)
    for number, budget in enumerate(activity.budgets, 1):
        if budget.end.utc_ms < budget.start.utc_ms:
            yield f"budget[{number}]/period-end", "the period ends before it begins"
        yield from _exact(f"budget[{number}]/value", budget.value, activity)
    for number, planned in enumerate(activity.planned_disbursements, 1):
        if planned.end is not None and planned.end.utc_ms < planned.start.utc_ms:
            yield f"planned-disbursement[{number}]/period-end", "the period ends before it begins"
        yield from _exact(f"planned-disbursement[{number}]/value", planned.value, activity)
    for number, transaction in enumerate(activity.transactions, 1):
        if transaction.type not in TRANSACTION_TYPES:
            yield (
                f"transaction[{number}]/transaction-type",
                f"{transaction.type[:20]!r} is not in the list of types",
            )
        yield from _exact(f"transaction[{number}]/value", transaction.value, activity)
        if activity.sectors and transaction.sectors:
            yield (
                f"transaction[{number}]/sector",
                "sectors stand at the activity or at its transactions, not at both",
            )


def _shares(path: str, shares: Sequence[Share], *, joined: bool) -> Iterator[tuple[str, str]]:
    by_vocabulary: dict[str, list[Share]] = {}
    for share in shares:
        by_vocabulary.setdefault("" if joined else share.vocabulary or "1", []).append(share)
    for vocabulary, found in by_vocabulary.items():
        given = [Decimal(share.percentage) for share in found if share.percentage is not None]
        missing = len(found) - len(given)
        of = f" of the vocabulary {vocabulary[:20]}" if vocabulary else ""
        if (missing and len(found) > 1) or (given and (sum(given) != 100 or min(given) < 0)):
            yield path, f"the shares{of} add up to {sum(given)}, and not to 100"


def _exact(path: str, value: Value, activity: Activity) -> Iterator[tuple[str, str]]:
    try:
        value.money(activity.default_currency)
    except ValueError as error:
        yield path, f"{value.amount[:40]!r} {error}"
