"""Contracts: a class with typed tables on top and signed commands below.

Theory. The class is a declaration; the platform derives everything else from it (encoding, SQL tables, routes,
command line, forms, reference). An instance exists only while a block runs, bound to that block's overlay and to
the transaction's context. A command reads as three short paragraphs: guards, effects, event.

A contract may call the foundation contracts that it declares with ``use``. The signer stays the signer; the
callee sees the calling contract's name in ``self.caller``.
"""

import inspect
import typing
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar, cast, overload

import msgspec

from guildbook.contract.rejected import Rejected, bind_rejection
from guildbook.contract.table import Table
from guildbook.primitives.canonical import CanonicalError, decode, encode
from guildbook.primitives.identifiers import check_name
from guildbook.state.overlay import Overlay
from guildbook.state.record import (
    Event,
    FieldSpec,
    Positive,
    Record,
    bad_declaration,
    checker,
    field_specs,
    key,
    snake_case,
)

COMMANDS_MAX = 64
EVENTS_MAX = 64
TABLES_MAX = 32

Method = TypeVar("Method", bound=Callable[..., Any])
Used = TypeVar("Used", bound="Contract")


class Sender(NamedTuple):
    """The verified signer of the running transaction."""

    party: str
    organisation: str
    key: bytes


class Context:
    """What the runtime gives to the contracts of one transaction. Authors read it through ``self``."""

    __slots__ = (
        "caller",
        "events",
        "events_max",
        "frozen",
        "height",
        "network",
        "now",
        "permissions",
        "sender",
        "transaction_id",
    )

    def __init__(self, network: str, height: int, now: int) -> None:
        self.network = network
        self.height = height
        self.now = now
        self.sender = Sender("", "", b"")
        self.transaction_id = b""
        self.caller = ""
        self.permissions: Callable[[str], bool] = lambda _permission: False
        self.events: list[list[Any]] = []
        self.events_max = EVENTS_MAX
        self.frozen: Callable[[str, str], list[list[Any]] | None] | None = None


class TooManyEvents(Exception):
    """A transaction emitted more events than it may."""


class CommandSpec(msgspec.Struct, frozen=True):
    """One command as declared: its arguments in order, who may call it, and its documentation."""

    contract: str
    name: str
    role: str | None
    callers_only: bool
    arguments: tuple[FieldSpec, ...]
    arguments_type: Any
    result: Any
    doc: str

    @property
    def permission(self) -> str | None:
        """The network-wide permission that the signer needs, or None when any active party may call."""
        return None if self.role is None else f"{self.contract}:{self.role}"


class QuerySpec(msgspec.Struct, frozen=True):
    """One query as declared."""

    contract: str
    name: str
    arguments: tuple[FieldSpec, ...]
    arguments_type: Any
    doc: str


class EventSchema(msgspec.Struct, frozen=True):
    """One event as declared; ``name`` is snake case, ``fields`` in encoding order."""

    contract: str
    name: str
    fields: tuple[FieldSpec, ...]
    doc: str


@overload
def command(method: Method) -> Method: ...
@overload
def command(*, role: str | None = None, callers_only: bool = False) -> Callable[[Method], Method]: ...
def command(method: Any = None, *, role: str | None = None, callers_only: bool = False) -> Any:
    """Mark a method as a command.

    ``role`` names the permission ``<contract>:<role>`` which the signer needs; None lets any active party call.
    ``callers_only`` keeps transactions out: only other contracts may call it.
    """

    def mark(function: Any) -> Any:
        function.__command__ = (role, callers_only)
        return function

    return mark if method is None else mark(method)


def query(method: Method) -> Method:
    """Mark a method as a computed read: it may not write, and is served over the API and the command line."""
    method.__query__ = True  # type: ignore[attr-defined]
    return method


def invariant(method: Method) -> Method:
    """Mark a method as a law of the contract: it asserts, and is run after every block in tests and simulation."""
    method.__invariant__ = True  # type: ignore[attr-defined]
    return method


def migration(*, from_version: int) -> Callable[[Method], Method]:
    """Mark a method that brings the rows of an earlier version to this one; it runs once, at activation."""

    def mark(function: Method) -> Method:
        function.__migration__ = from_version  # type: ignore[attr-defined]
        return function

    return mark


class UseDeclaration:
    """What ``use`` leaves in a class body."""

    def __init__(self, contract: "type[Contract]") -> None:
        self.contract = contract


def use(contract: type[Used]) -> Used:
    """Declare that this contract calls ``contract``, a foundation contract, through the attribute it is given to."""
    return cast(Used, UseDeclaration(contract))


class Counter(Record):
    """The last number that a contract drew from one of its sequences."""

    name: str = key()
    last: Positive


