"""The latest decisions as lines of a list, filtered: what the console's first page reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Select, select

from vitrina.core.decision import DecisionRow
from vitrina.core.explanation import DecisionFilter, DecisionPage, DecisionSummary
from vitrina.core.outcome import Outcome
from vitrina.core.reasons import REFUSALS
from vitrina.decide.candidates import Candidates
from vitrina.decide.log import DecisionLog, decision_key
from vitrina.decide.outcomes import Lists, OutcomeLog
from vitrina.decide.packing import unpack_refusals
from vitrina.decide.tables import read_decision
from vitrina.storage.journal import CommittedRow

__all__ = ["DecisionList"]

_CHUNK = 200
SCANNED = 20_000
"""Rows of the log that one question looks at; older ones are reached by `before`."""
COUNTED = 5_000
"""Rows up to which matches are counted."""


class DecisionList:
    """Reads the log newest first, with names from the catalogue and outcomes beside them."""

    def __init__(self, log: DecisionLog, outcomes: OutcomeLog, lists: Lists) -> None:
        self._log = log
        self._outcomes = outcomes
        self._lists = lists

    def recent(self, wanted: DecisionFilter, limit: int = 20) -> DecisionPage:
        """A page of decisions that match, newest first.

        At most `SCANNED` rows of the log are looked at from where the page begins; matches are counted when the log
        is short.
        """
        cursor = wanted.before or wanted.after
        start = self._number(cursor) if cursor else None
        if cursor and start is None:
            return DecisionPage(rows=(), total=None)
        rising = bool(wanted.after) and not wanted.before
        found = list(islice(self._matches(wanted, start, rising=rising), limit + 1))
        more, found = len(found) > limit, found[:limit]
        if rising:
            found.reverse()
        return DecisionPage(
            rows=tuple(self._summary(row, outcomes) for row, outcomes in found),
            total=self._total(wanted),
            newer=more if rising else bool(cursor),
            older=bool(cursor) if rising else more,
        )

    def _number(self, decision_id: str) -> int | None:
        committed = self._log.journal.find(decision_key(decision_id))
        return None if committed is None else committed.seq

    def _total(self, wanted: DecisionFilter) -> int | None:
        if self._log.journal.count() > COUNTED:
            return None
        return sum(1 for _ in self._matches(wanted, None, rising=False))

    def _matches(
        self, wanted: DecisionFilter, start: int | None, *, rising: bool
    ) -> Iterator[tuple[DecisionRow, tuple[Outcome, ...]]]:
        for chunk in self._chunks(wanted, start, rising=rising):
            rows = [
                row for committed in chunk if (row := read_decision(committed)) is not None and self._fits(row, wanted)
            ]
            outcomes = self._outcomes.of_decisions([row.id for row in rows]) if rows else {}
            for row in rows:
                credited = outcomes.get(row.id, ())
                if not wanted.outcome or _strongest(credited) == wanted.outcome:
                    yield row, credited

    def _chunks(self, wanted: DecisionFilter, start: int | None, *, rising: bool) -> Iterator[list[CommittedRow]]:
        scanned, last = 0, start
        while scanned < SCANNED:
            with self._log.store.read() as connection:
                rows = [CommittedRow(*row) for row in connection.execute(self._query(wanted, last, rising=rising))]
            if not rows:
                return
            yield rows
            scanned, last = scanned + len(rows), rows[-1].seq

    def _query(self, wanted: DecisionFilter, last: int | None, *, rising: bool) -> Select[Any, Any, Any, Any, Any]:
        table = self._log.journal.table
        query = select(table.c.seq, table.c.id, table.c.at, table.c.subject, table.c.body)
        if last is not None:
            query = query.where(table.c.seq > last if rising else table.c.seq < last)
        if wanted.subject:
            names = (
                [wanted.subject]
                if wanted.subject[:2] in ("u:", "a:")
                else [f"u:{wanted.subject}", f"a:{wanted.subject}"]
            )
            query = query.where(table.c.subject.in_(names))
        if wanted.since is not None:
            query = query.where(table.c.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(table.c.at < wanted.until)
        return query.order_by(table.c.seq if rising else table.c.seq.desc()).limit(_CHUNK)

    def _fits(self, row: DecisionRow, wanted: DecisionFilter) -> bool:
        if wanted.placement and row.placement != wanted.placement:
            return False
        if wanted.served and row.holdout != (wanted.served == "holdout"):
            return False
        if not wanted.refused and not wanted.offer:
            return True
        candidates = self._lists.numbered(row.catalogue)
        if candidates is None:
            return False
        if wanted.offer and candidates.position.get(wanted.offer, -1) not in row.items:
            return False
        return not wanted.refused or _refused(row, candidates, wanted.refused)

    def _summary(self, row: DecisionRow, outcomes: Sequence[Outcome]) -> DecisionSummary:
        candidates = self._lists.numbered(row.catalogue)
        offers = [candidates.offers[k] for k in row.items] if candidates is not None else []
        trusted = [each for each in outcomes if each.trusted]
        counted = trusted or outcomes
        money = [each.value for each in counted if each.value is not None]
        return DecisionSummary(
            id=row.id,
            at=row.at,
            subject=row.subject,
            placement=row.placement,
            placement_name=candidates.placement.name or row.placement if candidates is not None else row.placement,
            names=tuple(offer.name or offer.id for offer in offers),
            probability=row.probabilities[0] if row.probabilities else None,
            holdout=row.holdout,
            personalised=row.personalised,
            preview=row.preview,
            outcome=_strongest(counted),
            value=sum(money) if money else None,
            currency=row.currency if money else None,
            trusted=bool(trusted) or not outcomes,
        )


def _strongest(outcomes: Sequence[Outcome]) -> str:
    kinds = {each.kind for each in outcomes}
    return next((kind for kind in ("reversal", "conversion", "click") if kind in kinds), "none")


def _refused(row: DecisionRow, candidates: Candidates, code: str) -> bool:
    numbers = {n for n, known in enumerate(REFUSALS) if n and (known == code or known.startswith(f"{code}."))}
    return not numbers.isdisjoint(unpack_refusals(row.refusals, len(candidates)))
