"""The configuration of a node: the file ``guildbook.toml`` in its folder.

Nothing in it decides what a transaction does; that is on the ledger, alike for all members. Each value has a name with
its unit, a default and a description, from which the file that ``init`` writes and the reference page are made. An
environment variable ``GUILDBOOK_<SECTION>_<NAME>`` overrides a value of the file.
"""

import difflib
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from guildbook.primitives.errors import GuildbookError

CONFIG_FILE = "guildbook.toml"
ENVIRONMENT_PREFIX = "GUILDBOOK_"
CONFIG_SIZE_BYTES_MAX = 1 << 20


class BadConfiguration(GuildbookError):
    """A configuration that a node cannot run with; names the value and what is allowed."""

    def __init__(self, message: str, hint: str, **fields: object) -> None:
        super().__init__("node.bad_configuration", message, hint=hint, **fields)


def _whole(low: int, high: int, text: str) -> Any:
    return msgspec.Meta(ge=low, le=high, description=text)


def _text(text: str, pattern: str | None = None) -> Any:
    return msgspec.Meta(description=text, pattern=pattern, max_length=4_096)


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP interface."""

    host: Annotated[
        str, _text("Address that the node listens on. Put a proxy with TLS in front of any but a local one.")
    ] = "127.0.0.1"
    port: Annotated[int, _whole(0, 65_535, "Port that the node listens on; 0 takes a free one.")] = 8440
    body_size_bytes_max: Annotated[int, _whole(65_536, 1 << 28, "Size of one request's body, bytes.")] = (
        8_388_608
    )
    batch_transactions_max: Annotated[int, _whole(1, 100_000, "Transactions in one batch.")] = 4_096
    requests_running_max: Annotated[int, _whole(1, 100_000, "Requests that run at the same time.")] = 1_024
    subscribers_max: Annotated[int, _whole(0, 100_000, "Event streams that are open at the same time.")] = 256
    header_size_bytes_max: Annotated[
        int, _whole(1_024, 1 << 20, "Size of one request's line and headers, bytes.")
    ] = 32_768
    header_timeout_s: Annotated[
        int, _whole(1, 600, "Seconds in which a request's headers must have arrived.")
    ] = 10
    body_timeout_s: Annotated[int, _whole(1, 600, "Seconds in which a request's body must have arrived.")] = (
        30
    )
    answer_timeout_s: Annotated[int, _whole(1, 600, "Seconds that a submission waits for its block.")] = 30
    idle_timeout_s: Annotated[int, _whole(1, 600, "Seconds after which an idle connection is closed.")] = 20
    stream_stall_s: Annotated[
        int, _whole(1, 3_600, "Seconds after which an event stream whose reader takes nothing is closed.")
    ] = 60
    stop_timeout_s: Annotated[
        int, _whole(1, 600, "Seconds that running requests are given when the node stops.")
    ] = 15


class SequencerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How blocks are cut."""

    gather_ms: Annotated[
        int, _whole(0, 10_000, "Milliseconds that a block waits for company after its first transaction.")
    ] = 8
    proof_delay_ms: Annotated[
        int,
        _whole(1, 60_000, "Milliseconds of rest after which an empty block makes the last state provable."),
    ] = 60
    signature_workers: Annotated[
        int, _whole(0, 256, "Processes that check signatures; 0 checks them in the node's own.")
    ] = 1
    pending_transactions_max: Annotated[
        int, _whole(1, 10_000_000, "Transactions that may wait for a block.")
    ] = 100_000
    block_transactions_max: Annotated[
        int, _whole(1, 100_000, "Transactions in one block, where the network's parameter allows as many.")
    ] = 2_000


class EngineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What decides the order of transactions."""

    kind: Annotated[
        typing.Literal["solo", "cometbft"],
        msgspec.Meta(description="solo: this node alone; cometbft: the validators of a network."),
    ] = "solo"
    bundle_ms: Annotated[
        int, _whole(0, 10_000, "Milliseconds that a bundle waits for company after its first transaction.")
    ] = 50
    bundle_transactions_max: Annotated[int, _whole(1, 100_000, "Transactions in one bundle.")] = 500
    bundle_size_bytes_max: Annotated[
        int, _whole(4_096, 1_048_576, "Size of one bundle, bytes, beyond which it gets no company.")
    ] = 262_144
    resubmit_ms: Annotated[
        int,
        _whole(
            100, 600_000, "Milliseconds after which a transaction that is in no block is handed in again."
        ),
    ] = 5_000
    stall_ms: Annotated[
        int,
        _whole(
            1_000,
            86_400_000,
            "Milliseconds without a block, while transactions wait, before the node says that it is not ready.",
        ),
    ] = 60_000
    stop_wait_ms: Annotated[
        int, _whole(0, 600_000, "Milliseconds that transactions under way are given when the node stops.")
    ] = 5_000
    kept_blocks_max: Annotated[
        int, _whole(0, 1_000_000_000, "Blocks that the engine keeps in its own store; 0: all.")
    ] = 0


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the engine `cometbft` runs, and takes part in its network."""

    start: Annotated[
        bool,
        msgspec.Meta(
            description="Whether the node runs CometBFT beside it; false where a supervisor runs it."
        ),
    ] = True
    version: Annotated[
        typing.Literal["0.39.4", "0.38.25"],
        msgspec.Meta(description="The CometBFT that the node runs; members may run either."),
    ] = "0.39.4"
    p2p_listen: Annotated[str, _text("Address and port on which the engine listens for the other nodes.")] = (
        "0.0.0.0:26656"
    )
    rpc_listen: Annotated[
        str, _text("A further address and port of the engine's own interface, for state sync; empty: none.")
    ] = ""
    state_sync_servers: Annotated[
        str,
        _text(
            "Two or more members' engine interfaces, http://host:port with commas between, from whose headers a new "
            "node learns which snapshot to trust; empty: a new node runs all blocks."
        ),
    ] = ""
    state_sync_height: Annotated[
        int, _whole(0, 1 << 62, "A recent block that the operator trusts, by height.")
    ] = 0
    state_sync_block_hash: Annotated[str, _text("The hash of that block, hexadecimal.", "^([0-9a-fA-F]{64})?$")] = ""
    signer_listen: Annotated[
        str, _text("Where a remote signer connects to, tcp://host:port; empty: the key file signs.")
    ] = ""
    propose_ms: Annotated[
        int, _whole(100, 600_000, "Milliseconds that a block's proposer is given before another is asked.")
    ] = 2_000
    vote_ms: Annotated[int, _whole(100, 600_000, "Milliseconds that late votes are given in a round.")] = (
        1_000
    )
    commit_ms: Annotated[
        int,
        _whole(
            0, 600_000, "Milliseconds that late votes are given after a block; not waited when all are there."
        ),
    ] = 200
    heartbeat_ms: Annotated[
        int,
        _whole(
            0, 3_600_000, "Milliseconds of rest after which an empty block keeps the ledger's time; 0: none."
        ),
    ] = 30_000
    gossip_ms: Annotated[int, _whole(1, 1_000, "Milliseconds between looks at what a peer lacks.")] = 20


class ViewsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SQL."""

    enabled: Annotated[bool, msgspec.Meta(description="Whether the node keeps views and answers SQL.")] = True
    memory_bytes_max: Annotated[
        int, _whole(16 << 20, 1 << 40, "Bytes that the views hold in memory, beyond which they work on disk.")
    ] = 112 << 20
    threads: Annotated[int, _whole(1, 256, "Threads that answer SQL.")] = 2
    lag_blocks_max: Annotated[
        int,
        _whole(
            1, 1_000_000_000, "Blocks that the views may be behind before the node says that it is not ready."
        ),
    ] = 1_000


class StoreConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The store's volume."""

    free_bytes_warn: Annotated[
        int, _whole(0, 1 << 50, "Free bytes below which the node says that it is not ready.")
    ] = 2 << 30
    free_bytes_min: Annotated[
        int, _whole(0, 1 << 50, "Free bytes below which the node takes no transactions.")
    ] = 512 << 20
    retain_blocks: Annotated[
        int,
        _whole(
            0,
            1 << 50,
            "Blocks that are kept with their receipts and row changes; older ones are given up. 0 keeps all: at "
            "least two members should.",
        ),
    ] = 0


class SnapshotsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Snapshots for members that join."""

    interval_blocks: Annotated[
        int,
        _whole(
            0,
            1_000_000_000,
            "Take a snapshot at every height that this divides; 0 takes none. The same on all nodes, or a member "
            "that joins finds no two alike.",
        ),
    ] = 0
    kept_max: Annotated[int, _whole(1, 100, "Snapshots that are kept; older ones are removed.")] = 2


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The node's log, on standard error."""

    format: Annotated[
        typing.Literal["plain", "json"],
        msgspec.Meta(description="plain: lines for people; json: one object a line."),
    ] = "plain"
    level: Annotated[
        typing.Literal["debug", "info", "warning", "error"],
        msgspec.Meta(description="The least serious messages that are written."),
    ] = "info"


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that an operator sets. Each section is a table of the file."""

    http: HttpConfig = HttpConfig()
    sequencer: SequencerConfig = SequencerConfig()
    engine: EngineConfig = EngineConfig()
    network: NetworkConfig = NetworkConfig()
    views: ViewsConfig = ViewsConfig()
    store: StoreConfig = StoreConfig()
    snapshots: SnapshotsConfig = SnapshotsConfig()
    log: LogConfig = LogConfig()
    witnesses: Annotated[
        list[str],
        msgspec.Meta(
            max_length=64,
            description="Witnesses that are asked to cosign the log's checkpoint: the key that `guildbook witness key` "
            "prints, a space, and the witness's address.",
        ),
    ] = []
    applications: Annotated[
        list[str],
        msgspec.Meta(
            max_length=1_000,
            description='Applications whose contracts this node has installed: names, or "module:Class". '
            "Contracts on the ledger run without being listed.",
        ),
    ] = []


class Setting(NamedTuple):
    """One value that can be set: ``name`` is ``section.key``, ``kind`` what it may be, in words."""

    name: str
    kind: str
    default: Any
    description: str


def settings() -> Iterator[Setting]:
    """All values in the order of the file."""
    for field in msgspec.inspect.type_info(NodeConfig).fields:  # type: ignore[attr-defined]
        section = field.type
        if isinstance(section, msgspec.inspect.StructType):
            defaults = section.cls()
            for inner in section.fields:
                yield _setting(f"{field.name}.{inner.name}", inner.type, getattr(defaults, inner.name))
        else:
            yield _setting(field.name, section, [])


def _setting(name: str, kind: Any, default: Any) -> Setting:
    described = kind.extra_json_schema["description"]
    inner = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
    if isinstance(inner, msgspec.inspect.IntType):
        words = f"{inner.ge} to {inner.le}"
    elif isinstance(inner, msgspec.inspect.LiteralType):
        words = " or ".join(str(one) for one in inner.values)
    else:
        words = (
            "true or false"
            if isinstance(inner, msgspec.inspect.BoolType)
            else "text"
            if isinstance(inner, msgspec.inspect.StrType)
            else "list of text"
        )
    return Setting(name, words, default, described)


def default_config_text(changes: Mapping[str, Any] | None = None) -> str:
    """The file that a new node gets: every value with its description; ``changes`` (by name) are set, the rest is
    commented out, so that a later version's defaults reach the node.
    """
    changes = changes or {}
    top: list[str] = ["# The configuration of this node. Values behind a # are the defaults."]
    sections: dict[str, list[str]] = {}
    for one in settings():
        section, _dot, key = one.name.rpartition(".")
        lines = top if not section else sections.setdefault(section, ["", f"[{section}]"])
        lines.append(f"# {one.description} ({one.kind})")
        mark = "" if one.name in changes else "# "
        lines.append(f"{mark}{key} = {toml_value(changes.get(one.name, one.default))}")
    return "\n".join([*top, *(line for lines in sections.values() for line in lines)]) + "\n"


def toml_value(value: Any) -> str:
    """A value as TOML: text, a whole number, true or false, or a list of text."""
    return msgspec.json.encode(value).decode()  # for these kinds JSON and TOML are written alike


def config_reference() -> str:
    """The reference page of the configuration, in Markdown."""
    lines = [
        "# Configuration of a node",
        "",
        "The file `guildbook.toml` in the node's folder. A value that is not set has its default; a name that does not",
        "exist is refused. The environment variable in the last column overrides the file.",
        "",
        "| name | meaning | allowed | default | environment |",
        "|---|---|---|---|---|",
    ]
    for one in settings():
        lines.append(
            f"| `{one.name}` | {one.description} | {one.kind} | `{toml_value(one.default)}` "
            f"| `{variable_of(one.name)}` |"
        )
    lines += [
        "",
        "`GUILDBOOK_KEY_PASSPHRASE` is the passphrase of the keys in `keys/`, where they were made with one. It",
        "stands in no file. A list in the environment is separated by commas.",
    ]
    return "\n".join(lines) + "\n"


def variable_of(name: str) -> str:
    """The environment variable that overrides the setting ``name``."""
    return ENVIRONMENT_PREFIX + name.replace(".", "_").upper()


def read_config(path: Path, environment: Mapping[str, str] | None = None) -> NodeConfig:
    """The configuration in ``path``, with overrides from ``environment``. Raises BadConfiguration."""
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_SIZE_BYTES_MAX + 1)
    except OSError as error:
        raise BadConfiguration(
            f"{path} cannot be read: {error.strerror}", "make a node with: guildbook init"
        ) from None
    try:
        values = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfiguration(
            f"{path} is not TOML: {error}", "correct the line that the message names"
        ) from None
    return make_config(values, environment or {}, str(path))


def make_config(values: dict[str, Any], environment: Mapping[str, str], source: str) -> NodeConfig:
    """The configuration of ``values`` as a file has them, with overrides. Raises BadConfiguration naming the value."""
    known = {one.name: one for one in settings()}
    _refuse_unknown(values, known, source)
    for name, setting in known.items():
        text = environment.get(variable_of(name))
        if text is not None:
            section, _dot, key = name.rpartition(".")
            target = values.setdefault(section, {}) if section else values
            target[key] = _from_environment(setting, text)
    try:
        return msgspec.convert(values, NodeConfig)
    except msgspec.ValidationError as error:
        what, _at, place = str(error).partition(" - at ")
        name = place.strip("`").removeprefix("$.")
        allowed = (
            f"allowed: {known[name].kind}" if name in known else "see the reference of the configuration"
        )
        raise BadConfiguration(f"{source}: {name}: {what}", allowed, name=name) from None


def _refuse_unknown(values: dict[str, Any], known: Mapping[str, Setting], source: str) -> None:
    sections = {name.rpartition(".")[0] for name in known} - {""}
    for key, value in values.items():
        names = (
            [f"{key}.{inner}" for inner in value] if key in sections and isinstance(value, dict) else [key]
        )
        for name in names:
            if name not in known and name not in sections:
                near = difflib.get_close_matches(name, [*known, *sections], 1, 0.5)
                raise BadConfiguration(
                    f"{source}: {name} is not a setting",
                    f"did you mean {near[0]}?" if near else f"sections: {', '.join(sorted(sections))}",
                    name=name,
                )


def _from_environment(setting: Setting, text: str) -> Any:
    if isinstance(setting.default, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    if isinstance(setting.default, int):
        return int(text) if text.lstrip("-").isascii() and text.lstrip("-").isdigit() else text
    if isinstance(setting.default, list):
        return [one.strip() for one in text.split(",") if one.strip()]
    return text
