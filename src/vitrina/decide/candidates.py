"""The numbered list of candidates of one placement.

Everything about the offers that doesn't depend on who is asking.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.core.catalogue import Creative, CreativeStatus, Offer, Placement
from vitrina.core.money import exponent
from vitrina.core.reasons import code_number
from vitrina.decide.rules import CompileRule, Rules

__all__ = ["ATTRIBUTES", "CATEGORY_COLUMNS", "Candidates", "Listing", "build"]

CATEGORY_COLUMNS = 8
"""Columns of one-hot categories: the catalogue's first seven have their own, all later ones share the last."""

ATTRIBUTES: tuple[str, ...] = (
    "constant",
    "price",
    "discount",
    "margin",
    *(f"category_{i}" for i in range(CATEGORY_COLUMNS)),
)
"""Names of the columns of `Candidates.g`; fixed, so that a model learned on one list serves the next."""


class Listing(msgspec.Struct, frozen=True, array_like=True):
    """What names a list of candidates for ever: revisions, in order. Its number is a hash of this.

    `creatives` holds (id, revision) of the approved creatives of the placement's channel; `columns` the category
    column of each offer.
    """

    placement: str
    placement_revision: int
    offers: tuple[tuple[str, int], ...]
    creatives: tuple[tuple[str, int], ...]
    columns: tuple[int, ...]

    @property
    def number(self) -> int:
        """A positive 63-bit number: the same for the same list."""
        return int.from_bytes(blake2b(msgspec.msgpack.encode(self), digest_size=8).digest()) >> 1


class Candidates:
    """K candidates of one placement; nothing in it changes after `build` but the caches of `creatives_for` and `rules`.

    Attributes:
        number: names the list for ever (see `Listing`).
        listing: the revisions it is made of.
        placement: where they are shown.
        offers, offer_ids: the K candidates; `position` finds one by id.
        margin: float64[K], minor units that one sale earns (the price where no margin is stated, 1 major unit where
            neither is).
        price: float64[K], minor units, NaN where there is none. cost: float64[K], minor units.
        discount: float64[K], fraction.
        prices, costs: the same as tuples of int or None, for the log.
        g: float32[K, A], the attributes that the model crosses with the person's features (`ATTRIBUTES`).
        rules: who may be shown what.
    """

    def __init__(
        self,
        listing: Listing,
        placement: Placement,
        offers: Sequence[Offer],
        creatives: Sequence[Creative],
        compile_rule: CompileRule,
    ) -> None:
        self.listing = listing
        self.number = listing.number
        self.placement = placement
        self.offers = tuple(offers)
        self.offer_ids = tuple(offer.id for offer in offers)
        self.position = {offer: k for k, offer in enumerate(self.offer_ids)}
        self.prices = tuple(offer.price.minor if offer.price else None for offer in offers)
        self.costs = tuple(offer.cost.minor if offer.cost else 0 for offer in offers)
        self.price = np.array([math.nan if price is None else price for price in self.prices], dtype=np.float64)
        self.cost = np.array(self.costs, dtype=np.float64)
        self.discount = np.array([offer.discount for offer in offers], dtype=np.float64)
        unit = 10.0 ** exponent(placement.currency)
        self.margin = np.array([_margin(offer, unit) for offer in offers], dtype=np.float64)
        self.g = _attributes(self.price / unit, self.discount, self.margin / unit, listing.columns)
        self._creatives = _by_offer(creatives)
        self._by_id = {creative.id: creative for creative in creatives}
        self._chosen: dict[str, tuple[Creative | None, ...]] = {}
        self.rules = Rules(self.offers, [self._standing(offer) for offer in offers], compile_rule)

    def __len__(self) -> int:
        return len(self.offers)

    def creative(self, creative_id: str | None) -> Creative | None:
        """The creative of this list with that id."""
        return None if creative_id is None else self._by_id.get(creative_id)

    def creatives_for(self, locale: str) -> tuple[Creative | None, ...]:
        """The creative of each candidate for a page in `locale` (such as en or ru-RU).

        The same locale is taken first, then the same language, then one for any language, then the first.
        """
        chosen = self._chosen.get(locale)
        if chosen is None:
            chosen = tuple(_best(self._creatives.get(offer, ()), locale) for offer in self.offer_ids)
            if len(self._chosen) < 64:
                self._chosen[locale] = chosen
        return chosen

    def _standing(self, offer: Offer) -> int:
        """The refusal that holds whoever asks and whenever, as the log's byte; 0 for none."""
        if not offer.enabled:
            return code_number("offer.off")
        money = next((amount for amount in (offer.price, offer.margin, offer.cost) if amount is not None), None)
        if money is not None and money.currency != self.placement.currency:
            return code_number("currency.other")
        if self.placement.channel and offer.id not in self._creatives:
            return code_number("creative.missing")
        return 0


