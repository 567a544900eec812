"""The error table: complete, in one style, and an answer for every code."""

import pickle
import re
from pathlib import Path

import pytest

import guildbook
from guildbook.primitives.errors import ERRORS, EXIT_REFUSED, GuildbookError, spec_for
from guildbook.primitives.identifiers import (
    CODE_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    NETWORK_ID_CHARACTERS_MAX,
    NETWORK_ID_CHARACTERS_MIN,
    check_code,
    check_name,
    check_network_id,
    check_permission,
)


def test_no_code_is_in_the_table_twice():
    from guildbook.primitives import errors

    assert len(errors._SPECS) == len(ERRORS)


@pytest.mark.parametrize("spec", ERRORS.values(), ids=ERRORS)
def test_a_row_of_the_table_says_what_happened_and_what_to_do(spec):
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", spec.code)
    assert 400 <= spec.http_status <= 599
    assert 2 <= spec.exit_status <= 6
    for sentence in (spec.summary, spec.next_step):
        assert re.fullmatch(r"[A-Z].*\.", sentence)


def test_every_code_that_an_error_is_raised_with_is_in_the_table():
    raised = re.compile(r"""\b(?:Guildbook|Canonical)Error\(\s*["']([a-z_]+\.[a-z_]+)["']""")
    missing = {
        (code, path.name)
        for path in Path(guildbook.__file__).parent.rglob("*.py")
        for code in raised.findall(path.read_text("utf-8"))
        if code not in ERRORS
    }
    assert not missing


def test_the_code_of_a_contract_is_a_refusal():
    spec = spec_for("points.not_enough_units")
    assert (spec.code, spec.http_status, spec.exit_status) == ("points.not_enough_units", 422, EXIT_REFUSED)


def test_a_code_of_the_platform_has_its_own_meaning():
    assert spec_for("transaction.expired") is ERRORS["transaction.expired"]


def test_an_error_tells_what_was_refused_the_values_and_what_to_try():
    error = GuildbookError("store.locked", "the store is in use", hint="stop process 7", pid=7)
    assert str(error) == "store.locked: the store is in use (stop process 7)"
    assert (error.code, error.message, error.hint, error.fields) == (
        "store.locked",
        "the store is in use",
        "stop process 7",
        {"pid": 7},
    )
    assert str(GuildbookError("store.full", "no room")) == "store.full: no room"


def test_an_error_passes_from_one_process_to_another_unchanged():
    error = pickle.loads(pickle.dumps(GuildbookError("store.locked", "in use", hint="stop it", pid=7)))
    assert (error.code, error.message, error.hint, error.fields) == (
        "store.locked",
        "in use",
        "stop it",
        {"pid": 7},
    )


@pytest.mark.parametrize("value", ["abc", "net-1", "a" * NETWORK_ID_CHARACTERS_MAX, "0-0"])
def test_a_network_id_is_accepted(value):
    assert check_network_id(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a" * (NETWORK_ID_CHARACTERS_MIN - 1),
        "a" * (NETWORK_ID_CHARACTERS_MAX + 1),
        "Net-1",
        "-net",
        "net-",
        "n_t",
        "net\n",
        "nét",
    ],
)
def test_a_network_id_is_refused(value):
    with pytest.raises(GuildbookError, match="no network id") as caught:
        check_network_id(value)
    assert caught.value.code == "identifier.malformed"


@pytest.mark.parametrize("value", ["a", "points", "not_enough_2", "a" * NAME_CHARACTERS_MAX])
def test_a_name_is_accepted(value):
    assert check_name(value) == value


@pytest.mark.parametrize(
    "value", ["", "Points", "2nd", "_x", "a-b", "a b", "a\n", "é", "a" * (NAME_CHARACTERS_MAX + 1)]
)
def test_a_name_is_refused(value):
    with pytest.raises(GuildbookError, match="no contract name"):
        check_name(value, "contract name")


@pytest.mark.parametrize("value", ["A", "SME/2026-01:7@org_a.b", "a" * CODE_CHARACTERS_MAX])
def test_a_code_is_accepted(value):
    assert check_code(value) == value


@pytest.mark.parametrize("value", ["", "a b", "a\n", "é", "a" * (CODE_CHARACTERS_MAX + 1), "a#b"])
def test_a_code_is_refused(value):
    with pytest.raises(GuildbookError, match="no code"):
        check_code(value)


def test_a_permission_is_the_name_of_a_contract_and_of_a_role():
    assert check_permission("points:issuer") == ("points", "issuer")


@pytest.mark.parametrize(
    "value", ["", "points", "points:", ":issuer", "points:a:b", "Points:issuer", "points:issuer\n"]
)
def test_a_permission_is_refused(value):
    with pytest.raises(GuildbookError, match="no permission"):
        check_permission(value)
