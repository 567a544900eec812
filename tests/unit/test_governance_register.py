"""What governance lets a decision do: every guard that stands between a lawful vote and a chain that stops."""

from typing import Any

import msgspec
import pytest

from guildbook.contract.keys import possession_statement
from guildbook.foundation import governance as module
from guildbook.foundation.governance import FIELDS, decision_of, default_rule
from guildbook.primitives.checkpoint import NoteKey
from guildbook.runtime import validators as rows
from guildbook.runtime.decisions import Action, ActionKind, Decision
from guildbook.runtime.freezes import FreezeScope
from guildbook.testing import TestLedger
from guildbook.testing.ledger import test_key as key_of

NETWORK = "test-net"


class Register:
    """The contract on the state after a ledger's last block, called as the council calls it."""

    def __init__(self, **options):
        options.setdefault("validators", {"mill": 10, "shop": 10, "port": 10, "bank": 10})
        options.setdefault("members", dict.fromkeys(("mill", "shop", "port", "bank"), "member"))
        actors = {f"{one}/{one}-clerk": [] for one in options["members"]}
        self.ledger = TestLedger(actors=actors, **options)
        self.execution = self.ledger.ledger.view().execution()
        self.contract: Any = self.execution.contract("governance")
        self.execution.context.caller = "council"
        self.execution.context.events_max = 100_000

    def enact(self, kind, **fields):
        self.contract.enact((Action(kind=kind, **fields),))

    def refuses(self, rejection, kind, **fields):
        mark = self.execution.overlay.begin(1 << 62)
        with pytest.raises(rejection) as caught:
            self.enact(kind, **fields)
        self.execution.overlay.rollback(mark)
        return caught.value

    def next_block(self):
        self.execution.context.height += 1

    def powers(self):
        return {row.organisation: row.power for row in self.contract.validators.find(index=())}


def key(organisation: str) -> bytes:
    return key_of(f"validator {organisation}").public_key


def proven(organisation: str, name: str) -> dict[str, bytes]:
    signing = key_of(name)
    statement = possession_statement(NETWORK, f"validator/{organisation}", signing.public_key)
    return {"public_key": signing.public_key, "proof": signing.sign(statement)}


@pytest.fixture
def register() -> Register:
    return Register()


# who may call


def test_only_the_council_enacts_publishes_freezes_and_lifts(register):
    for caller in ("", "points"):
        register.execution.context.caller = caller
        for call in (
            lambda: register.contract.enact(()),
            lambda: register.contract.publish_source("notes", "text"),
            lambda: register.contract.impose_freeze(FreezeScope.MEMBER, "mill", 1, None),
            lambda: register.contract.lift_freeze(FreezeScope.MEMBER, "mill"),
        ):
            with pytest.raises(module.OnlyByCouncil) as caught:
                call()
            assert caught.value.members == 4


def test_a_governor_of_one_among_several_changes_nothing_alone(register):
    register.execution.context.caller = ""
    for call in (
        lambda: register.contract.set_parameter("events_max", 20),
        lambda: register.contract.schedule_release("notes", 1, bytes(32), 9),
        lambda: register.contract.withdraw_release("notes", 1),
    ):
        with pytest.raises(module.OnlyByCouncil):
            call()
    assert register.contract.register_source("notes", "a text that runs nothing")


@pytest.mark.parametrize("kind", list(ActionKind))
def test_an_action_has_the_fields_of_its_kind_and_no_others(register, kind):
    full = {
        "organisation": "mill", "member_class": "member", "affiliation": "mill", "name": "x", "value": 1, "height": 1,
        "digest": bytes(32), "public_key": key("mill"), "new_key": key("shop"), "proof": b"p", "text": "t",
        "scope": FreezeScope.PARTY, "rule": (default_rule(Decision.CHARTER),),
    }  # fmt: skip
    needed = FIELDS[kind]
    for missing in needed:
        fields = {name: full[name] for name in needed if name != missing}
        assert register.refuses(module.WrongFields, kind, **fields).needed == ", ".join(needed)
    surplus = next(name for name in full if name not in needed)
    fields = {name: full[name] for name in (*needed, surplus)}
    register.refuses(module.WrongFields, kind, **fields)


