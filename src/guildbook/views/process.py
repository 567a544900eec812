"""The views in a process of their own, as the node sees them.

Theory. DuckDB works in many threads and takes memory in bursts; in a process of its own it can do neither to the node,
and if it falls over, the node starts it again. Nothing is lost by that: the views say which height they hold, and the
feed goes on from there with what the store keeps. Blocks that have just been decided are handed over without reading
the store; if too many wait, they are dropped here and read from the store when their turn comes.

One thread follows (start, feed, start again), one listens (answers, heights). Callers wait for both without polling.
"""

import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

import guildbook
from guildbook.chain.changes import BlockChanges
from guildbook.primitives.errors import GuildbookError
from guildbook.views.answer import DEFAULT_LIMITS, EXPORT_LIMITS, Column, Exported, Limits, Parameters, Result
from guildbook.views.files import discard
from guildbook.views.messages import (
    Ask,
    Channel,
    Done,
    Export,
    Failed,
    Head,
    Reached,
    Ready,
    Rows,
    Start,
    Written,
    pack,
    pack_fed,
    unpack_answer,
    unpack_rows,
)
from guildbook.views.schema import CatalogueLike, Relation, ViewSchema
from guildbook.views.scope import Scope
from guildbook.views.settings import DEFAULT_SETTINGS, ViewsSettings

ReadChanges = Callable[[int], Iterable[BlockChanges | bytes]]
"""Gives the stored changes from a height on, in order, as far as they are stored now."""

QUEUE_BLOCKS_MAX = 1_024
QUEUE_SIZE_BYTES_MAX = 16 * 1024 * 1024
RESTART_DELAY_S_MIN = 0.1
RESTART_DELAY_S_MAX = 5.0
CLOSE_TIMEOUT_S = 10.0
START_TIMEOUT_S = 30.0
"""How long a question waits for views that are starting."""

_FINAL = frozenset({"views.corrupt", "views.mismatch"})
"""Errors that starting again does not mend."""

_log = logging.getLogger("guildbook.views")


class ViewsStatus(msgspec.Struct, frozen=True):
    """How the views' process is.

    ``state``: ``starting``, ``running``, ``halted`` (an error that only ``rebuild`` mends) or ``closed``. ``height``:
    the last one that the views are known to hold. ``restarts``: how often the process was started again. ``error``:
    the last error, empty if there was none.
    """

    state: Literal["starting", "running", "halted", "closed"]
    height: int
    process_id: int | None
    restarts: int
    error: str


class _Pending:
    """A question on its way."""

    def __init__(self) -> None:
        self.columns: tuple[Column, ...] = ()
        self.height = -1
        self.rows: list[tuple[Any, ...]] = []
        self.elapsed_ms = 0.0
        self.written: Exported | None = None
        self.error: GuildbookError | None = None
        self.done = threading.Event()


class _Child:
    """One run of the process."""

    def __init__(self, path: Path, network: str, settings: ViewsSettings) -> None:
        feed, feed_there = socket.socketpair()
        talk, talk_there = socket.socketpair()
        package = str(Path(guildbook.__file__).parents[1])
        environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2",
                       "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))}
        with feed_there, talk_there:
            descriptors = (feed_there.fileno(), talk_there.fileno())
            # Ctrl-C at a terminal is for the node: the child inherits the mask, from before its first import on.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                self.process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
                    [sys.executable, "-m", "guildbook.views.worker", *map(str, descriptors)],
                    pass_fds=descriptors, stdin=subprocess.DEVNULL, env=environment)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.feed, self.talk = Channel(feed), Channel(talk)
        self.sending = threading.Lock()
        self.height = -1
        """The height that it held when it was ready."""
        self.gone = False
        """Whether it has ended or has to end; what it still says is not heard."""
        self.talk.send(pack(Start(str(path), network, settings)))

    def end(self, timeout_s: float) -> int:
        """Close both sockets, wait for the process, kill it if it does not go, and return its status."""
        self.feed.stop()
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.feed.close()
        self.talk.stop()
        return status


