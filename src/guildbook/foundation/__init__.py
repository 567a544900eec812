"""Contracts that every network has."""

from guildbook.contract import Contract
from guildbook.foundation.approvals import Approvals
from guildbook.foundation.calendars import Calendars
from guildbook.foundation.cases import Cases
from guildbook.foundation.consents import Consents
from guildbook.foundation.council import Council
from guildbook.foundation.documents import Documents
from guildbook.foundation.governance import Governance
from guildbook.foundation.messages import Messages
from guildbook.foundation.money import Money
from guildbook.foundation.parties import Parties

FOUNDATION: tuple[type[Contract], ...] = (
    Approvals,
    Calendars,
    Cases,
    Consents,
    Council,
    Documents,
    Governance,
    Messages,
    Money,
    Parties,
)
"""The contracts that every network is founded with, by name."""
