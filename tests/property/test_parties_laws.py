"""The laws of identity under random calls by random signers: nobody acts for another organisation, and nobody is
locked out but by a registrar of another organisation.
"""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from guildbook.contract import Rejected
from guildbook.contract.contract import Context, Sender
from guildbook.contract.keys import possession_statement
from guildbook.foundation.governance import Governance
from guildbook.foundation.parties import Parties
from guildbook.primitives.keys import SigningKey
from guildbook.runtime.identity import PartyKind, Status, holds, resolve_sender
from guildbook.state.kv import MemoryStore
from guildbook.state.overlay import Overlay
from guildbook.testing.ledger import test_key

ORGANISATIONS = ("council", "shop", "mill")
PERMISSIONS = ("parties:admin", "parties:registrar", "points:issuer")
ROLED = {
    name: spec.permission for name, spec in Parties.commands.items() if spec.permission is not None
}  # what the runtime checks before the command

numbers = st.integers(0, 30)
organisations = st.sampled_from(ORGANISATIONS)
permissions = st.sampled_from(PERMISSIONS)


class PartiesMachine(RuleBasedStateMachine):
    """Three organisations, each with two administrators; only two of them hold the registrar's permission.

    After each call: unless its signer is a registrar, it changed nothing of another organisation; and it did not
    leave its signer's own organisation without an administrator.
    """

    @initialize()
    def found(self) -> None:
        self.overlay = Overlay(MemoryStore())
        self.context = Context("test-net", 1, 1_000_000)
        self.contract = Parties(self.overlay, self.context)
        self.contract.bind_use("governance", Governance(self.overlay, self.context))
        self.keys: dict[bytes, SigningKey] = {}
        self.drawn = 0
        self.contract.found(
            [
                (
                    one,
                    one,
                    "XX",
                    PERMISSIONS if one != "mill" else ("parties:admin",),
                    tuple(
                        (
                            f"{one}-{n}",
                            PartyKind.PERSON,
                            "A",
                            PERMISSIONS if one != "mill" else ("parties:admin",),
                            self.new_key(),
                        )
                        for n in range(2)
                    ),
                )
                for one in ORGANISATIONS
            ]
        )

    def new_key(self) -> bytes:
        self.drawn += 1
        key = test_key(f"key {self.drawn}")
        self.keys[key.public_key] = key
        return key.public_key

    def proven(self, party: str) -> tuple[bytes, bytes]:
        public_key = self.new_key()
        return public_key, self.keys[public_key].sign(possession_statement("test-net", party, public_key))

    def party(self, number: int) -> str:
        ids = [row.id for row in self.contract.parties.find(index=())]
        return ids[number % len(ids)]

    def snapshot(self) -> dict[str, list]:
        """What belongs to each organisation."""
        owner = {row.id: row.organisation for row in self.contract.parties.find(index=())}
        found: dict[str, list] = {one: [] for one in ORGANISATIONS}
        for row in self.contract.parties.find(index=()):
            found[row.organisation].append(row)
        for table in (self.contract.keys, self.contract.party_roles):
            for one in table.find(index=()):
                found[owner[one.party]].append(one)
        return found

    def call(self, signer: int, command: str, *arguments) -> None:
        """One transaction: resolved, permitted and run as the runtime does it; refusals leave no trace."""
        able = [
            sender
            for one in sorted(self.keys)
            if isinstance(sender := resolve_sender(self.overlay, one, self.context.now), Sender)
        ]
        if not able:
            return
        sender = able[signer % len(able)]
        self.context.sender = sender
        self.context.permissions = lambda permission: holds(self.overlay, sender, permission)
        permission = ROLED.get(command)
        if permission is not None and not holds(self.overlay, sender, permission):
            return
        registrar = holds(self.overlay, sender, "parties:registrar")
        before, could_act = self.snapshot(), self.administrators(sender.organisation)
        active = {row.id: row.status for row in self.contract.organisations.find()}
        mark = self.overlay.begin(1 << 62)
        self.context.events, self.context.events_max = [], 100
        try:
            getattr(self.contract, command)(*arguments)
        except Rejected:
            self.overlay.rollback(mark)
            return
        after = self.snapshot()
        changed = {one for one in ORGANISATIONS if before[one] != after[one]}
        changed |= {row.id for row in self.contract.organisations.find() if active[row.id] is not row.status}
        if not registrar:
            assert changed <= {sender.organisation}, (command, changed)
        if could_act:
            assert self.administrators(sender.organisation), (command, arguments)

    # calls

    @rule(signer=numbers, step=st.sampled_from(("suspend", "reinstate", "close")), organisation=organisations)
    def organisation_step(self, signer, step, organisation):
        self.call(signer, f"{step}_organisation", organisation)

    @rule(signer=numbers, organisation=organisations, permission=permissions, grant=st.booleans())
    def organisation_role(self, signer, organisation, permission, grant):
        self.call(signer, f"{'grant' if grant else 'withdraw'}_organisation_role", organisation, permission)

    @rule(signer=numbers, step=st.sampled_from(("suspend", "reinstate", "close")), party=numbers)
    def party_step(self, signer, step, party):
        self.call(signer, f"{step}_party", self.party(party))

    @rule(signer=numbers, party=numbers, permission=permissions, grant=st.booleans())
    def role(self, signer, party, permission, grant):
        self.call(signer, f"{'grant' if grant else 'withdraw'}_role", self.party(party), permission)

    @rule(signer=numbers, held=st.lists(permissions, max_size=2))
    def register(self, signer, held):
        party = f"new-{self.drawn}"
        self.call(signer, "register_party", party, PartyKind.DEVICE, "N", tuple(held), *self.proven(party))

    @rule(signer=numbers, party=numbers)
    def add_key(self, signer, party):
        name = self.party(party)
        self.call(signer, "add_key", name, *self.proven(name))

    @rule(signer=numbers, party=numbers, later=st.one_of(st.none(), st.integers(0, 5_000)))
    def rotate_key(self, signer, party, later):
        at = None if later is None else self.context.now + later
        self.call(signer, "rotate_key", *self.proven(self.party(party)), at)

    @rule(signer=numbers, public_key=numbers)
    def revoke_key(self, signer, public_key):
        public_keys = sorted(self.keys)
        self.call(signer, "revoke_key", public_keys[public_key % len(public_keys)])

    @rule(signer=numbers, organisation=organisations)
    def appoint(self, signer, organisation):
        party = f"new-{self.drawn}"
        self.call(signer, "appoint_administrator", organisation, party, "N", *self.proven(party))

    @rule(milliseconds=st.integers(1, 3_000))
    def time_passes(self, milliseconds):
        self.context.now += milliseconds

    # laws

    def administrators(self, organisation: str) -> list[str]:
        """Those who can act as administrators now or as soon as their next key takes over."""
        return [
            row.party
            for row in self.contract.administrators.find(organisation)
            if (party := self.contract.parties.get(row.party)) is not None
            and party.status is Status.ACTIVE
            and any(
                key.revoked_at is None and (key.valid_until is None or key.valid_until > self.context.now)
                for key in self.contract.keys.find(row.party)
            )
        ]

    @invariant()
    def the_network_keeps_an_active_registrar_organisation(self):
        assert any(
            row.status is Status.ACTIVE and self.contract.organisation_roles.exists(row.id, "parties:registrar")
            for row in self.contract.organisations.find()
        )

    @invariant()
    def the_contracts_own_laws_hold(self):
        for law in Parties.invariants:
            getattr(self.contract, law)()


TestParties = PartiesMachine.TestCase
TestParties.settings = settings(settings(), stateful_step_count=60)
