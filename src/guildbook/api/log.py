"""The receipt log as ordinary tools read it: checkpoint, tiles and entries by C2SP tlog-tiles.

Everything but the checkpoint and partial tiles never changes and may be cached for ever. A mirror or a witness needs
nothing else of a node.
"""

import re
from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, PathParameter

from guildbook.api.services import Services
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.log_entry import ENTRY_SIZE_BYTES
from guildbook.primitives.merkle_log import TILE_WIDTH_HASHES, read_tile, tile_width
from guildbook.state import layout

LEVEL_MAX = 7
FOR_EVER = "public, max-age=31536000, immutable"
NEVER = "no-store"
OCTETS = "application/octet-stream"
_INDEX = re.compile(r"((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?\Z")


def tile_place(path: str) -> tuple[int, int]:
    """(index, width) in the end of a tile's path, ``x001/x234/067.p/8``; raises GuildbookError ``api.not_found``."""
    match = _INDEX.match(path)
    width = int(match[2]) if match is not None and match[2] else TILE_WIDTH_HASHES
    if match is None or width > TILE_WIDTH_HASHES:
        raise GuildbookError(
            "api.not_found", f"{path[:80]!r} is not a tile", hint="see C2SP tlog-tiles for the form of paths"
        )
    return int(match[1].replace("x", "").replace("/", "")), width


def _require(held: int, width: int, what: str) -> None:
    if held < width:
        raise GuildbookError(
            "api.not_found",
            f"{what} has {held} entries, not {width}",
            hint="ask for a tile that the checkpoint covers",
            held=held,
            absent=True,
        )


def _cached(content: bytes, width: int) -> Response[bytes]:
    return Response(
        content,
        media_type=OCTETS,
        headers={"cache-control": FOR_EVER if width == TILE_WIDTH_HASHES else NEVER},
    )


@get("/checkpoint", sync_to_thread=True)
def get_checkpoint(services: NamedDependency[Services]) -> Response[bytes]:
    """The size and the root of the log as a signed note (C2SP tlog-checkpoint)."""
    return _checkpoint(services)


@get("/log/checkpoint", sync_to_thread=True)
def get_log_checkpoint(services: NamedDependency[Services]) -> Response[bytes]:
    """The same, where tools for C2SP tlog-tiles look for it."""
    return _checkpoint(services)


def _checkpoint(services: Services) -> Response[bytes]:
    return Response(services.checkpoint(), media_type="text/plain", headers={"cache-control": NEVER})


@get("/log/tile/{level:int}/{place:path}", sync_to_thread=True)
def get_tile(
    services: NamedDependency[Services],
    level: Annotated[int, PathParameter(ge=0, le=LEVEL_MAX)],
    place: FromPath[str],
) -> Response[bytes]:
    """A tile of hashes of the log (C2SP tlog-tiles): 32 bytes for each, joined."""
    index, width = tile_place(place.lstrip("/"))
    view = services.reader.view()
    _require(tile_width(level, index, view.head.log_size), width, f"tile {index} of level {level}")
    return _cached(read_tile(lambda key: view.reader.get(layout.LOG + key), level, index, width), width)


@get("/log/tile/entries/{place:path}", sync_to_thread=True)
def get_entries(services: NamedDependency[Services], place: FromPath[str]) -> Response[bytes]:
    """A bundle of the log's entries (C2SP tlog-tiles): each behind its length in two bytes.

    An entry says which transaction a receipt is of, where it is and what became of it, and has the receipt's hash.
    """
    index, width = tile_place(place.lstrip("/"))
    view = services.reader.view()
    first = index * TILE_WIDTH_HASHES
    _require(min(TILE_WIDTH_HASHES, max(0, view.head.log_size - first)), width, f"bundle {index}")
    length = ENTRY_SIZE_BYTES.to_bytes(2, "big")
    return _cached(b"".join([length + entry for entry in view.entries(first, width)]), width)
