"""A whole network on this machine: every member's node and its CometBFT as processes of their own, on loopback.

The network is founded as real members found one (proposal, signed joins, one genesis), and each node is run by
``guildbook run``; so what a test does to it happens to what members run. Nodes can be stopped, killed, paused and
started again one by one.

    with LocalNetwork.found(folder, [Organisation("moss", {"till": ["points:issuer"]}), ...], ["points"]) as network:
        network.node("moss").client("till").call("points.issue", ...)
        network.same_roots()

It needs CometBFT on this machine (``guildbook.engine.cometbft.obtain_binary``). All keys are drawn here, so such a
network is for tests and demonstrations alone.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import msgspec

from guildbook.chain.genesis import Genesis
from guildbook.client import Client
from guildbook.client.keyfile import new_key, read_key, write_key
from guildbook.evidence.trust import Trust, TrustedSet
from guildbook.node.config import default_config_text
from guildbook.node.folder import FOLDER_MODE, NodeFolder, running_node
from guildbook.node.joining import (
    Join,
    JoiningParty,
    Peers,
    ProposedMember,
    collect,
    make_join,
    make_proposal,
)
from guildbook.node.member import accept_genesis, observe
from guildbook.primitives.errors import GuildbookError

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.03
LOG_FILE = "node.log"
QUICK: Mapping[str, Any] = {
    "http.port": 0,
    "views.enabled": False,
    "sequencer.signature_workers": 0,
    "store.free_bytes_warn": 0,
    "store.free_bytes_min": 0,
}
"""Settings of nodes of which many share one machine for a short time."""


Stages = Callable[[str, int, int], None]
"""Told (stage, done, total) as work goes on."""


class Played(msgspec.Struct):
    """What was played on a network: how many transactions in how many seconds, refusals by code, a transaction (its id)
    whose receipt is worth proving, and whatever its audit needs to remember.
    """

    transactions: int
    seconds: float
    refusals: dict[str, int]
    proven: bytes
    memory: Any = None


class Organisation(msgspec.Struct, frozen=True):
    """An organisation of a local network: its parties with their permissions, and whether it only observes."""

    id: str
    parties: dict[str, list[str]] = {}
    observer: bool = False
    power: int = 1


class LocalNode:
    """One organisation's node in the folder ``path``; it runs as a process once it is started."""

    def __init__(
        self, organisation: Organisation, path: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.organisation = organisation
        self.path = path
        self.url = ""
        """Where its interface is, while it runs."""
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._told_to_stop = False
        self._clients: dict[str, Client] = {}

    def __repr__(self) -> str:
        return f"LocalNode({self.organisation.id})"

    def configure(self, **changes: Any) -> None:
        """Change settings of its configuration, from its next start on: ``section__name=value``."""
        path = NodeFolder(self.path).config
        values: dict[str, Any] = {}
        for section, content in tomllib.loads(path.read_text("utf-8")).items():
            inner = content if isinstance(content, dict) else {"": content}
            values |= {f"{section}.{name}".rstrip("."): value for name, value in inner.items()}
        values |= {name.replace("__", "."): value for name, value in changes.items()}
        path.write_text(default_config_text(values), "utf-8")

    # life --------------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether its process runs, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, f"{self} was not started"
        return self._process.pid

    @property
    def engine_pid(self) -> int | None:
        """The process of its CometBFT, while there is one."""
        return next(iter(_children(self.pid, "cometbft")), None)

    @property
    def log(self) -> Path:
        """What the node wrote; its engine's log is ``engine/engine.log`` in its folder."""
        return self.path / LOG_FILE

    def start(self, variables: Mapping[str, str] | None = None) -> None:
        """Start it; returns at once. ``wait_ready`` waits until it takes transactions.

        ``variables`` are added to the environment of its process, this time.
        """
        assert not self.running, f"{self} runs already"
        self._told_to_stop, self.url = False, ""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
                [sys.executable, "-m", "guildbook.cli.main", "run", str(self.path)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**(os.environ if self._environment is None else self._environment), **(variables or {})},
            )  # fmt: skip

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the node says that it is ready; that needs enough other nodes to make blocks with.

        Raises GuildbookError ``client.unreachable`` when its process ended, ``client.timeout`` when it is not in time.
        """
        self._until(lambda: not self._not_ready(), timeout_s, "ready")

    def wait_answering(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the node answers, ready or not. Raises as ``wait_ready``."""
        self._until(self._answers, timeout_s, "answering")

    def wait_ended(self, timeout_s: float = READY_TIMEOUT_S) -> int:
        """Wait until its process has ended by itself, and give its exit status; GuildbookError ``client.timeout``."""
        assert self._process is not None, f"{self} was not started"
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise GuildbookError(
                "client.timeout", f"{self} has not ended after {timeout_s} s", hint=f"see {self.log}"
            ) from None
        finally:
            self._close_clients()

    def ask_to_stop(self) -> None:
        """Ask it to stop, once, paused or not; returns at once."""
        self._close_clients()
        if self._process is not None and self.running and not self._told_to_stop:
            self._told_to_stop = True
            self.resume()
            self._process.terminate()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask it to stop, wait, and give its exit status. One that does not stop in time is killed."""
        self.ask_to_stop()
        if self._process is None:
            return 0
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def kill(self) -> None:
        """End node and engine at once, as a power failure does."""
        self._close_clients()
        if self._process is None:
            return
        engine = self.engine_pid if self.running else None
        for pid in (self._process.pid, engine):
            if pid is not None and (pid != self._process.pid or self.running):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()
        if engine is not None:
            _wait_gone(engine)

    def pause(self) -> None:
        """Let node and engine stand still, as a machine does that hangs; connections stay open."""
        for pid in filter(None, (self.pid, self.engine_pid)):
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        for pid in filter(None, (self.engine_pid, self.pid)):
            os.kill(pid, signal.SIGCONT)

    # asking ------------------------------------------------------------------------------------------------------

    def client(self, party: str | None = None, timeout_s: float = 30) -> Client:
        """A client of this node that signs as ``party``, whose key is in its folder (None: reads only). Kept and closed
        with the node.
        """
        name = party or ""
        if not self.url:
            self.wait_answering()
        if name not in self._clients:
            key = None if party is None else read_key(self.path / "keys" / f"{party}.key")
            self._clients[name] = Client(self.url, key, timeout_s=timeout_s)
        return self._clients[name]

    @property
    def height(self) -> int:
        """The height of its last block."""
        return self.client().status().height

    def wait_height(self, height: int, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until it has the block of ``height``. Raises as ``wait_ready``."""
        self._until(lambda: self.height >= height, timeout_s, f"at block {height}")

    def app_hash(self, height: int) -> str:
        """The hash of state and log after the block of ``height``, as this node computed it and states it itself.

        It stands in the header of the block after, so the node must have that one.
        """
        return self.client().block(height + 1).app_hash

    def _until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            if not self.running:
                raise GuildbookError(
                    "client.unreachable",
                    f"{self} ended instead of being {what}:\n{_tail(self.log)}",
                    hint=f"see {self.log}",
                )
            with contextlib.suppress(GuildbookError):
                if condition():
                    return
            if time.monotonic() > deadline:
                reasons = "; ".join(self._not_ready())
                raise GuildbookError(
                    "client.timeout",
                    f"{self} is not {what} after {timeout_s} s ({reasons}):\n{_tail(self.log)}",
                    hint=f"see {self.log}",
                )
            time.sleep(POLL_S)

    def _answers(self) -> bool:
        found = running_node(self.path)
        if found is None or self._process is None or found.pid != self._process.pid:
            return False
        if self.url != found.url:
            self._close_clients()
            self.url = found.url
        return True

    def _not_ready(self) -> list[str]:
        if not self._answers():
            return ["it does not answer yet"]
        try:
            answer = httpx.get(f"{self.url}/v1/health/ready", timeout=5)
        except httpx.HTTPError as error:
            return [f"it does not answer: {error}"]
        return [] if answer.status_code == 200 else [answer.text]

    def _close_clients(self) -> None:
        for one in self._clients.values():
            one.close()
        self._clients.clear()


