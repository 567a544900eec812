"""Organisations, parties, keys and permissions: who may do what, and every refusal by name."""

from pathlib import Path

import pytest

from guildbook.contract.keys import possession_statement
from guildbook.foundation import parties as module
from guildbook.foundation.parties import KEYS_PER_PARTY_MAX, ROTATION_AHEAD_MS_MAX, Parties, is_permission
from guildbook.primitives.keys import SigningKey
from guildbook.testing.ledger import Actor, CallRefused, TestLedger, refused, test_key

NETWORK = "test-net"
SMALL_ORDER = b"\x01" + b"\x01" + bytes(31)


@pytest.fixture
def ledger() -> TestLedger:
    """Two organisations beside the council; shop has two administrators, mill has one, and a clerk each."""
    return TestLedger(
        actors={
            "shop/anna": ["parties:admin"],
            "shop/ben": ["parties:admin"],
            "shop/cora": ["points:issuer"],
            "mill/dora": ["parties:admin"],
            "mill/egon": ["points:issuer"],
        }
    )


def proof(party: str, key: SigningKey, network: str = NETWORK) -> bytes:
    return key.sign(possession_statement(network, party, key.public_key))


def new(party: str, name: str = "new") -> dict[str, bytes]:
    """The arguments ``public_key`` and ``proof`` of a fresh key for ``party``."""
    key = test_key(name)
    return {"public_key": key.public_key, "proof": proof(party, key)}


def acting(ledger: TestLedger, party: str, name: str) -> Actor:
    """The party signing with the test key ``name``."""
    return Actor(ledger, party, test_key(name))


def row(ledger: TestLedger, table: str, *key):
    found = ledger.rows(f"parties.{table}", *key)
    assert len(found) == 1
    return found[0]


def admit(ledger: TestLedger, **changes):
    arguments = {
        "organisation": "dock",
        "name": "The Dock",
        "jurisdiction": "PT",
        "permissions": ("points:issuer",),
        "administrator": "dock-admin",
        "administrator_name": "Dina",
        **new("dock-admin", "dock"),
        **changes,
    }
    return ledger.actor("council/registrar").parties.admit_organisation(**arguments)


# organisations


def test_an_admitted_organisation_runs_itself(ledger):
    admit(ledger)
    dina = acting(ledger, "dock/dock-admin", "dock")
    dina.parties.register_party("dock-till", "device", "Till", ("points:issuer",), **new("dock-till", "till"))
    assert ledger.query("parties.has_permission", "dock-till", "points:issuer")
    assert ledger.query("parties.organisation_of", "dock-till") == "dock"
    assert row(ledger, "organisations", "dock").status == "active"
    assert row(ledger, "keys", test_key("till").public_key).added_at == 2


def test_admission_gives_the_right_to_run_itself_even_if_it_is_named_among_the_permissions(ledger):
    admit(ledger, permissions=("parties:admin", "parties:admin"))
    assert [one.permission for one in ledger.rows("parties.organisation_roles", "dock")] == ["parties:admin"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"organisation": "shop"}, "organisation_exists"),
        ({"administrator": "anna"}, "party_exists"),
        ({"permissions": ("points",)}, "not_a_permission"),
        ({"public_key": SMALL_ORDER}, "key_not_acceptable"),
        ({"public_key": test_key("shop/anna").public_key}, "key_exists"),
        ({"proof": bytes(64)}, "possession_not_proven"),
    ],
)
def test_admission_is_refused_for(ledger, changes, code):
    with refused(f"parties.{code}"):
        admit(ledger, **changes)


def test_only_a_registrar_admits(ledger):
    with refused("call.not_permitted", permission="parties:registrar"):
        ledger.actor("shop/anna").parties.admit_organisation("dock", "Dock", "PT", (), "dina", "Dina", **new("dina"))


def test_a_suspended_organisation_signs_nothing_until_it_is_reinstated(ledger):
    registrar = ledger.actor("council/registrar")
    registrar.parties.suspend_organisation("shop")
    with refused("transaction.organisation_not_active", organisation="shop", status="suspended"):
        ledger.actor("shop/anna").parties.suspend_party("cora")
    assert not ledger.query("parties.is_active", "anna")
    registrar.parties.reinstate_organisation("shop")
    ledger.actor("shop/anna").parties.suspend_party("cora")


