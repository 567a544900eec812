"""Public contracting: OCDS 1.1 release packages, read to records and written from them.

A release says what was known about one contracting process (`ocid`) at one moment. Read are release packages, record
packages with releases in them, single releases, and several of these one behind the other; each release becomes a
record or a refusal beside it. Written are release packages. Records have the standard's members in the same tree, as
far as money goes: parties, budget, tender, awards, contracts, transactions.

Source: Open Contracting Data Standard 1.1, release schema, release package schema and record package schema.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from guildbook.primitives.errors import GuildbookError
from guildbook.standards.amounts import Money, read_money
from guildbook.standards.imported import Imported
from guildbook.standards.json import canonical_json, exact_json, plain_decimal, read_values
from guildbook.standards.place import (
    BAD_VALUE,
    BROKEN_RULE,
    MISSING,
    UNKNOWN_MESSAGE,
    Refusal,
    refusal_of,
    refuse,
)
from guildbook.standards.times import read_date, read_date_time

VERSION: Final = "1.1"
NOT_CARRIED_MAX: Final = 500
"""How many different members a reading remembers as not carried."""

TAGS: Final = (
    "planning", "planningUpdate", "tender", "tenderAmendment", "tenderUpdate", "tenderCancellation", "award",
    "awardUpdate", "awardCancellation", "contract", "contractUpdate", "contractAmendment", "implementation",
    "implementationUpdate", "contractTermination", "compiled",
)  # fmt: skip

Id: TypeAlias = str | int


class _Part(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A member of a release: its fields are the standard's, spelt with underscores."""


class Value(_Part, frozen=True):
    """An amount as it is written, exact, with its currency (ISO 4217)."""

    amount: Decimal | None = None
    currency: str | None = None

    @property
    def money(self) -> Money | None:
        """The amount in minor units, if it is one; raises `ValueError` for more decimals than the currency has."""
        if self.amount is None or self.currency is None:
            return None
        return read_money(plain_decimal(self.amount), self.currency)


def value_of(money: Money) -> Value:
    """The value that says an amount."""
    return Value(Decimal(money.text), money.currency)


class Reference(_Part, frozen=True):
    """An organisation by its id among the parties, with its name."""

    id: Id | None = None
    name: str | None = None


class Identifier(_Part, frozen=True):
    """An organisation's number in a register."""

    scheme: str | None = None
    id: Id | None = None
    legal_name: str | None = None
    uri: str | None = None


class PartyAddress(_Part, frozen=True):
    """Where an organisation is."""

    street_address: str | None = None
    locality: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country_name: str | None = None


class Organisation(_Part, frozen=True):
    """A party to the process, with its roles."""

    id: Id | None = None
    name: str | None = None
    identifier: Identifier | None = None
    address: PartyAddress | None = None
    roles: tuple[str, ...] = ()


class Period(_Part, frozen=True):
    """From when to when."""

    start_date: str | None = None
    end_date: str | None = None
    max_extent_date: str | None = None
    duration_in_days: int | None = None


class Budget(_Part, frozen=True):
    """The budget line that pays, and the project it is for."""

    id: Id | None = None
    description: str | None = None
    amount: Value | None = None
    project: str | None = None
    project_id: Id | None = msgspec.field(default=None, name="projectID")
    uri: str | None = None


class Planning(_Part, frozen=True):
    """Why and from which budget."""

    rationale: str | None = None
    budget: Budget | None = None


class Tender(_Part, frozen=True):
    """The call for offers."""

    id: Id
    title: str | None = None
    description: str | None = None
    status: str | None = None
    procuring_entity: Reference | None = None
    value: Value | None = None
    min_value: Value | None = None
    procurement_method: str | None = None
    procurement_method_details: str | None = None
    main_procurement_category: str | None = None
    award_criteria: str | None = None
    tender_period: Period | None = None
    number_of_tenderers: int | None = None
    tenderers: tuple[Reference, ...] = ()


class Award(_Part, frozen=True):
    """Who won what."""

    id: Id
    title: str | None = None
    description: str | None = None
    status: str | None = None
    date: str | None = None
    value: Value | None = None
    suppliers: tuple[Reference, ...] = ()
    contract_period: Period | None = None


class Transaction(_Part, frozen=True):
    """One payment under a contract."""

    id: Id
    source: str | None = None
    date: str | None = None
    value: Value | None = None
    payer: Reference | None = None
    payee: Reference | None = None
    uri: str | None = None


class Milestone(_Part, frozen=True):
    """Something that is to be reached."""

    id: Id
    title: str | None = None
    type: str | None = None
    description: str | None = None
    code: str | None = None
    due_date: str | None = None
    date_met: str | None = None
    status: str | None = None


