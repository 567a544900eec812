"""IATI: the standard's own files that must pass and must fail, and files of ours that its schema takes."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guildbook.primitives.errors import GuildbookError
from guildbook.standards import iati
from guildbook.standards.amounts import Money
from guildbook.standards.iati import (
    Activity,
    ActivityDate,
    Budget,
    Category,
    Description,
    DocumentLink,
    Narrative,
    ParticipatingOrg,
    PayingOrg,
    PlannedDisbursement,
    RelatedActivity,
    ReportingOrg,
    Share,
    Transaction,
    Value,
    read_activities,
    rules,
    value_of,
    write_activities,
)
from guildbook.standards.times import read_date, read_date_time
from guildbook.standards.xml import validation_findings
from shared_data import shared

DAY, LATER = read_date("2026-01-01"), read_date("2026-12-31")


def activity(number: int = 1, **more) -> Activity:
    fields: dict[str, Any] = {
        "identifier": f"XM-NF-1-{number}",
        "reporting_org": ReportingOrg("XM-NF", "10", names=(Narrative("Northfold Treasury"),)),
        "titles": (Narrative("A school in Weir", "en"), Narrative("Une école à Weir", "fr")),
        "descriptions": (Description("1", (Narrative("Six rooms & a hall"),)),),
        "participating_orgs": (ParticipatingOrg("1", ref="XM-NF", type="10"), ParticipatingOrg("4")),
        "status": "2",
        "dates": (ActivityDate("2", DAY),),
        "last_updated": read_date_time("2026-04-02T00:00:00Z"),
        "language": "en",
        "default_currency": "EUR",
        "hierarchy": "1",
        "scope": "4",
        "recipient_countries": (Share("NL", percentage="100"),),
        "sectors": (Share("11220", vocabulary="1", percentage="60"), Share("11320", vocabulary="1", percentage="40.0")),
        "budgets": (Budget(DAY, LATER, value_of(Money(9_000_000, "EUR"), DAY), type="1", status="2"),),
        "planned_disbursements": (PlannedDisbursement(DAY, Value("10", DAY), LATER, provider=PayingOrg(ref="XM-NF")),),
        "transactions": (
            Transaction(
                "3", DAY, value_of(Money(-125_050, "EUR"), DAY), ref="NF-2026-000001", humanitarian=False,
                description=(Narrative("Milestone 2"),), provider=PayingOrg("XM-NF", activity="XM-NF-1-0"),
                receiver=PayingOrg(names=(Narrative("Weir Builders"),)), disbursement_channel="1", flow_type="10",
                finance_type="110", tied_status="5",
            ),
        ),
        "documents": (DocumentLink("https://example.org/a", "text/html", (Narrative("A"),), (Category("A01"),)),),
        "related": (RelatedActivity("XM-NF-1-0", "1"),),
    }  # fmt: skip
    return Activity(**(fields | more))


def schema(name: str, document: bytes, file: str = ""):
    folder = shared("funds/iati-xsd")
    parts = {path.name: path.read_bytes() for path in folder.glob("*.xsd")}
    return validation_findings(document, parts[name], file=file, parts=parts)


VERDICTS = {
    "activity": ("iati-activities-schema.xsd", 35, 142),
    "organisation": ("iati-organisations-schema.xsd", 6, 79),
    "registry": ("iati-registry-record-schema.xsd", 4, 1),
}


@pytest.mark.parametrize("kind", sorted(VERDICTS))
def test_the_standards_own_files_have_the_verdict_that_they_should_have(kind):
    name, passing, failing = VERDICTS[kind]
    folder = shared(f"funds/iati/{kind}-tests")
    verdicts: dict[str, list[bool]] = {"should-pass": [], "should-fail": []}
    for path in sorted(folder.rglob("*.xml")):
        findings = schema(name, path.read_bytes(), path.name)
        verdicts[path.relative_to(folder).parts[0]].append(not findings)
        assert all(one.fields["line"] for one in findings), path.name
    assert verdicts == {"should-pass": [True] * passing, "should-fail": [False] * failing}


def test_the_reader_takes_all_that_should_pass_and_refuses_a_part_of_the_rest():
    taken, refused = 0, 0
    for path in sorted(shared("funds/iati/activity-tests").rglob("*.xml")):
        should_pass = "should-pass" in path.parts
        try:
            found = read_activities(path.read_bytes(), file=path.name)
            good = not found.refusals
            assert all(one.file == path.name and one.line and one.path for one in found.refusals)
        except GuildbookError:
            good = False
        if should_pass:
            assert good, path.name
        taken, refused = taken + good, refused + (not good)
    assert (taken, refused) == (35 + 101, 41)


@pytest.mark.parametrize("sample", ["samples/worked-example.xml", "test-data/activities/dfid_out.xml"])
def test_files_of_version_one_are_refused_with_their_place(sample):
    path = shared("funds/iati-samples") / sample
    refusals = _refusals(path)
    assert refusals
    assert all(one.line > 1 and one.path.startswith("/iati-activit") for one in refusals)


def _refusals(path: Path):
    from guildbook.standards.place import refusal_of

    try:
        return read_activities(path.read_bytes(), file=path.name).refusals
    except GuildbookError as error:
        return (refusal_of(error),)


def test_a_written_file_is_valid_and_reads_back_as_it_was():
    made = [activity(1), activity(2, sectors=(), transactions=())]
    written = write_activities(made, generated=read_date_time("2026-04-02T00:00:00Z"))
    assert schema("iati-activities-schema.xsd", written) == ()
    found = read_activities(written)
    assert [record.activity for record in found.records] == made
    assert (found.refusals, found.not_carried) == ((), ())
    assert write_activities(made, generated=read_date_time("2026-04-02T00:00:00Z")) == written
    assert [record.id for record in found.records] == ["XM-NF-1-1", "XM-NF-1-2"]


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff")
    | st.sampled_from("<>&\"'\t\n\r"),
    min_size=1,
    max_size=12,
).filter(lambda text: text == text.strip())


@settings(max_examples=60)
@given(TEXTS, st.integers(-(10**15), 10**15), st.sampled_from(["EUR", "JPY", "BHD"]))
def test_any_text_and_any_amount_read_back_as_they_were(text, minor, currency):
    payment = Transaction(
        "4", DAY, value_of(Money(minor, currency), DAY), ref=text, description=(Narrative(text, "en"),)
    )
    made = activity(transactions=(payment,), documents=(), titles=(Narrative(text),))
    (record,) = read_activities(write_activities([made])).records
    assert record.activity == made
    assert record.activity.transactions[0].value.money(None) == Money(minor, currency)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"identifier": None}, "has an identifier"),
        ({"identifier": "GB-1"}, "begins with"),
        ({"status": "9"}, "list of statuses"),
        ({"recipient_countries": (Share("NL", percentage="60"), Share("BE", percentage="30"))}, "add up to 90"),
        ({"recipient_countries": (Share("NL", percentage="100"), Share("BE"))}, "add up to"),
        ({"sectors": (Share("1", percentage="50"), Share("2", vocabulary="1", percentage="49.5"))}, "add up to 99.5"),
        ({"budgets": (Budget(LATER, DAY, Value("1", DAY)),)}, "ends before it begins"),
        ({"planned_disbursements": (PlannedDisbursement(LATER, Value("1", DAY), DAY),)}, "ends before it begins"),
        ({"transactions": (Transaction("77", DAY, Value("1", DAY)),)}, "list of types"),
        ({"transactions": (Transaction("3", DAY, Value("1.005", DAY)),)}, "more decimals"),
        ({"transactions": (Transaction("3", DAY, Value("1", DAY)),), "default_currency": None, "budgets": (),
          "planned_disbursements": ()}, "no currency"),
        ({"transactions": (Transaction("3", DAY, Value("1", DAY), sectors=(Share("1"),)),)}, "not at both"),
    ],
)  # fmt: skip
def test_what_a_schema_cannot_say_is_a_rule(change, reason):
    assert not list(rules(activity()))
    (found, *_) = rules(activity(**change))
    assert reason in found[1]
    with pytest.raises(GuildbookError) as error:
        write_activities([activity(**change)])
    assert error.value.code == "standards.broken_rule"
    assert found[0] in str(error.value.fields["path"])


@pytest.mark.parametrize(
    ("activities", "code"),
    [
        ([], "standards.bad_value"),
        ([activity(), activity()], "standards.broken_rule"),
        ([activity(dates=())], "standards.bad_value"),
        ([activity(titles=())], "standards.bad_value"),
        ([activity(transactions=(Transaction("3", DAY, Value("1")),))], "standards.bad_value"),
        ([activity(titles=(Narrative("a\x01"),))], "standards.bad_value"),
    ],
)
def test_a_file_that_the_schema_does_not_allow_is_not_written(activities, code):
    with pytest.raises(GuildbookError) as error:
        write_activities(activities)
    assert error.value.code == code


def test_a_bad_activity_does_not_stop_the_others():
    written = write_activities([activity(1), activity(2)]).replace(b"-1250.50<", b"-1250,50<", 1)
    found = read_activities(written, file="f.xml")
    assert [record.id for record in found.records] == ["XM-NF-1-2"]
    (refusal,) = found.refusals
    assert (refusal.file, refusal.code) == ("f.xml", "standards.bad_value")
    assert refusal.path == "/iati-activities/iati-activity/transaction/value"
    assert refusal.line > 1


@pytest.mark.parametrize("data", [b"<a/>", b"<iati-activities/>", b"<iati-organisations><a/></iati-organisations>"])
def test_what_is_no_file_of_activities_is_refused(data):
    with pytest.raises(GuildbookError) as error:
        read_activities(data, file="f.xml")
    assert error.value.code == "standards.unknown_message"


def test_a_schema_of_which_a_part_is_missing_is_refused():
    document = shared("funds/iati-xsd/iati-activities-schema.xsd").read_bytes()
    with pytest.raises(GuildbookError) as error:
        validation_findings(b"<a/>", document)
    assert error.value.code == "standards.malformed"


@pytest.mark.fuzz
@settings(max_examples=150)
@given(st.binary(max_size=3), st.integers(0, 5000))
def test_a_damaged_file_is_read_or_refused(noise, at):
    data = write_activities([activity()])
    refused: GuildbookError | None = None
    try:
        read_activities(data[:at] + noise + data[at + 1 :])
    except GuildbookError as error:
        refused = error
    assert refused is None or refused.code.startswith("standards.")


def test_codes_of_transactions_are_those_of_the_list():
    assert list(iati.TRANSACTION_TYPES) == [str(number) for number in range(1, 14)]
