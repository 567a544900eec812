"""Measuring a solo node from outside, as its users meet it.

A real node is founded in a temporary folder and started as a process of its own: store on disk, every block synced,
state tree, log and SQL views on. This process signs points transfers beforehand, hands them in over HTTP, and reads
what the node says of itself. Nothing is switched off for the measurement, and a transfer counts when its receipt has
come back.

The world: one issuer with one programme, ``signers`` wallets with a key each, ``accounts`` members spread over
them, each with one lot of points. A transfer moves a few points between two random members, signed by the wallet of
the first.
"""

import contextlib
import hashlib
import http.client
import json
import math
import multiprocessing
import os
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
import msgspec

from guildbook.chain.genesis import GenesisOrganisation, GenesisParty
from guildbook.chain.receipt import Outcome, decode_receipt
from guildbook.chain.transaction import build_transaction, decode_transaction
from guildbook.cli.command import Command
from guildbook.cli.terminal import Terminal
from guildbook.engine.signatures import deaf_to_ctrl_c
from guildbook.evidence.trust import parse_trust
from guildbook.evidence.verify import verify
from guildbook.node.applications import load_applications
from guildbook.node.folder import Founding, NodeFolder, found_node, running_node
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.runtime.arguments import bind

NETWORK = "bench-net"
APPLICATION = "points"
PROGRAMME = "bench"
ISSUER = "bench-issuer"
BATCH_TRANSACTIONS = 500
CALLS_PER_SETUP_TRANSACTION = 100
UNITS_PER_ACCOUNT = 1_000_000
CONNECTIONS = 16
SINGLE_CONNECTIONS = 32
SINGLE_RATE_PER_S = 500
READY_TIMEOUT_S = 120
VALID_UNTIL = 900_000
DAY_MS = 86_400_000
REPORT_EVERY_S = 5.0
START_NODE = (
    "import sys; from pathlib import Path; from guildbook.node.node import open_node; "
    "sys.exit(open_node(Path(sys.argv[1])).serve())"
)

_encode = msgspec.msgpack.Encoder().encode
_decode_answers = msgspec.msgpack.Decoder(list[tuple[bytes, bytes | None, str | None]]).decode

Report = Callable[[str], None]


class Figure(msgspec.Struct, frozen=True):
    """One measured figure with the conditions under which it holds."""

    name: str
    value: float
    unit: str
    conditions: str


class Scale(NamedTuple):
    """The size of a world."""

    accounts: int = 100_000
    signers: int = 500


def machine() -> str:
    """The machine and the versions that decide a figure, on one line."""
    model = "unknown processor"
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        model = found[1] if found else model
    libraries = ", ".join(
        f"{name} {version(name)}" for name in ("msgspec", "rocksdict", "py-ed25519-zebra-bindings", "duckdb")
    )
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores of {model}, {system}, {libraries}"


def wallet_key(number: int) -> SigningKey:
    """The key of wallet ``number``."""
    return SigningKey.from_seed(hashlib.sha256(f"guildbook bench wallet {number}".encode()).digest())


def officer_key() -> SigningKey:
    """The key of the issuer's officer, who also operates the alliance."""
    return SigningKey.from_seed(hashlib.sha256(b"guildbook bench officer").digest())


def approver_key() -> SigningKey:
    """The key of the second pair of eyes."""
    return SigningKey.from_seed(hashlib.sha256(b"guildbook bench approver").digest())


def found_world(folder: Path, scale: Scale, time_ms: int | None = None) -> None:
    """Found a node with the issuer and all wallets in ``folder``; ``time_ms`` is its genesis time (None: now)."""
    issuer = GenesisOrganisation(
        ISSUER,
        "Bench Issuer",
        "XX",
        ["points:approver", "points:issuer", "points:operator"],
        [
            GenesisParty(
                "officer",
                "person",
                "Officer",
                key_text(officer_key().public_key),
                ["points:issuer", "points:operator"],
            ),
            GenesisParty(
                "approver", "person", "Approver", key_text(approver_key().public_key), ["points:approver"]
            ),
        ],
    )
    wallets = GenesisOrganisation(
        "bench-wallets",
        "Bench Wallets",
        "XX",
        [],
        [
            GenesisParty(
                f"w{number}", "service", f"Wallet {number}", key_text(wallet_key(number).public_key), []
            )
            for number in range(scale.signers)
        ],
    )
    founding = Founding(
        network=NETWORK,
        applications=(APPLICATION,),
        organisations=(issuer, wallets),
        parameters={"calls_per_transaction_max": 256},
        time_ms=time_ms,
    )
    found_node(folder, founding, settings={"http.port": 0, "log.level": "warning"})


