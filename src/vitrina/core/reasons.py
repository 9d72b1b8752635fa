"""Reason codes: why an item was refused, why a decision was contextual, why an item was shown.

A code is stable and goes with parameters; its words are in the console's locale files under the message id
`reason.<code>`, in English and Russian.
"""

from __future__ import annotations

import msgspec

__all__ = ["REASONS", "REFUSALS", "Reason", "code_number", "number_code"]


class Reason(msgspec.Struct, frozen=True):
    """A code and its parameters, for example `Reason("cap.week", {"shown": 2, "limit": 2})`."""

    code: str
    params: dict[str, str | int | float] = {}


REFUSALS: tuple[str, ...] = (
    "eligible",
    "consent.required",
    "consent.withdrawn",
    "age.minimum",
    "age.maximum",
    "age.unknown",
    "advertising.minor",
    "advertising.gpc",
    "advertising.consent",
    "audience.outside",
    "exclude.audience",
    "exclude.request",
    "exclude.bought",
    "schedule.before",
    "schedule.after",
    "schedule.day",
    "schedule.hour",
    "stock.out",
    "cap.day",
    "cap.week",
    "cap.month",
    "cap.ever",
    "offer.off",
    "placement.other",
    "creative.missing",
    "currency.other",
    "candidates.outside",
)
"""Order matters: the position is the byte written in the decision log. Append, never insert."""

REASONS: dict[str, str] = {
    "eligible": "nothing speaks against it",
    "consent.required": "the offer needs a purpose that this person has not allowed",
    "consent.withdrawn": "this person withdrew their consent",
    "consent.expired": "the consent has expired",
    "consent.none": "no consent record: context only",
    "age.minimum": "younger than the offer's minimum age",
    "age.maximum": "older than the offer's maximum age",
    "age.unknown": "the age is not known and the offer has an age limit",
    "advertising.minor": "advertising is never profiled for minors",
    "advertising.gpc": "the browser sends Global Privacy Control",
    "advertising.consent": "personalised advertising was not allowed",
    "audience.outside": "outside the offer's audience",
    "exclude.audience": "inside the audience that the offer excludes",
    "exclude.request": "excluded by the request",
    "exclude.bought": "bought already",
    "schedule.before": "the schedule has not begun",
    "schedule.after": "the schedule has ended",
    "schedule.day": "not on this day of the week",
    "schedule.hour": "not at this hour",
    "stock.out": "out of stock",
    "cap.day": "shown often enough today",
    "cap.week": "shown often enough this week",
    "cap.month": "shown often enough this month",
    "cap.ever": "shown often enough",
    "offer.off": "switched off",
    "placement.other": "not offered in this placement",
    "creative.missing": "no approved creative",
    "currency.other": "priced in another currency than the placement",
    "candidates.outside": "not among what the recommender proposes for this person",
    "minor": "a minor: no profiling for advertising",
    "gpc": "Global Privacy Control is on: context only",
    "profile.unknown": "nothing is known about this person yet: context only",
    "erased": "this person was erased",
    "shown.trait": "a trait of this person spoke for it",
    "shown.recent": "what this person did lately spoke for it",
    "shown.popular": "many people choose it",
    "shown.best": "it promised most here",
    "shown.explore": "a small chance is kept for every suitable offer",
    "shown.holdout": "the control group sees offers at random",
    "shown.context": "chosen from the page alone",
    "shown.fallback": "nothing was suitable: the page's own default",
}

_NUMBER = {code: i for i, code in enumerate(REFUSALS)}


def code_number(code: str) -> int:
    """The byte that stands for a refusal in the decision log; 0 means eligible."""
    return _NUMBER[code]


def number_code(number: int) -> str:
    """The refusal that a byte of the decision log stands for."""
    return REFUSALS[number]
