"""What was learned of one placement: its heads, the refunds of its offers, and how much is new since the last bank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vitrina.core.clock import HOUR, MINUTE, SECOND, Micros
from vitrina.decide.arrays import Arrays
from vitrina.decide.bank import Bank, draw_bank
from vitrina.decide.lessons import Example, HeadName
from vitrina.decide.model import ONE_HEAD, TWO_HEADS, Head, Layout

__all__ = ["YOUNG", "PlacementModel"]

YOUNG = 5_000
"""Decisions up to which a placement gets new draws at once, and whose "no" is booked in parts."""

_PRIOR_SALES = 20.0
_PRIOR_REFUNDS = 0.05
_MOST_LOST = 3.0
_FEW = 50.0


class PlacementModel:
    """Two heads, P(click) and P(buy | click), or one, P(buy), where the placement has no early signal.

    Attributes:
        heads: by name, in the order of the bank.
        visits: decisions that were seen so far.
        young_until: number in the log of the last decision made while it was young, None while it is.
        published_at: when the latest bank was drawn, None before the first.
    """

    def __init__(self, placement: str, layout: Layout, forgetting: float, *, clicks: bool) -> None:
        self.placement = placement
        self.clicks = clicks
        self.heads: dict[HeadName, Head] = (
            {"click": Head(layout, TWO_HEADS, forgetting), "buy": Head(layout, TWO_HEADS, forgetting)}
            if clicks
            else {"buy": Head(layout, ONE_HEAD, forgetting)}
        )
        self.visits = 0
        self.young_until: int | None = None
        self.published_at: Micros | None = None
        self._published_visits = 0
        self._news = 0.0
        self._urgent = False
        self._refunds: dict[str, tuple[float, float]] = {}

    def visit(self, seq: int) -> None:
        """Count the decision with this number in the log; they come in order."""
        self.visits += 1
        if self.visits == YOUNG:
            self.young_until = seq

    def booked_in_parts(self, seq: int) -> bool:
        """Whether the "no" of the decision with this number, which was counted, is booked in parts.

        It follows from the decision and not from how many came since, so that no "no" is booked by both rules.
        """
        return self.young_until is None or seq <= self.young_until

    def learn(self, head: HeadName, examples: Sequence[Example]) -> None:
        """Learn at most 100 examples of one head."""
        self.heads[head].learn(
            np.array([example.x for example in examples], dtype=np.float64),
            np.array([example.g for example in examples], dtype=np.float64),
            [example.offer_id for example in examples],
            np.array([example.y for example in examples]),
            np.array([example.weight for example in examples]),
        )
        self._news += sum(example.weight for example in examples)
        self._urgent = self._urgent or any(example.y > 0 for example in examples)

    def count_sale(self, offer_id: str) -> None:
        """Count a trusted sale."""
        sales, lost = self._refunds.get(offer_id, (0.0, 0.0))
        self._refunds[offer_id] = (sales + 1.0, lost)

    def count_refund(self, offer_id: str, share: float) -> None:
        """Count money taken back: `share` of the margin of one sale, cut at 3."""
        sales, lost = self._refunds.get(offer_id, (0.0, 0.0))
        self._refunds[offer_id] = (sales, lost + min(max(share, 0.0), _MOST_LOST))
        self._news += 1.0
        self._urgent = True

    def losses(self) -> dict[str, float]:
        """Share of the margin that refunds take back, by offer; "" for the others. A prior of 20 sales at 5 %."""
        prior = _PRIOR_SALES * _PRIOR_REFUNDS
        found = {offer: (prior + lost) / (_PRIOR_SALES + sales) for offer, (sales, lost) in self._refunds.items()}
        return {"": _PRIOR_REFUNDS, **found}

    def wants_bank(self, now: Micros) -> bool:
        """Whether new draws are due: at once while young, later after a minute and 500 decisions, or an hour."""
        if self.published_at is None:
            return True
        age = now - self.published_at
        if self.visits <= YOUNG:
            return age >= SECOND and (self._urgent or self._news >= _FEW)
        return self._news > 0 and ((age >= MINUTE and self.visits - self._published_visits >= 500) or age >= HOUR)

    def draw(
        self, number: int, *, feature_set: int, draws: int, scale: float, rng: np.random.Generator, offers: int = 0
    ) -> Bank:
        """New draws, for decisions among about `offers` offers."""
        return draw_bank(
            number,
            self.placement,
            list(self.heads.values()),
            feature_set=feature_set,
            losses=self.losses(),
            draws=draws,
            scale=scale,
            rng=rng,
            offers=offers,
        )

    def published(self, now: Micros) -> None:
        """The latest draws are in use: from now on nothing is new."""
        self.published_at, self._published_visits, self._news, self._urgent = now, self.visits, 0.0, False

    def arrays(self) -> Arrays:
        """Everything, as arrays."""
        head = next(iter(self.heads.values()))
        counts = [
            self.visits,
            self._published_visits,
            -1 if self.published_at is None else self.published_at,
            self.clicks,
            -1 if self.young_until is None else self.young_until,
        ]
        out: Arrays = {
            "counts": np.array(counts, dtype=np.int64),
            "news": np.array([self._news, float(self._urgent)]),
            "features": np.array(head.layout.features, dtype=np.str_),
            "attributes": np.array(head.layout.attributes, dtype=np.str_),
            "subset": np.array(head.layout.subset, dtype=np.int64),
            "refund_offers": np.array(list(self._refunds), dtype=np.str_),
            "refunds": np.array(list(self._refunds.values()), dtype=np.float64).reshape(-1, 2),
        }
        for name, each in self.heads.items():
            out |= each.arrays(f"{name}_")
        return out

    @staticmethod
    def restored(placement: str, arrays: Arrays, layout: Layout, forgetting: float) -> PlacementModel:
        """The model that `arrays` wrote, moved to `layout` if the columns have changed since."""
        visits, published_visits, published_at, clicks, *more = (int(count) for count in arrays["counts"])
        young_until = more[0] if more else (-1 if visits <= YOUNG else 0)  # a state from before it was kept
        written = Layout(
            tuple(map(str, arrays["features"])),
            tuple(map(str, arrays["attributes"])),
            tuple(map(int, arrays["subset"])),
        )
        model = PlacementModel(placement, written, forgetting, clicks=bool(clicks))
        for name, head in model.heads.items():
            head.restore(f"{name}_", arrays)
            if written != layout:
                model.heads[name] = head.moved_to(layout)
        model.visits, model._published_visits = visits, published_visits
        model.young_until = None if young_until < 0 else young_until
        model.published_at = None if published_at < 0 or written != layout else published_at
        model._news, model._urgent = float(arrays["news"][0]), bool(arrays["news"][1])
        pairs = arrays["refunds"].astype(np.float64).tolist()
        model._refunds = {
            str(offer): (sales, lost) for offer, (sales, lost) in zip(arrays["refund_offers"], pairs, strict=True)
        }
        return model