@pytest.mark.parametrize(
    ("before", "step", "status"),
    [
        ([], "reinstate", "active"),
        (["suspend"], "suspend", "suspended"),
        (["close"], "suspend", "closed"),
        (["close"], "reinstate", "closed"),
        (["suspend", "close"], "close", "closed"),
    ],
)
def test_an_organisation_moves_only_as_the_table_says(ledger, before, step, status):
    registrar = ledger.actor("council/registrar")
    for one in before:
        registrar.call(f"parties.{one}_organisation", "shop")
    with refused("parties.wrong_status", status=status):
        registrar.call(f"parties.{step}_organisation", "shop")


@pytest.mark.parametrize("step", ["suspend", "reinstate", "close"])
def test_a_registrar_does_not_decide_about_its_own_organisation(ledger, step):
    with refused("parties.own_organisation", organisation="council"):
        ledger.actor("council/registrar").call(f"parties.{step}_organisation", "council")
    with refused("parties.unknown_organisation", organisation="nobody"):
        ledger.actor("council/registrar").call(f"parties.{step}_organisation", "nobody")


def test_a_permission_needs_both_the_organisation_and_the_party(ledger):
    registrar = ledger.actor("council/registrar")
    assert ledger.query("parties.has_permission", "cora", "points:issuer")
    registrar.parties.withdraw_organisation_role("shop", "points:issuer")
    assert not ledger.query("parties.has_permission", "cora", "points:issuer")
    registrar.parties.grant_organisation_role("shop", "points:issuer")
    assert ledger.query("parties.has_permission", "cora", "points:issuer")
    ledger.actor("shop/anna").parties.withdraw_role("cora", "points:issuer")
    assert not ledger.query("parties.has_permission", "cora", "points:issuer")


def test_organisation_permissions_are_refused_for(ledger):
    registrar = ledger.actor("council/registrar")
    with refused("parties.already_granted", permission="points:issuer"):
        registrar.parties.grant_organisation_role("shop", "points:issuer")
    with refused("parties.not_granted", permission="points:auditor"):
        registrar.parties.withdraw_organisation_role("shop", "points:auditor")
    with refused("parties.not_a_permission", permission="points:Issuer"):
        registrar.parties.grant_organisation_role("shop", "points:Issuer")
    with refused("parties.unknown_organisation"):
        registrar.parties.grant_organisation_role("nobody", "points:issuer")
    with refused("parties.unknown_organisation"):
        registrar.parties.withdraw_organisation_role("nobody", "points:issuer")
    registrar.parties.close_organisation("mill")
    with refused("parties.wrong_status", status="closed"):
        registrar.parties.grant_organisation_role("mill", "points:auditor")


@pytest.mark.parametrize("permission", ["parties:registrar", "parties:admin"])
def test_a_registrar_keeps_the_rights_that_keep_the_network_open(ledger, permission):
    with refused("parties.own_organisation", organisation="council"):
        ledger.actor("council/registrar").parties.withdraw_organisation_role("council", permission)


def test_the_registrar_appoints_an_administrator_only_where_the_organisation_is_suspended(ledger):
    registrar = ledger.actor("council/registrar")
    arguments = {"organisation": "shop", "party": "nina", "name": "Nina", **new("nina")}
    with refused("parties.wrong_status", status="active"):
        registrar.parties.appoint_administrator(**arguments)
    registrar.parties.suspend_organisation("shop")
    with refused("parties.party_exists", party="anna"):
        registrar.parties.appoint_administrator("shop", "anna", "Anna", **new("anna"))
    registrar.parties.appoint_administrator(**arguments)
    with refused("transaction.organisation_not_active"):
        acting(ledger, "shop/nina", "new").parties.suspend_party("anna")
    registrar.parties.reinstate_organisation("shop")
    acting(ledger, "shop/nina", "new").parties.suspend_party("anna")


