"""Where two nodes part: the first block whose application hashes differ, and what they made of it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from guildbook.cli.command import Command
from guildbook.cli.snapshots import view_of_node
from guildbook.cli.terminal import Terminal
from guildbook.primitives.errors import EXIT_NODE

if TYPE_CHECKING:
    from guildbook.chain.changes import BlockChanges
    from guildbook.chain.divergence import Side
    from guildbook.client.remote import Client


@click.command(
    cls=Command,
    examples=[
        "guildbook diverge alliance /backups/alliance-2026-11-23",
        "guildbook diverge alliance http://127.0.0.1:8440 --json",
    ],
)
@click.argument("left", metavar="A")
@click.argument("right", metavar="B")
@click.pass_obj
def diverge(terminal: Terminal, left: str, right: str) -> int:
    """Find where A and B part: node folders (running or stopped), backups, exports, or addresses of nodes.

    Tells the first block whose application hashes differ, and of two folders the transaction, the table and the
    row, with both values field by field. Exit status 0: they do not part; 5: they do.
    """
    from guildbook.chain.divergence import as_text, explain

    with ExitStack() as stack:
        sides = [stack.enter_context(_side(one)) for one in (left, right)]
        found = explain(sides[0], sides[1])
        last = min(side.last_height for side in sides)
    terminal.answer(
        {
            "parted": found is not None,
            "left": left,
            "right": right,
            "compared_to": last,
            "divergence": None if found is None else msgspec.to_builtins(found),
        },
        as_text(found, left, right),
    )
    return 0 if found is None else EXIT_NODE


@contextmanager
def _side(name: str) -> Iterator["Side"]:
    from guildbook.chain.divergence import ViewSide
    from guildbook.client import Client

    if name.startswith(("http://", "https://")):
        client = Client(name)
        try:
            yield RemoteSide(client)
        finally:
            client.close()
        return
    path = Path(name)
    if not path.is_dir():
        raise click.UsageError(f"{name} is neither a folder nor an address of a node")
    with view_of_node(path) as view:
        yield ViewSide(view)


class RemoteSide:
    """A running node over HTTP: what its headers state, and the receipts of a block."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._last = client.status().height

    @property
    def first_height(self) -> int:
        """See Side."""
        return 0

    @property
    def last_height(self) -> int:
        """The last height whose application hash a header states."""
        return max(0, self._last - 1)

    def app_hash(self, height: int) -> bytes:
        """See Side."""
        return bytes.fromhex(self._client.block(height + 1).app_hash)

    def changes(self, height: int) -> "BlockChanges | None":  # noqa: ARG002 - the protocol's signature
        """Never: a node does not hand out its row changes."""
        return None

    def row(self, height: int, table: str, data: bytes) -> Any:  # noqa: ARG002 - the protocol's signature
        """Never asked for."""
        return data.hex()