class LocalNetwork:
    """The nodes of a network on this machine, by organisation; made by ``found``. Leaving it stops all of them."""

    def __init__(self, genesis: Genesis, peers: Peers, nodes: Sequence[LocalNode]) -> None:
        self.genesis = genesis
        self.peers = peers
        self.nodes = list(nodes)

    @classmethod
    def found(
        cls,
        folder: Path,
        organisations: Sequence[Organisation],
        applications: Sequence[str] = (),
        *,
        network: str = "local-net",
        settings: Mapping[str, Any] | None = None,
        parameters: Mapping[str, int] | None = None,
        time_ms: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "LocalNetwork":
        """Found a network below ``folder``: a folder for each organisation's node, each with keys of its own.

        ``settings`` (``section.name`` -> value) go into every node's configuration, over those of QUICK.
        ``environment`` is what the nodes' processes run in (None: that of this process).
        """
        proposal = make_proposal(
            network,
            [
                ProposedMember(
                    one.id, one.id, "XX", sorted({held for many in one.parties.values() for held in many}),
                    one.observer, 0 if one.observer else one.power,
                )
                for one in organisations
            ],
            applications,
            time.time_ns() // 1_000_000 if time_ms is None else time_ms,
            parameters,
        )  # fmt: skip
        joins: dict[str, Join] = {}
        for one, port in zip(organisations, free_ports(len(organisations)), strict=True):
            keys = folder / one.id / "keys"
            keys.mkdir(mode=FOLDER_MODE, parents=True)
            drawn = {name: new_key() for name in ("validator", "node", *one.parties)}
            for name, key in drawn.items():
                write_key(keys / f"{name}.key", key)
            parties = [
                (JoiningParty(name, "service", name, "", held), drawn[name])
                for name, held in one.parties.items()
            ]
            joins[one.id] = make_join(
                proposal, one.id, parties, drawn["validator"], drawn["node"], f"127.0.0.1:{port}"
            )
        genesis, peers = collect(proposal, joins.values())
        for one in organisations:
            accept_genesis(
                folder / one.id,
                genesis,
                peers,
                joins[one.id],
                applications=list(applications),
                p2p_listen=joins[one.id].p2p_address,
                settings={**QUICK, **(settings or {})},
            )
        return cls(genesis, peers, [LocalNode(one, folder / one.id, environment) for one in organisations])

    def add_observer(self, name: str) -> LocalNode:
        """One more node, without a vote, that is not started and knows nothing but the genesis and the peers."""
        sample = self.nodes[0]
        (port,) = free_ports(1)
        path = sample.path.with_name(name)
        observe(path, self.genesis, self.peers, name, f"127.0.0.1:{port}",
                settings={**QUICK, "network.p2p_listen": f"127.0.0.1:{port}"})  # fmt: skip
        made = LocalNode(Organisation(name, observer=True), path, sample._environment)
        self.nodes.append(made)
        return made

    def node(self, organisation: str) -> LocalNode:
        """The node of this organisation."""
        return next(one for one in self.nodes if one.organisation.id == organisation)

    @property
    def validators(self) -> list[LocalNode]:
        """The nodes of members with a vote."""
        return [one for one in self.nodes if not one.organisation.observer]

    @property
    def trust(self) -> Trust:
        """The trust anchor that a stranger verifies evidence with: the validators of the genesis."""
        return Trust(self.genesis.network, (TrustedSet(self.genesis.validator_set),))

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start all nodes, and wait until each is ready."""
        for one in self.nodes:
            one.start()
        for one in self.nodes:
            one.wait_ready(timeout_s)

    def stop(self) -> dict[str, int]:
        """Stop all nodes at once, and wait; gives exit statuses by organisation."""
        for one in self.nodes:
            one.ask_to_stop()
        return {one.organisation.id: one.stop() for one in self.nodes}

    def wait_height(
        self, height: int, nodes: Iterable[LocalNode] | None = None, timeout_s: float = READY_TIMEOUT_S
    ) -> None:
        """Wait until all of ``nodes`` (None: all that run) have the block of ``height``."""
        for one in self._those(nodes):
            one.wait_height(height, timeout_s)

    def same_roots(
        self, nodes: Iterable[LocalNode] | None = None, timeout_s: float = READY_TIMEOUT_S
    ) -> tuple[int, str]:
        """Wait until ``nodes`` (None: all that run) share a height that is provable, and compare what they computed.

        Gives that height and the hash of state and log after it; AssertionError names who has another. Every earlier
        height is compared by it too, since the log of receipts is a part of it.
        """
        compared = self._those(nodes)
        highest = max(one.height for one in compared)
        for one in compared:
            one.wait_height(highest, timeout_s)
        height = highest - 1
        hashes = {one.organisation.id: one.app_hash(height) for one in compared}
        assert len(set(hashes.values())) == 1, f"at height {height} nodes differ: {hashes}"
        return height, next(iter(hashes.values()))

    def _those(self, nodes: Iterable[LocalNode] | None) -> list[LocalNode]:
        return [one for one in self.nodes if one.running] if nodes is None else list(nodes)

    def __enter__(self) -> "LocalNetwork":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    with contextlib.ExitStack() as held:
        taken = [held.enter_context(socket.socket()) for _one in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in taken]


def _children(parent: int, name: str) -> Iterable[int]:
    """The processes of this name whose parent is ``parent``."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "stat").read_text("ascii", "replace")
                command, _close, rest = words.partition("(")[2].rpartition(")")
                if command == name and int(rest.split()[1]) == parent:
                    yield int(entry.name)


def _wait_gone(pid: int) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(POLL_S)


def _tail(path: Path, size: int = 2_000) -> str:
    try:
        return path.read_text("utf-8", "replace")[-size:]
    except OSError:
        return ""
