"""Many rows at once, for measurements of a ledger's size."""

from guildbook.contract import Code, Contract, NonNegative, Positive, Record, Table, command, key

ROWS_MAX = 10_000


class Item(Record):
    """One of many."""

    id: Code = key()
    holder: Code
    units: NonNegative


class Bulk(Contract, name="bulk", version=1):
    """Rows with one index, as an account has it."""

    items = Table(Item, index=[("holder", "units", "id")])

    @command(role="issuer")
    def fill(self, first: NonNegative, count: Positive) -> None:
        """Insert ``count`` rows, numbered from ``first``."""
        for place in range(min(count, ROWS_MAX)):
            number = first + place
            holder = number % 997
            self.items.insert(Item(id=f"item-{number}", holder=f"holder-{holder}", units=number))