def _arguments(owner: str, function: Callable[..., Any]) -> tuple[tuple[FieldSpec, ...], Any, Any]:
    """(specs, argument structure, result annotation) of a command or query."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    fields: list[Any] = []
    for parameter in parameters:
        if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD or parameter.name not in hints:
            raise bad_declaration(
                f"{owner}.{function.__name__}",
                f"the argument {parameter.name!r} is not plain and typed",
                "declare each argument as name: Type",
            )
        if parameter.default is inspect.Parameter.empty:
            fields.append((parameter.name, hints[parameter.name]))
        else:
            fields.append((parameter.name, hints[parameter.name], parameter.default))
    structure = msgspec.defstruct(
        f"{function.__name__}_arguments",
        fields,
        array_like=True,
        frozen=True,
        gc=False,
        forbid_unknown_fields=True,
    )
    structure.__annotations__ = {one[0]: one[1] for one in fields}
    return field_specs(structure), structure, hints.get("return", type(None))


class Contract:
    """Base of all contracts: ``class Points(Contract, name="points", version=1)``.

    Class attributes that are ``Table`` become tables; ``events`` and ``rejections`` list the declared classes,
    the rejections in order of precedence.
    """

    contract_name: ClassVar[str] = ""
    contract_version: ClassVar[int] = 0
    events: ClassVar[tuple[type[Event], ...]] = ()
    rejections: ClassVar[tuple[type[Rejected], ...]] = ()
    tables: ClassVar[dict[str, Table[Any]]] = {}
    commands: ClassVar[dict[str, CommandSpec]] = {}
    queries: ClassVar[dict[str, QuerySpec]] = {}
    event_schemas: ClassVar[dict[str, EventSchema]] = {}
    invariants: ClassVar[tuple[str, ...]] = ()
    migrations: ClassVar[dict[int, str]] = {}
    uses: ClassVar[dict[str, "type[Contract]"]] = {}
    roles: ClassVar[tuple[str, ...]] = ()
    _event_names: ClassVar[dict[type[Event], tuple[str, Callable[[Any], str | None]]]] = {}

    counters: Table[Counter]
    _context: Context

    def __init_subclass__(cls, *, name: str = "", version: int = 0, **options: Any) -> None:
        """Derive tables, commands, queries, events and refusals of the contract; refuse wrong declarations."""
        super().__init_subclass__(**options)
        if not name or version < 1:
            raise bad_declaration(
                cls.__name__,
                "has no name or version",
                f'write: class {cls.__name__}(Contract, name="{snake_case(cls.__name__)}", version=1)',
            )
        check_name(name)
        cls.contract_name, cls.contract_version = name, version
        cls.counters = Table(Counter)
        cls.tables = {}
        cls.commands, cls.queries, cls.uses, cls.migrations = {}, {}, {}, {}
        laws: list[str] = []
        for attribute, value in [*vars(cls).items()]:
            if isinstance(value, Table):
                value.named(f"{name}.{attribute}")
                cls.tables[attribute] = value
            elif isinstance(value, UseDeclaration):
                cls.uses[attribute] = value.contract
            elif hasattr(value, "__command__"):
                role, callers_only = value.__command__
                specs, structure, result = _arguments(cls.__name__, value)
                cls.commands[attribute] = CommandSpec(
                    name, attribute, role, callers_only, specs, structure, result, inspect.getdoc(value) or ""
                )
            elif hasattr(value, "__query__"):
                specs, structure, _result = _arguments(cls.__name__, value)
                cls.queries[attribute] = QuerySpec(
                    name, attribute, specs, structure, inspect.getdoc(value) or ""
                )
            elif hasattr(value, "__invariant__"):
                laws.append(attribute)
            elif hasattr(value, "__migration__"):
                cls.migrations[value.__migration__] = attribute
        for what, count, most in (
            ("tables", len(cls.tables), TABLES_MAX),
            ("commands", len(cls.commands), COMMANDS_MAX),
        ):
            if count > most:
                raise bad_declaration(cls.__name__, f"{count} {what}, at most {most}", "split the contract")
        cls.invariants = tuple(laws)
        cls.roles = tuple(sorted({spec.role for spec in cls.commands.values() if spec.role is not None}))
        cls.event_schemas, cls._event_names = {}, {}
        for event in cls.events:
            event_name = snake_case(event.__name__)
            cls.event_schemas[event_name] = EventSchema(
                name, event_name, field_specs(event), inspect.getdoc(event) or ""
            )
            cls._event_names[event] = (event_name, checker(event))
        for rejection in cls.rejections:
            bind_rejection(name, rejection)

    def __init__(self, overlay: Overlay, context: Context) -> None:
        """Bind the contract to a block's overlay and a context; done by the runtime, never by authors."""
        self._context = context
        for attribute, table in type(self).tables.items():
            setattr(self, attribute, table.bound(overlay))

    def bind_use(self, attribute: str, callee: "Contract") -> None:
        """Let the declared attribute reach ``callee``; done by the runtime."""
        setattr(self, attribute, Reach(callee, self, type(self).uses[attribute]))

    @property
    def sender(self) -> Sender:
        """The verified signer: party, organisation and key."""
        return self._context.sender

    @property
    def now(self) -> int:
        """The block's time: whole milliseconds UTC since 1970."""
        return self._context.now

    @property
    def height(self) -> int:
        """The height of the running block; 0 at genesis."""
        return self._context.height

    @property
    def network(self) -> str:
        """The network's id."""
        return self._context.network

    @property
    def caller(self) -> str:
        """The name of the calling contract; empty when the transaction itself makes the call."""
        return self._context.caller

    @property
    def transaction_id(self) -> bytes:
        """The id of the running transaction, 32 bytes; empty at genesis."""
        return self._context.transaction_id

    def has_role(self, role: str) -> bool:
        """Whether the signer holds the permission ``<this contract>:<role>``."""
        return self._context.permissions(f"{type(self).contract_name}:{role}")

    def emit(self, event: Event) -> None:
        """State a fact in the receipt; its class must be listed in ``events``."""
        context = self._context
        name, broken = type(self)._event_names[type(event)]
        if broken(event) is not None:
            raise ValueError(f"event {name}.{broken(event)} is out of its declared bounds")
        if len(context.events) >= context.events_max:
            raise TooManyEvents
        context.events.append([type(self).contract_name, name, event])

    def sequence(self, name: str) -> int:
        """The next number (1, 2, 3, ...) of this contract's sequence ``name``; a refused call draws none."""
        row = self.counters.get(name)
        if row is None:
            self.counters.insert(Counter(name=name, last=1))
            return 1
        return self.counters.update(row, last=row.last + 1).last


