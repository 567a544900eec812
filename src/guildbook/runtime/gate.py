"""The determinism gate: what a contract's source may say, and what to write instead of what it may not.

Theory. All nodes run the same source on the same state, and a result which differs on one of them is a fork. So
a contract may use only what gives the same result on every machine, at every time, under every version of Python
that this software supports. The gate reads the syntax tree of a source file and compares it with one allow-list:
a kind of statement or expression, a builtin or an import that is not on the list is refused, whether or not
anybody thought of it. Refusals that an author is likely to meet say what to write instead.

Four ways in which nodes can come to differ, and the rules which close them:

* a value that is not the same everywhere: floats, clocks, randomness, hashes and addresses of objects, the order
  of sets, text rules that follow the Unicode version, settings of the process;
* state beside the tables: module and class attributes, attributes of the contract instance, default arguments,
  caught exceptions; none of it is in the state root, and none is undone when a call is refused;
* work without a bound: a node that is slower, or has less memory or stack, gives up where another goes on;
* reach beyond the contract: imports, evaluated text, names of the interpreter's inner objects.

It protects members from mistakes. It is not a sandbox for hostile code: Python cannot be made one by reading its
source. Members vote on a source by its hash before it runs, and read it before they vote.

The verdict depends on the text alone. It is no part of a block: a member applies it before a vote, and a node
when it loads a source. Page: docs/spec/determinism.md.
"""

import ast
import builtins
import dataclasses
import functools
import warnings
from collections.abc import Iterable
from typing import Final

import guildbook.contract
from guildbook.primitives.errors import GuildbookError
from guildbook.state.record import SOURCE_CHARS_MAX

FINDINGS_MAX: Final = 100
"""Findings in one report; what is found behind them is not listed."""
NESTING_MAX: Final = 100
"""Syntax nodes inside one another. Deeper text could exhaust the stack of a reader, here or on another node."""
LOOP_CONSTANT_MAX: Final = 1_000_000
"""The greatest constant that bounds a loop or a repetition."""
EXPONENT_MAX: Final = 256
"""The greatest exponent of a power, and the greatest distance of a shift to the left."""
VERDICTS_KEPT_MAX: Final = 64
"""Sources whose verdict is kept, so that a node which loads a source again does not judge it again."""
PYTHON_GRAMMAR: Final = (3, 11)
"""The grammar that a source is written in: the oldest which a member may run."""

# fmt: off
RULES: Final[dict[str, str]] = {
    "syntax": "The text is Python of the grammar that all members run, and is not too long or too deep.",
    "hidden_text": "No characters that show a text in another order than it is read in, and no zero bytes.",
    "import": "Imports are `from <allowed module> import <class or constant>`, at the top, under their own names.",
    "statement": "Statements and expressions are of the kinds on the list.",
    "module_state": "A module holds constants, classes and functions; nothing there changes or runs.",
    "class_body": "A class holds fields, tables, constants and methods, and derives from one class of the API.",
    "attribute_state": "Attributes are read, never set: what is to be kept is kept in a table.",
    "default": "A default argument is a constant.",
    "decorator": "Decorators are `command`, `query`, `invariant` and `migration`.",
    "annotation": "Annotations name types directly, not in text.",
    "name": "Names are those of the file, its imports, and the builtins on the list.",
    "builtin": "Builtins that read or change the interpreter, or whose result can differ, are not used.",
    "float": "Numbers are integers.",
    "power": "A power or a shift to the left has constant operands, the exponent not negative.",
    "set": "Collections have an order: tuples, lists, and dicts in the order of insertion.",
    "text_method": "Text methods that follow the Unicode version or the process are not used.",
    "formatting": "Text is joined from text and integers: no format fields, conversions or `%` on text.",
    "identity": "`is` compares with None, True, False or a member of an enumeration.",
    "private": "Names that begin with an underscore belong to their own class.",
    "interpreter": "Attributes that lead into the interpreter (`__class__`, frames, code objects) are not used.",
    "exception": "A contract raises its own refusals and catches nothing.",
    "loop": "A loop has a bound: over rows, a collection that does not grow, or a range with a bound.",
    "recursion": "No function calls itself, directly or through others.",
    "indirect_call": "A call names a function, a class, or a method of a value.",
    "generator": "Functions return values; they do not yield.",
    "asynchronous": "Nothing waits.",
    "scope": "Functions do not write to names outside themselves.",
}
"""The rules by name, each in one sentence."""

CONTRACT_IMPORTS: Final = frozenset({"enum", "guildbook.contract", "guildbook.foundation.*"})
"""What any contract may import from. A name that ends in ``.*`` stands for the modules directly inside."""
PLATFORM_IMPORTS: Final[dict[str, frozenset[str]]] = {
    "parties": frozenset({"guildbook.runtime.identity"}),
    "governance": frozenset({
        "guildbook.runtime.decisions", "guildbook.runtime.freezes", "guildbook.runtime.parameters",
        "guildbook.runtime.releases", "guildbook.runtime.validators",
    }),
    "council": frozenset({
        "guildbook.runtime.decisions", "guildbook.runtime.freezes", "guildbook.runtime.identity",
    }),
}
"""What some contracts may import besides, by the contract's name: the rows that the runtime itself reads."""

ALLOWED_BUILTINS: Final = frozenset({
    "abs", "all", "any", "bool", "bytes", "chr", "dict", "divmod", "enumerate", "int", "isinstance", "len", "list",
    "max", "min", "next", "ord", "range", "reversed", "sorted", "str", "sum", "tuple", "zip",
})
"""The builtins that a contract may name."""

