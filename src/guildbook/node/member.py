"""A member's node of a network: made of what the members agreed on, with its engine beside it."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from guildbook.chain.genesis import Genesis
from guildbook.chain.head import application_hash
from guildbook.chain.ledger import Ledger
from guildbook.client.keyfile import new_key, write_key
from guildbook.engine.cometbft.binary import obtain_binary
from guildbook.engine.cometbft.home import (
    EngineHome,
    HomeSettings,
    StateSyncFrom,
    Timing,
    engine_address,
    write_home,
)
from guildbook.engine.cometbft.supervisor import EngineSupervisor
from guildbook.node.config import BadConfiguration, NodeConfig
from guildbook.node.folder import FOLDER_MODE, NodeFolder, complete_node
from guildbook.node.joining import Join, NodeEntry, Peers, entry_of, is_address, read_peers
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.identifiers import check_code
from guildbook.primitives.keys import SigningKey

ENGINE_BLOCKS = "data/blockstore.db"
"""Where CometBFT keeps its blocks, below its home folder."""

_log = logging.getLogger("guildbook.node")


def accept_genesis(
    path: Path,
    genesis: Genesis,
    peers: Peers,
    own: Join,
    *,
    applications: list[str] | None = None,
    http_port: int | None = None,
    p2p_listen: str | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Make the node of the folder ``path``, which has the keys of the join ``own``, for the network of ``genesis``.

    ``settings`` (``section.name`` -> value) go into the configuration beside what follows from the join. Raises
    BadConfiguration, and GuildbookError ``store.not_empty`` or ``network.mismatch`` when the join is none of theirs.
    """
    observer = own.organisation not in {one.organisation for one in genesis.validators}
    if entry_of(own, observer=observer) not in peers.nodes:
        raise GuildbookError(
            "network.mismatch",
            f"the join of {own.organisation} in {path} is not the one among those of the genesis",
            hint="send the other members the join that is in this folder",
            organisation=own.organisation,
        )
    listen = p2p_listen or f"0.0.0.0:{own.p2p_address.rpartition(':')[2]}"
    if not is_address(listen):
        raise BadConfiguration(
            f"{listen!r} is no address to listen on", "give host:port", name="network.p2p_listen"
        )
    chosen: dict[str, Any] = {"engine.kind": "cometbft", "network.p2p_listen": listen, **(settings or {})}
    if applications:
        chosen["applications"] = applications
    if http_port is not None:
        chosen["http.port"] = http_port
    complete_node(path, genesis, settings=chosen, files={NodeFolder(path).peers.name: peers.to_json()})


