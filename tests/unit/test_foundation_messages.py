"""Messages: channels, inbound and outbound messages, matching; who may do what; and every refusal by name."""

from pathlib import Path
from typing import Any

import pytest

from clerk_contract import Clerk
from guildbook.foundation.messages import (
    ENTRIES_MAX,
    IDENTIFIERS_MAX,
    ITEMS_PER_IDENTIFIER_MAX,
    LISTED_MAX,
    SOURCE_FIELDS_MAX,
    Entry,
    Identifier,
    Messages,
    SourceField,
)
from guildbook.primitives.hashing import sha256
from guildbook.testing.ledger import TestLedger, refused, test_key

SCHEMA = "camt.054.001.08"
MAX = 2**63 - 1


def entry(amount: int = 100, kind: str = "booking", **identifiers: str) -> Entry:
    """An entry; ``e2e`` and ``uetr`` are its identifiers."""
    names = {"e2e": "EndToEndId", "uetr": "UETR"}
    ids = tuple(Identifier(kind=names[name], value=value) for name, value in identifiers.items())
    return Entry(kind=kind, identifiers=ids, amount_minor=amount, currency="EUR")


def source(**fields: str) -> tuple[SourceField, ...]:
    return tuple(SourceField(name=name, value=value) for name, value in fields.items())


@pytest.fixture
def ledger() -> TestLedger:
    """A fund with a channel to its bank, on which the bank's gateway delivers; and a contract with one of its own."""
    ledger = TestLedger(
        Clerk,
        actors={
            "fund/treasurer": ["messages:operator"],
            "fund/clerk-1": [],
            "reed-bank/gateway": [],
            "reed-bank/other": [],
            "town/anna": [],
        },
    )
    fund(ledger).open_channel("fund-bank", "reed-bank")
    fund(ledger).admit("fund-bank", "gateway")
    ledger.actor("town/anna").clerk.open_channel("clerk-bank", "reed-bank", "gateway")
    return ledger


def fund(ledger: TestLedger):
    return ledger.actor("fund/treasurer").messages


def bank(ledger: TestLedger):
    return ledger.actor("reed-bank/gateway").messages


def take(ledger: TestLedger, message_id: str, *entries: Entry, digest: bytes = bytes(32), **more: Any) -> int:
    number: int = bank(ledger).take("fund-bank", SCHEMA, "REEDXX", message_id, digest, entries, **more)
    return number


def item(ledger: TestLedger, message: int, position: int = 1):
    return ledger.rows("messages.items", message, position)[0]


def states(ledger: TestLedger, message: int) -> list[str]:
    return [str(one.state) for one in ledger.query("messages.items_of", message)]


# channels


def test_a_channel_is_opened_by_an_operator_or_a_contract(ledger):
    with refused("messages.not_an_operator"):
        ledger.actor("fund/clerk-1").messages.open_channel("other", "reed-bank")
    with refused("messages.channel_exists", channel="fund-bank"):
        fund(ledger).open_channel("fund-bank", "reed-bank")
    rows = {row.id: (row.keeper_kind, row.keeper) for row in ledger.rows("messages.channels")}
    assert rows == {"fund-bank": ("organisation", "fund"), "clerk-bank": ("contract", "clerk")}


def test_only_the_keeper_acts_for_a_channel(ledger):
    number = take(ledger, "m-1", entry())
    for actor in ("fund/clerk-1", "reed-bank/gateway", "town/anna"):
        other = ledger.actor(actor).messages
        for act in (
            lambda: other.close_channel("fund-bank"),  # noqa: B023
            lambda: other.admit("fund-bank", "anna"),  # noqa: B023
            lambda: other.dismiss("fund-bank", "gateway"),  # noqa: B023
            lambda: other.expect("fund-bank", "UETR", "u", "r"),  # noqa: B023
            lambda: other.quarantine(number, 1, "x"),  # noqa: B023
            lambda: other.resolve(number, 1, "x", "x"),  # noqa: B023
            lambda: other.queue("fund-bank", "payment", "pain.001.001.09", "r", ()),  # noqa: B023
        ):
            with refused("messages.not_the_keeper", channel="fund-bank"):
                act()
    with refused("messages.not_the_keeper"):
        fund(ledger).expect("clerk-bank", "UETR", "u", "r")
    with refused("messages.not_the_keeper"):
        ledger.actor("town/anna").clerk.expect("fund-bank", "UETR", "u", "r")


