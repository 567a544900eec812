"""Messages in: which are read, and how a message is found in what was received."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

import msgspec
from lxml import etree

from guildbook.standards.iso20022.cancellation import (
    CANCELLATION_REQUEST,
    RESOLUTION,
    CancellationRequest,
    Resolution,
)
from guildbook.standards.iso20022.header import BUSINESS_HEADER, BusinessHeader
from guildbook.standards.iso20022.payments import (
    BANK_TRANSFERS,
    CUSTOMER_TRANSFERS,
    PAYMENT_INITIATION,
    PAYMENT_RETURN,
    InterbankPayments,
    PaymentInitiation,
    PaymentReturn,
)
from guildbook.standards.iso20022.statements import (
    NOTIFICATIONS,
    REPORTS,
    STATEMENT_NAMES,
    STATEMENTS,
    AccountReport,
    ReportReading,
)
from guildbook.standards.iso20022.status import BANK_STATUS, CUSTOMER_STATUS, StatusReport
from guildbook.standards.place import BROKEN_RULE, UNKNOWN_MESSAGE, refuse
from guildbook.standards.xml import Reading, Shape, local_name, namespace, parsed, path_of

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:"

Body: TypeAlias = (
    AccountReport
    | StatusReport
    | PaymentInitiation
    | InterbankPayments
    | PaymentReturn
    | CancellationRequest
    | Resolution
)


class MessageKind(msgspec.Struct, frozen=True):
    """A message that is read: its family, the name of its root element, the versions, and its shape."""

    family: str
    root: str
    first: int
    last: int
    shape: Any  # Shape of the family's own record


KINDS: Final = (
    MessageKind("camt.029", "RsltnOfInvstgtn", 3, 13, RESOLUTION),
    MessageKind("camt.052", "BkToCstmrAcctRpt", 2, 13, REPORTS),
    MessageKind("camt.052", "BkToCstmrAcctRptV01", 1, 1, REPORTS),
    MessageKind("camt.053", "BkToCstmrStmt", 2, 13, STATEMENTS),
    MessageKind("camt.053", "BkToCstmrStmtV01", 1, 1, STATEMENTS),
    MessageKind("camt.054", "BkToCstmrDbtCdtNtfctn", 2, 13, NOTIFICATIONS),
    MessageKind("camt.054", "BkToCstmrDbtCdtNtfctnV01", 1, 1, NOTIFICATIONS),
    MessageKind("camt.056", "FIToFIPmtCxlReq", 1, 11, CANCELLATION_REQUEST),
    MessageKind("pacs.002", "FIToFIPmtStsRpt", 3, 15, BANK_STATUS),
    MessageKind("pacs.004", "PmtRtr", 2, 14, PAYMENT_RETURN),
    MessageKind("pacs.008", "FIToFICstmrCdtTrf", 2, 13, CUSTOMER_TRANSFERS),
    MessageKind("pacs.009", "FICdtTrf", 3, 12, BANK_TRANSFERS),
    MessageKind("pacs.009", "FinInstnCdtTrf", 2, 2, BANK_TRANSFERS),
    MessageKind("pain.001", "CstmrCdtTrfInitn", 3, 12, PAYMENT_INITIATION),
    MessageKind("pain.002", "CstmrPmtStsRpt", 3, 14, CUSTOMER_STATUS),
)
"""What is read, in the order of names. Versions are those of the standard's variant 001."""

_ROOTS: Final = {kind.root: kind for kind in KINDS}
_NAME: Final = re.compile(r"[a-z]{4}\.[0-9]{3}\.[0-9]{3}\.[0-9]{2}\Z")


class Message(msgspec.Struct, frozen=True):
    """A message as it was read.

    `name` is its definition (camt.053.001.08; of a header alone, head.001.001.02), `header` the business header in
    front of it, `body` the record of its family (`None`: a header came alone), and `not_carried` the paths of elements
    that no record has a field for. An element that the standard does not know looks the same as one that is not
    carried; `validation_findings` with the standard's schema tells them apart.
    """

    name: str
    header: BusinessHeader | None
    body: Body | None
    not_carried: tuple[str, ...]