def observe(
    path: Path,
    genesis: Genesis,
    peers: Peers,
    organisation: str,
    p2p_address: str,
    *,
    http_port: int | None = None,
    passphrase: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> NodeEntry:
    """Make, in the new folder ``path``, a node that follows a network which was founded before, without a vote.

    Its keys are drawn here. It fetches all blocks from its peers; ``organisation`` is a name for them. Its validator
    key is for the day on which the members vote it in. Gives its entry, for the list of peers of whoever keeps one.
    Raises as ``accept_genesis``; ``network.mismatch`` when ``peers`` is of another genesis.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise GuildbookError(
            "store.not_empty", f"{path} holds something already", hint="name a new folder", path=str(path)
        )
    if peers.genesis_hash != genesis.hash.hex():
        raise GuildbookError(
            "network.mismatch",
            f"the list of peers is of the genesis {peers.genesis_hash}, and not of {genesis.hash.hex()}",
            hint="ask for both files at the same member",
        )
    check_code(organisation, "organisation")
    if not is_address(p2p_address):
        raise BadConfiguration(f"{p2p_address!r} is no address", "give host:port", name="network.p2p_listen")
    validator, node = new_key(), new_key()
    entry = NodeEntry(organisation, engine_address(node.public_key).hex(), p2p_address, "", True)
    folder = NodeFolder(path)
    folder.keys.mkdir(mode=FOLDER_MODE, parents=True)
    path.chmod(FOLDER_MODE)
    for place, key in ((folder.validator_key, validator), (folder.node_key, node)):
        write_key(place, key, passphrase)
    known = msgspec.structs.replace(peers, nodes=[*peers.nodes, entry])
    chosen: dict[str, Any] = {
        "engine.kind": "cometbft",
        "network.p2p_listen": f"0.0.0.0:{p2p_address.rpartition(':')[2]}",
        **({} if http_port is None else {"http.port": http_port}),
        **(settings or {}),
    }
    complete_node(path, genesis, settings=chosen, files={folder.peers.name: known.to_json()})
    return entry


def home_settings(config: NodeConfig, own: NodeEntry | None) -> HomeSettings:
    """What the engine is told, from the node's configuration and its own entry among the peers."""
    network = config.network
    return HomeSettings(
        name=own.organisation if own is not None else "guildbook",
        version=network.version,
        p2p_listen=network.p2p_listen,
        p2p_address=own.p2p_address if own is not None else "",
        rpc_listen=network.rpc_listen,
        signer_listen=network.signer_listen,
        state_sync=StateSyncFrom(
            tuple(one.strip() for one in network.state_sync_servers.split(",")),
            network.state_sync_height,
            network.state_sync_block_hash.upper(),
        )
        if network.state_sync_servers
        else None,
        timing=Timing(
            propose_ms=network.propose_ms,
            vote_ms=network.vote_ms,
            commit_ms=network.commit_ms,
            heartbeat_ms=network.heartbeat_ms,
            gossip_ms=network.gossip_ms,
        ),
    )


def prepare_engine(
    folder: NodeFolder, config: NodeConfig, ledger: Ledger, validator: SigningKey, node: SigningKey
) -> EngineHome:
    """Write the engine's home folder, or bring it up to date with the configuration and the peers.

    Raises BadConfiguration, and GuildbookError ``network.malformed``, ``network.mismatch`` or ``engine.wrong_home``.
    """
    try:
        peers = read_peers(folder.peers.read_bytes())
    except OSError as error:
        raise BadConfiguration(
            f"{folder.peers} cannot be read: {error.strerror}",
            "a node of a network has a list of its peers",
            path=str(folder.path),
        ) from None
    if peers.genesis_hash != ledger.genesis.hash.hex():
        raise GuildbookError(
            "network.mismatch",
            f"{folder.peers} is of the genesis {peers.genesis_hash}, and this ledger's is {ledger.genesis.hash.hex()}",
            hint="put back the list that came with the genesis",
        )
    height = ledger.head.height
    if height and not (folder.engine / ENGINE_BLOCKS).exists():
        raise GuildbookError(
            "engine.wrong_home",
            f"the ledger is at block {height}, and its engine in {folder.engine} has no blocks, as after a restore",
            hint="an engine cannot begin behind its ledger: put the store aside, and let a new node with these keys "
            "fetch the blocks or a snapshot",
            height=height,
        )
    own_id = engine_address(node.public_key).hex()
    own = next((one for one in peers.nodes if one.id == own_id), None)
    return write_home(
        folder.engine,
        ledger.genesis,
        genesis_app_hash(ledger),
        validator,
        node,
        home_settings(config, own),
        peers.engines,
    )


def genesis_app_hash(ledger: Ledger) -> bytes:
    """The application hash of ``ledger`` at height 0. Raises GuildbookError ``store.corrupt`` where it is not kept."""
    roots = ledger.view().roots(0)
    if roots is None:
        raise GuildbookError("store.corrupt", "the store has no roots of height 0", hint="make the node anew")
    return application_hash(roots.state_root, roots.log_root, roots.log_size)


def engine_beside(
    home: EngineHome, version: str, on_halt: Callable[[GuildbookError], None]
) -> EngineSupervisor:
    """The engine of ``home``, not yet started; its program is built first where it is not on this machine.

    Raises GuildbookError ``engine.missing`` or ``engine.wrong_version``.
    """
    return EngineSupervisor(obtain_binary(version, _logged), home, on_halt=on_halt)


def _logged(stage: str, done: int, total: int) -> None:
    if done == 0 or done == total or done % max(1, total // 10) == 0:
        _log.info("%s: %d of %d", stage, done, total)
