"""The node's views: what feeds them, and what asks them.

Declarations first. Views must know the tables of a contract version before its first block, and old blocks are fed
again when views are built anew; so at start they are told of every release that the ledger has, and later of each new
one. Where the ledger lacks old changes, restored from a snapshot or pruned, new views begin with all rows as they are
then, and know nothing from before. Views that cannot follow (a version that changes old fields) stop answering; the
ledger goes on.
"""

import datetime
import decimal
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from guildbook.chain.changes import BlockChanges, RowChange
from guildbook.chain.ledger import View
from guildbook.client.documents import SqlAnswer
from guildbook.client.reader import Declarations, LedgerReader
from guildbook.node.config import ViewsConfig
from guildbook.primitives.canonical import encode
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.releases import RELEASES
from guildbook.state import layout
from guildbook.views.answer import ROWS_MAX, Limits
from guildbook.views.files import discard
from guildbook.views.process import ViewsProcess
from guildbook.views.schema import ViewSchema
from guildbook.views.settings import ViewsSettings

VIEWS_FILE = "views.duckdb"
BEGUN_FILE = "begun"
"""There while views that begin with all rows of a later block do not have them yet."""
STOP_WAIT_MS = 10_000
WAIT_FOR_MS_MAX = 10_000

_log = logging.getLogger("guildbook.views")


class NodeViews:
    """The views of one node. ``follow`` is called by the observer; ``sql`` by any thread."""

    def __init__(self, folder: Path, reader: LedgerReader, config: ViewsConfig) -> None:
        folder.mkdir(exist_ok=True)
        self._reader = reader
        self._lag_blocks_max = config.lag_blocks_max
        view = reader.view()
        self._known = reader.declarations(view)
        self._base: View | None = None
        self._turn = threading.Lock()
        """Held to hand over a block, and to begin anew."""
        self._begun = folder / BEGUN_FILE
        if self._begun.exists():
            discard(folder / VIEWS_FILE)
        if not (folder / VIEWS_FILE).exists() and view.changes_bytes(0) is None:
            self._begun.write_bytes(b"")
            self._base = view
        self._failure: GuildbookError | None = None
        self._process = ViewsProcess(
            folder / VIEWS_FILE,
            view.network,
            schema_of_all_releases(reader, view),
            self._read_changes,
            settings=ViewsSettings(
                memory_bytes_max=config.memory_bytes_max,
                threads=config.threads,
                first_height=0 if self._base is None else view.head.height,
            ),
            rebuild_when_corrupt=True,
        )

    @property
    def height(self) -> int:
        """The last height that the views are known to hold."""
        return self._process.height

    def _read_changes(self, height: int) -> Iterator[bytes]:
        view = self._reader.view()
        self._settle(height - 1)
        base = self._base
        if base is None and height <= view.head.height and view.changes_bytes(height) is None:
            self._begin_anew(view)
            return
        for one in range(height, view.head.height + 1):
            data = view.changes_bytes(one)
            if base is not None and one <= base.head.height:
                data = all_rows(base)
            if data is None:
                return
            yield data

    def _begin_anew(self, view: View) -> None:
        """The ledger no longer has the changes that the views need: begin with all rows of ``view``.

        Until they have them, a file beside the views says that what they hold is nothing to go on from.
        """
        _log.warning(
            "the views begin anew: the ledger does not keep the changes they need",
            extra={"height": view.head.height},
        )
        with self._turn:
            self._begun.write_bytes(b"")
            self._base = view
            self._process.rebuild(view.head.height)

    def _settle(self, height: int) -> None:
        """The views hold ``height``: where they have the rows they began with, go on as always."""
        base = self._base
        if base is not None and height >= base.head.height:
            self._begun.unlink(missing_ok=True)
            self._base = None

    def follow(self, view: View, height: int, changes: bytes) -> None:
        """Hand over the changes of a stored block; returns at once."""
        declared = self._reader.declarations(view, height)
        if declared is not self._known:
            self._learn(declared)
        with self._turn:
            self._settle(self._process.height)
            if self._base is None or height > self._base.head.height:
                self._process.apply([changes])

    def _learn(self, declared: Declarations) -> None:
        self._known = declared
        try:
            self._process.ensure_schema(declared.catalogue)
        except GuildbookError as error:
            self._failure = error
            _log.error("the views cannot follow a new contract version: %s", error)

    def not_ready(self, height: int) -> list[str]:
        """Why SQL should not be asked here now, when the ledger is at ``height``."""
        status = self._process.status
        if self._failure is not None or status.state == "halted":
            return [f"the views have halted: {self._failure or status.error}"]
        if height - status.height > self._lag_blocks_max:
            return [f"the views are {height - status.height} blocks behind"]
        return []

    def sql(
        self,
        statement: str,
        parameters: Sequence[Any] | Mapping[str, Any],
        *,
        at: int | None,
        wait_for: int | None,
        limit: int | None,
    ) -> SqlAnswer:
        """The rows of one SELECT. Raises GuildbookError ``sql.*`` and ``views.*``."""
        if self._failure is not None:
            raise self._failure
        wanted = max(wait_for or 0, min(at or 0, self._reader.view().head.height))
        if wanted > self._process.height:
            self._process.wait_for(wanted, WAIT_FOR_MS_MAX)
        base = self._base
        if base is not None and base.head.height > self._process.height:  # until then they know no table
            self._process.wait_for(base.head.height, WAIT_FOR_MS_MAX)
        limits = Limits(rows_max=ROWS_MAX if limit is None else min(limit, ROWS_MAX))
        result = self._process.query(statement, parameters, at=at, limits=limits)
        return SqlAnswer(
            height=result.height,
            columns=list(result.names),
            kinds=[column.type for column in result.columns],
            rows=[[written(value) for value in row] for row in result.rows],
        )

    def close(self, height: int) -> None:
        """Let the views reach ``height``, as far as they can soon, and end their process."""
        try:
            if self._failure is None:
                self._process.wait_for(height, STOP_WAIT_MS)
        except GuildbookError as error:
            _log.warning("the views were stopped before they were current: %s", error)
        self._settle(self._process.height)
        self._process.close()


def all_rows(view: View) -> bytes:
    """The whole state as the changes of one block: where the views of a ledger without its old changes begin."""
    rows = []
    for key, row in view.reader.scan(layout.ROWS, layout.ROWS_END):
        name, _zero, own = key[1:].partition(b"\0")
        rows.append(RowChange(name.decode(), own, None, row))
    return encode(BlockChanges(view.head.height, view.head.time_ns // 1_000_000, rows, [], []))


def schema_of_all_releases(reader: LedgerReader, view: View) -> ViewSchema:
    """The tables and events of every contract version that ``view`` has, those of later heights too."""
    heights = sorted({release.active_from for release in view.rows(RELEASES)})
    schema = ViewSchema()
    for height in [*heights, view.head.height]:
        schema = schema.extended_by(ViewSchema.of(reader.declarations(view, height).catalogue))
    return schema


def written(value: Any) -> Any:
    """A value of an answer as JSON: bytes as hexadecimal, times as RFC 3339 text, decimal numbers as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [written(one) for one in value]
    if isinstance(value, dict):
        return {str(name): written(one) for name, one in value.items()}
    return value
