"""Published spending: what becomes of each row, on a ledger, and a second time."""

import json

import pytest

from guildbook.node.staged import StagedNode
from guildbook.standards.amounts import Money
from guildbook_apps.funds import demo, importing
from guildbook_apps.funds.contract import Funds
from guildbook_apps.funds.province import START_MS
from guildbook_apps.funds.spending import read_spending
from shared_data import shared

TABLE = b"""Department,Entity,Date,Supplier,Reference,Amount
Northfold,Roads,2026-01-05,Weir Builders,1,1250.00
Northfold,Roads,2026-01-06,weir  BUILDERS,2,10.50
Northfold,Parks,2026-02-06,Weir Books,3,99.99
Northfold,Parks,2026-02-07,Weir Books,4,-99.99
Northfold,Parks,2026-02-08,Weir Books,5,0.00
Northfold,Parks,2026-02-09,,6,7.00
Northfold,Parks,2026-02-30,Weir Books,7,7.00
Northfold,Parks,2026-02-10,Weir Books,8,99999999999999.00
"""


def package(*amounts: float, value: float = 100, currency: str = "EUR", **changes) -> bytes:
    party = {"id": "S", "name": "Weir Builders"}
    transactions = [{"id": str(place), "date": "2026-03-01T00:00:00Z", "payee": party,
                     "value": {"amount": amount, "currency": currency}} for place, amount in enumerate(amounts)]
    release = {"ocid": "ocds-x-1", "id": "1", "date": "2026-03-02T00:00:00Z", "tag": ["implementation"],
               "initiationType": "tender", "buyer": {"name": "Northfold"},
               "awards": [{"id": "A", "suppliers": [party]}],
               "contracts": [{"id": "C", "awardID": "A", "value": {"amount": value, "currency": "EUR"},
                              "implementation": {"transactions": transactions}}], **changes}
    return json.dumps({"releases": [release]}).encode()


def activity(*transactions: str) -> bytes:
    return f"""<iati-activities version="2.03"><iati-activity default-currency="EUR">
<iati-identifier>NF-1</iati-identifier>
<reporting-org ref="NF" type="10"><narrative>Northfold</narrative></reporting-org>
<title><narrative>T</narrative></title><description><narrative>D</narrative></description>
<participating-org role="1" ref="NF"/><activity-status code="2"/><activity-date iso-date="2026-01-01" type="2"/>
{''.join(transactions)}</iati-activity></iati-activities>""".encode()


def moved(kind: str, amount: str, receiver: str = "<receiver-org><narrative>Weir</narrative></receiver-org>") -> str:
    return (f'<transaction><transaction-type code="{kind}"/><transaction-date iso-date="2026-01-05"/>'
            f'<value value-date="2026-01-05">{amount}</value>{receiver}</transaction>')


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    node = StagedNode(tmp_path_factory.mktemp("spending") / "node", "spending-test", Funds, importing.signers(), seed=1,
                      start_ms=START_MS)
    yield importing.Import(node, b"salt")
    node.stop()
    node.close()


def take(desk, *found):
    return desk.take(found, lambda *_step: None)


def codes(found) -> list[tuple[int, str]]:
    return [(one.line, one.code) for one in found.refusals]


def test_rows_of_a_table_are_payments_or_refused_with_line_and_name():
    found = read_spending(TABLE, "t.csv")
    assert [(one.place.line, one.money) for one in found.payments] == [
        (2, Money(125_000, "GBP")), (3, Money(1_050, "GBP")), (4, Money(9_999, "GBP"))]
    assert sorted(codes(found)) == [(5, "spending.refund"), (6, "spending.zero"), (7, "standards.missing"),
                                    (8, "standards.bad_value"), (9, "spending.too_great")]
    assert read_spending(TABLE, "t.csv") == found


