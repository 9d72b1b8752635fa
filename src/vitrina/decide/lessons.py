"""What the log teaches: decisions and outcomes, read in order and turned into examples.

An example says: for this vector and this offer it happened, or it didn't, and how much that counts. Reading writes
nothing; where it stopped is the caller's to remember.

What is personal in a vector is learned only of people who permit it (`Learner`).

Nothing is learned from previews and replays, from the slate that a holdout person did not see, from untrusted sales and
from clicks of robots. What a holdout person did see teaches like any other: the model is conditional on what was shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.core.catalogue import Placement
from vitrina.core.clock import Micros
from vitrina.core.decision import DecisionRow
from vitrina.core.outcome import Outcome
from vitrina.decide.bank import Choosable
from vitrina.decide.log import DecisionLog
from vitrina.decide.outcomes import OutcomeLog, outcome_rules
from vitrina.decide.tables import read_decision, read_outcome

__all__ = ["Example", "HeadName", "Known", "Lessons", "Listed", "Lists", "has_clicks"]

HeadName = Literal["click", "buy"]
_READ = 200


class Listed(Choosable, Protocol):
    """A list of candidates with the placement it belongs to."""

    @property
    def placement(self) -> Placement:
        """Where they are shown."""
        ...


class Lists(Protocol):
    """Where lists of candidates are found (`vitrina.decide.catalogue.Catalogue`)."""

    def numbered(self, number: int) -> Listed | None:
        """The list with this number, or None when it is gone."""
        ...

    def candidates(self, placement_id: str) -> Listed:
        """The current list; a `NotFoundError` for an unknown placement."""
        ...


class Example(msgspec.Struct, frozen=True, gc=False):
    """One example for a head of one placement; `x` (d,), `g` (A,)."""

    placement: str
    head: HeadName
    offer_id: str
    x: NDArray[np.float32]
    g: NDArray[np.float32]
    y: float
    weight: float


class Known(msgspec.Struct, gc=False):
    """What outcomes say of one shown item."""

    clicked_at: Micros | None = None
    sale: Outcome | None = None
    """The first trusted sale."""
    robot: bool = False
    """Clicked by a robot: neither a yes nor a no."""


def has_clicks(placement: Placement) -> bool:
    """Whether the placement has an early signal, and so two heads."""
    return any(rule.weak for rule in outcome_rules(placement))


class Lessons:
    """Reads decisions and outcomes of one store.

    Args:
        feature_set: number of the vectors that the model understands; rows with another one teach nothing.
    """

    def __init__(self, decisions: DecisionLog, outcomes: OutcomeLog, lists: Lists, feature_set: int) -> None:
        self._decisions = decisions
        self._outcomes = outcomes
        self._lists = lists
        self._feature_set = feature_set

    def decisions_after(self, after: int, before: Micros) -> list[tuple[int, DecisionRow | None]]:
        """The next rows of the log after number `after`, in order, up to the first that is younger than `before`.

        None stands for a row that is no decision, or one that may not teach.
        """
        rows: list[tuple[int, DecisionRow | None]] = []
        for committed in self._decisions.journal.read(after, _READ):
            if committed.at > before:
                break
            row = read_decision(committed)
            teaches = row is not None and not row.preview and not row.replayed
            rows.append((committed.seq, row if teaches else None))
        return rows

    def outcomes_after(
        self, after: int, *, upto: int | None = None, before: Micros | None = None
    ) -> list[tuple[int, Outcome]]:
        """The next outcomes after number `after` (at most number `upto`), up to the first younger than `before`."""
        rows: list[tuple[int, Outcome]] = []
        for committed in self._outcomes.journal.read(after, _READ, upto):
            if before is not None and committed.at > before:
                break
            rows.append((committed.seq, read_outcome(committed)))
        return rows

    def decision(self, decision_id: str) -> DecisionRow | None:
        """The decision with this id, if it may teach and is still there."""
        row = self._decisions.find(decision_id)
        return None if row is None or row.preview or row.replayed else row

    def known(self, decision_ids: Sequence[str]) -> dict[tuple[str, str], Known]:
        """What outcomes say of the items of these decisions, by (decision id, offer id)."""
        found: dict[tuple[str, str], Known] = {}
        for outcomes in self._outcomes.of_decisions(list(dict.fromkeys(decision_ids))).values():
            for outcome in outcomes:
                _note(found.setdefault((outcome.decision_id, outcome.offer_id), Known()), outcome)
        return found

    def listed(self, row: DecisionRow) -> Listed | None:
        """The candidates that the decision chose from; None where they, or its vector, are no longer understood."""
        return self._lists.numbered(row.catalogue) if row.feature_set == self._feature_set else None

    def example(self, row: DecisionRow, k: int, head: HeadName, y: float, weight: float) -> Example | None:
        """An example of candidate `k` of the decision's list, or None where `listed` gives None."""
        listed = self.listed(row)
        if listed is None:
            return None
        x = np.frombuffer(row.features, dtype=np.float32)
        return Example(row.placement, head, listed.offer_ids[k], x, listed.g[k], y, weight)


def _note(known: Known, outcome: Outcome) -> None:
    if outcome.kind == "click":
        if not outcome.trusted:
            known.robot = True
        elif known.clicked_at is None:
            known.clicked_at = outcome.at
    elif outcome.kind == "conversion" and outcome.trusted and known.sale is None:
        known.sale = outcome