def test_an_appointed_administrator_can_act_even_if_the_organisation_had_lost_the_right_to_run_itself(ledger):
    registrar = ledger.actor("council/registrar")
    registrar.parties.withdraw_organisation_role("shop", "parties:admin")
    with refused("call.not_permitted"):
        ledger.actor("shop/anna").parties.reinstate_party("cora")
    registrar.parties.suspend_organisation("shop")
    registrar.parties.appoint_administrator("shop", "nina", "Nina", **new("nina"))
    registrar.parties.reinstate_organisation("shop")
    acting(ledger, "shop/nina", "new").parties.suspend_party("cora")


def test_a_registrar_appoints_nobody_in_its_own_organisation(ledger):
    with refused("parties.own_organisation", organisation="council"):
        ledger.actor("council/registrar").parties.appoint_administrator("council", "nina", "Nina", **new("nina"))


# parties


def test_a_registered_party_signs_with_its_own_key_and_its_own_permissions(ledger):
    ledger.actor("shop/anna").parties.register_party("till", "device", "Till 1", ("points:issuer",), **new("till"))
    assert row(ledger, "parties", "till").kind == "device"
    acting(ledger, "shop/till", "new").parties.rotate_key(**new("till", "newer"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"party": "egon"}, "party_exists"),
        ({"permissions": ("points:issuer", "points:auditor")}, "permission_not_held"),
        ({"permissions": ("no permission",)}, "not_a_permission"),
        ({"public_key": b"\x02" + bytes(32)}, "key_not_acceptable"),
        ({"public_key": b"\x01" + bytes(31)}, "key_not_acceptable"),
        ({"public_key": SMALL_ORDER}, "key_not_acceptable"),
        ({"public_key": test_key("mill/egon").public_key}, "key_exists"),
        ({"proof": b""}, "possession_not_proven"),
        ({"proof": proof("other", test_key("new"))}, "possession_not_proven"),
        ({"proof": proof("till", test_key("new"), "other-net")}, "possession_not_proven"),
        ({"proof": proof("till", test_key("other"))}, "possession_not_proven"),
    ],
)
def test_registration_is_refused_for(ledger, changes, code):
    arguments = {"party": "till", "kind": "device", "name": "Till", "permissions": (), **new("till"), **changes}
    expected = "call.bad_arguments" if "no permission" in str(changes) else f"parties.{code}"
    with refused(expected):
        ledger.actor("shop/anna").parties.register_party(**arguments)


def test_a_kind_that_is_not_on_the_list_is_refused(ledger):
    with refused("call.bad_arguments"):
        ledger.actor("shop/anna").parties.register_party("till", "robot", "Till", (), **new("till"))


def test_a_party_moves_only_as_the_table_says(ledger):
    anna = ledger.actor("shop/anna")
    with refused("parties.wrong_status", status="active"):
        anna.parties.reinstate_party("cora")
    anna.parties.suspend_party("cora")
    with refused("parties.wrong_status", status="suspended"):
        anna.parties.suspend_party("cora")
    anna.parties.reinstate_party("cora")
    anna.parties.close_party("cora")
    for step in ("suspend_party", "reinstate_party", "close_party"):
        with refused("parties.wrong_status", status="closed"):
            anna.call(f"parties.{step}", "cora")
    with refused("parties.wrong_status", status="closed"):
        anna.parties.grant_role("cora", "parties:admin")
    with refused("parties.wrong_status", status="closed"):
        anna.parties.add_key("cora", **new("cora"))


@pytest.mark.parametrize("step", ["suspend_party", "reinstate_party", "close_party"])
def test_an_administrator_never_acts_for_another_organisation(ledger, step):
    with refused("parties.other_organisation", organisation="mill"):
        ledger.actor("shop/anna").call(f"parties.{step}", "egon")
    with refused("parties.unknown_party", party="nobody"):
        ledger.actor("shop/anna").call(f"parties.{step}", "nobody")


def test_an_administrator_gives_no_roles_and_no_keys_in_another_organisation(ledger):
    anna = ledger.actor("shop/anna")
    with refused("parties.other_organisation", organisation="mill"):
        anna.parties.grant_role("egon", "points:issuer")
    with refused("parties.other_organisation", organisation="mill"):
        anna.parties.withdraw_role("egon", "points:issuer")
    with refused("parties.other_organisation", organisation="mill"):
        anna.parties.add_key("egon", **new("egon"))
    with refused("parties.other_organisation", organisation="mill"):
        anna.parties.revoke_key(test_key("mill/egon").public_key)


