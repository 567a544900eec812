"""The laws of messages: what is matched depends on what came and what is expected, and on nothing else.

A workload draws messages and expectations. They are put in at random, some twice or three times, and an auditor who has
only the two lists says what each item must be. Two runs of the same in different orders end alike.
"""

import random
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from guildbook.contract import Rejected
from guildbook.contract.contract import Context, Sender
from guildbook.foundation.messages import Deliverer, Entry, Identifier, ItemState, Messages, SourceField
from guildbook.primitives.hashing import sha256
from guildbook.state.kv import MemoryStore
from guildbook.state.overlay import Overlay

KINDS = ("EndToEndId", "UETR")
identifiers = st.lists(
    st.builds(
        Identifier, kind=st.sampled_from(KINDS), value=st.sampled_from(("a", "b", "c", "d", "NOTPROVIDED", "a\nb"))
    ),
    max_size=3,
).map(tuple)
entries = st.builds(Entry, kind=st.sampled_from(("booking", "return")), identifiers=identifiers,
                    amount_minor=st.integers(0, 3))  # fmt: skip
arrivals = st.lists(st.lists(entries, max_size=3).map(tuple), min_size=1, max_size=5)
expected = st.dictionaries(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(("a", "b", "c", "d", "a\nb"))),
    st.sampled_from(("r-1", "r-2", "r-3")),
    max_size=6,
)


@dataclass
class Desk:
    """A channel, on which the signer both keeps and delivers."""

    messages: Messages
    context: Context

    def take(self, number: int, content: tuple[Entry, ...]) -> int:
        return self.messages.take(
            "bank", "camt.054.001.08", "BANKXX", f"m-{number}", sha256(bytes([number])), content
        )


def desk() -> Desk:
    context = Context("test-net", 1, 1_767_225_600_000)
    context.sender = Sender("gateway", "fund", b"")
    context.permissions = lambda _permission: True
    context.events_max = 1 << 30
    messages = Messages(Overlay(MemoryStore()), context)
    messages.open_channel("bank", "reed-bank")
    messages.admit("bank", "gateway")
    return Desk(messages, context)


def outcome(one: Desk) -> dict[tuple[str, int], tuple[str, str | None]]:
    """What became of each item, by message id and place."""
    names = {row.number: row.message_id for row in one.messages.messages.find(index=())}
    return {
        (names[row.message], row.position): (str(row.state), row.reference)
        for row in one.messages.items.find(index=())
    }


def foretold(content: list[tuple[Entry, ...]], known: dict[tuple[str, str], str]) -> dict:
    """What must become of each item, from the two lists alone."""
    told = {}
    for number, items in enumerate(content):
        for place, item in enumerate(items, 1):
            meant = {known[(one.kind, one.value)] for one in item.identifiers if (one.kind, one.value) in known}
            state = ("unmatched", "matched", "quarantined")[min(len(meant), 2)]
            told[(f"m-{number}", place)] = (state, next(iter(meant)) if len(meant) == 1 else None)
    return told


@settings(max_examples=120)
@given(arrivals, expected, st.integers(0, 2**32))
def test_any_order_and_any_repetition_gives_the_same_matches(content, known, seed):
    told = foretold(content, known)
    for start in (seed, seed + 1):
        source = random.Random(start)
        acts = [("take", number) for number in range(len(content))] + [("expect", one) for one in known]
        acts += source.choices(acts, k=source.randrange(6))
        source.shuffle(acts)
        one, first = desk(), {}
        for act, what in acts:
            if act == "take":
                number = one.take(what, content[what])
                assert first.setdefault(what, number) == number, "the same message again is the first"
            else:
                one.messages.expect("bank", what[0], what[1], known[what])
            for law in Messages.invariants:
                getattr(one.messages, law)()
        assert outcome(one) == told
        events = [event for _contract, name, event in one.context.events if name == "taken"]
        assert sum(event.items for event in events) == len(told), "each message is told of once"


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1)), max_size=30), st.integers(0, 9))
def test_of_an_id_there_is_one_content_and_of_a_reference_one_outbound_message(draws, seed):
    """The second content is refused and recorded once; the model is two dictionaries."""
    one, source = desk(), random.Random(seed)
    taken: dict[int, int] = {}
    conflicts: dict[tuple[int, int], int] = {}
    sent: dict[int, tuple[int, int]] = {}
    for number, variant, kind in draws:
        content = (Entry(kind="booking", identifiers=(), amount_minor=variant),)
        digest = sha256(bytes([number, variant]))
        if kind == 0:
            fits = taken.setdefault(number, variant) == variant
            arguments = ("bank", "camt.054.001.08", "BANKXX", f"m-{number}", digest)
            if fits:
                one.messages.take(*arguments, content)
            else:
                with pytest.raises(Rejected, match="message_conflict"):
                    one.messages.take(*arguments, content)
                reported = one.messages.report_conflict(*arguments)
                assert conflicts.setdefault((number, variant), reported) == reported
        else:
            fields = (SourceField(name="amount", value=str(variant)),)
            queued = sent.setdefault(number, (len(sent) + 1, variant))
            if queued[1] == variant:
                got = one.messages.queue("bank", "payment", "pain.001.001.09", f"r-{number}", fields)
                assert got == queued[0]
            else:
                with pytest.raises(Rejected, match="reference_used"):
                    one.messages.queue("bank", "payment", "pain.001.001.09", f"r-{number}", fields)
        if source.random() < 0.3:
            one.context.now += 1
    for law in Messages.invariants:
        getattr(one.messages, law)()
    waits = one.messages.waiting("bank", ItemState.QUARANTINED)
    assert sorted(row.message for row in waits) == sorted(conflicts.values())
    assert [row.sequence for row in one.messages.outbound.find("bank", index=())] == list(range(1, len(sent) + 1))


@given(st.sets(st.integers(1, 40), max_size=20), st.integers(0, 40), st.integers(1, 10))
def test_gaps_are_the_numbers_that_did_not_come(came, after, limit):
    one = desk()
    for number in sorted(came, key=lambda n: n * 7 % 41):
        one.messages.take("bank", "camt.054.001.08", "BANKXX", f"m-{number}", bytes(32), (), 1, number)
    missing = [n for n in range(after + 1, max(came, default=0)) if n not in came]
    assert one.messages.gaps("bank", after, limit) == tuple(missing[:limit])


def test_the_laws_can_see_a_wrong_match():
    one = desk()
    one.messages.expect("bank", "UETR", "u", "r-1")
    number = one.take(1, (Entry(kind="booking", identifiers=(Identifier(kind="UETR", value="u"),)),))
    row = one.messages.items.get(number, 1)
    assert row is not None
    one.messages.items.update(row, reference="r-2")
    with pytest.raises(AssertionError):
        one.messages.a_match_follows_from_what_came_and_what_is_expected()
    assert one.messages.deliverers.get("bank", "gateway") == Deliverer(
        channel="bank", party="gateway", public_key=None
    )
