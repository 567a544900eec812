"""The socket between CometBFT and a node: frames in, frames out, answers in the order of their requests.

A frame is the length of a message as an unsigned LEB128 varint, and the message. CometBFT opens four connections (for
blocks, the mempool, questions and snapshots), sends requests without waiting, and sends ``Flush`` to have the answers.
It stops itself when a connection ends or an answer is out of order.

Requests are answered in lanes, one thread each (``application.Lane``), so that a check of a bundle never waits for a
block. The socket is a file that its owner alone may open; there is no other authentication.
"""

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from google.protobuf.message import DecodeError

from guildbook.engine.abci import messages_pb2 as pb
from guildbook.engine.abci.application import LANES, Application, Halted, Lane
from guildbook.primitives.errors import GuildbookError

FRAME_SIZE_BYTES_MAX = 128 << 20
"""The largest message that is read: a block and what is around it."""
LENGTH_SIZE_BYTES_MAX = 5
READ_AHEAD_BYTES = 1 << 20
REQUESTS_AHEAD_MAX = 64
"""Requests of one connection that are read before the first of them is answered."""
SOCKET_MODE = 0o600
START_WAIT_S = 10.0

_log = logging.getLogger("guildbook.engine")


class BadFrame(Exception):
    """What came over the socket is no frame."""


def encode_frame(message: bytes) -> bytes:
    """``message`` behind its length."""
    length = bytearray()
    value = len(message)
    while value >= 0x80:
        length.append((value & 0x7F) | 0x80)
        value >>= 7
    length.append(value)
    return bytes(length) + message


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next message, or None at the end of the stream between two. Raises BadFrame."""
    size = 0
    for place in range(LENGTH_SIZE_BYTES_MAX):
        octet = await reader.read(1)
        if not octet:
            if place:
                raise BadFrame("the stream ends within a length")
            return None
        size |= (octet[0] & 0x7F) << (7 * place)
        if octet[0] < 0x80:
            break
    else:
        raise BadFrame(f"a length of more than {LENGTH_SIZE_BYTES_MAX} bytes")
    if size > FRAME_SIZE_BYTES_MAX:
        raise BadFrame(f"a message of {size} bytes; at most {FRAME_SIZE_BYTES_MAX} are read")
    try:
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        raise BadFrame(f"the stream ends {size - len(error.partial)} bytes before a message") from None


async def _turns() -> None:
    """Let the loop do what is waiting for its next turns."""
    for _ in range(4):
        await asyncio.sleep(0)


class AbciServer:
    """Serves ``application`` on the socket ``path``, in threads of its own.

    ``on_halt`` is called once when the application cannot go on, ``on_connections`` with the number of open connections
    whenever it changes; both in the server's threads.
    """

    def __init__(
        self,
        application: Application,
        path: Path,
        *,
        on_halt: Callable[[BaseException], None],
        on_connections: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._application = application
        self._path = path
        self._on_halt = on_halt
        self._on_connections = on_connections
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._halted = False
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="abci", daemon=True)

    def start(self) -> None:
        """Listen. Raises GuildbookError ``node.bad_configuration`` when the socket cannot be made."""
        listening = self._listen()
        self._listening = listening
        self._thread.start()
        if not self._started.wait(START_WAIT_S) or self._failure is not None:
            raise GuildbookError(
                "api.unavailable", f"the engine's socket is not served: {self._failure or 'it did not start'}"
            )

    def stop(self) -> None:
        """End all connections and stop listening; waits for requests that run."""
        loop, ending = self._loop, self._ending
        if loop is not None and ending is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(ending.set)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _listen(self) -> socket.socket:
        """The listening socket, made by a short name: a socket's address has room for about a hundred bytes."""
        listening = socket.socket(socket.AF_UNIX)
        try:
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._path.unlink(missing_ok=True)  # of a node that was killed; two nodes cannot have one store
                listening.bind(f"/proc/self/fd/{folder}/{self._path.name}")
                os.chmod(self._path, SOCKET_MODE)
                listening.listen(16)
                listening.setblocking(False)
            finally:
                os.close(folder)
        except OSError as error:
            listening.close()
            raise GuildbookError(
                "node.bad_configuration",
                f"the engine's socket {self._path} cannot be made: {error.strerror}",
                hint="its folder must be there and writable",
                path=str(self._path),
            ) from None
        return listening

    def _serve(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - the thread's rim: the node must hear of it
            self._failure = error
            if self._started.is_set():
                self._halt(error)
        finally:
            self._started.set()
            self._listening.close()
            self._path.unlink(missing_ok=True)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        self._lanes = {lane: ThreadPoolExecutor(1, f"abci-{lane.value}") for lane in Lane}
        try:
            server = await asyncio.start_unix_server(
                self._accept, sock=self._listening, limit=READ_AHEAD_BYTES
            )
            async with server:
                self._started.set()
                await self._ending.wait()
                self._loop.remove_reader(self._listening.fileno())
                await _turns()  # what was just accepted becomes a connection, which can be closed
                server.close()
                for task, writer in list(self._open.items()):
                    task.cancel()
                    writer.transport.abort()
                if self._open:
                    await asyncio.wait(list(self._open))
                await _turns()  # what was closed last is let go
        finally:
            for lane in self._lanes.values():
                lane.shutdown(wait=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._converse(reader, writer))
        self._open[task] = writer
        task.add_done_callback(self._ended)
        self._on_connections(len(self._open))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._open[task]
        self._on_connections(len(self._open))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        answers: asyncio.Queue[asyncio.Future[pb.Response] | None] = asyncio.Queue(REQUESTS_AHEAD_MAX)
        answering = asyncio.ensure_future(self._answer(answers, writer))
        try:
            while (frame := await read_frame(reader)) is not None:
                await answers.put(self._begin(pb.Request.FromString(frame)))
                if answering.done():
                    break
            await answers.put(None)
            await answering
        except (BadFrame, DecodeError) as error:
            _log.error("the engine's connection is ended: %s", error)
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await answering
            writer.close()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writer.wait_closed()

    def _begin(self, request: pb.Request) -> "asyncio.Future[pb.Response]":
        """Have ``request`` answered in its lane; what needs no lane is answered on the spot."""
        assert self._loop is not None
        lane = LANES.get(request.WhichOneof("value") or "")
        if lane is None:
            done: asyncio.Future[pb.Response] = self._loop.create_future()
            done.set_result(self._application.handle(request))
            return done
        return self._loop.run_in_executor(self._lanes[lane], self._handle, request)

    def _handle(self, request: pb.Request) -> pb.Response:
        if self._halted:
            return pb.Response(exception=pb.ResponseException(error="the node has halted"))
        try:
            return self._application.handle(request)
        except Halted as halted:
            self._halt(halted.cause)
            return pb.Response(exception=pb.ResponseException(error=f"the node halts: {halted.cause}"))

    def _halt(self, cause: BaseException) -> None:
        if not self._halted:
            self._halted = True
            self._on_halt(cause)

    async def _answer(
        self, answers: "asyncio.Queue[asyncio.Future[pb.Response] | None]", writer: asyncio.StreamWriter
    ) -> None:
        """Write the answers in the order of their requests, and have them on the way before waiting for more."""
        while (future := await answers.get()) is not None:
            response = await future
            writer.write(encode_frame(response.SerializeToString()))
            if answers.empty() or response.HasField("flush"):
                await writer.drain()
