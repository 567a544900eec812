"""CometBFT's home folder, written by us with every key explicit: no version's default decides anything here.

    config/config.toml             made anew from the node's own settings at each start
    config/genesis.json            made from our genesis document, and never changed
    config/priv_validator_key.json the validator's key, in CometBFT's form
    config/node_key.json           the key by which peers know this node
    data/priv_validator_state.json what this validator signed last: its guard against signing twice, never overwritten
    abci.sock, rpc.sock            where the node and its engine meet; named relative to the home, which is the
                                   engine's working directory, so that no path is too long for a socket

One file serves both lines of CometBFT: the older one passes over the keys that it does not know.

Two limits are alike on all nodes, or peers drop one another and blocks are judged differently: the size of a bundle,
and what the genesis states of blocks. They are constants here. That of a block is the highest that the ledger's own
parameter ``block_size_bytes_max`` may be given; the parameter in force is kept by whoever proposes a block.

Time. A block states the median of the times at which the block before it was voted for, so after a rest of the network
the first block is as old as the last vote. A heartbeat, an empty block after so many seconds without any, bounds that.
"""

import base64
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from guildbook.chain.block import BLOCK_SIZE_BYTES_MAX, GAS_UNLIMITED
from guildbook.chain.genesis import Genesis
from guildbook.engine.cometbft.binary import PINNED
from guildbook.primitives.cometbft import Validator, format_time
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey

HOME_MODE = 0o700
SECRET_MODE = 0o600
PLAIN_MODE = 0o644
INITIAL_HEIGHT = 1
BUNDLE_SIZE_BYTES_MAX = 1_572_864
"""The largest item in a block: the largest transaction that the ledger's parameters can allow, and room beside it."""
RPC_BODY_SIZE_BYTES_MAX = 2 * BUNDLE_SIZE_BYTES_MAX + 65_536
"""A bundle in base64, and what is around it."""
MEMPOOL_BUNDLES_MAX = 1_000
MEMPOOL_SIZE_BYTES_MAX = 256 << 20
EVIDENCE_AGE_BLOCKS = 100_000
EVIDENCE_AGE_NS = 48 * 3_600 * 1_000_000_000
EVIDENCE_SIZE_BYTES_MAX = 1 << 20
APP_VERSION = 0
NAMESPACE_ED25519 = "tendermint/PubKeyEd25519"
SECRET_ED25519 = "tendermint/PrivKeyEd25519"  # noqa: S105 - the name of a type
APP_SOCKET = "abci.sock"
RPC_SOCKET = "rpc.sock"


class Peer(NamedTuple):
    """Another node: its engine's address (40 hexadecimal digits) and where it listens (``host:port``)."""

    id: str
    address: str


class Timing(msgspec.Struct, frozen=True):
    """How long the engine waits, in milliseconds. Members may differ; a network is as quick as its slowest third."""

    propose_ms: int = 2_000
    propose_more_ms: int = 500
    vote_ms: int = 1_000
    vote_more_ms: int = 500
    commit_ms: int = 200
    """Wait for late votes after a block; passed over when all are there."""
    heartbeat_ms: int = 30_000
    """An empty block after so long without one; 0: none."""
    gossip_ms: int = 20
    """How often a node looks for what a peer lacks."""


class StateSyncFrom(msgspec.Struct, frozen=True):
    """Begin with a snapshot instead of the first block: two or more engines' addresses, and a block that is trusted."""

    servers: tuple[str, ...]
    height: int
    block_hash: str
    trust_hours: int = 168


class HomeSettings(msgspec.Struct, frozen=True):
    """What a node sets about its engine; none of it decides what a transaction does."""

    name: str = "guildbook"
    """A name for people, told to peers."""
    version: str = PINNED
    p2p_listen: str = "0.0.0.0:26656"
    p2p_address: str = ""
    """Where peers reach this node, ``host:port``, told to them."""
    rpc_listen: str = ""
    """A further address of the engine's own interface, ``host:port``, for state sync and inspection; "": none."""
    signer_listen: str = ""
    """Where a remote signer connects to, ``tcp://host:port`` or ``unix://path``; "": the key file signs."""
    log_level: str = "main:info,state:info,statesync:info,blocksync:info,*:error"
    inbound_peers_max: int = 40
    timing: Timing = Timing()
    state_sync: StateSyncFrom | None = None