def test_what_belongs_to_identities_and_to_orders_is_the_councils_own(register):
    for kind in (ActionKind.SUSPEND_MEMBER, ActionKind.REINSTATE_MEMBER):
        register.refuses(module.NotOfTheRegister, kind, organisation="mill")
    for kind in (ActionKind.RATIFY_FREEZE, ActionKind.LIFT_FREEZE):
        register.refuses(module.NotOfTheRegister, kind, value=1)


def test_each_kind_of_action_belongs_to_one_kind_of_decision():
    by_decision = {decision: [k for k in ActionKind if decision_of(k) is decision] for decision in Decision}
    assert by_decision[Decision.ACTIVATION] == [ActionKind.SCHEDULE_RELEASE]
    assert by_decision[Decision.CHARTER] == [ActionKind.SET_CHARTER, ActionKind.SET_RULE]
    assert len(by_decision[Decision.OPERATIONAL]) == 7
    assert len(by_decision[Decision.MEMBERSHIP]) == 11


# members


def test_a_member_is_admitted_changed_and_removed(register):
    register.enact(ActionKind.ADMIT_MEMBER, organisation="farm", member_class="grower", affiliation="farm")
    assert register.contract.member_count() == 5
    register.enact(ActionKind.CHANGE_MEMBER, organisation="farm", member_class="grower", affiliation="mill")
    assert register.contract.member("farm").affiliation == "mill"
    register.enact(ActionKind.REMOVE_MEMBER, organisation="farm")
    assert register.contract.member("farm") is None


def test_members_are_admitted_once_and_only_members_are_changed(register):
    seat = {"member_class": "member", "affiliation": "x"}
    register.refuses(module.MemberExists, ActionKind.ADMIT_MEMBER, organisation="mill", **seat)
    register.refuses(module.UnknownMember, ActionKind.CHANGE_MEMBER, organisation="farm", **seat)
    register.refuses(module.UnknownMember, ActionKind.REMOVE_MEMBER, organisation="farm")


def test_there_is_a_bound_on_members(register):
    for number in range(module.MEMBERS_MAX - 4):
        register.enact(
            ActionKind.ADMIT_MEMBER, organisation=f"m{number}", member_class="member", affiliation=f"m{number}"
        )
    register.refuses(
        module.TooManyMembers, ActionKind.ADMIT_MEMBER, organisation="x", member_class="m", affiliation="x"
    )


def test_a_member_that_runs_validators_is_not_removed_before_them(register):
    register.refuses(module.RunsValidators, ActionKind.REMOVE_MEMBER, organisation="mill")
    register.enact(ActionKind.REMOVE_VALIDATOR, public_key=key("mill"))
    register.enact(ActionKind.REMOVE_MEMBER, organisation="mill")


def test_the_last_member_stays():
    register = Register(members={"mill": "member"}, validators={"mill": 1})
    register.refuses(module.LastMember, ActionKind.REMOVE_MEMBER, organisation="mill")


# validators


def test_validators_are_added_weighed_replaced_and_removed(register):
    register.enact(ActionKind.ADD_VALIDATOR, organisation="mill", value=5, **proven("mill", "second"))
    assert len(list(register.contract.validators.find("mill"))) == 2
    register.next_block()
    register.enact(ActionKind.SET_POWER, public_key=key("shop"), value=12)
    register.next_block()
    new = proven("port", "new port key")
    register.enact(
        ActionKind.REPLACE_VALIDATOR, public_key=key("port"), new_key=new["public_key"], proof=new["proof"]
    )
    assert register.contract.validators.get(new["public_key"]).power == 10
    register.next_block()
    register.enact(ActionKind.REMOVE_VALIDATOR, public_key=key("bank"))
    register.contract.the_validators_can_sign()
    assert sorted(register.powers()) == ["mill", "port", "shop"]


def test_a_removed_validator_returns_with_its_own_key_and_no_other_member_takes_it(register):
    register.enact(ActionKind.REMOVE_VALIDATOR, public_key=key("bank"))
    register.next_block()
    again = proven("bank", "validator bank")
    taken = register.refuses(
        module.ValidatorKeyTaken, ActionKind.ADD_VALIDATOR, organisation="mill", value=1,
        **proven("mill", "validator bank"),
    )  # fmt: skip
    assert (taken.organisation, taken.barred) == ("bank", False)
    register.enact(ActionKind.ADD_VALIDATOR, organisation="bank", value=10, **again)


