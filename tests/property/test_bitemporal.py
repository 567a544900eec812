"""Two times in one history, against a model that paints every instant anew."""

import itertools
from typing import NamedTuple

import hypothesis.strategies as st
from hypothesis import given

from guildbook.contract import is_history, timeline, true_of

END = 12


class Said(NamedTuple):
    """A statement."""

    value: int
    valid_from: int
    valid_until: int | None
    recorded_at: int


@st.composite
def histories(draw) -> list[Said]:
    """Statements in the order in which they were recorded, several at one time among them."""
    said: list[Said] = []
    now = 0
    for number in range(draw(st.integers(0, 8))):
        now += draw(st.integers(0, 2))
        start = draw(st.integers(0, END - 1))
        end = draw(st.one_of(st.none(), st.integers(start + 1, END)))
        said.append(Said(number, start, end, now))
    return said


def painted(said: list[Said], as_of: int | None) -> list[Said | None]:
    """Of each instant the statement that was painted over it last."""
    wall: list[Said | None] = [None] * (END + 2)
    for one in said:
        if as_of is None or one.recorded_at <= as_of:
            for instant in range(one.valid_from, END + 2 if one.valid_until is None else one.valid_until):
                wall[instant] = one
    return wall


@given(histories(), st.one_of(st.none(), st.integers(0, 16)))
def test_what_holds_is_what_was_said_last(said, as_of):
    assert [true_of(said, instant, as_of) for instant in range(END + 2)] == painted(said, as_of)


@given(histories(), histories(), st.integers(0, 16))
def test_what_was_known_never_changes(said, more, as_of):
    later = [one._replace(recorded_at=as_of + 1 + one.recorded_at) for one in more]
    for instant in range(END + 2):
        assert true_of([*said, *later], instant, as_of) == true_of(said, instant, as_of)
    assert timeline([*said, *later], as_of) == timeline(said, as_of)


@given(histories(), st.one_of(st.none(), st.integers(0, 16)))
def test_a_timeline_has_every_instant_once(said, as_of):
    pieces = timeline(said, as_of)
    wall = painted(said, as_of)
    told: list[Said | None] = [None] * (END + 2)
    last: int | None = 0
    for start, end, holds in pieces:
        assert last is not None
        assert start >= last
        for instant in range(start, END + 2 if end is None else end):
            assert told[instant] is None
            told[instant] = holds
        last = end
    assert told == wall
    assert all(one[1] != other[0] or one[2] != other[2] for one, other in itertools.pairwise(pieces))


@given(histories())
def test_a_correction_corrects_its_stretch_and_no_more(said):
    correction = Said(99, 3, 6, 100)
    for instant in range(END + 2):
        expected = correction if 3 <= instant < 6 else true_of(said, instant)
        assert true_of([*said, correction], instant) == expected


@given(histories())
def test_a_history_rises_and_has_no_empty_stretch(said):
    assert is_history(said)
    assert not is_history([*said, Said(0, 4, 4, 100)])
    assert not said or not is_history([*said, Said(0, 4, 5, said[-1].recorded_at - 1)])
