"""What the node and the views' process say to each other, over two local sockets.

Theory. The *feed* goes one way: blocks and schemas, in order. The *talk* goes both ways: questions, and answers,
heights reached and failures. They are apart so that the feed can be as slow as the disk is, while questions pass.

A message is four bytes of length, big endian, and MessagePack. Both ends are the same program, so the format is free to
change. Rows travel in batches of plain values; integers of more than 64 bits and decimals travel as text.
"""

import contextlib
import select
import socket
from decimal import Decimal
from typing import Any

import msgspec

from guildbook.views.answer import Column, Limits
from guildbook.views.schema import ViewSchema
from guildbook.views.scope import Scope
from guildbook.views.settings import ViewsSettings

MESSAGE_SIZE_BYTES_MAX = 2**32 - 1
RECEIVE_SIZE_BYTES = 256 * 1024


class Start(msgspec.Struct, tag=True, array_like=True):
    """First of all: what to open."""

    path: str
    network: str
    settings: ViewsSettings


class Ready(msgspec.Struct, tag=True, array_like=True):
    """The views are open, and hold these heights."""

    first_height: int
    height: int


class Reached(msgspec.Struct, tag=True, array_like=True):
    """The views hold ``height``, durably."""

    height: int


class Ask(msgspec.Struct, tag=True, array_like=True):
    """A statement to run."""

    number: int
    sql: str
    parameters: list[Any] | dict[str, Any] | None
    at: int | None
    scope: Scope | None
    limits: Limits


class Export(msgspec.Struct, tag=True, array_like=True):
    """A file to write."""

    number: int
    path: str
    table: str
    sql: str
    parameters: list[Any] | dict[str, Any] | None
    form: str
    at: int | None
    scope: Scope | None
    limits: Limits


class Head(msgspec.Struct, tag=True, array_like=True):
    """The columns of an answer, and the height that it reflects."""

    number: int
    columns: tuple[Column, ...]
    height: int


class Rows(msgspec.Struct, tag=True, array_like=True):
    """Some rows of an answer."""

    number: int
    rows: bytes


class Done(msgspec.Struct, tag=True, array_like=True):
    """An answer is complete; ``elapsed_ms`` is the time that it took."""

    number: int
    elapsed_ms: float


class Written(msgspec.Struct, tag=True, array_like=True):
    """An export is complete."""

    number: int
    path: str
    rows: int
    size_bytes: int
    height: int


class Failed(msgspec.Struct, tag=True, array_like=True):
    """A question (``number``), or the process as a whole (``number`` 0), met an error."""

    number: int
    code: str
    message: str
    hint: str


Question = Ask | Export
Answer = Ready | Reached | Head | Rows | Done | Written | Failed
Fed = bytes | ViewSchema
"""What goes into the feed: a block's canonical changes, or a schema."""

_encode = msgspec.msgpack.Encoder().encode
_decode_rows = msgspec.msgpack.Decoder(list[tuple[Any, ...]]).decode
_SCHEMA, _BLOCK = b"S", b"B"


class Channel:
    """One end of a socket, in messages. One thread may receive; sending is up to the caller to keep apart."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._buffer = bytearray()

    def send(self, payload: bytes) -> None:
        """Send one message; waits while the other end does not read. Raises OSError when it is gone."""
        assert len(payload) <= MESSAGE_SIZE_BYTES_MAX, f"a message of {len(payload)} bytes"
        self._socket.sendall(len(payload).to_bytes(4, "big") + payload)

    def receive(self, timeout_s: float | None = None) -> bytes | None:
        """The next message, or None when the other end closed. Raises TimeoutError after ``timeout_s`` seconds."""
        while True:
            if len(self._buffer) >= 4:
                end = 4 + int.from_bytes(self._buffer[:4], "big")
                if len(self._buffer) >= end:
                    payload = bytes(self._buffer[4:end])
                    del self._buffer[:end]
                    return payload
            if timeout_s is not None and not select.select([self._socket], [], [], timeout_s)[0]:
                raise TimeoutError
            try:
                data = self._socket.recv(RECEIVE_SIZE_BYTES)
            except ConnectionError:
                return None
            if not data:
                return None
            self._buffer += data

    def stop(self) -> None:
        """Send and receive no more: the other end, and a thread that waits in this one, are told."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop, and release the socket, which no thread may be using."""
        self.stop()
        self._socket.close()


def pack(message: Start | Question | Answer) -> bytes:
    """A message of the talk as bytes."""
    return _encode(message)


unpack_start = msgspec.msgpack.Decoder(Start).decode
unpack_question = msgspec.msgpack.Decoder(Question).decode
unpack_answer = msgspec.msgpack.Decoder(Answer).decode


def pack_fed(fed: Fed) -> bytes:
    """A message of the feed as bytes."""
    return _BLOCK + fed if isinstance(fed, bytes) else _SCHEMA + _encode(fed)


def unpack_fed(payload: bytes) -> Fed:
    """The reverse of ``pack_fed``."""
    return payload[1:] if payload[:1] == _BLOCK else msgspec.msgpack.decode(payload[1:], type=ViewSchema)


def pack_rows(columns: tuple[Column, ...], rows: list[tuple[Any, ...]]) -> bytes:
    """Rows of plain values as bytes."""
    wide = {place for place, column in enumerate(columns) if column.is_wide}
    if wide:
        return _encode([[str(value) if place in wide and value is not None else value
                         for place, value in enumerate(row)] for row in rows])
    return _encode(rows)


def unpack_rows(columns: tuple[Column, ...], data: bytes) -> list[tuple[Any, ...]]:
    """The reverse of ``pack_rows``."""
    rows = _decode_rows(data)
    kinds: list[Any] = [int if column.is_wide else Decimal if column.is_decimal else None for column in columns]
    if not any(kinds):
        return rows
    return [tuple(value if kind is None or value is None else kind(value)
                  for kind, value in zip(kinds, row, strict=True)) for row in rows]
