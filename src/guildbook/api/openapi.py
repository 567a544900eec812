"""The OpenAPI document: the routes of every node, and under them what this network's contracts offer.

Commands, queries, tables and events of the running contracts have typed paths and schemas of their own, derived from
the catalogue. They are concrete forms of the general routes, so a released contract appears without a restart.
"""

import copy
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.di import NamedDependency

from guildbook.api.problem import PROBLEM_MEDIA_TYPE
from guildbook.api.schema import Schema, field_schema, record_schema
from guildbook.api.services import Services
from guildbook.client.catalogue import (
    CatalogueDocument,
    CommandDocument,
    EventKindDocument,
    FieldDocument,
    QueryDocument,
    TableDocument,
)

JSON = "application/json"
MSGPACK = "application/msgpack"
OCTETS = "application/octet-stream"
METHODS = ("get", "post")
SUBMIT_TEXT = """Submit one signed transaction.

The answer is its receipt, also when the contract refused (`outcome` says so); a transaction that may not be in a block
is a problem. The same bytes again give the same receipt."""
BATCH_TEXT = """Submit many signed transactions.

The body is the canonical MessagePack array of envelopes; the answer the array of `[id, receipt, code]` in the same
order, with the canonical receipt or the code of the error that kept the transaction out of the ledger."""
PARAMETERS = {
    "contract": "The contract's name.",
    "command": "The command's name.",
    "table": "The table's name.",
    "name": "The query's name.",
    "height": "The block's height, from 1.",
    "code": "The code of an error or of a refusal.",
    "level": "The level of the tile, from 0.",
    "place": "The tile's number and width as C2SP tlog-tiles writes them, `x001/x234/067.p/8`.",
}
PROBLEM = {
    "description": "A problem (RFC 9457).",
    "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
}
BYTES: Schema = {"type": "string", "contentEncoding": "binary"}


class OpenApi:
    """The document, made once for each set of running contracts."""

    def __init__(self) -> None:
        self._made: tuple[CatalogueDocument, bytes] | None = None

    def text(self, general: dict[str, Any], catalogue: CatalogueDocument) -> bytes:
        """The document in JSON."""
        made = self._made
        if made is None or made[0] is not catalogue:
            made = self._made = (catalogue, msgspec.json.encode(openapi_document(general, catalogue)))
        return made[1]


@get("/openapi.json", sync_to_thread=True, include_in_schema=False)
def get_openapi(
    request: Request[Any, Any, Any], services: NamedDependency[Services], openapi: NamedDependency[OpenApi]
) -> Response[bytes]:
    """This interface in OpenAPI 3.1, with the routes of the running contracts."""
    text = openapi.text(request.app.openapi_schema.to_schema(), services.reader.catalogue())
    return Response(text, media_type=MediaType.JSON)


def openapi_document(general: dict[str, Any], catalogue: CatalogueDocument) -> dict[str, Any]:
    """The document of the ``general`` routes with those of ``catalogue``."""
    document = copy.deepcopy(general)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["ProblemDocument"] = _problem_schema()
    paths = document["paths"] = {**_submission_paths(), **document["paths"]}
    for path in paths.values():
        for method in path.values():
            method.update(_doc_parts(method.pop("description", "")))
            for parameter in method.get("parameters", ()):
                parameter.setdefault("description", PARAMETERS.get(parameter["name"], ""))
    for command in catalogue.commands.values():
        if not command.callers_only:
            paths[f"/v1/contracts/{command.contract}/{command.name}"] = _command_path(command)
    for query in catalogue.queries.values():
        paths[f"/v1/queries/{query.contract}/{query.name}"] = _query_path(query)
    for table in catalogue.tables.values():
        contract, _dot, name = table.name.partition(".")
        schemas[f"row.{table.name}"] = record_schema(table.fields, written=True, doc=table.doc)
        paths[f"/v1/tables/{contract}/{name}"] = _rows_path(table)
    for event in catalogue.events.values():
        schemas[f"event.{event.contract}.{event.name}"] = _event_schema(event)
    _describe_bodies(paths)
    for path in paths.values():
        for method in METHODS:
            if method in path:
                path[method].setdefault("responses", {})["default"] = PROBLEM
                path[method]["responses"].pop("400", None)
    return document


def _problem_schema() -> Schema:
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "fields", "next_step"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string"},
            "fields": {"type": "object"},
            "next_step": {"type": "string"},
        },
    }


def _submission_paths() -> dict[str, Any]:
    """The two routes that are served before the framework."""
    envelope = {
        MSGPACK: {"schema": {**BYTES, "description": "A signed envelope."}},
        JSON: {
            "schema": {
                "type": "object",
                "required": ["envelope"],
                "additionalProperties": False,
                "properties": {"envelope": {"type": "string", "pattern": "^([0-9a-f]{2})*$"}},
            }
        },
    }
    wait = {
        "name": "wait",
        "in": "query",
        "required": False,
        "description": "1: wait for the receipt; 0: answer at once.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 1, "default": 1},
    }
    return {
        "/v1/transactions": {
            "post": {
                "operationId": "SubmitTransaction",
                "description": SUBMIT_TEXT,
                "parameters": [wait],
                "requestBody": {"required": True, "content": envelope},
                "responses": {
                    **_answer({"$ref": "#/components/schemas/ReceiptDocument"}, "The receipt."),
                    "202": {
                        "description": "The id, with wait=0.",
                        "content": {JSON: {"schema": {"$ref": "#/components/schemas/PendingDocument"}}},
                    },
                },
            }
        },
        "/v1/transactions/batch": {
            "post": {
                "operationId": "SubmitBatch",
                "description": BATCH_TEXT,
                "requestBody": {
                    "required": True,
                    "content": {
                        MSGPACK: {"schema": {**BYTES, "description": "The canonical array of envelopes."}}
                    },
                },
                "responses": {
                    "200": {
                        "description": "An array of [id, receipt or nil, error code or nil].",
                        "content": {MSGPACK: {"schema": BYTES}},
                    }
                },
            }
        },
    }