def build(
    placement: Placement,
    offers: Sequence[Offer],
    creatives: Sequence[Creative],
    columns: Mapping[str, int],
    compile_rule: CompileRule,
) -> Candidates:
    """The candidates of `placement` among all offers, in the order of their ids.

    Args:
        columns: category → number in order of first appearance in the catalogue.
        compile_rule: turns an audience rule into a function of a dict of values.
    """
    chosen = [offer for offer in offers if not offer.placements or placement.id in offer.placements]
    chosen.sort(key=lambda offer: offer.id)
    names = {offer.id for offer in chosen}
    shown = sorted(
        (
            c
            for c in creatives
            if c.offer_id in names and c.status is CreativeStatus.APPROVED and c.channel == placement.channel
        ),
        key=lambda creative: creative.id,
    )
    listing = Listing(
        placement.id,
        placement.revision,
        tuple((offer.id, offer.revision) for offer in chosen),
        tuple((creative.id, creative.revision) for creative in shown),
        tuple(_column(columns, offer.category) for offer in chosen),
    )
    return Candidates(listing, placement, chosen, shown, compile_rule)


def _column(columns: Mapping[str, int], category: str) -> int:
    return min(columns[category], CATEGORY_COLUMNS - 1) if category else -1


def _margin(offer: Offer, unit: float) -> float:
    if offer.margin is not None:
        return float(offer.margin.minor)
    return float(offer.price.minor) if offer.price is not None else unit


def _attributes(
    price: NDArray[np.float64], discount: NDArray[np.float64], margin: NDArray[np.float64], columns: Sequence[int]
) -> NDArray[np.float32]:
    """float32[K, A] of money in major units, on fixed scales, so that no new offer moves the others.

    A price of 25 and a margin of 8 lie near zero.
    """
    out = np.zeros((len(price), len(ATTRIBUTES)), dtype=np.float32)
    out[:, 0] = 1.0
    out[:, 1] = np.where(np.isnan(price), 0.0, (np.log1p(np.nan_to_num(price)) - 3.26) / 1.2)
    out[:, 2] = discount / 0.15
    out[:, 3] = (np.log1p(np.maximum(margin, 0.0)) - 2.2) / 1.2
    for k, column in enumerate(columns):
        if column >= 0:
            out[k, 4 + column] = 1.0
    return out


def _by_offer(creatives: Sequence[Creative]) -> dict[str, tuple[Creative, ...]]:
    grouped: dict[str, tuple[Creative, ...]] = {}
    for creative in creatives:
        grouped[creative.offer_id] = (*grouped.get(creative.offer_id, ()), creative)
    return grouped


def _best(creatives: Sequence[Creative], locale: str) -> Creative | None:
    if not creatives:
        return None
    wanted = locale.replace("_", "-").lower()
    language = wanted.partition("-")[0]

    def rank(creative: Creative) -> int:
        own = creative.locale.replace("_", "-").lower()
        if own == wanted:
            return 0
        if own.partition("-")[0] == language:
            return 1
        return 2 if not own else 3

    return min(creatives, key=rank)