def test_a_registrar_gives_nothing_in_another_organisation(ledger):
    registrar = ledger.actor("council/registrar")
    with refused("parties.other_organisation", organisation="mill"):
        registrar.parties.add_key("egon", **new("egon"))
    with refused("parties.other_organisation", organisation="mill"):
        registrar.parties.grant_role("egon", "points:issuer")
    with refused("parties.other_organisation", organisation="mill"):
        registrar.parties.reinstate_party("egon")
    with refused("parties.other_organisation", organisation="mill"):
        registrar.parties.close_party("egon")


def test_a_registrar_may_take_a_party_or_a_key_of_another_organisation_away_even_the_last(ledger):
    registrar = ledger.actor("council/registrar")
    registrar.parties.suspend_party("dora")
    with refused("transaction.party_not_active", party="dora"):
        ledger.actor("mill/dora").parties.suspend_party("egon")
    registrar.parties.revoke_key(test_key("mill/egon").public_key)
    with refused("transaction.key_not_valid", party="egon"):
        ledger.actor("mill/egon").parties.rotate_key(**new("egon"))


def test_a_party_without_the_role_suspends_nobody(ledger):
    with refused("parties.not_the_party", party="anna"):
        ledger.actor("shop/cora").parties.suspend_party("anna")
    with refused("parties.not_the_party", party="cora"):
        ledger.actor("shop/cora").parties.suspend_party("cora")


def test_roles_are_refused_for(ledger):
    anna = ledger.actor("shop/anna")
    with refused("parties.permission_not_held", permission="points:auditor"):
        anna.parties.grant_role("cora", "points:auditor")
    with refused("parties.already_granted", permission="points:issuer"):
        anna.parties.grant_role("cora", "points:issuer")
    with refused("parties.not_granted", permission="points:auditor"):
        anna.parties.withdraw_role("cora", "points:auditor")
    with refused("parties.not_a_permission", permission="points"):
        anna.parties.grant_role("cora", "points")
    with refused("call.not_permitted", permission="parties:admin"):
        ledger.actor("shop/cora").parties.grant_role("cora", "parties:admin")


# the last administrator


@pytest.mark.parametrize("step", ["suspend_party", "close_party"])
def test_the_last_administrator_cannot_end_itself(ledger, step):
    with refused("parties.last_administrator", organisation="mill"):
        ledger.actor("mill/dora").call(f"parties.{step}", "dora")
    ledger.actor("shop/ben").call(f"parties.{step}", "ben")
    with refused("parties.last_administrator", organisation="shop"):
        ledger.actor("shop/anna").call(f"parties.{step}", "anna")


def test_the_last_administrator_cannot_give_up_the_role(ledger):
    with refused("parties.last_administrator", organisation="mill"):
        ledger.actor("mill/dora").parties.withdraw_role("dora", "parties:admin")
    ledger.actor("mill/dora").parties.grant_role("egon", "parties:admin")
    ledger.actor("mill/dora").parties.withdraw_role("dora", "parties:admin")
    ledger.actor("mill/egon").parties.suspend_party("dora")


def test_an_administrator_without_a_working_key_does_not_count(ledger):
    ledger.actor("shop/anna").parties.revoke_key(test_key("shop/ben").public_key)
    with refused("parties.last_administrator", organisation="shop"):
        ledger.actor("shop/anna").parties.withdraw_role("anna", "parties:admin")


def test_an_administrator_who_is_suspended_does_not_count(ledger):
    ledger.actor("shop/anna").parties.suspend_party("ben")
    with refused("parties.last_administrator", organisation="shop"):
        ledger.actor("shop/anna").parties.close_party("anna")
    ledger.actor("shop/anna").parties.close_party("ben")


# keys


def test_a_party_adds_a_key_and_signs_with_both(ledger):
    cora = ledger.actor("shop/cora")
    cora.parties.add_key("cora", **new("cora"))
    acting(ledger, "shop/cora", "new").parties.add_key("cora", **new("cora", "newer"))
    cora.parties.revoke_key(test_key("newer").public_key)


