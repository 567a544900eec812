"""The checker of histories finds an order where there is one, and none where there is none."""

import random

from hypothesis import given
from hypothesis import strategies as st

from cluster.linearizable import NEVER, Operation, balance, counter, linearizable, register


def ops(*rows):
    return [Operation(*row) for row in rows]


def test_a_history_without_overlap_is_its_own_order():
    good = ops((0, 1, ("put", 5), 0), (2, 3, ("get",), 5), (4, 5, ("swap", 5, 6), None), (6, 7, ("get",), 6))
    assert linearizable(good, register, 0)
    assert not linearizable(good[:-1] + ops((6, 7, ("get",), 5)), register, 0)


def test_a_read_that_overlaps_a_write_may_see_either_value():
    write = Operation(0, 10, ("put", 1), 0)
    for seen in (0, 1):
        assert linearizable([write, Operation(2, 3, ("get",), seen)], register, 0)
    assert not linearizable([write, Operation(2, 3, ("get",), 2)], register, 0)


def test_a_new_value_is_not_followed_by_the_old_one():
    """Both reads overlap the write, but not each other."""
    write = Operation(0, 10, ("put", 1), 0)
    assert linearizable([write, *ops((1, 2, ("get",), 0), (3, 4, ("get",), 1))], register, 0)
    assert not linearizable([write, *ops((1, 2, ("get",), 1), (3, 4, ("get",), 0))], register, 0)


def test_a_stale_read_after_an_answered_write_is_found():
    assert not linearizable(ops((0, 1, ("put", 1), 0), (2, 3, ("get",), 0)), register, 0)


def test_what_nobody_was_told_of_happened_or_did_not():
    lost = Operation(0, NEVER, ("put", 9), None)
    assert linearizable([lost, Operation(5, 6, ("get",), 0)], register, 0)
    assert linearizable([lost, Operation(5, 6, ("get",), 9)], register, 0)
    assert linearizable([lost, *ops((5, 6, ("get",), 0), (7, 8, ("get",), 9))], register, 0)
    assert not linearizable([lost, *ops((5, 6, ("get",), 9), (7, 8, ("get",), 0))], register, 0)


def test_two_that_both_swap_the_same_value_are_found():
    assert not linearizable(ops((0, 9, ("swap", 0, 1), None), (0, 9, ("swap", 0, 2), None)), register, 0)
    assert linearizable(ops((0, 9, ("swap", 0, 1), None), (0, 9, ("swap", 0, 2), ("other", 1))), register, 0)


def test_a_balance_that_was_spent_twice_is_found():
    add = Operation(0, 1, ("add", 5), None)
    assert linearizable([add, *ops((2, 9, ("take", 5), None), (2, 9, ("take", 5), ("free", 0)))], balance, 0)
    assert not linearizable([add, *ops((2, 9, ("take", 5), None), (2, 9, ("take", 5), None))], balance, 0)


def test_a_number_that_is_given_twice_or_left_out_is_found():
    assert linearizable(ops((0, 5, "next", 2), (0, 5, "next", 1)), counter, 0)
    assert not linearizable(ops((0, 5, "next", 1), (0, 5, "next", 1)), counter, 0)
    assert not linearizable(ops((0, 5, "next", 1), (6, 7, "next", 3)), counter, 0)


def drawn_call(source: random.Random, number: int):
    kind = source.choice(["get", "put", "swap"])
    if kind == "get":
        return ("get",)
    return ("put", number) if kind == "put" else ("swap", source.randrange(max(1, number)), number)


@given(st.integers(0, 2**32), st.integers(1, 120), st.integers(1, 6))
def test_what_a_register_really_did_is_accepted_and_a_spoilt_answer_is_not(seed, count, clients):
    """Clients call one after another, all at once; each call takes effect at a moment between its two times."""
    source = random.Random(seed)
    free = [0.0] * clients
    drawn = []
    for number in range(1, count + 1):
        client = source.randrange(clients)
        invoked = free[client] + source.random()
        effect = invoked + source.random()
        free[client] = answered = effect + source.random()
        drawn.append((effect, invoked, answered, drawn_call(source, number)))
    history, value = [], 0
    for _effect, invoked, answered, call in sorted(drawn):
        value, answer = register(value, call)
        lost = source.random() < 0.02
        history.append(Operation(invoked, NEVER if lost else answered, call, None if lost else answer))
    assert linearizable(history, register, 0)
    reads = [place for place, one in enumerate(history) if one.call == ("get",) and one.answered != NEVER]
    if reads:
        place = source.choice(reads)
        history[place] = history[place]._replace(answer=-1)
        assert not linearizable(history, register, 0)


def test_a_long_history_is_searched_quickly():
    source = random.Random(3)
    history, value = [], 0
    for number in range(1, 3_000):
        call = drawn_call(source, number)
        value, answer = register(value, call)
        history.append(Operation(number, number + 4.5, call, answer))
    assert linearizable(history, register, 0)
