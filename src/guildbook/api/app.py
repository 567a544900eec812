"""The HTTP interface as one ASGI application: routes behind a guard that bounds every request.

The guard stands outside of the framework, so that size, time and number are limited before anything is parsed, and
nothing leaves without being a document: what goes wrong anywhere inside is answered as a problem.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Annotated, Any

from litestar import Litestar, Request, Response, Router, get
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.params import QueryParameter
from litestar.types import ASGIApp

from guildbook.api import events, evidence, log, reading, transactions
from guildbook.api.openapi import OpenApi, get_openapi, openapi_document
from guildbook.api.problem import (
    PROBLEM_MEDIA_TYPE,
    MethodNotAllowed,
    allowed_by,
    failure_document,
    headers_of,
    on_failure,
    on_guildbook_error,
    on_http_exception,
    problem_bytes,
    problem_of,
    status_of,
)
from guildbook.api.services import ApiLimits, Services
from guildbook.api.submit import Content, Submissions
from guildbook.client.catalogue import CatalogueDocument
from guildbook.primitives.errors import GuildbookError

REQUEST_ID_BYTES = 8
STREAMING_PATH = "/v1/events"
METRICS_MEDIA_TYPE = "text/plain; version=0.0.4"

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger("guildbook.api")


@get("/events", media_type="text/event-stream")
async def get_events(
    request: Request[Any, Any, Any],
    feed: NamedDependency[events.EventFeed],
    from_: Annotated[
        str | None,
        QueryParameter(
            name="from",
            description="The first position, HEIGHT or HEIGHT.INDEX; without it, events to come.",
        ),
    ] = None,
    contract: Annotated[str | None, QueryParameter(description="Events of one contract.")] = None,
    event: Annotated[str | None, QueryParameter(description="Events of one kind of that contract.")] = None,
    follow: Annotated[bool, QueryParameter(description="Wait for more at the end.")] = True,
) -> ASGIApp:
    """Events as server-sent events, in order, each once. ``Last-Event-ID`` goes on behind a position."""
    wanted = await asyncio.to_thread(
        events.subscription,
        feed.services,
        from_,
        request.headers.get("last-event-id"),
        contract,
        event,
        follow,
    )
    stream: Any = events.Stream(feed, wanted)
    return stream  # type: ignore[no-any-return]


@get("/metrics", sync_to_thread=True, include_in_schema=False)
def get_metrics(services: NamedDependency[Services]) -> Response[bytes]:
    """Metrics for Prometheus."""
    return Response(services.metrics.text(), media_type=METRICS_MEDIA_TYPE)


ROUTES: tuple[Any, ...] = (
    transactions.get_transaction,
    transactions.prepare_call,
    reading.get_status,
    reading.get_catalogue,
    reading.get_genesis,
    reading.get_block,
    reading.get_block_data,
    reading.get_rows,
    reading.get_row,
    reading.get_query,
    reading.post_sql,
    get_events,
    evidence.get_receipt_evidence,
    evidence.get_row_evidence,
    evidence.get_absence_evidence,
    evidence.get_range_evidence,
    log.get_checkpoint,
    log.get_log_checkpoint,
    log.get_tile,
    log.get_entries,
    reading.get_errors,
    reading.get_error,
    reading.get_live,
    reading.get_ready,
    get_openapi,
)
"""What is below /v1, in the order of the description."""


def build_app(services: Services, software: str = "", pages: Sequence[Any] = ()) -> "Guard":
    """The application on ``services``; ``software`` is the version that the OpenAPI document names.

    ``pages`` are further route handlers of the framework, which get ``services`` as the interface's own do; they are
    behind the same guard, and not part of the description.
    """
    submissions = Submissions(services)
    provided = {
        "services": services,
        "sql_gate": reading.SqlGate(services),
        "feed": events.EventFeed(services),
        "openapi": OpenApi(),
        "submissions": submissions,
    }
    return Guard(_framework(provided, services.limits, software, pages), services, submissions)


def _framework(
    provided: Mapping[str, Any], limits: ApiLimits, software: str, pages: Sequence[Any]
) -> Litestar:
    """The routes, with what they are ``provided`` with by name."""
    return Litestar(
        route_handlers=[Router("/v1", route_handlers=ROUTES), get_metrics, *pages],
        dependencies={
            name: Provide(_giver(value), sync_to_thread=False, use_cache=True)
            for name, value in provided.items()
        },
        exception_handlers={
            GuildbookError: on_guildbook_error,
            HTTPException: on_http_exception,
            Exception: on_failure,
        },
        openapi_config=OpenAPIConfig(
            title="Guildbook", version=software or "0", use_handler_docstrings=True, render_plugins=[]
        ),
        request_max_body_size=limits.body_size_bytes_max,
        logging_config=None,
        debug=False,
    )


def _giver(value: Any) -> Callable[[], Any]:
    return lambda: value


def general_description() -> dict[str, Any]:
    """The OpenAPI document of the routes that every node has, without those of any contract."""
    provided = dict.fromkeys(("services", "sql_gate", "feed", "openapi", "submissions"))
    nothing = CatalogueDocument("", {}, {}, {}, {}, {}, {})
    return openapi_document(_framework(provided, ApiLimits(), "", ()).openapi_schema.to_schema(), nothing)


class Guard:
    """Bounds requests, numbers and counts them, and answers what the application does not."""

    def __init__(self, inner: Litestar, services: Services, submissions: Submissions) -> None:
        self.inner = inner
        self._services = services
        self._direct = {"/v1/transactions": submissions.one, "/v1/transactions/batch": submissions.batch}
        self._running = 0
        self._streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.inner(scope, receive, send)  # type: ignore[arg-type]
            return
        streaming = scope["path"] == STREAMING_PATH
        limits = self._services.limits
        answer = _Answer(scope, send)
        if (
            (self._streams >= limits.subscribers_max)
            if streaming
            else (self._running >= limits.requests_running_max)
        ):
            await answer.refuse(
                GuildbookError(
                    "api.too_busy",
                    f"{self._streams if streaming else self._running} requests are open",
                    hint="try again",
                )
            )
        elif answer.content_length > limits.body_size_bytes_max:
            await answer.refuse(self._too_large())
        else:
            await self._counted(scope, receive, answer, streaming)
        self._note(scope, answer)

    async def _counted(self, scope: Scope, receive: Receive, answer: "_Answer", streaming: bool) -> None:
        if streaming:
            self._streams += 1
            self._services.metrics.subscribers.set(self._streams)
        else:
            self._running += 1
        try:
            await self._inside(scope, receive if streaming else self._bounded(receive, answer), answer)
        finally:
            if streaming:
                self._streams -= 1
                self._services.metrics.subscribers.set(self._streams)
            else:
                self._running -= 1

    async def _inside(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            if scope["path"] in self._direct:
                await self._submitted(scope, receive, answer)
            else:
                await self.inner(scope, receive, answer.send)  # type: ignore[arg-type]
        except GuildbookError as error:
            await answer.refuse(error)
        except Exception as error:  # noqa: BLE001 - the rim: nobody may be left without an answer
            _log.error(
                "request %s %s failed",
                scope["method"],
                scope["path"][:200],
                exc_info=error,
                extra={"request_id": answer.request_id},
            )
            await answer.fail()

    async def _submitted(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Serve one of the two routes that take transactions in."""
        scope["path_template"] = scope["path"]
        if scope["method"] != "POST":
            raise MethodNotAllowed(scope["method"], scope["path"], "POST")
        parts = []
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        take = self._direct[scope["path"]]
        await answer.give(await take(answer.media_type, scope["query_string"], b"".join(parts)))

    def _too_large(self) -> GuildbookError:
        most = self._services.limits.body_size_bytes_max
        return GuildbookError(
            "api.payload_too_large",
            f"the body has more than {most} bytes",
            hint="divide the request",
            most=most,
        )

    def _bounded(self, receive: Receive, answer: "_Answer") -> Receive:
        """``receive`` with a bound on the size of the body, and on the time until it is there."""
        limits = self._services.limits
        received = 0
        deadline = time.monotonic() + limits.body_timeout_s

        async def bounded() -> Message:
            nonlocal received
            if answer.body_read:
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise GuildbookError(
                    "api.bad_request",
                    "the body of the request did not arrive in time",
                    hint=f"send it within {limits.body_timeout_s} s",
                ) from None
            if message["type"] == "http.disconnect":
                raise GuildbookError("api.bad_request", "the caller went away before the body was there")
            received += len(message.get("body", b""))
            if received > limits.body_size_bytes_max:
                raise self._too_large()
            answer.body_read = not message.get("more_body", False)
            return message

        return bounded

    def _note(self, scope: Scope, answer: "_Answer") -> None:
        route = scope.get("path_template") or "none"
        metrics = self._services.metrics
        method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
        metrics.requests.labels(route, method, str(answer.status)).inc()
        if scope["path"] != STREAMING_PATH:
            metrics.request_seconds.labels(route).observe(time.perf_counter() - answer.started)


