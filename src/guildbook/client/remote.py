"""The client over HTTP.

A request is tried again while time is left when the node could not be reached, did not answer, or asked to come again.
That is safe for reads, and for transactions because resubmitting the same bytes is (see ``base``).
"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import httpx
import msgspec

from guildbook.client.base import TIMEOUT_S, LedgerClient, Submitted, applied, transaction_id_of
from guildbook.client.catalogue import CatalogueDocument, bind_named
from guildbook.client.documents import (
    BlockDocument,
    EventDocument,
    ProblemDocument,
    QueryAnswer,
    ReceiptDocument,
    RowDocument,
    RowsDocument,
    SqlAnswer,
    StatusDocument,
)
from guildbook.primitives.canonical import encode
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey
from guildbook.runtime.arguments import to_json

CONNECT_TIMEOUT_S = 5.0
RETRY_DELAY_S_MIN = 0.05
RETRY_DELAY_S_MAX = 2.0
STREAM_SILENCE_S_MAX = 60.0
"""After so long without a sign of life an event stream is opened again."""
BATCH_TRANSACTIONS_MAX = 1_000
"""Transactions in one request of a batch; a node's own bound is higher."""
BATCH_SIZE_BYTES_MAX = 4 << 20
MSGPACK = "application/msgpack"
_COME_AGAIN = frozenset({"api.too_busy", "api.unavailable", "sql.busy", "views.behind", "views.unavailable"})

_COME_AGAIN_STATUSES = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)

Document = TypeVar("Document")
_DECODERS: Mapping[type, Any] = {
    kind: msgspec.json.Decoder(kind).decode
    for kind in (
        BlockDocument, CatalogueDocument, EventDocument, ProblemDocument, QueryAnswer, ReceiptDocument, RowDocument,
        RowsDocument, SqlAnswer, StatusDocument,
    )
}  # fmt: skip
"""Made here, by one thread: msgspec works out at its first use how a class is decoded, and threads that are the first
at the same time crash the process.
"""
_batch_answer = msgspec.msgpack.Decoder(list[tuple[bytes, bytes | None, str | None]]).decode


