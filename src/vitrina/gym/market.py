"""A small simulated shop: people with tastes, offers with margins, and the truth about who buys what.

Everybody has a taste for each category and a sensitivity to prices. Tastes show in what a person looks at; both drive
the chance of a click and, after a click, of a sale some hours later. Some sales come back as refunds. The truth stays
in this room: the shop that is simulated sees events and answers, nothing else.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.core.catalogue import Creative, CreativeStatus, Eligibility, Offer, Placement
from vitrina.core.clock import DAY, HOUR, MINUTE, SECOND, Micros
from vitrina.core.money import Money

__all__ = ["CURRENCY", "Market", "Person", "Response"]

CURRENCY = "EUR"
PLACEMENT = "home"
ADULT = 18

# id, name, category, price, margin, discount, share of sales that come back
_OFFERS: tuple[tuple[str, str, str, int, int, float, float], ...] = (
    ("pan", "Cast-iron pan", "kitchen", 4_900, 1_700, 0.0, 0.04),
    ("knife", "Chef's knife", "kitchen", 3_900, 1_300, 0.1, 0.03),
    ("roses", "Rose seedlings", "garden", 2_400, 1_100, 0.0, 0.06),
    ("can", "Watering can", "garden", 1_900, 700, 0.15, 0.02),
    ("trail", "Trail shoes", "shoes", 9_900, 3_600, 0.0, 0.45),
    ("boots", "City boots", "shoes", 8_900, 2_400, 0.1, 0.12),
    ("riesling", "Riesling, six bottles", "wines", 5_400, 1_500, 0.0, 0.01),
    ("tasting", "Wine tasting set", "wines", 3_300, 1_200, 0.2, 0.01),
    ("desk", "Desk lamp", "lamps", 4_400, 1_400, 0.0, 0.05),
    ("paper", "Paper lantern", "lamps", 1_500, 800, 0.0, 0.03),
    ("map", "Puzzle, a map of the stars", "puzzles", 2_200, 900, 0.0, 0.02),
    ("wooden", "Wooden puzzle box", "puzzles", 2_900, 1_250, 0.1, 0.02),
)
_CLICK, _BUY = -1.9, -1.2
_TASTE, _PRICE = 1.1, 0.45


class Person(msgspec.Struct, frozen=True):
    """One visitor: `user_id` if they have signed in, `age` if they told it, and whether personalisation is allowed."""

    number: int
    anonymous_id: str
    user_id: str | None
    consents: bool
    age: int | None
    device: str


class Response(msgspec.Struct, frozen=True):
    """What came of showing one offer; delays in microseconds, None where it didn't happen."""

    click_after: Micros | None = None
    order_after: Micros | None = None
    refund_after: Micros | None = None


class Market:
    """The shop, its people, and the truth.

    Args:
        seed: the same seed gives the same people and the same truth.
        people: how many there are.
        holdout: share of people whom the placement never treats.

    Attributes:
        offers, creatives, placement: what the shop shows, ready for its catalogue.
        categories: of the offers, in order.
        people: who may come.
    """

    def __init__(self, seed: int = 1, people: int = 1_500, holdout: float = 0.1) -> None:
        rng = np.random.default_rng([seed, 1])
        self.categories = tuple(dict.fromkeys(row[2] for row in _OFFERS))
        self.offers = tuple(_offer(row) for row in _OFFERS)
        self.creatives = tuple(_creative(offer) for offer in self.offers)
        self.placement = Placement(
            id=PLACEMENT,
            name="Home page",
            public=True,
            currency=CURRENCY,
            holdout=holdout,
            fallback={"title": "Welcome"},
        )
        self._taste = rng.normal(size=(people, len(self.categories)))
        self._price = rng.normal(size=people)
        self._position = {offer.id: k for k, offer in enumerate(self.offers)}
        self._category = np.array([self.categories.index(offer.category) for offer in self.offers])
        self._refund = np.array([row[6] for row in _OFFERS])
        self._margin = np.array([float(row[4]) for row in _OFFERS])
        self._chances(rng)
        self.people = tuple(self._person(number, rng) for number in range(people))
        self._adult = np.array([person.age is not None and person.age >= ADULT for person in self.people])

    def _chances(self, rng: np.random.Generator) -> None:
        price = np.log([row[3] for row in _OFFERS])
        dear = (price - price.mean()) / price.std()
        score = _TASTE * self._taste[:, self._category] - _PRICE * self._price[:, None] * dear
        offers = len(self.offers)
        self._click = _logistic(_CLICK + score + 0.25 * rng.normal(size=offers))
        self._buy = _logistic(_BUY + 0.7 * score + 0.25 * rng.normal(size=offers))

    def _person(self, number: int, rng: np.random.Generator) -> Person:
        return Person(
            number,
            f"device-{number}",
            f"customer-{number}" if rng.random() < 0.4 else None,
            bool(rng.random() < 0.8),
            int(np.clip(rng.normal(41, 15), 14, 90)) if rng.random() < 0.7 else None,
            str(rng.choice(["mobile", "desktop", "tablet"], p=[0.6, 0.35, 0.05])),
        )

    # what happens

    def looks_at(self, person: Person, rng: np.random.Generator) -> list[str]:
        """Categories of the products that a person looks at in one visit, in order."""
        weights = np.exp(1.3 * self._taste[person.number])
        return [str(c) for c in rng.choice(self.categories, size=int(rng.integers(1, 5)), p=weights / weights.sum())]

    def respond(self, person: Person, offer_id: str, rng: np.random.Generator) -> Response:
        """What this person does when shown this offer."""
        k = self._position[offer_id]
        if rng.random() >= self._click[person.number, k]:
            return Response()
        click = int(rng.exponential(20 * SECOND)) + SECOND
        if rng.random() >= self._buy[person.number, k]:
            return Response(click)
        order = click + int(rng.exponential(3 * HOUR)) + MINUTE
        if rng.random() >= self._refund[k]:
            return Response(click, order)
        return Response(click, order, order + int(rng.exponential(2 * DAY)) + HOUR)

    # the truth

    def margin(self, offer_id: str) -> int:
        """Minor units that a sale of this offer earns."""
        return int(self._margin[self._position[offer_id]])

    def value(self, person: Person) -> NDArray[np.float64]:
        """True expected margin of showing each offer once, less refunds, minor units; NaN where it may not be shown."""
        n = person.number
        value = self._click[n] * self._buy[n] * self._margin * (1.0 - self._refund)
        return np.where(self._allowed(person), value, np.nan)

    def shown_value(self, person: Person, offer_id: str) -> float:
        """True expected margin of showing this offer, minor units."""
        return float(self.value(person)[self._position[offer_id]])

    def _allowed(self, person: Person) -> NDArray[np.bool_]:
        limited = np.array([offer.eligibility.minimum_age is not None for offer in self.offers])
        return ~limited | self._adult[person.number]


def _offer(row: tuple[str, str, str, int, int, float, float]) -> Offer:
    offer_id, name, category, price, margin, discount, _ = row
    return Offer(
        id=offer_id,
        name=name,
        category=category,
        price=Money(price, CURRENCY),
        margin=Money(margin, CURRENCY),
        discount=discount,
        eligibility=Eligibility(minimum_age=ADULT) if category == "wines" else Eligibility(),
    )


def _creative(offer: Offer) -> Creative:
    return Creative(
        id=f"{offer.id}-card", offer_id=offer.id, content={"title": offer.name}, status=CreativeStatus.APPROVED
    )


def _logistic(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-logit))
