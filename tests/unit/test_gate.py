"""The determinism gate: what passes, what is refused by which rule, and that it never fails itself."""

import ast
import builtins
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

import guildbook
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime import gate
from guildbook.runtime.gate import (
    ALLOWED_BUILTINS,
    ALLOWED_NODES,
    CONTRACT_IMPORTS,
    REFUSED_ATTRIBUTES,
    REFUSED_BUILTINS,
    REFUSED_METHODS,
    REFUSED_NODES,
    RULES,
    Finding,
    check_source,
    require_deterministic,
)

PACKAGE = Path(guildbook.__file__).parent
PAGE = PACKAGE.parent.parent / "docs" / "spec" / "determinism.md"

GOOD = '''"""A contract that uses most of what is allowed."""

import enum

from guildbook.contract import Code, Contract, Event, NonNegative, Positive, Record, Rejected, Table, command, invariant
from guildbook.contract import key, query, require

LOTS_PER_CALL_MAX = 10 * 10
RATES: dict[str, int] = {"gold": 3, "silver": 2}
KINDS = ("a", "b")
LIMIT = 2**40 - 1
MaybeCode = Code | None


class Colour(enum.StrEnum):
    """Colours."""

    RED = "red"
    BLUE = enum.auto()


class Lot(Record):
    """A lot."""

    id: int = key()
    holder: Code
    units: NonNegative
    colour: Colour = Colour.RED
    note: Code | None = None
    parts: tuple[int, ...] = ()


class Taken(Event):
    """Taken."""

    id: int
    units: Positive


class TooMany(Rejected):
    """Too many units."""

    units: int


def half(value: int) -> int:
    """Half."""
    return value // 2


class Lots(Contract, name="lots", version=1):
    """Lots."""

    lots = Table(Lot, index=[("holder", "id")])
    events = (Taken,)
    rejections = (TooMany,)

    @command(role="issuer")
    def take(self, holder: Code, id: int, units: Positive, colours: tuple[Code, ...] = ()) -> int:
        """Take units of a lot."""
        row = self.lots.get(id)
        if row is None:
            raise TooMany(units=0)
        require(row.units >= units and row.colour is Colour.RED, TooMany, units=units)
        totals: dict[str, int] = {}
        seen = [one for one in self.lots.find(holder, limit=LOTS_PER_CALL_MAX) if one.units > 0]
        for place in range(min(units, LOTS_PER_CALL_MAX)):
            totals[str(place)] = totals.get(str(place), 0) + place % 3
        for name in RATES:
            totals[name] = RATES[name]
        ordered = sorted(seen, key=lambda one: (one.units, one.id))
        first = next(self.lots.find(holder), None)
        text = f"{holder}/{row.id}" + "".join(part.split("-")[0] for part in colours)
        if (left := row.units - units) < 0 or first is not None and text in KINDS:
            del totals["gold"]
        self.lots.update(row, units=left)
        self._note(row)
        self.emit(Taken(id=row.id, units=units))
        return half(sum(one.units for one in ordered)) + len(text.encode()) - (1 << 3)

    def _note(self, row: Lot) -> None:
        """Note."""
        assert row.units <= LIMIT, "a law"

    @query
    def rate(self, name: Code) -> int:
        """The rate."""
        return RATES.get(name, 0) if name in RATES else max(RATES.values())

    @invariant
    def never_negative(self) -> None:
        """A law."""
        for row in self.lots.find(index=()):
            assert row.units >= 0
'''


def findings(body: str) -> list[Finding]:
    """What the gate finds in a command whose body is ``body``, in an otherwise good file."""
    lines = "\n".join("        " + line for line in body.splitlines())
    return check_source(
        GOOD
        + f'''
    @command
    def tried(self, holder: Code, units: Positive, values: tuple[int, ...] = ()) -> int:
        """Tried."""
{lines}
''',
        "lots.py",
    )


