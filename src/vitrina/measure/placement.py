"""The read-out of a placement: what the catalogue says of it, and what the log and the lake hold."""

from __future__ import annotations

from vitrina.collect.joined import joined_leaves
from vitrina.core.catalogue import Placement
from vitrina.core.errors import NotFoundError
from vitrina.decide.catalogue import Catalogue
from vitrina.measure.people import gather
from vitrina.measure.read_out import ReadOut, read_out
from vitrina.storage.engine import Engine
from vitrina.storage.store import Store

__all__ = ["read_out_of"]


def read_out_of(
    placement_id: str, *, store: Store, engine: Engine, catalogue: Catalogue, simulated: bool = False
) -> ReadOut:
    """Incremental margin of a placement against its holdout, or why nothing can be said yet.

    Args:
        placement_id: which one.
        store, engine, catalogue: of the workspace.
        simulated: what is in it was simulated, and the read-out says so.

    Raises:
        NotFoundError: there is no such placement.
    """
    placement = catalogue.placement(placement_id)
    if placement is None:
        raise NotFoundError(f"there is no placement {placement_id}.", code="placement.unknown", where="placement")
    identity = joined_leaves(store)
    arms = gather(engine, placement, identity, _margins(catalogue, placement), _holdouts(catalogue, placement_id))
    return read_out(arms, placement_id, placement.currency, simulated=simulated)


def _margins(catalogue: Catalogue, placement: Placement) -> dict[str, int]:
    return {
        o.id: o.margin.minor
        for o in catalogue.offers()
        if o.margin is not None and o.margin.currency == placement.currency
    }


def _holdouts(catalogue: Catalogue, placement_id: str) -> dict[int, float]:
    history = catalogue.history("placement", placement_id)
    return {revision: thing.holdout for revision, _, _, thing in history if isinstance(thing, Placement)}
