"""Whether a node of a network is well: what is compared with the other members, and what to do about each finding.

The node may run or be stopped; nothing is changed and nothing is built. Findings come in the order in which an operator
would mend them: the folder and its keys, what was agreed on, the engine's program and configuration, this machine, the
running engine, and the other members as they are reached from here.
"""

import contextlib
import email.utils
import shutil
import socket
import stat
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx
import msgspec

import guildbook
from guildbook.chain.genesis import Genesis
from guildbook.chain.ledger import Ledger
from guildbook.client.keyfile import read_key
from guildbook.engine.cometbft.binary import find_binary
from guildbook.engine.cometbft.home import (
    EngineHome,
    config_values,
    engine_address,
    genesis_document,
)
from guildbook.engine.cometbft.view import EnginePeer, EngineStatus, EngineView
from guildbook.foundation import FOUNDATION
from guildbook.node.config import NodeConfig, read_config
from guildbook.node.folder import NodeFolder, running_node, stored_genesis
from guildbook.node.joining import NodeEntry, Peers, read_peers
from guildbook.node.member import home_settings
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import parse_key_text
from guildbook.runtime.registry import Registry
from guildbook.state.rocks import RocksStore

CLOCK_WARN_S = 5.0
CLOCK_BAD_S = 30.0
"""Half of what the engine tolerates, beyond which it refuses blocks."""
BEHIND_BLOCKS_WARN = 50
TIMEOUT_S = 4.0
PEERS_AT_ONCE = 16
OTHERS_MODE_BITS = 0o077