def test_an_administrator_adds_a_key_for_a_party_that_lost_its_own(ledger):
    anna = ledger.actor("shop/anna")
    anna.parties.revoke_key(test_key("shop/cora").public_key)
    anna.parties.add_key("cora", **new("cora"))
    acting(ledger, "shop/cora", "new").parties.rotate_key(**new("cora", "newer"))


def test_another_party_adds_no_key(ledger):
    with refused("parties.not_the_party", party="anna"):
        ledger.actor("shop/cora").parties.add_key("anna", **new("anna"))


def test_a_key_ends_when_it_was_said_to(ledger):
    ledger.actor("shop/anna").parties.add_key("cora", **new("cora"), valid_until=ledger.now + 10_000)
    other = acting(ledger, "shop/cora", "new")
    other.parties.add_key("cora", **new("cora", "child"))
    assert row(ledger, "keys", test_key("child").public_key).valid_until is not None
    ledger.advance(seconds=10)
    for name in ("new", "child"):
        with refused("transaction.key_not_valid", party="cora"):
            acting(ledger, "shop/cora", name).parties.add_key("cora", **new("cora", "newer"))


def test_a_party_does_not_give_itself_a_key_that_outlives_the_one_it_signs_with(ledger):
    end = ledger.now + 10_000
    ledger.actor("shop/anna").parties.add_key("cora", **new("cora"), valid_until=end)
    with refused("parties.time_out_of_range", latest=end):
        acting(ledger, "shop/cora", "new").parties.add_key("cora", **new("cora", "newer"), valid_until=end + 1)


def test_a_key_does_not_end_before_it_begins(ledger):
    with refused("parties.time_out_of_range"):
        ledger.actor("shop/cora").parties.add_key("cora", **new("cora"), valid_until=ledger.now)


def test_a_rotated_key_takes_over_at_its_time_and_not_before(ledger):
    cora = ledger.actor("shop/cora")
    at = ledger.now + 60_000
    cora.parties.rotate_key(**new("cora"), takes_over_at=at)
    with refused("transaction.key_not_valid"):
        acting(ledger, "shop/cora", "new").parties.add_key("cora", **new("cora", "newer"))
    cora.parties.add_key("cora", **new("cora", "newer"))
    ledger.advance(seconds=60)
    with refused("transaction.key_not_valid"):
        cora.parties.add_key("cora", **new("cora", "third"))
    acting(ledger, "shop/cora", "new").parties.add_key("cora", **new("cora", "third"))


def test_a_key_rotated_at_once_signs_nothing_more_in_the_same_block(ledger):
    cora = ledger.actor("shop/cora")
    with ledger.block() as receipts:
        cora.parties.rotate_key(**new("cora"))
        cora.parties.add_key("cora", **new("cora", "newer"))
        acting(ledger, "shop/cora", "new").parties.add_key("cora", **new("cora", "newer"))
    assert [one.code for one in receipts] == ["", "transaction.key_not_valid", ""]


def test_a_rotated_key_ends_when_the_old_one_would_have_ended(ledger):
    end = ledger.now + 100_000
    ledger.actor("shop/anna").parties.add_key("cora", **new("cora"), valid_until=end)
    acting(ledger, "shop/cora", "new").parties.rotate_key(**new("cora", "newer"))
    assert row(ledger, "keys", test_key("newer").public_key).valid_until == end
    with refused("parties.time_out_of_range", latest=end - 1):
        acting(ledger, "shop/cora", "newer").parties.rotate_key(**new("cora", "third"), takes_over_at=end)


@pytest.mark.parametrize("offset", [-1, ROTATION_AHEAD_MS_MAX + 1])
def test_a_rotation_is_neither_in_the_past_nor_far_ahead(ledger, offset):
    with refused("parties.time_out_of_range", earliest=ledger.now, latest=ledger.now + ROTATION_AHEAD_MS_MAX):
        ledger.actor("shop/cora").parties.rotate_key(**new("cora"), takes_over_at=ledger.now + offset)


