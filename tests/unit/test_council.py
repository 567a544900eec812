"""Proposals, votes and executions: what passes, what does not, and every refusal by name."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from governed import CHARTER, DAY_MS, SET_EVENTS, Network, action, proven, suspend, validator_key
from guildbook.foundation import council as module
from guildbook.foundation.council import STEPS, Choice, Council, ProposalStatus
from guildbook.foundation.governance import default_rule
from guildbook.foundation.parties import Parties
from guildbook.runtime.decisions import Decision
from guildbook.testing import refused


@pytest.fixture
def network() -> Network:
    return Network()


# a decision from end to end


def test_a_decision_takes_a_vote_and_a_delay_and_is_executed_by_anybody(network):
    number = network.propose(SET_EVENTS)
    network.vote(number, mill="yes", farm="yes", shop="yes", port="no")
    assert network.close(number) == "passed"
    with refused("council.too_early", executable_from=network.proposal(number).executable_from):
        network.of("guest").execute(number)
    network.execute(number)
    assert network.ledger.query("governance.parameter", "events_max") == 99
    assert network.proposal(number).status is ProposalStatus.EXECUTED
    with refused("council.not_passed", status="executed"):
        network.of("guest").execute(number)


def test_all_actions_are_done_or_none(network):
    number = network.propose(SET_EVENTS, action("set_power", public_key=b"\x01" + bytes(32), value=3))
    network.vote(number, mill="yes", farm="yes", shop="yes")
    network.close(number)
    with refused("governance.unknown_validator"):
        network.execute(number)
    assert network.ledger.query("governance.parameter", "events_max") == 1024
    assert network.proposal(number).status is ProposalStatus.PASSED


def test_what_was_possible_when_it_was_proposed_is_checked_again(network):
    first, second = network.propose(suspend("port")), network.propose(suspend("port"))
    for number in (first, second):
        network.vote(number, mill="yes", farm="yes", shop="yes")
    for number in (first, second):
        network.close(number)
    network.execute(first)
    with refused("parties.wrong_status", status="suspended"):
        network.execute(second)


def test_a_network_of_one_member_acts_at_once():
    network = Network({"mill": "member"}, validators=None, actors={"farm/farm-voter": ["council:voter"]})
    number = network.of("mill").act("Two of us", "The farm joins", (
        action("admit_member", organisation="farm", member_class="member", affiliation="farm"), SET_EVENTS))
    assert network.proposal(number).status is ProposalStatus.EXECUTED
    assert network.ledger.query("governance.member_count") == 2
    with refused("council.several_members", members=2):
        network.of("mill").act("Alone", "As before", (SET_EVENTS,))
    number = network.of("farm").propose("Together", "By vote", (SET_EVENTS,))
    assert network.tally(number).electorate == 2


# thresholds


@pytest.mark.parametrize(("votes", "status"), [
    ({"mill": "yes", "farm": "yes"}, "rejected"),
    ({"mill": "yes", "farm": "yes", "shop": "no", "port": "no"}, "rejected"),
    ({"mill": "yes", "farm": "yes", "shop": "abstain"}, "passed"),
    ({"mill": "yes", "farm": "yes", "shop": "yes"}, "passed"),
    ({"mill": "yes"}, "lapsed"),
    ({}, "lapsed"),
    ({"mill": "abstain", "farm": "abstain", "shop": "abstain", "port": "abstain"}, "rejected"),
])  # fmt: skip
def test_an_operational_decision_needs_half_to_vote_and_more_than_half_to_agree(network, votes, status):
    number = network.propose(SET_EVENTS)
    network.vote(number, **votes)
    assert network.close(number) == status


@pytest.mark.parametrize(("votes", "status"), [
    ({"mill": "yes", "farm": "yes", "shop": "no"}, "rejected"),
    ({"mill": "yes", "farm": "yes"}, "lapsed"),
    ({"mill": "yes", "farm": "yes", "shop": "yes", "port": "no"}, "passed"),
    ({"mill": "yes", "farm": "yes", "shop": "abstain"}, "passed"),
])  # fmt: skip
def test_a_membership_decision_needs_two_thirds(network, votes, status):
    number = network.propose(suspend("port"))
    network.vote(number, **votes)
    assert network.close(number) == status


@pytest.mark.parametrize(("votes", "status", "against"), [
    ({"mill": "yes", "farm": "yes", "shop": "yes", "port": "no"}, "rejected", ("carrier",)),
    ({"mill": "yes", "farm": "yes", "shop": "yes", "port": "abstain"}, "passed", ()),
    ({"mill": "yes", "farm": "yes", "shop": "yes"}, "passed", ()),
    ({"mill": "yes", "farm": "no", "shop": "yes", "port": "yes"}, "passed", ()),
])  # fmt: skip
def test_a_charter_needs_three_quarters_and_no_class_against(network, votes, status, against):
    number = network.propose(CHARTER)
    network.vote(number, **votes)
    assert network.tally(number).classes_against == against
    assert network.close(number) == status


def test_the_weightiest_action_gives_the_rule(network):
    assert network.proposal(network.propose(SET_EVENTS)).decision is Decision.OPERATIONAL
    assert network.proposal(network.propose(SET_EVENTS, suspend("port"))).decision is Decision.MEMBERSHIP
    assert network.proposal(network.propose(CHARTER, SET_EVENTS)).decision is Decision.CHARTER


def test_a_rule_is_changed_by_a_vote_and_holds_for_later_proposals(network):
    before = network.propose(SET_EVENTS)
    by_default: Any = default_rule(Decision.OPERATIONAL)
    rule = msgspec.structs.replace(
        by_default, threshold_numerator=1, threshold_denominator=1, classes=("maker",))
    network.decide(action("set_rule", rule=(rule,)))
    after = network.propose(SET_EVENTS)
    assert [network.tally(one).electorate for one in (before, after)] == [4, 2]
    with refused("council.not_an_elector", organisation="shop"):
        network.vote(after, shop="yes")
    network.vote(after, mill="yes")
    assert not network.tally(after).passes
    network.vote(after, farm="yes")
    assert network.tally(after).passes


def test_a_required_organisation_must_agree_itself(network):
    number = network.propose(SET_EVENTS, required=("port",))
    network.vote(number, mill="yes", farm="yes", shop="yes")
    assert not network.tally(number).consenting
    assert network.close(number) == "rejected"
    number = network.propose(SET_EVENTS, required=("port",))
    network.vote(number, mill="yes", farm="yes", shop="no", port="yes")
    assert network.close(number) == "passed"
    with refused("council.not_an_elector", organisation="guest"):
        network.propose(SET_EVENTS, required=("guest",))


# votes


def test_a_vote_can_be_changed_until_the_close_and_is_public(network):
    number = network.propose(SET_EVENTS)
    network.vote(number, mill="no", farm="yes", shop="yes")
    network.vote(number, mill="yes")
    rows = network.ledger.rows("council.votes", number)
    assert [(row.organisation, row.choice.value, row.reason) for row in rows] == [
        ("farm", "yes", "because"), ("mill", "yes", "because"), ("shop", "yes", "because")]
    network.ledger.now_ns = network.proposal(number).closes_at * 1_000_000
    with refused("council.voting_over", closes_at=network.proposal(number).closes_at):
        network.vote(number, mill="no")
    network.close(number)
    with refused("council.already_decided", status="passed"):
        network.vote(number, mill="no")
    with refused("council.already_decided", status="passed"):
        network.of("guest").close(number)


def test_the_electorate_is_that_of_the_opening(network):
    number = network.propose(SET_EVENTS)
    network.decide(action("admit_member", organisation="guest", member_class="maker", affiliation="guest"))
    assert network.tally(number).electorate == 4
    with refused("council.already_decided"):
        network.close(number)
        network.of("guest").vote(number, "yes", "late")
    later = network.propose(SET_EVENTS)
    assert network.tally(later).electorate == 5
    network.of("guest").vote(later, "yes", "in time")


def test_affiliated_members_have_one_vote():
    network = Network(affiliations={"farm": "mill"})
    number = network.propose(SET_EVENTS)
    network.vote(number, mill="yes", farm="yes", shop="no", port="no")
    tally = network.tally(number)
    assert (tally.electorate, tally.yes, tally.no, tally.passes) == (3, 1, 2, False)
    network.vote(number, farm="no")
    tally = network.tally(number)
    assert (tally.yes, tally.no, tally.divided, tally.silent) == (0, 2, 1, 0)


def test_members_that_merge_have_one_vote_in_what_is_proposed_later(network):
    network.decide(action("change_member", organisation="farm", member_class="maker", affiliation="mill"))
    assert network.tally(network.propose(SET_EVENTS)).electorate == 3


def test_a_suspended_members_yes_is_silence_and_its_no_stays(network):
    for choice, counts in (("yes", (1, 0, 3)), ("abstain", (1, 0, 3)), ("no", (1, 1, 2))):
        network = Network()
        number = network.propose(CHARTER)
        network.vote(number, mill="yes", port=choice)
        network.decide(suspend("port"), no=("port",))
        tally = network.tally(number)
        assert (tally.yes, tally.no, tally.silent) == counts
        with refused("transaction.organisation_not_active", organisation="port"):
            network.vote(number, port="no")
        with refused("transaction.organisation_not_active"):
            network.actor("port").call("parties.withdraw_role", "port-voter", "council:voter")


def test_a_reinstated_member_votes_again(network):
    network.decide(suspend("port"), no=("port",))
    assert network.tally(network.propose(SET_EVENTS)).electorate == 3
    del network.members["port"]
    network.decide(action("reinstate_member", organisation="port"))
    number = network.propose(SET_EVENTS)
    network.vote(number, port="yes")
    assert network.tally(number).electorate == 4


def test_the_last_active_member_is_never_suspended_or_removed(network):
    network.decide(suspend("port"), no=("port",))
    network.decide(suspend("shop"), no=("port", "shop"))
    with refused("council.last_active_member", organisation="farm"):
        network.decide(suspend("mill"), suspend("farm"), no=("port", "shop"))


def test_a_delegate_votes_where_a_member_is_silent(network):
    network.of("farm").delegate("mill")
    network.of("port").delegate("mill")
    number = network.propose(SET_EVENTS)
    network.vote(number, mill="yes")
    assert network.tally(number).yes == 3
    network.vote(number, farm="no")
    assert (network.tally(number).yes, network.tally(number).no) == (2, 1)
    network.of("port").delegate(None)
    assert network.tally(number).yes == 1
    charter = network.propose(CHARTER)
    network.of("port").delegate("mill")
    network.vote(charter, mill="yes")
    assert network.tally(charter).yes == 1


def test_delegations_are_not_passed_on_gathered_or_given_to_strangers(network):
    network.of("farm").delegate("mill")
    network.of("shop").delegate("mill")
    for by, to in (("port", "mill"), ("port", "port"), ("port", "guest"), ("mill", "port"), ("port", "farm")):
        with refused("council.delegation_refused", to=to, most=module.DELEGATIONS_MAX):
            network.of(by).delegate(to)


# time


def test_an_expedited_proposal_is_quick_or_becomes_a_normal_one(network):
    quick, slow = (network.propose(SET_EVENTS, expedited=True) for _ in range(2))
    network.vote(quick, mill="yes", farm="yes", shop="yes")
    network.vote(slow, mill="yes", farm="yes", shop="no", port="no")
    with refused("council.voting_open"):
        network.of("guest").close(quick)
    assert network.close(quick) == "passed"
    network.of("guest").execute(quick)
    assert network.close(slow) == "open"
    extended = network.proposal(slow)
    assert not extended.expedited
    assert extended.closes_at - extended.opened_at == 7 * DAY_MS
    network.vote(slow, port="yes", shop="abstain")
    assert network.close(slow) == "passed"
    assert network.proposal(slow).executable_from == extended.closes_at + DAY_MS


def test_an_expedited_proposal_that_is_closed_late_is_counted_as_a_normal_one(network):
    number = network.propose(SET_EVENTS, expedited=True)
    network.vote(number, mill="yes", farm="yes", shop="abstain")
    network.ledger.advance(days=30)
    assert network.close(number) == "passed"


def test_a_charter_is_not_expedited(network):
    with refused("council.not_expedited", decision="charter"):
        network.propose(CHARTER, expedited=True)


def test_what_passed_and_was_not_executed_in_time_lapses(network):
    number = network.propose(SET_EVENTS)
    network.vote(number, mill="yes", farm="yes", shop="yes")
    network.close(number)
    with refused("council.already_decided", status="passed"):
        network.of("guest").close(number)
    network.ledger.now_ns = network.proposal(number).lapses_at * 1_000_000
    with refused("council.too_late", lapses_at=network.proposal(number).lapses_at):
        network.of("guest").execute(number)
    assert network.close(number) == "lapsed"


def test_a_vote_that_nobody_closed_in_time_lapses_too(network):
    number = network.propose(SET_EVENTS)
    network.vote(number, mill="yes", farm="yes", shop="yes")
    network.ledger.advance(days=90)
    assert network.close(number) == "lapsed"


def test_execution_closes_the_vote_when_nobody_has(network):
    number = network.propose(SET_EVENTS)
    network.vote(number, mill="yes", farm="yes", shop="yes")
    with refused("council.not_passed", status="open"):
        network.of("guest").execute(number)
    network.ledger.advance(days=9)
    network.of("guest").execute(number)
    assert network.proposal(number).status is ProposalStatus.EXECUTED


# who may, and how much


def test_only_voters_of_members_take_part(network):
    with refused("council.not_a_member", organisation="guest"):
        network.propose(SET_EVENTS, by="guest")
    with refused("council.not_a_member", organisation="guest"):
        network.of("guest").delegate("mill")
    number = network.propose(SET_EVENTS)
    with refused("council.not_an_elector", organisation="guest"):
        network.of("guest").vote(number, "yes", "for you")
    with refused("council.not_the_proposer", organisation="mill"):
        network.of("farm").withdraw(number)
    network.of("mill").withdraw(number)
    assert network.proposal(number).status is ProposalStatus.WITHDRAWN


def test_the_council_is_reached_by_transactions_alone(network):
    execution = network.ledger.ledger.view().execution()
    contract = execution.contract("council")
    execution.context.caller = "points"
    for call in (lambda: contract.close(1), lambda: contract.delegate(None), lambda: contract.execute(1)):
        with pytest.raises(module.OnlyByTransaction):
            call()


def test_what_is_not_there_is_refused(network):
    for name, arguments in (("close", (9,)), ("execute", (9,)), ("vote", (9, "yes", "")), ("withdraw", (9,))):
        with refused("council.unknown_proposal", proposal=9):
            network.actor("mill").call(f"council.{name}", *arguments)
    with refused("council.unknown_freeze_order", order=9):
        network.of("mill").end_freeze(9)


def test_a_proposal_has_some_actions_and_their_fields(network):
    for count in (0, module.ACTIONS_MAX + 1):
        with refused("council.wrong_number_of_actions", most=module.ACTIONS_MAX):
            network.propose(*[SET_EVENTS] * count)
    with refused("governance.wrong_fields", kind="set_parameter", needed="name, value"):
        network.propose(action("set_parameter", name="events_max"))


def test_a_member_has_so_many_proposals_open(network):
    for _ in range(module.OPEN_OF_ONE_MEMBER_MAX):
        network.propose(SET_EVENTS)
    with refused("council.too_many_proposals", most=module.OPEN_OF_ONE_MEMBER_MAX):
        network.propose(SET_EVENTS)
    network.propose(SET_EVENTS, by="farm")


def test_a_class_without_active_members_decides_nothing(network):
    by_default: Any = default_rule(Decision.OPERATIONAL)
    rule = msgspec.structs.replace(by_default, classes=("carrier",))
    network.decide(action("set_rule", rule=(rule,)), suspend("port"))
    with refused("council.nobody_votes", decision="operational"):
        network.propose(SET_EVENTS)


def test_pending_is_what_a_member_has_still_to_vote_on(network):
    first, second = network.propose(SET_EVENTS), network.propose(CHARTER)
    network.vote(first, port="no")
    assert network.ledger.query("council.pending", "port") == (second,)
    assert network.ledger.query("council.pending", "guest") == ()


def test_the_table_of_steps_is_the_one_that_the_module_opens_with():
    assert set(STEPS) == set(ProposalStatus)
    assert STEPS[ProposalStatus.OPEN] == (
        ProposalStatus.PASSED, ProposalStatus.REJECTED, ProposalStatus.LAPSED, ProposalStatus.WITHDRAWN)
    assert [one.value for one in Choice] == ["yes", "no", "abstain"]


# members


def test_a_member_joins_with_its_vote_and_leaves_for_good(network):
    network.decide(action("admit_member", organisation="guest", member_class="seller", affiliation="guest"))
    assert "council:voter" in [
        row.permission for row in network.ledger.rows("parties.organisation_roles", "guest")]
    network.of("port").delegate("guest")
    network.decide(action("remove_member", organisation="guest"))
    assert network.ledger.rows("council.delegations") == []
    with refused("transaction.organisation_not_active", organisation="guest", status="closed"):
        network.of("guest").close(1)
    network.members.pop("port")
    with refused("council.organisation_not_active", organisation="nobody"):
        network.decide(
            action("admit_member", organisation="nobody", member_class="x", affiliation="x"), by="farm",
            no=("port",))  # fmt: skip


def test_members_decide_about_members_and_platform_permissions_and_the_registrar_about_others():
    network = Network(actors={"council/registrar": []})
    registrar = network.ledger.actor("council/registrar").parties
    for call, arguments in (
        ("suspend_organisation", ("port",)), ("close_organisation", ("port",)), ("reinstate_organisation", ("port",)),
        ("grant_organisation_role", ("guest", "governance:governor")), ("suspend_party", ("port-voter",)),
        ("withdraw_organisation_role", ("port", "council:voter")),
    ):  # fmt: skip
        with refused("parties.decided_by_vote"):
            getattr(registrar, call)(*arguments)
    registrar.grant_organisation_role("port", "points:issuer")
    registrar.suspend_organisation("guest")
    number = network.propose(
        action("grant_role", organisation="port", name="parties:registrar"),
        action("withdraw_role", organisation="shop", name="council:voter"))
    network.vote(number, mill="yes", farm="yes", shop="yes", port="yes")
    network.close(number, by="mill")
    network.execute(number, by="mill")
    with refused("call.not_permitted"):
        network.propose(SET_EVENTS, by="shop")


def test_identities_are_decided_by_the_council_alone(network):
    execution = network.ledger.ledger.view().execution()
    contract = execution.contract("parties")
    rejection = next(one for one in Parties.rejections if one.__name__ == "OnlyByCouncil")
    for call in (
        lambda: contract.decide_status("mill", "closed"), lambda: contract.decide_role("mill", "a:b", True)):
        with pytest.raises(rejection):
            call()


def test_a_suspension_needs_a_member(network):
    with refused("council.not_a_member", organisation="guest"):
        network.decide(suspend("guest"))


# validators


def test_validators_change_by_a_vote_and_sign_two_blocks_later(network):
    network.decide(action("add_validator", organisation="mill", value=20, **proven("mill", "second key")))
    height = network.ledger.ledger.head.height
    view = network.ledger.ledger.view()
    assert [view.validators(one).total_power for one in (height, height + 1, height + 2)] == [40, 40, 60]
    assert network.ledger.last_block.validator_updates == ((proven("mill", "second key")["public_key"], 20),)
    network.decide(action("remove_validator", public_key=validator_key("port")),
                   action("set_power", public_key=validator_key("shop"), value=15))
    assert [power for _key, power in sorted(network.ledger.last_block.validator_updates)] in ([0, 15], [15, 0])


def test_every_refusal_has_a_case_here():
    text = "".join(
        Path(__file__).with_name(name).read_text()
        for name in ("test_council.py", "test_council_freezes.py", "test_council_releases.py"))  # fmt: skip
    for rejection in Council.rejections:
        assert rejection.code.partition(".")[2] in text or rejection.__name__ in text, rejection.code