State = Literal["ok", "warning", "wrong"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: its name, how it is, what was found, and what to do ("" when it is well)."""

    name: str
    state: State
    found: str
    fix: str = ""


class Patient(NamedTuple):
    """The node that is looked at: what its folder says."""

    folder: NodeFolder
    config: NodeConfig
    genesis: Genesis
    peers: Peers
    own: NodeEntry | None
    """Its own entry among the peers."""

    @property
    def home(self) -> EngineHome:
        """Its engine's folder."""
        return EngineHome(self.folder.engine)

    @property
    def others(self) -> list[NodeEntry]:
        """The nodes of the other organisations."""
        return [one for one in self.peers.nodes if one != self.own]


def examine(
    path: Path, environment: Mapping[str, str] | None = None, passphrase: str | None = None
) -> list[Finding]:
    """Look at the node in the folder ``path``. Raises GuildbookError when it is no folder of a network's node."""
    folder = NodeFolder(path)
    config = read_config(folder.config, environment)
    genesis = stored_genesis(folder)
    try:
        peers = read_peers(folder.peers.read_bytes())
    except FileNotFoundError:
        raise GuildbookError(
            "network.malformed",
            f"{path} has no list of peers: it is the node of a network of one",
            hint="a network of several is founded with: guildbook network init",
        ) from None
    findings, own = _keys(folder, genesis, peers, passphrase)
    patient = Patient(folder, config, genesis, peers, own)
    findings += _modes(folder)
    findings += _agreed(patient)
    findings += _program(config.network.version)
    findings += _configuration(patient)
    findings += _machine(patient)
    status, connected, told = _engine(patient)
    findings += told
    findings += _members(patient, status, connected)
    return findings


def _finding(name: str, well: bool, found: str, fix: str = "", *, state: State = "wrong") -> Finding:
    return Finding(name, "ok", found) if well else Finding(name, state, found, fix)


# the folder ----------------------------------------------------------------------------------------------------------


def _keys(
    folder: NodeFolder, genesis: Genesis, peers: Peers, passphrase: str | None
) -> tuple[list[Finding], NodeEntry | None]:
    try:
        validator = read_key(folder.validator_key, passphrase)
        node = read_key(folder.node_key, passphrase)
    except GuildbookError as error:
        return [Finding("keys", "wrong", error.message, error.hint)], None
    power = {parse_key_text(one.key): (one.organisation, one.power) for one in genesis.validators}
    node_id = engine_address(node.public_key).hex()
    own = next((one for one in peers.nodes if one.id == node_id), None)
    found = [
        _finding(
            "node key",
            own is not None,
            f"this node is {node_id}"
            + (f", of {own.organisation}" if own else ", which is not among the peers"),
            "correct its entry in peers.json, here and at the other members",
        )
    ]
    organisation, votes = power.get(validator.public_key, ("", 0))
    if organisation:
        text = f"validator of {organisation} since the genesis, power {votes}"
    else:
        text = "not a validator of the genesis: an observer, or one that a vote admits"
    same = own is None or not organisation or own.organisation == organisation
    found.append(
        _finding(
            "validator key",
            same,
            text,
            "the keys of two organisations are mixed: find out whose folder this is before it runs",
        )
    )
    return found, own


def _modes(folder: NodeFolder) -> list[Finding]:
    open_to_others = [
        path
        for path in [folder.keys, *sorted(folder.keys.glob("*")), folder.engine]
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & OTHERS_MODE_BITS
    ]
    return [
        _finding(
            "file modes",
            not open_to_others,
            f"others can reach {', '.join(map(str, open_to_others))}"
            if open_to_others
            else "keys are their owner's alone",
            f"run: chmod go= {' '.join(map(str, open_to_others))}",
        )
    ]


def _agreed(patient: Patient) -> Iterator[Finding]:
    wanted = patient.genesis.hash.hex()
    yield _finding(
        "genesis of the peers",
        patient.peers.genesis_hash == wanted,
        f"genesis hash {wanted}"
        + (
            ""
            if patient.peers.genesis_hash == wanted
            else f", and peers.json is of {patient.peers.genesis_hash}"
        ),
        "put back the genesis.json and peers.json that the members agreed on",
    )
    found = _store_genesis(patient.folder)
    if found is None:
        yield Finding(
            "genesis of the store",
            "ok",
            "the node runs and has the store open; it compared them at its start",
        )
    else:
        yield _finding(
            "genesis of the store",
            found.hash == patient.genesis.hash,
            f"the store was founded with {found.hash.hex()}",
            "this store is of another network: put back the genesis document that belongs to it",
        )


def _store_genesis(folder: NodeFolder) -> Genesis | None:
    registry = Registry()
    for contract in FOUNDATION:
        registry.install(contract)
    try:
        store = RocksStore(folder.store, must_exist=True, read_only=True)
    except GuildbookError as error:
        if error.code == "store.locked":
            return None
        raise
    try:
        return Ledger(store, registry).genesis
    finally:
        store.close()


# this machine --------------------------------------------------------------------------------------------------------


def _program(version: str) -> Iterator[Finding]:
    try:
        program = find_binary(version)
    except GuildbookError as error:
        yield Finding("engine program", "wrong", error.message, error.hint)
        return
    yield _finding(
        "engine program",
        program is not None,
        f"CometBFT {version}" + (f" ({program})" if program else " is not on this machine"),
        "the first guildbook run builds it, which takes some minutes",
        state="warning",
    )
    yield _finding(
        "software",
        not sys.flags.optimize,
        f"Guildbook {guildbook.__version__}, Python {sys.version.split()[0]}",
        "start without -O and PYTHONOPTIMIZE",
    )


def _configuration(patient: Patient) -> Iterator[Finding]:
    home = patient.home
    if not home.config.exists():
        yield Finding("engine configuration", "ok", "not written yet: the first start writes it")
        return
    with contextlib.suppress(OSError, msgspec.DecodeError):
        stated = msgspec.json.decode(home.genesis.read_bytes())
        wanted = msgspec.json.decode(
            genesis_document(patient.genesis, bytes.fromhex(stated.get("app_hash", "")))
        )
        yield _finding(
            "engine genesis",
            stated == wanted,
            "states our genesis" if stated == wanted else "is not made of our genesis",
            f"stop the node and find out where {home.genesis} comes from",
        )
    others = [one for one in patient.peers.engines if patient.own is None or one.id != patient.own.id]
    wanted_values = _flat(config_values(home_settings(patient.config, patient.own), others))
    try:
        found = _flat(tomllib.loads(home.config.read_text("utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        yield Finding(
            "engine configuration",
            "wrong",
            f"{home.config}: {error}",
            "start the node again: it is written anew",
        )
        return
    differing = sorted(
        name for name in wanted_values.keys() | found.keys() if wanted_values.get(name) != found.get(name)
    )
    yield _finding(
        "engine configuration",
        not differing,
        f"{len(found)} keys as this software writes them"
        if not differing
        else "differs in "
        + "; ".join(f"{one}: {found.get(one)!r}, not {wanted_values.get(one)!r}" for one in differing[:5]),
        "start the node again: it writes them anew from guildbook.toml and peers.json",
        state="warning",
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def _machine(patient: Patient) -> Iterator[Finding]:
    free = shutil.disk_usage(patient.folder.path).free
    store = patient.config.store
    yield _finding(
        "disk",
        free >= store.free_bytes_warn,
        f"{free >> 20} MiB free, {store.free_bytes_warn >> 20} MiB wanted",
        "free space on the volume; below store.free_bytes_min the node takes no transactions",
        state="warning" if free >= store.free_bytes_min else "wrong",
    )


# the engine ----------------------------------------------------------------------------------------------------------


def _engine(patient: Patient) -> tuple[EngineStatus | None, list[EnginePeer], list[Finding]]:
    running = running_node(patient.folder.path)
    if running is None:
        return (
            None,
            [],
            [Finding("node", "warning", "stopped", f"start it: guildbook run {patient.folder.path}")],
        )
    found = [Finding("node", "ok", f"runs as process {running.pid} at {running.url}")]
    rpc = EngineView(patient.home, TIMEOUT_S)
    try:
        status, peers = rpc.status(), rpc.peers()
    except GuildbookError as error:
        return None, [], [*found, Finding("engine", "wrong", error.message, error.hint)]
    found.append(
        _finding(
            "engine",
            status.network == patient.genesis.network,
            f"CometBFT {status.version} at block {status.height}, power {status.power}"
            + (", catching up" if status.catching_up else ""),
            f"it belongs to the network {status.network}: stop it",
        )
    )
    return status, peers, found


# the others ----------------------------------------------------------------------------------------------------------


def _members(patient: Patient, status: EngineStatus | None, connected: list[EnginePeer]) -> list[Finding]:
    by_id = {one.id: one for one in connected}
    others = patient.others

    def look(entry: NodeEntry) -> list[Finding]:
        return [_peer(entry, by_id.get(entry.id), status), *_interface(patient.genesis, entry, status)]

    with ThreadPoolExecutor(PEERS_AT_ONCE) as threads:
        found = [one for many in threads.map(look, others) for one in many]
    if status is not None and others:
        votes = {one.organisation: one.power for one in patient.genesis.validators}
        reached = sum(votes.get(one.organisation, 0) for one in others if one.id in by_id) + status.power
        total = sum(votes.values())
        found.append(
            _finding(
                "voting power",
                3 * reached > 2 * total,
                f"{reached} of {total} (as in the genesis) is connected, and blocks need more than {total * 2 // 3}",
                "reach more members: no block is made without them",
            )
        )
    return found


def _peer(entry: NodeEntry, connected: EnginePeer | None, status: EngineStatus | None) -> Finding:
    name = f"peer {entry.organisation}"
    if connected is not None:
        alike = status is None or connected.version.rpartition(".")[0] == status.version.rpartition(".")[0]
        return _finding(
            name,
            alike,
            f"connected, CometBFT {connected.version}",
            "agree on one version with the members, and upgrade one node after another",
            state="warning",
        )
    host, _colon, port = entry.p2p_address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S):
            pass
    except OSError as error:
        return Finding(
            name,
            "warning" if status is None else "wrong",
            f"{entry.p2p_address} is not reached from here: {error.strerror or error}",
            "see whether its node runs, and whether a firewall stands between",
        )
    if status is None:
        return Finding(name, "ok", f"{entry.p2p_address} is reached from here")
    return Finding(
        name,
        "wrong",
        f"{entry.p2p_address} is reached, and its engine is not connected",
        f"compare its id with {entry.id} in peers.json, the network, and the genesis hash",
    )


def _interface(genesis: Genesis, entry: NodeEntry, status: EngineStatus | None) -> list[Finding]:
    """What a member's node says at its interface: its genesis, its height, its version, and its clock."""
    if not entry.api_url:
        return []
    name = f"member {entry.organisation}"
    try:
        before = time.time()
        answer = httpx.get(f"{entry.api_url.rstrip('/')}/v1/status", timeout=TIMEOUT_S)
        after = time.time()
        document = answer.json()
        theirs, height, software = (
            document["genesis_hash"],
            int(document["height"]),
            str(document["software"]),
        )
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return [
            Finding(
                name,
                "warning",
                f"{entry.api_url} does not answer as a node: {type(error).__name__}",
                "ask its operator",
            )
        ]
    found = [
        _finding(
            name,
            theirs == genesis.hash.hex(),
            f"genesis {theirs[:16]}..., block {height}, Guildbook {software}",
            f"it has another genesis than {genesis.hash.hex()}: one of you has accepted other joins",
        )
    ]
    if software != guildbook.__version__:
        found.append(
            Finding(
                f"software of {entry.organisation}",
                "warning",
                f"{software}, and here {guildbook.__version__}",
                "agree on one version with the members",
            )
        )
    if status is not None and height - status.height > BEHIND_BLOCKS_WARN:
        found.append(
            Finding(
                "height",
                "warning",
                f"{height - status.height} blocks behind {entry.organisation}",
                "wait if it is catching up; else see the node's log",
            )
        )
    offset = _clock_offset(answer.headers.get("date", ""), before, after)
    if offset is not None:
        found.append(_clock(entry.organisation, offset))
    return found


def _clock_offset(date: str, before: float, after: float) -> float | None:
    """How far a clock that told ``date`` (whole seconds) is ahead of this one at least, in seconds; 0 within doubt."""
    try:
        told = email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    if told > after:
        return told - after
    return min(0.0, told + 1 - before)


def _clock(organisation: str, offset: float) -> Finding:
    state: State = "wrong" if abs(offset) >= CLOCK_BAD_S else "warning"
    return _finding(
        f"clock of {organisation}",
        abs(offset) < CLOCK_WARN_S,
        "as here, to the second"
        if not offset
        else f"{abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} this one",
        "set both by a time server (NTP): the engine refuses blocks of a minute's difference",
        state=state,
    )


def worst(findings: list[Finding]) -> State:
    """The state of the node as a whole: that of the worst finding."""
    order: Callable[[Finding], int] = lambda one: ("ok", "warning", "wrong").index(one.state)  # noqa: E731
    return max(findings, key=order).state if findings else "ok"