class _Answer:
    """The way out of one request: notes its status, adds the headers that every answer has."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self.status = 0
        self.body_read = False
        self.started = time.perf_counter()
        self.request_id = secrets.token_hex(REQUEST_ID_BYTES)
        self.content_length = 0
        self.media_type = ""
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and len(value) < 20:
                self.content_length = int(value)
            elif name == b"content-type":
                self.media_type = value.partition(b";")[0].strip().lower().decode("latin-1")
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Pass on one message of the application."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self.request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
        await self._send(message)

    async def give(self, content: Content) -> None:
        """Answer with ``content``."""
        await self._whole(content.status, content.media_type, content.body, [])

    async def refuse(self, error: GuildbookError) -> None:
        """Answer with a problem, unless the answer has begun; the connection ends where the body was not read."""
        document = problem_of(error, status_of(error))
        headers = {
            **headers_of(document),
            **({} if self.body_read else {"connection": "close"}),
            **allowed_by(error),
        }
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._whole(document.status, PROBLEM_MEDIA_TYPE, problem_bytes(document), pairs)

    async def fail(self) -> None:
        """Answer that the node failed, unless the answer has begun."""
        document = failure_document(self.request_id)
        await self._whole(document.status, PROBLEM_MEDIA_TYPE, problem_bytes(document), [])

    async def _whole(
        self, status: int, media_type: str, body: bytes, headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        if self.status:
            return
        length = (b"content-length", str(len(body)).encode())
        kind = (b"content-type", media_type.encode())
        await self.send(
            {"type": "http.response.start", "status": status, "headers": [kind, length, *headers]}
        )
        await self.send({"type": "http.response.body", "body": body, "more_body": False})
