"""The order in which a command checks is the order in which its contract lists its refusals.

For each command, the refusals that its text and that of the helpers it calls can raise are read in the order in which
they stand, down to the heading ``# effects``: what is below does not refuse. Where a command takes one of two ways,
each way is an order of its own.
"""

import ast
import inspect
from collections.abc import Iterator

import pytest

from guildbook.contract import Contract
from guildbook.foundation import FOUNDATION
from guildbook.foundation.approvals import Approvals
from guildbook.foundation.calendars import Calendars
from guildbook.foundation.cases import Cases
from guildbook.foundation.consents import Consents
from guildbook.foundation.documents import Documents
from guildbook.foundation.messages import Messages

CHECKED: tuple[type[Contract], ...] = (Approvals, Calendars, Cases, Consents, Documents, Messages)
WAYS_MAX = 4_096
Way = tuple[str, ...]


class Reader:
    """The orders of refusals in the methods of one contract."""

    def __init__(self, contract: type[Contract]) -> None:
        text = inspect.getsource(inspect.getmodule(contract))  # type: ignore[arg-type]
        body = next(
            one for one in ast.parse(text).body if isinstance(one, ast.ClassDef) and one.name == contract.__name__
        )
        self.known: dict[str, set[Way]] = {}
        effects = text.splitlines().index("    # effects") + 1
        methods = [one for one in body.body if isinstance(one, ast.FunctionDef)]
        self.methods = {one.name: one for one in methods if one.lineno < effects}
        self.names = [one.__name__ for one in contract.rejections]
        below = ast.Module([one for one in methods if one.lineno > effects], [])
        refusing = [one for one, is_method in self._raised(below) if not is_method]
        assert refusing == [], "an effect does not refuse"

    def ways(self, method: str) -> set[Way]:
        """Each order in which the refusals of a method can come."""
        if method not in self.known:
            self.known[method] = self._block(self.methods[method].body)
        return self.known[method]

    def _block(self, statements: list[ast.stmt]) -> set[Way]:
        ways: set[Way] = {()}
        for statement in statements:
            ways = {before + after for before in ways for after in self._statement(statement)}
            assert len(ways) <= WAYS_MAX, "too many ways to look at"
        return ways

    def _statement(self, node: ast.stmt) -> set[Way]:
        if isinstance(node, ast.If):
            inside = self._block(node.body)
            if not isinstance(node.body[-1], ast.Raise):
                inside |= self._block(node.orelse)
            return {before + after for before in self._called(node.test) for after in inside}
        if isinstance(node, ast.For):
            return {before + after for before in self._called(node.iter) for after in self._block(node.body)}
        return self._called(node)

    def _called(self, root: ast.AST) -> set[Way]:
        ways: set[Way] = {()}
        for name, is_method in self._raised(root):
            following = self.ways(name) if is_method else {(name,)}
            ways = {before + after for before in ways for after in following}
        return ways

    def _raised(self, root: ast.AST) -> Iterator[tuple[str, bool]]:
        """(name, whether it is a method) of refusals and of helpers called, in the order in which they run."""
        for child in ast.iter_child_nodes(root):
            yield from self._raised(child)
        if isinstance(root, ast.Call):
            called = root.func
            if isinstance(called, ast.Name) and called.id == "require":
                assert isinstance(root.args[1], ast.Name)
                yield root.args[1].id, False
            elif isinstance(called, ast.Name) and called.id in self.names:
                yield called.id, False
            elif (
                isinstance(called, ast.Attribute)
                and isinstance(called.value, ast.Name)
                and called.value.id == "self"
                and called.attr in self.methods
            ):
                yield called.attr, True
        elif isinstance(root, ast.Raise) and isinstance(root.exc, ast.Name):
            yield root.exc.id, False


READERS = {contract: Reader(contract) for contract in CHECKED}


def first_out_of_order(way: Way, listed: list[str]) -> str:
    """The first refusal that is checked after one that is listed behind it; empty where there is none."""
    places = [listed.index(one) for one in way]
    return next((way[n] for n in range(1, len(way)) if places[n] < max(places[:n])), "")


@pytest.mark.parametrize(
    ("contract", "command"),
    [(contract, command) for contract in CHECKED for command in contract.commands],
    ids=lambda one: one if isinstance(one, str) else one.contract_name,
)
def test_a_command_checks_in_the_order_of_the_list(contract, command):
    reader = READERS[contract]
    for way in reader.ways(command):
        wrong = first_out_of_order(way, reader.names)
        assert not wrong, f"{contract.contract_name}.{command} checks {wrong} too late: {way}"


@pytest.mark.parametrize("contract", CHECKED, ids=lambda one: one.contract_name)
def test_every_listed_refusal_is_raised_by_some_command(contract):
    reader = READERS[contract]
    raised = {one for name in (*contract.commands, *contract.queries) for way in reader.ways(name) for one in way}
    assert raised == set(reader.names)


def test_the_reader_sees_a_check_that_comes_too_late():
    reader = READERS[Documents]
    (way,) = reader.ways("suspend")
    assert way == ("UnknownDocument", "NotTheKeeper", "DocumentNotLive")
    assert first_out_of_order(way, list(reversed(reader.names))) == "NotTheKeeper"
    assert set(CHECKED) <= set(FOUNDATION)
