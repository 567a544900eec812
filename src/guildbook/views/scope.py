"""Scopes: what one reader may see.

Theory. A scope lists relations; of each it may show some columns, and the rows that meet a condition. The reader's
statement meets relations that have those columns and rows and nothing else, under their usual names; what a scope does
not list does not exist for the reader. A history is a relation of its own: to show a table is not to show its history,
but it is to show the table as of any height.

Conditions come from whoever grants the scope. They are SQL conditions on one row, held to the same list of functions.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from guildbook.primitives.errors import GuildbookError
from guildbook.views.schema import Relation, column_list

if TYPE_CHECKING:
    from guildbook.views.sql import StatementChecker


class Part(msgspec.Struct, frozen=True, array_like=True):
    """What a scope shows of one relation: ``columns`` (None: all), and the rows that meet ``condition`` (empty: all).

    The condition may use columns that are not shown.
    """

    columns: tuple[str, ...] | None = None
    condition: str = ""


class Scope(msgspec.Struct, frozen=True, array_like=True):
    """What one reader may see: relations by full name."""

    parts: dict[str, Part]

    def relations(self, known: dict[str, Relation]) -> dict[str, Relation]:
        """The relations among ``known`` that the scope shows; the lists of tables and columns are always among them."""
        return {name: relation for name, relation in known.items() if name in self.parts or name in _LISTS}

    def seen(self, relation: Relation) -> tuple[str, str]:
        """The columns of ``relation`` that are shown, as SQL, and the condition that rows must meet.

        Raises GuildbookError ``sql.not_allowed`` when the scope names a column that the relation lacks.
        """
        if relation.name in _LISTS:
            return column_list(relation.columns), _LISTS[relation.name](self.parts)
        part = self.parts[relation.name]
        if part.columns is None:
            return column_list(relation.columns), part.condition
        kinds = dict(relation.columns)
        for name in part.columns:
            if name not in kinds:
                raise GuildbookError("sql.not_allowed", f"the scope shows {relation.name}.{name}, which does not exist",
                                     hint="have the scope corrected by whoever granted it")
        return column_list(tuple((name, kinds[name]) for name in part.columns)), part.condition

    def check(self, checker: "StatementChecker") -> None:
        """Check every condition; raises GuildbookError ``sql.syntax`` or ``sql.not_allowed``."""
        for part in self.parts.values():
            if part.condition:
                checker.check_condition(part.condition)


def _listed_tables(parts: dict[str, Part]) -> str:
    """The condition that a row of ``chain.tables`` is about a relation that the scope shows."""
    return f"name IN ({_literals([*parts, *_LISTS])})"


def _listed_columns(parts: dict[str, Part]) -> str:
    """The condition that a row of ``chain.columns`` is about a column that the scope shows."""
    shown = [f"table_name IN ({_literals([*_LISTS])})"]
    for name, part in parts.items():
        columns = "" if part.columns is None else f" AND name IN ({_literals(list(part.columns))})"
        shown.append(f"table_name = {_literals([name])}{columns}")
    return " OR ".join(f"({condition})" for condition in shown)


def _literals(texts: list[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts) or "NULL"


_LISTS: dict[str, Callable[[dict[str, Part]], str]] = {"chain.tables": _listed_tables, "chain.columns": _listed_columns}
