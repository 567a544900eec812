"""How many payments of public money a node takes through their whole life, and how fast the whole tree is read.

    python benchmarks/bench_funds.py [--lives 6000] [--requests 1000000] [--profile FILE] [--output FILE]

**Lives.** A node is founded in a temporary folder and started as a process of its own, as ``guildbook bench`` does it:
store on disk, one sync for each block, state tree, log and views on. Each request is submitted by a clerk, approved by
a reviewer and by an approver, released and booked in messages of up to 200, and confirmed by its payee: four
transactions of its own, each individually signed, and its share of a release, a status report and a booking. Everything
is signed beforehand. Bodies of 500 requests pass through the seven steps one behind the other, each step by a
connection of its own; a life counts when its receipt is confirmed. ``--profile`` runs the same in this process, without
HTTP, under cProfile: where the time goes, not how long.

**Views.** Rows of a million requests, over a tree of 40 counties with 1,000 projects, are fed into views in their own
process, and the application's readings of the whole tree are timed.
"""

import argparse
import cProfile
import hashlib
import itertools
import json
import multiprocessing
import os
import queue
import random
import re
import shutil
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from guildbook.chain.changes import BlockChanges, RowChange
from guildbook.chain.genesis import GenesisOrganisation, GenesisParty
from guildbook.chain.receipt import Outcome, decode_receipt
from guildbook.chain.transaction import build_transaction
from guildbook.cli.bench import Figure, RunningBench, machine, write_figures
from guildbook.contract import digest_of
from guildbook.foundation.approvals import Approvals
from guildbook.foundation.money import Account, AccountState, Guard, OwnerKind
from guildbook.node.folder import Founding, found_node
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.runtime.arguments import bind
from guildbook.testing import TestLedger
from guildbook.testing.ledger import test_key
from guildbook.views.answer import Limits
from guildbook.views.process import ViewsProcess
from guildbook.views.schema import ViewSchema
from guildbook.views.settings import ViewsSettings
from guildbook_apps.funds import contract
from guildbook_apps.funds.contract import DAY_MS, Funds, Line

NETWORK = "bench-net"
GENESIS_MS = 1_767_225_600_000
VALID_UNTIL = 900_000
BODY = 500
FILE = 200
PAYEES = 2_000
WALLETS = 200
LINES = 10
AMOUNT = 10_000
STEPS = ("submit", "review", "approve", "release", "accept", "book", "confirm")
encode = msgspec.msgpack.encode


keys: dict[str, SigningKey] = {}


def key_of(name: str) -> SigningKey:
    if name not in keys:
        keys[name] = _key(name)
    return keys[name]


def _key(name: str) -> SigningKey:
    return SigningKey.from_seed(hashlib.sha256(f"guildbook bench funds {name}".encode()).digest())


PERSONS = {
    "steward": ["administrator", "treasurer"], "second": ["treasurer"], "enroller": ["registrar"],
    "verifier": ["registrar"], "clerk": ["clerk"], "reviewer": ["reviewer"], "approver": ["approver"],
    "releaser": ["releaser"], "council-0": ["budget"], "council-1": ["budget"],
}


def organisations() -> list[GenesisOrganisation]:
    def party(name: str, permissions: list[str]) -> GenesisParty:
        return GenesisParty(name, "person", name, key_text(key_of(name).public_key), sorted(permissions))

    staff = [party(name, [*[f"funds:{one}" for one in roles],
                          *(["approvals:policymaker"] if name in ("steward", "second") else [])])
             for name, roles in PERSONS.items()]
    held = sorted({one for member in staff for one in member.permissions})
    return [GenesisOrganisation("bench-province", "Bench Province", "XX", held, staff),
            GenesisOrganisation("bench-bank", "Bench Bank", "XX", [], [party("feed", [])]),
            GenesisOrganisation("bench-homes", "Bench Homes", "XX", [],
                                [party(f"home-{number}", []) for number in range(WALLETS)])]


def digest(*text: object) -> bytes:
    return hashlib.sha256(" ".join(str(one) for one in text).encode()).digest()


def signed(party: str, calls: list[tuple[str, dict[str, Any]]], nonce: bytes) -> bytes:
    bound = []
    for name, arguments in calls:
        contract, _dot, command = name.partition(".")
        spec = (Funds if contract == "funds" else Approvals).commands[command]
        bound.append((contract, command, bind(spec, (), arguments)))
    return build_transaction(NETWORK, key_of(party), VALID_UNTIL, nonce, bound)


