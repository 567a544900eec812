"""Problem documents (RFC 9457): what a refused request is told.

Each is a row of the one error table with the values of this case and what to do next. An unexpected failure is told
as such, with the request's number and without its text: that is in the log.
"""

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from guildbook.client.documents import ProblemDocument
from guildbook.primitives.errors import GuildbookError, spec_for
from guildbook.runtime.arguments import to_json

PROBLEM_MEDIA_TYPE = "application/problem+json"
FIELD_CHARS_MAX = 500
RETRY_AFTER_S = 1
COME_AGAIN = frozenset({"api.too_busy", "api.unavailable", "sql.busy", "views.behind", "views.unavailable"})

_log = logging.getLogger("guildbook.api")


def problem_of(error: GuildbookError, status: int | None = None) -> ProblemDocument:
    """The document of ``error``; ``status`` where HTTP itself has a more exact one than the table."""
    spec = spec_for(error.code)
    return ProblemDocument(
        type=f"/v1/errors/{error.code}",
        title=spec.summary,
        status=spec.http_status if status is None else status,
        detail=error.message,
        code=error.code,
        fields={name: _shown(value) for name, value in error.fields.items()},
        next_step=error.hint or spec.next_step,
    )


def _shown(value: Any) -> Any:
    """A value of an error as JSON, cut where it is long."""
    written = to_json(value)
    if isinstance(written, str):
        return written[:FIELD_CHARS_MAX]
    if isinstance(written, (bool, int, float, type(None))):
        return written
    try:
        text = msgspec.json.encode(written)
    except (TypeError, msgspec.MsgspecError):
        return repr(written)[:FIELD_CHARS_MAX]
    return written if len(text) <= FIELD_CHARS_MAX else text[:FIELD_CHARS_MAX].decode("utf-8", "replace")


def problem_bytes(document: ProblemDocument) -> bytes:
    """The document as it is sent."""
    return msgspec.json.encode(document)


def headers_of(document: ProblemDocument) -> dict[str, str]:
    """What is sent beside the document."""
    return {"retry-after": str(RETRY_AFTER_S)} if document.code in COME_AGAIN else {}


def _respond(document: ProblemDocument, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        problem_bytes(document),
        status_code=document.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers={**headers_of(document), **(headers or {})},
    )


def bad_request(message: str, hint: str = "", **fields: object) -> GuildbookError:
    """The error for a request that its route does not understand."""
    return GuildbookError("api.bad_request", message, hint=hint, **fields)


class MediaTypeNotRead(GuildbookError):
    """The body has a media type that its route does not read; ``read`` says which ones it does."""

    def __init__(self, given: str, read: str) -> None:
        super().__init__(
            "api.bad_request", f"the media type {given[:80]!r} is not read here", hint=f"send {read}"
        )


class MethodNotAllowed(GuildbookError):
    """The address has no such method; ``allowed`` lists those that it has."""

    def __init__(self, method: str, path: str, allowed: str) -> None:
        super().__init__(
            "api.bad_request",
            f"{method} is not a method of {path}",
            hint="see /v1/openapi.json",
            method=method,
        )
        self.allowed = allowed


def status_of(error: GuildbookError) -> int | None:
    """The status of an error for which HTTP has a more exact one than the table; None: that of the table."""
    if isinstance(error, MediaTypeNotRead):
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    return HTTPStatus.METHOD_NOT_ALLOWED if isinstance(error, MethodNotAllowed) else None


def allowed_by(error: GuildbookError) -> dict[str, str]:
    """The header that names the methods of an address."""
    return {"allow": error.allowed} if isinstance(error, MethodNotAllowed) else {}


def on_guildbook_error(_request: Request[Any, Any, Any], error: GuildbookError) -> Response[bytes]:
    """Answer an operational error."""
    return _respond(problem_of(error, status_of(error)), allowed_by(error))


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what the framework found wrong before a handler ran."""
    path = request.scope["path"][:FIELD_CHARS_MAX]
    if isinstance(error, MethodNotAllowedException):
        allowed = {name.lower(): value for name, value in (error.headers or {}).items()}.get("allow", "")
        return on_guildbook_error(request, MethodNotAllowed(request.method, path, allowed))
    if isinstance(error, NotFoundException):
        return _respond(
            problem_of(
                GuildbookError(
                    "api.not_found", f"there is nothing at {path}", hint="see /v1/openapi.json", path=path
                )
            )
        )
    if isinstance(error, ValidationException):
        found = (
            [one for one in error.extra or [] if isinstance(one, dict)]
            if isinstance(error.extra, list)
            else []
        )
        where = "; ".join(f"{one.get('key', 'the body')}: {one.get('message', '')}" for one in found)
        return _respond(
            problem_of(bad_request(where or error.detail, "compare the request with /v1/openapi.json"))
        )
    if error.status_code == 413:
        return _respond(problem_of(GuildbookError("api.payload_too_large", error.detail)))
    if error.status_code < 500:
        return _respond(
            problem_of(bad_request(error.detail or "the request cannot be read"), error.status_code)
        )
    return on_failure(request, error)


def on_failure(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a failure of our own; its text stays in the log. A body that is nested too deeply is none of ours."""
    if _nested_too_deeply(error):
        return _respond(problem_of(bad_request("the body is nested too deeply", "send flat values")))
    number = str(request.scope.get("state", {}).get("request_id", ""))
    _log.error(
        "request %s %s failed",
        request.method,
        request.scope["path"][:FIELD_CHARS_MAX],
        exc_info=error,
        extra={"request_id": number},
    )
    return _respond(failure_document(number))


def _nested_too_deeply(error: BaseException | None) -> bool:
    """Whether reading the request ended for want of stack."""
    while error is not None:
        if isinstance(error, RecursionError):
            return True
        error = error.__cause__ or error.__context__
    return False


def failure_document(request_id: str) -> ProblemDocument:
    """The document for a failure of the node itself."""
    told = GuildbookError(
        "api.unavailable",
        "the node failed on this request, by its own mistake",
        hint="tell the node's operator the request's number",
        request_id=request_id,
    )
    return problem_of(told, 500)
