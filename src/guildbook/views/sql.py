"""What a reader may ask: one reading statement over known relations, with known functions.

Theory. The statement is read by DuckDB's own parser, and the tree is walked before anything runs; so what is checked
is what will be run, whatever comments, quotes or letter case it is written with. Everything is by list: kinds of
nodes, relations, functions. What is not on a list is refused, and the refusal says what to do instead.

This is the first of three walls. The second is DuckDB's: no files, no network, no extensions, no change of settings
(``database.py``). The third is the transaction that the statement runs in, which cannot write.

A name without a schema can only be that of a common table expression; a name with one must be a relation of the
contracts, or of ``chain``.
"""

import difflib
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import duckdb
import msgspec

from guildbook.primitives.errors import GuildbookError
from guildbook.views.answer import Parameters
from guildbook.views.functions import CLOCKS, FUNCTIONS, TABLE_FUNCTIONS
from guildbook.views.schema import CHAIN

STATEMENT_CHARS_MAX = 65_536
PARAMETERS_MAX = 1_000
MESSAGE_CHARS_MAX = 2_000

_EXPRESSIONS = frozenset({"BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT",
                          "FUNCTION", "LAMBDA", "OPERATOR", "PARAMETER", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY",
                          "TYPE", "WINDOW"})
_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE", "BASE_TABLE", "EMPTY",
                    "EXPRESSION_LIST", "JOIN", "PIVOT", "SHOW_REF", "SUBQUERY", "DISTINCT_MODIFIER",
                    "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER", "ASCENDING", "DESCENDING",
                    "ORDER_DEFAULT"})
_EXPLAIN = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*explain\b", re.IGNORECASE | re.DOTALL)
_ANALYZE = re.compile(r"\s*analy[sz]e\b", re.IGNORECASE)
_LISTING = "SELECT name, kind FROM chain.tables ORDER BY name"
_SYSTEM_SCHEMAS = frozenset({"information_schema", "pg_catalog"})
_AT = "_at"


class Statement(msgspec.Struct, frozen=True):
    """A statement that may run.

    ``text`` is what to run; ``relations`` the full names of the relations that it reads (a reading at a height under
    the name of its table); ``heights`` the heights that it names in ``table_at(height)``; ``explains`` whether it only
    asks for the plan.
    """

    text: str
    relations: frozenset[str]
    heights: tuple[int, ...]
    explains: bool


def not_allowed(message: str, hint: str) -> GuildbookError:
    """The refusal of a statement which does something that a reader may not do."""
    return GuildbookError("sql.not_allowed", message, hint=hint)


def wrong_syntax(message: str, hint: str = "correct the statement where the message says") -> GuildbookError:
    """The refusal of a statement that is not valid."""
    return GuildbookError("sql.syntax", message[:MESSAGE_CHARS_MAX], hint=hint)