def founding(now: int) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """The transactions, (party, calls) each, that make the programme and its payees."""
    for name, stages, direct in (
            ("budget", [["council", "funds:budget", 2, "owners", "persons", 0, None]], True),
            ("request", [["review", "funds:reviewer", 1, "anywhere", "persons", 0, None],
                         ["approve", "funds:approver", 1, "anywhere", "persons", 0, None]], False)):
        yield "steward", [("approvals.publish_policy", {
            "policy": name, "stages": stages, "life_ms": 30 * DAY_MS, "currency": "CNY", "direct": direct,
            "executor": "not_proposer"})]
        yield "second", [("approvals.confirm_policy", {"policy": name, "version": 1})]
    yield "steward", [("funds.register_programme", {
        "programme": "bench", "supervisor": "bench-bank", "bank": "bench-bank", "currency": "CNY",
        "debtor": digest("debtor"), "budget_policy": "budget", "request_policy": "request", "pay_first_minor": 0,
        "regularise_ms": DAY_MS, "root": "bench/root", "purpose": "housing", "level": "province",
        "lapses_at": now + 3_000 * DAY_MS, "calendar": None}),
        ("funds.admit_deliverer", {"programme": "bench", "party": "feed", "public_key": None})]
    yield "steward", [("funds.open_line", {
        "line": f"bench/{number}", "parent": "bench/root", "organisation": "bench-province", "level": "county",
        "purpose": "housing", "lapses_at": now + 2_000 * DAY_MS}) for number in range(LINES)]
    moves = [("appropriate", None, "bench/root", 10**13)]
    moves += [("allocate", "bench/root", f"bench/{number}", 10**12) for number in range(LINES)]
    for number, (kind, source, target, amount) in enumerate(moves, 1):
        terms = {"kind": kind, "source": source, "target": target, "amount_minor": amount, "basis": digest("act")}
        yield "steward", [("funds.propose_movement", {"reference": f"m{number}", **terms})]
        for council in ("council-0", "council-1"):
            yield council, [("approvals.approve", {"proposal": number, "stage": "council",
                                                   "payload": digest_of("funds.movement", *terms.values())})]
        yield "second", [("funds.move", {"proposal": number, **terms})]
    for first in range(0, PAYEES, 100):
        block = range(first, first + 100)
        yield "enroller", [("funds.enrol", {
            "payee": f"p{number}", "programme": "bench", "identity": digest("identity", number),
            "account": digest("account", number), "controller": f"home-{number % WALLETS}"}) for number in block]
        yield "verifier", [("funds.verify", {"payee": f"p{number}", "account": digest("account", number),
                                             "credential": digest("seen", number)}) for number in block]
        yield "enroller", [("funds.entitle", {"payee": f"p{number}", "cycle": "2026", "purpose": "housing",
                                               "granted_minor": 10**12}) for number in block]


def uetr_of(number: int) -> str:
    return str(uuid.UUID(bytes=digest_of("funds.uetr", NETWORK, number)[:16], version=4))


def entries(kind: str, block: range) -> list[list[Any]]:
    booked = kind == "BOOK"
    return [[kind, [["EndToEndId", f"F{number}"], ["UETR", uetr_of(number)],
                    *([["AcctSvcrRef", f"entry {number}"]] if booked else [])], AMOUNT if booked else None, "CNY", None,
             digest("account", number % PAYEES) if booked else None, None] for number in block]