def test_deliverers_deliver_and_nobody_else(ledger):
    for actor in ("reed-bank/other", "fund/treasurer"):
        with refused("messages.not_a_deliverer", channel="fund-bank"):
            ledger.actor(actor).messages.take("fund-bank", SCHEMA, "REEDXX", "m", bytes(32), ())
    fund(ledger).dismiss("fund-bank", "gateway")
    with refused("messages.not_a_deliverer"):
        take(ledger, "m")
    with refused("messages.unknown_deliverer", party="gateway"):
        fund(ledger).dismiss("fund-bank", "gateway")


def test_a_deliverer_may_be_bound_to_a_key(ledger):
    with refused("messages.deliverer_exists", party="gateway"):
        fund(ledger).admit("fund-bank", "gateway")
    fund(ledger).dismiss("fund-bank", "gateway")
    fund(ledger).admit("fund-bank", "gateway", test_key("somebody else").public_key)
    with refused("messages.not_a_deliverer"):
        take(ledger, "m")
    fund(ledger).dismiss("fund-bank", "gateway")
    fund(ledger).admit("fund-bank", "gateway", test_key("reed-bank/gateway").public_key)
    assert take(ledger, "m") == 1


def test_on_a_channel_of_a_contract_a_deliverer_delivers_through_it(ledger):
    gateway = ledger.actor("reed-bank/gateway")
    with refused("messages.not_the_keeper", channel="clerk-bank"):
        gateway.messages.take("clerk-bank", SCHEMA, "BANKXX", "m", bytes(32), ())
    with refused("messages.not_a_deliverer", channel="clerk-bank"):
        ledger.actor("town/anna").clerk.take("clerk-bank", "m", bytes(32), ())
    with refused("messages.not_the_keeper", channel="fund-bank"):
        gateway.clerk.take("fund-bank", "m", bytes(32), ())
    number = gateway.clerk.take("clerk-bank", "m", bytes(32), (entry(e2e="E1"),))
    assert ledger.actor("town/anna").clerk.expect("clerk-bank", "EndToEndId", "E1", "r-1") == [number]
    ledger.actor("town/anna").clerk.quarantine(number, 1, "the amount differs")
    ledger.actor("town/anna").clerk.resolve(number, 1, "r-1")
    assert item(ledger, number).resolved_by == "anna"
    assert ledger.actor("town/anna").clerk.queue("clerk-bank", "payment", "r-1", source(a="b")) == 1


def test_a_closed_channel_takes_and_sends_nothing_more(ledger):
    number = take(ledger, "m-1", entry())
    fund(ledger).queue("fund-bank", "payment", "pain.001.001.09", "r-0", ())
    fund(ledger).close_channel("fund-bank")
    for act in (
        lambda: take(ledger, "m-2"),
        lambda: bank(ledger).report_conflict("fund-bank", SCHEMA, "REEDXX", "m-1", b"x" * 32),
        lambda: fund(ledger).expect("fund-bank", "UETR", "u", "r"),
        lambda: fund(ledger).queue("fund-bank", "payment", "pain.001.001.09", "r", ()),
        lambda: fund(ledger).admit("fund-bank", "other"),
        lambda: fund(ledger).close_channel("fund-bank"),
    ):
        with refused("messages.channel_is_closed", channel="fund-bank"):
            act()
    assert take(ledger, "m-1", entry()) == number
    fund(ledger).resolve(number, 1, "booked-by-hand", "")
    bank(ledger).produce("fund-bank", 1, bytes(32))
    bank(ledger).acknowledge("fund-bank", 1, bytes(32))


# taking


def test_a_message_is_taken_with_what_was_read_out_of_it(ledger):
    number = take(ledger, "m-1", entry(250, e2e="E 1 (a)", uetr="U1"), entry(7), sequence=5, created_at=9)
    row = ledger.query("messages.message", number)
    assert (row.schema, row.origin, row.message_id) == (SCHEMA, "REEDXX", "m-1")
    assert (row.items, row.delivered_by) == (2, "gateway")
    first = item(ledger, number)
    assert (first.amount_minor, first.currency, first.state, first.reference) == (250, "EUR", "unmatched", None)
    assert ledger.query("messages.message", 9) is None
    assert [one.position for one in ledger.query("messages.waiting", "fund-bank")] == [1, 2]


def test_the_same_message_again_is_the_first(ledger):
    number = take(ledger, "m-1", entry(e2e="E1"))
    before = ledger.rows("messages.items"), ledger.rows("messages.messages")
    assert take(ledger, "m-1", entry(e2e="E1")) == number
    assert (ledger.rows("messages.items"), ledger.rows("messages.messages")) == before
    assert take(ledger, "m-1", entry(e2e="E1"), part=2) == number + 1


