"""One transaction's calls against a block's overlay: dispatch, permissions, limits, undo.

Order of refusal. A call is refused for the first of these that holds: unknown contract, unknown command, not open to
transactions, frozen, arguments that do not fit, permission missing; then whatever the contract itself refuses. All
calls of a transaction take effect or none does.

An ordinary exception in a contract is its author's mistake: it becomes the fixed code ``call.contract_fault``, and
its text goes to the node's log, never into a receipt. A failed ``assert`` means that a law is broken: it halts.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from guildbook.contract.contract import (
    CommandSpec,
    Context,
    Contract,
    InnerCallRefused,
    Sender,
    TooManyEvents,
)
from guildbook.contract.rejected import Rejected
from guildbook.primitives.canonical import CanonicalError, decode, encode
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.freezes import Freezes
from guildbook.runtime.identity import Identities
from guildbook.runtime.parameters import Parameters
from guildbook.runtime.registry import LoadedContract
from guildbook.state.overlay import Overlay, TouchLimit

RESULT_SIZE_BYTES_MAX = 65_536
QUERY_ROWS_TOUCHED_MAX = 200_000
_HALTING = (AssertionError, MemoryError, RecursionError)


class Applied(NamedTuple):
    """All calls took effect: what each returned, and the events in order."""

    results: list[Any]
    events: list[list[Any]]


class Refused(NamedTuple):
    """Nothing took effect: the stable code and [name, value] fields."""

    code: str
    fields: list[list[Any]]


class Fault(NamedTuple):
    """An author's mistake met while a block ran, for the node's log only."""

    transaction: bytes
    contract: str
    command: str
    text: str


class _Route(NamedTuple):
    """A command ready to run."""

    method: Callable[..., Any]
    spec: CommandSpec


class Execution:
    """The contracts of one block, bound to its overlay.

    ``active`` are the releases in force by contract name; ``network``, ``height`` and ``now`` (milliseconds) are the
    block's, and ``freezes`` what it refuses.
    """

    def __init__(
        self,
        overlay: Overlay,
        active: dict[str, LoadedContract],
        network: str,
        height: int,
        now: int,
        parameters: Parameters,
        freezes: Freezes | None = None,
    ) -> None:
        self.overlay = overlay
        self.parameters = parameters
        self.context = Context(network, height, now)
        self.context.events_max = parameters.events_max
        self.context.permissions = self._permitted
        self._freezes = freezes
        if freezes is not None:
            self.context.frozen = freezes.of_command
        self.identities = Identities(overlay, now)
        self.faults: list[Fault] = []
        self.active = active
        self._bound: dict[str, Contract] = {}
        self._routes: dict[tuple[str, str], _Route | Refused] = {}

    def contract(self, name: str) -> Contract:
        """The running contract ``name`` bound to this block, with everything it uses. KeyError when none runs."""
        bound = self._bound.get(name)
        if bound is None:
            bound = self.active[name].contract(self.overlay, self.context)
            self._bound[name] = bound
            for attribute, used in type(bound).uses.items():
                bound.bind_use(attribute, self.contract(used.contract_name))
        return bound

    def _permitted(self, permission: str) -> bool:
        return self.identities.holds(self.context.sender, permission)

    def _route(self, contract: str, command: str) -> "_Route | Refused":
        route = self._routes.get((contract, command))
        if route is None:
            if contract not in self.active:
                route = Refused("call.unknown_contract", [["contract", contract[:64]]])
            elif command not in self.active[contract].contract.commands:
                route = Refused("call.unknown_command", [["contract", contract], ["command", command[:64]]])
            else:
                spec = self.active[contract].contract.commands[command]
                route = (
                    Refused("call.not_permitted", [["contract", contract], ["command", command]])
                    if spec.callers_only
                    else _Route(getattr(self.contract(contract), command), spec)
                )
            if len(self._routes) < 4096:
                self._routes[(contract, command)] = route
        return route

    def run(self, transaction: bytes, sender: Sender, calls: list[Any]) -> Applied | Refused:
        """Run ``calls`` (each with contract, command, arguments) for ``sender``; refused, the overlay is as before."""
        context, overlay, parameters = self.context, self.overlay, self.parameters
        context.sender, context.transaction_id, context.caller = sender, transaction, ""
        context.events = []
        mark = overlay.begin(parameters.rows_touched_max)
        refused = None
        results: list[Any] = []
        contract = command = ""
        try:
            if len(calls) > parameters.calls_per_transaction_max:
                refused = Refused(
                    "transaction.too_many_calls",
                    [["calls", len(calls)], ["most", parameters.calls_per_transaction_max]],
                )
            else:
                for call in calls:
                    contract, command = call.contract, call.command
                    route = self._route(contract, command)
                    if isinstance(route, Refused):
                        refused = route
                        break
                    method, spec = route
                    if self._freezes is not None:
                        frozen = self._freezes.of_call(contract, command, sender)
                        if frozen is not None:
                            refused = Refused(
                                "call.frozen", [["contract", contract], ["command", command], *frozen]
                            )
                            break
                    try:
                        arguments = decode(bytes(call.arguments), spec.arguments_type)
                    except CanonicalError:
                        refused = Refused(
                            "call.bad_arguments", [["contract", contract], ["command", command]]
                        )
                        break
                    permission = spec.permission
                    if permission is not None and not self.identities.holds(sender, permission):
                        refused = Refused(
                            "call.not_permitted",
                            [["contract", contract], ["command", command], ["permission", permission]],
                        )
                        break
                    result = method(*msgspec.structs.astuple(arguments))
                    if result is not None and type(result) is not int:
                        if len(encode(result)) > RESULT_SIZE_BYTES_MAX:
                            refused = Refused(
                                "call.limit_exceeded",
                                [["limit", "result_size_bytes_max"], ["most", RESULT_SIZE_BYTES_MAX]],
                            )
                            break
                    elif type(result) is int and not -(2**63) <= result < 2**63:
                        raise ValueError("an integer result outside 64 bits")
                    results.append(result)
        except Rejected as rejection:
            refused = Refused(rejection.code, rejection.values())
            if not rejection.code:
                refused = self._fault(transaction, contract, command)
        except InnerCallRefused as inner:
            refused = Refused(inner.code, inner.fields)
        except TouchLimit:
            refused = Refused(
                "call.limit_exceeded", [["limit", "rows_touched_max"], ["most", parameters.rows_touched_max]]
            )
        except TooManyEvents:
            refused = Refused(
                "call.limit_exceeded", [["limit", "events_max"], ["most", parameters.events_max]]
            )
        except _HALTING as error:
            error.add_note(
                f"height {context.height}, transaction {transaction.hex()}, call {contract}.{command}"
            )
            raise
        except Exception:  # noqa: BLE001 - an author's mistake, whatever its type: see the module heading
            refused = self._fault(transaction, contract, command)
        if refused is not None:
            overlay.rollback(mark)
            return refused
        return Applied(results, context.events)

    def _fault(self, transaction: bytes, contract: str, command: str) -> Refused:
        self.faults.append(Fault(transaction, contract, command, traceback.format_exc()))
        return Refused("call.contract_fault", [["contract", contract], ["command", command]])

    def check_invariants(self) -> None:
        """Run every invariant of every running contract; AssertionError names the broken one."""
        self.overlay.begin(1 << 62)
        for name in sorted(self.active):
            contract = self.contract(name)
            for law in type(contract).invariants:
                try:
                    getattr(contract, law)()
                except AssertionError as error:
                    error.add_note(f"invariant {name}.{law} is broken at height {self.context.height}")
                    raise

    def query(self, contract: str, name: str, arguments: list[Any], sender: Sender | None = None) -> Any:
        """The result of a query with canonical ``arguments``, all given in order.

        Raises GuildbookError ``call.unknown_contract``, ``call.unknown_command``, ``call.bad_arguments``,
        ``call.limit_exceeded`` or, for an author's mistake, ``call.contract_fault``; Rejected where the query refuses.
        """
        if contract not in self.active:
            raise GuildbookError(
                "call.unknown_contract",
                f"no contract {contract!r} runs on this network",
                hint=f"choose from {', '.join(sorted(self.active))}",
                contract=contract,
            )
        queries = self.active[contract].contract.queries
        if name not in queries:
            raise GuildbookError(
                "call.unknown_command",
                f"{contract} has no query {name!r}",
                hint=f"choose from {', '.join(sorted(queries)) or 'none'}",
                contract=contract,
                query=name,
            )
        try:
            structure = decode(encode(arguments), queries[name].arguments_type)
        except CanonicalError as error:
            raise GuildbookError(
                "call.bad_arguments",
                f"{contract}.{name}: {error.message}",
                hint="give every argument in order, with its declared type",
                contract=contract,
                query=name,
            ) from None
        self.context.sender = sender if sender is not None else Sender("", "", b"")
        with self.reading():
            try:
                return getattr(self.contract(contract), name)(*msgspec.structs.astuple(structure))
            except TouchLimit:
                raise GuildbookError(
                    "call.limit_exceeded",
                    f"{contract}.{name} reads more than {QUERY_ROWS_TOUCHED_MAX} rows",
                    hint="ask for less, or use SQL",
                    most=QUERY_ROWS_TOUCHED_MAX,
                ) from None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A stretch in which contracts may only read; what they write all the same is undone."""
        mark = self.overlay.begin(QUERY_ROWS_TOUCHED_MAX)
        try:
            yield
        finally:
            self.overlay.rollback(mark)