REFUSED_BUILTINS: Final[dict[str, tuple[str, str]]] = {
    "__import__": ("import", "import at the top of the file"),
    "aiter": ("asynchronous", "use for"),
    "anext": ("asynchronous", "use for"),
    "ascii": ("builtin", "join the text from fields"),
    "bin": ("builtin", "keep the integer"),
    "breakpoint": ("builtin", "write a test with guildbook.testing"),
    "bytearray": ("builtin", "use bytes"),
    "callable": ("builtin", "call what you know"),
    "classmethod": ("decorator", "write a function of the module"),
    "compile": ("builtin", "write the code out"),
    "complex": ("float", "use integers"),
    "delattr": ("attribute_state", "use table.delete(row)"),
    "dir": ("builtin", "name the fields"),
    "eval": ("builtin", "write the expression out"),
    "exec": ("builtin", "write the statements out"),
    "exit": ("builtin", "refuse with a Rejected"),
    "filter": ("builtin", "use a comprehension with if"),
    "float": ("float", "use integers in minor units, and mul_div(value, numerator, denominator, rounding) for rates"),
    "format": ("formatting", "use str(value) of an integer or text"),
    "frozenset": ("set", "use a tuple in a chosen order"),
    "getattr": ("builtin", "name the attribute"),
    "globals": ("builtin", "name the constant"),
    "hasattr": ("builtin", "declare the field, with `| None` if it may be missing"),
    "hash": ("builtin", "use sha256(data); hash() differs from process to process"),
    "help": ("builtin", "remove it"),
    "hex": ("builtin", "use data.hex() of bytes"),
    "id": ("builtin", "use the row's key; id() is an address"),
    "input": ("builtin", "take what is needed as an argument of the command"),
    "issubclass": ("builtin", "use isinstance(value, Class)"),
    "iter": ("loop", "use for ... in, or next(values, default) of what find() returns"),
    "locals": ("builtin", "name the values"),
    "map": ("builtin", "use a comprehension"),
    "memoryview": ("builtin", "use bytes and slices"),
    "object": ("builtin", "derive from Record, Event, Rejected, Contract or StrEnum"),
    "oct": ("builtin", "keep the integer"),
    "open": ("builtin", "keep data in tables; files are not on every node"),
    "pow": ("power", "use a constant power, or a tuple of the powers that occur"),
    "print": ("builtin", "state facts with self.emit(event)"),
    "property": ("decorator", "write a function that takes the row"),
    "quit": ("builtin", "refuse with a Rejected"),
    "repr": ("builtin", "join the text from fields; repr() can show addresses and changes with versions"),
    "round": ("float", "use mul_div(value, numerator, denominator, rounding), which names its rounding"),
    "set": ("set", "use a tuple, or a dict whose keys are the members, in a chosen order"),
    "setattr": ("attribute_state", "use table.update(row, field=value)"),
    "slice": ("builtin", "write value[start:end]"),
    "staticmethod": ("decorator", "write a function of the module"),
    "super": ("builtin", "contracts do not build on each other's methods; write a function"),
    "type": ("builtin", "use isinstance(value, Class), or write a class statement"),
    "vars": ("builtin", "name the fields"),
}
"""Builtins that authors reach for: (rule, what to write instead). Any other is refused by the rule `builtin`."""

REFUSED_NODES: Final[dict[str, tuple[str, str, str]]] = {
    "AsyncFor": ("asynchronous", "async for", "write for"),
    "AsyncFunctionDef": ("asynchronous", "an async function", "write def"),
    "AsyncWith": ("asynchronous", "async with", "write the calls out"),
    "Await": ("asynchronous", "await", "call directly"),
    "Div": ("float", "true division, which gives a float",
            "use // for the floor, or mul_div(value, numerator, denominator, rounding)"),
    "Global": ("scope", "a global statement", "keep the value in a table"),
    "MatMult": ("statement", "the operator @", "use *"),
    "Match": ("statement", "a match statement", "use if and elif, or a dict of constants"),
    "Nonlocal": ("scope", "a nonlocal statement", "return the value"),
    "Set": ("set", "a set", "use a tuple, or a dict in a chosen order"),
    "SetComp": ("set", "a set", "use sorted(...) of a list, or a dict"),
    "TemplateStr": ("formatting", "a template string", "join text with +"),
    "Try": ("exception", "a try statement",
            "check first with require(); a refusal inside must refuse the whole transaction"),
    "TryStar": ("exception", "a try statement", "check first with require()"),
    "TypeAlias": ("statement", "a type statement", "write the type where it is used"),
    "While": ("loop", "a while loop", "use `for ... in range(BOUND)` with break, so that it ends on every node"),
    "With": ("statement", "a with statement", "call what is needed; contracts hold nothing open"),
    "Yield": ("generator", "yield", "return a list"),
    "YieldFrom": ("generator", "yield from", "return a list"),
}
"""Kinds of syntax that authors reach for: (rule, what was found, what to write instead)."""

ALLOWED_NODES: Final = frozenset({
    "Add", "And", "AnnAssign", "Assert", "Assign", "Attribute", "AugAssign", "BinOp", "BitAnd", "BitOr", "BitXor",
    "BoolOp", "Break", "Call", "ClassDef", "Compare", "Constant", "Continue", "Del", "Delete", "Dict", "DictComp",
    "Eq", "Expr", "FloorDiv", "For", "FormattedValue", "FunctionDef", "GeneratorExp", "Gt", "GtE", "If", "IfExp",
    "Import", "ImportFrom", "In", "Invert", "Is", "IsNot", "JoinedStr", "LShift", "Lambda", "List", "ListComp",
    "Load", "Lt", "LtE", "Mod", "Module", "Mult", "Name", "NamedExpr", "Not", "NotEq", "NotIn", "Or", "Pass", "Pow",
    "RShift", "Raise", "Return", "Slice", "Starred", "Store", "Sub", "Subscript", "Tuple", "UAdd", "USub", "UnaryOp",
    "alias", "arg", "arguments", "comprehension", "keyword",
})
"""The kinds of syntax that a contract may use; most have rules of their own besides."""

_CASE = ("text_method", "take a Code and have it written one way; letter case follows the Unicode version")
_KIND = ("text_method", "compare with the characters meant: all(one in \"0123456789\" for one in text)")
_FORMAT = ("formatting", "join text with +, or use f\"{name}\" of integers and text; a format field can walk from "
                         "a value into the interpreter")
REFUSED_METHODS: Final[dict[str, tuple[str, str]]] = {
    "capitalize": _CASE, "casefold": _CASE, "lower": _CASE, "swapcase": _CASE, "title": _CASE, "upper": _CASE,
    "isalnum": _KIND, "isalpha": _KIND, "isdecimal": _KIND, "isdigit": _KIND, "isidentifier": _KIND,
    "islower": _KIND, "isnumeric": _KIND, "isprintable": _KIND, "isspace": _KIND, "istitle": _KIND, "isupper": _KIND,
    "format": _FORMAT, "format_map": _FORMAT,
    "expandtabs": ("text_method", "store the text as it is to be shown"),
    "splitlines": ("text_method", "use split(\"\\n\")"),
    "translate": ("text_method", "use replace(old, new)"),
}
"""Methods of text that are not called: (rule, what to write instead)."""
_NEEDS_ARGUMENT: Final = frozenset({"lstrip", "rsplit", "rstrip", "split", "strip"})
_CODECS: Final = ("ascii", "utf-8", "utf8")

