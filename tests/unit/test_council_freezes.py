"""Freezes: who may order one, what it stops and what never, and that it ends by itself."""

import pytest

from governed import Network, action
from guildbook.foundation import council as module
from guildbook.foundation.council import FREEZE_AGAIN_MS, FREEZE_MS, FREEZE_REQUEST_MS
from guildbook.testing import refused
from sample_contract import Units


@pytest.fixture
def network() -> Network:
    return Network(None, Units, permissions=("council:voter", "units:issuer"))


def freeze(network: Network, scope: str, subject: str) -> int:
    """Two members of different classes freeze it; returns the order."""
    assert network.of("mill").freeze(scope, subject, "suspicious") == 0
    return network.of("shop").freeze(scope, subject, "indeed")


def issue(network: Network, organisation: str) -> None:
    network.actor(organisation).units.issue("account", 1)


@pytest.mark.parametrize(("scope", "subject"), [
    ("contract", "units"), ("command", "units.issue"), ("member", "port"), ("party", "port-voter")])  # fmt: skip
def test_what_is_frozen_is_refused_from_the_next_block_until_the_end(network, scope, subject):
    issue(network, "port")
    order = freeze(network, scope, subject)
    until = network.ledger.rows("governance.freezes")[0].until
    assert until == network.ledger.now_ns // 1_000_000 + FREEZE_MS
    with refused("call.frozen", contract="units", command="issue", scope=scope, subject=subject, until=until):
        issue(network, "port")
    network.ledger.now_ns = (until - 1000) * 1_000_000
    issue(network, "port")
    row = network.ledger.rows("council.freeze_orders", order)[0]
    assert (row.ordered_by, row.until, row.lifted_at) == (("mill", "shop"), until, None)


def test_a_freeze_is_told_before_arguments_and_permission_are_looked_at(network):
    freeze(network, "contract", "units")
    for units in (1, -1):
        with refused("call.frozen"):
            network.ledger.actor("guest/guest-clerk").units.issue("account", units)
    with refused("call.unknown_command"):
        network.ledger.actor("guest/guest-clerk").units.vanish()


def test_a_freeze_is_as_narrow_as_it_says(network):
    issue(network, "port")
    freeze(network, "command", "units.move")
    with refused("call.frozen", scope="command"):
        network.actor("port").units.move("account", "other", 1)
    issue(network, "port")
    freeze(network, "party", "farm-voter")
    issue(network, "port")
    assert network.ledger.query("units.total") == 3


def test_reading_and_governing_are_never_frozen(network):
    freeze(network, "member", "port")
    assert network.ledger.query("units.total") == 0
    number = network.propose(action("lift_freeze", value=1), by="port")
    network.vote(number, port="yes")
    with refused("call.frozen", scope="member", subject="port"):
        network.actor("port").call("parties.withdraw_role", "port-voter", "council:voter")
    for scope, subject in (("contract", "council"), ("contract", "governance"), ("command", "parties.revoke_key")):
        network.of("mill").freeze(scope, subject, "coup")
        with refused("governance.never_frozen"):
            network.of("shop").freeze(scope, subject, "coup")


def test_a_frozen_contract_is_not_reached_through_another(network):
    execution = network.ledger.ledger.view().execution()
    council = execution.contract("council")
    execution.context.frozen = lambda contract, command: [["scope", "contract"]] if contract == "parties" else None
    with pytest.raises(Exception, match=r"call\.frozen"):
        council.parties.decide_role("mill", "a:b", True)


def test_two_members_of_different_classes_and_groups_are_needed():
    network = Network({"mill": "maker", "farm": "maker", "shop": "seller", "port": "carrier"}, Units,
                      affiliations={"shop": "mill"})  # fmt: skip
    assert network.of("mill").freeze("contract", "units", "a reason") == 0
    with refused("council.requested_already"):
        network.of("mill").freeze("contract", "units", "again")
    for other in ("farm", "shop"):
        with refused("council.another_class_needed", organisation="mill"):
            network.of(other).freeze("contract", "units", "me too")
    assert network.of("port").freeze("contract", "units", "me too") == 1
    with refused("council.frozen_already"):
        network.of("farm").freeze("contract", "units", "late")


def test_a_request_that_nobody_joins_is_forgotten(network):
    network.of("mill").freeze("contract", "units", "a reason")
    network.ledger.advance(milliseconds=FREEZE_REQUEST_MS)
    assert network.of("shop").freeze("contract", "units", "a reason") == 0
    assert network.of("mill").freeze("contract", "units", "a reason") == 1


def test_a_regulator_needs_nobody():
    network = Network({"mill": "maker", "office": "regulator"}, Units)
    assert network.of("office").freeze("contract", "units", "an order") == 1
    with refused("call.frozen"):
        network.actor("mill").units.issue("account", 1)


def test_only_what_is_there_is_frozen(network):
    for scope, subject in (("member", "nobody"), ("party", "nobody")):
        with refused("council.nothing_to_freeze", subject="nobody"):
            network.of("mill").freeze(scope, subject, "")
    with refused("council.not_a_member"):
        network.of("guest").freeze("contract", "units", "")


def test_a_vote_ratifies_a_freeze_or_lifts_it(network):
    order = freeze(network, "contract", "units")
    network.decide(action("ratify_freeze", value=order), expedited=True)
    network.ledger.advance(days=30)
    with refused("call.frozen", until=None):
        issue(network, "mill")
    with refused("council.not_the_orderer", order=order):
        network.of("mill").end_freeze(order)
    network.decide(action("lift_freeze", value=order))
    issue(network, "mill")
    with refused("council.freeze_over", order=order):
        network.decide(action("lift_freeze", value=order))


def test_what_is_over_cannot_be_ratified(network):
    order = freeze(network, "contract", "units")
    with refused("council.freeze_over", order=order):
        network.decide(action("ratify_freeze", value=order))


def test_a_vote_freezes_for_good_and_may_do_so_again(network):
    for _ in range(2):
        network.decide(action("freeze", scope="contract", name="units"))
        order = network.ledger.rows("governance.freezes")[0].order
        network.decide(action("lift_freeze", value=order))
    with refused("council.nothing_to_freeze"):
        network.decide(action("freeze", scope="party", name="nobody"))


def test_an_emergency_is_not_renewed_for_a_week(network):
    order = freeze(network, "contract", "units")
    began_at = network.ledger.rows("council.freeze_orders", order)[0].began_at
    network.ledger.advance(days=4)
    with refused("council.frozen_recently", again_from=began_at + FREEZE_AGAIN_MS):
        network.of("mill").freeze("contract", "units", "again")
    network.ledger.advance(days=4)
    assert freeze(network, "contract", "units") == 2


def test_those_who_ordered_a_freeze_end_it_and_report(network):
    order = freeze(network, "contract", "units")
    with refused("council.not_the_orderer", order=order):
        network.of("port").end_freeze(order)
    with refused("council.not_the_orderer", order=order):
        network.of("port").report_freeze(order, bytes(32))
    network.of("mill").end_freeze(order)
    issue(network, "mill")
    network.of("shop").report_freeze(order, b"r" * 32)
    row = network.ledger.rows("council.freeze_orders", order)[0]
    assert row.report == b"r" * 32
    assert row.began_at < row.lifted_at < row.until
    assert module.FREEZE_MS == 72 * 3600 * 1000
