"""Public contracting: real and fictional packages in, packages out that the standard's schema and merger take."""

import json
from decimal import Decimal

import hypothesis.strategies as st
import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from ocdsmerge import Merger

from guildbook.primitives.errors import GuildbookError
from guildbook.standards.amounts import Money
from guildbook.standards.ocds import (
    Award,
    Budget,
    Contract,
    Implementation,
    Organisation,
    Planning,
    Publisher,
    Reference,
    Release,
    ReleasePackage,
    Tender,
    Transaction,
    Value,
    package_of,
    read_releases,
    value_of,
    write_releases,
)
from shared_data import shared

TREASURY = Reference("NF-1", "Northfold Treasury")
BUILDER = Reference("NF-2", "Weir Builders")
OFF_BY_A_TENTH = Planning(budget=Budget(amount=Value(Decimal("0.001"), "EUR")))
PUBLISHER = Publisher("Northfold Treasury")


def process(number=1, payments=(125_000,), date="2026-04-01T00:00:00Z", tag="implementation", **more):
    fields = {
        "ocid": f"ocds-nf0001-{number}",
        "id": f"{number}-{tag}",
        "date": date,
        "tag": (tag,),
        "initiation_type": "tender",
        "language": "en",
        "parties": (
            Organisation("NF-1", "Northfold Treasury", roles=("buyer", "payer")),
            Organisation("NF-2", "Weir Builders", roles=("supplier", "payee")),
        ),
        "buyer": TREASURY,
        "planning": Planning(budget=Budget(id="LINE-7", amount=value_of(Money(9_000_000, "EUR")), project_id="P-1")),
        "tender": Tender("T-1", status="complete", procurement_method="open"),
        "awards": (Award("A-1", status="active", value=value_of(Money(250_000, "EUR")), suppliers=(BUILDER,)),),
        "contracts": (
            Contract(
                "C-1",
                award_id="A-1",
                status="active",
                value=value_of(Money(250_000, "EUR")),
                date_signed="2026-02-01T00:00:00Z",
                implementation=Implementation(
                    transactions=tuple(
                        Transaction(
                            f"TX-{position}",
                            date="2026-03-31T00:00:00Z",
                            value=value_of(Money(minor, "EUR")),
                            payer=TREASURY,
                            payee=BUILDER,
                        )
                        for position, minor in enumerate(payments, 1)
                    )
                )
                if payments
                else None,
            ),
        ),
    }
    return Release(**(fields | more))


def package(*releases):
    return package_of(
        uri="https://example.org/releases.json", published_date="2026-04-02T00:00:00Z", publisher=PUBLISHER,
        releases=releases, license="https://example.org/licence",
    )  # fmt: skip


def schemas():
    folder = shared("funds/ocds-schema/schema")
    release = json.loads((folder / "release-schema.json").read_bytes())
    whole = json.loads((folder / "release-package-schema.json").read_bytes())
    whole["properties"]["releases"]["items"] = {"type": "object"}
    return release, whole


def test_every_release_of_the_samples_is_taken_or_refused_with_its_place():
    folders = (shared("funds/ocds-real"), shared("funds/ocds-fictional/1.1"))
    taken, refused, files = 0, {}, {}
    for path in sorted(path for folder in folders for path in folder.rglob("*.json")):
        try:
            found = read_releases(path.read_bytes(), file=path.name)
        except GuildbookError as error:
            files[path.name] = error.code
            continue
        taken += len(found.records)
        for one in found.refusals:
            assert (one.file, one.line > 0, bool(one.reason)) == (path.name, True, True)
            refused[one.code, one.reason] = refused.get((one.code, one.reason), 0) + 1
        assert read_releases(path.read_bytes(), file=path.name) == found
    assert taken == 62
    assert files == {"release-package_encoding-iso-8859-1.json": "standards.malformed"}
    assert refused == {
        ("standards.missing", "the release is linked by its address alone"): 17,
        ("standards.bad_value", "Expected `str`, got `array`"): 1,
    }, "the last is a versioned release, where each member is a history"


def test_a_file_in_another_encoding_reads_when_it_is_named():
    data = shared("funds/ocds-real/release-package_encoding-iso-8859-1.json").read_bytes()
    same = shared("funds/ocds-real/release-package_encoding-utf-8.json").read_bytes()
    found = read_releases(data, encoding="iso-8859-1")
    assert [one.digest for one in found.records] == [one.digest for one in read_releases(same).records]
    assert len(found.records) == 3


def test_the_payments_of_the_fictional_process():
    data = shared("funds/ocds-fictional/1.1/ocds-213czf-000-00001-06-implementation.json").read_bytes()
    (record,) = read_releases(data).records
    (contract,) = record.release.contracts
    assert [one.value.money for one in contract.implementation.transactions] == [
        Money(5_000_000, "GBP"),
        Money(1_000_000, "GBP"),
    ]
    assert record.id == "ocds-213czf-000-00001/ocds-213czf-000-00001-06-implementation"


def test_a_written_package_is_valid_by_the_standards_schema():
    release_schema, package_schema = schemas()
    written = json.loads(write_releases(package(process(1), process(2, (1, 99)))))
    jsonschema_rs.Draft4Validator(package_schema).validate(written)
    validator = jsonschema_rs.Draft4Validator(release_schema)
    for release in written["releases"]:
        validator.validate(release)
    assert not validator.is_valid({**written["releases"][0], "date": 5})


