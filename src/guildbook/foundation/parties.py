"""Who takes part: organisations, the people, devices and services that act for them, and their keys.

Theory. Two levels decide what a party may do. The network, through its *registrar*, decides which organisations take
part and what each may do at most. An organisation, through its *administrators*, decides which of its own people,
devices and services do it. A party holds a permission ``contract:role`` only while both say so, and acts only while
its key, itself and its organisation are all active (``guildbook.runtime.identity``).

Life of organisations and parties (the same table for both):

    from        reinstate   suspend     close
    active      -           suspended   closed
    suspended   active      -           closed
    closed      -           -           -

Life of a key: it signs from ``valid_from`` until ``valid_until`` or its revocation, whichever is first, by block time.
A key is registered once on a network and never again, revoked keys included, with a proof of possession: a signature
over the network, the party and the key by that key itself. A revoked key stays, because what it signed stays.

Who may do what:

* **registrar** (``parties:registrar``): admit, suspend, reinstate and close *other* organisations, give and withdraw
  what they may do, suspend a party or revoke a key of theirs. A registrar never acts for another organisation: what it
  can do to one is to take away. Where an organisation has lost its administrators, the registrar appoints one, and
  only while the organisation is suspended, so that this is never done unseen. Since no registrar can suspend, close or
  strip its own organisation, whoever makes such a call remains, and the network keeps a registrar.
  In a network of several members the members decide about one another by votes (contract ``council``), and so about
  permissions of the platform's own contracts; there a registrar decides about organisations that are no members. Only
  the appointment of an administrator is the registrar's there too: it needs a suspended organisation, and suspending
  and reinstating are the members'.
* **administrator** (``parties:admin``): everything about the parties of its *own* organisation and no other's. The
  last administrator who can act is not removed by any of these calls.
* **the party itself**: add, rotate and revoke its own keys, except the last one that works.

All commands are made by a transaction itself, never through another contract: a contract cannot lend its signer's
rights over identities to its own purposes.
"""

from guildbook.contract import (
    Blob,
    Code,
    Contract,
    Event,
    Name,
    Positive,
    PublicKeyBytes,
    Record,
    Rejected,
    Table,
    Text,
    Timestamp,
    command,
    invariant,
    is_acceptable_key,
    key,
    proves_possession,
    query,
    require,
    use,
)
from guildbook.foundation.governance import Governance
from guildbook.runtime.identity import (
    Key,
    Organisation,
    OrganisationRole,
    Party,
    PartyKind,
    PartyRole,
    Status,
)

ADMIN = "parties:admin"
REGISTRAR = "parties:registrar"
KEYS_PER_PARTY_MAX = 128
"""Keys of one party over all time. A party that needs more is registered anew."""
ROTATION_AHEAD_MS_MAX = 90 * 24 * 3600 * 1000
"""How far ahead a rotation may be set: 90 days."""
ROLE_NAME_CHARS_MAX = 40
COUNCIL = "council"
PLATFORM = ("council", "governance", "parties")
"""Contracts whose permissions the members of a network of several give and take by votes."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"


class Administrator(Record):
    """A party that was granted ``parties:admin``, by organisation: the rows of ``party_roles`` in another order."""

    organisation: Code = key()
    party: Code = key()


class OrganisationAdmitted(Event):
    """An organisation joined, with its first administrator."""

    organisation: Code
    administrator: Code


class OrganisationStatusChanged(Event):
    """An organisation was suspended, reinstated or closed."""

    organisation: Code
    status: Status


class OrganisationRoleGranted(Event):
    """The network lets an organisation give a permission to its parties."""

    organisation: Code
    permission: Code


class OrganisationRoleWithdrawn(Event):
    """The network no longer lets an organisation's parties use a permission."""

    organisation: Code
    permission: Code


class AdministratorAppointed(Event):
    """The registrar gave a suspended organisation a new administrator."""

    organisation: Code
    party: Code


class PartyRegistered(Event):
    """An organisation registered a person, device or service."""

    party: Code
    organisation: Code


class PartyStatusChanged(Event):
    """A party was suspended, reinstated or closed."""

    party: Code
    status: Status


class RoleGranted(Event):
    """An organisation gave a permission to one of its parties."""

    party: Code
    permission: Code


class RoleWithdrawn(Event):
    """An organisation took a permission from one of its parties."""

    party: Code
    permission: Code


