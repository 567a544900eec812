"""Whether what clients saw can have happened in one order: the search of Wing and Gong, for one object at a time.

An operation is a call, when it was invoked and when its answer came, by one clock, and the answer. Two operations
happened in the order of their times where one was answered before the other was invoked, and in either order where they
overlap. A history is linearizable when there is an order of all its operations that agrees with that, and in which
an object that does one thing at a time would have given every answer.

An operation whose answer never came may have happened at any time after its invocation, or not at all.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

NEVER = math.inf


class Operation(NamedTuple):
    """A call and what became of it; ``answered`` is NEVER, and ``answer`` of no meaning, where nobody was told."""

    invoked: float
    answered: float
    call: Any
    answer: Any


State = Any
Step = Callable[[State, Any], tuple[State, Any]]
"""The object: its state after a call, and the answer that it gives. States can be compared and hashed."""


def linearizable(operations: Sequence[Operation], step: Step, state: State) -> bool:
    """Whether there is an order in which ``step``, from ``state`` on, gives what was answered."""
    waiting = sorted(operations, key=lambda one: (one.invoked, one.answered))
    answered = sum(1 << place for place, one in enumerate(waiting) if one.answered != NEVER)
    seen: set[tuple[int, State]] = set()
    stack: list[tuple[int, State]] = [(0, state)]
    while stack:
        done, before = stack.pop()
        if done & answered == answered:
            return True
        for place in _next(waiting, done):
            one = waiting[place]
            after, answer = step(before, one.call)
            if one.answered != NEVER and answer != one.answer:
                continue
            reached = done | 1 << place, after
            if reached not in seen:
                seen.add(reached)
                stack.append(reached)
    return False


def _next(waiting: Sequence[Operation], done: int) -> list[int]:
    """What may come next: everything that was invoked before the first answer that is not in the order yet.

    What was answered latest is first, so that the search takes what was answered first.
    """
    found: list[int] = []
    first_answer = NEVER
    place = (~done & (done + 1)).bit_length() - 1
    while place < len(waiting) and waiting[place].invoked <= first_answer:
        if not done >> place & 1:
            found.append(place)
            first_answer = min(first_answer, waiting[place].answered)
        place += 1
    found = [one for one in found if waiting[one].invoked <= first_answer]
    return sorted(found, key=lambda one: -waiting[one].answered)


def register(value: int, call: tuple[str, ...]) -> tuple[int, Any]:
    """A register as in ``register_contract``: ``("get",)``, ``("put", value)``, ``("swap", expected, value)``."""
    kind: Any = call
    if kind[0] == "get":
        return value, value
    if kind[0] == "put":
        return kind[1], value
    if kind[1] == value:
        return kind[2], None
    return value, ("other", value)


def balance(units: int, call: tuple[str, int]) -> tuple[int, Any]:
    """An account: ``("add", units)`` and ``("take", units)``; taking too much is answered with what is there."""
    kind, amount = call
    if kind == "add":
        return units + amount, None
    if amount <= units:
        return units - amount, None
    return units, ("free", units)


def counter(count: int, call: str) -> tuple[int, int]:
    """A counter: every call is answered with its number, from 1 on."""
    assert call == "next"
    return count + 1, count + 1
