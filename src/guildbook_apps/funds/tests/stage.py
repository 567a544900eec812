"""A province's programme on a test ledger, for the tests of this application: who acts, and how far it has come."""

from typing import Any

from guildbook.primitives.hashing import tagged
from guildbook.testing import TestLedger
from guildbook_apps.funds.contract import DAY_MS, Funds

AUTHORITY, COUNTY, BANK, WATCH = "juniper-province", "heron-county", "lantern-bank", "court-of-accounts"
ACTORS = {
    f"{AUTHORITY}/administrator": ["funds:administrator", "funds:treasurer", "approvals:policymaker"],
    f"{AUTHORITY}/second": ["approvals:policymaker", "funds:treasurer"],
    f"{AUTHORITY}/treasurer": ["funds:treasurer"],
    f"{AUTHORITY}/budget-one": ["funds:budget", "calendars:keeper"],
    f"{AUTHORITY}/budget-two": ["funds:budget", "calendars:keeper"],
    f"{AUTHORITY}/reviewer": ["funds:reviewer"],
    f"{AUTHORITY}/approver": ["funds:approver"],
    f"{AUTHORITY}/releaser": ["funds:releaser", "funds:resolver"],
    f"{AUTHORITY}/officer": ["funds:officer"],
    f"{COUNTY}/clerk": ["funds:clerk", "funds:treasurer"],
    f"{COUNTY}/officer-county": ["funds:officer", "funds:clerk"],
    f"{COUNTY}/registrar-one": ["funds:registrar"],
    f"{COUNTY}/registrar-two": ["funds:registrar"],
    f"{COUNTY}/witness": ["funds:witness"],
    f"{BANK}/feed": [],
    f"{WATCH}/supervisor": ["funds:supervisor"],
    f"{WATCH}/auditor-one": ["funds:auditor"],
    f"{WATCH}/auditor-two": ["funds:auditor"],
    "households/ida": [],
    "households/omar": [],
}
YEAR_MS = 365 * DAY_MS


def digest(text: str) -> bytes:
    """A digest that stands for ``text``."""
    return tagged("funds-test", text.encode())


def act(stage: TestLedger, name: str) -> Any:
    """The actor whose party is ``name``."""
    full = next(one for one in ACTORS if one.endswith(f"/{name}"))
    return stage.actor(full)


def policies(authority: str = AUTHORITY) -> list[tuple[str, dict[str, Any]]]:
    """Budget movements by two, requests by a reviewer, and from 100,000.00 by an approver too."""
    return [
        ("budget", {"stages": [["council", "funds:budget", 2, "owners", "persons", 0, None]], "direct": True}),
        ("request", {"stages": [["review", "funds:reviewer", 1, "anywhere", "persons", 0, None],
                                ["approve", "funds:approver", 1, "anywhere", "persons", 10_000_000, None]],
                     "direct": False}),
    ]


def founded(currency: str = "CNY", calendar: str | None = None, grants: dict[str, list[str]] | None = None,
            **settings: Any) -> TestLedger:
    """A ledger with the programme ``roofs``: a province, one county under it, and nothing appropriated.

    ``grants`` are permissions that some actors hold instead of their own.
    """
    stage = TestLedger(Funds, actors={**ACTORS, **(grants or {})}, **settings)
    for name, terms in policies():
        version = act(stage, "administrator").approvals.publish_policy(
            policy=name, life_ms=30 * DAY_MS, currency=currency, executor="not_proposer", **terms)
        act(stage, "second").approvals.confirm_policy(policy=name, version=version)
    act(stage, "administrator").funds.register_programme(
        programme="roofs", supervisor=WATCH, bank=BANK, currency=currency, debtor=digest("debtor"),
        budget_policy="budget", request_policy="request", pay_first_minor=500_000, regularise_ms=3 * DAY_MS,
        root="roofs/province", purpose="housing", level="province", lapses_at=stage.now + YEAR_MS,
        calendar=calendar)
    act(stage, "administrator").funds.admit_deliverer(programme="roofs", party="feed")
    act(stage, "treasurer").funds.open_line(
        line="roofs/heron", parent="roofs/province", organisation=COUNTY, level="county", purpose="housing",
        lapses_at=stage.now + YEAR_MS - DAY_MS)
    return stage


