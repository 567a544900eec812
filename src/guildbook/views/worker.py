"""The views' own process: it follows the feed in its main thread, and answers questions in others.

It ends when the feed ends, which also happens when the node dies; and after an error of the feed, which it reports
first. Whatever it had not stored comes again when it is started next.
"""

import contextlib
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from guildbook.primitives.errors import GuildbookError
from guildbook.views.database import Views
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
    Written,
    pack,
    pack_rows,
    unpack_fed,
    unpack_question,
    unpack_start,
)
from guildbook.views.schema import ViewSchema
from guildbook.views.settings import ViewsSettings

BATCH_SIZE_BYTES_MAX = 4 * 1024 * 1024
"""So many bytes of blocks are taken from the feed before they are stored."""


class Worker:
    """The process's work, between two channels."""

    def __init__(self, feed: Channel, talk: Channel) -> None:
        self._feed = feed
        self._talk = talk
        self._sending = threading.Lock()
        self._waiting = 0

    def run(self) -> int:
        """Open the views, follow the feed to its end, and return the exit status: 0, or 1 after an error."""
        payload = self._talk.receive()
        if payload is None:
            return 0
        start = unpack_start(payload)
        _bound_memory(start.settings)
        try:
            views = Views(start.path, start.network, settings=start.settings)
        except GuildbookError as error:
            self._say_failed(0, error)
            return 1
        with contextlib.closing(views):
            self._say(Ready(views.first_height, views.height))
            threading.Thread(target=self._listen, args=(views, start.settings), daemon=True).start()
            try:
                self._follow(views, start.settings.coalesce_ms / 1000)
            except GuildbookError as error:
                self._say_failed(0, error)
                return 1
        return 0

    def _follow(self, views: Views, coalesce_s: float) -> None:
        """Take blocks from the feed. What arrives within ``coalesce_s`` of the last transaction shares the next."""
        stored_at = -coalesce_s
        while (payload := self._feed.receive()) is not None:
            fed = unpack_fed(payload)
            blocks: list[bytes] = []
            size_bytes = 0
            while isinstance(fed, bytes):
                blocks.append(fed)
                size_bytes += len(fed)
                if size_bytes >= BATCH_SIZE_BYTES_MAX:
                    break
                try:
                    payload = self._feed.receive(max(stored_at + coalesce_s - time.monotonic(), 0))
                except TimeoutError:
                    break
                if payload is None:
                    break
                fed = unpack_fed(payload)
            height = views.apply(blocks)
            if isinstance(fed, ViewSchema):
                views.ensure_schema(fed)
            stored_at = time.monotonic()
            self._say(Reached(height))

    def _listen(self, views: Views, settings: ViewsSettings) -> None:
        """Take questions from the talk until it ends."""
        with ThreadPoolExecutor(settings.queries_max, "query") as pool:
            while (payload := self._talk.receive()) is not None:
                question = unpack_question(payload)
                if self._waiting >= settings.queries_max + settings.waiting_max:
                    self._say_failed(question.number, GuildbookError(
                        "sql.busy", f"{self._waiting} statements are running or waiting", hint="try again shortly"))
                    continue
                with self._sending:
                    self._waiting += 1
                pool.submit(self._answer, views, question)

    def _answer(self, views: Views, question: Ask | Export) -> None:
        try:
            if isinstance(question, Ask):
                self._ask(views, question)
            else:
                self._export(views, question)
        except GuildbookError as error:
            self._say_failed(question.number, error)
            if error.code == "views.corrupt":
                self._say_failed(0, error)
        except (OverflowError, MemoryError) as error:
            self._say_failed(question.number, GuildbookError("sql.too_large", f"the answer cannot be sent: {error}",
                                                             hint="ask for fewer or smaller values"))
        except Exception as error:  # noqa: BLE001 - whoever asked waits for an answer, also to our mistakes
            traceback.print_exc()
            self._say_failed(question.number, GuildbookError("views.unavailable", f"the views met a mistake: {error!r}",
                                                             hint="report the statement; other statements go on"))
        finally:
            with self._sending:
                self._waiting -= 1

    def _ask(self, views: Views, question: Ask) -> None:
        started = time.perf_counter()
        with views.reading(question.sql, question.parameters, at=question.at, scope=question.scope,
                           limits=question.limits) as reading:
            self._say(Head(question.number, reading.columns, reading.height))
            for rows in reading.batches:
                self._say(Rows(question.number, pack_rows(reading.columns, rows)))
        self._say(Done(question.number, (time.perf_counter() - started) * 1000))

    def _export(self, views: Views, question: Export) -> None:
        # Arrow's writers take memory that few nodes need.
        from guildbook.views.export import export

        done = export(views, question.path, table=question.table, sql=question.sql, parameters=question.parameters,
                      form="csv" if question.form == "csv" else "parquet", at=question.at, scope=question.scope,
                      limits=question.limits)
        self._say(Written(question.number, done.path, done.rows, done.size_bytes, done.height))

    def _say(self, message: Ready | Reached | Head | Rows | Done | Written | Failed) -> None:
        """Send a message; a node that is gone is noticed by the feed."""
        with self._sending, contextlib.suppress(OSError):
            self._talk.send(pack(message))

    def _say_failed(self, number: int, error: GuildbookError) -> None:
        self._say(Failed(number, error.code, error.message, error.hint))


def _bound_memory(settings: ViewsSettings) -> None:
    """Have the operating system refuse memory beyond a bound, so that no statement can take the machine's."""
    if settings.overhead_bytes_max:
        bound = settings.memory_bytes_max + settings.overhead_bytes_max
        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))


def main(arguments: list[str]) -> int:
    """Run on the two open sockets whose descriptors are the arguments: the feed, and the talk."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    feed, talk = (Channel(socket.socket(fileno=int(argument))) for argument in arguments)
    return Worker(feed, talk).run()


if __name__ == "__main__":
    # The views are closed; the interpreter has nothing to tidy up that is worth the time.
    os._exit(main(sys.argv[1:]))