class EngineHome(NamedTuple):
    """The places in CometBFT's home folder."""

    path: Path

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.path / "config" / "config.toml"

    @property
    def genesis(self) -> Path:
        """The genesis document in its form."""
        return self.path / "config" / "genesis.json"

    @property
    def validator_key(self) -> Path:
        """The validator's key in its form."""
        return self.path / "config" / "priv_validator_key.json"

    @property
    def node_key(self) -> Path:
        """The key by which peers know the node."""
        return self.path / "config" / "node_key.json"

    @property
    def validator_state(self) -> Path:
        """What the validator signed last."""
        return self.path / "data" / "priv_validator_state.json"

    @property
    def app_socket(self) -> Path:
        """Where the node waits for its engine."""
        return self.path / APP_SOCKET

    @property
    def rpc_socket(self) -> Path:
        """Where the engine answers the node."""
        return self.path / RPC_SOCKET

    @property
    def log(self) -> Path:
        """What the engine wrote."""
        return self.path / "engine.log"


def engine_address(public_key: bytes) -> bytes:
    """The address (20 bytes) of a public key (algorithm byte and raw key)."""
    return Validator(public_key, 1).address


def node_id(key: SigningKey) -> str:
    """The id by which peers know the node that has ``key``."""
    return engine_address(key.public_key).hex()


# the files ---------------------------------------------------------------------------------------------------------


def genesis_document(genesis: Genesis, app_hash: bytes) -> bytes:
    """Our genesis document as CometBFT reads one; ``app_hash`` is that of the founded ledger at height 0."""
    names = {one.key: one.organisation for one in genesis.validators}
    document = {
        "genesis_time": format_time(genesis.time_ms * 1_000_000),
        "chain_id": genesis.network,
        "initial_height": str(INITIAL_HEIGHT),
        "consensus_params": {
            "block": {"max_bytes": str(BLOCK_SIZE_BYTES_MAX), "max_gas": str(GAS_UNLIMITED)},
            "evidence": {
                "max_age_num_blocks": str(EVIDENCE_AGE_BLOCKS),
                "max_age_duration": str(EVIDENCE_AGE_NS),
                "max_bytes": str(EVIDENCE_SIZE_BYTES_MAX),
            },
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": str(APP_VERSION)},
            "abci": {"vote_extensions_enable_height": "0"},
            "authority": {"authority": ""},
        },
        "validators": [
            {
                "address": one.address.hex().upper(),
                "pub_key": {"type": NAMESPACE_ED25519, "value": _base64(one.public_key[1:])},
                "power": str(one.power),
                "name": names.get(f"ed25519:{one.public_key[1:].hex()}", ""),
            }
            for one in genesis.validator_set.validators
        ],
        "app_hash": app_hash.hex().upper(),
        "app_state": {"genesis_hash": genesis.hash.hex()},
    }
    return _json(document)


def validator_key_document(key: SigningKey) -> bytes:
    """The validator's key as CometBFT reads it."""
    raw = key.public_key[1:]
    return _json({
        "address": engine_address(key.public_key).hex().upper(),
        "pub_key": {"type": NAMESPACE_ED25519, "value": _base64(raw)},
        "priv_key": {"type": SECRET_ED25519, "value": _base64(key.seed + raw)},
    })  # fmt: skip


def node_key_document(key: SigningKey) -> bytes:
    """The node's key as CometBFT reads it."""
    return _json({"priv_key": {"type": SECRET_ED25519, "value": _base64(key.seed + key.public_key[1:])}})