class KeyAdded(Event):
    """A key signs for a party."""

    party: Code
    public_key: PublicKeyBytes


class KeyRotated(Event):
    """A key takes over from another at a time."""

    party: Code
    old: PublicKeyBytes
    new: PublicKeyBytes
    takes_over_at: Timestamp


class KeyRevoked(Event):
    """A key no longer signs."""

    party: Code
    public_key: PublicKeyBytes


class OnlyByTransaction(Rejected):
    """Identities are changed by a transaction itself, not through another contract."""

    caller: Code


class OnlyByCouncil(Rejected):
    """Only the council does this, where the members have decided it."""

    caller: Text


class DecidedByVote(Rejected):
    """The network has several members, who decide this by a vote; propose it in the council."""

    organisation: Code


class UnknownOrganisation(Rejected):
    """No organisation has this id."""

    organisation: Code


class UnknownParty(Rejected):
    """No party has this id."""

    party: Code


class UnknownKey(Rejected):
    """No party has registered this key."""


class OtherOrganisation(Rejected):
    """The party belongs to another organisation; an administrator acts for its own only."""

    organisation: Code


class NotTheParty(Rejected):
    """Only the party itself or an administrator of its organisation may do this."""

    party: Code


class OwnOrganisation(Rejected):
    """A registrar does not decide about its own organisation; another organisation's registrar can."""

    organisation: Code


class WrongStatus(Rejected):
    """The organisation or party is not in a status in which this can be done."""

    status: Status


class OrganisationExists(Rejected):
    """An organisation with this id exists; ids are never used again."""

    organisation: Code


class PartyExists(Rejected):
    """A party with this id exists on the network; ids are never used again."""

    party: Code


class NotAPermission(Rejected):
    """A permission is a contract's name, a colon and a role's name, as in points:issuer."""

    permission: Text


class PermissionNotHeld(Rejected):
    """The organisation itself does not hold the permission, so it cannot give it to a party."""

    permission: Code


class AlreadyGranted(Rejected):
    """The organisation or party has the permission already."""

    permission: Code


class NotGranted(Rejected):
    """The organisation or party does not have the permission."""

    permission: Code


class KeyNotAcceptable(Rejected):
    """The bytes are no public key of a known algorithm, or one with which anybody can sign."""


class KeyExists(Rejected):
    """The key is registered on this network already, or was; make a new key."""


class PossessionNotProven(Rejected):
    """The proof is no signature by the new key over the network, the party and the key."""


class TooManyKeys(Rejected):
    """The party has had as many keys as a party may have; register a new party."""

    most: Positive


class TimeOutOfRange(Rejected):
    """The time lies in the past, too far ahead, or not before the end of the key."""

    earliest: Timestamp
    latest: Timestamp


class KeyEnded(Rejected):
    """The key is revoked or expired already."""


class LastKey(Rejected):
    """This is the party's last key that works; rotate it, or have an administrator revoke it."""

    party: Code


class LastAdministrator(Rejected):
    """The organisation would have no administrator who can act; make another one first."""

    organisation: Code


def is_permission(text: str) -> bool:
    """Whether ``text`` is two names joined by one colon (1 to 40 of a-z, 0-9 and _, beginning with a letter)."""
    parts = text.split(":")
    return len(parts) == 2 and all(
        0 < len(part) <= ROLE_NAME_CHARS_MAX
        and part[0] in LETTERS
        and all(one in NAME_CHARACTERS for one in part)
        for part in parts
    )


