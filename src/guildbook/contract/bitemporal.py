"""Two times in one history: what was true of a time, as it was known at another; corrections append.

Theory. A *statement* says what holds in a stretch of time, from ``valid_from`` to before ``valid_until`` (None: without
an end), and since when that is known: ``recorded_at``. Statements are added and never changed. What is known of an
instant is the last statement recorded about it, so a correction is a further statement over the stretch that was wrong,
and it corrects no more than that stretch. With ``as_of`` only what had been recorded by then counts: what was known
at a time never changes, whatever is learnt later.

A contract keeps the statements about one subject in a table whose key is the subject and a rising number, names what
a correction corrects and why in fields of its own, and reads with the functions below. A statement that takes
something back without putting anything in its place has a field that says so: nothing is deleted.

    class Rate(Record):
        customer: Code = key()
        revision: Positive = key()
        percent: NonNegative
        valid_from: Timestamp
        valid_until: Timestamp | None
        recorded_at: Timestamp
        corrects: Positive | None
        reason: Code | None

    rate = true_of(self.rates.find(customer), effective_at=due, as_of=self.now)

Sources: SQL:2011 (application-time and system-time periods); Snodgrass, "Developing Time-Oriented Database
Applications in SQL", 1999, chapter 10.
"""

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Statement(Protocol):
    """A row with two times; ``valid_until`` None means without an end."""

    @property
    def valid_from(self) -> int:
        """The first moment of which it says something."""

    @property
    def valid_until(self) -> int | None:
        """The first moment of which it says nothing any more."""

    @property
    def recorded_at(self) -> int:
        """When it became known: the time of its block."""


Said = TypeVar("Said", bound=Statement)


def covers(statement: Statement, effective_at: int) -> bool:
    """Whether a statement says something of the instant ``effective_at``."""
    return statement.valid_from <= effective_at and (
        statement.valid_until is None or effective_at < statement.valid_until
    )


def true_of(statements: Iterable[Said], effective_at: int, as_of: int | None = None) -> Said | None:
    """The statement that holds of the instant ``effective_at``, as known at ``as_of`` (None: by all that is recorded).

    ``statements`` come in the order in which they were recorded. None where nothing is known.
    """
    found: Said | None = None
    for one in statements:
        if (as_of is None or one.recorded_at <= as_of) and covers(one, effective_at):
            found = one
    return found


def timeline(statements: Iterable[Said], as_of: int | None = None) -> tuple[tuple[int, int | None, Said], ...]:
    """(from, until, statement) in order of time, without overlaps: of every instant the statement that holds, as known
    at ``as_of``. Neighbours that the same statement covers are one piece; where nothing is known there is none.
    """
    known = [one for one in statements if as_of is None or one.recorded_at <= as_of]
    edges = sorted(
        {edge: None for one in known for edge in (one.valid_from, one.valid_until) if edge is not None}
    )
    pieces: list[tuple[int, int | None, Said]] = []
    for place, start in enumerate(edges):
        end = edges[place + 1] if place + 1 < len(edges) else None
        holds = true_of(known, start)
        if holds is None:
            continue
        if pieces and pieces[-1][1] == start and pieces[-1][2] == holds:
            pieces[-1] = (pieces[-1][0], end, holds)
        else:
            pieces.append((start, end, holds))
    return tuple(pieces)


def is_history(statements: Iterable[Statement]) -> bool:
    """Whether statements stand in the order in which they were recorded, each about a stretch that is not empty.

    This is the law of a table of statements: assert it in an invariant.
    """
    before: int | None = None
    for one in statements:
        if one.valid_until is not None and one.valid_until <= one.valid_from:
            return False
        if before is not None and one.recorded_at < before:
            return False
        before = one.recorded_at
    return True