# making transactions ---------------------------------------------------------------------------------------------


def _nonce(source: random.Random) -> bytes:
    return source.getrandbits(128).to_bytes(16, "big")


def transfer(source: random.Random, scale: Scale) -> bytes:
    """One signed transfer between two random members."""
    giver = source.randrange(scale.accounts)
    taker = (giver + 1 + source.randrange(scale.accounts - 1)) % scale.accounts
    return build_transaction(
        NETWORK,
        wallet_key_of(giver % scale.signers),
        VALID_UNTIL,
        _nonce(source),
        [("points", "transfer", [PROGRAMME, member(giver), member(taker), source.randrange(1, 50)])],
    )


_keys: dict[int, SigningKey] = {}


def wallet_key_of(number: int) -> SigningKey:
    """As ``wallet_key``, remembered."""
    key = _keys.get(number)
    if key is None:
        key = _keys[number] = wallet_key(number)
    return key


def member(number: int) -> str:
    """The id of member ``number``."""
    return f"m{number:07d}"


def signed_batches(seed: int, count: int, scale: Scale, size: int = BATCH_TRANSACTIONS) -> list[bytes]:
    """``count`` bodies of the batch route, each of ``size`` signed transfers."""
    source = random.Random(seed)  # noqa: S311 - a repeatable load, not a secret
    return [_encode([transfer(source, scale) for _ in range(size)]) for _ in range(count)]