class Parties(Contract, name="parties", version=1):
    """Organisations, parties, keys and permissions."""

    governance = use(Governance)

    organisations = Table(Organisation)
    parties = Table(Party, index=[("organisation", "id")])
    keys = Table(Key, index=[("party", "public_key")])
    organisation_roles = Table(OrganisationRole)
    party_roles = Table(PartyRole, index=[("permission", "party")])
    administrators = Table(Administrator)
    events = (
        OrganisationAdmitted,
        OrganisationStatusChanged,
        OrganisationRoleGranted,
        OrganisationRoleWithdrawn,
        AdministratorAppointed,
        PartyRegistered,
        PartyStatusChanged,
        RoleGranted,
        RoleWithdrawn,
        KeyAdded,
        KeyRotated,
        KeyRevoked,
    )
    rejections = (
        OnlyByTransaction,
        OnlyByCouncil,
        UnknownOrganisation,
        UnknownParty,
        UnknownKey,
        OwnOrganisation,
        OtherOrganisation,
        NotTheParty,
        DecidedByVote,
        WrongStatus,
        OrganisationExists,
        PartyExists,
        NotAPermission,
        PermissionNotHeld,
        AlreadyGranted,
        NotGranted,
        KeyEnded,
        KeyNotAcceptable,
        KeyExists,
        PossessionNotProven,
        TooManyKeys,
        TimeOutOfRange,
        LastKey,
        LastAdministrator,
    )

    # the registrar, about other organisations

    @command(role="registrar")
    def admit_organisation(
        self,
        organisation: Code,
        name: Name,
        jurisdiction: Code,
        permissions: tuple[Code, ...],
        administrator: Code,
        administrator_name: Name,
        public_key: PublicKeyBytes,
        proof: Blob,
    ) -> None:
        """Admit an organisation and its first administrator.

        ``permissions`` are what it may give to its parties; ``parties:admin`` is always one. ``proof`` is the
        administrator's key's signature of its possession statement.
        """
        self._require_direct()
        for permission in permissions:
            self._require_own_to_give(organisation, permission)
        require(not self.organisations.exists(organisation), OrganisationExists, organisation=organisation)
        require(not self.parties.exists(administrator), PartyExists, party=administrator)
        self._require_permissions(permissions)
        self._require_new_key(administrator, public_key, proof)

        self._insert_organisation(organisation, name, jurisdiction, (ADMIN, *permissions))
        self._insert_party(administrator, organisation, PartyKind.PERSON, administrator_name, (ADMIN,))
        self._insert_key(administrator, public_key, self.now, None)

        self.emit(OrganisationAdmitted(organisation=organisation, administrator=administrator))

    @command(role="registrar")
    def suspend_organisation(self, organisation: Code) -> None:
        """Let an active organisation's parties sign nothing until it is reinstated."""
        row = self._organisation_without_vote(organisation)
        require(row.status is Status.ACTIVE, WrongStatus, status=row.status)
        self._set_organisation_status(row, Status.SUSPENDED)

    @command(role="registrar")
    def reinstate_organisation(self, organisation: Code) -> None:
        """Let a suspended organisation take part again."""
        row = self._organisation_without_vote(organisation)
        require(row.status is Status.SUSPENDED, WrongStatus, status=row.status)
        self._set_organisation_status(row, Status.ACTIVE)

    @command(role="registrar")
    def close_organisation(self, organisation: Code) -> None:
        """End an organisation's part in the network. This is final."""
        row = self._organisation_without_vote(organisation)
        require(row.status is not Status.CLOSED, WrongStatus, status=row.status)
        self._set_organisation_status(row, Status.CLOSED)

    @command(role="registrar")
    def grant_organisation_role(self, organisation: Code, permission: Code) -> None:
        """Let an organisation give ``permission`` to its parties."""
        self._require_direct()
        row = self._organisation(organisation)
        self._require_own_to_give(organisation, permission)
        require(row.status is not Status.CLOSED, WrongStatus, status=row.status)
        self._require_permissions((permission,))
        self._grant_to_organisation(organisation, permission)

    @command(role="registrar")
    def withdraw_organisation_role(self, organisation: Code, permission: Code) -> None:
        """Let no party of an organisation use ``permission`` any more.

        What the organisation granted to its parties stays written, and counts again if the permission returns. A
        registrar cannot withdraw ``parties:registrar`` or ``parties:admin`` from its own organisation.
        """
        self._require_direct()
        self._organisation(organisation)
        own = organisation == self.sender.organisation and permission in (REGISTRAR, ADMIN)
        require(not own, OwnOrganisation, organisation=organisation)
        self._require_own_to_give(organisation, permission)
        self._withdraw_from_organisation(organisation, permission)

    @command(role="registrar")
    def appoint_administrator(
        self, organisation: Code, party: Code, name: Name, public_key: PublicKeyBytes, proof: Blob
    ) -> None:
        """Give a suspended organisation a new person as its administrator, where it has lost the ones it had.

        The organisation must be suspended, and signs nothing until the registrar reinstates it: what was done can be
        seen before it can be used.
        """
        row = self._other_organisation(organisation)
        require(row.status is Status.SUSPENDED, WrongStatus, status=row.status)
        require(not self.parties.exists(party), PartyExists, party=party)
        self._require_new_key(party, public_key, proof)

        if not self.organisation_roles.exists(organisation, ADMIN):
            self.organisation_roles.insert(OrganisationRole(organisation=organisation, permission=ADMIN))
        self._insert_party(party, organisation, PartyKind.PERSON, name, (ADMIN,))
        self._insert_key(party, public_key, self.now, None)

        self.emit(AdministratorAppointed(organisation=organisation, party=party))

    # the council, for the members

    @command(callers_only=True)
    def decide_status(self, organisation: Code, status: Status) -> None:
        """Suspend, reinstate or close an organisation, as its members have decided."""
        self._require_council()
        row = self._organisation(organisation)
        require(row.status is not Status.CLOSED and row.status != status, WrongStatus, status=row.status)
        self._set_organisation_status(row, status)

    @command(callers_only=True)
    def decide_role(self, organisation: Code, permission: Code, granted: bool) -> None:
        """Give a permission to an organisation, or take it, as the members have decided; what is so already stays."""
        self._require_council()
        row = self._organisation(organisation)
        require(row.status is not Status.CLOSED, WrongStatus, status=row.status)
        self._require_permissions((permission,))
        if self.organisation_roles.exists(organisation, permission) == granted:
            return
        if granted:
            self._grant_to_organisation(organisation, permission)
        else:
            self._withdraw_from_organisation(organisation, permission)

    # an administrator, about the parties of its organisation

    @command(role="admin")
    def register_party(
        self,
        party: Code,
        kind: PartyKind,
        name: Name,
        permissions: tuple[Code, ...],
        public_key: PublicKeyBytes,
        proof: Blob,
    ) -> None:
        """Register a person, device or service of the signer's organisation, with its first key.

        ``permissions`` are given to it, each one that the organisation holds.
        """
        self._require_direct()
        organisation = self.sender.organisation
        require(not self.parties.exists(party), PartyExists, party=party)
        self._require_permissions(permissions)
        for permission in permissions:
            self._require_held(organisation, permission)
        self._require_new_key(party, public_key, proof)

        self._insert_party(party, organisation, kind, name, permissions)
        self._insert_key(party, public_key, self.now, None)

        self.emit(PartyRegistered(party=party, organisation=organisation))

    @command
    def suspend_party(self, party: Code) -> None:
        """Let an active party sign nothing until it is reinstated; by an administrator of its organisation, or by a
        registrar about a party of another organisation.
        """
        row = self._party_to_take_from(party)
        require(row.status is Status.ACTIVE, WrongStatus, status=row.status)
        self._require_administrator_besides(row)
        self._set_party_status(row, Status.SUSPENDED)

    @command(role="admin")
    def reinstate_party(self, party: Code) -> None:
        """Let a suspended party of the signer's organisation sign again."""
        row = self._own_party(party)
        require(row.status is Status.SUSPENDED, WrongStatus, status=row.status)
        self._set_party_status(row, Status.ACTIVE)

    @command(role="admin")
    def close_party(self, party: Code) -> None:
        """End a party of the signer's organisation. This is final."""
        row = self._own_party(party)
        require(row.status is not Status.CLOSED, WrongStatus, status=row.status)
        self._require_administrator_besides(row)
        self._set_party_status(row, Status.CLOSED)

    @command(role="admin")
    def grant_role(self, party: Code, permission: Code) -> None:
        """Give a permission that the organisation holds to one of its parties."""
        row = self._own_party(party)
        require(row.status is not Status.CLOSED, WrongStatus, status=row.status)
        self._require_permissions((permission,))
        self._require_held(row.organisation, permission)
        require(not self.party_roles.exists(party, permission), AlreadyGranted, permission=permission)

        self._insert_role(row.organisation, party, permission)

        self.emit(RoleGranted(party=party, permission=permission))

    @command(role="admin")
    def withdraw_role(self, party: Code, permission: Code) -> None:
        """Take a permission from a party of the signer's organisation."""
        row = self._own_party(party)
        granted = self.party_roles.get(party, permission)
        if granted is None:
            raise NotGranted(permission=permission)
        if permission == ADMIN:
            self._require_administrator_besides(row)

        self.party_roles.delete(granted)
        if permission == ADMIN:
            self.administrators.delete(Administrator(organisation=row.organisation, party=party))

        self.emit(RoleWithdrawn(party=party, permission=permission))

    # keys

    @command
    def add_key(
        self, party: Code, public_key: PublicKeyBytes, proof: Blob, valid_until: Timestamp | None = None
    ) -> None:
        """Let a further key sign for a party at once, until ``valid_until`` if that is given; by the party itself or
        an administrator of its organisation.

        A party cannot give itself a key that outlives the one it signs with; an administrator can.
        """
        row = self._party_for_itself(party)
        require(row.status is not Status.CLOSED, WrongStatus, status=row.status)
        self._require_new_key(party, public_key, proof)
        latest = self._end_of_signing_key(party)
        end = latest if valid_until is None else valid_until
        if end is not None:
            self._require_between(end, self.now + 1, latest)

        self._insert_key(party, public_key, self.now, end)

        self.emit(KeyAdded(party=party, public_key=public_key))

    @command
    def rotate_key(
        self, public_key: PublicKeyBytes, proof: Blob, takes_over_at: Timestamp | None = None
    ) -> None:
        """Replace the key that signs this transaction by a new one, at once or at ``takes_over_at``.

        Until then the old key signs, and from then on the new one, which ends when the old one would have ended. At
        most 90 days ahead.
        """
        self._require_direct()
        party = self.sender.party
        old = self._key(self.sender.key)
        self._require_new_key(party, public_key, proof)
        at = self.now if takes_over_at is None else takes_over_at
        latest = self.now + ROTATION_AHEAD_MS_MAX
        if old.valid_until is not None:
            latest = min(latest, old.valid_until - 1)
        self._require_between(at, self.now, latest)

        self.keys.update(old, valid_until=at)
        self._insert_key(party, public_key, at, old.valid_until)

        self.emit(KeyRotated(party=party, old=old.public_key, new=public_key, takes_over_at=at))

    @command
    def revoke_key(self, public_key: PublicKeyBytes) -> None:
        """Let a key sign nothing from this block's time on; by its party, an administrator of its organisation, or a
        registrar about a key of another organisation.

        A party does not revoke its last key that works: it rotates it, or an administrator revokes it.
        """
        self._require_direct()
        row = self._key(public_key)
        party = self._party(row.party)
        own = party.id == self.sender.party
        if not own:
            self._require_may_take_from(party)
        require(self._works(row), KeyEnded)
        require(not own or self._has_other_key(row), LastKey, party=party.id)

        self.keys.update(row, revoked_at=self.now)

        self.emit(KeyRevoked(party=party.id, public_key=public_key))

    # reading

    @query
    def is_active(self, party: Code) -> bool:
        """Whether the party exists, and it and its organisation are active."""
        row = self.parties.get(party)
        if row is None or row.status is not Status.ACTIVE:
            return False
        organisation = self.organisations.get(row.organisation)
        return organisation is not None and organisation.status is Status.ACTIVE

    @query
    def status_of(self, organisation: Code) -> Status | None:
        """The status of an organisation, or None where there is no such organisation."""
        row = self.organisations.get(organisation)
        return None if row is None else row.status

    @query
    def organisation_of(self, party: Code) -> Code | None:
        """The organisation of a party, or None where there is no such party."""
        row = self.parties.get(party)
        return None if row is None else row.organisation

    @query
    def has_permission(self, party: Code, permission: Code) -> bool:
        """Whether an active party holds a permission, by its organisation's right and its own grant."""
        row = self.parties.get(party)
        return (
            row is not None
            and self.is_active(party)
            and self.organisation_roles.exists(row.organisation, permission)
            and self.party_roles.exists(party, permission)
        )

    # genesis

    def found(
        self,
        organisations: list[
            tuple[
                str, str, str, tuple[str, ...], tuple[tuple[str, PartyKind, str, tuple[str, ...], bytes], ...]
            ]
        ],
    ) -> None:
        """Insert the founding rows: for each organisation (id, name, jurisdiction, permissions, parties), for each
        party (id, kind, name, permissions, public key).

        Members compare the genesis document before they start, so no proofs of possession are in it.
        """
        for organisation, name, jurisdiction, permissions, parties in organisations:
            require(
                not self.organisations.exists(organisation), OrganisationExists, organisation=organisation
            )
            self._require_permissions(permissions)
            self._insert_organisation(organisation, name, jurisdiction, permissions)
            for party, kind, party_name, granted, public_key in parties:
                require(not self.parties.exists(party), PartyExists, party=party)
                self._require_permissions(granted)
                for permission in granted:
                    self._require_held(organisation, permission)
                require(is_acceptable_key(public_key), KeyNotAcceptable)
                require(not self.keys.exists(public_key), KeyExists)
                self._insert_party(party, organisation, kind, party_name, granted)
                self._insert_key(party, public_key, self.now, None)

    # guards

    def _require_direct(self) -> None:
        if self.caller:
            raise OnlyByTransaction(caller=self.caller)

    def _require_council(self) -> None:
        require(self.caller == COUNCIL, OnlyByCouncil, caller=self.caller)

    def _require_own_to_give(self, organisation: str, permission: str) -> None:
        """A registrar may give and take the permission: it is no platform contract's, or there is nobody to vote."""
        platform = permission.split(":")[0] in PLATFORM and permission != ADMIN
        votes = platform and self.governance.member_count() > 1
        require(not votes, DecidedByVote, organisation=organisation)

    def _organisation_without_vote(self, organisation: str) -> Organisation:
        """Another organisation, which is not one of several members."""
        row = self._other_organisation(organisation)
        votes = self.governance.is_decided_by_vote(organisation)
        require(not votes, DecidedByVote, organisation=organisation)
        return row

    def _organisation(self, organisation: str) -> Organisation:
        row = self.organisations.get(organisation)
        if row is None:
            raise UnknownOrganisation(organisation=organisation)
        return row

    def _other_organisation(self, organisation: str) -> Organisation:
        self._require_direct()
        row = self._organisation(organisation)
        require(organisation != self.sender.organisation, OwnOrganisation, organisation=organisation)
        return row

    def _party(self, party: str) -> Party:
        row = self.parties.get(party)
        if row is None:
            raise UnknownParty(party=party)
        return row

    def _own_party(self, party: str) -> Party:
        self._require_direct()
        row = self._party(party)
        require(
            row.organisation == self.sender.organisation, OtherOrganisation, organisation=row.organisation
        )
        return row

    def _party_to_take_from(self, party: str) -> Party:
        self._require_direct()
        row = self._party(party)
        self._require_may_take_from(row)
        return row

    def _require_may_take_from(self, party: Party) -> None:
        """An administrator of the party's organisation, or a registrar of another."""
        if party.organisation == self.sender.organisation:
            require(self.has_role("admin"), NotTheParty, party=party.id)
        else:
            require(self.has_role("registrar"), OtherOrganisation, organisation=party.organisation)
            votes = self.governance.is_decided_by_vote(party.organisation)
            require(not votes, DecidedByVote, organisation=party.organisation)

    def _party_for_itself(self, party: str) -> Party:
        """The party itself, or an administrator of its organisation."""
        row = self._own_party(party)
        require(party == self.sender.party or self.has_role("admin"), NotTheParty, party=party)
        return row

    def _key(self, public_key: bytes) -> Key:
        row = self.keys.get(public_key)
        if row is None:
            raise UnknownKey
        return row

    def _require_permissions(self, permissions: tuple[str, ...]) -> None:
        for permission in permissions:
            require(is_permission(permission), NotAPermission, permission=permission)

    def _require_held(self, organisation: str, permission: str) -> None:
        require(
            self.organisation_roles.exists(organisation, permission), PermissionNotHeld, permission=permission
        )

    def _require_new_key(self, party: str, public_key: bytes, proof: bytes) -> None:
        require(is_acceptable_key(public_key), KeyNotAcceptable)
        require(not self.keys.exists(public_key), KeyExists)
        require(proves_possession(self.network, party, public_key, proof), PossessionNotProven)
        count = len(list(self.keys.find(party, limit=KEYS_PER_PARTY_MAX)))
        require(count < KEYS_PER_PARTY_MAX, TooManyKeys, most=KEYS_PER_PARTY_MAX)

    def _require_between(self, time: int, earliest: int, latest: int | None) -> None:
        inside = earliest <= time and (latest is None or time <= latest)
        require(inside, TimeOutOfRange, earliest=earliest, latest=time if latest is None else latest)

    def _end_of_signing_key(self, party: str) -> int | None:
        """The end of the key that signs, where a party adds a key for itself without being an administrator."""
        if self.has_role("admin"):
            return None
        return self._key(self.sender.key).valid_until if party == self.sender.party else None

    def _works(self, row: Key) -> bool:
        """Whether a key signs now or will, as far as is known now."""
        return row.revoked_at is None and (row.valid_until is None or row.valid_until > self.now)

    def _has_other_key(self, besides: Key) -> bool:
        return any(
            self._works(row) for row in self.keys.find(besides.party) if row.public_key != besides.public_key
        )

    def _can_act(self, party: str) -> bool:
        row = self._party(party)
        return row.status is Status.ACTIVE and any(self._works(one) for one in self.keys.find(party))

    def _require_administrator_besides(self, party: Party) -> None:
        """Refuse to remove the last administrator who can act; a registrar may, of another organisation."""
        organisation = party.organisation
        if organisation != self.sender.organisation:
            return
        if not self.administrators.exists(organisation, party.id) or not self._can_act(party.id):
            return
        others = any(
            self._can_act(row.party)
            for row in self.administrators.find(organisation)
            if row.party != party.id
        )
        require(others, LastAdministrator, organisation=organisation)

    # effects

    def _insert_organisation(
        self, organisation: str, name: str, jurisdiction: str, permissions: tuple[str, ...]
    ) -> None:
        self.organisations.insert(
            Organisation(id=organisation, name=name, jurisdiction=jurisdiction, status=Status.ACTIVE)
        )
        for permission in permissions:
            if not self.organisation_roles.exists(organisation, permission):
                self.organisation_roles.insert(
                    OrganisationRole(organisation=organisation, permission=permission)
                )

    def _grant_to_organisation(self, organisation: str, permission: str) -> None:
        require(
            not self.organisation_roles.exists(organisation, permission),
            AlreadyGranted,
            permission=permission,
        )

        self.organisation_roles.insert(OrganisationRole(organisation=organisation, permission=permission))

        self.emit(OrganisationRoleGranted(organisation=organisation, permission=permission))

    def _withdraw_from_organisation(self, organisation: str, permission: str) -> None:
        row = self.organisation_roles.get(organisation, permission)
        if row is None:
            raise NotGranted(permission=permission)

        self.organisation_roles.delete(row)

        self.emit(OrganisationRoleWithdrawn(organisation=organisation, permission=permission))

    def _insert_party(
        self, party: str, organisation: str, kind: PartyKind, name: str, permissions: tuple[str, ...]
    ) -> None:
        self.parties.insert(
            Party(id=party, organisation=organisation, kind=kind, name=name, status=Status.ACTIVE)
        )
        for permission in permissions:
            if not self.party_roles.exists(party, permission):
                self._insert_role(organisation, party, permission)

    def _insert_role(self, organisation: str, party: str, permission: str) -> None:
        self.party_roles.insert(PartyRole(party=party, permission=permission))
        if permission == ADMIN:
            self.administrators.insert(Administrator(organisation=organisation, party=party))

    def _insert_key(self, party: str, public_key: bytes, valid_from: int, valid_until: int | None) -> None:
        self.keys.insert(
            Key(
                public_key=public_key,
                party=party,
                valid_from=valid_from,
                valid_until=valid_until,
                revoked_at=None,
                added_at=self.height,
            )
        )

    def _set_organisation_status(self, row: Organisation, status: Status) -> None:
        self.organisations.update(row, status=status)
        self.emit(OrganisationStatusChanged(organisation=row.id, status=status))

    def _set_party_status(self, row: Party, status: Status) -> None:
        self.parties.update(row, status=status)
        self.emit(PartyStatusChanged(party=row.id, status=status))

    # laws

    @invariant
    def everything_belongs_to_somebody(self) -> None:
        """Each party, role and key belongs to an organisation or party that exists."""
        for party in self.parties.find(index=()):
            assert self.organisations.exists(party.organisation), party.id
        for public_key in self.keys.find(index=()):
            assert self.parties.exists(public_key.party), public_key.party
        for given in self.organisation_roles.find():
            assert self.organisations.exists(given.organisation), given.organisation
        for granted in self.party_roles.find(index=()):
            assert self.parties.exists(granted.party), granted.party

    @invariant
    def administrators_are_the_parties_granted_it(self) -> None:
        """The table of administrators is the grants of ``parties:admin``, and each party is in its own organisation."""
        granted = [row.party for row in self.party_roles.find(ADMIN)]
        listed = list(self.administrators.find())
        assert sorted(row.party for row in listed) == sorted(granted)
        for row in listed:
            party = self.parties.get(row.party)
            assert party is not None, row.party
            assert party.organisation == row.organisation, row.party