def config_values(settings: HomeSettings, peers: Sequence[Peer]) -> dict[str, Any]:
    """Every key of CometBFT's configuration; a nested dictionary is a table of the file.

    ``peers`` are all other nodes that this one keeps connected to.
    """
    timing = settings.timing
    hosts = [one.address.rpartition(":")[0] for one in peers]
    sync = settings.state_sync
    further = f",tcp://{settings.rpc_listen}" if settings.rpc_listen else ""
    return {
        "version": settings.version,
        "proxy_app": f"unix://{APP_SOCKET}",
        "moniker": settings.name,
        "db_backend": "goleveldb",
        "db_dir": "data",
        "log_level": settings.log_level,
        "log_format": "plain",
        "genesis_file": "config/genesis.json",
        "priv_validator_key_file": "config/priv_validator_key.json",
        "priv_validator_state_file": "data/priv_validator_state.json",
        "priv_validator_laddr": settings.signer_listen,
        "node_key_file": "config/node_key.json",
        "abci": "socket",
        "filter_peers": False,
        "event_bus_buffer_capacity": 0,
        "rpc": {
            "laddr": f"unix://{RPC_SOCKET}{further}",
            "cors_allowed_origins": [],
            "cors_allowed_methods": ["HEAD", "GET", "POST"],
            "cors_allowed_headers": ["Origin", "Accept", "Content-Type"],
            "grpc_laddr": "",
            "grpc_max_open_connections": 1,
            "unsafe": False,
            "max_open_connections": 200,
            "max_subscription_clients": 8,
            "max_subscriptions_per_client": 5,
            "experimental_subscription_buffer_size": 200,
            "experimental_websocket_write_buffer_size": 200,
            "experimental_close_on_slow_client": False,
            "timeout_broadcast_tx_commit": "10s",
            "max_request_batch_size": 100,
            "max_body_bytes": RPC_BODY_SIZE_BYTES_MAX,
            "max_header_bytes": 65_536,
            "tls_cert_file": "",
            "tls_key_file": "",
            "pprof_laddr": "",
        },
        "p2p": {
            "laddr": f"tcp://{settings.p2p_listen}",
            "external_address": settings.p2p_address,
            "seeds": "",
            "persistent_peers": ",".join(f"{one.id}@{one.address}" for one in peers),
            "addr_book_file": "config/addrbook.json",
            "addr_book_strict": False,
            "max_num_inbound_peers": settings.inbound_peers_max,
            "max_num_outbound_peers": max(10, len(peers)),
            "unconditional_peer_ids": ",".join(one.id for one in peers),
            "persistent_peers_max_dial_period": "10s",
            "flush_throttle_timeout": "10ms",
            "max_packet_msg_payload_size": 10_240,
            "send_rate": 20_971_520,
            "recv_rate": 20_971_520,
            "pex": False,
            "seed_mode": False,
            "private_peer_ids": ",".join(one.id for one in peers),
            "allow_duplicate_ip": len(set(hosts)) < len(hosts) or any(_is_loopback(one) for one in hosts),
            "handshake_timeout": "20s",
            "dial_timeout": "3s",
            "libp2p": {
                "enabled": False,
                "scaler": {"min_workers": 4, "max_workers": 32, "threshold_latency": "100ms"},
                "limits": {"mode": "default", "max_peers": 0, "max_peer_streams": 0},
            },
        },
        "mempool": {
            "type": "flood",
            "recheck": True,
            "recheck_timeout": "1s",
            "broadcast": True,
            "wal_dir": "",
            "size": MEMPOOL_BUNDLES_MAX,
            "max_txs_bytes": MEMPOOL_SIZE_BYTES_MAX,
            "cache_size": 10_000,
            "keep-invalid-txs-in-cache": False,
            "max_tx_bytes": BUNDLE_SIZE_BYTES_MAX,
            "max_batch_bytes": 0,
            "experimental_max_gossip_connections_to_persistent_peers": 0,
            "experimental_max_gossip_connections_to_non_persistent_peers": 0,
            "seen_cache_size": 100_000,
            "reap_max_bytes": 0,
            "reap_max_gas": 0,
            "reap_interval": "500ms",
            "check_tx_retry_delay": "5s",
        },
        "statesync": {
            "enable": sync is not None,
            "rpc_servers": ",".join(sync.servers) if sync else "",
            "trust_height": sync.height if sync else 0,
            "trust_hash": sync.block_hash if sync else "",
            "trust_period": f"{sync.trust_hours if sync else 168}h0m0s",
            "discovery_time": "5s",
            "temp_dir": "",
            "chunk_request_timeout": "10s",
            "chunk_fetchers": "4",
            "max_snapshot_chunks": 100_000,
        },
        "blocksync": {"version": "v0", "adaptive_sync": False},
        "consensus": {
            "wal_file": "data/cs.wal/wal",
            "timeout_propose": f"{timing.propose_ms}ms",
            "timeout_propose_delta": f"{timing.propose_more_ms}ms",
            "timeout_prevote": f"{timing.vote_ms}ms",
            "timeout_prevote_delta": f"{timing.vote_more_ms}ms",
            "timeout_precommit": f"{timing.vote_ms}ms",
            "timeout_precommit_delta": f"{timing.vote_more_ms}ms",
            "timeout_commit": f"{timing.commit_ms}ms",
            "double_sign_check_height": 0,
            "skip_timeout_commit": True,
            "create_empty_blocks": False,
            "create_empty_blocks_interval": f"{timing.heartbeat_ms}ms",
            "peer_gossip_sleep_duration": f"{timing.gossip_ms}ms",
            "peer_query_maj23_sleep_duration": "2s",
            "block_time_tolerance": "1m0s",
        },
        "storage": {"discard_abci_responses": False},
        "tx_index": {"indexer": "null", "psql-conn": ""},
        "instrumentation": {
            "prometheus": False,
            "prometheus_listen_addr": "127.0.0.1:26660",
            "max_open_connections": 3,
            "namespace": "cometbft",
        },
    }