REFUSED_ATTRIBUTES: Final = frozenset({
    "add_note", "ag_code", "ag_frame", "co_code", "co_consts", "co_names", "cr_await", "cr_code", "cr_frame",
    "f_back", "f_builtins", "f_code", "f_globals", "f_locals", "f_trace", "func_code", "func_globals", "gi_code",
    "gi_frame", "gi_yieldfrom", "mro", "tb_frame", "tb_lasti", "tb_lineno", "tb_next", "with_traceback",
})
"""Attributes of frames, code, generators, tracebacks and classes, besides all that begin with two underscores."""
_CONTRACT_INTERNALS: Final = frozenset({
    "bind_use", "commands", "counters", "event_schemas", "invariants", "migrations", "queries", "roles", "tables",
    "uses",
})
_TYPE_METHODS: Final[dict[str, tuple[str, ...]]] = {
    "bool": (), "bytes": ("fromhex",), "dict": ("fromkeys",), "int": ("from_bytes",), "list": (), "str": (),
    "tuple": (),
}
_DICT_READS: Final = frozenset({"get", "items", "keys", "values"})
_DICT_READERS: Final = frozenset({
    "all", "any", "enumerate", "len", "list", "max", "min", "sorted", "sum", "tuple",
})
_GROWING: Final = frozenset({
    "append", "clear", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update",
})
_BASES: Final = ("Contract", "Event", "Record", "Rejected", "StrEnum")
_DECORATORS: Final = ("command", "invariant", "migration", "query")
_DECLARATIONS: Final = ("Table", "key", "use")
_ANNOTATION_NODES: Final = (
    ast.Attribute, ast.BinOp, ast.BitOr, ast.Constant, ast.Load, ast.Name, ast.Subscript, ast.Tuple,
)
_HIDDEN: Final = frozenset((0, 0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_IMPORT_HINTS: Final = {
    "datetime": "use self.now and whole milliseconds",
    "decimal": "use integers in minor units",
    "fractions": "use a numerator and a denominator",
    "hashlib": "use sha256 of guildbook.contract",
    "json": "declare typed arguments",
    "math": "use mul_div of guildbook.contract",
    "random": "take the value as an argument that somebody signs",
    "re": "compare characters, or take a Code",
    "secrets": "take the value as an argument that somebody signs",
    "time": "use self.now, the block's time",
    "uuid": "use self.sequence(name) for numbers, or self.transaction_id",
}
_MODULE_EXPECTS: Final = "keep constants, classes and functions here; do work in a command"
# fmt: on


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that the gate refuses: where (line and column from 1), the rule, what was found, and what to
    write instead.
    """

    line: int
    column: int
    rule: str
    message: str
    instead: str

    def __str__(self) -> str:
        """``line:column rule: message; instead``."""
        return f"{self.line}:{self.column} {self.rule}: {self.message}; {self.instead}"


def check_source(text: str, file_name: str, *, allowed_imports: frozenset[str] | None = None) -> list[Finding]:
    """What the gate refuses in a contract's source, in order of place; an empty list lets it pass.

    ``text`` is the source and ``file_name`` its name in messages. ``allowed_imports`` are the modules that it may
    import from, as in ``CONTRACT_IMPORTS``; None takes those, and those of ``PLATFORM_IMPORTS`` for the contract
    that the source declares. At most ``FINDINGS_MAX`` findings. Raises nothing for any text.
    """
    return list(_judge(text, file_name, allowed_imports))


@functools.lru_cache(maxsize=VERDICTS_KEPT_MAX)
def _judge(text: str, file_name: str, allowed_imports: frozenset[str] | None) -> tuple[Finding, ...]:
    """``check_source``; the same text is judged once."""
    tree = _parse(text, file_name)
    if isinstance(tree, Finding):
        return (tree,)
    if allowed_imports is None:
        allowed_imports = CONTRACT_IMPORTS | PLATFORM_IMPORTS.get(_declared_name(tree), frozenset())
    gate = _Gate(tree, allowed_imports)
    return tuple(sorted({*_hidden_text(text), *gate.findings})[:FINDINGS_MAX])


def require_deterministic(text: str, file_name: str, *, allowed_imports: frozenset[str] | None = None) -> None:
    """Raise GuildbookError ``contract.not_deterministic`` with all findings (field ``findings``, each a ``Finding``)
    unless ``check_source`` finds nothing.
    """
    findings = check_source(text, file_name, allowed_imports=allowed_imports)
    if findings:
        raise GuildbookError(
            "contract.not_deterministic",
            "\n".join(
                [
                    f"{file_name}: {len(findings)} finding{'s' if len(findings) > 1 else ''}",
                    *(f"{file_name}:{one}" for one in findings),
                ]
            ),
            hint="see docs/spec/determinism.md",
            file_name=file_name,
            findings=findings,
        )


def _parse(text: str, file_name: str) -> ast.Module | Finding:
    """The syntax tree, or why there is none that may be looked at."""
    if len(text) > SOURCE_CHARS_MAX:
        return Finding(
            1,
            1,
            "syntax",
            f"the text has {len(text)} characters",
            f"a contract has at most {SOURCE_CHARS_MAX}; split it",
        )
    try:
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always")
            tree = ast.parse(text, file_name, feature_version=PYTHON_GRAMMAR)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
        return Finding(
            max(line, 1),
            max(column, 1),
            "syntax",
            f"this is not Python {PYTHON_GRAMMAR[0]}.{PYTHON_GRAMMAR[1]}: {getattr(error, 'msg', error)}",
            "correct the text, or write it more simply",
        )
    for doubt in doubts:
        return Finding(
            doubt.lineno, 1, "syntax", f"{doubt.message}, which a later Python refuses", "correct the text"
        )
    level: list[ast.AST] = [tree]
    for _ in range(NESTING_MAX):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        line, column = next(
            ((found.lineno, found.col_offset + 1) for found in level if isinstance(found, ast.expr | ast.stmt)),
            (1, 1),
        )
        return Finding(
            line, column, "syntax", f"more than {NESTING_MAX} expressions inside one another", "give the parts names"
        )
    return tree


def _hidden_text(text: str) -> Iterable[Finding]:
    for number, line in enumerate(text.split("\n"), 1):
        for place, character in enumerate(line, 1):
            if ord(character) in _HIDDEN:
                yield Finding(
                    number,
                    place,
                    "hidden_text",
                    f"the character U+{ord(character):04X}, which hides what follows",
                    "remove it",
                )


def _declared_name(tree: ast.Module) -> str:
    """The name that the file's contract declares, or an empty text."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for one in node.keywords:
                if one.arg == "name" and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str):
                    return one.value.value
    return ""


def _targets(node: ast.AST) -> Iterable[str]:
    """The names that an assignment target binds."""
    return (one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))


