"""What is frozen: calls that the network refuses until a time, or until it decides otherwise.

The rows are written by the foundation contract ``governance`` and read here when a block begins, so a freeze holds
from the block after the one that imposes it, and ends by block time without anybody's doing. A freeze stops commands;
nothing that reads is ever frozen, and neither is governance itself: whoever is frozen keeps their vote.
"""

import enum
from typing import Any

from guildbook.contract.contract import Sender
from guildbook.state.overlay import Overlay
from guildbook.state.record import Code, NonNegative, Record, Timestamp, key
from guildbook.state.schema import TableSchema

GOVERNING = ("governance", "council")
"""Contracts whose commands are never frozen, whoever calls them."""


class FreezeScope(enum.StrEnum):
    """What a freeze stops: all commands of a contract, one command (``contract.command``), or everything that a
    member's parties, or one party, sign.
    """

    CONTRACT = "contract"
    COMMAND = "command"
    MEMBER = "member"
    PARTY = "party"


class Freeze(Record):
    """A freeze in force. ``until`` is the first moment at which it no longer holds; None: until it is lifted."""

    scope: FreezeScope = key()
    subject: Code = key()
    order: NonNegative
    until: Timestamp | None


FREEZES = TableSchema("governance.freezes", Freeze)


class Freezes:
    """The freezes that hold in one block."""

    def __init__(self, freezes: list[Freeze]) -> None:
        self._by_subject = {(one.scope, one.subject): one for one in freezes}

    def _first(self, *subjects: tuple[FreezeScope, str]) -> list[list[Any]] | None:
        for subject in subjects:
            found = self._by_subject.get(subject)
            if found is not None:
                return [
                    ["scope", found.scope.value],
                    ["subject", found.subject],
                    ["until", found.until],
                ]
        return None

    def of_command(self, contract: str, command: str) -> list[list[Any]] | None:
        """The fields of the refusal where ``contract.command`` is frozen for everybody, else None."""
        if contract in GOVERNING:
            return None
        return self._first(
            (FreezeScope.CONTRACT, contract), (FreezeScope.COMMAND, f"{contract}.{command}")
        )

    def of_call(self, contract: str, command: str, sender: Sender) -> list[list[Any]] | None:
        """As ``of_command``, and where the signer or its organisation is frozen."""
        if contract in GOVERNING:
            return None
        return self.of_command(contract, command) or self._first(
            (FreezeScope.MEMBER, sender.organisation), (FreezeScope.PARTY, sender.party)
        )


def freezes_in_force(overlay: Overlay, now: int) -> Freezes | None:
    """The freezes at block time ``now`` (milliseconds); None when there are none, which costs nothing more."""
    held = [
        one
        for one in overlay.scan(FREEZES, None, FREEZES.row_prefix)
        if one.until is None or now < one.until
    ]
    return Freezes(held) if held else None
