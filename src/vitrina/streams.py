"""The journals of a workspace, and what goes from them to the lake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec

from vitrina.core.config import Settings
from vitrina.storage.journal import Journal
from vitrina.storage.store import Store
from vitrina.storage.stream import Stream

__all__ = ["Journals", "attach_journals", "streams"]


class Journals(msgspec.Struct, frozen=True):
    """The journals of a store: what came in, what was decided, what came of it."""

    events: Journal
    decisions: Journal
    outcomes: Journal


def attach_journals(store: Store, settings: Settings) -> Journals:
    """Attach the journals to a store, with the bounds that the settings give them."""
    collect = settings.collect
    kept = timedelta(days=settings.privacy.decisions_days)
    return Journals(
        events=store.attach(
            Journal(
                "events",
                dedupe=True,
                keep=timedelta(days=collect.dedupe_days),
                waiting_rows=collect.waiting_events,
                waiting_bytes=collect.waiting_bytes,
            )
        ),
        decisions=store.attach(
            Journal("decisions", dedupe=False, keep=kept, waiting_rows=settings.decide.waiting_decisions)
        ),
        outcomes=store.attach(Journal("outcomes", dedupe=True, keep=kept)),
    )


def streams(
    journals: Journals, offers_of: Callable[[int], tuple[str, ...] | None], folded: Callable[[], int]
) -> list[Stream]:
    """What goes from the store to the lake: events, decisions, outcomes, in this order.

    Schemas bring Arrow, so they are made where a workspace is opened.

    Args:
        journals: where it comes from.
        offers_of: number of a list of candidates → its offer ids, or None where it isn't known.
        folded: number of the last event whose effects on profiles are saved; later ones stay in the store.
    """
    from vitrina.collect import lake_events
    from vitrina.decide import tables

    return [
        Stream(
            name="events",
            journal=journals.events,
            schema=lake_events.EVENT_SCHEMA,
            to_arrow=lake_events.to_arrow,
            ready=folded,
        ),
        Stream(
            name="decisions",
            journal=journals.decisions,
            schema=tables.decision_schema(),
            to_arrow=lambda rows: tables.decisions_to_arrow(rows, offers_of),
            statistics=("seq", "occurred_at"),
        ),
        Stream(
            name="outcomes",
            journal=journals.outcomes,
            schema=tables.outcome_schema(),
            to_arrow=tables.outcomes_to_arrow,
            statistics=("seq", "occurred_at"),
        ),
    ]