def module_findings(text: str) -> list[Finding]:
    """What the gate finds in a good file with ``text`` behind its imports."""
    return check_source(
        GOOD.replace("LOTS_PER_CALL_MAX = 10 * 10", "LOTS_PER_CALL_MAX = 10 * 10\n" + text), "lots.py"
    )


def rules(found: list[Finding]) -> set[str]:
    return {one.rule for one in found}


def test_a_contract_that_uses_what_is_allowed_passes():
    assert check_source(GOOD, "lots.py") == []
    require_deterministic(GOOD, "lots.py")


@pytest.mark.parametrize(
    "path",
    sorted(path for path in (PACKAGE / "foundation").glob("*.py") if "(Contract, name=" in path.read_text())
    + sorted(PACKAGE.parent.glob("guildbook_apps/*/contract.py")),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_every_contract_of_the_project_passes(path):
    assert [str(one) for one in check_source(path.read_text(), path.name)] == []


COMMAND_BODIES = [
    # floats
    ("return 0.5 * units", "float"),
    ("return units / 2", "float"),
    ("units /= 2\nreturn units", "float"),
    ("return float(units)", "float"),
    ("return complex(1, 2)", "float"),
    ("return 1j", "float"),
    ("return round(units, 2)", "float"),
    ("return pow(2, -1)", "power"),
    ("return 2 ** -1", "power"),
    ("return 10 ** units", "power"),
    ("return 1 << units", "power"),
    ("units **= 2\nreturn units", "power"),
    # clocks, randomness, input and output
    ("import time\nreturn time.time()", "import"),
    ("from random import random\nreturn random()", "import"),
    ("return open('/etc/passwd').read()", "builtin"),
    ("print(units)", "builtin"),
    ("return input()", "builtin"),
    ("breakpoint()", "builtin"),
    # order and addresses
    ("return len({1, 2})", "set"),
    ("return [one for one in {u for u in values}]", "set"),
    ("return set(values)", "set"),
    ("return frozenset(values)", "set"),
    ("return hash(holder)", "builtin"),
    ("return id(self)", "builtin"),
    ("return repr(self)", "builtin"),
    ("return str(self)", "formatting"),
    ('return f"{self}"', "formatting"),
    ("return units is 7", "identity"),
    ("return holder is not self.sender.party", "identity"),
    # text
    ("return holder.upper()", "text_method"),
    ("return holder.casefold()", "text_method"),
    ("return holder.isdigit()", "text_method"),
    ("return holder.split()", "text_method"),
    ("return holder.strip()", "text_method"),
    ("return holder.splitlines()", "text_method"),
    ("return holder.encode('idna')", "text_method"),
    ("return holder.encode(errors='replace')", "text_method"),
    ("return str(b'', 'utf-8')", "text_method"),
    ("return int(holder)", "text_method"),
    ("return sorted(values, key=str.lower)", "text_method"),
    ('return "%s" % self', "formatting"),
    ('return f"{units:,}"', "formatting"),
    ('return f"{units!r}"', "formatting"),
    ('return f"{units + 1}"', "formatting"),
    ('return f"{self.lots.get(1)}"', "formatting"),
    # state beside the tables
    ("self.last = units", "attribute_state"),
    ("self.last += units", "attribute_state"),
    ("Lots.last = units", "attribute_state"),
    ("row = self.lots.get(1)\nrow.units = 2", "attribute_state"),
    ("self.cache[holder] = units", "attribute_state"),
    ("RATES['gold'] = 4", "attribute_state"),
    ("del RATES['gold']", "attribute_state"),
    ("RATES.update(gold=4)", "module_state"),
    ("rates = RATES\nrates['gold'] = 4", "module_state"),
    ("return half(RATES)", "module_state"),
    ("setattr(self, 'x', 1)", "attribute_state"),
    ("global LIMIT\nLIMIT = 1", "scope"),
    ("nonlocal units", "scope"),
    ("del units", "statement"),
    # catching
    ("try:\n    return 1\nexcept Exception:\n    return 2", "exception"),
    ("try:\n    pass\nfinally:\n    pass", "exception"),
    ("with self.lots as lots:\n    pass", "statement"),
    ("raise ValueError('x')", "exception"),
    ("raise TooMany(units=1) from None", "exception"),
    ("raise", "exception"),
    ("return next(self.lots.find(holder))", "exception"),
    # work without a bound
    ("while True:\n    pass", "loop"),
    ("while units:\n    units -= 1", "loop"),
    ("for one in range(units):\n    pass", "loop"),
    ("for one in range(10_000_000):\n    pass", "loop"),
    ("for one in range(LIMIT):\n    pass", "loop"),
    ("found = [1]\nfor one in found:\n    found.append(one)", "loop"),
    ("found = [1]\nfor one in found:\n    found += [one]", "loop"),
    ('return "x" * units', "loop"),
    ("return (0,) * units", "loop"),
    ("return self.tried(holder, units)", "recursion"),
    # indirection
    ("call = half\nreturn call(units)", "indirect_call"),
    ("return (half or half)(units)", "indirect_call"),
    ("double = lambda one: one * 2\nreturn double(units)", "indirect_call"),
    ("return sorted(values, key=holder.find)", "indirect_call"),
    ("return sorted(values, key=lambda one, cache=[]: one)", "default"),
    ("yield units", "generator"),
    ("yield from values", "generator"),
    ("await self.lots", "asynchronous"),
    ("return [one async for one in values]", "asynchronous"),
    ("def inner():\n    return 1\nreturn inner()", "statement"),
    ("class Inner:\n    pass", "statement"),
    ("match units:\n    case 1:\n        pass", "statement"),
    ("return undefined_name", "name"),
    ("return self.lots._overlay", "private"),
    ("return self._context.sender", "private"),
    ("return self.tables", "private"),
    ("return self.bind_use('lots', self)", "private"),
    ("return Lots.lots", "private"),
    ("return super().take(holder, units)", "builtin"),
    ("return type(self)", "builtin"),
    ("return object()", "builtin"),
    ("units: 'int' = 1", "annotation"),
    ("return @", "syntax"),
]


@pytest.mark.parametrize(
    ("body", "rule"), COMMAND_BODIES, ids=[body.splitlines()[0] for body, _rule in COMMAND_BODIES]
)
def test_a_command_is_refused_for(body, rule):
    found = findings(body)
    assert rule in rules(found), found
    assert all(one.message and one.instead for one in found)


ESCAPES = [
    ("().__class__.__base__.__subclasses__()", "interpreter"),
    ("().__class__.__mro__[1].__subclasses__()[40]('/etc/passwd').read()", "interpreter"),
    ("self.__init__.__globals__", "interpreter"),
    ("half.__globals__['__builtins__']['eval']('1')", "interpreter"),
    ("half.__code__.co_consts", "interpreter"),
    ("half.__defaults__", "interpreter"),
    ("half.__wrapped__", "interpreter"),
    ("__builtins__", "interpreter"),
    ("__name__", "interpreter"),
    ("__import__('os').system('id')", "import"),
    ('"{0.__class__.__init__.__globals__}".format(self)', "formatting"),
    ('"{x}".format_map(self)', "formatting"),
    ("holder.format(self)", "formatting"),
    ('sorted([self], key="{0.__class__}".format)', "indirect_call"),
    ("str.format(holder, self)", "text_method"),
    ("(one for one in values).gi_frame", "interpreter"),
    ("(one for one in values).gi_frame.f_back.f_back.f_globals", "interpreter"),
    ("(one for one in values).gi_code.co_consts", "interpreter"),
    ("self.tried.cr_frame", "interpreter"),
    ("self.tried.ag_frame", "interpreter"),
    ("TooMany(units=1).with_traceback(None)", "interpreter"),
    ("TooMany(units=1).__traceback__.tb_frame.f_back", "interpreter"),
    ("holder.tb_next", "interpreter"),
    ("int.mro()", "interpreter"),
    ("type('X', (object,), {'x': 1})", "builtin"),
    ("type(self)", "builtin"),
    ("object.__setattr__(self, 'x', 1)", "builtin"),
    ("getattr(self, 'lo' + 'ts')", "builtin"),
    ("vars(self)", "builtin"),
    ("dir(self)", "builtin"),
    ("globals()['LIMIT']", "builtin"),
    ("locals()", "builtin"),
    ("eval('1 + 1')", "builtin"),
    ("exec('1')", "builtin"),
    ("compile('1', '', 'eval')", "builtin"),
    ("memoryview(b'x')", "builtin"),
    ("license()", "builtin"),
    ("self.lots.schema.__class__", "interpreter"),
    ("ｅｖａｌ('1')", "builtin"),
    ("getattr(getattr, '__self__')", "builtin"),
    ("len.__self__", "interpreter"),
    ("[].__class_getitem__", "interpreter"),
    ("[one for one in ().__reduce_ex__(2)]", "interpreter"),
    ("(lambda: 0)()", "indirect_call"),
    ("enum._sys.modules", "private"),
    ("enum.sys", "import"),
    ("Colour._member_map_", "private"),
    ("TooMany.message()", "private"),
]


@pytest.mark.parametrize(("expression", "rule"), ESCAPES, ids=[expression for expression, _rule in ESCAPES])
def test_a_known_way_into_the_interpreter_is_refused(expression, rule):
    found = findings(f"return {expression}")
    assert rule in rules(found), found


MODULE_TEXTS = [
    ("import os", "import"),
    ("import enum as e", "import"),
    ("import guildbook.contract", "import"),
    ("from os import *", "import"),
    ("from . import contract", "import"),
    ("from guildbook.contract import *", "import"),
    ("from guildbook.contract import contract", "import"),
    ("from guildbook.contract.contract import inspect", "import"),
    ("from guildbook.contract import use as used", "import"),
    ("from guildbook.foundation.money import enum", "import"),
    ("from guildbook.runtime.identity import Organisation", "import"),
    ("from guildbook_apps.points.contract import Points", "import"),
    ("from enum import IntFlag", "import"),
    ("from __future__ import annotations", "import"),
    ("CACHE = []", "module_state"),
    ("CACHE = [x for x in KINDS]", "module_state"),
    ("NESTED = {'a': {'b': 1}}", "module_state"),
    ("MERGED = {**RATES}", "module_state"),
    ("NOW = half(3)", "module_state"),
    ("SEEN = {1, 2}", "set"),
    ("RATE = 0.5", "float"),
    ("RATE = 1 / 3", "float"),
    ("BIG = 10 ** 10 ** 10", "power"),
    ("for one in KINDS: pass", "module_state"),
    ("if KINDS: X = 1", "module_state"),
    ("half(1)", "module_state"),
    ("A = B = 1", "module_state"),
    ("RATES['x'] = 1", "module_state"),
    ("while True: pass", "loop"),
    ("async def later(): pass", "asynchronous"),
    ("def later(values=[]): pass", "default"),
    ("def later(values=half(1)): pass", "default"),
    ("def later(*values): pass", "statement"),
    ("def later(**values): pass", "statement"),
    ("def later(value: 'Code'): pass", "annotation"),
    ("def later(value: tuple['Code', ...]): pass", "annotation"),
    ("def later(value: half(1)): pass", "annotation"),
    ("def later(value: float): pass", "float"),
    ("def later() -> '__import__(\"os\")': pass", "annotation"),
    ("@query\ndef later(): pass", "decorator"),
    ("@half\ndef later(): pass", "decorator"),
    ("def first(): return second()\ndef second(): return first()", "recursion"),
    ("def first(): return sorted(KINDS, key=first)", "recursion"),
    ("def hash(): pass", "name"),
    ("len = 3", "name"),
    ("__all__ = ('x',)", "private"),
    ("class Plain: pass", "class_body"),
    ("class Both(Record, Event): pass", "class_body"),
    ("class Child(Lot): pass", "class_body"),
    ("class Meta(Record, metaclass=Lot): pass", "class_body"),
    ("class Frozen(Record, frozen=False): pass", "class_body"),
    ("@half\nclass Decorated(Record): pass", "decorator"),
    ("class Slots(Record):\n    __slots__ = ()", "interpreter"),
    ("class Hook(Record):\n    def __eq__(self, other): return True", "interpreter"),
    ("class Shared(Record):\n    seen = []", "module_state"),
    ("class Shared(Record):\n    seen: tuple[int, ...] = half(1)", "module_state"),
    ("class Loop(Record):\n    for one in KINDS: pass", "class_body"),
    ("class Deep(Record):\n    class Inner: pass", "class_body"),
    ("class Own(Record):\n    @property\n    def x(self): return 1", "decorator"),
    ("class Walk(Record):\n    def walk(self): return self.walk()", "recursion"),
    ("PATTERN = '\\d'", "syntax"),
    ("type X = int", "syntax"),
    ("def later[T](x: T): pass", "syntax"),
    ("# left to right \u202e mark", "hidden_text"),
    ("X = 'a\u2066b'", "hidden_text"),
]


@pytest.mark.parametrize(
    ("text", "rule"), MODULE_TEXTS, ids=[ascii(text.splitlines()[0]) for text, _rule in MODULE_TEXTS]
)
def test_a_module_is_refused_for(text, rule):
    found = module_findings(text)
    assert rule in rules(found), found


def test_every_rule_has_a_case_here():
    known = {rule for _text, rule in [*COMMAND_BODIES, *ESCAPES, *MODULE_TEXTS]}
    assert known == set(RULES)


@pytest.mark.parametrize("name", sorted(name for name in vars(builtins) if not name.startswith("_")))
def test_a_builtin_is_used_only_when_it_is_on_the_list(name):
    if name in ("True", "False", "None"):
        return
    found = findings(f"value = {name}")
    assert (found == []) == (name in ALLOWED_BUILTINS), found


@pytest.mark.parametrize("name", sorted(REFUSED_METHODS))
def test_a_text_method_on_the_list_is_refused(name):
    assert findings(f'return holder.{name}("x")')


@pytest.mark.parametrize("name", sorted(REFUSED_ATTRIBUTES))
def test_an_attribute_of_the_interpreter_is_refused(name):
    assert "interpreter" in rules(findings(f"return holder.{name}"))


def test_fields_may_be_called_as_text_methods_and_builtins_are():
    assert findings("row = self.lots.get(1)\nreturn row.format + row.title + row.id + row.hash + row.type") == []


def test_a_name_of_the_function_may_be_one_that_is_refused_as_a_builtin():
    assert findings("id = 3\nreturn id") == []


def test_a_name_bound_only_in_a_comprehension_is_not_known_outside_it():
    assert "builtin" in rules(findings("found = [hash for hash in values]\nreturn hash(holder)"))


def test_a_name_bound_by_a_walrus_in_a_comprehension_is_known_in_the_function():
    assert findings("found = [last := one for one in values]\nreturn last") == []


def test_every_kind_of_syntax_is_allowed_or_refused_by_name_or_refused_as_unknown():
    kinds = {name for name, kind in vars(ast).items() if isinstance(kind, type) and issubclass(kind, ast.AST)}
    assert kinds >= ALLOWED_NODES
    assert not ALLOWED_NODES & set(REFUSED_NODES)
    assert not ALLOWED_BUILTINS & set(REFUSED_BUILTINS)
    unknown = kinds - ALLOWED_NODES - set(REFUSED_NODES)
    assert {"Interactive", "Expression", "MatchClass", "ExceptHandler", "withitem"} <= unknown


def test_an_unknown_kind_of_syntax_is_refused():
    class Novelty(ast.stmt):
        """A statement that a later Python might have."""

    one = gate._Gate(ast.Module(body=[], type_ignores=[]), CONTRACT_IMPORTS)
    one.visit(Novelty(lineno=3, col_offset=4))
    assert [(found.line, found.column, found.rule) for found in one.findings] == [(3, 5, "statement")]


def test_the_platform_rows_are_open_to_the_contracts_that_write_them():
    text = (
        "from guildbook.contract import Contract\nfrom guildbook.runtime.identity import Organisation\n\n\n"
        'class Parties(Contract, name="{}", version=1):\n    pass\n'
    )
    assert check_source(text.format("parties"), "a.py") == []
    assert rules(check_source(text.format("points"), "a.py")) == {"import"}
    assert (
        check_source(
            text.format("points"),
            "a.py",
            allowed_imports=frozenset({"guildbook.contract", "guildbook.runtime.identity"}),
        )
        == []
    )


def test_imports_can_be_narrowed_to_the_foundation_contracts_that_are_declared():
    text = "from guildbook.foundation.money import Money"
    assert check_source(text, "a.py") == []
    assert rules(check_source(text, "a.py", allowed_imports=frozenset({"guildbook.contract"}))) == {"import"}


def test_the_error_carries_every_finding_and_says_where_and_what_instead():
    text = "import time\nRATE = 0.5\n"
    with pytest.raises(GuildbookError) as caught:
        require_deterministic(text, "rates.py")
    assert caught.value.code == "contract.not_deterministic"
    found = caught.value.fields["findings"]
    assert isinstance(found, list)
    assert [one.rule for one in found] == ["import", "float"]
    assert "rates.py:1:1 import: import time; use self.now, the block's time" in caught.value.message
    assert "rates.py:2:8 float: the float 0.5; use integers in minor units" in caught.value.message


def test_findings_are_in_order_of_place_and_at_most_a_hundred():
    found = check_source("\n".join(f"x{n} = 0.5" for n in range(500)), "a.py")
    assert len(found) == gate.FINDINGS_MAX
    assert found == sorted(found)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 300,
        "x = " + "1+" * 5000 + "1",
        "x = " + "-" * 3000 + "1",
        "[" * 150 + "]" * 150,
        "\0",
        "x = '\ud800'",
        "\ufeffx = 1",
        "if x:\n" + "".join(" " * n + "if x:\n" for n in range(1, 110)),
        "a" * 300_000,
        "f" * 200_000 + "(",
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_text_that_is_too_long_too_deep_or_no_python_is_a_finding_not_a_failure(text):
    found = check_source(text, "a.py")
    assert found == check_source(text, "a.py")
    assert all(isinstance(one, Finding) for one in found)
    assert found


@given(st.text())
def test_any_text_is_judged_without_a_failure(text):
    assert isinstance(check_source(text, "a.py"), list)


@given(
    st.integers(0, len(GOOD)),
    st.integers(0, 40),
    st.sampled_from(["", "(", "self", "lambda: 0", "=", ":", "\n", "__x__"]),
)
def test_a_damaged_contract_is_judged_without_a_failure(start, length, filling):
    assert isinstance(check_source(GOOD[:start] + filling + GOOD[start + length :], "a.py"), list)


def test_the_page_names_every_rule_builtin_method_and_attribute():
    page = PAGE.read_text()
    for rule, sentence in RULES.items():
        assert f"| `{rule}` | {sentence} |" in page
    for name in (*ALLOWED_BUILTINS, *REFUSED_METHODS, *REFUSED_ATTRIBUTES):
        assert f"`{name}`" in page, name
