"""Who signs: from a public key to a party, its organisation and its permissions.

The rows are written by the foundation contract ``parties`` and read here at every transaction, so their shape is
fixed below both. A party acts only while all three of its key, itself and its organisation are active. It holds a
permission ``contract:role`` only when its organisation holds it and the party was granted it: the network decides
what an organisation may do, and the organisation decides who of its people does it.
"""

import enum
from typing import NamedTuple

from guildbook.contract.contract import Sender
from guildbook.state.overlay import Overlay
from guildbook.state.record import Code, Height, Name, PublicKeyBytes, Record, Timestamp, key
from guildbook.state.schema import TableSchema


class Status(enum.StrEnum):
    """The life cycle of organisations and parties."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class PartyKind(enum.StrEnum):
    """What a party is."""

    PERSON = "person"
    DEVICE = "device"
    SERVICE = "service"


class Organisation(Record):
    """A member of the network."""

    id: Code = key()
    name: Name
    jurisdiction: Code
    status: Status


class Party(Record):
    """An identity that acts for an organisation."""

    id: Code = key()
    organisation: Code
    kind: PartyKind
    name: Name
    status: Status


class Key(Record):
    """A public key of a party, with the time in which it signs. ``valid_until`` is the first moment it does not."""

    public_key: PublicKeyBytes = key()
    party: Code
    valid_from: Timestamp
    valid_until: Timestamp | None
    revoked_at: Timestamp | None
    added_at: Height


class OrganisationRole(Record):
    """A permission that the network gave to an organisation."""

    organisation: Code = key()
    permission: Code = key()


class PartyRole(Record):
    """A permission that an organisation gave to one of its parties."""

    party: Code = key()
    permission: Code = key()


ORGANISATIONS = TableSchema("parties.organisations", Organisation)
PARTIES = TableSchema("parties.parties", Party, (("organisation", "id"),))
KEYS = TableSchema("parties.keys", Key, (("party", "public_key"),))
ORGANISATION_ROLES = TableSchema("parties.organisation_roles", OrganisationRole)
PARTY_ROLES = TableSchema("parties.party_roles", PartyRole, (("permission", "party"),))


class Refusal(NamedTuple):
    """Why a signer may not act: a code of the error table and its fields."""

    code: str
    fields: list[list[str | int | bytes | None]]


def resolve_sender(overlay: Overlay, public_key: bytes, now: int) -> Sender | Refusal:
    """The signer behind ``public_key`` at block time ``now`` (milliseconds), or why there is none."""
    found = overlay.peek(KEYS, KEYS.key(public_key))
    if found is None:
        return Refusal("transaction.unknown_key", [])
    if (
        now < found.valid_from
        or (found.valid_until is not None and now >= found.valid_until)
        or (found.revoked_at is not None and now >= found.revoked_at)
    ):
        return Refusal("transaction.key_not_valid", [["party", found.party]])
    party = overlay.peek(PARTIES, PARTIES.key(found.party))
    assert party is not None, f"key of party {found.party} without the party"
    if party.status is not Status.ACTIVE:
        return Refusal("transaction.party_not_active", [["party", party.id], ["status", party.status.value]])
    organisation = overlay.peek(ORGANISATIONS, ORGANISATIONS.key(party.organisation))
    assert organisation is not None, f"party {party.id} without its organisation"
    if organisation.status is not Status.ACTIVE:
        return Refusal(
            "transaction.organisation_not_active",
            [["organisation", organisation.id], ["status", organisation.status.value]],
        )
    return Sender(party.id, organisation.id, public_key)


def holds(overlay: Overlay, sender: Sender, permission: str) -> bool:
    """Whether ``sender`` holds ``permission`` (``contract:role``) through its organisation and by its own grant."""
    return (
        overlay.peek(ORGANISATION_ROLES, ORGANISATION_ROLES.key(sender.organisation, permission)) is not None
        and overlay.peek(PARTY_ROLES, PARTY_ROLES.key(sender.party, permission)) is not None
    )


class Identities:
    """Who signs and what they may do, remembered while nothing changes it within one block."""

    def __init__(self, overlay: Overlay, now: int) -> None:
        self._overlay = overlay
        self._now = now
        self._seen = overlay.watched_writes
        self._senders: dict[bytes, Sender | Refusal] = {}
        self._held: dict[tuple[str, str], bool] = {}

    def _forget(self) -> None:
        self._seen = self._overlay.watched_writes
        self._senders.clear()
        self._held.clear()

    def sender(self, public_key: bytes) -> Sender | Refusal:
        """As ``resolve_sender`` at the block's time."""
        if self._overlay.watched_writes != self._seen:
            self._forget()
        found = self._senders.get(public_key)
        if found is None:
            found = self._senders[public_key] = resolve_sender(self._overlay, public_key, self._now)
        return found

    def holds(self, sender: Sender, permission: str) -> bool:
        """As ``holds`` now."""
        if self._overlay.watched_writes != self._seen:
            self._forget()
        held = self._held.get((sender.party, permission))
        if held is None:
            held = self._held[(sender.party, permission)] = holds(self._overlay, sender, permission)
        return held
