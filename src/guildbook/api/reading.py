"""Reading a ledger over HTTP: status, blocks, tables, queries, SQL, and the node's own health."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from guildbook.api.problem import bad_request
from guildbook.api.services import Services
from guildbook.client.catalogue import CatalogueDocument, value_of_text
from guildbook.client.documents import (
    BlockDocument,
    ErrorRow,
    HealthDocument,
    QueryAnswer,
    RowDocument,
    RowsDocument,
    SqlAnswer,
    StatusDocument,
)
from guildbook.client.reader import ROWS_PER_PAGE_MAX
from guildbook.primitives.errors import ERRORS, GuildbookError, spec_for
from guildbook.runtime.arguments import bad_arguments

SQL_CHARS_MAX = 65_536
SQL_PARAMETERS_MAX = 256
SQL_RUNNING_MAX = 8
SQL_WAITING_MAX = 64


class SqlRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One SELECT. ``params`` by place or by name, bytes as ``{"hex": "0a1b"}``; ``at`` reads as of a height;
    ``wait_for`` waits until the views hold a height; ``limit`` bounds the rows.
    """

    sql: Annotated[str, msgspec.Meta(max_length=SQL_CHARS_MAX)]
    params: (
        Annotated[list[Any], msgspec.Meta(max_length=SQL_PARAMETERS_MAX)]
        | Annotated[dict[str, Any], msgspec.Meta(max_length=SQL_PARAMETERS_MAX)]
    ) = []
    at: Annotated[int, msgspec.Meta(ge=0)] | None = None
    wait_for: Annotated[int, msgspec.Meta(ge=0)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None


@get("/status", sync_to_thread=True)
def get_status(services: NamedDependency[Services]) -> StatusDocument:
    """Where the network stands, and which contracts run."""
    return services.reader.status()


@get("/catalogue", sync_to_thread=True)
def get_catalogue(services: NamedDependency[Services]) -> CatalogueDocument:
    """Commands, queries, tables, events and refusals of all running contracts."""
    return services.reader.catalogue()


@get("/genesis")
async def get_genesis(services: NamedDependency[Services]) -> Response[bytes]:
    """The founding document, byte for byte."""
    return Response(services.genesis, media_type=MediaType.JSON)


@get("/blocks/{height:int}", sync_to_thread=True)
def get_block(services: NamedDependency[Services], height: FromPath[int]) -> BlockDocument:
    """One block: what its header states, and its transactions."""
    return services.reader.block(height)


@get("/blocks/{height:int}/data", sync_to_thread=True)
def get_block_data(services: NamedDependency[Services], height: FromPath[int]) -> Response[bytes]:
    """One block in its own encoding, a CometBFT ``Block`` in protobuf."""
    view = services.reader.view()
    data = view.block_bytes(height) if 0 < height <= view.head.height else None
    if data is None:
        raise GuildbookError(
            "api.not_found",
            f"there is no block {height}",
            hint=f"blocks go from 1 to {view.head.height}",
            height=height,
            absent=True,
        )
    return Response(data, media_type="application/protobuf")


@get("/tables/{contract:str}/{table:str}", sync_to_thread=True)
def get_rows(
    services: NamedDependency[Services],
    contract: FromPath[str],
    table: FromPath[str],
    prefix: Annotated[
        list[str] | None,
        QueryParameter(description="The first parts of the primary key, one parameter for each."),
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=ROWS_PER_PAGE_MAX, description="Rows on the page.")] = 100,
    after: Annotated[str | None, QueryParameter(description="The cursor `next` of the page before.")] = None,
) -> RowsDocument:
    """Rows in the order of the primary key, by pages."""
    full_name = f"{contract}.{table}"
    return services.reader.rows(full_name, key_of_text(services, full_name, prefix or []), limit, after)


@get("/tables/{contract:str}/{table:str}/row", sync_to_thread=True)
def get_row(
    services: NamedDependency[Services],
    contract: FromPath[str],
    table: FromPath[str],
    key: Annotated[
        list[str] | None,
        QueryParameter(description="The parts of the primary key in order, one parameter for each."),
    ] = None,
) -> RowDocument:
    """One row by its primary key."""
    full_name = f"{contract}.{table}"
    return services.reader.row(full_name, key_of_text(services, full_name, key or []))


