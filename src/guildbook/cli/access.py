"""Where a command finds its ledger: a running node by address, or a node's folder.

A folder whose node runs is asked over HTTP at the address that the node wrote down; the folder of a node that is
stopped is opened here, for as long as the command takes. So a command works the same whether or not the node runs.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click
import msgspec
from click.core import ParameterSource

from guildbook.client.base import LedgerClient
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey

if TYPE_CHECKING:
    from guildbook.runtime.registry import Registry
    from guildbook.state.rocks import RocksStore

TIMEOUT_S = 30
TIMEOUT_S_MAX = 3_600
GENESIS_FILE = "genesis.json"
STOP_FIRST = "stop it first, with: kill {pid}"

Function = TypeVar("Function", bound=Callable[..., Any])


class Place(NamedTuple):
    """Where the ledger is: an address, or a node's folder; both None: the folder one is in."""

    url: str | None
    node: Path | None
    timeout_s: int

    @property
    def folder(self) -> Path:
        """The node's folder, where no address is given."""
        return self.node if self.node is not None else Path()


def ledger_options(function: Function) -> Function:
    """The options ``--url``, ``--node`` and ``--timeout``, given to the command as ``place``."""

    def gathered(*arguments: Any, url: str | None, node: Path | None, timeout: int, **options: Any) -> Any:
        source = click.get_current_context().get_parameter_source
        if url is not None and node is not None:
            if source("node") is ParameterSource.ENVIRONMENT and source("url") is ParameterSource.COMMANDLINE:
                node = None
            elif source("url") is ParameterSource.ENVIRONMENT and source("node") is ParameterSource.COMMANDLINE:
                url = None
        if url is not None and node is not None:
            raise click.UsageError("--url and --node name two ledgers; give one of them")
        return function(*arguments, place=Place(url, node, timeout), **options)

    gathered.__name__, gathered.__doc__ = function.__name__, function.__doc__
    gathered.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option(
            "--timeout",
            type=click.IntRange(1, TIMEOUT_S_MAX),
            default=TIMEOUT_S,
            show_default=True,
            metavar="SECONDS",
            help="How long to wait for the node.",
        ),
        click.option(
            "--node",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            metavar="FOLDER",
            envvar="GUILDBOOK_NODE",
            show_envvar=True,
            help="The folder of a node on this machine, running or stopped [default: this folder].",
        ),
        click.option(
            "--url",
            metavar="URL",
            envvar="GUILDBOOK_URL",
            show_envvar=True,
            help="The address of a running node, such as http://127.0.0.1:8440.",
        ),
    ):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]


def node_folder(path: Path) -> Path:
    """``path`` itself if it is a node's folder; raises GuildbookError ``store.missing`` if not."""
    if not (path / GENESIS_FILE).exists() and not (path / "store").exists():
        raise GuildbookError(
            "store.missing",
            f"{path} is not the folder of a node",
            hint="name one that guildbook init made, or give the address of a node with --url",
            path=str(path),
        )
    return path


def address_of(place: Place) -> str | None:
    """The address of the running node at ``place``, None for the folder of a stopped one."""
    from guildbook.node import running_node

    if place.url is not None:
        return place.url
    running = running_node(node_folder(place.folder))
    return None if running is None else running.url


def installed() -> "Registry":
    """The contracts that come with this software; a ledger brings the others itself."""
    from guildbook.foundation import FOUNDATION
    from guildbook.runtime.registry import Registry

    registry = Registry()
    for contract in FOUNDATION:
        registry.install(contract)
    return registry


@contextmanager
def told_who_runs(folder: Path, hint: str) -> Iterator[None]:
    """A refusal ``store.locked`` in the block names the process of the node that runs in ``folder``.

    ``hint`` is what to do then; ``{url}`` and ``{pid}`` in it are filled in.
    """
    from guildbook.node import running_node

    try:
        yield
    except GuildbookError as error:
        running = running_node(folder)
        if error.code != "store.locked" or running is None:
            raise
        raise GuildbookError(
            "store.locked",
            f"the node in {folder} runs already, as process {running.pid} at {running.url}",
            hint=hint.format(url=running.url, pid=running.pid),
            pid=running.pid,
            url=running.url,
        ) from None


@contextmanager
def store_at_rest(folder: Path) -> Iterator["RocksStore"]:
    """The store in a stopped node's folder (or in ``folder`` itself), read-only and locked against others."""
    from guildbook.state.rocks import RocksStore

    place = folder if (folder / "CURRENT").exists() else node_folder(folder) / "store"
    with told_who_runs(folder, STOP_FIRST):
        store = RocksStore(place, must_exist=True, read_only=True)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def ledger_at(
    place: Place, key: SigningKey | None = None, *, views: bool = False, proving: bool = False
) -> Iterator[LedgerClient]:
    """A client of the ledger at ``place`` that signs with ``key``, for the time of the block.

    A stopped node is opened with its ``views`` only where SQL is asked: they are a process of their own. Its engine
    runs only to call and when ``proving``: a node that was killed may lack the block that states its last state.
    """
    from guildbook.client import Client
    from guildbook.node import NodeFolder, open_node, read_config

    url = address_of(place)
    if url is None:
        config = read_config(NodeFolder(place.folder).config, os.environ)
        enabled = msgspec.structs.replace(config.views, enabled=views and config.views.enabled)
        with open_node(place.folder, msgspec.structs.replace(config, views=enabled)) as node:
            if key is not None or proving:
                node.engine.start()
            yield node.client(key, timeout_s=place.timeout_s)
        return
    client = Client(url, key, timeout_s=place.timeout_s)
    try:
        yield client
    finally:
        client.close()
