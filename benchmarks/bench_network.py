"""Measure a network of four organisations on this machine, as its users meet it.

    python benchmarks/bench_network.py --seconds 300 --output build/bench-network.json

Four members with a vote, each with its node and its CometBFT as processes of their own, on loopback, founded by joins.
This process signs points transfers beforehand, hands each in at one node over HTTP, and counts it when its receipt has
come back; every node checks every signature and executes everything. Afterwards all nodes are compared.

Measured are: the transfers a second when as much is handed in as is answered; the time of one at half of that; where
the processor time goes; how long there is no new block after a validator is killed under load, and after how long it
is back; the same with one validator away; and how long a node takes that begins with a snapshot of a million rows.
"""

import argparse
import contextlib
import http.client
import itertools
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from guildbook.chain.receipt import Outcome, decode_receipt
from guildbook.chain.transaction import build_transaction
from guildbook.cli.bench import Figure, machine, percentile, profile_terms, write_figures
from guildbook.client.keyfile import read_key
from guildbook.node.applications import load_applications
from guildbook.node.folder import NodeFolder
from guildbook.node.snapshots import SnapshotStore
from guildbook.primitives.hashing import tagged
from guildbook.primitives.keys import SigningKey
from guildbook.runtime.arguments import bind
from guildbook.testing.network import LocalNetwork, LocalNode, Organisation, free_ports

NETWORK = "bench-net"
PROGRAMME = "bench"
MEMBERS = ("anchor", "kettle", "lantern", "moss")
ISSUER = MEMBERS[0]
VICTIM = MEMBERS[3]
VALID_UNTIL = 900_000
CALLS_PER_SETUP_TRANSACTION = 100
UNITS_PER_ACCOUNT = 10_000_000
PACED_BATCH = 10
PACED_CONNECTIONS = 64
WARM_S = 3.0
GAP_WATCHED_S = 20.0
SYNC_ROWS_PER_TRANSACTION = 2_500
SYNC_INTERVAL_BLOCKS = 20

_encode = msgspec.msgpack.Encoder().encode
_decode_answers = msgspec.msgpack.Decoder(list[tuple[bytes, bytes | None, str | None]]).decode


class World(NamedTuple):
    """What is loaded: accounts spread over wallets, wallets spread over members; and how it is handed in."""

    accounts: int
    wallets: int
    batch: int
    connections: int
    settings: dict[str, Any]


def say(text: str) -> None:
    """Tell whoever waits."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def account(number: int) -> str:
    """The id of an account."""
    return f"m{number:07d}"


# the world ---------------------------------------------------------------------------------------------------------


def found(folder: Path, world: World) -> LocalNetwork:
    """A founded network of which nothing runs yet."""
    organisations = []
    for place, one in enumerate(MEMBERS):
        parties: dict[str, list[str]] = {
            f"w{number}": [] for number in range(place, world.wallets, len(MEMBERS))
        }
        if one == ISSUER:
            parties |= {"officer": ["points:issuer", "points:operator"], "approver": ["points:approver"]}
        organisations.append(Organisation(one, parties))
    return LocalNetwork.found(
        folder, organisations, ["points"], network=NETWORK, settings=world.settings,
        parameters={"calls_per_transaction_max": 256},
    )  # fmt: skip


class Keys:
    """The keys of the wallets and of the issuer's people."""

    def __init__(self, network: LocalNetwork, wallets: int) -> None:
        self._network = network
        self.wallets = [
            read_key(network.node(MEMBERS[one % len(MEMBERS)]).path / "keys" / f"w{one}.key")
            for one in range(wallets)
        ]

    def issuer(self, party: str) -> SigningKey:
        """The key of one of the issuer's people."""
        return read_key(self._network.node(ISSUER).path / "keys" / f"{party}.key")