class Client(LedgerClient):
    """A client of the node at ``url`` (``http://127.0.0.1:8440``).

    ``transport`` replaces the network in tests. Raises GuildbookError: those of the node as it stated them,
    ``client.unreachable`` and ``client.timeout``.
    """

    def __init__(
        self,
        url: str,
        key: SigningKey | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(key, timeout_s=timeout_s)
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            transport=transport,
            headers=dict(headers or {}),
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
        )

    def with_key(self, key: SigningKey | None) -> "Client":
        """See LedgerClient; the connections are shared."""
        made = Client.__new__(Client)
        LedgerClient.__init__(made, key, timeout_s=self.timeout_s)
        made.url, made._http, made._catalogue, made._status = (
            self.url,
            self._http,
            self._catalogue,
            self._status,
        )
        return made

    def close(self) -> None:
        """See LedgerClient."""
        self._http.close()

    # requests ----------------------------------------------------------------------------------------------------

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer of a request that may be repeated; raises GuildbookError."""
        deadline = time.monotonic() + self.timeout_s
        delay = RETRY_DELAY_S_MIN
        while True:
            try:
                response = self._http.request(
                    method, path, timeout=max(0.1, deadline - time.monotonic()), **options
                )
                if response.status_code < 400:
                    return response
                error = _problem(response)
                if error.code not in _COME_AGAIN or response.status_code not in _COME_AGAIN_STATUSES:
                    raise error
            except httpx.TimeoutException:
                error = GuildbookError(
                    "client.timeout", f"{self.url} did not answer within {self.timeout_s} s", url=self.url
                )
            except httpx.TransportError as failed:
                error = GuildbookError(
                    "client.unreachable", f"{self.url} cannot be reached: {failed}", url=self.url
                )
            wait = delay * (0.5 + random.random())  # noqa: S311 - spreads callers over time; nothing depends on it
            if time.monotonic() + wait > deadline:
                raise error
            time.sleep(wait)
            delay = min(delay * 2, RETRY_DELAY_S_MAX)

    def _read(self, path: str, kind: type[Document], **parameters: Any) -> Document:
        response = self._request(
            "GET", path, params={name: value for name, value in parameters.items() if value is not None}
        )
        return _decoded(response, kind)

    # writing -----------------------------------------------------------------------------------------------------

    def submit(self, envelope: bytes) -> ReceiptDocument:
        """See LedgerClient."""
        try:
            response = self._request(
                "POST", "/v1/transactions", content=envelope, headers={"content-type": MSGPACK}
            )
        except GuildbookError as error:
            if error.code not in ("client.timeout", "client.unreachable"):
                raise
            transaction = transaction_id_of(envelope).hex()
            raise GuildbookError(
                error.code,
                f"{error.message}; whether transaction {transaction} is applied is not known",
                hint="look for the transaction by its id before you sign another",
                **{**error.fields, "transaction": transaction},
            ) from error
        return applied(_decoded(response, ReceiptDocument))

    def batch(self, envelopes: Sequence[bytes]) -> list[Submitted]:
        """See LedgerClient; many are sent in several requests, one after the other."""
        answers: list[Submitted] = []
        for part in _parts(envelopes):
            response = self._request(
                "POST", "/v1/transactions/batch", content=encode(part), headers={"content-type": MSGPACK}
            )
            try:
                answers.extend(Submitted(*one) for one in _batch_answer(response.content))
            except msgspec.DecodeError as error:
                raise _unreadable(response, error) from None
        return answers

    def submit_without_waiting(self, envelope: bytes) -> bytes:
        """Hand in an envelope and return its id (32 bytes) without waiting for a block."""
        self._request(
            "POST",
            "/v1/transactions",
            params={"wait": "0"},
            content=envelope,
            headers={"content-type": MSGPACK},
        )
        return transaction_id_of(envelope)

    # reading -----------------------------------------------------------------------------------------------------

    def status(self) -> StatusDocument:
        """See LedgerClient."""
        return self._read("/v1/status", StatusDocument)

    def fetch_catalogue(self) -> CatalogueDocument:
        """See LedgerClient."""
        return self._read("/v1/catalogue", CatalogueDocument)

    def genesis(self) -> bytes:
        """The genesis document as the node has it."""
        return self._request("GET", "/v1/genesis").content

    def receipt(self, transaction: bytes | str) -> ReceiptDocument | None:
        """See LedgerClient."""
        text = transaction if isinstance(transaction, str) else transaction.hex()
        response = self._found(f"/v1/transactions/{text}", {})
        return (
            None
            if response is None or response.status_code == httpx.codes.ACCEPTED
            else _decoded(response, ReceiptDocument)
        )

    def _found(self, path: str, parameters: dict[str, Any]) -> httpx.Response | None:
        """The answer, or None where the node says that the one thing asked for is not there."""
        try:
            return self._request("GET", path, params=parameters)
        except GuildbookError as error:
            if error.code == "api.not_found" and error.fields.get("absent"):
                return None
            raise

    def block(self, height: int) -> BlockDocument:
        """See LedgerClient."""
        return self._read(f"/v1/blocks/{height}", BlockDocument)

    def rows(self, table: str, *prefix: Any, limit: int = 100, after: str | None = None) -> RowsDocument:
        """See LedgerClient."""
        return self._read(
            _table_path(table), RowsDocument, prefix=[_text(one) for one in prefix], limit=limit, after=after
        )

    def row(self, table: str, *key: Any) -> RowDocument | None:
        """See LedgerClient."""
        response = self._found(_table_path(table) + "/row", {"key": [_text(one) for one in key]})
        return None if response is None else _decoded(response, RowDocument)

    def ask(self, full_name: str, *positional: Any, **named: Any) -> QueryAnswer:
        """See LedgerClient."""
        document = self.catalogue.query(full_name)
        values = bind_named(document.arguments, positional, named, full_name)
        parameters = {
            field.name: _text(value)
            for field, value in zip(document.arguments, values, strict=True)
            if value is not None
        }
        return self._read(f"/v1/queries/{document.contract}/{document.name}", QueryAnswer, **parameters)

    def sql(
        self,
        statement: str,
        parameters: Sequence[Any] | Mapping[str, Any] = (),
        *,
        at: int | None = None,
        wait_for: int | None = None,
        limit: int | None = None,
    ) -> SqlAnswer:
        """See LedgerClient."""
        written = (
            {name: _parameter(value) for name, value in parameters.items()}
            if isinstance(parameters, Mapping)
            else [_parameter(value) for value in parameters]
        )
        asked = {"sql": statement, "params": written, "at": at, "wait_for": wait_for, "limit": limit}
        body = msgspec.json.encode({name: value for name, value in asked.items() if value is not None})
        response = self._request(
            "POST", "/v1/sql", content=body, headers={"content-type": "application/json"}
        )
        return _decoded(response, SqlAnswer)

    def events(
        self,
        from_: str | None = None,
        *,
        contract: str | None = None,
        event: str | None = None,
        follow: bool = True,
    ) -> Iterator[EventDocument]:
        """See LedgerClient."""
        last: str | None = None
        given = {"from": from_, "contract": contract, "event": event, "follow": "true" if follow else "false"}
        parameters = {name: value for name, value in given.items() if value is not None}
        failures_since = 0.0
        while True:
            headers = {} if last is None else {"last-event-id": last}
            try:
                with self._http.stream(
                    "GET",
                    "/v1/events",
                    params=parameters,
                    headers=headers,
                    timeout=httpx.Timeout(self.timeout_s, read=STREAM_SILENCE_S_MAX),
                ) as response:
                    if response.status_code >= 400:
                        response.read()
                        raise _problem(response)
                    failures_since = 0.0
                    for position, data in _server_sent_events(response.iter_lines()):
                        last = position
                        if data:
                            yield _DECODERS[EventDocument](data)
                if not follow:
                    return
            except httpx.TransportError as error:
                now = time.monotonic()
                failures_since = failures_since or now
                if now - failures_since > self.timeout_s:
                    raise GuildbookError(
                        "client.unreachable",
                        f"the event stream of {self.url} broke: {error}",
                        hint="go on from the last event",
                        last=last,
                    ) from None
                time.sleep(RETRY_DELAY_S_MIN)

    # evidence ----------------------------------------------------------------------------------------------------

    def evidence_receipt(self, transaction: bytes | str) -> bytes:
        """See LedgerClient."""
        text = transaction if isinstance(transaction, str) else transaction.hex()
        return self._request("GET", f"/v1/evidence/receipt/{text}").content

    def evidence_row(self, table: str, *key: Any) -> bytes:
        """See LedgerClient."""
        return self._evidence("row", table, "key", key)

    def evidence_absence(self, table: str, *key: Any) -> bytes:
        """See LedgerClient."""
        return self._evidence("absence", table, "key", key)

    def evidence_range(self, table: str, *prefix: Any) -> bytes:
        """See LedgerClient."""
        return self._evidence("range", table, "prefix", prefix)

    def _evidence(self, what: str, table: str, name: str, parts: Sequence[Any]) -> bytes:
        contract, _dot, short = table.partition(".")
        return self._request(
            "GET", f"/v1/evidence/{what}/{contract}/{short}", params={name: [_text(one) for one in parts]}
        ).content


def _parts(envelopes: Sequence[bytes]) -> Iterator[list[bytes]]:
    """``envelopes`` in parts that a node takes in one request."""
    part: list[bytes] = []
    size = 0
    for envelope in envelopes:
        if part and (len(part) == BATCH_TRANSACTIONS_MAX or size + len(envelope) > BATCH_SIZE_BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(envelope)
        size += len(envelope)
    if part:
        yield part


def _table_path(table: str) -> str:
    contract, _dot, name = table.partition(".")
    return f"/v1/tables/{contract}/{name}"


def _text(value: Any) -> str:
    """A value as an address carries it: text as it is, anything else as JSON has it."""
    written = to_json(value)
    return written if isinstance(written, str) else msgspec.json.encode(written).decode()


def _parameter(value: Any) -> Any:
    """A parameter of a statement as JSON; bytes are an object, because text is text to SQL."""
    return {"hex": bytes(value).hex()} if isinstance(value, (bytes, bytearray)) else value


def _decoded(response: httpx.Response, kind: type[Document]) -> Document:
    try:
        return _DECODERS[kind](response.content)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(response, error) from None


def _unreadable(response: httpx.Response, error: Exception) -> GuildbookError:
    return GuildbookError(
        "client.unreachable",
        f"the answer of {response.url} cannot be read: {error}",
        hint="check that a Guildbook node of this version is at the address",
        status=response.status_code,
    )


def _problem(response: httpx.Response) -> GuildbookError:
    """The error that a node stated; anything else that answers with an error is no node."""
    try:
        problem = _DECODERS[ProblemDocument](response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return GuildbookError(
            "client.unreachable",
            f"{response.url} answered with status {response.status_code}",
            hint="check the address",
            status=response.status_code,
        )
    error = GuildbookError(problem.code, problem.detail, hint=problem.next_step)
    error.fields.update(problem.fields)
    return error


def _server_sent_events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """(id, data) of each event of a stream (WHATWG HTML, section 9.2); comments keep the connection alive."""
    position = ""
    data: list[str] = []
    for line in lines:
        if not line:
            if position:
                yield position, "\n".join(data)
            data = []
        elif line.startswith("id:"):
            position = line[3:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].strip())