def moved(stage: TestLedger, kind: str, source: str | None, target: str, amount: int, by: str = "treasurer") -> None:
    """A movement of money, proposed, approved by two and made."""
    basis = digest(f"{kind} {source} {target}")
    terms = {"kind": kind, "source": source, "target": target, "amount_minor": amount, "basis": basis}
    number = act(stage, by).funds.propose_movement(reference=f"m/{stage.ledger.head.height}", **terms)
    payload = stage.rows("approvals.proposals", number)[0].payload
    for name in ("budget-one", "budget-two"):
        act(stage, name).approvals.approve(proposal=number, stage="council", payload=payload)
    other = "second" if by == "treasurer" else "clerk"
    act(stage, other).funds.move(proposal=number, **terms)


def endowed(stage: TestLedger, amount: int = 100_000_000) -> TestLedger:
    """Money on the county's line, and two households that may each get 20,000.00 in a cycle."""
    moved(stage, "appropriate", None, "roofs/province", amount)
    moved(stage, "allocate", "roofs/province", "roofs/heron", amount // 2)
    for name in ("ida", "omar"):
        act(stage, "registrar-one").funds.enrol(payee=f"p-{name}", programme="roofs", identity=digest(name),
                                                account=digest(f"account {name}"), controller=name)
        act(stage, "registrar-two").funds.verify(payee=f"p-{name}", account=digest(f"account {name}"),
                                                 credential=digest("credential"))
        act(stage, "registrar-one").funds.entitle(payee=f"p-{name}", cycle="2026", purpose="housing",
                                                  granted_minor=2_000_000)
    return stage


def submitted(stage: TestLedger, amount: int = 300_000, payee: str = "p-ida", **changes: Any) -> int:
    """A request for a benefit, submitted by the county's clerk."""
    terms = {"reference": f"s/{stage.ledger.head.height}", "kind": "benefit", "payee": payee, "about": "2026",
             "gross_minor": amount, "shares": [["roofs/heron", 1]], "evidence": digest("photo"), **changes}
    number: int = act(stage, "clerk").funds.submit(**terms)
    return number


def approved(stage: TestLedger, request: int) -> int:
    """The request, approved in each stage that its amount asks for."""
    payload = stage.query("funds.payload_of", request)
    for name, part in (("reviewer", "review"), ("approver", "approve")):
        if act(stage, name).funds.approve(request=request, stage=part, payload=payload):
            break
    return request


def instructed(stage: TestLedger, *requests: int, batch: str = "B1") -> None:
    """The requests, released to the bank in one file."""
    act(stage, "releaser").funds.release(batch=batch, programme="roofs", requests=list(requests),
                                         execution_day=stage.now // DAY_MS + 1, file=digest(batch))


def item(stage: TestLedger, request: int, status: str, **changes: Any) -> list[Any]:
    """What the bank says of a request, as an entry: right in all, but for ``changes``."""
    row = stage.rows("funds.requests", request)[0]
    fields = {"end_to_end": row.end_to_end, "uetr": row.uetr, "reason": None,
              "amount_minor": row.amount_minor if status in ("BOOK", "RTRN") else None, "currency": None,
              "account": row.account if status == "BOOK" else None,
              "entry": f"E{request}" if status == "BOOK" else None, **changes}
    names = {"EndToEndId": fields["end_to_end"], "UETR": fields["uetr"], "AcctSvcrRef": fields["entry"]}
    return [status, [[name, value] for name, value in names.items() if value is not None], fields["amount_minor"],
            fields["currency"], fields["reason"], fields["account"], None]


def delivered(stage: TestLedger, kind: str, *items: list[Any], message: str | None = None) -> int:
    """The bank's message, taken; how many of its items wait."""
    name = message or f"{kind}/{stage.ledger.head.height}"
    waiting: int = act(stage, "feed").funds.deliver(programme="roofs", schema=f"{kind}.001.08", message_id=name,
                                                    digest=digest(name), entries=list(items))
    return waiting


def paid(stage: TestLedger, amount: int = 300_000, **changes: Any) -> int:
    """A request that the bank has booked."""
    request = approved(stage, submitted(stage, amount, **changes))
    instructed(stage, request, batch=f"B{request}")
    assert delivered(stage, "pain.002", item(stage, request, "ACSP")) == 0
    assert delivered(stage, "camt.054", item(stage, request, "BOOK")) == 0
    return request


def stage_of(stage: TestLedger, request: int) -> str:
    """How far a request has come."""
    return str(stage.rows("funds.requests", request)[0].stage)


def standing(stage: TestLedger, line: str = "roofs/heron") -> tuple[int, ...]:
    """Free, committed and paid on a line."""
    return tuple(stage.query("funds.standing_of", line))