def fill(network: LocalNetwork, keys: Keys, world: World) -> None:
    """Register the programme, and give each account a lot."""
    commands = load_applications(["points"])[0].commands
    source = random.Random(2)

    def run(party: str, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        bound = [("points", name, bind(commands[name], (), arguments)) for name, arguments in calls]
        return must(network.node(ISSUER), [_signed(keys.issuer(party), source, bound)])[0]

    now = network.genesis.time_ms
    run(
        "officer",
        (
            "register_programme",
            {"programme": PROGRAMME, "issuer": ISSUER, "supervisor": ISSUER, "unit": "BENCH"},
        ),
    )
    run("officer", ("publish_profile", profile_terms(now)))
    units = UNITS_PER_ACCOUNT * world.accounts * 2
    (proposal,) = run(
        "officer", ("propose_quota", {"programme": PROGRAMME, "units": units, "reason": "bench"})
    )
    run("approver", ("approve_quota", {"proposal": proposal, "programme": PROGRAMME, "units": units}))
    officer, step = keys.issuer("officer"), CALLS_PER_SETUP_TRANSACTION
    for make in (
        lambda n: ("points", "enrol", [account(n), f"w{n % world.wallets}"]),
        lambda n: ("points", "issue", [PROGRAMME, account(n), UNITS_PER_ACCOUNT, tagged("line", b"%d" % n)]),
    ):
        envelopes = [
            _signed(officer, source, [make(n) for n in range(first, min(first + step, world.accounts))])
            for first in range(0, world.accounts, step)
        ]
        for first in range(0, len(envelopes), 20):
            must(network.node(ISSUER), envelopes[first : first + 20])


def _signed(key: SigningKey, source: random.Random, calls: list[tuple[str, str, list[Any]]]) -> bytes:
    return build_transaction(NETWORK, key, VALID_UNTIL, source.getrandbits(128).to_bytes(16, "big"), calls)


def must(node: LocalNode, envelopes: list[bytes]) -> list[list[Any]]:
    """Hand in what must be applied; the results."""
    with Connection(node) as connection:
        receipts = [
            decode_receipt(receipt or b"") for _id, receipt, _code in connection.batch(_encode(envelopes))
        ]
    assert all(one.outcome == Outcome.APPLIED for one in receipts), receipts[:3]
    return [one.results for one in receipts]


def transfers(seed: int, count: int, size: int, seeds: list[bytes], accounts: int) -> list[bytes]:
    """``count`` bodies of the batch route, each of ``size`` signed transfers between random accounts."""
    source = random.Random(seed)
    keys = [SigningKey.from_seed(one) for one in seeds]

    def one() -> bytes:
        giver = source.randrange(accounts)
        taker = (giver + 1 + source.randrange(accounts - 1)) % accounts
        call = ("points", "transfer", [PROGRAMME, account(giver), account(taker), source.randrange(1, 50)])
        return _signed(keys[giver % len(keys)], source, [call])

    return [_encode([one() for _ in range(size)]) for _ in range(count)]


def presigned(keys: Keys, world: World, count: int, size: int, seed: int) -> list[bytes]:
    """Bodies with ``count`` transfers in batches of ``size``, signed by as many processes as there are cores."""
    seeds = [one.seed for one in keys.wallets]
    bodies = -(-count // size)
    parts = max(1, bodies // 100)
    shares = [bodies // parts + (1 if place < bodies % parts else 0) for place in range(parts)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        made = pool.map(
            transfers, range(seed * 1_000_003, seed * 1_000_003 + parts), shares,
            itertools.repeat(size), itertools.repeat(seeds), itertools.repeat(world.accounts),
        )  # fmt: skip
        return [body for share in made for body in share]


# talking -----------------------------------------------------------------------------------------------------------


class Connection:
    """A kept connection to a node."""

    def __init__(self, node: LocalNode) -> None:
        if not node.url:
            node.wait_answering()
        place = urlsplit(node.url)
        self._connection = http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port, timeout=120)

    def batch(self, body: bytes) -> list[tuple[bytes, bytes | None, str | None]]:
        """Hand in a batch; its answers when all of it is durable."""
        self._connection.request(
            "POST", "/v1/transactions/batch", body, {"Content-Type": "application/msgpack"}
        )
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise OSError(f"a batch was answered with {answer.status}: {data[:300]!r}")
        return _decode_answers(data)

    def text(self, path: str) -> str:
        """A page."""
        self._connection.request("GET", path)
        return self._connection.getresponse().read().decode()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()


class _Outcome(msgspec.Struct, array_like=True, gc=False):
    """The first fields of a receipt."""

    transaction: bytes
    height: int
    index: int
    outcome: int


_outcome = msgspec.msgpack.Decoder(_Outcome).decode


class Given(NamedTuple):
    """What a stretch of load gave: what came back in which seconds, and the time of each batch, ms, in order."""

    applied: int
    refused: int
    failed: int
    seconds: float
    times_ms: list[float]


def load(
    nodes: Sequence[LocalNode],
    bodies: Sequence[bytes],
    seconds: float,
    connections: int,
    rate: float | None = None,
) -> Given:
    """Hand in ``bodies`` at ``nodes`` in turn for ``seconds``, over ``connections`` each.

    Without ``rate`` a connection sends its next batch when the last is answered. With it (batches a second, in all)
    each batch has its moment, fixed beforehand, and its time counts from there. A connection that breaks ends.
    """
    lock = threading.Lock()
    waiting = iter(enumerate(bodies))
    counts: Counter[str] = Counter()
    times: list[float] = []
    began = time.perf_counter() + (0.2 if rate else 0)
    ends = began + seconds

    def send(node: LocalNode) -> None:
        with Connection(node) as connection:
            while True:
                with lock:
                    number, body = next(waiting, (0, None))
                due = time.perf_counter() if rate is None else began + number / rate
                if body is None or due >= ends:
                    return
                time.sleep(max(0, due - time.perf_counter()))
                try:
                    answers = connection.batch(body)
                except (OSError, http.client.HTTPException):
                    counts["failed"] += 1
                    return
                now = time.perf_counter()
                good = sum(
                    1
                    for _id, receipt, _code in answers
                    if receipt is not None and _outcome(receipt).outcome == Outcome.APPLIED
                )
                with lock:
                    times.append((now - due) * 1e3)
                    if now <= ends or rate:
                        counts["applied"] += good
                        counts["refused"] += len(answers) - good

    threads = [threading.Thread(target=send, args=(node,)) for _ in range(connections) for node in nodes]
    for one in threads:
        one.start()
    for one in threads:
        while one.is_alive():
            one.join(10)
            passed = min(time.perf_counter() - began, seconds)
            if one.is_alive():
                applied = counts["applied"]
                say(f"{passed:.0f} s: {applied:,} transfers, {applied / max(passed, 1):,.0f} a second")
    assert rate or next(waiting, None) is None or time.perf_counter() >= ends
    spent = min(seconds, time.perf_counter() - began)
    return Given(counts["applied"], counts["refused"], counts["failed"], spent, sorted(times))


# processor time ----------------------------------------------------------------------------------------------------


def processor(nodes: Sequence[LocalNode]) -> Counter[str]:
    """Processor seconds so far of the processes of ``nodes`` and of this one, by kind."""
    found: Counter[str] = Counter()
    for node in nodes:
        for pid in _family(node.pid):
            found[_kind(pid, node.pid)] += _seconds(pid)
    found["load generator"] = sum(os.times()[:2])  # type: ignore[assignment]
    return found


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
    return found


def _kind(pid: int, node: int) -> str:
    if pid == node:
        return "node"
    with contextlib.suppress(OSError):
        if Path(f"/proc/{pid}/comm").read_text().strip() == "cometbft":
            return "cometbft"
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"duckdb" in Path(f"/proc/{pid}/maps").read_bytes():
            return "views"
        if b"spawn_main" in words:
            return "signature workers"
    return "other"


def _seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stages(nodes: Sequence[LocalNode]) -> Counter[str]:
    """Seconds that the nodes spent on blocks, by stage, and how many blocks and transactions."""
    found: Counter[str] = Counter()
    for node in nodes:
        with Connection(node) as connection:
            for stage, seconds in re.findall(
                r'guildbook_stage_seconds_total\{stage="(\w+)"\} (\S+)', connection.text("/metrics")
            ):
                found[stage] += float(seconds)  # type: ignore[assignment]
    return found


# figures -----------------------------------------------------------------------------------------------------------


class Bench:
    """One world, measured."""

    def __init__(self, network: LocalNetwork, world: World, told: str) -> None:
        self.network = network
        self.world = world
        self.told = told
        self.keys = Keys(network, world.wallets)
        self.figures: list[Figure] = []
        self._seed = itertools.count(11)

    def figure(self, name: str, value: float, unit: str, more: str, digits: int = 1) -> None:
        """Note and tell one."""
        self.figures.append(Figure(name, round(value, digits), unit, f"{more}; {self.told}"))
        say(f"{name:44} {value:12,.{digits}f} {unit}")

    def bodies(self, count: float, size: int) -> list[bytes]:
        """Signed transfers in batches."""
        return presigned(self.keys, self.world, max(size, int(count)), size, next(self._seed))

    def full(self, nodes: Sequence[LocalNode], seconds: float, suffix: str, most: float) -> float:
        """As much as is answered; the transfers a second."""
        world = self.world
        bodies = self.bodies(most * (seconds + WARM_S), world.batch)
        warm = len(bodies) * int(WARM_S) // int(seconds + WARM_S)
        load(nodes, bodies[:warm], WARM_S, world.connections)
        before, spent, height = processor(nodes), stages(nodes), nodes[0].height
        given = load(nodes, bodies[warm:], seconds, world.connections)
        after, spent_after, blocks = processor(nodes), stages(nodes), nodes[0].height - height
        rate = given.applied / given.seconds
        how = (
            f"{len(nodes)} nodes, {given.seconds:.0f} s, {given.refused} refused, {given.failed} failed, "
            f"{blocks} blocks, batches of {world.batch} over {world.connections} connections to each node"
        )
        self.figure(f"network_transfers_per_second{suffix}", rate, "1/s", how)
        count = max(given.applied, 1)
        for kind in sorted(after):
            name = f"network_processor_{kind.replace(' ', '_')}_us{suffix}"
            each = (after[kind] - before[kind]) / count * 1e6
            self.figure(name, each, "us/transaction", f"all {len(nodes)} nodes together; {how}")
        for stage in sorted(spent_after):
            each = (spent_after[stage] - spent[stage]) / count * 1e6 / len(nodes)
            told = f"mean of the nodes, wall time; {how}"
            self.figure(f"network_stage_{stage}_us{suffix}", each, "us/transaction", told)
        return rate

    def paced(self, nodes: Sequence[LocalNode], seconds: float, suffix: str, rate: float) -> None:
        """The time of a transfer at ``rate`` transfers a second."""
        bodies = self.bodies(rate * seconds, PACED_BATCH)
        given = load(nodes, bodies, seconds, PACED_CONNECTIONS, rate / PACED_BATCH)
        how = (
            f"{len(nodes)} nodes, {rate:.0f} transfers a second in batches of {PACED_BATCH}, {given.seconds:.0f} s, "
            f"from the due moment to the receipts, {given.refused} refused, {given.failed} failed"
        )
        self.figure(f"network_commit_p50_ms{suffix}", percentile(given.times_ms, 0.5), "ms", how)
        self.figure(f"network_commit_p99_ms{suffix}", percentile(given.times_ms, 0.99), "ms", how)

    def recovery(self, rate: float) -> None:
        """Kill a validator under load: the longest time without a new block, and until it is back."""
        others = [one for one in self.network.nodes if one.organisation.id != VICTIM]
        victim = self.network.node(VICTIM)
        seconds = GAP_WATCHED_S + 5
        bodies = self.bodies(rate * seconds, PACED_BATCH)
        loading = threading.Thread(
            target=load, args=(others, bodies, seconds, PACED_CONNECTIONS, rate / PACED_BATCH)
        )
        loading.start()
        time.sleep(3)
        victim.kill()
        killed = last = time.perf_counter()
        height, longest = others[0].height, 0.0
        while (now := time.perf_counter()) - killed < GAP_WATCHED_S:
            if (found := others[0].height) > height:
                longest, last, height = max(longest, now - last), now, found
            time.sleep(0.02)
        longest = max(longest, now - last)
        loading.join()
        how = (
            f"longest time without a new block after a kill -9 of node and engine; {rate:.0f} transfers a second at "
            f"the other three, {GAP_WATCHED_S:.0f} s watched"
        )
        self.figure("recovery_after_kill_s", longest, "s", how, 2)

    def back(self) -> None:
        """Start the killed validator: until it is ready, and until it has the others' height."""
        victim = self.network.node(VICTIM)
        height = self.network.nodes[0].height
        began = time.perf_counter()
        victim.start()
        victim.wait_ready()
        victim.wait_height(height)
        spent = time.perf_counter() - began
        self.figure("network_killed_node_back_s", spent, "s", f"from its start to height {height}", 2)


def state_sync(folder: Path, rows: int) -> list[Figure]:
    """A node that begins with a snapshot of ``rows`` rows: from its start until it has the height of the others."""
    path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    members = MEMBERS[:2]
    network = LocalNetwork.found(
        folder,
        [Organisation(one, {f"clerk-{one}": ["bulk:issuer"]}) for one in members],
        ["bulk_contract:Bulk"],
        network=NETWORK,
        settings={"log.level": "warning", "snapshots.interval_blocks": 0},
        parameters={"rows_touched_max": 1_000_000},
        environment={**os.environ, "PYTHONPATH": path},
    )
    ports = free_ports(len(members))
    with network:
        for node, port in zip(network.nodes, ports, strict=True):
            node.configure(network__rpc_listen=f"127.0.0.1:{port}")
        network.start()
        anchor = network.node(ISSUER)
        client = anchor.client(f"clerk-{ISSUER}", timeout_s=120)
        began = time.perf_counter()
        for first in range(0, rows, SYNC_ROWS_PER_TRANSACTION * 4):
            numbers = range(
                first, min(rows, first + SYNC_ROWS_PER_TRANSACTION * 4), SYNC_ROWS_PER_TRANSACTION
            )
            calls = [
                ("bulk.fill", {"first": one, "count": min(SYNC_ROWS_PER_TRANSACTION, rows - one)})
                for one in numbers
            ]
            answers = client.batch([client.sign([one]) for one in calls])
            assert all(one.receipt is not None for one in answers), answers
            if first % 200_000 == 0:
                say(f"{first:,} rows")
        filled = time.perf_counter() - began
        network.stop()
        for node in network.nodes:
            node.configure(snapshots__interval_blocks=SYNC_INTERVAL_BLOCKS)
        network.start()
        client = anchor.client(f"clerk-{ISSUER}", timeout_s=120)
        number = itertools.count(rows)
        wanted = (anchor.height // SYNC_INTERVAL_BLOCKS + 1) * SYNC_INTERVAL_BLOCKS
        while anchor.height < wanted + 3:
            client.call("bulk.fill", first=next(number), count=1)
        stores = [SnapshotStore(NodeFolder(one.path).snapshots, 2) for one in network.nodes]
        began = time.perf_counter()
        while not all(any(found.height == wanted for found in one.list()) for one in stores):
            time.sleep(0.1)
        taking = time.perf_counter() - began
        trusted = anchor.client().block(wanted - 1)
        late = network.add_observer("late")
        late.configure(
            network__state_sync_servers=",".join(f"http://127.0.0.1:{port}" for port in ports),
            network__state_sync_height=trusted.height,
            network__state_sync_block_hash=trusted.hash,
        )
        began = time.perf_counter()
        late.start()
        late.wait_ready(600)
        late.wait_height(anchor.height, 600)
        spent = time.perf_counter() - began
        network.same_roots()
    how = (
        f"a node that begins with a snapshot of {rows:,} rows with one index, from its start until it is ready at the "
        f"height of the two members that serve it, all on one machine; the rows were written in {filled:.0f} s and the "
        f"snapshot was there {taking:.0f} s after its block; {machine()}"
    )
    say(f"state sync of {rows:,} rows: {spent:.1f} s")
    return [
        Figure(
            "state_sync_1m_rows_s" if rows == 1_000_000 else f"state_sync_{rows}_rows_s",
            round(spent, 2),
            "s",
            how,
        )
    ]


@contextlib.contextmanager
def folder_of(given: Path | None) -> Iterator[Path]:
    """A folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="guildbook-bench-network-", dir=given))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--wallets", type=int, default=100)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--connections", type=int, default=8, help="to each node")
    parser.add_argument("--most", type=float, default=3_000, help="transfers a second to sign beforehand for")
    parser.add_argument("--views", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--signature-workers", type=int, default=1)
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.NAME=VALUE", help="of every node"
    )
    parser.add_argument("--only", default="", help="full, paced, recovery, down, sync (several with commas)")
    parser.add_argument("--sync-rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    settings: dict[str, Any] = {
        "views.enabled": given.views,
        "sequencer.signature_workers": given.signature_workers,
        "log.level": "warning",
    }
    settings |= {
        name: msgspec.json.decode(value) for name, _, value in (one.partition("=") for one in given.set)
    }
    world = World(given.accounts, given.wallets, given.batch, given.connections, settings)
    told = (
        f"four validators with an application each and the load generator on one machine, individually signed points "
        f"transfers, {world.wallets} signers, {world.accounts:,} accounts, store on disk, one sync a block, "
        f"SQL views {'on' if given.views else 'off'}, {given.signature_workers} signature workers a node"
        + "".join(f", {one}" for one in given.set)
        + f"; {machine()}"
    )
    wanted = set(filter(None, given.only.split(","))) or {"full", "paced", "recovery", "down", "sync"}
    figures: list[Figure] = []
    if "sync" in wanted:
        with folder_of(given.folder) as folder:
            figures += state_sync(folder, given.sync_rows)
    if wanted - {"sync"}:
        figures += loaded(world, told, wanted, given)
    if given.output is not None:
        write_figures(given.output, figures)


def loaded(world: World, told: str, wanted: set[str], given: argparse.Namespace) -> list[Figure]:
    """The figures of one network under load."""
    with folder_of(given.folder) as folder, found(folder, world) as network:
        network.start()
        bench = Bench(network, world, told)
        say(f"load of the machine before: {os.getloadavg()}")
        fill(network, bench.keys, world)
        rate = bench.full(network.nodes, given.seconds, "", given.most) if "full" in wanted else 800.0
        if "paced" in wanted:
            bench.paced(network.nodes, min(given.seconds, 60), "", rate / 2)
        if "recovery" in wanted or "down" in wanted:
            bench.recovery(rate / 2)
            if "down" in wanted:
                others = [one for one in network.nodes if one.organisation.id != VICTIM]
                less = bench.full(others, given.seconds, "_one_down", given.most)
                bench.paced(others, min(given.seconds, 60), "_one_down", less / 2)
            bench.back()
        height, _hash = network.same_roots()
        say(f"all nodes have the same state at height {height}; load of the machine: {os.getloadavg()}")
    return bench.figures


if __name__ == "__main__":
    main()
