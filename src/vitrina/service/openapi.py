"""The OpenAPI document: Litestar's handlers and the hot routes in one, generated from what they take and give.

Litestar documents its own handlers; the bare ASGI routes add theirs from the Structs that they decode and encode. Every
failure is a problem document.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request
from litestar.openapi.plugins import JsonRenderPlugin

from vitrina.service.problem import PROBLEM_TYPE, Problem

__all__ = ["CompleteDocument", "HotOperation"]

_REFERENCE = "#/components/schemas/{name}"
_WHEN = {
    "400": "Unreadable, or not what this route takes.",
    "401": "No key, or one that opens nothing.",
    "403": "The key may not do this.",
    "404": "There is no such thing.",
    "409": "It contradicts what is there.",
    "413": "The body is too large.",
    "422": "Refused for lack of data.",
    "429": "Too many requests, or the queue is full; see Retry-After.",
    "503": "The disk or database can't store; see Retry-After.",
}
_KEYLESS = ("operations", "tag", "collect")
_SECURITY: list[dict[str, list[str]]] = [{"basic": []}, {"bearer": []}]
_SCHEMES = {
    "basic": {"type": "http", "scheme": "basic", "description": "The key as user, no password."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "A secret key as token."},
}


class HotOperation(msgspec.Struct, frozen=True, kw_only=True):
    """What the document says about a hot route.

    Attributes:
        path: of the route; it takes POST.
        summary, description, tag: words.
        body: type that the route decodes.
        answer: type that it encodes at 200.
        problems: statuses of its problem documents.
    """

    path: str
    summary: str
    description: str
    tag: str
    body: Any
    answer: Any
    problems: tuple[str, ...]


class CompleteDocument(JsonRenderPlugin):
    """Serves `/schema/openapi.json` with the hot routes added."""

    def __init__(self, operations: list[HotOperation]) -> None:
        super().__init__(path="/openapi.json")
        self._operations = operations

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The document as JSON."""
        return msgspec.json.encode(complete(openapi_schema, self._operations))


def complete(document: dict[str, Any], operations: list[HotOperation]) -> dict[str, Any]:
    """Litestar's document with hot operations, problem documents and key schemes."""
    types: list[Any] = [Problem]
    for operation in operations:
        types += [operation.body, operation.answer]
    references, schemas = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    components = document.get("components", {})
    known = {**schemas, **components.get("schemas", {})}
    paths = {path: _with_problems(item) for path, item in document.get("paths", {}).items()}
    for number, operation in enumerate(operations):
        paths[operation.path] = {"post": _hot(operation, references[1 + 2 * number], references[2 + 2 * number])}
    components = {**components, "schemas": dict(sorted(known.items())), "securitySchemes": _SCHEMES}
    return {**document, "paths": dict(sorted(paths.items())), "components": components}


def _problem(status: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(name="Problem")}
    return {"description": _WHEN[status], "content": {PROBLEM_TYPE: {"schema": schema}}}


def _with_problems(item: dict[str, Any]) -> dict[str, Any]:
    done: dict[str, Any] = {}
    for method, operation in item.items():
        if "responses" in operation:
            good = {status: answer for status, answer in operation["responses"].items() if status < "4"}
            keyless = set(operation.get("tags", ())) <= set(_KEYLESS)
            problems = ("503",) if keyless else ("400", "401", "403", "404", "429", "503")
            if keyless and operation.get("parameters"):
                problems = ("404", "503")
            operation = {**operation, "responses": good | {status: _problem(status) for status in problems}}
            if not keyless:
                operation["security"] = _SECURITY
        done[method] = operation
    return done


def _hot(operation: HotOperation, body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    name = operation.path.rsplit("/", 1)[-1]
    return {
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "operationId": f"Post{name.capitalize()}",
        "security": _SECURITY,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": answer}}},
            **{status: _problem(status) for status in operation.problems},
        },
    }