def test_a_revoked_key_signs_nothing_from_the_same_block_on(ledger):
    with ledger.block() as receipts:
        ledger.actor("shop/anna").parties.revoke_key(test_key("shop/cora").public_key)
        ledger.actor("shop/cora").parties.rotate_key(**new("cora"))
    assert [one.code for one in receipts] == ["", "transaction.key_not_valid"]


def test_a_revoked_or_expired_key_is_not_revoked_again(ledger):
    anna = ledger.actor("shop/anna")
    anna.parties.revoke_key(test_key("shop/cora").public_key)
    with refused("parties.key_ended"):
        anna.parties.revoke_key(test_key("shop/cora").public_key)
    anna.parties.add_key("cora", **new("cora"), valid_until=ledger.now + 1000)
    ledger.advance(seconds=2)
    with refused("parties.key_ended"):
        anna.parties.revoke_key(test_key("new").public_key)
    with refused("parties.unknown_key"):
        anna.parties.revoke_key(test_key("nobody").public_key)


def test_a_party_does_not_revoke_its_last_key_that_works(ledger):
    for name in ("shop/cora", "mill/dora"):
        with refused("parties.last_key"):
            ledger.actor(name).parties.revoke_key(test_key(name).public_key)
    cora = ledger.actor("shop/cora")
    cora.parties.add_key("cora", **new("cora"))
    cora.parties.revoke_key(test_key("shop/cora").public_key)


def test_a_key_is_registered_once_for_ever(ledger):
    cora = ledger.actor("shop/cora")
    cora.parties.add_key("cora", **new("cora"))
    cora.parties.revoke_key(test_key("new").public_key)
    with refused("parties.key_exists"):
        cora.parties.add_key("cora", **new("cora"))
    with refused("parties.key_exists"):
        ledger.actor("mill/dora").parties.register_party("taker", "person", "T", (), **new("taker"))


def test_a_party_has_a_bounded_number_of_keys(ledger):
    cora = ledger.actor("shop/cora")
    with ledger.block() as receipts:
        for number in range(KEYS_PER_PARTY_MAX):
            cora.parties.add_key("cora", **new("cora", f"key {number}"))
    assert [one.code for one in receipts] == [""] * (KEYS_PER_PARTY_MAX - 1) + ["parties.too_many_keys"]


# the whole


def test_genesis_refuses_what_the_commands_refuse():
    with pytest.raises(Exception, match="party_exists"):
        TestLedger(actors={"shop/anna": [], "mill/anna": []})


def test_no_other_contract_changes_identities(ledger):
    execution = ledger.ledger.view().execution()
    contract = execution.contract("parties")
    execution.context.caller = "points"
    arguments = {"str": "x", "bytes": b"", "tuple": (), "PartyKind": "device"}
    for name, spec in Parties.commands.items():
        values = [
            arguments["bytes"] if one.kind == "bytes" else () if one.kind == "json" else "x" for one in spec.arguments
        ]
        with pytest.raises(module.OnlyByCouncil if spec.callers_only else module.OnlyByTransaction):
            getattr(contract, name)(*values)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("points:issuer", True),
        ("a:b", True),
        ("a1_:b2_", True),
        ("points", False),
        ("points:", False),
        (":issuer", False),
        ("a:b:c", False),
        ("1a:b", False),
        ("Points:issuer", False),
        ("a:" + "b" * 40, True),
        ("a:" + "b" * 41, False),
        ("a:b\u0663", False),
        ("_a:b", False),
    ],
)
def test_a_permission_is_two_names_and_a_colon(text, good):
    assert is_permission(text) == good


def test_every_refusal_has_a_case_here():
    text = Path(__file__).read_text() + Path(__file__).with_name("test_council.py").read_text()
    for rejection in Parties.rejections:
        name = rejection.code.partition(".")[2]
        assert name in text or rejection.__name__ in text, name


def test_refusals_carry_what_the_person_needs(ledger):
    with pytest.raises(CallRefused) as caught:
        ledger.actor("shop/anna").parties.grant_role("cora", "points:auditor")
    assert (caught.value.code, caught.value.fields) == (
        "parties.permission_not_held",
        {"permission": "points:auditor"},
    )
