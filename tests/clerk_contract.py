"""A contract that does with documents, messages and consents what its callers ask: for tests of who may do what."""

from guildbook.contract import Code, Contract, Digest, NonNegative, Positive, Text, Timestamp, command, use
from guildbook.foundation.documents import Actor, Documents, Fingerprint


class Clerk(Contract, name="clerk", version=1):
    """Passes calls on."""

    documents = use(Documents)

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
