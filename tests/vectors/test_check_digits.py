"""Check digits: what business identifiers have to add up to, on published examples and by law."""

import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guildbook.contract.check_digits import (
    ALPHANUMERIC,
    DIGITS,
    LETTERS,
    USCC_CHARACTERS,
    is_bic,
    is_container_number,
    is_iban,
    is_lei,
    is_ship_number,
    is_uscc,
    remainder_97,
)
from shared_data import shared

GOOD = (
    (is_lei, "506700GE1G29325QX363"),
    (is_iban, "GB82WEST12345698765432"),
    (is_iban, "NO9386011117947"),
    (is_container_number, "CSQU3054383"),
    (is_ship_number, "9074729"),
    (is_uscc, "91350100M000100Y43"),
)
"""Examples that the standards, or their registrars, publish."""
CHECKS = {one.__name__: one for one, _text in GOOD}


@pytest.mark.parametrize(("check", "text"), GOOD)
def test_published_examples_hold(check, text):
    assert check(text)


@pytest.mark.parametrize(("check", "text"), GOOD)
def test_any_other_text_around_or_within_is_refused(check, text):
    around = (text + "0", text[:-1], text[1:], " " + text, text + " ", text + "\n", text.lower() + "x")
    for wrong in (*around, "", "\u0661" * len(text)):
        assert not check(wrong), wrong
    if not text.isdigit():
        assert not check(text.lower())


@pytest.mark.parametrize(("check", "text"), GOOD)
def test_every_change_of_one_digit_is_found(check, text):
    for place, character in enumerate(text):
        if character in DIGITS:
            for other in DIGITS.replace(character, ""):
                wrong = text[:place] + other + text[place + 1 :]
                # ISO 6346 and IMO numbers take a remainder of 10 for 0, so that they miss some changes
                assert not check(wrong) or check in (is_container_number, is_ship_number), wrong


@pytest.mark.parametrize("check", [is_lei, is_iban, is_uscc])
def test_two_neighbours_of_a_kind_that_changed_places_are_found(check):
    text = next(one for each, one in GOOD if each is check)
    for place, (first, second) in enumerate(itertools.pairwise(text)):
        swapped = text[:place] + second + first + text[place + 2 :]
        if first != second and first.isdigit() == second.isdigit():
            assert not check(swapped), swapped


@given(st.text(ALPHANUMERIC, min_size=18, max_size=18))
def test_of_all_check_digits_of_a_lei_one_pair_holds(prefix):
    spelt = int("".join(str(ALPHANUMERIC.index(one)) for one in prefix) + "00")
    assert [n for n in range(100) if is_lei(f"{prefix}{n:02d}")] == [98 - spelt % 97]


@given(st.text(LETTERS, min_size=2, max_size=2), st.text(ALPHANUMERIC, min_size=11, max_size=30))
def test_of_all_check_digits_of_an_iban_one_pair_holds(country, rest):
    spelt = int("".join(str(ALPHANUMERIC.index(one)) for one in rest + country) + "00")
    assert [n for n in range(100) if is_iban(f"{country}{n:02d}{rest}")] == [98 - spelt % 97]


@given(st.text(ALPHANUMERIC, min_size=1, max_size=40))
def test_the_remainder_is_that_of_the_number_spelt(text):
    assert remainder_97(text) == int("".join(str(int(one, 36)) for one in text)) % 97


@given(st.text(LETTERS, min_size=3, max_size=3), st.sampled_from("UJZ"), st.integers(0, 999_999))
def test_one_check_digit_of_a_container_holds(owner, category, serial):
    assert sum(is_container_number(f"{owner}{category}{serial:06d}{n}") for n in range(10)) == 1
    assert not is_container_number(f"{owner}A{serial:06d}0")


@given(st.text(USCC_CHARACTERS, min_size=11, max_size=11), st.integers(0, 999_999))
def test_one_check_character_of_a_social_credit_code_holds(free, region):
    head, body = free[:2], free[2:]
    assert sum(is_uscc(f"{head}{region:06d}{body}{one}") for one in USCC_CHARACTERS) == 1
    assert not any(is_uscc(f"{head}{region:06d}{body}{one}") for one in "IOSVZ")


@pytest.mark.parametrize(
    ("text", "formed"),
    [("DEUTDEFF", True), ("DEUTDEFF500", True), ("1234DEFF", True), ("DEUTD1FF", False), ("DEUTDEF", False),
     ("DEUTDEFF5", False), ("deutdeff", False), ("DEUTDEFF50\u00e9", False), ("", False)],
)  # fmt: skip
def test_a_bic_has_its_form(text, formed):
    assert is_bic(text) == formed


# what is published


def values_in_messages(*tags: str) -> set[str]:
    pattern = re.compile(rf"<(?:\w+:)?(?:{'|'.join(tags)})>([^<]+)</")
    found: set[str] = set()
    for folder in ("camt", "fednow", "pain", "prowide", "rtp"):
        for file in sorted(shared(f"payments/iso20022-{folder}").rglob("*.xml")):
            found.update(pattern.findall(file.read_text("utf-8", errors="replace")))
    return found


def test_accounts_in_published_messages_hold():
    ibans = values_in_messages("IBAN")
    assert len(ibans) >= 5
    assert all(map(is_iban, ibans))


def test_bank_codes_in_published_messages_and_lists_hold():
    codes = values_in_messages("BIC", "BICFI")
    for file in sorted(shared("payments/iban-bic/bank_registry").glob("*.json")):
        listed = json.loads(file.read_text("utf-8"))
        entries = listed if isinstance(listed, list) else listed["entries"]
        codes.update(one["bic"] for one in entries if one.get("bic"))
    assert len(codes) > 1_000
    assert [one for one in sorted(codes) if not is_bic(one)] == []


def test_the_lengths_of_all_countries_are_within_the_form():
    registry = json.loads(shared("payments/iban-bic/iban_registry/generated.json").read_text("utf-8"))
    assert len(registry) > 70
    for country, entry in registry.items():
        rest = "0" * (entry["iban_length"] - 4)
        assert sum(is_iban(f"{country}{n:02d}{rest}") for n in range(100)) == 1, country


def test_published_legal_entity_identifiers_hold():
    found: set[str] = set()
    for file in sorted(shared("payments/lei/v1").rglob("*.json")):
        found.update(re.findall(r'"(?:lei|id)"\s*:\s*"([0-9A-Z]{20})"', file.read_text("utf-8")))
    assert found
    assert all(map(is_lei, found))