class Implementation(_Part, frozen=True):
    """What was paid and reached."""

    transactions: tuple[Transaction, ...] = ()
    milestones: tuple[Milestone, ...] = ()


class Contract(_Part, frozen=True):
    """What was signed, and what came of it."""

    id: Id
    award_id: Id = msgspec.field(name="awardID")
    title: str | None = None
    description: str | None = None
    status: str | None = None
    period: Period | None = None
    value: Value | None = None
    date_signed: str | None = None
    implementation: Implementation | None = None


class Release(_Part, frozen=True):
    """What was known about one process at one moment."""

    ocid: str
    id: str
    date: str
    tag: tuple[str, ...]
    initiation_type: str
    language: str | None = None
    parties: tuple[Organisation, ...] = ()
    buyer: Reference | None = None
    planning: Planning | None = None
    tender: Tender | None = None
    awards: tuple[Award, ...] = ()
    contracts: tuple[Contract, ...] = ()


class ReleaseRecord(msgspec.Struct, frozen=True):
    """A release as it was imported.

    `digest` is SHA-256 over its canonical JSON, in hexadecimal digits: another digest under the same `ocid` and release
    id says that somebody changed what was published. `path` is its place, a JSON pointer.
    """

    digest: str
    line: int
    path: str
    release: Release

    @property
    def id(self) -> str:
        """The name of the release: its process and its id in it."""
        return f"{self.release.ocid}/{self.release.id}"


class Publisher(_Part, frozen=True):
    """Who publishes."""

    name: str
    scheme: str | None = None
    uid: str | None = None
    uri: str | None = None


class ReleasePackage(_Part, frozen=True):
    """A file of releases."""

    uri: str
    published_date: str
    publisher: Publisher
    releases: tuple[Release, ...]
    license: str | None = None
    publication_policy: str | None = None


def read_releases(data: bytes, *, file: str = "", encoding: str = "utf-8") -> Imported[ReleaseRecord]:
    """The releases in a document.

    Raises GuildbookError for a document that is not JSON (`standards.malformed`, `standards.too_large`) or has no place
    for releases (`standards.unknown_message`). A release that cannot be taken is a refusal beside the records: a member
    is missing or wrong, an amount is not exact in its currency, a date does not exist. So is a linked release, which is
    only an address, and an ocid with an id that occurred before with other content.
    """
    records: list[ReleaseRecord] = []
    refusals: list[Refusal] = []
    left: dict[str, None] = {}
    digests: dict[str, str] = {}
    for line, value in read_values(data, file=file, encoding=encoding):
        for path, found in _releases(value, file, line):
            try:
                record = _record(found, file, line, path)
                if digests.setdefault(record.id, record.digest) != record.digest:
                    raise refuse(
                        BROKEN_RULE,
                        f"the release {record.id[:80]!r} occurred before with other content",
                        file=file, line=line, path=path,
                    )  # fmt: skip
            except GuildbookError as error:
                refusals.append(refusal_of(error))
                continue
            records.append(record)
            _leave(found, msgspec.to_builtins(record.release, builtin_types=(Decimal,)), "", left)
    return Imported(tuple(records), tuple(refusals), tuple(sorted(left)[:NOT_CARRIED_MAX]))


def _releases(value: Any, file: str, line: int) -> Iterator[tuple[str, Any]]:
    """What stands where a release may stand, with its JSON pointer."""
    if isinstance(value, dict) and isinstance(value.get("releases"), list):
        for position, found in enumerate(value["releases"]):
            yield f"/releases/{position}", found
    elif isinstance(value, dict) and isinstance(value.get("records"), list):
        for position, record in enumerate(value["records"]):
            inside = record.get("releases") if isinstance(record, dict) else None
            compiled = record.get("compiledRelease") if isinstance(record, dict) else None
            if isinstance(inside, list):
                for number, found in enumerate(inside):
                    yield f"/records/{position}/releases/{number}", found
            elif compiled is not None:
                yield f"/records/{position}/compiledRelease", compiled
            else:
                yield f"/records/{position}", record
    elif isinstance(value, dict) and "ocid" in value:
        yield "", value
    else:
        raise refuse(
            UNKNOWN_MESSAGE,
            "the document is no release package, record package or release of OCDS",
            file=file,
            line=line,
        )


