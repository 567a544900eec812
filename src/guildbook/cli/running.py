"""Running a node, and asking how it is."""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from guildbook.cli.access import (
    Place,
    address_of,
    installed,
    ledger_options,
    node_folder,
    store_at_rest,
    told_who_runs,
)
from guildbook.cli.command import Command
from guildbook.cli.terminal import Terminal

if TYPE_CHECKING:
    from guildbook.client.documents import StatusDocument


@click.command(
    cls=Command,
    examples=[
        "guildbook run alliance",
        "guildbook run alliance --port 8500",
        "guildbook run alliance --json",
    ],
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--port", type=click.IntRange(0, 65_535), metavar="PORT", help="Listen on this port; 0 takes a free one."
)
@click.option(
    "--host",
    metavar="ADDRESS",
    help="Listen on this address. Put a proxy with TLS in front of any but a local one.",
)
@click.pass_obj
def run(terminal: Terminal, folder: Path, port: int | None, host: str | None) -> int:
    """Run the node in FOLDER until Ctrl-C or SIGTERM; prints its address when it is ready.

    The log goes to standard error. A second Ctrl-C does not wait for running requests.
    """
    from guildbook.node import NodeFolder, open_node, read_config
    from guildbook.node.backup import BackupSocket
    from guildbook.node.log import configure_logging

    place = NodeFolder(node_folder(folder))
    config = read_config(place.config, os.environ)
    http = {name: value for name, value in (("port", port), ("host", host)) if value is not None}
    if http:
        config = msgspec.structs.replace(config, http=msgspec.structs.replace(config.http, **http))
    configure_logging(config.log)
    if config.engine.kind == "cometbft" and config.network.start and place.peers.exists():
        from guildbook.engine.cometbft.binary import obtain_binary

        with terminal.stages() as progress:
            obtain_binary(config.network.version, progress)
    with told_who_runs(folder, "use it at {url}, or stop it with: kill {pid}"):
        node = open_node(folder, config)

    def ready(url: str) -> None:
        head = node.ledger.head
        document = {
            "network": node.ledger.genesis.network,
            "url": url,
            "height": head.height,
            "pid": os.getpid(),
        }
        terminal.answer(
            document,
            f"{document['network']} runs at {url} from block {head.height} on; Ctrl-C stops it",
        )

    with BackupSocket(place.path, node.ledger.store):
        status = node.serve(ready)
    if not terminal.as_json:
        sys.stderr.write(f"stopped at block {node.ledger.head.height}\n")
    return status


@click.command(
    cls=Command,
    examples=[
        "guildbook status --node alliance",
        "guildbook status --url http://127.0.0.1:8440",
        "guildbook status --node alliance --json",
    ],
)
@ledger_options
@click.pass_obj
def status(terminal: Terminal, place: Place) -> None:
    """Show where a ledger stands: height, hashes, contracts; of a running node or a stopped node's folder."""
    found, where = _status_of(place)
    document: dict[str, Any] = {"running": where is not None, "url": where, **msgspec.to_builtins(found)}
    terminal.answer(document, _status_lines(found, where))


def _status_of(place: Place) -> "tuple[StatusDocument, str | None]":
    """The status and the running node's address; a stopped node's store is only read, and needs no key."""
    import guildbook
    from guildbook.chain.ledger import Ledger
    from guildbook.client import Client
    from guildbook.client.reader import LedgerReader

    url = address_of(place)
    if url is not None:
        with contextlib.closing(Client(url, timeout_s=place.timeout_s)) as client:
            return client.status(), url
    with store_at_rest(place.folder) as store:
        return LedgerReader(Ledger(store, installed()), guildbook.__version__).status(), None


def _status_lines(found: "StatusDocument", url: str | None) -> list[str]:
    from guildbook.runtime.arguments import format_time_ms

    provable = ""
    if found.provable_height is None:
        provable = ", provable from the next block on"
    elif found.provable_height != found.height:
        provable = f", provable up to block {found.provable_height}"
    return [
        f"{found.network} at block {found.height} of {format_time_ms(found.time_ms)}{provable}",
        f"node: {f'runs at {url}' if url else 'stopped'}, version {found.software}",
        f"genesis hash:      {found.genesis_hash}",
        f"application hash:  {found.app_hash}",
        f"state root:        {found.state_root}",
        f"log root:          {found.log_root} of {found.log_size} receipts",
        "contracts:",
        *(f"  {one.name} {one.version}  source {one.source}" for one in found.contracts),
    ]