@pytest.mark.parametrize(
    ("entries", "digest"),
    [((entry(e2e="E1"),), b"x" * 32), ((entry(101, e2e="E1"),), bytes(32)), ((entry(e2e="E2"),), bytes(32)),
     ((), bytes(32)), ((entry(uetr="E1"),), bytes(32)), ((entry(kind="return", e2e="E1"),), bytes(32))],
)  # fmt: skip
def test_another_content_under_the_same_id_is_a_conflict(ledger, entries, digest):
    number = take(ledger, "m-1", entry(e2e="E1"))
    with refused("messages.message_conflict", earlier=number):
        take(ledger, "m-1", *entries, digest=digest)


def test_a_conflict_is_recorded_for_a_person(ledger):
    number = take(ledger, "m-1", entry(e2e="E1"))
    arguments = ("fund-bank", SCHEMA, "REEDXX", "m-1", b"x" * 32)
    second = bank(ledger).report_conflict(*arguments)
    assert bank(ledger).report_conflict(*arguments) == second
    assert ledger.query("messages.message", second).conflicts_with == number
    (waits,) = ledger.query("messages.waiting", "fund-bank", "quarantined")
    assert (waits.message, waits.reason) == (second, "another message has this id")
    fund(ledger).resolve(second, 1, "sent-twice-by-mistake", "the bank withdrew it")
    assert ledger.query("messages.waiting", "fund-bank", "quarantined") == ()
    with refused("messages.no_conflict"):
        bank(ledger).report_conflict("fund-bank", SCHEMA, "REEDXX", "m-1", bytes(32))
    with refused("messages.no_conflict"):
        bank(ledger).report_conflict("fund-bank", SCHEMA, "REEDXX", "m-2", bytes(32))


def test_a_message_is_bounded(ledger):
    with refused("messages.too_many_entries", most=ENTRIES_MAX):
        take(ledger, "m", *[entry() for _ in range(ENTRIES_MAX + 1)])
    ids = tuple(Identifier(kind=f"k{n}", value="v") for n in range(IDENTIFIERS_MAX + 1))
    with refused("messages.too_many_identifiers", most=IDENTIFIERS_MAX):
        take(ledger, "m", Entry(kind="booking", identifiers=ids))
    take(ledger, "m", Entry(kind="booking", identifiers=ids[1:]), *[entry() for _ in range(ENTRIES_MAX - 1)])


def test_a_number_of_the_counterpartys_count_is_used_once_and_gaps_are_seen(ledger):
    for sequence in (2, 3, 6, 9):
        take(ledger, f"m-{sequence}", sequence=sequence)
    with refused("messages.sequence_used", earlier=1):
        take(ledger, "m-other", sequence=2)
    assert ledger.query("messages.gaps", "fund-bank") == (1, 4, 5, 7, 8)
    assert ledger.query("messages.gaps", "fund-bank", after=3) == (4, 5, 7, 8)
    assert ledger.query("messages.gaps", "fund-bank", after=4, limit=2) == (5, 7)
    take(ledger, "m-far", sequence=MAX)
    assert len(ledger.query("messages.gaps", "fund-bank", after=9, limit=MAX)) == LISTED_MAX


# matching


def test_what_is_expected_is_matched_whichever_comes_first(ledger):
    fund(ledger).expect("fund-bank", "EndToEndId", "E1", "r-1")
    first = take(ledger, "m-1", entry(e2e="E1"), entry(e2e="E2"), entry(e2e="E3"))
    assert states(ledger, first) == ["matched", "unmatched", "unmatched"]
    assert fund(ledger).expect("fund-bank", "EndToEndId", "E2", "r-2") == [first]
    assert states(ledger, first) == ["matched", "matched", "unmatched"]
    assert [one.position for one in ledger.query("messages.items_about", "fund-bank", "r-2")] == [2]
    second = take(ledger, "m-2", entry(uetr="U", e2e="E2"))
    assert fund(ledger).expect("fund-bank", "EndToEndId", "E2", "r-2") == [first, second]


def test_one_expected_identifier_is_enough_and_two_must_agree(ledger):
    number = take(ledger, "m-1", entry(e2e="E1", uetr="U1"), entry(e2e="E2", uetr="U2"))
    fund(ledger).expect("fund-bank", "UETR", "U1", "r-1")
    fund(ledger).expect("fund-bank", "UETR", "U2", "r-2")
    fund(ledger).expect("fund-bank", "EndToEndId", "E1", "r-1")
    assert states(ledger, number) == ["matched", "matched"]
    assert fund(ledger).expect("fund-bank", "EndToEndId", "E2", "r-9") == []
    assert states(ledger, number) == ["matched", "quarantined"]
    late = take(ledger, "m-2", entry(e2e="E1", uetr="U2"))
    assert (item(ledger, late).state, item(ledger, late).reason) == ("quarantined", "identifiers disagree")
    assert ledger.query("messages.items_about", "fund-bank", "r-2") == ()


