"""Public funds from an appropriation to receipts: a province's year, with a bank, on a ledger on disk.

A province passes money to counties, townships and projects; households and contractors are paid. Everybody signs, the
bank answers in ISO 20022 files, and nothing counts as paid until it has. With --spending, payments that public bodies
published (OCDS, IATI or CSV by month) go through the same ledger instead.
"""

import csv
import dataclasses
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table as Columns

from guildbook.evidence.report import as_text
from guildbook.evidence.trust import format_trust
from guildbook.evidence.verify import Verdict, verify
from guildbook.node.staged import StagedNode
from guildbook.primitives.errors import GuildbookError
from guildbook.standards.amounts import amount_text
from guildbook.standards.iati import Narrative, ReportingOrg, read_activities
from guildbook.standards.ocds import read_releases
from guildbook.standards.times import date_at
from guildbook_apps.funds import card, importing, opendata, people
from guildbook_apps.funds import spending as published
from guildbook_apps.funds.contract import Funds, Request, Stage
from guildbook_apps.funds.province import APPROPRIATED_MINOR, START_MS, Refused, Year

NETWORK, SPENDING_NETWORK = "funds-demo", "spending-demo"
NODE_FOLDER = "node"
"""What lies here goes on as a node when it is run."""
QUESTION = "SELECT stage, count(*), sum(amount_minor) FROM funds.requests GROUP BY stage"
OCID_PREFIX = "ocds-madeup"
REPORTING = ReportingOrg("XX-MADEUP-JUNIPER", opendata.LOCAL_GOVERNMENT, names=(Narrative("Juniper Province", "en"),))


class Progress(Protocol):
    """Told how far the work is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` steps of ``stage``."""


@dataclasses.dataclass
class LineSum:
    """Where money is on a line: free, committed and paid on itself, and on it and all below it. Minor units."""

    line: str
    level: str
    depth: int
    own: opendata.Standing
    under: opendata.Standing


@dataclasses.dataclass
class Unmatched:
    """An item of the bank that waits for a person."""

    message: str
    kind: str
    amount_minor: int | None
    state: str
    reason: str


@dataclasses.dataclass
class Summary:
    """What the demonstration did, and what it left behind. Amounts are minor units of ``currency``."""

    currency: str
    appropriated_minor: int
    before: list[LineSum]
    """Where money was in December, before lines lapsed."""
    lines: list[LineSum]
    """Where it is at the end."""
    stages: dict[str, tuple[int, int]]
    """Stage -> how many requests, and their sum."""
    unmatched: list[Unmatched]
    refused: list[Refused]
    messages: dict[str, int]
    """Kind of file -> how many went to the bank or came from it."""
    processes: int
    activities: int
    published_minor: tuple[int, int]
    """What the transactions in the OCDS and in the IATI file add up to."""
    receipt: Request
    verdicts: list[Verdict]
    codes: dict[str, str]
    """File of a QR code -> its version."""
    transactions: int
    blocks: int
    seconds: float
    written: list[Path]

    @property
    def whole(self) -> opendata.Standing:
        """Free, committed and paid in the whole programme."""
        return next(one.under for one in self.lines if one.depth == 0)


@dataclasses.dataclass
class Imported:
    """What an import of published spending did."""

    files: list[importing.FileTally]
    lines: list[importing.LineTally]
    refusals: dict[str, int]
    """Code -> how many."""
    transactions: int
    blocks: int
    seconds: float
    written: list[Path]


def run_demo(out_dir: Path, *, spending: tuple[Path, ...] = (), seed: int = 20,
             progress: Progress | None = None) -> Summary | Imported:
    """Run the programme's year (``run_year``), or bring the files at ``spending`` onto a ledger (``run_import``)."""
    return run_import(out_dir, spending, seed=seed, progress=progress) if spending else \
        run_year(out_dir, seed=seed, progress=progress)


