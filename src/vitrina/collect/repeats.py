"""Events that came before, too long ago for the journal to remember their ids: the lake does."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from vitrina.core.clock import Micros, month_of
from vitrina.core.errors import VitrinaError
from vitrina.core.event import Event
from vitrina.storage.lake import Lake
from vitrina.storage.stream import Stream

__all__ = ["came_before"]

log = logging.getLogger(__name__)


def came_before(events: Sequence[Event], lake: Lake, stream: Stream, window: Micros) -> list[bool]:
    """For each event whether the lake holds it already; empty where none is old enough to be looked for.

    As in the journal, a message by write key is no repeat of one by secret key with the same id.

    Args:
        events: in order of arrival.
        lake, stream: where events lie.
        window: how long the journal remembers ids; only older events are looked for, and never those of an import.
    """
    old = [e for e in events if e.received_at - e.occurred_at > window and not e.backfilled]
    if not old:
        return []
    months = sorted({month_of(event.occurred_at) for event in old})
    try:
        known = {
            trusted: lake.present(stream, "message_id", ids, months, ("trusted", trusted))
            for trusted in (False, True)
            if (ids := [event.message_id for event in old if event.trusted is trusted])
        }
    except (VitrinaError, OSError):
        log.exception("the lake can't be asked for repeats; old events are taken as new")
        return []
    asked = {id(event) for event in old}
    return [id(event) in asked and event.message_id in known[event.trusted] for event in events]