def bodies_of(place: int, day: int) -> list[list[bytes]]:
    """The transactions of ``BODY`` lives, step by step; their requests have the numbers behind ``place`` * BODY."""
    source = random.Random(place)
    numbers = range(place * BODY + 1, (place + 1) * BODY + 1)
    files = [range(first, min(first + FILE, numbers.stop)) for first in range(numbers.start, numbers.stop, FILE)]

    def nonce() -> bytes:
        return source.getrandbits(128).to_bytes(16, "big")

    def payload(number: int) -> bytes:
        return digest_of("funds.request", NETWORK, number, "benefit", f"p{number % PAYEES}",
                         digest("account", number % PAYEES), "2026", AMOUNT, 0, 0, AMOUNT,
                         ((f"bench/{number % LINES}", AMOUNT),), None, digest("evidence", number))

    def votes(party: str, stage: str) -> list[bytes]:
        return [signed(party, [("funds.approve", {"request": number, "stage": stage, "payload": payload(number),
                                                  "acting_for": None})], nonce()) for number in numbers]

    def messages(schema: str, kind: str) -> list[bytes]:
        return [signed("feed", [("funds.deliver", {
            "programme": "bench", "schema": schema, "message_id": f"{schema} {block.start}", "digest": digest(block),
            "entries": entries(kind, block), "part": 1})], nonce()) for block in files]

    return [
        [signed("clerk", [("funds.submit", {
            "reference": f"s{number}", "kind": "benefit", "payee": f"p{number % PAYEES}", "about": "2026",
            "gross_minor": AMOUNT, "shares": [[f"bench/{number % LINES}", 1]], "evidence": digest("evidence", number),
            "invoice": None})], nonce()) for number in numbers],
        votes("reviewer", "review"),
        votes("approver", "approve"),
        [signed("releaser", [("funds.release", {
            "batch": f"B{block.start}", "programme": "bench", "requests": list(block), "execution_day": day,
            "file": digest("file", block)})], nonce()) for block in files],
        messages("pain.002.001.10", "ACSP"),
        messages("camt.054.001.08", "BOOK"),
        [signed(f"home-{number % PAYEES % WALLETS}", [("funds.confirm_receipt", {
            "request": number, "confirmed_minor": AMOUNT, "complaint": None})], nonce()) for number in numbers],
    ]