def presign(count: int, scale: Scale, seed: int, report: Report) -> list[bytes]:
    """``count`` batch bodies, signed by as many processes as there are cores."""
    report(f"signing {count * BATCH_TRANSACTIONS:,} transfers")
    parts = max(1, count // 40)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        shares = [count // parts + (1 if place < count % parts else 0) for place in range(parts)]
        with deaf_to_ctrl_c():
            found = pool.map(
                signed_batches, [seed * 1_000_003 + place for place in range(parts)], shares, [scale] * parts
            )
        return [body for share in found for body in share]


def setup_batches(scale: Scale) -> Iterator[bytes]:
    """Batch bodies that enrol every member and grant each one lot."""
    source = random.Random(1)  # noqa: S311 - a repeatable load, not a secret
    key = officer_key()
    step = CALLS_PER_SETUP_TRANSACTION
    for make in (
        lambda n: ("points", "enrol", [member(n), f"w{n % scale.signers}"]),
        lambda n: (
            "points",
            "issue",
            [PROGRAMME, member(n), UNITS_PER_ACCOUNT, tagged("bench-line", str(n).encode())],
        ),
    ):
        waiting: list[bytes] = []
        for first in range(0, scale.accounts, step):
            waiting.append(
                build_transaction(
                    NETWORK,
                    key,
                    VALID_UNTIL,
                    _nonce(source),
                    [make(n) for n in range(first, min(first + step, scale.accounts))],
                )
            )
            if len(waiting) == 20:
                yield _encode(waiting)
                waiting = []
        if waiting:
            yield _encode(waiting)


# the node --------------------------------------------------------------------------------------------------------


class RunningBench:
    """A node in a process of its own, and what it says of itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started_s = 0.0
        self.start()

    def start(self) -> None:
        """Start the node and wait until it is ready; ``started_s`` is how long that took."""
        began = time.perf_counter()
        log = (self.folder / "bench.log").open("ab")
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-c", START_NODE, str(self.folder)],
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C stops the measurement, and that stops the node
        )
        log.close()
        while True:
            if self.process.poll() is not None:
                raise GuildbookError(
                    "client.unreachable",
                    f"the node ended with status {self.process.returncode}",
                    hint=f"see {self.folder / 'bench.log'}",
                )
            found = running_node(self.folder)
            if found is not None and found.pid == self.process.pid:
                self.url = found.url
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if self.request("GET", "/v1/health/ready")[0] == 200:
                        break
            if time.perf_counter() - began > READY_TIMEOUT_S:
                raise GuildbookError("client.timeout", "the node was not ready in time", hint="see its log")
            time.sleep(0.01)
        self.started_s = time.perf_counter() - began

    def stop(self) -> None:
        """Stop the node and wait for it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def connection(self) -> http.client.HTTPConnection:
        """A new connection to the node."""
        place = urlsplit(self.url)
        return http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port, timeout=60)

    def request(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/msgpack"
    ) -> tuple[int, bytes]:
        """Status and body of one request."""
        connection = self.connection()
        try:
            connection.request(method, path, body, {"Content-Type": kind} if body is not None else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def submit(self, envelope: bytes) -> list[Any]:
        """Hand in one transaction that must be applied; returns its results."""
        status, body = self.request("POST", "/v1/transactions/batch", _encode([envelope]))
        answers = _decode_answers(body) if status == 200 else []
        if not answers or answers[0][1] is None or decode_receipt(answers[0][1]).outcome != Outcome.APPLIED:
            raise GuildbookError(
                "api.bad_request", f"a transaction of the set-up failed: {status} {body[:300]!r}"
            )
        return decode_receipt(answers[0][1]).results

    def height(self) -> int:
        """Height of the last block."""
        return int(json.loads(self.request("GET", "/v1/status")[1])["height"])

    def sql_height(self) -> int:
        """The height that the views answer for."""
        status, body = self.request("POST", "/v1/sql", b'{"sql": "SELECT 1"}', "application/json")
        return int(json.loads(body)["height"]) if status == 200 else -1

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        text = self.request("GET", "/metrics")[1].decode()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}(\{{|\s)", line)
        )

    def stage_seconds(self) -> dict[str, float]:
        """Seconds that the sequencer has spent, by stage."""
        text = self.request("GET", "/metrics")[1].decode()
        return {
            found[1]: float(found[2])
            for found in re.finditer(r'guildbook_stage_seconds_total\{stage="(\w+)"\} (\S+)', text)
        }

    def memory_mb(self) -> tuple[float, float]:
        """Resident memory of the node's processes, in all and proportional (shared pages counted once), MB."""
        resident = proportional = 0
        for pid in _family(self.process.pid):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                resident += int(re.search(r"^Rss:\s+(\d+)", text, re.M)[1])  # type: ignore[index]
                proportional += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])  # type: ignore[index]
        return resident / 1024, proportional / 1024

    def processor_seconds(self) -> float:
        """Processor time of the node's processes since they began, seconds."""
        ticks = 0
        for pid in _family(self.process.pid):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
    return found


def folder_bytes(path: Path) -> int:
    """The size of all files below ``path``."""
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())


def build_world(node: RunningBench, scale: Scale, report: Report) -> None:
    """Register the programme and give each member a lot."""
    officer, approver = officer_key(), approver_key()
    source = random.Random(2)  # noqa: S311 - a repeatable load, not a secret

    commands = load_applications([APPLICATION])[0].commands

    def run(key: SigningKey, command: str, **arguments: Any) -> list[Any]:
        call = ("points", command, bind(commands[command], (), arguments))
        return node.submit(build_transaction(NETWORK, key, VALID_UNTIL, _nonce(source), [call]))

    now = time.time_ns() // 1_000_000
    run(officer, "register_programme", programme=PROGRAMME, issuer=ISSUER, supervisor=ISSUER, unit="BENCH")
    run(officer, "publish_profile", **profile_terms(now))
    proposal = run(officer, "propose_quota", programme=PROGRAMME, units=10**12, reason="bench")[0]
    run(approver, "approve_quota", proposal=proposal, programme=PROGRAMME, units=10**12)
    connection = node.connection()
    done = 0
    for body in setup_batches(scale):
        connection.request("POST", "/v1/transactions/batch", body, {"Content-Type": "application/msgpack"})
        answers = _decode_answers(connection.getresponse().read())
        for _id, receipt, code in answers:
            if receipt is None or decode_receipt(receipt).outcome != Outcome.APPLIED:
                raise GuildbookError("api.bad_request", f"the set-up was refused: {code} {receipt!r}")
        done += len(answers) * CALLS_PER_SETUP_TRANSACTION
        report(f"set-up: {min(done, 2 * scale.accounts):,} of {2 * scale.accounts:,} calls")
    connection.close()