class ViewsProcess:
    """The SQL read side of one ledger, in another process. Safe in any thread; same methods as ``Views``."""

    def __init__(self, path: Path | str, network: str, catalogue: CatalogueLike | ViewSchema,
                 read_changes: ReadChanges, *, settings: ViewsSettings = DEFAULT_SETTINGS,
                 rebuild_when_corrupt: bool = False) -> None:
        """Start following; returns at once.

        ``read_changes`` is called from a thread of this object, with the height to begin at. With
        ``rebuild_when_corrupt`` damaged views are thrown away and built again; without, every question is answered
        with ``views.corrupt`` until ``rebuild`` is called.
        """
        self.path = Path(path).absolute()
        self.network = network
        self._settings = settings
        self._before_first = settings.first_height - 1
        self._read_changes = read_changes
        self._rebuild_when_corrupt = rebuild_when_corrupt
        self._changed = threading.Condition()
        """Guards everything below, and is notified whenever something of it changes."""
        self._schema = ViewSchema().extended_by(_schema_of(catalogue))
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queue_size_bytes = 0
        self._latest = -1
        """The last height that was handed over."""
        self._child: _Child | None = None
        self._ready = False
        self._closed = False
        self._discard = False
        self._halted: GuildbookError | None = None
        self._error = ""
        self._restarts = -1
        self._height = self._before_first
        self._pending: dict[int, _Pending] = {}
        self._numbers = itertools.count(1)
        self._follower = threading.Thread(target=self._follow, name="views-follower", daemon=True)
        self._follower.start()

    @property
    def height(self) -> int:
        """The last height that the views are known to hold."""
        return self._height

    @property
    def status(self) -> ViewsStatus:
        """How the process is."""
        with self._changed:
            state: Literal["starting", "running", "halted", "closed"] = (
                "closed" if self._closed else "halted" if self._halted else "running" if self._ready else "starting")
            process_id = None if self._child is None else self._child.process.pid
            return ViewsStatus(state, self._height, process_id, max(self._restarts, 0), self._error)

    def relations(self) -> dict[str, Relation]:
        """Everything that can stand in a FROM clause, by full name."""
        return self._schema.relations()

    def ensure_schema(self, catalogue: CatalogueLike | ViewSchema) -> None:
        """As ``Views.ensure_schema``; it holds for the blocks given from now on."""
        with self._changed:
            self._schema = self._schema.extended_by(_schema_of(catalogue))
            self._changed.notify_all()

    def apply(self, blocks: Iterable[BlockChanges | bytes]) -> int:
        """Hand over the changes of blocks that are stored by now, and return at once; see ``wait_for``.

        Returns the height that the views are known to hold.
        """
        fed = [_packed(changes) for changes in blocks]
        with self._changed:
            for height, data in fed:
                self._queue.append((height, data))
                self._queue_size_bytes += len(data)
                self._latest = max(self._latest, height)
            while len(self._queue) > QUEUE_BLOCKS_MAX or self._queue_size_bytes > QUEUE_SIZE_BYTES_MAX:
                self._queue_size_bytes -= len(self._queue.popleft()[1])
            self._changed.notify_all()
            return self._height

    def wait_for(self, height: int, timeout_ms: int = 10_000) -> int:
        """As ``Views.wait_for``."""
        with self._changed:
            self._changed.wait_for(lambda: self._height >= height or self._closed or self._halted is not None,
                                   timeout_ms / 1000)
            if self._height >= height:
                return self._height
            if self._halted is not None:
                raise self._halted
            raise GuildbookError("views.behind", f"the views hold height {self._height}; {height} did not come within "
                                 f"{timeout_ms} ms", hint="try again shortly, or accept an earlier height",
                                 wanted=height, held=self._height)

    def query(self, sql: str, parameters: Parameters = None, *, at: int | None = None, scope: Scope | None = None,
              limits: Limits = DEFAULT_LIMITS) -> Result:
        """As ``Views.query``; also ``sql.busy`` when too many statements wait, and ``views.unavailable``."""
        pending = self._ask(lambda number: Ask(number, sql, _listed(parameters), at, scope, limits))
        return Result(pending.columns, pending.rows, pending.height, pending.elapsed_ms)

    def export(self, path: Path | str, *, table: str = "", sql: str = "", parameters: Parameters = None,
               form: Literal["parquet", "csv"] = "parquet", at: int | None = None, scope: Scope | None = None,
               limits: Limits = EXPORT_LIMITS) -> Exported:
        """As ``views.export.export``; a relative ``path`` is relative to this process's folder."""
        place = str(Path(path).absolute())
        written = self._ask(lambda number: Export(number, place, table, sql, _listed(parameters), form, at, scope,
                                                  limits)).written
        assert written is not None
        return written

    def rebuild(self, first_height: int | None = None) -> None:
        """Throw the views away and build them again from the changes; returns at once, see ``wait_for``.

        ``first_height`` says where the changes begin from now on; what was handed over before is forgotten, and
        ``read_changes`` is asked from there.
        """
        with self._changed:
            if first_height is not None:
                self._settings = msgspec.structs.replace(self._settings, first_height=first_height)
                self._before_first = first_height - 1
                self._queue.clear()
                self._queue_size_bytes = 0
            self._throw_away()
            self._halted = None
            self._let_go()

    def close(self) -> None:
        """End the process: running statements end in an error, what was stored stays. A second call does nothing."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._let_go()
        self._follower.join()

    def __enter__(self) -> "ViewsProcess":
        """The object itself."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close."""
        self.close()

    # The follower's thread

    def _follow(self) -> None:
        delay_s = RESTART_DELAY_S_MIN
        while self._may_start(delay_s):
            try:
                progress = self._run_once()
            except (OSError, GuildbookError) as error:
                progress = False
                self._note(str(error))
            delay_s = RESTART_DELAY_S_MIN if progress else min(delay_s * 2, RESTART_DELAY_S_MAX)

    def _may_start(self, delay_s: float) -> bool:
        """Wait until the process may be started; False when it is not to be started any more."""
        with self._changed:
            if self._restarts >= 0 and not self._discard:
                self._changed.wait_for(lambda: self._closed or self._discard, delay_s)
            self._changed.wait_for(lambda: self._closed or self._halted is None)
            return not self._closed

    def _run_once(self) -> bool:
        """Start the process, feed it until it ends, and return whether the views got further."""
        with self._changed:
            if self._discard:
                discard(self.path)
                self._discard = False
            self._restarts += 1
            child = self._child = _Child(self.path, self.network, self._settings)
        listener = threading.Thread(target=self._listen, args=(child,), name="views-listener", daemon=True)
        listener.start()
        try:
            with contextlib.suppress(OSError):
                for payload in self._to_feed(child):
                    child.feed.send(payload)
        finally:
            status = child.end(CLOSE_TIMEOUT_S)
            listener.join()
            child.talk.close()
            with self._changed:
                self._child = None
                if not self._closed and not self._discard:
                    _log.warning("the views' process ended with status %d at height %d", status, self._height)
        return self._height > child.height

    def _to_feed(self, child: _Child) -> Iterator[bytes]:
        """What to send to ``child``, in order, until it has to end."""
        schema: ViewSchema | None = None
        expected: int | None = None
        while (work := self._next_work(child, schema, expected)) is not None:
            schema_now, start, waiting = work
            if schema_now is not schema:
                schema = schema_now
                yield pack_fed(schema)
            expected = start
            for height, data in waiting if waiting and waiting[0][0] == start else self._stored(start):
                yield pack_fed(data)
                expected = height + 1
                if child.gone or schema is not self._schema:
                    break
            else:
                if expected == start:
                    # What was handed over is not in the store: wait for the next block.
                    with self._changed:
                        self._latest = min(self._latest, start - 1)

    def _next_work(self, child: _Child, schema: ViewSchema | None,
                   expected: int | None) -> tuple[ViewSchema, int, list[tuple[int, bytes]]] | None:
        """Wait for something to feed: the schema, the height to go on from, and what waits in the queue from there.

        None when the process has to end. ``schema`` and ``expected`` are what it was fed so far.
        """
        with self._changed:
            self._changed.wait_for(lambda: child.gone or (self._ready and (
                expected is None or schema is not self._schema or self._latest >= expected)))
            if child.gone:
                return None
            start = self._height + 1 if expected is None else expected
            waiting = [block for block in self._queue if block[0] >= start]
            self._queue.clear()
            self._queue_size_bytes = 0
            return self._schema, start, waiting

    def _stored(self, start: int) -> Iterator[tuple[int, bytes]]:
        return map(_packed, self._read_changes(start))

    def _throw_away(self) -> None:
        """Have the files deleted before the next start. The caller holds the lock."""
        self._discard = True
        self._height = self._before_first

    def _let_go(self) -> None:
        """Have the process end. The caller holds the lock."""
        self._ready = False
        if self._child is not None:
            self._child.gone = True
            self._child.feed.stop()
        self._changed.notify_all()

    def _note(self, error: str) -> None:
        _log.error("the views: %s", error)
        with self._changed:
            self._error = error

    # The listener's thread

    def _listen(self, child: _Child) -> None:
        while (payload := child.talk.receive()) is not None:
            match unpack_answer(payload):
                case Ready(height=height):
                    child.height = height
                    self._reached(child, height)
                case Reached(height=height):
                    self._reached(child, height)
                case Failed(number=0, code=code, message=message, hint=hint):
                    self._failed(child, GuildbookError(code, message, hint=hint))
                case answer:
                    self._answered(answer)
        with self._changed:
            self._let_go()
            pending = list(self._pending.values())
            self._pending.clear()
            error = self._halted or GuildbookError(
                "views.unavailable", "the views' process ended before it answered", hint="try again shortly")
        for one in pending:
            one.error = error
            one.done.set()

    def _reached(self, child: _Child, height: int) -> None:
        with self._changed:
            if not child.gone:
                self._height = height
                self._ready = True
                self._changed.notify_all()

    def _failed(self, child: _Child, error: GuildbookError) -> None:
        """The process as a whole met an error, and is ending."""
        self._note(str(error))
        with self._changed:
            if child.gone:
                return
            if error.code == "views.corrupt" and self._rebuild_when_corrupt:
                self._throw_away()
            elif error.code in _FINAL:
                self._halted = error
            self._let_go()

    def _answered(self, message: Head | Rows | Done | Written | Failed) -> None:
        pending = self._pending.get(message.number)
        assert pending is not None, f"an answer to question {message.number}, which was not asked"
        match message:
            case Head():
                pending.columns, pending.height = message.columns, message.height
                return
            case Rows():
                pending.rows += unpack_rows(pending.columns, message.rows)
                return
            case Done():
                pending.elapsed_ms = message.elapsed_ms
            case Written():
                pending.written = Exported(message.path, message.rows, message.size_bytes, message.height)
            case Failed():
                pending.error = GuildbookError(message.code, message.message, hint=message.hint)
        with self._changed:
            del self._pending[message.number]
        pending.done.set()

    # Callers' threads

    def _ask(self, question: Callable[[int], Ask | Export]) -> _Pending:
        """Send a question, and wait for its answer. Every question is answered, by the process or by its end."""
        pending = _Pending()
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._closed or self._halted is not None, START_TIMEOUT_S)
            if self._halted is not None:
                raise self._halted
            child = self._child
            if not self._ready or self._closed or child is None:
                raise GuildbookError("views.unavailable", "the views' process is not running", hint="try again shortly")
            number = next(self._numbers)
            self._pending[number] = pending
        try:
            payload = pack(question(number))
        except (OverflowError, TypeError) as error:
            with self._changed:
                self._pending.pop(number, None)
            raise GuildbookError("sql.failed", f"a parameter cannot be sent: {error}",
                                 hint="send integers of 64 bits, texts, bytes, times or NULL") from error
        with child.sending, contextlib.suppress(OSError):
            child.talk.send(payload)
        pending.done.wait()
        if pending.error is not None:
            raise pending.error
        return pending


def _schema_of(catalogue: CatalogueLike | ViewSchema) -> ViewSchema:
    return catalogue if isinstance(catalogue, ViewSchema) else ViewSchema.of(catalogue)


def _listed(parameters: Parameters) -> list[Any] | dict[str, Any] | None:
    if parameters is None:
        return None
    return dict(parameters) if hasattr(parameters, "keys") else list(parameters)


class _Start(msgspec.Struct, array_like=True):
    """The beginning of a block's changes."""

    height: int


_height_of = msgspec.msgpack.Decoder(_Start).decode


def _packed(changes: BlockChanges | bytes) -> tuple[int, bytes]:
    """The height and the canonical bytes of a block's changes."""
    if isinstance(changes, BlockChanges):
        return changes.height, msgspec.msgpack.encode(changes)
    return _height_of(changes).height, changes
