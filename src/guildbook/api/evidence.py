"""Evidence over HTTP: a file that proves one fact to a stranger, offline, years later."""

from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, PathParameter, QueryParameter

from guildbook.api.reading import key_of_text
from guildbook.api.services import Services

EVIDENCE_MEDIA_TYPE = "application/octet-stream"
_ID = PathParameter(description="The transaction's id: 64 hexadecimal digits.", pattern="^[0-9a-f]{64}$")
_KEY = QueryParameter(description="The parts of the primary key in order, one parameter for each.")
_PREFIX = QueryParameter(description="The first parts of the primary key, one parameter for each.")


def _file(content: bytes, name: str) -> Response[bytes]:
    return Response(
        content,
        media_type=EVIDENCE_MEDIA_TYPE,
        headers={"content-disposition": f'attachment; filename="{name}.guildbook"'},
    )


@get("/evidence/receipt/{transaction:str}", sync_to_thread=True)
def get_receipt_evidence(
    services: NamedDependency[Services], transaction: Annotated[str, _ID]
) -> Response[bytes]:
    """Evidence of what became of a transaction."""
    return _file(services.prover.receipt(bytes.fromhex(transaction)), f"receipt-{transaction[:16]}")


@get("/evidence/row/{contract:str}/{table:str}", sync_to_thread=True)
def get_row_evidence(
    services: NamedDependency[Services],
    contract: FromPath[str],
    table: FromPath[str],
    key: Annotated[list[str] | None, _KEY] = None,
) -> Response[bytes]:
    """Evidence that a row is in the state as it is now."""
    full_name = f"{contract}.{table}"
    values = key_of_text(services, full_name, key or [])
    return _file(services.prover.row(full_name, values), f"row-{full_name}")


@get("/evidence/absence/{contract:str}/{table:str}", sync_to_thread=True)
def get_absence_evidence(
    services: NamedDependency[Services],
    contract: FromPath[str],
    table: FromPath[str],
    key: Annotated[list[str] | None, _KEY] = None,
) -> Response[bytes]:
    """Evidence that no row with a key is in the state as it is now."""
    full_name = f"{contract}.{table}"
    values = key_of_text(services, full_name, key or [])
    return _file(services.prover.absence(full_name, values), f"absence-{full_name}")


@get("/evidence/range/{contract:str}/{table:str}", sync_to_thread=True)
def get_range_evidence(
    services: NamedDependency[Services],
    contract: FromPath[str],
    table: FromPath[str],
    prefix: Annotated[list[str] | None, _PREFIX] = None,
) -> Response[bytes]:
    """Evidence that the rows of a table which begin with a key prefix are these and no others."""
    full_name = f"{contract}.{table}"
    values = key_of_text(services, full_name, prefix or [])
    return _file(services.prover.range(full_name, values), f"range-{full_name}")