def profile_terms(now_ms: int) -> dict[str, Any]:
    """Arguments of ``points.publish_profile``: transferable points that live a year, then to the month's end."""
    lei = "0000BENCHISSUER000"
    remainder = int("".join(str(int(one, 36)) for one in lei + "00")) % 97
    return {
        "programme": PROGRAMME,
        "effective_from": now_ms - DAY_MS,
        "issuer_lei": f"{lei}{98 - remainder:02d}",
        "currency": "GBP",
        "nominal_numerator": 1,
        "nominal_denominator": 1,
        "earn_rule": "line-floor",
        "earn_rule_version": 1,
        "earn_units": 1,
        "earn_per_minor": 100,
        "pending_days": 0,
        "validity": "rolling_days",
        "validity_length": 365,
        "zone": "Etc/UTC",
        "period_ends": tuple(now_ms + month * 30 * DAY_MS for month in range(1, 40)),
        "transferable": True,
        "exchangeable": False,
        "scope": "partners",
        "reserve_numerator": 1,
        "reserve_denominator": 2,
        "terms": tagged("bench-terms"),
        "notice_days": 5,
    }


# measuring -------------------------------------------------------------------------------------------------------


class Load(NamedTuple):
    """What a stretch of load gave."""

    applied: int
    refused: int
    seconds: float
    lag_s: float
    stages_us: dict[str, float]
    node_processor_s: float
    sample_transaction: bytes


class _LagWatch(threading.Thread):
    """Samples how far the views are behind the ledger, in seconds."""

    def __init__(self, node: RunningBench) -> None:
        super().__init__(daemon=True)
        self._node = node
        self._halt = threading.Event()
        self.worst_s = 0.0
        self.samples: list[float] = []

    def run(self) -> None:
        seen: list[tuple[float, int]] = []
        while not self._halt.wait(0.1):
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
                seen.append((time.perf_counter(), self._node.height()))
                answered = self._node.sql_height()
                now = time.perf_counter()
                missing = next((moment for moment, height in seen if height > answered), now)
                self.samples.append(now - missing)
                seen = [one for one in seen if one[1] > answered][-2000:]

    def finish(self) -> float:
        """The greatest lag seen, seconds."""
        self._halt.set()
        self.join(10)
        return max(self.samples, default=math.nan)


@contextlib.contextmanager
def _sending(send: Callable[[], None], count: int) -> Iterator[list[threading.Thread]]:
    """``count`` threads that run ``send``. Once the block is left by Ctrl-C, nobody is told what they meet."""
    left = threading.Event()

    def run() -> None:
        try:
            send()
        except (OSError, http.client.HTTPException, GuildbookError):
            if not left.is_set():
                raise

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for one in threads:
        one.start()
    try:
        yield threads
    except BaseException:
        left.set()
        raise


