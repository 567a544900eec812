"""A contract that does with documents, messages and consents what its callers ask: for tests of who may do what."""

from guildbook.contract import (
    Code,
    Contract,
    Digest,
    Name,
    NonNegative,
    Positive,
    Text,
    Timestamp,
    command,
    sha256,
    use,
)
from guildbook.foundation.consents import Consents, Kind, Mode
from guildbook.foundation.documents import Actor, Documents, Fingerprint
from guildbook.foundation.messages import Entry, Messages, SourceField


class Clerk(Contract, name="clerk", version=1):
    """Passes calls on."""

    consents = use(Consents)
    documents = use(Documents)
    messages = use(Messages)

    @command
    def register(
        self,
        document: Code,
        issuer: Code,
        digest: Digest,
        capacity_minor: NonNegative,
        fingerprints: tuple[Fingerprint, ...] = (),
    ) -> int:
        """Register an invoice in the scope ``trade``, kept by this contract."""
        return self.documents.register(
            document, "invoice", "trade", issuer, digest, "EUR", capacity_minor, capacity_minor, fingerprints
        )

    @command
    def encumber(
        self,
        reference: Code,
        document: Code,
        amount_minor: Positive,
        holder: Code,
        purpose: Code,
        expires_at: Timestamp | None = None,
    ) -> int:
        """Encumber a document."""
        return self.documents.encumber(reference, document, amount_minor, holder, purpose, expires_at)

    @command
    def release(self, reference: Code, encumbrance: Positive, amount_minor: Positive | None = None) -> int:
        """Release an encumbrance."""
        return self.documents.release(reference, encumbrance, amount_minor)

    @command
    def settle(self, reference: Code, encumbrance: Positive, amount_minor: Positive | None = None) -> int:
        """Settle an encumbrance."""
        return self.documents.settle(reference, encumbrance, amount_minor)

    @command
    def hand_on(self, encumbrance: Positive, holder: Code, purpose: Code) -> None:
        """Hand an encumbrance on."""
        self.documents.hand_on(encumbrance, holder, purpose)

    @command
    def prolong(self, encumbrance: Positive, expires_at: Timestamp | None, purpose: Code) -> None:
        """Prolong an encumbrance."""
        self.documents.prolong(encumbrance, expires_at, purpose)

    @command
    def permit(self, document: Code, kind: Actor, grantee: Code, limit_minor: Positive, until: Timestamp) -> None:
        """Permit somebody."""
        self.documents.permit(document, kind, grantee, limit_minor, until)

    @command
    def suspend(self, document: Code, reason: Text) -> None:
        """Suspend a document."""
        self.documents.suspend(document, reason)

    @command
    def open_channel(self, channel: Code, counterparty: Code, deliverer: Code) -> None:
        """Open a channel with one deliverer."""
        self.messages.open_channel(channel, counterparty)
        self.messages.admit(channel, deliverer)

    @command
    def take(self, channel: Code, message_id: Name, digest: Digest, entries: tuple[Entry, ...]) -> int:
        """Take a message in."""
        return self.messages.take(channel, "camt.054.001.08", "BANKXX", message_id, digest, entries)

    @command
    def expect(self, channel: Code, kind: Code, value: Name, reference: Code) -> tuple[int, ...]:
        """Expect an identifier."""
        return self.messages.expect(channel, kind, value, reference)

    @command
    def quarantine(self, message: Positive, position: Positive, reason: Text) -> None:
        """Set an item aside."""
        self.messages.quarantine(message, position, reason)

    @command
    def resolve(self, message: Positive, position: Positive, reference: Code | None = None) -> None:
        """Resolve an item."""
        self.messages.resolve(message, position, "looked-at", "as agreed by telephone", reference)

    @command
    def queue(self, channel: Code, kind: Code, reference: Code, source: tuple[SourceField, ...]) -> int:
        """Queue an outbound message."""
        return self.messages.queue(channel, kind, "pain.001.001.09", reference, source)

    @command
    def open_collection(self, collection: Code, data_types: tuple[Code, ...]) -> None:
        """Open a collection."""
        self.consents.open_collection(collection, data_types)

    @command
    def give_consent(self, subject: Code, recipient: Code, collection: Code) -> int:
        """Try to give a consent for the signer."""
        types = ("turnover",)
        return self.consents.give(
            "c", Kind.PARTY, subject, recipient, collection, types, "loan", Mode.VIEW, self.now + 1_000
        )

    @command
    def ask(self, subject: Code, collection: Code) -> int:
        """Ask whether the signer may read about an organisation for a loan."""
        return self.consents.may(self.sender.party, Kind.ORGANISATION, subject, collection, "loan")

    @command
    def record_read(self, reference: Code, consent: Positive, reader: Code, data_type: Code) -> int:
        """Record a read."""
        request = sha256(b"request")
        return self.consents.record_read(reference, consent, reader, "loan", Mode.VIEW, (data_type,), 1, request)
