"""The event stream: server-sent events (WHATWG HTML, section 9.2), in order and each exactly once.

A subscriber reads from the change feed in the store, at its own pace, and only waits at the end of it for the next
block. So nothing is queued for anybody: the sequencer never waits, and a subscriber that was away goes on from the id
of its last event (``Last-Event-ID``), from whichever node it likes. One whose connection takes nothing for a while is
closed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import msgspec

from guildbook.api.problem import bad_request
from guildbook.api.services import Services
from guildbook.client.documents import EventDocument, Position, parse_position
from guildbook.client.kept import Kept
from guildbook.primitives.errors import GuildbookError

KEEP_ALIVE_S = 15.0
BLOCKS_KEPT_MAX = 64
"""The newest blocks, whose events are kept as they are sent."""

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
_encode = msgspec.json.Encoder().encode


class Subscription(msgspec.Struct, frozen=True):
    """What a subscriber asked for. ``start`` is the first position that it wants."""

    start: Position
    contract: str | None
    event: str | None
    follow: bool


def subscription(
    services: Services,
    from_: str | None,
    last_event_id: str | None,
    contract: str | None,
    event: str | None,
    follow: bool,
) -> Subscription:
    """Read what a subscriber asked for; raises GuildbookError ``api.bad_request`` or ``api.not_found``."""
    height = services.signal.height
    if last_event_id:
        last = parse_position(last_event_id)
        start = Position(last.height, last.index + 1)
    elif from_ is not None:
        start = parse_position(from_)
    else:
        start = Position(height + 1, 0)
    if start.height > height + 1:
        raise bad_request(
            f"position {start} lies beyond the next block", f"the last block is {height}", height=height
        )
    catalogue = services.reader.catalogue()
    if contract is not None and contract not in catalogue.contracts:
        raise GuildbookError(
            "call.unknown_contract",
            f"no contract {contract[:80]!r} runs on this network",
            hint=f"choose from {', '.join(catalogue.contracts)}",
        )
    if event is not None and contract is None:
        raise bad_request("an event is named without its contract", "give contract and event")
    return Subscription(start, contract, event, follow)


class Told(NamedTuple):
    """One event, ready to be sent; ``place`` is its number in the block."""

    place: int
    contract: str
    event: str
    text: bytes


class EventFeed:
    """The events of blocks as they are sent. Those of the newest blocks are made once for all subscribers."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._kept: Kept[int, list[Told]] = Kept(BLOCKS_KEPT_MAX)
        self._making = asyncio.Lock()

    async def block(self, height: int) -> list[Told]:
        """The events of the block of ``height``, which is stored."""
        known = self._kept.get(height)
        if known is not None:
            return known
        if height <= self.services.signal.height - BLOCKS_KEPT_MAX:
            return await asyncio.to_thread(self._read, height)
        async with self._making:
            known = self._kept.get(height)
            if known is None:
                known = await asyncio.to_thread(self._read, height)
                self._kept.put(height, known)
            return known

    def _read(self, height: int) -> list[Told]:
        reader = self.services.reader
        return [
            Told(one.index, one.contract, one.event, event_text(one))
            for one in reader.events_of(reader.view(), height)
        ]


def event_text(one: EventDocument) -> bytes:
    """One event as the stream carries it."""
    return b"id: " + one.position.encode() + b"\ndata: " + _encode(one) + b"\n\n"


class Stream:
    """The answer to one subscriber, an ASGI application of its own."""

    def __init__(self, feed: EventFeed, wanted: Subscription) -> None:
        self._services = feed.services
        self._feed = feed
        self._wanted = wanted

    async def _texts(self) -> AsyncIterator[bytes]:
        """Pieces of the stream, at least one in KEEP_ALIVE_S seconds."""
        signal, wanted = self._services.signal, self._wanted
        height, first = wanted.start.height, wanted.start.index
        yield b"retry: 1000\n: the events of a ledger, from " + str(wanted.start).encode() + b"\n\n"
        spoken = time.monotonic()
        while not signal.stopping:
            if height <= signal.height:
                text = b"".join(
                    one.text
                    for one in await self._feed.block(height)
                    if one.place >= first
                    and wanted.contract in (None, one.contract)
                    and wanted.event in (None, one.event)
                )
                height, first = height + 1, 0
                if text:
                    yield text
                    spoken = time.monotonic()
            elif not wanted.follow:
                return
            else:
                await signal.beyond(height - 1, KEEP_ALIVE_S)
            if time.monotonic() - spoken >= KEEP_ALIVE_S:
                yield f": nothing else before {height}.{first}\n\n".encode()
                spoken = time.monotonic()

    async def __call__(self, _scope: Any, receive: Receive, send: Send) -> None:
        """Serve the stream until the subscriber leaves, stalls, or the node stops."""
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"cache-control", b"no-store"),
                    (b"x-accel-buffering", b"no"),
                ],
            }
        )
        serving = asyncio.ensure_future(self._serve(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (serving, leaving):
                task.cancel()
            ended, _left = await asyncio.gather(serving, leaving, return_exceptions=True)
        if isinstance(ended, Exception) and not isinstance(ended, TimeoutError):
            raise ended

    async def _serve(self, send: Send) -> None:
        async for text in self._texts():
            async with asyncio.timeout(self._services.limits.stream_stall_s):
                await send({"type": "http.response.body", "body": text, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