def drive(node: RunningBench, bodies: list[bytes], seconds: float, report: Report) -> Load:
    """Hand in batches over CONNECTIONS connections for ``seconds``; counts what was answered within that time."""
    before, processor = node.stage_seconds(), node.processor_seconds()
    transactions = node.metric("guildbook_transactions_total")
    lock = threading.Lock()
    waiting = iter(bodies)
    counts = {"applied": 0, "refused": 0}
    sample = decode_transaction(msgspec.msgpack.decode(bodies[0])[0]).id
    watch = _LagWatch(node)
    watch.start()
    began = time.perf_counter()
    ends = began + seconds
    last = [began]

    def send() -> None:
        connection = node.connection()
        while time.perf_counter() < ends:
            with lock:
                body = next(waiting, None)
            if body is None:
                break
            connection.request(
                "POST", "/v1/transactions/batch", body, {"Content-Type": "application/msgpack"}
            )
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 200:
                raise GuildbookError(
                    "api.bad_request", f"a batch was answered with {answer.status}: {data[:300]!r}"
                )
            answers = _decode_answers(data)
            # the outcome is the fourth field of a receipt, behind an id of 32 bytes, height and index
            applied = sum(
                1
                for _id, receipt, _code in answers
                if receipt is not None and _outcome(receipt) == Outcome.APPLIED
            )
            now = time.perf_counter()
            with lock:
                if now <= ends:
                    counts["applied"] += applied
                    counts["refused"] += len(answers) - applied
                    last[0] = now
        connection.close()

    with _sending(send, CONNECTIONS) as threads:
        while any(one.is_alive() for one in threads):
            time.sleep(1)
            passed = time.perf_counter() - began
            report(
                f"{min(passed, seconds):.0f} of {seconds:.0f} s: {counts['applied']:,} transfers, "
                f"{counts['applied'] / max(passed, 1e-9):,.0f} a second"
            )
    exhausted = next(waiting, None) is None
    took = last[0] - began if exhausted else seconds
    lag = watch.finish()
    after = node.stage_seconds()
    passed_through = node.metric("guildbook_transactions_total") - transactions
    stages = {name: (after[name] - before.get(name, 0.0)) / max(passed_through, 1) * 1e6 for name in after}
    return Load(
        counts["applied"], counts["refused"], took, lag, stages, node.processor_seconds() - processor, sample
    )


class _Outcome(msgspec.Struct, array_like=True, gc=False):
    """The first fields of a receipt."""

    transaction: bytes
    height: int
    index: int
    outcome: int


_decode_outcome = msgspec.msgpack.Decoder(_Outcome).decode


def _outcome(receipt: bytes) -> int:
    return _decode_outcome(receipt).outcome


def drive_single(node: RunningBench, scale: Scale, seconds: float, rate: int, report: Report) -> list[float]:
    """Single submissions at a fixed rate; the time of each from its due moment to its receipt, milliseconds.

    Due moments are fixed beforehand, so a slow answer does not slow the load down.
    """
    count = int(rate * seconds)
    source = random.Random(7)  # noqa: S311 - a repeatable load, not a secret
    envelopes = [transfer(source, scale) for _ in range(count)]
    times: list[float] = []
    lock = threading.Lock()
    place = iter(range(count))
    began = time.perf_counter() + 0.5

    def send() -> None:
        connection = node.connection()
        while True:
            with lock:
                number = next(place, None)
            if number is None:
                break
            due = began + number / rate
            rest = due - time.perf_counter()
            if rest > 0:
                time.sleep(rest)
            connection.request(
                "POST", "/v1/transactions", envelopes[number], {"Content-Type": "application/msgpack"}
            )
            answer = connection.getresponse()
            answer.read()
            took = (time.perf_counter() - due) * 1e3
            with lock:
                times.append(took if answer.status == 200 else math.inf)
        connection.close()

    with _sending(send, SINGLE_CONNECTIONS) as threads:
        for one in threads:
            while one.is_alive():
                one.join(1)
                report(f"{len(times):,} of {count:,} single submissions")
    return sorted(times)


def percentile(ordered: list[float], share: float) -> float:
    """The value below which ``share`` of an ordered list lies."""
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