def run_import(out_dir: Path, paths: Sequence[Path], *, seed: int = 20, progress: Progress | None = None) -> Imported:
    """Bring published spending onto a ledger in ``out_dir``, a new or empty folder.

    It gets the folder ``node``, the refused items as ``refused.csv``, who the payees are as ``suppliers.csv``, and a
    summary. Raises GuildbookError ``store.not_empty``, and ``cli.usage`` where there is no file.
    """
    started = time.perf_counter()
    told: Progress = _silent if progress is None else progress
    files = published.spending_files(paths)
    _make_empty(out_dir)
    found = []
    for place, path in enumerate(files):
        told("reading", place, len(files))
        found.append(published.read_spending(path.read_bytes(), str(path)))
    node = StagedNode(out_dir / NODE_FOLDER, SPENDING_NETWORK, Funds, importing.signers(), seed=seed, start_ms=START_MS)
    try:
        desk = importing.Import(node, hashlib.sha256(f"guildbook funds spending salt {seed}".encode()).digest())
        tallies = desk.take(found, told)
        node.stop()
        lines = desk.tallies()
        height = node.ledger.head.height
    finally:
        node.stop()
        node.close()
    summary = Imported(tallies, lines, dict(importing.counts_of(desk.refusals)), desk.transactions, height, 0.0,
                       [out_dir / NODE_FOLDER])
    tables: dict[str, list[tuple[object, ...]]] = {
        "refused.csv": [("file", "line", "path", "code", "reason"),
                        *((one.file, one.line, one.path, one.code, one.reason) for one in desk.refusals)],
        "suppliers.csv": [("payee", "programme", "name"),
                          *((payee, *known) for payee, known in sorted(desk.suppliers.items()))]}
    for name, rows in tables.items():
        with (out_dir / name).open("w", encoding="utf-8", newline="") as target:
            csv.writer(target, lineterminator="\n").writerows(rows)
        summary.written.append(out_dir / name)
    shown = {"files": [one._asdict() for one in tallies], "lines": [one._asdict() for one in lines],
             "refusals": summary.refusals, "transactions": summary.transactions, "blocks": summary.blocks}
    (out_dir / "summary.json").write_text(json.dumps(shown, indent=2) + "\n", "utf-8")
    summary.written.append(out_dir / "summary.json")
    summary.seconds = time.perf_counter() - started
    return summary


def _make_empty(out_dir: Path) -> None:
    if out_dir.exists() and any(out_dir.iterdir()):
        raise GuildbookError("store.not_empty", f"{out_dir} is not empty",
                             hint="name another folder, or remove this one")
    out_dir.mkdir(parents=True, exist_ok=True)


def run_year(out_dir: Path, *, seed: int = 20, progress: Progress | None = None) -> Summary:
    """Run the programme's year, and leave everything in ``out_dir``, a new or empty folder.

    It gets the folder ``node`` with the ledger, the payee book, the files to and from the bank, the open data, the
    evidence of one household's receipt with its trust anchor and QR codes, and a summary. The same ``seed`` gives the
    same calls and files; where blocks are cut between them depends on the machine, and so does evidence. Raises
    GuildbookError ``store.not_empty``.
    """
    started = time.perf_counter()
    _make_empty(out_dir)
    node = StagedNode(out_dir / NODE_FOLDER, NETWORK, Funds, people.signers(), seed=seed, start_ms=START_MS)
    try:
        year = Year(node, out_dir, seed)
        year.run(_silent if progress is None else progress)
        before = list(_sums(_position(node), people.ROOT))
        year.end()
        node.stop()
        summary = _look(year, before)
        _prove(summary, year, out_dir)
        _publish(summary, node, out_dir)
    finally:
        node.stop()
        node.close()
    summary.seconds = time.perf_counter() - started
    _write_summary(summary, out_dir)
    summary.written.insert(0, out_dir / NODE_FOLDER)
    return summary


def _silent(stage: str, done: int, total: int) -> None:
    """Says nothing."""


# Looking ------------------------------------------------------------------------------------------------------


def _position(node: StagedNode) -> opendata.Position:
    return opendata.position_of(people.PROGRAMME, node.rows, lambda line: node.query("funds.standing_of", line))


def _look(year: Year, before: list[LineSum]) -> Summary:
    node = year.node
    position = _position(node)
    stages: dict[str, tuple[int, int]] = {}
    for row in position.requests:
        count, minor = stages.get(row.stage.value, (0, 0))
        stages[row.stage.value] = (count + 1, minor + row.amount_minor)
    number, _transaction = year.confirmation
    summary = Summary(
        currency=people.CURRENCY, appropriated_minor=APPROPRIATED_MINOR, before=before,
        lines=list(_sums(position, people.ROOT)),
        stages={one.value: stages[one.value] for one in Stage if one.value in stages},
        unmatched=list(_unmatched(node)), refused=year.refused,
        messages=dict(sorted(Counter(path.name[4:12] for path in year.files).items())), processes=0, activities=0,
        published_minor=(0, 0), receipt=year.request(number), verdicts=[], codes={}, transactions=year.transactions,
        blocks=node.ledger.head.height, seconds=0.0, written=[year.book_file, year.folder / "bank"])
    for moment in (before, summary.lines):
        assert sum(moment[0].under) == APPROPRIATED_MINOR, "money was lost or invented"
    return summary


def _sums(position: opendata.Position, line: str) -> Iterator[LineSum]:
    """A line and all below it, from the top down."""
    row = next(one for one in position.lines if one.id == line)
    yield LineSum(line, row.level, row.depth, position.standings[line], position.under(line))
    for child in position.lines:
        if child.parent == line:
            yield from _sums(position, child.id)


