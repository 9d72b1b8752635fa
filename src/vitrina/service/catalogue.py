"""`PUT, GET, DELETE` of offers, creatives and placements. A change counts from the next decision on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
from litestar import Request, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from vitrina.console.threads import in_thread
from vitrina.core.access import Caller
from vitrina.service.door import Door
from vitrina.service.guards import caller_of
from vitrina.workspace import CreativeBody, OfferBody, OfferImportReport, PlacementBody, Workspace

__all__ = ["HANDLERS"]

Incoming = Request[Any, Any, Any]
_encode = msgspec.json.Encoder().encode


def _caller(request: Incoming, door: Door) -> Caller:
    return caller_of(request, door, "catalogue")


def _put(workspace: Workspace, caller: Caller, kind: str, thing_id: str, data: msgspec.Struct) -> object:
    return workspace.put_body(kind, thing_id, _encode(data), caller.name)


@put("/v1/offers/{offer_id:str}", tags=["catalogue"], summary="Add or replace an offer")
@in_thread
def put_offer(
    request: Incoming,
    workspace: NamedDependency[Workspace],
    door: NamedDependency[Door],
    offer_id: FromPath[str],
    data: JSONBody[OfferBody],
) -> OfferBody:
    """What is proposed. The body replaces the whole offer; what it leaves out is at its default."""
    return cast("OfferBody", _put(workspace, _caller(request, door), "offer", offer_id, data))


@get("/v1/offers/{offer_id:str}", tags=["catalogue"], summary="One offer")
@in_thread
def get_offer(
    request: Incoming, workspace: NamedDependency[Workspace], door: NamedDependency[Door], offer_id: FromPath[str]
) -> OfferBody:
    """The offer as it stands now, its stock counted down."""
    _caller(request, door)
    return cast("OfferBody", workspace.get_body("offer", offer_id))


@delete("/v1/offers/{offer_id:str}", tags=["catalogue"], summary="Take an offer away")
@in_thread
def delete_offer(
    request: Incoming, workspace: NamedDependency[Workspace], door: NamedDependency[Door], offer_id: FromPath[str]
) -> None:
    """It is not shown any more; its history stays for the decisions that chose from it."""
    workspace.catalogue.delete("offer", offer_id, _caller(request, door).name)


@put("/v1/creatives/{creative_id:str}", tags=["catalogue"], summary="Add or replace a creative")
@in_thread
def put_creative(
    request: Incoming,
    workspace: NamedDependency[Workspace],
    door: NamedDependency[Door],
    creative_id: FromPath[str],
    data: JSONBody[CreativeBody],
) -> CreativeBody:
    """How an offer is shown. Only one whose status is approved is."""
    return cast("CreativeBody", _put(workspace, _caller(request, door), "creative", creative_id, data))


@get("/v1/creatives/{creative_id:str}", tags=["catalogue"], summary="One creative")
@in_thread
def get_creative(
    request: Incoming, workspace: NamedDependency[Workspace], door: NamedDependency[Door], creative_id: FromPath[str]
) -> CreativeBody:
    """The creative as it stands now."""
    _caller(request, door)
    return cast("CreativeBody", workspace.get_body("creative", creative_id))


@delete("/v1/creatives/{creative_id:str}", tags=["catalogue"], summary="Take a creative away")
@in_thread
def delete_creative(
    request: Incoming, workspace: NamedDependency[Workspace], door: NamedDependency[Door], creative_id: FromPath[str]
) -> None:
    """It is not shown any more."""
    workspace.catalogue.delete("creative", creative_id, _caller(request, door).name)


@put("/v1/placements/{placement_id:str}", tags=["catalogue"], summary="Add or replace a placement")
@in_thread
def put_placement(
    request: Incoming,
    workspace: NamedDependency[Workspace],
    door: NamedDependency[Door],
    placement_id: FromPath[str],
    data: JSONBody[PlacementBody],
) -> PlacementBody:
    """Where decisions are shown: slots, policy, holdout, outcomes, fallback."""
    return cast("PlacementBody", _put(workspace, _caller(request, door), "placement", placement_id, data))


@get("/v1/placements/{placement_id:str}", tags=["catalogue"], summary="One placement")
@in_thread
def get_placement(
    request: Incoming, workspace: NamedDependency[Workspace], door: NamedDependency[Door], placement_id: FromPath[str]
) -> PlacementBody:
    """The placement as it stands now."""
    _caller(request, door)
    return cast("PlacementBody", workspace.get_body("placement", placement_id))


@delete("/v1/placements/{placement_id:str}", tags=["catalogue"], summary="Take a placement away")
@in_thread
def delete_placement(
    request: Incoming, workspace: NamedDependency[Workspace], door: NamedDependency[Door], placement_id: FromPath[str]
) -> None:
    """Decisions for it are 404 from now on."""
    workspace.catalogue.delete("placement", placement_id, _caller(request, door).name)


@post("/v1/offers/import", status_code=200, tags=["catalogue"], summary="Many offers from CSV or NDJSON")
async def post_offers(
    request: Incoming, workspace: NamedDependency[Workspace], door: NamedDependency[Door]
) -> OfferImportReport:
    """CSV (content type text/csv) or NDJSON, answered row by row: good rows are stored, bad ones say what is wrong."""
    caller = _caller(request, door)
    body = await request.body()
    form = "csv" if request.headers.get("content-type", "").startswith("text/csv") else "ndjson"
    return await asyncio.to_thread(workspace.import_offers, body, form, caller.name)


HANDLERS = [
    put_offer,
    get_offer,
    delete_offer,
    put_creative,
    get_creative,
    delete_creative,
    put_placement,
    get_placement,
    delete_placement,
    post_offers,
]