def _local_names(function: ast.FunctionDef) -> set[str]:
    """The names that are local to ``function``: its arguments and what its body assigns."""
    names = {one.arg for one in _arguments(function.args)}
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if isinstance(node, ast.Lambda | ast.FunctionDef | ast.ClassDef):
            continue
        children: Iterable[ast.AST] = ast.iter_child_nodes(node)
        if isinstance(node, ast.comprehension):
            children = (node.iter, *node.ifs)
        waiting.extend(children)
    return names


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    rest = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest]


def _base_name(node: ast.expr) -> str:
    """The last part of a class's base: ``StrEnum`` of ``enum.StrEnum``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "enum":
        return node.attr
    return ""


def _is_member_name(name: str) -> bool:
    """Whether ``name`` is written as constants and members of enumerations are: ``IN_PART``."""
    return name.isascii() and name == name.upper() and not name.startswith("_")


class _Gate(ast.NodeVisitor):
    """One pass over a module. Each ``visit_`` method holds the rules of one kind of node and then goes inside."""

    def __init__(self, tree: ast.Module, allowed_imports: frozenset[str]) -> None:
        self.findings: list[Finding] = []
        self._allowed_imports = allowed_imports
        self._imported: dict[str, str] = {}
        self._modules: set[str] = set()
        self._classes: dict[str, str] = {}
        self._functions: dict[str, ast.FunctionDef] = {}
        self._constants: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._dicts: set[str] = set()
        self._methods: dict[str, list[ast.FunctionDef]] = {}
        self._value_methods: set[str] = set()
        self._locals: list[set[str]] = []
        self._class_names: set[str] | None = None
        self._edges: dict[ast.FunctionDef, set[ast.FunctionDef]] = {}
        self._inside: ast.FunctionDef | None = None
        self._read_dicts: set[int] = set()
        self._key_functions: set[int] = set()
        self._declare(tree)
        for statement in tree.body:
            self._module_statement(statement)
        self._find_recursion()

    # reporting -------------------------------------------------------------------------------------------

    def _refuse(self, node: ast.AST, rule: str, message: str, instead: str) -> None:
        assert rule in RULES, rule
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(
                Finding(getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1, rule, message, instead)
            )

    # what the file declares ------------------------------------------------------------------------------

    def _declare(self, tree: ast.Module) -> None:
        """Note the names of the module before anything is judged, since functions may name later ones."""
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                self._imported.update({one.name: node.module or "" for one in node.names})
                self._dicts.update(
                    one.name
                    for one in node.names
                    if _is_member_name(one.name) and node.module != "guildbook.contract"
                )
            elif isinstance(node, ast.Import):
                self._modules.update(one.name for one in node.names)
            elif isinstance(node, ast.ClassDef):
                self._classes[node.name] = _base_name(node.bases[0]) if len(node.bases) == 1 else ""
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef):
                        self._methods.setdefault(inner.name, []).append(inner)
                        if self._classes[node.name] != "Contract":
                            self._value_methods.add(inner.name)
            elif isinstance(node, ast.FunctionDef):
                self._functions[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [name for target in targets for name in _targets(target)]
                self._constants.update(names)
                if isinstance(node.value, ast.Dict):
                    self._dicts.update(names)
                number = self._number(node.value)
                if number is not None:
                    self._numbers.update(dict.fromkeys(names, number))

    def _number(self, node: ast.expr | None) -> int | None:
        """The value of an integer constant, a product or a sum of such; None of anything else."""
        match node:
            case ast.Constant(value=value) if type(value) is int:
                return value
            case ast.Name(id=name):
                return self._numbers.get(name)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() as operator, right=right):
                one, other = self._number(left), self._number(right)
                if one is None or other is None:
                    return None
                if isinstance(operator, ast.Mult):
                    return one * other
                return one + other if isinstance(operator, ast.Add) else one - other
        return None

    # the module ------------------------------------------------------------------------------------------

    def _module_statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                return
            case ast.Import() | ast.ImportFrom():
                self._import(node)
            case ast.ClassDef():
                self._class(node)
            case ast.FunctionDef():
                self._bindable(node, node.name)
                self._function(node)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._bindable(node, name)
                self._constant(value, dicts=True)
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
                self._bindable(node, name)
                self._annotation(node.annotation)
                self._constant(value, dicts=True)
            case _ if type(node).__name__ in REFUSED_NODES:
                self.visit(node)
            case _:
                self._refuse(node, "module_state", "a statement that runs when the file is loaded", _MODULE_EXPECTS)

    def _bindable(self, node: ast.AST, name: str) -> None:
        """Refuse a name that would hide a builtin or belongs to the interpreter."""
        if name.startswith("__") or not name.isascii():
            self._refuse(node, "private", f"the name {name}", "choose a name of a-z, 0-9 and _")
        elif name in ALLOWED_BUILTINS or name in REFUSED_BUILTINS:
            self._refuse(node, "name", f"{name} hides the builtin of that name", "choose another name")

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for one in node.names:
                if one.name != "enum" or one.asname is not None or "enum" not in self._allowed_imports:
                    self._refuse(
                        node,
                        "import",
                        f"import {one.name}{f' as {one.asname}' if one.asname else ''}",
                        self._import_hint(one.name),
                    )
            return
        module = node.module or ""
        if node.level or not self._may_import(module):
            self._refuse(node, "import", f"an import from {'.' * node.level}{module}", self._import_hint(module))
            return
        for one in node.names:
            if one.asname is not None:
                self._refuse(
                    node, "import", f"{one.name} under another name", f"import {one.name} under its own name"
                )
            if module == "guildbook.contract":
                if one.name not in guildbook.contract.__all__:
                    self._refuse(
                        node,
                        "import",
                        f"guildbook.contract does not offer {one.name}",
                        "import names of guildbook.contract.__all__",
                    )
            elif module == "enum":
                if one.name not in ("StrEnum", "auto"):
                    self._refuse(node, "import", f"enum.{one.name}", "use enum.StrEnum")
            elif not one.name.isascii() or not one.name[:1].isupper():
                self._refuse(node, "import", f"{one.name} of {module}", "import classes and constants only")

    def _may_import(self, module: str) -> bool:
        return module in self._allowed_imports or f"{module.rpartition('.')[0]}.*" in self._allowed_imports

    def _import_hint(self, module: str) -> str:
        return _IMPORT_HINTS.get(module.partition(".")[0], "import from " + ", ".join(sorted(self._allowed_imports)))

    # classes ---------------------------------------------------------------------------------------------

    def _class(self, node: ast.ClassDef) -> None:
        self._bindable(node, node.name)
        base = self._classes[node.name]
        if base not in _BASES:
            self._refuse(
                node,
                "class_body",
                f"class {node.name} does not derive from one class of the contract API",
                f"derive from one of {', '.join(_BASES)}",
            )
        for decorator in node.decorator_list:
            self._refuse(decorator, "decorator", f"a decorator of class {node.name}", "remove it")
        for keyword in node.keywords:
            if (
                base != "Contract"
                or keyword.arg not in ("name", "version")
                or not isinstance(keyword.value, ast.Constant)
            ):
                self._refuse(
                    keyword.value,
                    "class_body",
                    f"the class option {keyword.arg}",
                    "only a Contract has options, name and version, as constants",
                )
        self._class_names = {name for inner in node.body for name in self._bound_in_class(inner)}
        for inner in node.body:
            self._class_statement(inner, base)
        self._class_names = None

    def _bound_in_class(self, node: ast.stmt) -> Iterable[str]:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from _targets(target)

    def _class_statement(self, node: ast.stmt, base: str) -> None:
        match node:
            case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
                return
            case ast.FunctionDef():
                self._private_binding(node, node.name)
                self._function(node)
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                self._private_binding(node, name)
                self._annotation(node.annotation)
                if value is not None:
                    self._declaration(value, base)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._private_binding(node, name)
                self._declaration(value, base)
            case _ if type(node).__name__ in REFUSED_NODES:
                self.visit(node)
            case _:
                self._refuse(
                    node,
                    "class_body",
                    "a statement that runs when the class is made",
                    "keep fields, tables, constants and methods here",
                )

    def _private_binding(self, node: ast.AST, name: str) -> None:
        if name.startswith("__") or not name.isascii():
            self._refuse(
                node,
                "interpreter",
                f"{name}, which changes how the interpreter treats the class",
                "remove it; write a function with a plain name",
            )

    def _declaration(self, node: ast.expr, base: str) -> None:
        """The value of a class attribute: a constant, or one of the declarations of the contract API."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _DECLARATIONS:
            for one in (*node.args, *(keyword.value for keyword in node.keywords)):
                self._constant(one, lists=True)
            return
        if isinstance(node, ast.Call) and base == "StrEnum" and _base_name(node.func) == "auto" and not node.args:
            return
        self._constant(node)

    # constants and annotations ---------------------------------------------------------------------------

    def _constant(self, node: ast.expr, *, dicts: bool = False, lists: bool = False) -> None:
        """Refuse an expression that is not a constant: a literal, arithmetic of literals, a tuple, a class."""
        match node:
            case ast.Constant():
                self.visit(node)
            case ast.Name():
                self.visit(node)
            case ast.Attribute(value=ast.Name()):
                self.visit(node)
            case ast.UnaryOp(operand=operand):
                self._constant(operand)
            case ast.BinOp(left=left, right=right):
                self._power(node)
                self._repetition(node)
                self._operator(node.op, node)
                self._constant(left)
                self._constant(right)
            case ast.Tuple(elts=items):
                for item in items:
                    self._constant(item)
            case ast.Subscript():
                self._annotation(node)
            case ast.List(elts=items) if lists:
                for item in items:
                    self._constant(item)
            case ast.Dict(keys=keys, values=values) if dicts:
                for one in (*keys, *values):
                    if one is None:
                        self._refuse(node, "module_state", "a dict joined from another", "write the entries out")
                    else:
                        self._constant(one)
            case _ if type(node).__name__ in REFUSED_NODES:
                self.visit(node)
            case ast.List() | ast.Dict() | ast.ListComp() | ast.DictComp():
                self._refuse(
                    node,
                    "module_state",
                    "a value that can be changed, outside a function",
                    "use a tuple, or at the top of the module a dict of constants",
                )
            case ast.Call(func=ast.Name(id=name)) if name in REFUSED_BUILTINS:
                self.visit(node.func)
            case _:
                self._refuse(
                    node, "module_state", "a value that is computed when the file is loaded", _MODULE_EXPECTS
                )

    def _annotation(self, node: ast.expr | None) -> None:
        """Refuse an annotation that is not made of names: text in one would be evaluated."""
        if node is None:
            return
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and part.value is not None and part.value is not Ellipsis:
                self._refuse(
                    part,
                    "annotation",
                    f"{part.value!r} in an annotation",
                    "name the class itself; put it above this one",
                )
            elif not isinstance(part, _ANNOTATION_NODES):
                self._refuse(
                    part, "annotation", "an annotation that is computed", "name a type, tuple[X, ...] or X | None"
                )
            elif isinstance(part, ast.Name | ast.Attribute):
                self.visit(part)

    # functions -------------------------------------------------------------------------------------------

    def _function(self, node: ast.FunctionDef) -> None:
        for decorator in node.decorator_list:
            self._decorator(decorator)
        arguments = node.args
        for one in _arguments(arguments):
            self._annotation(one.annotation)
            if one.arg.startswith("__") or not one.arg.isascii():
                self._refuse(one, "private", f"the name {one.arg}", "choose a name of a-z, 0-9 and _")
        for rest in (arguments.vararg, arguments.kwarg):
            if rest is not None:
                self._refuse(rest, "statement", f"{rest.arg} takes any number of arguments", "name each argument")
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self._default(default)
        self._annotation(node.returns)
        outside, self._inside = self._inside, node
        in_class, self._class_names = self._class_names, None
        self._edges[node] = set()
        self._locals.append(_local_names(node))
        for statement in node.body:
            self.visit(statement)
        self._locals.pop()
        self._inside, self._class_names = outside, in_class

    def _default(self, node: ast.expr) -> None:
        before = len(self.findings)
        self._constant(node)
        if len(self.findings) > before and self.findings[before].rule == "module_state":
            found = self.findings[before]
            self.findings[before] = dataclasses.replace(
                found,
                rule="default",
                message="a default that is kept from call to call",
                instead="use None or a constant",
            )

    def _decorator(self, node: ast.expr) -> None:
        name = node.func if isinstance(node, ast.Call) else node
        if (
            not isinstance(name, ast.Name)
            or name.id not in _DECORATORS
            or name.id not in self._imported
            or self._class_names is None
        ):
            self._refuse(
                node, "decorator", "a decorator", f"use {', '.join(_DECORATORS)} on methods, or call the function"
            )
        if isinstance(node, ast.Call):
            for one in (*node.args, *(keyword.value for keyword in node.keywords)):
                self._constant(one)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """A function inside a function."""
        self._refuse(
            node, "statement", f"{node.name} is a function inside a function", "write it as a function of the module"
        )

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class inside a function."""
        self._refuse(
            node, "statement", f"{node.name} is a class inside a function", "write it at the top of the file"
        )

    def visit_Import(self, node: ast.Import) -> None:
        """An import inside a function."""
        self._refuse(node, "import", "an import inside a function", "import at the top of the file")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """An import inside a function."""
        self._refuse(node, "import", "an import inside a function", "import at the top of the file")

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """A lambda is the ``key`` of an ordering, and has no defaults."""
        if id(node) not in self._key_functions:
            self._refuse(
                node,
                "indirect_call",
                "a lambda",
                "use a lambda only as key= of sorted, min or max; else write a function of the module",
            )
        if node.args.defaults or node.args.kw_defaults or node.args.vararg or node.args.kwarg:
            self._refuse(node, "default", "a lambda with defaults", "take the values as plain arguments")
        self._locals.append({one.arg for one in _arguments(node.args)})
        self.visit(node.body)
        self._locals.pop()

    # statements ------------------------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> None:
        """Assign to local names and to items of local lists and dicts."""
        for target in node.targets:
            self._target(target)
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """As an assignment; the operator is judged as in an expression."""
        self._target(node.target)
        self._operator(node.op, node)
        if isinstance(node.op, ast.Pow | ast.LShift):
            self._refuse(
                node, "power", "a power of a value that is not constant", "use a tuple of the powers that occur"
            )
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """As an assignment; the annotation is judged as everywhere."""
        self._target(node.target)
        self._annotation(node.annotation)
        if node.value is not None:
            self.visit(node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        """As an assignment."""
        self._target(node.target)
        self.visit(node.value)

    def visit_Delete(self, node: ast.Delete) -> None:
        """Delete items of local lists and dicts only."""
        for target in node.targets:
            if isinstance(target, ast.Subscript):
                self._target(target)
            else:
                self._refuse(
                    target, "statement", "del of a name or attribute", "use table.delete(row), or leave the name"
                )

    def _target(self, target: ast.expr) -> None:
        match target:
            case ast.Name(id=name):
                if name.startswith("__") or not name.isascii():
                    self._refuse(target, "private", f"the name {name}", "choose a name of a-z, 0-9 and _")
            case ast.Tuple(elts=items) | ast.List(elts=items):
                for item in items:
                    self._target(item)
            case ast.Starred(value=value):
                self._target(value)
            case ast.Subscript(value=value, slice=place):
                root: ast.expr = value
                while isinstance(root, ast.Subscript):
                    root = root.value
                if isinstance(root, ast.Name) and self._is_local(root.id):
                    self.visit(value)
                else:
                    self._refuse(
                        target,
                        "attribute_state",
                        "a change inside something that outlives the call",
                        "use table.update(row, field=value), or a local list or dict",
                    )
                self.visit(place)
            case ast.Attribute(attr=name):
                self._refuse(
                    target,
                    "attribute_state",
                    f"the attribute {name} is set",
                    "use table.update(row, field=value); for a passing value use a local name",
                )
            case _:
                self.visit(target)

    def visit_For(self, node: ast.For) -> None:
        """A loop ends: what it iterates has a bound and does not grow meanwhile."""
        self._target(node.target)
        if isinstance(node.iter, ast.Name):
            self._read_dicts.add(id(node.iter))
        self.visit(node.iter)
        if isinstance(node.iter, ast.Name):
            self._growth(node, node.iter.id)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    def _growth(self, node: ast.For, name: str) -> None:
        for inner in (part for statement in node.body for part in ast.walk(statement)):
            grows = (
                isinstance(inner, ast.Call)
                and isinstance(inner.func, ast.Attribute)
                and inner.func.attr in _GROWING
                and isinstance(inner.func.value, ast.Name)
                and inner.func.value.id == name
            ) or (isinstance(inner, ast.AugAssign) and isinstance(inner.target, ast.Name) and inner.target.id == name)
            if grows:
                self._refuse(
                    inner,
                    "loop",
                    f"{name} changes while it is iterated",
                    f"iterate over list({name}), or collect the changes in another list",
                )

    def visit_Raise(self, node: ast.Raise) -> None:
        """Raise refusals of this file, or of a foundation contract's, without a cause."""
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        named = isinstance(raised, ast.Name) and (
            self._classes.get(raised.id) == "Rejected" or raised.id in self._imported
        )
        if not named or node.cause is not None:
            self._refuse(
                node,
                "exception",
                "raise of something else than a refusal",
                "declare a class of Rejected, list it in rejections, and raise it",
            )
        if isinstance(node.exc, ast.Call) and named:
            self._call_arguments(node.exc)

    # expressions -----------------------------------------------------------------------------------------

    def visit_Constant(self, node: ast.Constant) -> None:
        """Integers, text, bytes, True, False and None."""
        if isinstance(node.value, float | complex):
            self._refuse(
                node,
                "float",
                f"the float {node.value!r}",
                "use integers in minor units, or a numerator and a denominator",
            )

    def visit_Name(self, node: ast.Name) -> None:
        """A name that is read is one of the file, of its imports, or a builtin on the list."""
        name = node.id
        if isinstance(node.ctx, ast.Store) or self._is_local(name):
            return
        if self._class_names is not None and name in self._class_names and name not in REFUSED_BUILTINS:
            return
        if name.startswith("__") and name not in REFUSED_BUILTINS:
            self._refuse(node, "interpreter", f"the name {name}", "remove it")
        elif name in self._functions:
            if self._inside is not None:
                self._edges[self._inside].add(self._functions[name])
        elif name in self._dicts:
            if id(node) not in self._read_dicts:
                self._refuse(
                    node,
                    "module_state",
                    f"the constant {name} is handed on, and could be changed there",
                    f"read it in place: {name}[key], {name}.get(key), key in {name}, for key in {name}",
                )
        elif name in self._classes or name in self._imported or name in self._constants or name in self._modules:
            return
        elif name in REFUSED_BUILTINS:
            rule, instead = REFUSED_BUILTINS[name]
            self._refuse(node, rule, f"the builtin {name}", instead)
        elif name not in ALLOWED_BUILTINS:
            if isinstance(vars(builtins).get(name), type) and issubclass(vars(builtins)[name], BaseException):
                self._refuse(node, "exception", f"the exception {name}", "declare a class of Rejected and raise it")
            elif hasattr(builtins, name):
                self._refuse(node, "builtin", f"the builtin {name}", f"use {', '.join(sorted(ALLOWED_BUILTINS))}")
            else:
                self._refuse(
                    node, "name", f"the name {name} is not known in this file", "define it, or import it at the top"
                )

    def _is_local(self, name: str) -> bool:
        return any(name in names for names in self._locals)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Attributes of values, rows and tables; nothing that leads out of the contract."""
        name, base = node.attr, node.value
        plain = base.id if isinstance(base, ast.Name) and not self._is_local(base.id) else ""
        own = isinstance(base, ast.Name) and base.id == "self"
        if name.startswith("__"):
            self._refuse(node, "interpreter", f"the attribute {name}", "use isinstance(), or name the field")
        elif name in REFUSED_ATTRIBUTES:
            self._refuse(node, "interpreter", f"the attribute {name}", "remove it")
        elif name.startswith("_"):
            if not own or name not in self._methods:
                self._refuse(
                    node,
                    "private",
                    f"the attribute {name} of another class",
                    "use what guildbook.contract offers; a private name is a method of this file, called on self",
                )
        elif plain in _TYPE_METHODS:
            if name not in _TYPE_METHODS[plain]:
                self._refuse(
                    node, "text_method", f"{plain}.{name}", "call the method on a value, or see the rules of text"
                )
        elif plain == "enum":
            if name not in ("StrEnum", "auto"):
                self._refuse(node, "import", f"enum.{name}", "use enum.StrEnum")
        elif plain in self._dicts:
            if name in _DICT_READS:
                self._read_dicts.add(id(base))
        elif plain in self._classes or plain in self._imported:
            if not _is_member_name(name):
                self._refuse(
                    node, "private", f"{plain}.{name}", "read members of enumerations only; call methods on self"
                )
        elif own and name in _CONTRACT_INTERNALS and name not in self._methods:
            self._refuse(
                node,
                "private",
                f"self.{name}",
                "use the tables, and what a contract offers: sender, now, height, has_role, sequence, emit",
            )
        self._method_edges(name, own=own)
        self.visit(base)

    def _method_edges(self, name: str, *, own: bool) -> None:
        """Note that the running function may reach the methods called ``name``."""
        if self._inside is not None and name in self._methods and (own or name in self._value_methods):
            self._edges[self._inside].update(self._methods[name])

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Items and slices."""
        if isinstance(node.value, ast.Name):
            self._read_dicts.add(id(node.value))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """``is`` is for what exists once; ``in`` may look into a constant dict."""
        sides = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
            if isinstance(operator, ast.Is | ast.IsNot) and not (self._exists_once(left) or self._exists_once(right)):
                self._refuse(node, "identity", "`is` between values, which may or may not be one object", "use ==")
            if isinstance(operator, ast.In | ast.NotIn) and isinstance(right, ast.Name):
                self._read_dicts.add(id(right))
        self.generic_visit(node)

    def _exists_once(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Constant):
            return node.value is None or node.value is True or node.value is False
        return (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and _is_member_name(node.attr)
            and (node.value.id in self._classes or node.value.id in self._imported)
        )

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Arithmetic of integers; joining of text."""
        self._operator(node.op, node)
        self._power(node)
        self._repetition(node)
        if (
            isinstance(node.op, ast.Mod)
            and isinstance(node.left, ast.JoinedStr | ast.Constant)
            and not (isinstance(node.left, ast.Constant) and isinstance(node.left.value, int))
        ):
            self._refuse(node, "formatting", "% on text, which formats", 'join text with +, or use f"{name}"')
        self.visit(node.left)
        self.visit(node.right)

    def _operator(self, operator: ast.operator, node: ast.AST) -> None:
        refused = REFUSED_NODES.get(type(operator).__name__)
        if refused is not None:
            self._refuse(node, *refused)

    def _power(self, node: ast.BinOp) -> None:
        if not isinstance(node.op, ast.Pow | ast.LShift):
            return
        exponent = node.right
        known = (
            isinstance(exponent, ast.Constant) and type(exponent.value) is int and 0 <= exponent.value <= EXPONENT_MAX
        )
        base = isinstance(node.left, ast.Constant) and type(node.left.value) is int and node.left.value <= 1_000_000
        if not (known and base):
            self._refuse(
                node,
                "power",
                "a power of values that are not constant, which can be a float or without bound",
                f"use constants with an exponent from 0 to {EXPONENT_MAX}, or a tuple of the powers that occur",
            )

    def _repetition(self, node: ast.BinOp) -> None:
        if not isinstance(node.op, ast.Mult):
            return
        for one, other in ((node.left, node.right), (node.right, node.left)):
            literal = isinstance(one, ast.List | ast.Tuple | ast.JoinedStr) or (
                isinstance(one, ast.Constant) and isinstance(one.value, str | bytes)
            )
            if literal and not self._bounded(other):
                self._refuse(node, "loop", "a repetition without a bound", "use min(count, BOUND) with a constant")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Text with names in it: no format, no conversion, no expressions beyond attributes and items."""
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                if part.format_spec is not None or part.conversion != -1:
                    self._refuse(part, "formatting", "a format or conversion in text", "use {name} alone")
                inner = part.value
                while isinstance(inner, ast.Attribute):
                    inner = inner.value
                if not isinstance(inner, ast.Name) or (part.value is inner and inner.id == "self"):
                    self._refuse(
                        part, "formatting", "an expression in text", "give the value a name first, an integer or text"
                    )
                self.visit(part.value)

    def visit_Call(self, node: ast.Call) -> None:
        """A call names what it calls."""
        match node.func:
            case ast.Name(id=name):
                if self._is_local(name):
                    self._refuse(
                        node, "indirect_call", f"a call of {name}, which is a value", "name the function itself"
                    )
                else:
                    self._builtin_call(node, name)
                    self.visit(node.func)
            case ast.Attribute(attr=name):
                self._method_call(node, name)
                self.visit(node.func)
            case _:
                self._refuse(node, "indirect_call", "a call of what an expression gives", "name the function itself")
                self.visit(node.func)
        self._call_arguments(node)

    def _call_arguments(self, node: ast.Call) -> None:
        for one in node.args:
            self.visit(one)
        for keyword in node.keywords:
            if keyword.arg == "key" and isinstance(keyword.value, ast.Lambda):
                self._key_functions.add(id(keyword.value))
            self.visit(keyword.value)

    def _builtin_call(self, node: ast.Call, name: str) -> None:
        if name in self._functions or name in self._classes or name in self._imported:
            return
        if name in _DICT_READERS:
            self._read_dicts.update(id(one) for one in node.args if isinstance(one, ast.Name))
        if name in ("sorted", "min", "max"):
            self._key(node)
        if name == "int":
            self._refuse(
                node,
                "text_method",
                "a call of int(), which reads digits by the Unicode version and a limit of the process",
                "declare the argument as Int; of a bool write 1 if value else 0",
            )
        if name in ("str", "bytes") and len(node.args) + len(node.keywords) > 1:
            self._refuse(node, "text_method", f"{name}() with an encoding", "use text.encode() or data.decode()")
        if name == "str" and node.args and isinstance(node.args[0], ast.Name) and node.args[0].id == "self":
            self._refuse(node, "formatting", "the text of a contract, which shows an address", "use its name as text")
        if name == "next" and len(node.args) != 2:
            self._refuse(node, "exception", "next() without a default", "write next(values, None)")
        if name == "range":
            for one in node.args:
                if not self._bounded(one):
                    self._refuse(
                        one,
                        "loop",
                        "a range without a bound, which one caller could make endless",
                        "use range(min(count, BOUND)) with a constant, or iterate over the values",
                    )

    def _bounded(self, node: ast.expr) -> bool:
        """Whether the integer that ``node`` gives has a bound that can be read here."""
        match node:
            case ast.Constant(value=value):
                return type(value) is int and abs(value) <= LOOP_CONSTANT_MAX
            case ast.Name(id=name):
                return (
                    not self._is_local(name)
                    and abs(self._numbers.get(name, LOOP_CONSTANT_MAX + 1)) <= LOOP_CONSTANT_MAX
                )
            case ast.UnaryOp(operand=operand):
                return self._bounded(operand)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult(), right=right):
                return self._bounded(left) and self._bounded(right)
            case ast.BinOp(op=ast.Mod() | ast.BitAnd(), right=right):
                return self._bounded(right)
            case ast.BinOp(left=left, op=ast.FloorDiv()):
                return self._bounded(left)
            case ast.IfExp(body=body, orelse=orelse):
                return self._bounded(body) and self._bounded(orelse)
            case ast.Call(func=ast.Name(id="len")):
                return True
            case ast.Call(func=ast.Name(id="min"), args=options):
                return any(self._bounded(one) for one in options)
            case ast.Call(func=ast.Name(id="max"), args=options):
                return bool(options) and all(self._bounded(one) for one in options)
        return False

    def _key(self, node: ast.Call) -> None:
        """The ``key`` of an ordering: a lambda, a function of the module, or a method of the contract."""
        for keyword in node.keywords:
            value = keyword.value
            named = isinstance(value, ast.Name) and value.id in (*self._functions, "len", "abs")
            method = (
                isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id == "self"
            )
            if keyword.arg == "key" and not (named or method or isinstance(value, ast.Lambda)):
                self._refuse(value, "indirect_call", "a key that is a value", "use key=lambda row: row.field")

    def _method_call(self, node: ast.Call, name: str) -> None:
        if name in REFUSED_METHODS and not (isinstance(node.func, ast.Attribute) and self._is_own_call(node.func)):
            rule, instead = REFUSED_METHODS[name]
            self._refuse(node, rule, f"the text method {name}()", instead)
        if name in _NEEDS_ARGUMENT and not node.args:
            self._refuse(
                node,
                "text_method",
                f"{name}() without an argument, which follows the Unicode version",
                f'name the characters: {name}(" ")',
            )
        if name in ("encode", "decode"):
            codec = node.args[0] if node.args else None
            known = codec is None or (isinstance(codec, ast.Constant) and codec.value in _CODECS)
            if not known or len(node.args) > 1 or node.keywords:
                self._refuse(node, "text_method", f"{name}() with another codec than UTF-8", f"write {name}()")
        if name == "sort":
            self._key(node)

    def _is_own_call(self, node: ast.Attribute) -> bool:
        """Whether the method is one of this file's own, called on ``self``."""
        return isinstance(node.value, ast.Name) and node.value.id == "self" and node.attr in self._methods

    def visit_ListComp(self, node: ast.ListComp) -> None:
        """A comprehension has names of its own."""
        self._comprehension(node.generators, [node.elt])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        """See visit_ListComp."""
        self._comprehension(node.generators, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        """See visit_ListComp."""
        self._comprehension(node.generators, [node.key, node.value])

    def _comprehension(self, generators: list[ast.comprehension], results: list[ast.expr]) -> None:
        names: set[str] = set()
        for generator in generators:
            if generator.is_async:
                self._refuse(generator.iter, "asynchronous", "an async comprehension", "write for")
            if isinstance(generator.iter, ast.Name):
                self._read_dicts.add(id(generator.iter))
            self.visit(generator.iter)
            names.update(_targets(generator.target))
            self._locals.append(names)
            self._target(generator.target)
            for condition in generator.ifs:
                self.visit(condition)
        for result in results:
            self.visit(result)
        for _ in generators:
            self._locals.pop()

    def generic_visit(self, node: ast.AST) -> None:
        """Refuse a node of a kind that is not on the list; go inside one that is."""
        kind = type(node).__name__
        refused = REFUSED_NODES.get(kind)
        if refused is not None and not isinstance(node, ast.operator):
            self._refuse(node, *refused)
        elif refused is None and kind not in ALLOWED_NODES:
            self._refuse(
                node,
                "statement",
                f"{kind}, which is not on the list of what a contract may say",
                "write it with if, for, assignments and calls",
            )
        super().generic_visit(node)

    # recursion -------------------------------------------------------------------------------------------

    def _find_recursion(self) -> None:
        """Refuse each function from which a path of calls leads back to it."""
        for start in self._edges:
            path = self._way_back(start)
            if path:
                self._refuse(
                    start,
                    "recursion",
                    f"{' -> '.join(path)}",
                    "use a loop with a bound; the depth of the stack differs from node to node",
                )

    def _way_back(self, start: ast.FunctionDef) -> list[str]:
        came_from: dict[ast.FunctionDef, ast.FunctionDef] = {}
        waiting = [start]
        while waiting:
            here = waiting.pop()
            for there in sorted(self._edges.get(here, ()), key=lambda one: one.lineno):
                if there is start:
                    names = [start.name]
                    while here is not start:
                        names.append(here.name)
                        here = came_from[here]
                    return [start.name, *reversed(names)]
                if there not in came_from:
                    came_from[there] = here
                    waiting.append(there)
        return []