def read(data: bytes, *, file: str = "") -> Message:
    """The message in `data`, bare or in an envelope of a network.

    Raises GuildbookError with `file`, `line`, `path` and `reason`: `standards.malformed`, `standards.forbidden`,
    `standards.too_large` (the document), `standards.unknown_message` (nothing that is read), `standards.missing`,
    `standards.bad_value` and `standards.broken_rule` (an element).
    """
    streaming: dict[str, ReportReading] = {}

    def take(element: etree._Element) -> None:
        uri = namespace(element)
        reading = streaming.get(uri)
        if reading is None:
            family, version = _family(uri)
            if family not in ("camt.052", "camt.053", "camt.054"):
                return
            reading = streaming[uri] = ReportReading(file, uri, version)
        reading.take(element)

    root = parsed(data, file=file, each=("Ntry", *STATEMENT_NAMES), take=take)
    header = _header(root, file)
    found = [
        element
        for element in root.iter(*(f"{{*}}{name}" for name in _ROOTS))
        if namespace(element).startswith(NAMESPACE)
    ]
    if not found:
        if header is not None and not _other_names(root):
            record, name, left = header
            return Message(name, record, None, left)
        raise _unknown(root, file)
    element, *others = found
    if others:
        raise refuse(
            BROKEN_RULE,
            "a second message is in the document",
            file=file,
            line=others[0].sourceline or 0,
            path=path_of(others[0]),
        )
    uri = namespace(element)
    kind = _kind(element, file)
    shape: Shape[Any] = kind.shape
    reading = streaming.get(uri) or _reading(kind, file, uri)
    body = shape.read(element, reading)
    left = reading.not_carried
    if header is not None:
        left = tuple(sorted({*left, *header[2]}))
    return Message(uri.removeprefix(NAMESPACE), header[0] if header else None, body, left)


def _reading(kind: MessageKind, file: str, uri: str) -> Reading:
    _, version = _family(uri)
    return (ReportReading if kind.shape in (STATEMENTS, REPORTS, NOTIFICATIONS) else Reading)(
        file, uri, version
    )


def _family(uri: str) -> tuple[str, int]:
    """The family and version that a namespace names, or an empty text and 0."""
    name = uri.removeprefix(NAMESPACE)
    if not uri.startswith(NAMESPACE) or _NAME.match(name) is None or name[9:12] != "001":
        return "", 0
    return name[:8], int(name[13:])


def _kind(element: etree._Element, file: str) -> MessageKind:
    family, version = _family(namespace(element))
    kind = _ROOTS[local_name(element)]
    if family != kind.family or not kind.first <= version <= kind.last:
        name = namespace(element).removeprefix(NAMESPACE)
        raise refuse(
            UNKNOWN_MESSAGE,
            f"{kind.family}.001 is read in the versions {kind.first:02d} to {kind.last:02d}, and this is {name[:40]!r}",
            file=file,
            line=element.sourceline or 0,
            path=path_of(element),
        )
    return kind


def _header(root: etree._Element, file: str) -> tuple[BusinessHeader, str, tuple[str, ...]] | None:
    """The business header, its definition's name, and what it does not carry."""
    for element in root.iter("{*}AppHdr"):
        for candidate in (element, *element[:1]):
            uri = namespace(candidate)
            family, version = _family(uri)
            if family == "head.001":
                reading = Reading(file, uri, version)
                record = BUSINESS_HEADER.read(element, reading)
                return record or BusinessHeader(), uri.removeprefix(NAMESPACE), reading.not_carried
    return None


def _other_names(root: etree._Element) -> list[str]:
    """Namespaces of messages, other than headers, that stand in the document."""
    names: dict[str, None] = {}
    for element in root.iter():
        uri = namespace(element)
        if ":xsd:" in uri and not uri.startswith(NAMESPACE + "head.001"):
            names[uri] = None
    return list(names)


def _unknown(root: etree._Element, file: str) -> Exception:
    names = _other_names(root)
    reason = (
        f"{names[0].rpartition(':xsd:')[2][:60]!r} is no message that is read"
        if names
        else f"{local_name(root)[:60]!r} in the namespace {namespace(root)[:80]!r} is no message of ISO 20022"
    )
    return refuse(
        UNKNOWN_MESSAGE,
        reason,
        file=file,
        line=root.sourceline or 0,
        path=path_of(root),
        hint="the page on ISO 20022 lists the messages and versions that are read",
    )
