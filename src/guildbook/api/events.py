"""The event stream: server-sent events (WHATWG HTML, section 9.2), in order and each exactly once.

A subscriber reads from the change feed in the store, at its own pace, and only waits at the end of it for the next
block. So nothing is queued for anybody: the sequencer never waits, and a subscriber that was away goes on from the id
of its last event (``Last-Event-ID``), from whichever node it likes. One whose connection takes nothing for a while is
closed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from guildbook.api.problem import bad_request
from guildbook.api.services import Services
from guildbook.client.documents import EventDocument, Position, parse_position
from guildbook.client.reader import matches
from guildbook.primitives.errors import GuildbookError

KEEP_ALIVE_S = 15.0
BLOCKS_PER_TURN = 16
"""Blocks that one subscriber reads in one turn in a thread."""

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


def event_text(one: EventDocument) -> bytes:
    """One event as the stream carries it."""
    return b"id: " + one.position.encode() + b"\ndata: " + _encode(one) + b"\n\n"


class Stream:
    """The answer to one subscriber, an ASGI application of its own."""

    def __init__(self, services: Services, wanted: Subscription) -> None:
        self._services = services
        self._wanted = wanted

    def _turn(self, position: Position) -> tuple[bytes, Position]:
        """The text of the next blocks from ``position``, and where to go on."""
        view = self._services.reader.view()
        wanted = self._wanted
        parts = []
        last = min(view.head.height, position.height + BLOCKS_PER_TURN - 1)
        for height in range(position.height, last + 1):
            for one in self._services.reader.events_of(view, height):
                if (height > position.height or one.index >= position.index) and matches(
                    one, wanted.contract, wanted.event
                ):
                    parts.append(event_text(one))
        return b"".join(parts), max(position, Position(last + 1, 0))

    async def _texts(self) -> AsyncIterator[bytes]:
        """Pieces of the stream, at least one in KEEP_ALIVE_S seconds."""
        signal = self._services.signal
        position = self._wanted.start
        yield b"retry: 1000\n: the events of a ledger, from " + str(position).encode() + b"\n\n"
        spoken = time.monotonic()
        while True:
            text, position = await asyncio.to_thread(self._turn, position)
            behind = position.height <= signal.height
            if text:
                yield text
                spoken = time.monotonic()
            if not behind and (not self._wanted.follow or signal.stopping):
                return
            if signal.stopping:
                return
            if not behind:
                await signal.beyond(position.height - 1, KEEP_ALIVE_S)
            if time.monotonic() - spoken >= KEEP_ALIVE_S:
                # An id without data: the reader goes on from here even when nothing that it asked for has happened.
                yield b": " + str(position).encode() + b"\n\n"
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
            await asyncio.gather(serving, leaving, return_exceptions=True)

    async def _serve(self, send: Send) -> None:
        async for text in self._texts():
            async with asyncio.timeout(self._services.limits.stream_stall_s):
                await send({"type": "http.response.body", "body": text, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