def _record(found: Any, file: str, line: int, path: str) -> ReleaseRecord:
    if not isinstance(found, dict):
        raise refuse(BAD_VALUE, "a release is an object", file=file, line=line, path=path)
    if "url" in found and "tag" in found and "initiationType" not in found:
        raise refuse(
            MISSING, "the release is linked by its address alone", file=file, line=line, path=path,
            hint="fetch the linked release and import it",
        )  # fmt: skip
    try:
        release = msgspec.convert(_without_nulls(found), Release, strict=True)
    except msgspec.ValidationError as error:
        reason, _, inside = str(error).partition(" - at `$")
        pointer = inside.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/")
        code = MISSING if "missing required" in reason else BAD_VALUE
        raise refuse(code, reason, file=file, line=line, path=path + pointer) from None
    for pointer, reason in _broken(release):
        raise refuse(BAD_VALUE, reason, file=file, line=line, path=path + pointer)
    return ReleaseRecord(hashlib.sha256(_digested(found)).hexdigest(), line, path, release)


def _digested(found: dict[str, Any]) -> bytes:
    """The bytes under a release's digest: canonical JSON in which each number stands as its exact decimals, as text."""
    return canonical_json(_numbers_as_text(found))


def _numbers_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers_as_text(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_numbers_as_text(item) for item in value]
    if isinstance(value, Decimal) or (isinstance(value, int) and not isinstance(value, bool)):
        return "number " + plain_decimal(Decimal(value))
    return value


def _without_nulls(value: Any) -> Any:
    """The same without members that are null: the standard means by it that nothing is said."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _broken(release: Release) -> Iterator[tuple[str, str]]:
    """Values that have the right type and are wrong: amounts that are not exact, dates that do not exist."""
    if not release.tag:
        yield "/tag", "a release has a tag"
    for position, tag in enumerate(release.tag):
        if tag not in TAGS:
            yield f"/tag/{position}", f"{tag[:40]!r} is no tag of a release"
    for pointer, part in _parts(release, ""):
        for field in msgspec.structs.fields(part):
            held = getattr(part, field.name)
            if isinstance(held, str) and (field.encode_name == "date" or "Date" in field.encode_name):
                try:
                    read_date(held) if len(held) == 10 else read_date_time(held)
                except ValueError as error:
                    yield f"{pointer}/{field.encode_name}", f"{held[:40]!r} {error}"
        if isinstance(part, Value):
            try:
                _ = part.money
            except ValueError as error:
                yield f"{pointer}/amount", f"{part.amount} {error}"


def _parts(part: msgspec.Struct, pointer: str) -> Iterator[tuple[str, msgspec.Struct]]:
    yield pointer, part
    for field in msgspec.structs.fields(part):
        held = getattr(part, field.name)
        for number, item in enumerate(held if isinstance(held, tuple) else (held,)):
            if isinstance(item, msgspec.Struct):
                place = f"/{number}" if isinstance(held, tuple) else ""
                yield from _parts(item, f"{pointer}/{field.encode_name}{place}")


def _leave(found: Any, carried: Any, path: str, left: dict[str, None]) -> None:
    """Note the members of what was found that are not in what is carried."""
    if isinstance(found, dict) and isinstance(carried, dict):
        for name, item in found.items():
            if name in carried:
                _leave(item, carried[name], f"{path}/{name}", left)
            elif item is not None and item not in ([], {}) and len(left) < NOT_CARRIED_MAX:
                left[f"{path}/{name}"] = None
    elif isinstance(found, list) and isinstance(carried, (list, tuple)):
        for one, other in zip(found, carried, strict=False):
            _leave(one, other, path, left)


def write_releases(package: ReleasePackage) -> bytes:
    """The package as JSON: valid against the standard's schema, exact amounts, always the same bytes.

    Raises GuildbookError `standards.bad_value` with the pointer for an amount that is not exact in its currency, a date
    that does not exist or a tag that is none, and `standards.broken_rule` for a release id that occurs twice in a
    process.
    """
    seen: set[tuple[str, str]] = set()
    for position, release in enumerate(package.releases):
        for pointer, reason in _broken(release):
            raise refuse(BAD_VALUE, reason, path=f"/releases/{position}{pointer}")
        if (release.ocid, release.id) in seen:
            raise refuse(
                BROKEN_RULE, f"the release {release.id[:60]!r} occurs twice", path=f"/releases/{position}"
            )
        seen.add((release.ocid, release.id))
    try:
        read_date_time(package.published_date)
    except ValueError as error:
        raise refuse(BAD_VALUE, f"{package.published_date[:40]!r} {error}", path="/publishedDate") from None
    body = msgspec.to_builtins(package, builtin_types=(Decimal,))
    return exact_json({"version": VERSION, **body})


def package_of(
    *,
    uri: str,
    published_date: str,
    publisher: Publisher,
    releases: Sequence[Release],
    license: str | None = None,  # noqa: A002
) -> ReleasePackage:
    """A package of releases in the order of process, date and id, whatever order they came in."""
    ordered = sorted(releases, key=lambda release: (release.ocid, release.date, release.id))
    return ReleasePackage(uri, published_date, publisher, tuple(ordered), license=license)
