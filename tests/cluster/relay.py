"""Wires between the engines of a network on one machine, which a test can cut, slow down and mend.

Each engine dials each other one at an address of its own, where a relay listens and passes on what it gets. To cut a
wire is what a broken line is: nothing gets through and nothing is said, connections stay open, and new ones are taken
and come to nothing. When it is mended, connections from before are over.

Every node must be told its wires before it starts (``Wires.lay``): they stand in its list of peers.
"""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Coroutine, Iterable
from typing import Any

import msgspec

from guildbook.node.folder import NodeFolder
from guildbook.node.joining import read_peers
from guildbook.testing.network import LocalNetwork

CHUNK_SIZE_BYTES = 1 << 16

Wire = frozenset[str]
"""Two organisations."""


class Wires:
    """The wires between all nodes of ``network``; ``with`` lays them and takes them away."""

    def __init__(self, network: LocalNetwork) -> None:
        self._network = network
        self._cut: set[Wire] = set()
        self._delay_s: dict[Wire, float] = {}
        self._open: dict[Wire, set[asyncio.StreamWriter]] = {}
        self._mended: dict[Wire, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires")

    def __enter__(self) -> "Wires":
        self._thread.start()
        self._wait(self._lay())
        return self

    def __exit__(self, *_exception: object) -> None:
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    # what a test does --------------------------------------------------------------------------------------------

    def cut(self, *pairs: tuple[str, str]) -> None:
        """Cut the wires between the two of each pair."""
        self._wait(self._set(self._cut | {frozenset(one) for one in pairs}))

    def part(self, *groups: Iterable[str]) -> None:
        """Cut all wires between nodes of different groups; whoever is in none is a group alone."""
        place = {name: number for number, group in enumerate(groups) for name in group}
        names = [one.organisation.id for one in self._network.nodes]
        self.cut(
            *(
                (one, other)
                for one, other in itertools.combinations(names, 2)
                if place.get(one, one) != place.get(other, other)
            )
        )

    def mend(self) -> None:
        """Mend all wires, and let them be quick."""
        self._delay_s.clear()
        self._wait(self._set(set()))

    def slow(self, delay_s: float, *pairs: tuple[str, str]) -> None:
        """Let everything between the two of each pair (none: of all) take this much longer, in each direction."""
        names = [one.organisation.id for one in self._network.nodes]
        self._delay_s |= {frozenset(one): delay_s for one in pairs or itertools.combinations(names, 2)}

    # in the thread ------------------------------------------------------------------------------------------------

    async def _lay(self) -> None:
        reach = {
            entry.organisation: entry.p2p_address for entry in read_peers(self._peers_of(0).read_bytes()).nodes
        }
        for number, node in enumerate(self._network.nodes):
            own = node.organisation.id
            path = self._peers_of(number)
            peers = read_peers(path.read_bytes())
            entries = []
            for entry in peers.nodes:
                if entry.organisation != own:
                    port = await self._listen(frozenset((own, entry.organisation)), reach[entry.organisation])
                    entry = msgspec.structs.replace(entry, p2p_address=f"127.0.0.1:{port}")
                entries.append(entry)
            path.write_bytes(msgspec.structs.replace(peers, nodes=entries).to_json())

    def _peers_of(self, number: int) -> Any:
        return NodeFolder(self._network.nodes[number].path).peers

    async def _listen(self, wire: Wire, address: str) -> int:
        self._mended.setdefault(wire, asyncio.Event()).set()
        host, _colon, port = address.rpartition(":")

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._pass_on(wire, (host, int(port)), reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _pass_on(
        self, wire: Wire, to: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        ends = self._open.setdefault(wire, set())
        ends.add(writer)
        further: asyncio.StreamWriter | None = None
        try:
            if wire in self._cut:
                await self._mended[wire].wait()
                return
            further_reader, further = await asyncio.open_connection(*to)
            ends.add(further)
            ways = [self._one_way(wire, reader, further), self._one_way(wire, further_reader, writer)]
            _done, left = await asyncio.wait(
                [asyncio.ensure_future(one) for one in ways], return_when=asyncio.FIRST_COMPLETED
            )
            for one in left:
                one.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in filter(None, (writer, further)):
                ends.discard(end)
                end.transport.abort()

    async def _one_way(self, wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_SIZE_BYTES):
                if delay := self._delay_s.get(wire, 0):
                    await asyncio.sleep(delay)
                if wire in self._cut:
                    await self._mended[wire].wait()
                    return
                writer.write(data)
                await writer.drain()

    async def _set(self, cut: set[Wire]) -> None:
        mended, self._cut = self._cut - cut, cut
        for wire in cut:
            self._mended[wire].clear()
        for wire in mended:
            self._mended[wire].set()
            for end in list(self._open.get(wire, ())):
                end.transport.abort()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)
