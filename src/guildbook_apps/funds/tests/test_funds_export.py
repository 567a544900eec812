"""What a programme publishes: OCDS and IATI that the standards' schemas take, and that add up to what is paid."""

import json

import jsonschema_rs
import pytest
from ocdsmerge import Merger

from guildbook.standards import iati, ocds
from guildbook.standards.times import date_at
from guildbook.standards.xml import validation_findings
from guildbook_apps.funds import opendata
from guildbook_apps.funds.tests.stage import (
    AUTHORITY,
    COUNTY,
    act,
    approved,
    delivered,
    digest,
    endowed,
    founded,
    instructed,
    item,
    paid,
    standing,
    submitted,
)
from shared_data import shared

REPORTING = iati.ReportingOrg("XX-MADEUP", "11", names=(iati.Narrative("Juniper Province"),))
CONTRACTOR = "c-builder"


@pytest.fixture(scope="module")
def stage():
    """Benefits paid, returned and on their way; works with an advance and a claim, by two lines."""
    stage = endowed(founded())
    act(stage, "treasurer").funds.open_line(line="roofs/bridge", parent="roofs/province", organisation=COUNTY,
                                            level="project", purpose="works", lapses_at=stage.now + 10**9)
    act(stage, "registrar-one").funds.enrol(payee=CONTRACTOR, programme="roofs", identity=digest("builder"),
                                            account=digest("account builder"), controller=None)
    act(stage, "registrar-two").funds.verify(payee=CONTRACTOR, account=digest("account builder"),
                                             credential=digest("credential"))
    act(stage, "clerk").funds.register_works(works="roof-7/a", line="roofs/heron", payee=CONTRACTOR,
                                             document=digest("contract"), value_minor=4_000_000,
                                             advance_minor=1_000_000, retention_per_mille=50)
    paid(stage, 300_000)
    back = paid(stage, 200_000, payee="p-omar")
    assert delivered(stage, "pacs.004", item(stage, back, "RTRN", reason="AC04", entry="R1")) == 0
    paid(stage, 1_000_000, payee=CONTRACTOR, kind="advance", about="roof-7/a")
    paid(stage, 2_000_001, payee=CONTRACTOR, kind="claim", about="roof-7/a")
    instructed(stage, approved(stage, submitted(stage, 70_000)), batch="B-last")
    return stage


@pytest.fixture(scope="module")
def position(stage):
    return opendata.position_of("roofs", stage.rows, lambda line: standing(stage, line))


def released(position, at_ms=1_800_000_000_000):
    return opendata.contracting(position, prefix="ocds-madeup", uri="https://example.org/releases.json", at_ms=at_ms)


def reported(position, at_ms=None):
    at = position.lines[0].lapses_at - 10**10 if at_ms is None else at_ms
    return opendata.activities(position, reporting=REPORTING, since=date_at(0), at_ms=at)


def paid_on_the_ledger(position):
    return position.under("roofs/province").paid


# OCDS


def test_the_package_is_valid_by_the_standards_schema_and_compiles(position):
    folder = shared("funds/ocds-schema/schema")
    schema = json.loads((folder / "release-schema.json").read_bytes())
    whole = json.loads((folder / "release-package-schema.json").read_bytes())
    whole["properties"]["releases"]["items"] = {"type": "object"}
    package = json.loads(released(position))
    jsonschema_rs.Draft4Validator(whole).validate(package)
    validator = jsonschema_rs.Draft4Validator(schema)
    later = json.loads(released(position, 1_800_000_100_000))
    for one in package["releases"] + later["releases"]:
        validator.validate(one)
    merger = Merger(schema)
    compiled = [merger.create_compiled_release([one for one in package["releases"] + later["releases"]
                                                if one["ocid"] == ocid])
                for ocid in sorted({one["ocid"] for one in package["releases"]})]
    amounts = [payment["value"]["amount"] for one in compiled for contract in one["contracts"]
               for payment in contract.get("implementation", {}).get("transactions", ())]
    assert sum(round(100 * amount) for amount in amounts) == paid_on_the_ledger(position) > 0


