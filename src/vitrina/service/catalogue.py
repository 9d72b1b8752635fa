"""`PUT, GET, DELETE` of offers, creatives and placements. A change counts from the next decision on."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypeAlias, TypeVar, cast

import msgspec
from litestar import Request, delete, get, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, PathParameter

from vitrina.console.threads import in_thread
from vitrina.service.access import caller_of
from vitrina.workspace import CreativeBody, OfferBody, OfferImportReport, PlacementBody, Workspace

__all__ = ["HANDLERS"]

Incoming = Request[Any, Any, Any]
_encode = msgspec.json.Encoder().encode

B = TypeVar("B", OfferBody, CreativeBody, PlacementBody)
Id: TypeAlias = str
"""Litestar reads `B` and `Id` from each handler's `signature_namespace`."""


def _resource(
    kind: str, noun: str, body: type[B], *, on_put: str, on_get: str, on_delete: str
) -> list[HTTPRouteHandler]:
    """The handlers of one kind of thing: `body` is taken and given, `on_…` describes each of them."""
    path = f"/v1/{kind}s/{{{kind}_id:str}}"
    names = {"B": body, "Id": Annotated[str, PathParameter(name=f"{kind}_id")]}

    @put(path, tags=["catalogue"], summary=f"Add or replace {noun}", description=on_put, signature_namespace=names)
    @in_thread
    def put_thing(
        request: Incoming,
        workspace: NamedDependency[Workspace],
        thing_id: Id,
        data: JSONBody[B],
    ) -> B:
        by = caller_of(request).name
        return cast("B", workspace.put_body(kind, thing_id, _encode(data), by))

    @get(path, tags=["catalogue"], summary=f"One {kind}", description=on_get, signature_namespace=names)
    @in_thread
    def get_thing(workspace: NamedDependency[Workspace], thing_id: Id) -> B:
        return cast("B", workspace.get_body(kind, thing_id))

    @delete(path, tags=["catalogue"], summary=f"Take {noun} away", description=on_delete, signature_namespace=names)
    @in_thread
    def delete_thing(request: Incoming, workspace: NamedDependency[Workspace], thing_id: Id) -> None:
        workspace.catalogue.delete(kind, thing_id, caller_of(request).name)

    return [put_thing, get_thing, delete_thing]


@post("/v1/offers/import", status_code=200, tags=["catalogue"], summary="Many offers from CSV or NDJSON")
async def post_offers(request: Incoming, workspace: NamedDependency[Workspace]) -> OfferImportReport:
    """CSV (content type text/csv) or NDJSON, answered row by row: good rows are stored, bad ones say what is wrong."""
    caller = caller_of(request)
    body = await request.body()
    form = "csv" if request.headers.get("content-type", "").startswith("text/csv") else "ndjson"
    return await asyncio.to_thread(workspace.import_offers, body, form, caller.name)


HANDLERS = [
    *_resource(
        "offer",
        "an offer",
        OfferBody,
        on_put="What is proposed. The body replaces the whole offer; what it leaves out is at its default.",
        on_get="The offer as it stands now, its stock counted down.",
        on_delete="It is not shown any more; its history stays for the decisions that chose from it.",
    ),
    *_resource(
        "creative",
        "a creative",
        CreativeBody,
        on_put="How an offer is shown. Only one whose status is approved is.",
        on_get="The creative as it stands now.",
        on_delete="It is not shown any more.",
    ),
    *_resource(
        "placement",
        "a placement",
        PlacementBody,
        on_put="Where decisions are shown: slots, policy, holdout, outcomes, fallback.",
        on_get="The placement as it stands now.",
        on_delete="Decisions for it are 404 from now on.",
    ),
    post_offers,
]