def test_identifiers_of_another_kind_or_channel_do_not_match(ledger):
    number = take(ledger, "m-1", entry(e2e="X"))
    assert fund(ledger).expect("fund-bank", "UETR", "X", "r-1") == []
    ledger.actor("town/anna").clerk.expect("clerk-bank", "EndToEndId", "X", "r-1")
    assert states(ledger, number) == ["unmatched"]


def test_an_identifier_stands_for_one_reference(ledger):
    fund(ledger).expect("fund-bank", "UETR", "U1", "r-1")
    with refused("messages.identifier_taken", kind="UETR", reference="r-1"):
        fund(ledger).expect("fund-bank", "UETR", "U1", "r-2")


def test_a_placeholder_identifies_nothing(ledger):
    number = take(ledger, "m-1", entry(e2e="NOTPROVIDED"))
    with refused("messages.placeholder", value="NOTPROVIDED"):
        fund(ledger).expect("fund-bank", "EndToEndId", "NOTPROVIDED", "r-1")
    assert states(ledger, number) == ["unmatched"]
    assert ledger.rows("messages.carried") == []


def test_too_many_items_with_one_identifier_are_set_aside(ledger):
    for start in range(0, ITEMS_PER_IDENTIFIER_MAX, 50):
        take(ledger, f"m-{start}", *[entry(e2e="E1") for _ in range(50)])
    late = take(ledger, "late", entry(e2e="E1"))
    assert states(ledger, late) == ["quarantined"]
    assert len(fund(ledger).expect("fund-bank", "EndToEndId", "E1", "r-1")) == ITEMS_PER_IDENTIFIER_MAX // 50


def test_an_item_is_set_aside_and_resolved_by_a_person(ledger):
    fund(ledger).expect("fund-bank", "EndToEndId", "E1", "r-1")
    number = take(ledger, "m-1", entry(e2e="E1"))
    with refused("messages.item_settled", state="matched"):
        fund(ledger).resolve(number, 1, "x", "x")
    fund(ledger).quarantine(number, 1, "the amount differs")
    assert item(ledger, number).reason == "the amount differs"
    assert ledger.query("messages.items_about", "fund-bank", "r-1") == ()
    with refused("messages.item_settled", state="quarantined"):
        fund(ledger).quarantine(number, 1, "again")
    fund(ledger).resolve(number, 1, "accepted", "the bank took a fee", "r-1")
    one = item(ledger, number)
    assert (one.state, one.resolution, one.reason, one.resolved_by) == (
        "resolved", "accepted", "the bank took a fee", "treasurer")  # fmt: skip
    assert len(ledger.query("messages.items_about", "fund-bank", "r-1")) == 1
    with refused("messages.item_settled", state="resolved"):
        fund(ledger).resolve(number, 1, "x", "x")


def test_a_resolved_item_is_matched_no_more(ledger):
    number = take(ledger, "m-1", entry(e2e="E1"))
    fund(ledger).resolve(number, 1, "not-ours", "sent back")
    assert fund(ledger).expect("fund-bank", "EndToEndId", "E1", "r-1") == []
    assert states(ledger, number) == ["resolved"]


# sending


def test_outbound_messages_are_numbered_without_gaps(ledger):
    fields = source(amount="12.00", creditor="anna")
    assert fund(ledger).queue("fund-bank", "payment", "pain.001.001.09", "r-1", fields) == 1
    assert fund(ledger).queue("fund-bank", "payment", "pain.001.001.09", "r-2", fields) == 2
    assert fund(ledger).queue("fund-bank", "payment", "pain.001.001.09", "r-1", fields) == 1
    assert fund(ledger).queue("fund-bank", "recall", "camt.056.001.08", "r-1", fields) == 3
    for schema, other in (("pain.001.001.11", fields), ("pain.001.001.09", fields[:1])):
        with refused("messages.reference_used", reference="r-1", sequence=1):
            fund(ledger).queue("fund-bank", "payment", schema, "r-1", other)
    assert ledger.query("messages.unsent", "fund-bank") == (1, 2, 3)
    assert ledger.query("messages.outbound_of", "fund-bank", 3).kind == "recall"
    assert ledger.query("messages.outbound_of", "fund-bank", 4) is None