def test_payments_and_returns_of_the_package_are_those_of_the_ledger(position):
    found = {}
    for record in ocds.read_releases(released(position)).records:
        for contract in record.release.contracts:
            for one in contract.implementation.transactions:
                found[one.id] = (one.value.money.minor, one.payee.name)
    expected = {}
    for row in position.paid():
        expected[row.end_to_end] = (row.amount_minor, row.payee)
        if row.returned_minor:
            expected[f"{row.end_to_end}-returned"] = (-row.returned_minor, row.payee)
    assert found == expected
    assert sum(minor for minor, _payee in found.values()) == paid_on_the_ledger(position)
    assert len(found) == 5


def test_awards_are_what_was_granted_and_registered(position):
    values = {award.id: award.value.money.minor for record in ocds.read_releases(released(position)).records
              for award in record.release.awards}
    assert values == {"p-ida": 2_000_000, "p-omar": 2_000_000, "roof-7/a": 4_000_000}


def test_there_is_no_tender_where_the_ledger_knows_none(position):
    for record in ocds.read_releases(released(position)).records:
        assert record.release.tender is None
        assert all(contract.date_signed is None for contract in record.release.contracts)


def test_works_without_a_payment_are_published_as_a_contract(stage, position):
    bare = position._replace(requests=())
    (record,) = ocds.read_releases(released(bare)).records
    assert record.release.tag == ("planning", "award", "contract")
    assert record.release.contracts[0].implementation is None


# IATI


def test_the_activities_are_valid_by_the_standards_schema_and_break_no_rule(position):
    document = reported(position)
    parts = {path.name: path.read_bytes() for path in shared("funds/iati-xsd").glob("*.xsd")}
    assert validation_findings(document, parts["iati-activities-schema.xsd"], parts=parts) == ()
    found = iati.read_activities(document)
    assert (found.refusals, found.not_carried) == ((), ())
    for record in found.records:
        assert not list(iati.rules(record.activity))


def test_transactions_of_activities_are_the_parts_of_their_lines(position):
    sums = {}
    for record in iati.read_activities(reported(position)).records:
        sums[record.id] = sum(one.value.money(record.activity.default_currency).minor
                              for one in record.activity.transactions)
    assert sums == {f"XX-MADEUP-{line.replace('/', '-')}": one.paid for line, one in position.standings.items()}
    assert sum(sums.values()) == paid_on_the_ledger(position)


def test_budgets_are_what_lines_were_given_and_did_not_pass_on(position):
    budgets = {record.id: [one.value.money(None).minor for one in record.activity.budgets]
               for record in iati.read_activities(reported(position)).records}
    assert budgets == {"XX-MADEUP-roofs-province": [50_000_000], "XX-MADEUP-roofs-heron": [50_000_000],
                       "XX-MADEUP-roofs-bridge": []}


def test_a_line_names_its_parent_and_its_children(position):
    related = {record.id: [(one.ref, one.type) for one in record.activity.related]
               for record in iati.read_activities(reported(position)).records}
    assert related["XX-MADEUP-roofs-heron"] == [("XX-MADEUP-roofs-province", "1")]
    assert sorted(related["XX-MADEUP-roofs-province"]) == [("XX-MADEUP-roofs-bridge", "2"),
                                                           ("XX-MADEUP-roofs-heron", "2")]


def test_a_line_whose_time_is_over_is_closed_or_still_finishing(position):
    late = max(line.lapses_at for line in position.lines)
    statuses = {record.id: record.activity.status for record in
                iati.read_activities(reported(position, late)).records}
    assert statuses == {"XX-MADEUP-roofs-province": "3", "XX-MADEUP-roofs-heron": "3", "XX-MADEUP-roofs-bridge": "4"}


# Both


def test_the_same_rows_give_the_same_bytes(stage, position):
    again = opendata.position_of("roofs", stage.rows, lambda line: standing(stage, line))
    assert released(again) == released(position)
    assert reported(again) == reported(position)


def test_no_digest_of_a_payee_is_published(position):
    documents = released(position).decode() + reported(position).decode()
    assert AUTHORITY in documents
    for clear in ("account ida", "account omar", "ida", "builder", "photo"):
        assert digest(clear).hex() not in documents
