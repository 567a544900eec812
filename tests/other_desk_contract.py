"""A second contract, which tries what only the first may."""

from guildbook.contract import Code, Contract, Digest, Positive, command, use
from guildbook.foundation.approvals import Approvals


class OtherDesk(Contract, name="other_desk", version=1):
    """Tries to use proposals of another contract."""

    approvals = use(Approvals)

    @command
    def carry_out(self, proposal: Positive, payload: Digest) -> None:
        """Try to take a proposal."""
        self.approvals.take(proposal, payload)

    @command
    def cancel(self, proposal: Positive, reason: Code) -> None:
        """Try to cancel a proposal."""
        self.approvals.cancel(proposal, reason)

    @command
    def approve(self, proposal: Positive, stage: Code, payload: Digest) -> bool:
        """Try to approve with the signer's permission."""
        return self.approvals.approve(proposal, stage, payload)

    @command
    def recuse(self, proposal: Positive) -> None:
        """Try to keep the signer out."""
        self.approvals.recuse(proposal, "mine")