@pytest.mark.parametrize(("data", "code"), [
    (package(1, awards=[]), "spending.no_payee"),
    (package(1, buyer={}), "spending.no_body"),
    (package(1, contracts=[]), "spending.not_spent"),
    (package(1, contracts=[{"id": "C", "awardID": "A"}]), "spending.no_amount"),
    (package(1, currency="USD"), "spending.other_currency"),
    (package(1, awards=[{"id": "A", "suppliers": [{"id": "O", "name": "Other"}]}]), "spending.other_payee"),
    (package(-1), "spending.refund"),
    (b"{", "standards.malformed"),
    (activity(), "spending.not_spent"),
    (activity(moved("2", "5")), "spending.not_spent"),
    (activity(moved("3", "5", "")), "spending.no_payee"),
    (activity(moved("4", "5.001")), "spending.no_amount"),
    (activity(moved("4", "0")), "spending.zero"),
    (b"<a/>", "standards.unknown_message"),
    (b"\x00\x01", "standards.malformed"),
    (b"a,b\n1,2\n", "standards.missing"),
])
def test_what_cannot_be_taken_is_refused_by_name_with_its_file(data, code):
    found = read_spending(data, "f")
    assert [(one.file, one.code) for one in found.refusals] == [("f", code)]
    assert found.payments == ()


def test_a_table_is_committed_on_lines_and_a_second_time_changes_nothing(desk):
    found = read_spending(TABLE, "t.csv")
    assert take(desk, found) == [importing.FileTally("t.csv", 0, 3, 0, 5)]
    tallies = {one.unit: (one.requests, one.committed_minor) for one in desk.tallies() if one.body == "Northfold"}
    assert tallies == {"Roads": (2, 126_050), "Parks": (1, 9_999)}
    sent, height = desk.transactions, desk._node.ledger.head.height
    assert take(desk, found) == [importing.FileTally("t.csv", 0, 0, 3, 5)]
    assert (desk.transactions, desk._node.ledger.head.height - height < 2) == (sent, True)
    assert {row.stage.value for row in desk._node.rows("funds.requests")} == {"approved"}


def test_a_supplier_is_one_payee_however_it_is_spelt_and_its_name_is_not_on_the_ledger(desk):
    take(desk, read_spending(TABLE, "t.csv"))
    payees = {payee for payee, (_programme, name) in desk.suppliers.items() if "uilders" in name.lower()}
    rows = list(desk._node.rows("funds.payees"))
    assert payees <= {row.id for row in rows}
    assert "eir" not in repr(rows)


def test_a_contract_is_registered_and_its_payments_never_pass_its_value(desk):
    (tally,) = take(desk, read_spending(package(60, 50, 40), "p.json"))
    assert tally == importing.FileTally("p.json", 1, 2, 0, 1)
    assert desk.refusals[-1].code == "funds.over_entitlement"
    assert desk.refusals[-1].path == "/releases/0/contracts/0/implementation/transactions/1"
    (again,) = take(desk, read_spending(package(60, 50, 41), "q.json"))
    assert (again.payments, again.already) == (0, 2)
    assert {one.code for one in desk.refusals if one.file == "q.json"} == {"spending.changed", "funds.over_entitlement"}


def test_an_activity_pays_its_receivers(desk):
    data = activity(moved("3", "5"), moved("4", "2.50"), moved("4", "2.50"))
    assert take(desk, read_spending(data, "a.xml")) == [importing.FileTally("a.xml", 0, 3, 0, 0)]
    assert [one.committed_minor for one in desk.tallies() if one.unit == "NF-1"] == [1_000]


def test_the_demonstration_lists_what_it_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(TABLE)
    summary = demo.run_demo(tmp_path / "out", spending=(tmp_path / "t.csv",))
    listed = (tmp_path / "out" / "refused.csv").read_text("utf-8").splitlines()
    assert listed[0] == "file,line,path,code,reason"
    assert len(listed) == 6
    assert isinstance(summary, demo.Imported)
    assert sum(one.committed_minor for one in summary.lines) == 136_049


@pytest.mark.slow
def test_every_real_month_is_taken_and_adds_up(tmp_path):
    summary = demo.run_demo(tmp_path / "out", spending=(shared("funds/uk-spend"),))
    assert isinstance(summary, demo.Imported)
    assert sum(one.payments for one in summary.files) == sum(one.requests for one in summary.lines) == 10_835
