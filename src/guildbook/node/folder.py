"""A node's folder: what lies where, and how one is made.

    genesis.json      the founding document, the same for all members
    guildbook.toml    this node's configuration
    keys/             secret keys, each readable by its owner alone; validator.key signs blocks
    store/            the ledger
    peers.json        a network of several members: where its nodes are reached
    engine/           the same: the home folder of CometBFT, with its own store of blocks
    views/            SQL views; can be deleted, and are built again
    snapshots/        snapshots for members that join; can be deleted
    node.json         while the node runs: its process and its address

A folder is made beside its place and moved there when it is complete, so there is never half a node.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from guildbook.chain.genesis import (
    GENESIS_FORMAT,
    GENESIS_SIZE_BYTES_MAX,
    Genesis,
    GenesisContract,
    GenesisOrganisation,
    GenesisParty,
    GenesisValidator,
    check_genesis,
    read_genesis,
)
from guildbook.chain.ledger import Ledger
from guildbook.client.keyfile import new_key, write_key
from guildbook.foundation import FOUNDATION
from guildbook.node.applications import load_applications
from guildbook.node.config import CONFIG_FILE, BadConfiguration, default_config_text, make_config
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.runtime.registry import Registry
from guildbook.state.rocks import RocksStore

FOLDER_MODE = 0o700


class NodeFolder(NamedTuple):
    """The places in a node's folder."""

    path: Path

    @property
    def genesis(self) -> Path:
        """The founding document."""
        return self.path / "genesis.json"

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.path / CONFIG_FILE

    @property
    def keys(self) -> Path:
        """The folder of secret keys."""
        return self.path / "keys"

    @property
    def validator_key(self) -> Path:
        """The key that signs blocks."""
        return self.keys / "validator.key"

    @property
    def node_key(self) -> Path:
        """The key by which the other nodes of a network know this one."""
        return self.keys / "node.key"

    @property
    def peers(self) -> Path:
        """Where the nodes of a network are reached."""
        return self.path / "peers.json"

    @property
    def engine(self) -> Path:
        """The home folder of CometBFT."""
        return self.path / "engine"

    @property
    def store(self) -> Path:
        """The ledger."""
        return self.path / "store"

    @property
    def views(self) -> Path:
        """The SQL views."""
        return self.path / "views"

    @property
    def snapshots(self) -> Path:
        """The snapshots for members that join."""
        return self.path / "snapshots"

    @property
    def running(self) -> Path:
        """What a running node says of itself."""
        return self.path / "node.json"


class RunningNode(msgspec.Struct, frozen=True):
    """What ``node.json`` holds: process id and address of the running node, and when that process began.

    ``began`` is the system's own count, which tells a process from a later one with the same id; 0 where there is none.
    """

    pid: int
    url: str
    began: int = 0


def announce(folder: NodeFolder, url: str) -> None:
    """Say in ``folder`` that this process runs the node, at ``url``."""
    text = msgspec.json.encode(RunningNode(os.getpid(), url, _beginning_of(os.getpid())))
    draft = folder.running.with_suffix(".new")
    draft.write_bytes(text)
    os.replace(draft, folder.running)


def running_node(path: Path) -> RunningNode | None:
    """The node that runs in ``path``, as it said itself; None when there is none, or it ended without saying so."""
    try:
        found = msgspec.json.decode(NodeFolder(path).running.read_bytes(), type=RunningNode)
        os.kill(found.pid, 0)
    except (OSError, msgspec.DecodeError, OverflowError):
        return None
    return found if found.began == _beginning_of(found.pid) else None