def test_the_bytes_of_a_message_are_the_same_on_every_node(ledger):
    fund(ledger).queue("fund-bank", "payment", "pain.001.001.09", "r-1", source(amount="12.00", creditor="anna"))

    def made(row: Any) -> bytes:
        return "\n".join(f"{one.name}={one.value}" for one in row.source).encode()

    digest = sha256(made(ledger.query("messages.outbound_of", "fund-bank", 1)))
    with refused("messages.not_produced", sequence=1):
        bank(ledger).acknowledge("fund-bank", 1, digest)
    fund(ledger).produce("fund-bank", 1, digest)
    bank(ledger).produce("fund-bank", 1, digest)
    for act in (bank(ledger).produce, bank(ledger).acknowledge):
        with refused("messages.bytes_differ", produced=digest):
            act("fund-bank", 1, bytes(32))
    assert ledger.query("messages.unsent", "fund-bank", "produced") == (1,)
    bank(ledger).acknowledge("fund-bank", 1, digest)
    bank(ledger).acknowledge("fund-bank", 1, digest)
    row = ledger.query("messages.outbound_of", "fund-bank", 1)
    assert (row.state, row.acknowledged_by) == ("acknowledged", "gateway")


def test_strangers_neither_produce_nor_acknowledge(ledger):
    fund(ledger).queue("fund-bank", "payment", "pain.001.001.09", "r-1", ())
    for act in (ledger.actor("town/anna").messages.produce, fund(ledger).acknowledge):
        with refused("messages.not_a_deliverer"):
            act("fund-bank", 1, bytes(32))


def test_a_source_is_bounded(ledger):
    many = source(**{f"f{n}": "v" for n in range(SOURCE_FIELDS_MAX + 1)})
    with refused("messages.too_many_fields", most=SOURCE_FIELDS_MAX):
        fund(ledger).queue("fund-bank", "payment", "pain.001.001.09", "r-1", many)
    fund(ledger).queue("fund-bank", "payment", "pain.001.001.09", "r-1", many[1:])


def test_what_is_not_there_is_unknown(ledger):
    for act in (
        lambda: fund(ledger).close_channel("no"),
        lambda: fund(ledger).admit("no", "gateway"),
        lambda: bank(ledger).take("no", SCHEMA, "REEDXX", "m", bytes(32), ()),
        lambda: fund(ledger).produce("no", 1, bytes(32)),
    ):
        with refused("messages.unknown_channel", channel="no"):
            act()
    with refused("messages.unknown_item", number=4, position=1):
        fund(ledger).quarantine(4, 1, "x")
    for act in (fund(ledger).produce, bank(ledger).acknowledge):
        with refused("messages.unknown_outbound", sequence=4):
            act("fund-bank", 4, bytes(32))


def test_the_first_refusal_in_order_is_given(ledger):
    """Each line mends what the line before was refused for."""
    take(ledger, "used", sequence=1)
    other, gateway = ledger.actor("town/anna").messages, bank(ledger)
    many = tuple(entry() for _ in range(ENTRIES_MAX + 1))
    ids = tuple(Identifier(kind=f"k{n}", value="v") for n in range(IDENTIFIERS_MAX + 1))
    wide = (Entry(kind="booking", identifiers=ids),)
    for code, act in (
        ("unknown_channel", lambda: other.take("no", SCHEMA, "REEDXX", "used", bytes(32), many, 1, 1)),
        ("not_the_keeper", lambda: other.take("clerk-bank", SCHEMA, "REEDXX", "used", bytes(32), many, 1, 1)),
        ("not_a_deliverer", lambda: other.take("fund-bank", SCHEMA, "REEDXX", "used", bytes(32), many, 1, 1)),
        ("message_conflict", lambda: gateway.take("fund-bank", SCHEMA, "REEDXX", "used", bytes(32), many, 1, 1)),
        ("too_many_entries", lambda: gateway.take("fund-bank", SCHEMA, "REEDXX", "new", bytes(32), many, 1, 1)),
        ("too_many_identifiers", lambda: gateway.take("fund-bank", SCHEMA, "REEDXX", "new", bytes(32), wide, 1, 1)),
        ("sequence_used", lambda: gateway.take("fund-bank", SCHEMA, "REEDXX", "new", bytes(32), (), 1, 1)),
    ):
        with refused(f"messages.{code}"):
            act()


def test_every_refusal_has_a_case_here():
    text = Path(__file__).read_text()
    for rejection in Messages.rejections:
        assert f'refused("{rejection.code}"' in text, rejection.code