def _unmatched(node: StagedNode) -> Iterator[Unmatched]:
    names = {row.number: row.schema[:8] + " " + row.message_id for row in node.rows("messages.messages")}
    for item in node.rows("messages.items"):
        if item.state.value in ("unmatched", "quarantined"):
            yield Unmatched(names[item.message], item.kind, item.amount_minor, item.state.value, item.reason)


# What is left behind ------------------------------------------------------------------------------------------


def _prove(summary: Summary, year: Year, out_dir: Path) -> None:
    """The evidence of a household's confirmation and of its payment, verified, and the QR codes of its receipt."""
    node, row = year.node, summary.receipt
    _number, transaction = year.confirmation
    trust = node.trust
    receipt, payment = node.receipt_evidence(transaction), node.row_evidence("funds.requests", row)
    summary.verdicts = [verify(receipt, trust), verify(payment, trust)]
    assert [one.kind for one in summary.verdicts] == ["receipt", "row"], "the evidence proves something else"
    amount, day = amount_text(row.amount_minor, summary.currency), date_at(_position(node).paid_on[row.number]).text
    about = f"request {row.number}: {amount} {summary.currency} paid on {day}, receipt confirmed"
    files = {"receipt.evidence": receipt, "payment.evidence": payment, "trust.json": format_trust(trust),
             "verdicts.txt": "\n".join(as_text(one) for one in summary.verdicts).encode()}
    for name, data in files.items():
        (out_dir / name).write_bytes(data)
        summary.written.append(out_dir / name)
    texts = {"receipt-name.png": (card.name_text(node.network, transaction, receipt, about), "M"),
             "receipt-proof.png": (card.proof_text(payment), "L")}
    for name, (text, correction) in texts.items():
        if text is not None:
            summary.codes[name] = card.draw(text, out_dir / name, correction=correction)
            summary.written.append(out_dir / name)


def _publish(summary: Summary, node: StagedNode, out_dir: Path) -> None:
    """The programme's open data, and what its transactions add up to when it is read again."""
    position, now = _position(node), node.now_ms
    releases = opendata.contracting(position, prefix=OCID_PREFIX, uri="https://example.org/roofs/releases.json",
                                    at_ms=now)
    activities = opendata.activities(position, reporting=REPORTING, since=date_at(START_MS), at_ms=now)
    for name, data in (("ocds-releases.json", releases), ("iati-activities.xml", activities)):
        (out_dir / name).write_bytes(data)
        summary.written.append(out_dir / name)
    found, projects = read_releases(releases).records, read_activities(activities).records
    paid = [one.value.money for record in found for contract in record.release.contracts
            if contract.implementation is not None for one in contract.implementation.transactions
            if one.value is not None]
    spent = [one.value.money(record.activity.default_currency) for record in projects
             for one in record.activity.transactions]
    summary.processes, summary.activities = len(found), len(projects)
    summary.published_minor = (sum(one.minor for one in paid if one is not None), sum(one.minor for one in spent))


def _write_summary(summary: Summary, out_dir: Path) -> None:
    shown: dict[str, Any] = {
        name: getattr(summary, name)
        for name in ("currency", "appropriated_minor", "stages", "messages", "processes", "activities",
                     "published_minor", "codes", "transactions", "blocks")}
    for name, lines in (("lines_in_december", summary.before), ("lines", summary.lines)):
        shown[name] = [{"line": one.line, "level": one.level, **one.own._asdict(),
                        "with_lines_below": one.under._asdict()} for one in lines]
    shown["unmatched"] = [dataclasses.asdict(one) for one in summary.unmatched]
    shown["refused"] = [dataclasses.asdict(one) for one in summary.refused]
    path = out_dir / "summary.json"
    path.write_text(json.dumps(shown, indent=2) + "\n", "utf-8")
    summary.written.append(path)


# For people ---------------------------------------------------------------------------------------------------