def test_strangers_doubles_and_unproven_keys_are_refused(register):
    add = ActionKind.ADD_VALIDATOR
    register.refuses(module.UnknownMember, add, organisation="farm", value=1, **proven("farm", "k"))
    register.refuses(module.ValidatorExists, add, organisation="mill", value=1, **proven("mill", "validator mill"))
    fresh = proven("mill", "k")
    for proof in (b"", bytes(64), proven("shop", "k")["proof"]):
        register.refuses(
            module.PossessionNotProven, add, organisation="mill", value=1,
            public_key=fresh["public_key"], proof=proof,
        )  # fmt: skip
    for weak in (bytes((1,)) + bytes(32), bytes((1, 1)) + bytes(31), b"\x01short", b"\x09" + bytes(32)):
        register.refuses(
            module.KeyNotAcceptable, add, organisation="mill", value=1, public_key=weak, proof=bytes(64)
        )
    for kind, fields in (
        (ActionKind.SET_POWER, {"value": 3}),
        (ActionKind.REMOVE_VALIDATOR, {}),
        (ActionKind.REPLACE_VALIDATOR, {"new_key": fresh["public_key"], "proof": fresh["proof"]}),
    ):
        register.refuses(module.UnknownValidator, kind, public_key=key("nobody"), **fields)


def test_powers_stay_within_what_the_engine_bears(register):
    most = module.TOTAL_POWER_MAX - 40
    for power in (0, -1, most + 1):
        refused = register.refuses(
            module.PowerOutOfBounds, ActionKind.ADD_VALIDATOR, organisation="mill", value=power, **proven("mill", "k")
        )
        assert refused.most == most
    for power in (0, 10):
        register.refuses(module.PowerOutOfBounds, ActionKind.SET_POWER, public_key=key("mill"), value=power)


def test_there_is_a_bound_on_validators(register):
    assert module.VALIDATORS_MAX == rows.VALIDATORS_MAX
    for number in range(module.VALIDATORS_MAX - 4):
        register.next_block()
        register.enact(ActionKind.ADD_VALIDATOR, organisation="mill", value=1, **proven("mill", f"k{number}"))
    register.refuses(
        module.TooManyValidators, ActionKind.ADD_VALIDATOR, organisation="mill", value=1, **proven("mill", "k")
    )


def test_the_last_validator_stays():
    register = Register(validators={"mill": 1})
    register.refuses(module.LastValidator, ActionKind.REMOVE_VALIDATOR, public_key=key("mill"))


def test_one_block_changes_no_more_than_a_light_client_can_follow(register):
    register.enact(ActionKind.REMOVE_VALIDATOR, public_key=key("mill"))
    register.enact(ActionKind.REMOVE_VALIDATOR, public_key=key("shop"))
    refused = register.refuses(
        module.TooMuchPowerAtOnce, ActionKind.ADD_VALIDATOR, organisation="bank", value=1, **proven("bank", "k")
    )
    assert (refused.added, refused.removed, refused.total) == (1, 20, 40)
    register.next_block()
    register.enact(ActionKind.ADD_VALIDATOR, organisation="bank", value=20, **proven("bank", "k"))
    register.refuses(module.TooMuchPowerAtOnce, ActionKind.SET_POWER, public_key=key("bank"), value=11)


def test_a_solo_network_has_the_validator_of_its_genesis():
    register = Register(validators=None, members={"council": "member"})
    own = key_of("validator").public_key
    register.refuses(
        module.SoloNetwork, ActionKind.ADD_VALIDATOR, organisation="council", value=1, **proven("council", "k")
    )
    register.refuses(module.SoloNetwork, ActionKind.SET_POWER, public_key=own, value=2)
    register.refuses(module.SoloNetwork, ActionKind.REMOVE_VALIDATOR, public_key=own)
    new = proven("council", "k")
    register.refuses(
        module.SoloNetwork, ActionKind.REPLACE_VALIDATOR, public_key=own, new_key=new["public_key"], proof=new["proof"]
    )