def test_a_written_process_compiles():
    release_schema, _ = schemas()
    releases = [
        process(1, (), "2026-02-01T00:00:00Z", "contract"),
        process(1, (125_000,), "2026-04-01T00:00:00Z"),
        process(1, (125_000, 50), "2026-05-01T00:00:00Z", "implementationUpdate"),
    ]
    written = json.loads(write_releases(package(*releases)))
    compiled = Merger(release_schema).create_compiled_release(written["releases"])
    (contract,) = compiled["contracts"]
    assert [one["value"]["amount"] for one in contract["implementation"]["transactions"]] == [1250, 0.5]
    assert compiled["tag"] == ["compiled"]


def test_a_package_reads_back_as_it_was_and_in_order():
    made = package(process(2), process(1))
    assert [release.ocid for release in made.releases] == ["ocds-nf0001-1", "ocds-nf0001-2"]
    written = write_releases(made)
    assert write_releases(package(process(1), process(2))) == written
    found = read_releases(written)
    assert tuple(record.release for record in found.records) == made.releases
    assert (found.refusals, found.not_carried) == ((), ())


@given(
    st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=4),
    st.sampled_from(["EUR", "JPY", "BHD", "CNY"]),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=10),
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_amount_and_any_text_read_back_as_they_were(minors, currency, text):
    transactions = tuple(
        Transaction(number, value=value_of(Money(minor, currency)), payee=Reference(name=text))
        for number, minor in enumerate(minors)
    )
    release = process(contracts=(Contract("C", award_id=text, implementation=Implementation(transactions)),))
    (record,) = read_releases(write_releases(package(release))).records
    assert [one.value.money for one in record.release.contracts[0].implementation.transactions] == [
        Money(minor, currency) for minor in minors
    ]
    assert record.release.contracts[0].award_id == text


def altered(**changes):
    document = json.loads(write_releases(package(process(1), process(2))))
    release = document["releases"][0]
    for pointer, value in changes.items():
        *way, last = [int(step) if step.isdigit() else step for step in pointer.split("__")]
        target = release
        for step in way:
            target = target[step]
        if value is KeyError:
            del target[last]
        else:
            target[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("changes", "path", "code", "reason"),
    [
        ({"ocid": KeyError}, "/releases/0", "standards.missing", "ocid"),
        ({"tag": []}, "/releases/0/tag", "standards.bad_value", "has a tag"),
        ({"tag": ["invented"]}, "/releases/0/tag/0", "standards.bad_value", "no tag"),
        ({"date": "2026-02-30T00:00:00Z"}, "/releases/0/date", "standards.bad_value", "no such day"),
        ({"tender": "T"}, "/releases/0/tender", "standards.bad_value", "object"),
        ({"awards__0__id": KeyError}, "/releases/0/awards/0", "standards.missing", "id"),
        ({"planning__budget__amount__amount": 1.005}, "/releases/0/planning/budget/amount/amount",
         "standards.bad_value", "more decimals than EUR"),
        ({"planning__budget__amount__currency": "EURO"}, "/releases/0/planning/budget/amount/amount",
         "standards.bad_value", "ISO 4217"),
    ],
)  # fmt: skip
def test_a_bad_release_is_refused_with_its_place_and_the_others_are_taken(changes, path, code, reason):
    found = read_releases(altered(**changes), file="f.json")
    (refusal,) = found.refusals
    assert (refusal.file, refusal.line, refusal.path, refusal.code) == ("f.json", 1, path, code)
    assert reason in refusal.reason
    assert [record.release.ocid for record in found.records] == ["ocds-nf0001-2"]


def test_a_release_that_changed_after_it_was_published_is_refused():
    one, other = process(1), process(1, (7,))
    data = write_releases(package(one)) + write_releases(package(other))
    found = read_releases(data, file="f.json")
    assert len(found.records) == 1
    (refusal,) = found.refusals
    assert (refusal.code, refusal.path) == ("standards.broken_rule", "/releases/0")
    assert refusal.line > 1


def test_members_that_nobody_carries_are_named():
    found = read_releases(altered(tender__documents=[{"id": "1"}]))
    assert found.not_carried == ("/tender/documents",)


@pytest.mark.parametrize("data", [b"[]", b"{}", b'"x"', b'{"releases": 1}'])
def test_what_is_no_package_is_refused(data):
    with pytest.raises(GuildbookError) as error:
        read_releases(data, file="f.json")
    assert error.value.code == "standards.unknown_message"


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (package(process(tag="invented")), "standards.bad_value"),
        (package(process(planning=OFF_BY_A_TENTH)), "standards.bad_value"),
        (package(process(), process()), "standards.broken_rule"),
        (ReleasePackage("u", "yesterday", PUBLISHER, ()), "standards.bad_value"),
    ],
)
def test_a_package_that_the_standard_does_not_allow_is_not_written(bad, code):
    with pytest.raises(GuildbookError) as error:
        write_releases(bad)
    assert error.value.code == code
    assert error.value.fields["path"]


@pytest.mark.fuzz
@settings(max_examples=150)
@given(st.binary(max_size=3), st.integers(0, 3000))
def test_a_damaged_package_is_read_or_refused(noise, at):
    data = write_releases(package(process(1)))
    refused: GuildbookError | None = None
    try:
        read_releases(data[:at] + noise + data[at + 1 :])
    except GuildbookError as error:
        refused = error
    assert refused is None or refused.code.startswith("standards.")