def config_text(values: Mapping[str, Any]) -> str:
    """``values`` as TOML: text, whole numbers, true and false, lists of text, and nested tables."""
    lines = ["# Written by Guildbook at each start of the node. Change guildbook.toml instead."]
    _write_table(values, "", lines)
    return "\n".join(lines) + "\n"


def _write_table(values: Mapping[str, Any], name: str, lines: list[str]) -> None:
    if name:
        lines += ["", f"[{name}]"]
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    for key, value in values.items():
        if key not in tables:
            lines.append(
                f"{key} = {msgspec.json.encode(value).decode()}"
            )  # for these kinds TOML and JSON are alike
    for key, value in tables.items():
        _write_table(value, f"{name}.{key}".lstrip("."), lines)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host in ("::1", "[::1]")


# the folder --------------------------------------------------------------------------------------------------------


def write_home(
    path: Path,
    genesis: Genesis,
    app_hash: bytes,
    validator: SigningKey,
    node: SigningKey,
    settings: HomeSettings,
    peers: Sequence[Peer],
) -> EngineHome:
    """Make the home folder ``path``, or bring it up to date: configuration anew, keys and guard only where absent.

    Raises GuildbookError ``engine.wrong_home`` when the folder belongs to another genesis or other keys.
    """
    home = EngineHome(path)
    for folder in (path, home.config.parent, home.validator_state.parent):
        folder.mkdir(mode=HOME_MODE, parents=True, exist_ok=True)
        folder.chmod(HOME_MODE)
    _keep(home.genesis, genesis_document(genesis, app_hash), PLAIN_MODE, "the genesis document")
    if not settings.signer_listen:
        _keep(home.validator_key, validator_key_document(validator), SECRET_MODE, "the validator's key")
    _keep(home.node_key, node_key_document(node), SECRET_MODE, "the node's key")
    if not home.validator_state.exists():
        _write(home.validator_state, _json({"height": "0", "round": 0, "step": 0}), SECRET_MODE)
    others = [one for one in peers if one.id != node_id(node)]
    _write(home.config, config_text(config_values(settings, others)).encode(), SECRET_MODE)
    return home


def _keep(path: Path, data: bytes, mode: int, what: str) -> None:
    """Write ``data`` to ``path``; where something is there already, it must be the same document."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        _write(path, data, mode)
        return
    try:
        same = msgspec.json.decode(found) == msgspec.json.decode(data)
    except msgspec.DecodeError:
        same = False
    if not same:
        raise GuildbookError(
            "engine.wrong_home",
            f"{path} is not {what} that this node has",
            hint="two nodes with one key sign twice and harm the network: find out whose folder it is before anything "
            "else, and never copy one",
            path=str(path),
        )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Put ``data`` in the place of ``path`` in one step, durably."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _json(document: Mapping[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
