"""`PUT, GET, DELETE` of offers, creatives and placements. A change counts from the next decision on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
from litestar import Request, delete, get, post, put

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


@put("/v1/offers/{offer_id:str}", sync_to_thread=True, tags=["catalogue"], summary="Add or replace an offer")
def put_offer(request: Incoming, workspace: Workspace, door: Door, offer_id: str, data: OfferBody) -> OfferBody:
    """What is proposed. The body replaces the whole offer; what it leaves out is at its default."""
    return cast("OfferBody", _put(workspace, _caller(request, door), "offer", offer_id, data))


@get("/v1/offers/{offer_id:str}", sync_to_thread=True, tags=["catalogue"], summary="One offer")
def get_offer(request: Incoming, workspace: Workspace, door: Door, offer_id: str) -> OfferBody:
    """The offer as it stands now, its stock counted down."""
    _caller(request, door)
    return cast("OfferBody", workspace.get_body("offer", offer_id))


@delete("/v1/offers/{offer_id:str}", sync_to_thread=True, tags=["catalogue"], summary="Take an offer away")
def delete_offer(request: Incoming, workspace: Workspace, door: Door, offer_id: str) -> None:
    """It is not shown any more; its history stays for the decisions that chose from it."""
    workspace.catalogue.delete("offer", offer_id, _caller(request, door).name)


@put("/v1/creatives/{creative_id:str}", sync_to_thread=True, tags=["catalogue"], summary="Add or replace a creative")
def put_creative(
    request: Incoming, workspace: Workspace, door: Door, creative_id: str, data: CreativeBody
) -> CreativeBody:
    """How an offer is shown. Only one whose status is approved is."""
    return cast("CreativeBody", _put(workspace, _caller(request, door), "creative", creative_id, data))


@get("/v1/creatives/{creative_id:str}", sync_to_thread=True, tags=["catalogue"], summary="One creative")
def get_creative(request: Incoming, workspace: Workspace, door: Door, creative_id: str) -> CreativeBody:
    """The creative as it stands now."""
    _caller(request, door)
    return cast("CreativeBody", workspace.get_body("creative", creative_id))


@delete("/v1/creatives/{creative_id:str}", sync_to_thread=True, tags=["catalogue"], summary="Take a creative away")
def delete_creative(request: Incoming, workspace: Workspace, door: Door, creative_id: str) -> None:
    """It is not shown any more."""
    workspace.catalogue.delete("creative", creative_id, _caller(request, door).name)


@put("/v1/placements/{placement_id:str}", sync_to_thread=True, tags=["catalogue"], summary="Add or replace a placement")
def put_placement(
    request: Incoming, workspace: Workspace, door: Door, placement_id: str, data: PlacementBody
) -> PlacementBody:
    """Where decisions are shown: slots, policy, holdout, outcomes, fallback."""
    return cast("PlacementBody", _put(workspace, _caller(request, door), "placement", placement_id, data))


@get("/v1/placements/{placement_id:str}", sync_to_thread=True, tags=["catalogue"], summary="One placement")
def get_placement(request: Incoming, workspace: Workspace, door: Door, placement_id: str) -> PlacementBody:
    """The placement as it stands now."""
    _caller(request, door)
    return cast("PlacementBody", workspace.get_body("placement", placement_id))


@delete("/v1/placements/{placement_id:str}", sync_to_thread=True, tags=["catalogue"], summary="Take a placement away")
def delete_placement(request: Incoming, workspace: Workspace, door: Door, placement_id: str) -> None:
    """Decisions for it are 404 from now on."""
    workspace.catalogue.delete("placement", placement_id, _caller(request, door).name)


@post("/v1/offers/import", status_code=200, tags=["catalogue"], summary="Many offers from CSV or NDJSON")
async def post_offers(request: Incoming, workspace: Workspace, door: Door) -> OfferImportReport:
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
