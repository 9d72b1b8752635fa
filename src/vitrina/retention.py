"""Retention: what was kept long enough is deleted, in every room's part of the store and in the lake."""

from __future__ import annotations

from collections.abc import Sequence

from vitrina.collect.dead_letters import delete_letters
from vitrina.core.clock import DAY, Clock
from vitrina.core.config import Settings
from vitrina.decide.learning import Learner
from vitrina.storage.lake import Lake
from vitrina.storage.store import Store
from vitrina.storage.stream import Stream
from vitrina.streams import Journals

__all__ = ["Retention"]

_LETTERS = 30 * DAY


class Retention:
    """Deletes what the settings don't let us keep. Wired by the workspace; the drainer runs it once a day."""

    def __init__(
        self,
        *,
        store: Store,
        lake: Lake,
        journals: Journals,
        streams: Sequence[Stream],
        learner: Learner,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._lake = lake
        self._journals = journals
        self._streams = tuple(streams)
        self._learner = learner
        self._settings = settings
        self._clock = clock

    def keep(self) -> None:
        """Delete what was kept long enough: events, decisions and outcomes, banks, refused events (30 days)."""
        now, settings = self._clock.now(), self._settings
        events, decisions = now - settings.privacy.events_days * DAY, now - settings.privacy.decisions_days * DAY
        for stream in self._streams:
            self._lake.delete_before(stream, events if stream.name == "events" else decisions)
        self._journals.decisions.delete_before(decisions)
        self._journals.events.forget_ids(now - settings.collect.dedupe_days * DAY)
        self._journals.outcomes.forget_ids(decisions)
        self._learner.forget_banks(now - settings.decide.banks_days * DAY)
        self._store.write(lambda connection: delete_letters(connection, now - _LETTERS))