class InnerCallRefused(Exception):
    """A contract called another as no transaction might: with arguments out of bounds, or without the permission.

    ``code`` and ``fields`` are what the same call of a transaction would be refused with.
    """

    def __init__(self, code: str, spec: CommandSpec | QuerySpec, *fields: list[Any]) -> None:
        self.code = code
        self.fields: list[list[Any]] = [["contract", spec.contract], ["command", spec.name], *fields]
        super().__init__(f"{code}: {spec.contract}.{spec.name}")


class Reach:
    """A declared way from one contract into another: its commands and queries, with the caller made known.

    What holds for a call of a transaction holds here: the command is not frozen, the arguments keep their declared
    bounds, and the signer, who stays the signer, has the permission that a command asks for.

    The caller's text names the class ``declared``, and the one that runs may have come from another text: loaded from
    the ledger on this node, installed on another. Enumerations and records of the two are different classes, so they
    cross by their encoding; else nodes would decide differently by what they have installed.
    """

    def __init__(self, callee: Contract, caller: Contract, declared: type[Contract]) -> None:
        self._callee = callee
        self._caller_name = type(caller).contract_name
        self._declared = declared

    def __getattr__(self, attribute: str) -> Callable[..., Any]:
        """The way to one command or query, made when it is first gone: a block seldom needs more than a few."""
        callee, declared = self._callee, self._declared
        spec = type(callee).commands.get(attribute) or type(callee).queries.get(attribute)
        if spec is None:
            raise AttributeError(f"{type(callee).contract_name} has no command or query {attribute}")
        method = getattr(callee, attribute)
        foreign = type(callee) is not declared
        if foreign:
            method = _translated(method, getattr(declared, attribute, None))
        way = _reached(callee, method, spec, self._caller_name, foreign)
        setattr(self, attribute, way)
        return way


def _translated(method: Callable[..., Any], declared: Any) -> Callable[..., Any]:
    """``method``, whose results are of the classes that the ``declared`` one of the same name returns."""
    if declared is None:
        return method
    returned = typing.get_type_hints(declared, include_extras=True).get("return", type(None))

    def call(*arguments: Any) -> Any:
        return decode(encode([method(*arguments)]), tuple[returned])[0]  # type: ignore[valid-type]

    return call


_argument_checks: dict[Any, Callable[[Any], str | None]] = {}


def _reached(
    callee: Contract, method: Callable[..., Any], spec: CommandSpec | QuerySpec, name: str, foreign: bool
) -> Callable[..., Any]:
    context = callee._context
    structure = spec.arguments_type
    check = _argument_checks.get(structure)
    if check is None:
        check = _argument_checks[structure] = checker(structure)
    permission = spec.permission if isinstance(spec, CommandSpec) else None
    changes = isinstance(spec, CommandSpec)

    def call(*arguments: Any, **named: Any) -> Any:
        if changes and context.frozen is not None:
            frozen = context.frozen(spec.contract, spec.name)
            if frozen is not None:
                raise InnerCallRefused("call.frozen", spec, *frozen)
        given = structure(*arguments, **named)
        if foreign:
            try:
                given = decode(encode(given), structure)
            except CanonicalError:
                raise InnerCallRefused("call.bad_arguments", spec) from None
        broken = check(given)
        if broken is not None:
            raise InnerCallRefused("call.bad_arguments", spec)
        if permission is not None and not context.permissions(permission):
            raise InnerCallRefused("call.not_permitted", spec, ["permission", permission])
        previous = context.caller
        context.caller = name
        try:
            return method(*msgspec.structs.astuple(given))
        finally:
            context.caller = previous

    return call