def presigned(lives: int, day: int) -> list[list[list[bytes]]]:
    count = max(1, lives // BODY)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(bodies_of, range(count), itertools.repeat(day)))


def drive(node: RunningBench, bodies: list[list[list[bytes]]]) -> tuple[float, dict[str, float]]:
    """Seconds from the first submission to the last confirmation, and processor time of the node by step."""
    lanes: list[queue.Queue[list[list[bytes]] | None]] = [queue.Queue(2) for _step in range(len(STEPS) + 1)]
    lanes[-1].maxsize = 0
    failures: list[str] = []
    waited = dict.fromkeys(STEPS, 0.0)

    def run(step: int) -> None:
        connection = node.connection()
        while (body := lanes[step].get()) is not None:
            if not failures:
                began = time.perf_counter()
                connection.request("POST", "/v1/transactions/batch", encode(body[step]),
                                   {"Content-Type": "application/msgpack"})
                answer = connection.getresponse()
                data = answer.read()
                waited[STEPS[step]] += time.perf_counter() - began
                answers = msgspec.msgpack.decode(data) if answer.status == 200 else []
                for _identity, receipt, code in answers:
                    found = None if receipt is None else decode_receipt(receipt)
                    if found is None or found.outcome != Outcome.APPLIED:
                        failures.append(f"{STEPS[step]}: {code} {found}")
                if not answers:
                    failures.append(f"{STEPS[step]}: {answer.status} {data[:300]!r}")
            lanes[step + 1].put(body)
        lanes[step + 1].put(None)
        connection.close()

    threads = [threading.Thread(target=run, args=(step,)) for step in range(len(STEPS))]
    began = time.perf_counter()
    for one in threads:
        one.start()
    for body in bodies:
        lanes[0].put(body)
    lanes[0].put(None)
    for one in threads:
        one.join()
    taken = time.perf_counter() - began
    if failures:
        raise SystemExit(f"{len(failures)} failed, first: {failures[0]}")
    return taken, waited


def live(lives: int) -> list[Figure]:
    now = time.time_ns() // 1_000_000
    bodies = presigned(lives, now // DAY_MS + 1)
    folder = Path(tempfile.mkdtemp(prefix="guildbook-bench-"))
    node = None
    try:
        founding_terms = Founding(network=NETWORK, applications=("funds",), organisations=tuple(organisations()),
                                  parameters={"calls_per_transaction_max": 256}, time_ms=None)
        found_node(folder / "node", founding_terms, settings={"http.port": 0, "log.level": "warning"})
        node = RunningBench(folder / "node")
        for number, (party, calls) in enumerate(founding(now)):
            node.submit(signed(party, calls, number.to_bytes(16, "big")))
        before, stages = node.processor_seconds(), node.stage_seconds()
        blocks = node.height()
        taken, waited = drive(node, bodies)
        spent, count = node.processor_seconds() - before, len(bodies) * BODY
        blocks = node.height() - blocks
        lag = time.perf_counter()
        height = node.height()
        while node.sql_height() < height:
            time.sleep(0.01)
        lag = time.perf_counter() - lag
        after = node.stage_seconds()
        told = (f"{count:,} requests, each submitted, approved in two stages, released, accepted, booked and "
                f"confirmed: four transactions of their own, individually signed, and files and messages of {FILE}; "
                f"store on disk, one sync a block ({blocks} blocks), state tree, log and views on; load from the same "
                f"machine; load average {os.getloadavg()[0]:.1f}; {machine()}")
        print(json.dumps({"seconds": round(taken, 2), "node_processor_s": round(spent, 2),
                          "waited_s": {name: round(value, 2) for name, value in waited.items()},
                          "stages_us_per_life": {name: round((after[name] - stages.get(name, 0)) / count * 1e6, 1)
                                                 for name in after}}), flush=True)
        return [Figure("fund_lives_per_second", round(count / taken, 1), "1/s", told),
                Figure("fund_life_processor_us", round(spent / count * 1e6, 1), "us/life",
                       f"processor time of all processes of the node, views included; {told}"),
                Figure("fund_life_views_lag_s", round(lag, 2), "s", f"behind the last block at the end; {told}")]
    finally:
        if node is not None:
            node.stop()
        shutil.rmtree(folder, ignore_errors=True)


def profile(lives: int, path: Path) -> None:
    """The same lives in this process, on a ledger in memory and without HTTP: processor time by step, and a profile."""
    homes = {party.id: one.id for one in organisations() for party in one.parties}
    keys.update({party: test_key(f"{home}/{party}") for party, home in homes.items()})
    ledger = TestLedger(Funds, check_invariants=False, network=NETWORK, parameters={"calls_per_transaction_max": 256},
                        actors={f"{one.id}/{party.id}": party.permissions for one in organisations()
                                for party in one.parties})
    for number, (party, calls) in enumerate(founding(ledger.now)):
        assert ledger.cut([signed(party, calls, number.to_bytes(16, "big"))])[0].outcome == Outcome.APPLIED
    spent = dict.fromkeys(STEPS, 0.0)
    profiler = cProfile.Profile()
    bodies = [bodies_of(place, ledger.now // DAY_MS + 1) for place in range(max(1, lives // BODY))]
    for body in bodies:
        for step, transactions in zip(STEPS, body, strict=True):
            began = time.process_time()
            profiler.enable()
            receipts = ledger.cut(transactions)
            profiler.disable()
            spent[step] += time.process_time() - began
            assert all(one.outcome == Outcome.APPLIED for one in receipts), step
    profiler.dump_stats(path)
    print(json.dumps({step: round(value / len(bodies) / BODY * 1e6) for step, value in spent.items()}))


# Views -----------------------------------------------------------------------------------------------------------

COUNTIES, PROJECTS = 40, 25
STAGES = ("confirmed", "confirmed", "confirmed", "settled", "settled", "submitted", "approved", "instructed",
          "accepted", "failed")
WHOLE_TREE = ("tree", "demand_by_level", "days_idle")


def lines_of_tree() -> list[tuple[str, str | None, str, int]]:
    """(id, parent, level, depth) of a province, its counties and their projects."""
    counties = [f"tree/{county}" for county in range(COUNTIES)]
    return [("tree", None, "province", 0), *((county, "tree", "county", 1) for county in counties),
            *((f"{county}/{project}", county, "project", 2) for county in counties for project in range(PROJECTS))]


def row_changes(requests: int) -> Iterator[RowChange]:
    """The rows of a tree with its accounts, requests, and evidence of use for every fourth paid request."""
    tree = lines_of_tree()
    projects = [one[0] for one in tree if one[3] == 2]
    end = GENESIS_MS + 400 * DAY_MS
    for line, parent, level, depth in tree:
        row = Line(id=line, programme="tree", parent=parent, organisation="province", level=level, purpose="housing",
                   depth=depth, lapses_at=end, status="open", overdue=0)  # type: ignore[arg-type]
        yield RowChange("funds.lines", line.encode(), None, encode(row))
        for place, where in enumerate(("", "/committed", "/paid")):
            account = Account(id=f"funds/{line}{where}", ledger="funds/tree", currency="CNY",
                              owner_kind=OwnerKind.CONTRACT, owner="funds", guard=Guard.DEBITS_MUST_NOT_EXCEED_CREDITS,
                              state=AccountState.OPEN, debits_posted=5, credits_posted=1_000_000 + place,
                              debits_pending=0, credits_pending=0, opened_at=1)
            yield RowChange("money.accounts", account.id.encode(), None, encode(account))
    for number in range(1, requests + 1):
        line, stage, when = projects[number % len(projects)], STAGES[number % len(STAGES)], GENESIS_MS + number * 20
        sent = stage not in ("submitted", "approved")
        amount, paid = 10_000 + number % 977, stage in ("confirmed", "settled")
        shared = number % 50 == 0
        parts = [[line, amount - 5_000 * shared, 0], *([[projects[(number + 1) % len(projects)], 5_000, 0]] * shared)]
        row = [number, "tree", "benefit", f"p{number % 300_000}", bytes(32), "2026", amount, 0, 0, amount, line, parts,
               None, None, bytes(32), f"F{number}", uetr_of(number), stage, f"clerk-{number % 40}", number,
               stage != "submitted", None, False, f"B{number // 200}" if sent else None, None,
               f"entry-{number}" if paid else None, "camt.054" if paid else None, 0,
               amount if stage == "confirmed" else 0, None, when, when]
        yield RowChange("funds.requests", number.to_bytes(8, "big"), None, encode(row))
        if paid and number % 4 == 0:
            yield RowChange("funds.usages", number.to_bytes(8, "big"), None,
                            encode([number, bytes(32), "photo", "clerk", when]))


def feed(requests: int) -> Iterator[bytes]:
    """Blocks of 10,000 changes each."""
    changes = row_changes(requests)
    for height in itertools.count():
        block = list(itertools.islice(changes, 10_000))
        if not block:
            return
        yield encode(BlockChanges(height, GENESIS_MS + 40 * DAY_MS + height, block, [], []))


def views(requests: int) -> list[Figure]:
    ledger = TestLedger(Funds)
    schema = ViewSchema.of(ledger.ledger.view().catalogue())
    names = [field.name for field in Funds.tables["requests"].schema.fields]
    assert names[9:12] == ["amount_minor", "line", "parts"]
    assert len(names) == len(msgspec.msgpack.decode(next(
        one.after for one in row_changes(1) if one.table == "funds.requests")))
    readings = dict(re.findall(r"^-- name: (\w+)\n(?:--[^\n]*\n)*(.*?);$",
                               (Path(contract.__file__).parent / "views.sql").read_text("utf-8"), re.M | re.S))
    blocks = -(-sum(1 for _change in row_changes(requests)) // 10_000)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        def read_changes(_height: int) -> Iterator[bytes]:
            yield from feed(requests)

        path = Path(folder) / "views.duckdb"
        with ViewsProcess(path, "bench", schema, read_changes, settings=ViewsSettings()) as open_:
            while open_.height < blocks - 1:
                time.sleep(0.05)
                if open_.status.state == "halted":
                    raise SystemExit(open_.status.error)
            for name in WHOLE_TREE:
                taken = []
                for _time in range(7):
                    began = time.perf_counter()
                    found = open_.query(readings[name], limits=Limits(time_ms_max=120_000))
                    taken.append(time.perf_counter() - began)
                figures.append(Figure(
                    f"funds_{name}_s", round(statistics.median(taken), 3), "s",
                    f"the reading {name} of supervised funds over {requests:,} requests, 2 in 100 of them borne by two "
                    f"lines, and {len(lines_of_tree()):,} lines; {len(found.rows)} rows; median of 7, worst "
                    f"{max(taken):.3f}; views in their own process; load average {os.getloadavg()[0]:.1f}; "
                    f"{machine()}"))
    return figures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--lives", type=int, default=6_000, help="requests through their life, 0: none")
    options.add_argument("--requests", type=int, default=1_000_000, help="requests in the views, 0: none")
    options.add_argument("--profile", type=Path, default=None, help="only profile lives, into this file")
    options.add_argument("--output", type=Path, default=None, help="put the figures into this list of figures too")
    given = options.parse_args()
    if given.profile is not None:
        profile(given.lives, given.profile)
        return
    figures = [*(live(given.lives) if given.lives else []), *(views(given.requests) if given.requests else [])]
    for one in figures:
        print(f"{one.name:28} {one.value:>12,.3f} {one.unit:8} {one.conditions}")
    if given.output is not None:
        write_figures(given.output, figures)


if __name__ == "__main__":
    main()
