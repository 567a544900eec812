"""The business header (head.001) that may come before a message: who sends what to whom.

A header may be incomplete where a network fills it in on the way; a field that is empty is `None`. Signatures in
headers are not checked here, and not carried.
"""

from __future__ import annotations

from typing import Final

import msgspec

from guildbook.standards.iso20022.components import CODE4, SENDER, TEXT35, TEXT2048, Party
from guildbook.standards.times import When
from guildbook.standards.xml import BOOLEAN, DATE_TIME, Shape, group, limited, many, one


class RelatedHeader(msgspec.Struct, frozen=True):
    """The header of the message that this one answers."""

    sender: Party | None = None
    receiver: Party | None = None
    id: str | None = None
    message_name: str | None = None
    service: str | None = None
    created: When | None = None
    copy_duplicate: str | None = None


class BusinessHeader(msgspec.Struct, frozen=True):
    """A head.001: `id` is the message's business id, `message_name` its definition (pacs.008.001.08)."""

    sender: Party | None = None
    receiver: Party | None = None
    id: str | None = None
    message_name: str | None = None
    service: str | None = None
    market_registry: str | None = None
    market_practice: str | None = None
    created: When | None = None
    processing_date: When | None = None
    copy_duplicate: str | None = None
    possible_duplicate: bool | None = None
    priority: str | None = None
    related: tuple[RelatedHeader, ...] = ()


_RELATED: Final = Shape(
    RelatedHeader,
    {
        "Fr": one("sender", SENDER),
        "To": one("receiver", SENDER),
        "BizMsgIdr": one("id", TEXT35),
        "MsgDefIdr": one("message_name", TEXT35),
        "BizSvc": one("service", TEXT35),
        "CreDt": one("created", DATE_TIME),
        "CpyDplct": one("copy_duplicate", CODE4),
    },
)
BUSINESS_HEADER: Final = Shape(
    BusinessHeader,
    {
        "Fr": one("sender", SENDER),
        "To": one("receiver", SENDER),
        "BizMsgIdr": one("id", TEXT35),
        "MsgDefIdr": one("message_name", TEXT35),
        "BizSvc": one("service", TEXT35),
        "MktPrctc": group(
            {"Regy": one("market_registry", limited(350)), "Id": one("market_practice", TEXT2048)}
        ),
        "CreDt": one("created", DATE_TIME),
        "BizPrcgDt": one("processing_date", DATE_TIME),
        "CpyDplct": one("copy_duplicate", CODE4),
        "PssblDplct": one("possible_duplicate", BOOLEAN),
        "Prty": one("priority", CODE4),
        "Rltd": many("related", _RELATED),
    },
)