class Parser:
    """DuckDB's parser, on a connection of its own. Safe in any thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def tree(self, sql: str) -> bytes | str:
        """What ``sql`` says, as JSON: its statements if all of them are SELECTs, else an error. Raises duckdb.Error."""
        with self._lock:
            [(text,)] = self._connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [sql]).fetchall()
        assert isinstance(text, str)
        return text

    def kinds(self, sql: str) -> list[str]:
        """What kinds of statements ``sql`` has. Raises duckdb.Error."""
        with self._lock:
            return [statement.type.name for statement in self._connection.extract_statements(sql)]


class StatementChecker:
    """Checks statements. Safe in any thread."""

    def __init__(self, parser: Callable[[], AbstractContextManager[Parser]]) -> None:
        """``parser`` lends a parser."""
        self._parser = parser

    def check(self, sql: str, parameters: Parameters, relations: Iterable[str]) -> Statement:
        """The statement in ``sql``, if it may run over ``relations`` (full names).

        Raises GuildbookError ``sql.syntax`` for text that is no statement, or that names a relation which does not
        exist, and ``sql.not_allowed`` for a statement that does more than read.
        """
        if len(sql) > STATEMENT_CHARS_MAX:
            raise not_allowed(f"the statement has {len(sql)} characters, at most {STATEMENT_CHARS_MAX} are read",
                              "put long lists into parameters")
        if parameters is not None and len(parameters) > PARAMETERS_MAX:
            raise not_allowed(f"the statement has {len(parameters)} parameters, at most {PARAMETERS_MAX} are read",
                              "ask for a range, or divide the question")
        explained = _EXPLAIN.match(sql)
        if explained is not None and _ANALYZE.match(sql, explained.end()):
            raise not_allowed("EXPLAIN ANALYZE is not offered", "write EXPLAIN SELECT ..., or run the SELECT")
        tree = self._tree(sql if explained is None else sql[explained.end():], explains=explained is not None)
        statements = tree["statements"]
        if len(statements) != 1:
            raise not_allowed(f"there are {len(statements)} statements", "send exactly one")
        node = statements[0]["node"]
        if _lists_tables(node):
            return Statement(_LISTING, frozenset({"chain.tables"}), (), explains=False)
        walk = _Walk(parameters, frozenset(relations))
        walk.run(node)
        return Statement(sql, frozenset(walk.read), tuple(walk.heights), explained is not None)

    def check_condition(self, condition: str) -> None:
        """Check a condition on the columns of one row; raises as ``check``, also when it reads a relation."""
        statements = self._tree(f"SELECT 1 WHERE {condition}", explains=False)["statements"]
        node = statements[0]["node"]
        rest = ("modifiers", "group_expressions", "having", "qualify")
        if len(statements) != 1 or node["type"] != "SELECT_NODE" or any(node[part] for part in rest):
            raise not_allowed("the condition is more than one condition", "join conditions with AND")
        _Walk(None, frozenset()).run(node)

    def _tree(self, sql: str, *, explains: bool) -> Any:
        with self._parser() as parser:
            try:
                text = parser.tree(sql)
            except duckdb.ProgrammingError as error:
                raise wrong_syntax(f"the statement cannot be read: {error}") from error
        try:
            tree = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise not_allowed("the statement is nested too deeply", "write it with fewer nested parts") from error
        if tree["error"] is not True:
            return tree
        if tree["error_type"] == "parser":
            place = f", at character {tree['position']}" if "position" in tree else ""
            raise wrong_syntax(f"{tree['error_message']}{place}")
        if explains:
            raise not_allowed("EXPLAIN takes one SELECT here, without options", "write EXPLAIN SELECT ...")
        with self._parser() as parser:
            kinds = parser.kinds(sql)
        if len(kinds) != 1:
            raise not_allowed(f"there are {len(kinds)} statements", "send exactly one")
        raise not_allowed(f"{kinds[0].replace('_', ' ')} is not a reading statement",
                          "send one SELECT, WITH, VALUES, FROM, DESCRIBE, SUMMARIZE, SHOW TABLES or EXPLAIN")


def _lists_tables(node: Any) -> bool:
    """Whether the whole statement is SHOW TABLES in one of its forms."""
    table = node.get("from_table") or {}
    return (table.get("type") == "SHOW_REF" and table.get("query") is None
            and table.get("table_name") in ('"tables"', "__show_tables_expanded"))


class _Walk:
    """One walk over a statement's tree. ``read`` and ``heights`` are what it found."""

    def __init__(self, parameters: Parameters, relations: frozenset[str]) -> None:
        self._parameters = parameters
        self._relations = relations
        self.read: set[str] = set()
        self.heights: list[int] = []

    def run(self, root: Any) -> None:
        """Walk from ``root``; raises GuildbookError at the first thing that is refused."""
        waiting: list[tuple[Any, frozenset[str]]] = [(root, frozenset())]
        while waiting:
            node, names = waiting.pop()
            if isinstance(node, list):
                waiting.extend((item, names) for item in node)
            elif isinstance(node, dict):
                if node.get("type") == "TABLE_FUNCTION":
                    self._table_function(node["function"])
                    waiting.append((node["function"]["arguments"], names))
                    continue
                self._check(node, names)
                common = node.get("cte_map")
                if common:
                    for entry in common["map"]:
                        name, value = entry["key"].lower(), entry["value"]
                        own = names | {name}
                        recursive = value["query_node"]["type"] == "RECURSIVE_CTE_NODE"
                        waiting.append((value, own if recursive else names))
                        names = own
                waiting.extend((value, names) for key, value in node.items()
                               if key != "cte_map" and isinstance(value, (dict, list)))

    def _check(self, node: dict[str, Any], names: frozenset[str]) -> None:
        if node.get("sample") is not None:
            raise not_allowed("a random sample is not the same answer every time",
                              "take rows by a condition, for example on a key")
        kind = node.get("type")
        expression = node.get("class")
        if expression is not None:
            self._expression(expression, node)
        elif not isinstance(kind, str) or kind.endswith("_TYPE_INFO"):
            pass
        elif kind not in _NODES:
            raise not_allowed(f"{kind.lower().replace('_', ' ')} is not part of a reading statement",
                              "write it with SELECT, JOIN, WHERE, GROUP BY and WITH")
        elif kind == "BASE_TABLE":
            self._relation(node, names)
        elif kind == "SHOW_REF" and node.get("query") is None:
            raise not_allowed("SHOW TABLES stands alone", "read chain.tables and chain.columns instead")

    def _expression(self, expression: str, node: dict[str, Any]) -> None:
        if expression not in _EXPRESSIONS:
            raise not_allowed(f"an expression of the kind {expression.lower()} is not part of a reading statement",
                              "write it with columns, values, operators and functions")
        if expression in ("FUNCTION", "WINDOW"):
            name = str(node.get("function_name", "")).lower()
            if expression == "WINDOW" and not name:
                return
            if node.get("schema") or node.get("catalog"):
                raise not_allowed(f"the function {name} is called with a schema or on a value",
                                  "write name(argument, ...)")
            if name not in FUNCTIONS:
                raise _refused_function(name)
        elif expression == "COLUMN_REF":
            names = node["column_names"]
            if len(names) == 1 and names[0].lower() in CLOCKS:
                raise _refused_function(names[0].lower())

    def _relation(self, node: dict[str, Any], names: frozenset[str]) -> None:
        path = [part.lower() for part in node["qualified_name"]["path"]]
        name = ".".join(path)
        if node.get("at_clause") is not None:
            raise not_allowed(f"{name} AT (...) is not offered",
                              f"write {name}{_AT}(height), or ask the whole statement at a height")
        if len(path) == 1 and path[0] in names:
            return
        if len(path) == 2 and name in self._relations:
            self.read.add(name)
            return
        raise self._no_relation(path, name)

    def _table_function(self, function: dict[str, Any]) -> None:
        path = [part.lower() for part in function["qualified_name"]["path"]]
        name = ".".join(path)
        table = name.removesuffix(_AT)
        if len(path) == 2 and name != table and f"{table}_history" in self._relations:
            self.read.add(table)
            self.heights.append(self._height(name, function["arguments"]))
        elif len(path) == 2:
            raise self._no_relation(path, name)
        elif len(path) != 1 or path[0] not in TABLE_FUNCTIONS:
            raise _refused_function(name)

    def _height(self, name: str, arguments: list[Any]) -> int:
        expression = arguments[0]["expression"] if len(arguments) == 1 else {}
        height: Any = None
        if expression.get("class") == "CONSTANT" and expression.get("literal", {}).get("kind") == "INTEGER":
            height = int(expression["literal"]["text"])
        elif expression.get("class") == "PARAMETER":
            height = self._parameter(expression["identifier"])
        if not isinstance(height, int) or isinstance(height, bool):
            raise not_allowed(f"the height of {name} must be one whole number or a parameter", f"write {name}(1000)")
        return height

    def _parameter(self, identifier: str) -> Any:
        if isinstance(self._parameters, Mapping):
            return self._parameters.get(identifier)
        place = int(identifier) - 1 if identifier.isdigit() else -1
        given = self._parameters or ()
        return given[place] if 0 <= place < len(given) else None

    def _no_relation(self, path: list[str], name: str) -> GuildbookError:
        if len(path) == 2 and path[0] in _SYSTEM_SCHEMAS:
            return not_allowed(f"{name} is not offered", f"read {CHAIN}.tables and {CHAIN}.columns instead")
        if len(path) > 2:
            return not_allowed(f"{name} names a database", "write contract.table")
        if len(path) == 1 and ("/" in name or "." in name or ":" in name):
            return not_allowed(f"{name[:80]} would read a file", "read the tables that SHOW TABLES lists")
        near = difflib.get_close_matches(name, self._relations, 3) or [
            relation for relation in sorted(self._relations) if relation.endswith(f".{path[-1]}")][:3]
        return wrong_syntax(f"there is no table {name[:80]}",
                            f"did you mean {' or '.join(near)}?" if near else "SHOW TABLES lists the tables")


def _refused_function(name: str) -> GuildbookError:
    if name in CLOCKS:
        return not_allowed(f"{name} reads a clock, and an answer depends on the height alone",
                           "use the ledger's time: (SELECT max(time) FROM chain.blocks)")
    near = difflib.get_close_matches(name, FUNCTIONS | TABLE_FUNCTIONS, 3)
    return not_allowed(f"the function {name[:80]} is not on the list of functions for readers",
                       f"did you mean {' or '.join(near)}?" if near else "the SQL page lists the functions")
