"""A small contract that tests of the platform run: accounts of units."""

from guildbook.contract import (
    Code,
    Contract,
    Event,
    NonNegative,
    Positive,
    Record,
    Rejected,
    Table,
    command,
    invariant,
    key,
    query,
    require,
)


class Account(Record):
    """The units of one account."""

    id: Code = key()
    holder: Code
    units: NonNegative


class NotEnough(Rejected):
    """The account does not hold that many units."""

    wanted: int
    free: int


class Moved(Event):
    """Units went from one account to another."""

    source: Code
    target: Code
    units: Positive


class Units(Contract, name="units", version=1):
    """Accounts of units: issue and move."""

    accounts = Table(Account, index=[("holder", "units", "id")])
    events = (Moved,)
    rejections = (NotEnough,)

    @command(role="issuer")
    def issue(self, to: Code, units: Positive) -> int:
        """Add units to an account; returns the running number of the issue."""
        account = self.accounts.get(to)
        if account is None:
            self.accounts.insert(Account(id=to, holder=self.sender.party, units=units))
        else:
            self.accounts.update(account, units=account.units + units)
        return self.sequence("issue")

    @command
    def move(self, source: Code, target: Code, units: Positive = 1) -> None:
        """Move units between accounts."""
        account = self.accounts.get(source)
        free = 0 if account is None else account.units
        require(free >= units, NotEnough, wanted=units, free=free)
        if account is not None:
            self.accounts.update(account, units=free - units)
        receiver = self.accounts.get(target)
        if receiver is None:
            self.accounts.insert(Account(id=target, holder=self.sender.party, units=units))
        else:
            self.accounts.update(receiver, units=receiver.units + units)
        self.emit(Moved(source=source, target=target, units=units))

    @command
    def divide(self, dividend: int, divisor: int) -> int:
        """A mistake of its author: writes, then divides without a guard."""
        self.accounts.insert(Account(id="half-done", holder="nobody", units=1))
        return dividend // divisor

    @command
    def overflow(self) -> int:
        """A mistake of its author: a result that does not fit 64 bits."""
        return 2**100

    @command
    def negative(self, account: Code) -> None:
        """A mistake of its author: a row outside its bounds."""
        self.accounts.insert(Account(id=account, holder="x", units=-1))

    @command
    def chatter(self, times: Positive) -> None:
        """Emits as often as it is told."""
        for number in range(min(times, 5000)):
            self.emit(Moved(source="a", target="b", units=number + 1))

    @command
    def rummage(self, times: Positive) -> None:
        """Reads as often as it is told."""
        for _number in range(min(times, 100_000)):
            self.accounts.get("x")

    @command
    def break_the_law(self) -> None:
        """Asserts what is false: halts the node."""
        assert self.height < 0

    @command(callers_only=True)
    def inner(self) -> None:
        """For other contracts only."""

    @query
    def total(self) -> int:
        """All units."""
        return sum(account.units for account in self.accounts.find(index=()))

    @query
    def writes(self) -> int:
        """A query that wrongly writes."""
        self.accounts.insert(Account(id="from-query", holder="x", units=1))
        return 1

    @query
    def holdings(self, holder: Code) -> tuple[tuple[str, int], ...]:
        """The accounts of a holder with their units, in order of units."""
        return tuple((account.id, account.units) for account in self.accounts.find(holder))

    @invariant
    def units_are_not_negative(self) -> None:
        """No account is below zero."""
        for account in self.accounts.find(index=()):
            assert account.units >= 0, account
