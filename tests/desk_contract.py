"""A contract that does with approvals, calendars and cases what its callers ask: for tests of the foundations."""

from guildbook.contract import Code, Contract, Digest, NonNegative, Positive, Text, Timestamp, command, use
from guildbook.foundation.approvals import Approvals, Executor, Named, Stage


class Desk(Contract, name="desk", version=1):
    """Passes calls on."""

    approvals = use(Approvals)

    @command(role="clerk")
    def publish(
        self,
        policy: Code,
        stages: tuple[Stage, ...],
        life_ms: Positive = 864_000_000,
        currency: Code | None = None,
        direct: bool = True,
        executor: Executor = Executor.NOT_PROPOSER,
        overriders: tuple[Code, ...] = (),
        reviewer: Code | None = None,
        review_ms: NonNegative = 0,
    ) -> int:
        """Publish a policy of this contract."""
        return self.approvals.publish_policy(
            policy, stages, life_ms, currency, direct, executor, overriders, reviewer, review_ms
        )

    @command
    def ask(
        self,
        reference: Code,
        payload: Digest,
        policy: Code = "payment",
        state_version: NonNegative = 0,
        amount_minor: NonNegative | None = None,
        currency: Code | None = None,
        organisation: Code | None = None,
        named: tuple[Named, ...] = (),
        excluded: tuple[Code, ...] = (),
        expires_at: Timestamp | None = None,
    ) -> int:
        """Open a proposal."""
        return self.approvals.open(
            reference, policy, "pay", "line-1", payload, state_version, amount_minor, currency, organisation, named,
            excluded, expires_at,
        )  # fmt: skip

    @command(role="teller")
    def carry_out(self, proposal: Positive, payload: Digest, state_version: NonNegative = 0) -> None:
        """Take a proposal."""
        self.approvals.take(proposal, payload, state_version)

    @command
    def cancel(self, proposal: Positive, reason: Code) -> None:
        """Cancel a proposal."""
        self.approvals.cancel(proposal, reason)

    @command(role="reviewer")
    def approve(self, proposal: Positive, stage: Code, payload: Digest) -> bool:
        """Approve through this contract."""
        return self.approvals.approve(proposal, stage, payload)

    @command(role="approver")
    def confirm(self, policy: Code, version: Positive) -> None:
        """Try to confirm a policy."""
        self.approvals.confirm_policy(policy, version)

    @command(role="director")
    def delegate(self, to: Code, permission: Code, valid_from: Timestamp, valid_until: Timestamp) -> None:
        """Try to delegate."""
        self.approvals.delegate(to, permission, valid_from, valid_until)

    @command(role="auditor")
    def end_delegation(self, delegation: Positive, reason: Text = "") -> None:
        """Try to end a delegation."""
        assert reason is not None
        self.approvals.end_delegation(delegation)
