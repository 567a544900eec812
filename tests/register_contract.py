"""Registers that are read and written by transactions alone: what tests of a network check the order of."""

from guildbook.contract import Code, Contract, Record, Rejected, Table, command, key, require


class Register(Record):
    """A named value."""

    name: Code = key()
    value: int


class Other(Rejected):
    """The register holds another value than was expected."""

    expected: int
    found: int


class Registers(Contract, name="registers", version=1):
    """Registers, each 0 until it is written."""

    registers = Table(Register)
    rejections = (Other,)

    @command
    def get(self, name: Code) -> int:
        """The value."""
        row = self.registers.get(name)
        return 0 if row is None else row.value

    @command
    def put(self, name: Code, value: int) -> int:
        """Write a value; returns the one before."""
        row = self.registers.get(name)
        if row is None:
            self.registers.insert(Register(name=name, value=value))
            return 0
        self.registers.update(row, value=value)
        return row.value

    @command
    def swap(self, name: Code, expected: int, value: int) -> None:
        """Write a value where another is expected."""
        row = self.registers.get(name)
        found = 0 if row is None else row.value
        require(found == expected, Other, expected=expected, found=found)
        if row is None:
            self.registers.insert(Register(name=name, value=value))
        else:
            self.registers.update(row, value=value)