def print_summary(summary: Summary | Imported, console: Console) -> None:
    """The tables of a demonstration, for people."""
    if isinstance(summary, Imported):
        _print_import(summary, console)
        return

    def shown(minor: int | None) -> str:
        return "" if minor is None else _grouped(amount_text(minor, summary.currency))

    console.print(_money(summary.before, "in December", summary, shown))
    console.print(_money(summary.lines, "when the year is over", summary, shown))
    console.print(_requests(summary, shown))
    items = Columns(title="What the bank said and nobody has matched: it waits for a person")
    for name in ("message", "item", "amount", "state", "reason"):
        items.add_column(name, justify="right" if name == "amount" else "left")
    for one in summary.unmatched:
        items.add_row(one.message, one.kind, shown(one.amount_minor), one.state, one.reason)
    console.print(items)
    refused = Columns(title="What was tried and refused")
    refused.add_column("what")
    refused.add_column("refusal")
    for no in summary.refused:
        refused.add_row(no.what, no.code)
    console.print(refused)
    row, (ocds, spent) = summary.receipt, summary.published_minor
    console.print(
        f"Files to and from the bank: "
        f"{', '.join(f'{count} {kind}' for kind, count in summary.messages.items())}.\n"
        f"Published: {summary.processes} processes (OCDS) and {summary.activities} activities (IATI), whose "
        f"transactions add up to {shown(ocds)} and {shown(spent)} {summary.currency}; paid on the ledger: "
        f"{shown(summary.whole.paid)}.\n"
        f"A receipt: request {row.number}, {shown(row.amount_minor)} {summary.currency} to {row.payee}; both evidence "
        f"files verified, {sum(len(one.steps) for one in summary.verdicts)} steps. QR codes: "
        f"{', '.join(f'{name} (version {version})' for name, version in summary.codes.items())}.\n"
        f"{summary.transactions:,} signed transactions in {summary.blocks:,} blocks; {summary.seconds:.1f} s in all.",
        highlight=False, soft_wrap=True)
    for path in summary.written:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    node = summary.written[0]
    place = node.parent
    console.print(
        f"Trust anchor: {place / 'trust.json'}; evidence is checked with it alone:\n"
        f"  guildbook verify {place / 'payment.evidence'} --trust {place / 'trust.json'}\n"
        f"Ask further: guildbook sql \"{QUESTION}\" --node {node}\nRun it: guildbook run {node}",
        highlight=False, soft_wrap=True, markup=False)


def _print_import(summary: Imported, console: Console) -> None:
    files = Columns(title="Files")
    for name in ("file", "contracts", "payments", "there already", "refused"):
        files.add_column(name, justify="left" if name == "file" else "right", overflow="fold")
    counts = [(one.works, one.payments, one.already, one.refused) for one in summary.files]
    for one, row in zip(summary.files, counts, strict=True):
        files.add_row(Path(one.file).name, *(f"{count:,}" for count in row))
    files.add_section()
    files.add_row("all", *(f"{sum(column):,}" for column in zip(*counts, strict=True)))
    console.print(files)
    lines = Columns(title="Committed, as published; nothing is paid, as no bank has said so")
    for name in ("body", "unit", "requests", "committed", "currency"):
        lines.add_column(name, justify="right" if name in ("requests", "committed") else "left", overflow="fold")
    for line in summary.lines:
        lines.add_row(line.body, line.unit, f"{line.requests:,}",
                      _grouped(amount_text(line.committed_minor, line.currency)), line.currency)
    console.print(lines)
    console.print(
        "Refused: " + (", ".join(f"{count:,} {code}" for code, count in summary.refusals.items()) or "nothing")
        + f".\n{summary.transactions:,} signed transactions in {summary.blocks:,} blocks; {summary.seconds:.1f} s.",
        highlight=False, soft_wrap=True, markup=False)
    for path in summary.written:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    console.print(f'Ask further: guildbook sql "{QUESTION}" --node {summary.written[0]}', highlight=False,
                  soft_wrap=True, markup=False)


def _money(lines: list[LineSum], when: str, summary: Summary, shown: Any) -> Columns:
    """Each line with what is free on itself, and with the sums of itself and all lines below."""
    table = Columns(title=f"Where the money is {when}, {summary.currency}: each line with all below it")
    table.add_column("line")
    table.add_column("level")
    for name in ("free", "committed", "paid", "sum", "of it free here"):
        table.add_column(name, justify="right")
    for place, one in enumerate(lines):
        following = lines[place + 1].depth if place + 1 < len(lines) else 0
        table.add_row("  " * one.depth + one.line, one.level, *(shown(minor) for minor in one.under),
                      shown(one.under.allocated), shown(one.own.free), end_section=following <= 1)
    table.add_section()
    table.add_row("appropriated", "", "", "", "", shown(summary.appropriated_minor), "")
    return table


def _requests(summary: Summary, shown: Any) -> Columns:
    table = Columns(title=f"Requests by stage, {summary.currency}")
    table.add_column("stage")
    table.add_column("requests", justify="right")
    table.add_column("amount", justify="right")
    for stage, (count, minor) in summary.stages.items():
        table.add_row(stage, f"{count:,}", shown(minor))
    table.add_section()
    table.add_row("all", f"{sum(count for count, _minor in summary.stages.values()):,}",
                  shown(sum(minor for _count, minor in summary.stages.values())))
    return table


def _grouped(text: str) -> str:
    """A plain decimal with its thousands apart."""
    whole, point, decimals = text.partition(".")
    return f"{int(whole):,}{point}{decimals}"
