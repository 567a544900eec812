"""The reference page of the HTTP interface, from the description that a node itself gives."""

from typing import Any

from guildbook.api.app import general_description

_HEAD = """# HTTP interface

What every node offers, as its own description (`GET /v1/openapi.json`) has it; there, each command, query, table and
event of the contracts that run has a typed path of its own as well. Errors are problem documents (RFC 9457) with the
codes of the [error table](../concepts/errors.md). How to use it: [Use the HTTP interface](../how-to/api.md).
"""


def http_reference() -> str:
    """The page in Markdown."""
    description = general_description()
    parts = [_HEAD]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method, operation))
    return "\n".join(parts)


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    lines = [f"## {method.upper()} {path}", "", operation["summary"].replace("``", "`"), ""]
    if operation.get("description"):
        lines += [operation["description"].replace("``", "`"), ""]
    parameters = operation.get("parameters", [])
    if parameters:
        lines += ["| parameter | in | required | meaning |", "|---|---|---|---|"]
        for one in parameters:
            required = "yes" if one.get("required") else "no"
            lines.append(f"| `{one['name']}` | {one['in']} | {required} | {one.get('description', '')} |")
        lines.append("")
    sent = operation.get("requestBody", {}).get("content", {})
    if sent:
        lines += ["Body: " + ", ".join(f"`{kind}`" for kind in sent), ""]
    for status, answer in operation["responses"].items():
        kinds = ", ".join(f"`{kind}`{_schema_name(one)}" for kind, one in answer.get("content", {}).items())
        if status != "default":
            lines += [f"Answer {status}: {kinds}" if kinds else f"Answer {status}", ""]
    return "\n".join(lines)


def _schema_name(content: dict[str, Any]) -> str:
    reference: str = content.get("schema", {}).get("$ref", "")
    return f", {reference.rpartition('/')[2]}" if reference else ""