@contextlib.contextmanager
def world(scale: Scale, report: Report, keep: Path | None = None) -> Iterator[RunningBench]:
    """A founded, filled and running node in a temporary folder, which is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="guildbook-bench-")) if keep is None else keep
    node = None
    try:
        found_world(folder / "node", scale)
        node = RunningBench(folder / "node")
        build_world(node, scale, report)
        yield node
    finally:
        if node is not None:
            node.stop()
        shutil.rmtree(folder, ignore_errors=True)


def conditions(scale: Scale, more: str = "") -> str:
    """The conditions that all figures of a world share."""
    return (
        f"individually signed points transfers, {scale.signers} signers, {scale.accounts:,} accounts, store on disk, "
        f"one sync a block, state tree, log and SQL views on, batches of {BATCH_TRANSACTIONS} over {CONNECTIONS} "
        f"connections on the same machine{more}; {machine()}"
    )


def transfers_per_second(seconds: float, scale: Scale, report: Report) -> Figure:
    """The first figure alone."""
    bodies = presign(max(2, int(seconds * 14)), scale, 11, report)
    with world(scale, report) as node:
        load = drive(node, bodies, seconds, report)
    return Figure(
        "solo_transfers_per_second",
        round(load.applied / load.seconds, 1),
        "1/s",
        conditions(scale, f"; {load.seconds:.0f} s, {load.refused} refused"),
    )


def load_figures(seconds: float, scale: Scale, report: Report) -> list[Figure]:
    """Throughput, stages, lag, disk, single submissions and evidence on one world."""
    bodies = presign(max(2, int(seconds * 14)), scale, 11, report)
    figures: list[Figure] = []
    with world(scale, report) as node:
        size = folder_bytes(NodeFolder(node.folder).store)
        load = drive(node, bodies, seconds, report)
        told = conditions(scale, f"; {load.seconds:.0f} s, {load.refused} refused")
        figures.append(
            Figure("solo_transfers_per_second", round(load.applied / load.seconds, 1), "1/s", told)
        )
        figures.append(
            Figure("views_lag_s", round(load.lag_s, 3), "s", f"greatest of samples each 0.1 s; {told}")
        )
        figures.extend(
            Figure(f"stage_{name}_us", round(value, 2), "us/transaction", told)
            for name, value in load.stages_us.items()
        )
        figures.append(
            Figure(
                "node_processor_us",
                round(load.node_processor_s / max(load.applied, 1) * 1e6, 1),
                "us/transaction",
                f"all processes of the node; {told}",
            )
        )
        grown = folder_bytes(NodeFolder(node.folder).store) - size
        figures.append(
            Figure("disk_bytes_per_transaction", round(grown / max(load.applied, 1), 1), "bytes", told)
        )
        times = drive_single(node, scale, min(seconds, 30), SINGLE_RATE_PER_S, report)
        single = (
            f"single submissions over HTTP at {SINGLE_RATE_PER_S} a second, {len(times)} of them, from the due moment "
            f"to the receipt; {machine()}"
        )
        figures.append(Figure("single_submit_p99_ms", round(percentile(times, 0.99), 2), "ms", single))
        figures.append(Figure("single_submit_p50_ms", round(percentile(times, 0.50), 2), "ms", single))
        figures.extend(evidence_figures(node, load.sample_transaction))
    return figures


def evidence_figures(node: RunningBench, transaction: bytes) -> list[Figure]:
    """Size of a receipt's evidence file, and the time to verify it."""
    status, data = node.request("GET", f"/v1/evidence/receipt/{transaction.hex()}")
    if status != 200:
        raise GuildbookError("evidence.not_available", f"the node answered {status}: {data[:300]!r}")
    genesis = json.loads(NodeFolder(node.folder).genesis.read_bytes())
    trust = parse_trust(
        json.dumps(
            {
                "network": NETWORK,
                "validator_sets": [
                    {
                        "first_height": 1,
                        "validators": [
                            {"key": one["key"], "power": one["power"]} for one in genesis["validators"]
                        ],
                    }
                ],
            }
        ).encode()
    )
    verify(data, trust)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        verify(data, trust)
        times.append((time.perf_counter() - began) * 1e3)
    receipts = int(node.metric("guildbook_transactions_total"))
    told = f"a receipt with its transaction, log of {receipts:,} receipts; {machine()}"
    return [
        Figure("evidence_bytes", len(data), "bytes", told),
        Figure("evidence_verify_ms", round(statistics.median(times), 3), "ms", f"median of 50; {told}"),
    ]