# freezes


def impose(register, scope, subject, until=None):
    register.contract.impose_freeze(scope, subject, 1, until)


@pytest.mark.parametrize("subject", ["governance", "council", "parties"])
def test_governance_is_never_frozen(register, subject):
    for scope, name in ((FreezeScope.CONTRACT, subject), (FreezeScope.COMMAND, f"{subject}.anything")):
        with pytest.raises(module.NeverFrozen):
            impose(register, scope, name)


def test_only_what_is_there_is_frozen_and_lifted(register):
    for scope, name in (
        (FreezeScope.CONTRACT, "harbour"),
        (FreezeScope.CONTRACT, "money.transfer"),
        (FreezeScope.COMMAND, "money"),
        (FreezeScope.COMMAND, "harbour.moor"),
    ):
        with pytest.raises(module.UnknownSubject):
            impose(register, scope, name)
    with pytest.raises(module.NotFrozen):
        register.contract.lift_freeze(FreezeScope.CONTRACT, "money")
    impose(register, FreezeScope.CONTRACT, "money")
    register.contract.lift_freeze(FreezeScope.CONTRACT, "money")
    assert register.contract.freeze_of(FreezeScope.CONTRACT, "money") is None


def test_there_is_a_bound_on_freezes_and_those_that_ended_leave_room(register):
    now = register.execution.context.now
    for number in range(module.FREEZES_MAX):
        impose(register, FreezeScope.PARTY, f"p{number}", now + 1)
    with pytest.raises(module.TooManyFreezes):
        impose(register, FreezeScope.PARTY, "one-more", now + 1)
    register.execution.context.now += 1
    impose(register, FreezeScope.PARTY, "one-more", now + 2)
    assert [row.subject for row in register.contract.freezes.find()] == ["one-more"]


# witnesses, charter, rules


def test_a_witness_has_the_key_that_its_name_belongs_to(register):
    text = NoteKey("harbour.example/witness", key_of("w").public_key).text()
    name = "harbour.example/witness"
    for wrong_name, wrong in ((name, text[:-4]), ("other.example/witness", text), (name, "")):
        register.refuses(module.NotAWitnessKey, ActionKind.APPOINT_WITNESS, name=wrong_name, text=wrong)
    register.enact(ActionKind.APPOINT_WITNESS, name=name, text=text)
    register.refuses(module.WitnessExists, ActionKind.APPOINT_WITNESS, name=name, text=text)
    register.enact(ActionKind.RETIRE_WITNESS, name=name)
    register.refuses(module.UnknownWitness, ActionKind.RETIRE_WITNESS, name=name)


def test_charters_are_numbered_and_differ(register):
    register.enact(ActionKind.SET_CHARTER, digest=bytes(32))
    register.refuses(module.CharterInForce, ActionKind.SET_CHARTER, digest=bytes(32))
    register.enact(ActionKind.SET_CHARTER, digest=b"c" * 32)
    assert [row.version for row in register.contract.charters.find()] == [1, 2]


def test_a_rule_is_a_majority_of_members_that_exist(register):
    rule: Any = default_rule(Decision.OPERATIONAL)
    for change in (
        {"quorum_numerator": 3, "quorum_denominator": 2},
        {"threshold_numerator": 1, "threshold_denominator": 3},
        {"threshold_numerator": 4, "threshold_denominator": 3},
        {"expedited_numerator": 2, "expedited_denominator": 5},
        {"voting_ms": module.RULE_MS_MAX + 1},
        {"classes": ("grower",)},
    ):
        wrong = msgspec.structs.replace(rule, **change)
        register.refuses(module.RuleOutOfBounds, ActionKind.SET_RULE, rule=(wrong,))
    tighter = msgspec.structs.replace(rule, threshold_numerator=3, threshold_denominator=4)
    register.enact(ActionKind.SET_RULE, rule=(tighter,))
    assert register.contract.rule(Decision.OPERATIONAL) == tighter
    assert register.contract.rule(Decision.CHARTER) == default_rule(Decision.CHARTER)