def key_of_text(services: Services, table: str, texts: list[str]) -> list[Any]:
    """The parts of a primary key from text; raises GuildbookError ``call.bad_arguments`` or ``api.not_found``."""
    document = services.reader.catalogue().table(table)
    fields = {one.name: one for one in document.fields}
    if len(texts) > len(document.key):
        raise bad_arguments(
            table,
            f"the key has {len(document.key)} parts, and {len(texts)} were given",
            f"give {', '.join(document.key)}",
        )
    return [value_of_text(fields[name], text, table) for name, text in zip(document.key, texts, strict=False)]


@get("/queries/{contract:str}/{name:str}", sync_to_thread=True)
def get_query(
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    contract: FromPath[str],
    name: FromPath[str],
) -> QueryAnswer:
    """The result of a contract's query. Arguments are parameters of the address; lists are JSON text."""
    full_name = f"{contract}.{name}"
    document = services.reader.catalogue().query(full_name)
    fields = {one.name: one for one in document.arguments}
    named: dict[str, Any] = {}
    for argument, text in request.query_params.multi_items():
        if argument in named:
            raise bad_arguments(full_name, f"{argument[:80]} is given twice", "give each argument once")
        named[argument] = value_of_text(fields[argument], text, full_name) if argument in fields else text
    return services.reader.query(full_name, [], named)


class SqlGate:
    """Lets some statements run, lets some wait, and refuses the rest, so that SQL holds up nothing else."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._threads = ThreadPoolExecutor(SQL_RUNNING_MAX, "sql")
        self._open = 0

    async def run(self, ask: Callable[[], SqlAnswer]) -> SqlAnswer:
        """The answer of ``ask``, which runs in a thread; raises GuildbookError ``api.too_busy``."""
        if self._open >= SQL_RUNNING_MAX + SQL_WAITING_MAX:
            raise GuildbookError(
                "api.too_busy", f"{self._open} statements are running or waiting", hint="try again"
            )
        self._open += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        finally:
            self._open -= 1


def sql_parameter(value: Any) -> Any:
    """A parameter of a statement from JSON: text, whole numbers, true, false, null, or bytes as ``{"hex": "..."}``.

    Raises GuildbookError ``api.bad_request``.
    """
    if isinstance(value, dict) and list(value) == ["hex"] and isinstance(value["hex"], str):
        try:
            return bytes.fromhex(value["hex"])
        except ValueError:
            raise bad_request("a parameter is not hexadecimal", 'write {"hex": "0a1b"}') from None
    if isinstance(value, (dict, list, float)):
        raise bad_request(
            "a parameter is of a kind that SQL is not given here", 'write bytes as {"hex": "0a1b"}'
        )
    return value


@post("/sql", status_code=200)
async def post_sql(sql_gate: NamedDependency[SqlGate], data: JSONBody[SqlRequest]) -> SqlAnswer:
    """Run one SELECT over the views; the answer names the height that it reflects."""
    sql = sql_gate.services.sql
    if sql is None:
        raise GuildbookError(
            "api.unavailable", "this node keeps no views", hint="set views.enabled in guildbook.toml"
        )
    parameters = (
        {name: sql_parameter(value) for name, value in data.params.items()}
        if isinstance(data.params, dict)
        else [sql_parameter(value) for value in data.params]
    )
    ask = partial(sql, data.sql, parameters, at=data.at, wait_for=data.wait_for, limit=data.limit)
    return await sql_gate.run(ask)


@get("/errors")
async def get_errors() -> list[ErrorRow]:
    """The error table."""
    return [
        ErrorRow(one.code, one.http_status, one.exit_status, one.summary, one.next_step)
        for one in ERRORS.values()
    ]


@get("/errors/{code:str}", sync_to_thread=True)
def get_error(services: NamedDependency[Services], code: FromPath[str]) -> ErrorRow:
    """What one code means, also of a contract's refusal."""
    rejection = services.reader.catalogue().rejections.get(code)
    if code not in ERRORS and rejection is None:
        raise GuildbookError(
            "api.not_found", f"no error has the code {code[:80]}", hint="see /v1/errors", absent=True
        )
    spec = spec_for(code)
    return ErrorRow(
        code,
        spec.http_status,
        spec.exit_status,
        spec.summary if rejection is None else rejection.message,
        spec.next_step,
    )


@get("/health/live")
async def get_live() -> HealthDocument:
    """Whether the process answers at all."""
    return HealthDocument(True, [])


@get("/health/ready")
async def get_ready(services: NamedDependency[Services]) -> Response[HealthDocument]:
    """Whether this node should get requests; with status 503 and the reasons when not."""
    reasons = services.not_ready()
    return Response(HealthDocument(not reasons, reasons), status_code=503 if reasons else 200)