def rows_of(node: RunningBench) -> int:
    """Rows in the points contract's tables, by SQL."""
    statement = (
        "SELECT (SELECT count(*) FROM points.members) + (SELECT count(*) FROM points.lots)"
        " + (SELECT count(*) FROM points.earnings)"
    )
    status, body = node.request(
        "POST", "/v1/sql", json.dumps({"sql": statement}).encode(), "application/json"
    )
    return int(json.loads(body)["rows"][0][0]) if status == 200 else -1


def million_figures(report: Report, seconds: float = 10) -> list[Figure]:
    """Memory, restart and throughput at a million rows, and throughput at ten thousand."""
    figures = []
    for accounts in (3_400, 34_000, 340_000):
        scale = Scale(accounts)
        bodies = presign(int(seconds * 14), scale, accounts, report)
        with world(scale, report) as node:
            rows = rows_of(node)
            load = drive(node, bodies, seconds, report)
            figures.append(
                Figure(
                    f"transfers_per_second_at_{accounts * 3 // 1000}k_rows",
                    round(load.applied / load.seconds, 1),
                    "1/s",
                    conditions(scale, f"; {rows:,} rows before, {seconds:.0f} s"),
                )
            )
            if accounts == 340_000:
                resident, proportional = node.memory_mb()
                rows = rows_of(node)
                told = (
                    f"{rows:,} rows, all processes of the node, after {load.applied:,} transfers; {machine()}"
                )
                figures.append(Figure("resident_mb_at_1m_rows", round(resident, 1), "MB", told))
                figures.append(
                    Figure(
                        "proportional_mb_at_1m_rows",
                        round(proportional, 1),
                        "MB",
                        f"pages shared between the processes counted once; {told}",
                    )
                )
                node.stop()
                node.start()
                figures.append(
                    Figure(
                        "restart_s_at_1m_rows",
                        round(node.started_s, 2),
                        "s",
                        f"from process start to ready over HTTP, {rows:,} rows; {machine()}",
                    )
                )
    return figures


def write_figures(path: Path, figures: list[Figure]) -> None:
    """Put ``figures`` into the JSON list in ``path``, in place of those of the same names."""
    kept: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else []
    names = {one.name for one in figures}
    listed = [
        *(one for one in kept if one["name"] not in names),
        *(msgspec.to_builtins(one) for one in figures),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(listed, indent=2) + "\n", "utf-8")


@click.command(
    cls=Command,
    examples=[
        "guildbook bench --seconds 20",
        "guildbook bench --seconds 60 --json",
        "guildbook bench --all --output build/bench.json",
    ],
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 86_400),
    default=60.0,
    show_default=True,
    help="How long the load lasts.",
)
@click.option(
    "--accounts",
    type=click.IntRange(10, 10_000_000),
    default=Scale().accounts,
    show_default=True,
    help="Members of the programme.",
)
@click.option(
    "--signers",
    type=click.IntRange(1, 10_000),
    default=Scale().signers,
    show_default=True,
    help="Keys that sign.",
)
@click.option("--all", "everything", is_flag=True, help="Measure every figure; takes a quarter of an hour.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures to this file."
)
@click.pass_obj
def bench(
    terminal: Terminal, seconds: float, accounts: int, signers: int, everything: bool, output: Path | None
) -> None:
    """Measure a solo node on this machine: signed transfers over HTTP against a node of its own.

    A node is founded in a temporary folder, filled, measured and removed. Each figure is told with the conditions
    under which it holds. Without --all it is the first figure alone.
    """
    last = [0.0]

    def report(text: str) -> None:
        if time.monotonic() - last[0] >= REPORT_EVERY_S:
            last[0] = time.monotonic()
            terminal.note(text)

    scale = Scale(accounts, signers)
    if everything:
        figures = [*load_figures(seconds, scale, report), *million_figures(report)]
    else:
        figures = [transfers_per_second(seconds, scale, report)]
    if output is not None:
        write_figures(output, figures)
    documents = [msgspec.to_builtins(one) for one in figures]
    lines = [f"{one.name:36} {one.value:>14,.2f} {one.unit}" for one in figures]
    terminal.answer(
        documents, [*lines, "", *dict.fromkeys(f"{one.name}: {one.conditions}" for one in figures)]
    )