def _describe_bodies(paths: dict[str, Any]) -> None:
    """What the framework cannot tell from a handler that reads the body itself."""
    for path, kind in (
        ("/v1/genesis", JSON),
        ("/v1/blocks/{height}/data", "application/protobuf"),
        ("/v1/log/tile/{level}/{place}", OCTETS),
        ("/v1/log/tile/entries/{place}", OCTETS),
        ("/v1/events", "text/event-stream"),
        ("/v1/checkpoint", "text/plain"),
        ("/v1/log/checkpoint", "text/plain"),
        ("/v1/evidence/receipt/{transaction}", OCTETS),
        ("/v1/evidence/row/{contract}/{table}", OCTETS),
        ("/v1/evidence/absence/{contract}/{table}", OCTETS),
        ("/v1/evidence/range/{contract}/{table}", OCTETS),
    ):
        paths[path]["get"]["responses"] = {
            "200": {
                "description": "The content.",
                "content": {kind: {"schema": {} if kind == JSON else BYTES}},
            }
        }


def _answer(schema: Schema, text: str) -> dict[str, Any]:
    return {"200": {"description": text, "content": {JSON: {"schema": schema}}}}


def _doc_parts(doc: str) -> dict[str, str]:
    first, _newline, rest = doc.partition("\n")
    return {"summary": first, **({"description": rest.strip()} if rest.strip() else {})}


def _command_path(command: CommandDocument) -> dict[str, Any]:
    arguments = record_schema(command.arguments)
    body = {
        "type": "object",
        "additionalProperties": False,
        "required": ["arguments", "key"],
        "properties": {
            "arguments": arguments,
            "key": {"type": "string", "description": "The public key that will sign, as key text."},
            "valid_until": {
                "anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}],
                "description": "The last height at which the transaction may be in a block.",
            },
            "nonce": {"anyOf": [{"type": "string", "pattern": "^([0-9a-f]{2}){8,32}$"}, {"type": "null"}]},
        },
    }
    needs = (
        f"The signer needs the permission `{command.permission}`."
        if command.permission
        else "Any active party may sign."
    )
    parts = _doc_parts(command.doc)
    return {
        "post": {
            "tags": [command.contract],
            "operationId": f"prepare_{command.contract}_{command.name}",
            "summary": parts["summary"],
            "description": "\n\n".join(filter(None, (parts.get("description"), needs))),
            "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
            "responses": _answer({"$ref": "#/components/schemas/PreparedDocument"}, "The body to sign."),
        }
    }


def _parameter(field: FieldDocument, name: str, *, required: bool) -> dict[str, Any]:
    if field.kind == "json":
        return {
            "name": name,
            "in": "query",
            "required": required,
            "content": {JSON: {"schema": field_schema(field)}},
        }
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": field_schema(msgspec.structs.replace(field, optional=False)),
    }


def _query_path(query: QueryDocument) -> dict[str, Any]:
    return {
        "get": {
            "tags": [query.contract],
            "operationId": f"query_{query.contract}_{query.name}",
            **_doc_parts(query.doc),
            "parameters": [
                _parameter(one, one.name, required=one.required and not one.optional)
                for one in query.arguments
            ],
            "responses": _answer({"$ref": "#/components/schemas/QueryAnswer"}, "The result."),
        }
    }


def _rows_path(table: TableDocument) -> dict[str, Any]:
    contract, _dot, name = table.name.partition(".")
    page = {
        "type": "object",
        "required": ["table", "height", "rows", "next"],
        "properties": {
            "table": {"const": table.name},
            "height": {"type": "integer"},
            "next": {"type": ["string", "null"]},
            "rows": {"type": "array", "items": {"$ref": f"#/components/schemas/row.{table.name}"}},
        },
    }
    prefix = {
        "name": "prefix",
        "in": "query",
        "required": False,
        "style": "form",
        "explode": True,
        "description": "The first parts of the primary key: " + ", ".join(table.key),
        "schema": {"type": "array", "maxItems": len(table.key), "items": {"type": "string"}},
    }
    return {
        "get": {
            "tags": [contract],
            "operationId": f"rows_{contract}_{name}",
            **_doc_parts(table.doc or f"Rows of {table.name}."),
            "parameters": [
                prefix,
                {
                    "name": "limit",
                    "in": "query",
                    "schema": {"type": "integer", "minimum": 1, "maximum": 1000},
                },
                {"name": "after", "in": "query", "schema": {"type": "string"}},
            ],
            "responses": _answer(page, "A page of rows."),
        }
    }


def _event_schema(event: EventKindDocument) -> Schema:
    return {
        "type": "object",
        "description": event.doc,
        "required": ["position", "height", "index", "time_ms", "transaction", "contract", "event", "fields"],
        "properties": {
            "position": {"type": "string"},
            "height": {"type": "integer"},
            "index": {"type": "integer"},
            "time_ms": {"type": "integer"},
            "transaction": {"type": "string"},
            "contract": {"const": event.contract},
            "event": {"const": event.name},
            "fields": record_schema(event.fields, written=True),
        },
    }
