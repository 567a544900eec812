"""A contract with invoices that can be disputed: for tests of cases."""

from guildbook.contract import (
    Code,
    Contract,
    Digest,
    NonNegative,
    Positive,
    Record,
    Rejected,
    Table,
    Timestamp,
    command,
    key,
    require,
    use,
)
from guildbook.foundation.cases import Cases, Outcome, Visibility, Wanted


class Invoice(Record):
    """What is owed."""

    id: Code = key()
    debtor: Code
    open_minor: NonNegative


class InvoiceFrozen(Rejected):
    """The invoice, or so much of it, is disputed."""

    invoice: Code
    free_minor: NonNegative


class Docket(Contract, name="docket", version=1):
    """Invoices, and the cases about them."""

    cases = use(Cases)
    invoices = Table(Invoice)
    rejections = (InvoiceFrozen,)

    @command
    def enter(self, invoice: Code, debtor: Code, amount_minor: NonNegative) -> None:
        """Enter an invoice."""
        self.invoices.insert(Invoice(id=invoice, debtor=debtor, open_minor=amount_minor))

    @command
    def pay(self, invoice: Code, amount_minor: Positive) -> None:
        """Pay of an invoice what is not frozen."""
        row = self.invoices.get(invoice)
        assert row is not None
        whole = self.cases.frozen("docket", "invoices", invoice)
        free = 0 if whole else max(row.open_minor - self.cases.frozen_minor("docket", "invoices", invoice), 0)
        require(amount_minor <= free, InvoiceFrozen, invoice=invoice, free_minor=free)
        self.invoices.update(row, open_minor=row.open_minor - amount_minor)

    @command
    def dispute(
        self,
        reference: Code,
        invoice: Code,
        respondent: Code | None = "shop",
        frozen_minor: Positive | None = None,
        freezes: tuple[Wanted, ...] = (),
        until: Timestamp | None = None,
        amount_minor: NonNegative | None = None,
        currency: Code | None = None,
        appeal_decider: Code | None = "docket:appeal",
        appeal_days: NonNegative = 10,
        calendar: Code | None = None,
        minutes: Positive | None = None,
        visibility: Visibility = Visibility.PARTIES,
        readers: tuple[Code, ...] = (),
    ) -> int:
        """Dispute an invoice."""
        if until is not None:
            freezes = (Wanted(table="invoices", subject=invoice, amount_minor=frozen_minor, until=until),)
        debtor = self.invoices.get(invoice)
        assert debtor is not None
        return self.cases.open(
            reference, "invoices", invoice, "not_delivered", "docket:judge", respondent=respondent,
            amount_minor=amount_minor, currency=currency, freezes=freezes, appeal_decider=appeal_decider,
            appeal_days=appeal_days, calendar=calendar, minutes=minutes, visibility=visibility, readers=readers,
        )  # fmt: skip

    @command
    def freeze(self, case: Positive, invoice: Code, amount_minor: Positive | None, until: Timestamp) -> int:
        """Freeze more."""
        return self.cases.freeze(case, "invoices", invoice, amount_minor, until)

    @command
    def freeze_money(
        self, case: Positive, account: Code, into: Code, amount_minor: Positive, until: Timestamp
    ) -> int:
        """Freeze money."""
        return self.cases.freeze_money(case, account, into, amount_minor, until)

    @command
    def release(self, freeze: Positive) -> None:
        """Release a freeze."""
        self.cases.release(freeze)

    @command
    def speak(self, case: Positive) -> int:
        """Let anybody speak."""
        return self.cases.speak(case, "heard", bytes(32))

    @command
    def close(self, case: Positive) -> int:
        """Close a case; an invoice that was rightly disputed is no longer owed."""
        return self.cases.close(case)

    @command
    def withdraw(self, case: Positive) -> None:
        """Withdraw a case."""
        self.cases.withdraw(case)

    @command
    def investigate(self, evidence: Digest) -> int:
        """Try to open an investigation with the signer's permission."""
        assert evidence
        return self.cases.investigate("mine", "docket", "invoices", "i-1", "suspicion")

    @command
    def decide(self, case: Positive) -> None:
        """Decide through this contract."""
        self.cases.decide(case, Outcome.SETTLED, "agreed", "")
