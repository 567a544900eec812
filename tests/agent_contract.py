"""A contract that does with money what its callers ask: for tests of what a contract may do."""

from guildbook.contract import Code, Contract, Positive, Text, Timestamp, command, use
from guildbook.foundation.money import AccountState, Guard, Money, OwnerKind, Transfer


class Agent(Contract, name="agent", version=1):
    """Passes calls on."""

    money = use(Money)

    @command
    def open_ledger(self, ledger: Code, currency: Code) -> None:
        """Open a ledger that this contract keeps."""
        self.money.open_ledger(ledger, currency)

    @command
    def open_account(self, account: Code, ledger: Code, owner_kind: OwnerKind, owner: Code, guard: Guard) -> None:
        """Open an account."""
        self.money.open_account(account, ledger, owner_kind, owner, guard)

    @command
    def close_account(self, account: Code) -> None:
        """Close an account."""
        self.money.close_account(account)

    @command
    def transfer(self, reference: Code, debit: Code, credit: Code, amount_minor: int) -> int:
        """Transfer any amount: what a contract hands on is not checked on the way."""
        return self.money.transfer(reference, debit, credit, amount_minor, "test")

    @command
    def post(self, reference: Code, transfers: tuple[Transfer, ...]) -> tuple[int, ...]:
        """Post a batch."""
        return self.money.post(reference, transfers)

    @command
    def hold(self, reference: Code, debit: Code, credit: Code, amount_minor: Positive, expires_at: Timestamp) -> int:
        """Hold an amount."""
        return self.money.hold(reference, debit, credit, amount_minor, expires_at, "test")

    @command
    def post_hold(self, reference: Code, hold: Positive, amount_minor: int | None = None) -> int:
        """Post a hold."""
        return self.money.post_hold(reference, hold, amount_minor)

    @command
    def void_hold(self, reference: Code, hold: Positive) -> int:
        """Void a hold."""
        return self.money.void_hold(reference, hold)

    @command
    def reverse(self, reference: Code, entry: Positive) -> int:
        """Reverse an entry."""
        return self.money.reverse(reference, entry, "correction")

    @command
    def freeze(self, account: Code, state: AccountState, reason: Text) -> None:
        """Try to freeze an account."""
        self.money.freeze(account, state, reason)

    @command
    def unfreeze(self, account: Code) -> None:
        """Try to unfreeze an account."""
        self.money.unfreeze(account)

    @command
    def add_currency(self, currency: Code) -> None:
        """Try to add a currency."""
        self.money.add_currency(currency, 2)

    @command
    def give_mandate(self, account: Code, valid_until: Timestamp) -> None:
        """Try to give itself a mandate."""
        self.money.give_mandate(account, "agent", 1, valid_until)