def _beginning_of(pid: int) -> int:
    """When a process began, in the system's clock ticks since it started; 0 where that cannot be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


class Founding(msgspec.Struct, frozen=True):
    """What a new network of one node begins with.

    One organisation is founded, with one party, its administrator, who holds every permission of the founding
    contracts; ``organisations`` are founded beside it. ``applications`` are named as in the configuration.
    ``time_ms`` is the genesis time (None: now), ``parameters`` are network parameters that differ from their
    defaults.
    """

    network: str
    organisation: str = "operator"
    organisation_name: str = "Operator"
    jurisdiction: str = "XX"
    administrator: str = "admin"
    applications: tuple[str, ...] = ()
    organisations: tuple[GenesisOrganisation, ...] = ()
    parameters: dict[str, int] = {}
    time_ms: int | None = None


def found_node(
    path: Path,
    founding: Founding,
    *,
    settings: Mapping[str, Any] | None = None,
    passphrase: str | None = None,
) -> Genesis:
    """Found a network and make its node in the folder ``path``, which must be empty or absent; returns the genesis.

    The keys of validator and administrator are made and written to ``keys/``. ``settings`` (``section.name`` ->
    value) go into the configuration. Raises BadConfiguration, and GuildbookError ``genesis.malformed`` or
    ``contract.*``.
    """
    validator, administrator = new_key(), new_key()
    registry = Registry()
    loaded = [registry.install(one) for one in (*FOUNDATION, *load_applications(list(founding.applications)))]
    held = sorted(f"{one.name}:{role}" for one in loaded for role in one.contract.roles)
    operator = GenesisOrganisation(
        founding.organisation,
        founding.organisation_name,
        founding.jurisdiction,
        held,
        [
            GenesisParty(
                founding.administrator,
                "person",
                founding.administrator,
                key_text(administrator.public_key),
                held,
            )
        ],
    )
    genesis = Genesis(
        format=GENESIS_FORMAT,
        network=founding.network,
        time_ms=time.time_ns() // 1_000_000 if founding.time_ms is None else founding.time_ms,
        parameters=dict(founding.parameters),
        validators=[GenesisValidator(key_text(validator.public_key), 1, founding.organisation)],
        organisations=[operator, *founding.organisations],
        contracts=[GenesisContract(one.name, one.version, one.text) for one in loaded],
        engine=str((settings or {}).get("engine.kind", "solo")),
    )
    chosen = {
        **(settings or {}),
        **({"applications": list(founding.applications)} if founding.applications else {}),
    }
    make_node(
        path,
        genesis,
        validator,
        keys={founding.administrator: administrator},
        settings=chosen,
        passphrase=passphrase,
    )
    return genesis


def make_node(
    path: Path,
    genesis: Genesis,
    validator: SigningKey,
    *,
    keys: Mapping[str, SigningKey] | None = None,
    settings: Mapping[str, Any] | None = None,
    passphrase: str | None = None,
) -> None:
    """Make the node of ``validator`` for the network of ``genesis`` in the folder ``path``.

    ``keys`` are further keys to write beside the validator's, by file name. Raises as ``found_node``.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise GuildbookError(
            "store.not_empty",
            f"{path} holds something already",
            hint="name an empty or a new folder",
            path=str(path),
        )
    check_genesis(genesis)
    make_config(_nested(settings or {}), {}, "the settings given")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=FOLDER_MODE)
    try:
        _fill(
            NodeFolder(draft), genesis, {"validator": validator, **(keys or {})}, settings or {}, passphrase
        )
        os.replace(draft, path)  # over an empty folder, or to a new place
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _make_durable(path.parent)


def complete_node(
    path: Path,
    genesis: Genesis,
    *,
    settings: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Make a node of the folder ``path``, which has its keys in ``keys/`` already, for the network of ``genesis``.

    ``files`` are further files to write, by name. The founding document is written last: a folder without it is no
    node yet, and completing it can be tried again. Raises as ``found_node``.
    """
    folder = NodeFolder(path)
    if folder.genesis.exists():
        raise GuildbookError(
            "store.not_empty", f"{path} is a node already", hint="name the folder of a join", path=str(path)
        )
    if not folder.validator_key.exists():
        raise BadConfiguration(
            f"{folder.validator_key} is not there",
            "make the keys with: guildbook network join",
            path=str(path),
        )
    check_genesis(genesis)
    make_config(_nested(settings or {}), {}, "the settings given")
    shutil.rmtree(folder.store, ignore_errors=True)  # of an attempt that was cut short
    store = RocksStore(folder.store)
    try:
        Ledger.create(store, genesis, Registry())
    finally:
        store.close()
    folder.config.write_text(default_config_text(settings or {}), "utf-8")
    for name, data in (files or {}).items():
        (path / name).write_bytes(data)
    draft = folder.genesis.with_suffix(".new")
    draft.write_bytes(genesis.to_json())
    _make_durable(path)
    os.replace(draft, folder.genesis)
    _make_durable(path)


def _fill(
    folder: NodeFolder,
    genesis: Genesis,
    keys: Mapping[str, SigningKey],
    settings: Mapping[str, Any],
    passphrase: str | None,
) -> None:
    store = RocksStore(folder.store)
    try:
        Ledger.create(store, genesis, Registry())
    except BaseException:
        with contextlib.suppress(GuildbookError):  # the first failure is the one to tell
            store.close()
        raise
    store.close()
    folder.keys.mkdir(mode=FOLDER_MODE)
    for name, key in keys.items():
        write_key(folder.keys / f"{name}.key", key, passphrase)
    folder.genesis.write_bytes(genesis.to_json())
    folder.config.write_text(default_config_text(settings), "utf-8")
    for place in (folder.keys, folder.path):
        _make_durable(place)


def _make_durable(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in settings.items():
        section, _dot, key = name.rpartition(".")
        (values.setdefault(section, {}) if section else values)[key] = value
    return values


def stored_genesis(folder: NodeFolder) -> Genesis:
    """The genesis document in ``folder``. Raises BadConfiguration, or GuildbookError ``genesis.malformed``."""
    try:
        with folder.genesis.open("rb") as file:
            data = file.read(GENESIS_SIZE_BYTES_MAX + 1)
    except OSError as error:
        raise BadConfiguration(
            f"{folder.genesis} cannot be read: {error.strerror}",
            "make a node with: guildbook init",
            path=str(folder.path),
        ) from None
    return read_genesis(data)
