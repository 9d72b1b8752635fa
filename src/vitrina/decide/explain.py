"""Why: what one decision chose from, what was refused and with which chances, recomputed from its versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.core.catalogue import Offer
from vitrina.core.consent import ConsentRecord
from vitrina.core.decision import DecisionRow
from vitrina.core.errors import NotFoundError
from vitrina.core.explanation import Candidate, Explanation, RefusedCandidate
from vitrina.core.reasons import Reason, number_code
from vitrina.decide.answer import shown_reason
from vitrina.decide.candidates import Candidates
from vitrina.decide.log import DecisionLog
from vitrina.decide.neighbours import Banks, Bound
from vitrina.decide.outcomes import Lists, OutcomeLog, outcome_rules
from vitrina.decide.packing import unpack_bits, unpack_features, unpack_greedy, unpack_refusals
from vitrina.decide.policies import Margins, Policy, Uniform, policy_of

__all__ = ["Explainer", "Recomputed"]

_LEAST_SHARE = 0.05
"""A feature is named when without it the offer's lead would be smaller by this share of its expected margin."""

_UNIFORM = Uniform()


class Recomputed(msgspec.Struct, frozen=True):
    """A row's chances, worked out anew.

    Attributes:
        probabilities: of what was shown, one a position; `ghost` the same for a holdout's ghost slate.
        difference: largest difference from the logged ones.
        margins: float32[M, K].
    """

    probabilities: tuple[float, ...]
    ghost: tuple[float, ...]
    difference: float
    margins: Margins


class Explainer:
    """Explains rows of the log.

    Args:
        log, outcomes, lists, banks: what is read.
        names: names of the entries of the feature vector (`vitrina.understand.features.vector.Vectoriser.names`).
        consent_of: finds a consent record by its id.
    """

    def __init__(
        self,
        log: DecisionLog,
        outcomes: OutcomeLog,
        lists: Lists,
        banks: Banks,
        names: Sequence[str],
        consent_of: Callable[[str], ConsentRecord | None],
    ) -> None:
        self._log = log
        self._outcomes = outcomes
        self._lists = lists
        self._banks = banks
        self._groups = _groups(names)
        self._consent_of = consent_of

    def explain(self, decision_id: str) -> Explanation:
        """Everything about one decision.

        Raises:
            NotFoundError: there is no such decision.
        """
        row = self._log.find(decision_id)
        if row is None:
            raise NotFoundError(
                f"there is no decision {decision_id}.",
                code="decision.unknown",
                where=decision_id,
                cure="Copy the whole decisionId of an answer.",
            )
        return self.explain_row(row)

    def explain_row(self, row: DecisionRow) -> Explanation:
        """The same for a row at hand, such as a preview's."""
        candidates = self._lists.numbered(row.catalogue)
        consent = self._consent_of(row.basis_record) if row.basis_record else None
        outcomes = self._outcomes.of_decision(row.id)
        if candidates is None:
            return Explanation(row=row, placement=None, candidates=(), refused=(), outcomes=outcomes, consent=consent)
        placement = candidates.placement
        recomputed = self.recompute(row)
        return Explanation(
            row=row,
            placement=placement,
            candidates=self._candidates(row, candidates, recomputed),
            refused=_refused(row, candidates),
            outcomes=outcomes,
            consent=consent,
            draws=len(unpack_greedy(row)),
            floor=placement.policy.floor if placement.policy.kind == "bank" else 0.0,
            difference=None if recomputed is None else recomputed.difference,
            window_end=row.at + max(rule.window for rule in outcome_rules(placement)),
        )

    def recompute(self, row: DecisionRow) -> Recomputed | None:
        """The row's chances from its versions alone; None when list or bank is gone, or a recommender scored.

        Logged and recomputed chances agree to 1e-9: both come from the same float32 vector, draws and formula.
        """
        candidates = self._lists.numbered(row.catalogue)
        if candidates is None:
            return None
        policy = policy_of(candidates.placement.policy)
        bound = self._bound(row, candidates) if policy.scores else None
        if policy.scores and (bound is None or policy.id == "ranking"):
            return None
        margins = (
            np.empty((0, len(candidates)), dtype=np.float32) if bound is None else bound.margins(unpack_features(row))
        )
        eligible = unpack_bits(row.eligible, len(candidates))
        served: Policy | None = policy if not row.holdout else _UNIFORM if row.policy == "uniform" else None
        shown = _chances(served, margins, eligible, row.items)
        ghost = _chances(policy, margins, eligible, row.ghost)
        pairs = [*zip(shown, row.probabilities, strict=True), *zip(ghost, row.ghost_probabilities, strict=True)]
        difference = max((abs(one - other) for one, other in pairs), default=0.0)
        return Recomputed(shown, ghost, difference, margins)

    def reasons(self, row: DecisionRow, position: int) -> tuple[Reason, ...]:
        """Why the item in `position` (from 0) was shown, with the feature that spoke most for it."""
        plain = shown_reason(row, position)
        if plain[0].code != "shown.best":
            return plain
        candidates = self._lists.numbered(row.catalogue)
        bound = None if candidates is None else self._bound(row, candidates)
        if candidates is None or bound is None:
            return plain
        return (self._spoke_for(row, candidates, bound, row.items[position]),)

    def _spoke_for(self, row: DecisionRow, candidates: Candidates, bound: Bound, k: int) -> Reason:
        """The group of features without which item k would lose most of its lead over the average eligible item."""
        x = unpack_features(row)
        eligible = unpack_bits(row.eligible, len(candidates))

        def lead(vector: NDArray[np.float32]) -> float:
            mean = bound.margins(vector).mean(axis=0)
            return float(mean[k] - mean[eligible].mean())

        own = float(bound.margins(x).mean(axis=0)[k])
        whole, best, most = lead(x), "", _LEAST_SHARE * abs(own)
        for name, places in self._groups.items():
            if not x[places].any():
                continue
            without = x.copy()
            without[places] = 0.0
            lost = whole - lead(without)
            if lost > most:
                best, most = name, lost
        if not best:
            # Nothing about this person or page speaks for it. Liked by everybody is said only where the draws agree.
            margins = bound.margins(x)
            apart = margins[:, k] - margins[:, eligible].mean(axis=1)
            return Reason("shown.popular" if whole > float(apart.std()) else "shown.best")
        if best.startswith("context.") or best == "time":
            return Reason("shown.context", {"feature": best})
        return Reason("shown.trait" if best.startswith("trait.") else "shown.recent", {"feature": best})

    def _bound(self, row: DecisionRow, candidates: Candidates) -> Bound | None:
        bank = self._banks.numbered(row.bank)
        return None if bank is None else bank.bind(candidates)

    def _candidates(
        self, row: DecisionRow, candidates: Candidates, recomputed: Recomputed | None
    ) -> tuple[Candidate, ...]:
        eligible = unpack_bits(row.eligible, len(candidates))
        chances = _first_chances(row, candidates, eligible)
        greedy = unpack_greedy(row)
        votes = np.bincount(greedy, minlength=len(candidates)) if len(greedy) else None
        margins = recomputed.margins if recomputed is not None and len(recomputed.margins) else None
        spread = None if margins is None else np.quantile(margins, (0.05, 0.95), axis=0)
        shown = {k: position for position, k in enumerate(row.items)}
        ghost = {k: position for position, k in enumerate(row.ghost)}
        listed: list[Candidate] = []
        for k in np.flatnonzero(eligible).tolist():
            offer: Offer = candidates.offers[k]
            listed.append(
                Candidate(
                    offer_id=offer.id,
                    name=offer.name,
                    chance=float(chances[k]),
                    margin=None if margins is None else float(margins[:, k].mean()),
                    low=None if spread is None else float(spread[0, k]),
                    high=None if spread is None else float(spread[1, k]),
                    best_in=None if votes is None else int(votes[k]),
                    position=shown[k] + 1 if k in shown else None,
                    ghost=ghost[k] + 1 if k in ghost else None,
                    reasons=self.reasons(row, shown[k]) if k in shown else (),
                )
            )
        return tuple(sorted(listed, key=lambda each: (-each.chance, -(each.margin or 0.0), each.offer_id)))


def _first_chances(row: DecisionRow, candidates: Candidates, eligible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """float64[K]: chance of each candidate in the first position, under the rule that served.

    It needs no bank: the draws' votes are logged.
    """
    count = int(eligible.sum())
    chances = np.zeros(len(candidates))
    if not count or not row.items:
        return chances
    if row.policy == "uniform":
        return eligible / count
    greedy = unpack_greedy(row)
    if row.policy == "bank" and len(greedy):
        floor = candidates.placement.policy.floor
        share = np.bincount(greedy, minlength=len(candidates)) / len(greedy)
        return np.where(eligible, (1.0 - floor) * share + floor / count, 0.0)
    chances[row.items[0]] = row.probabilities[0]
    return chances


def _chances(
    policy: Policy | None, margins: Margins, eligible: NDArray[np.bool_], items: tuple[int, ...]
) -> tuple[float, ...]:
    if policy is None:
        return (1.0,) * len(items)
    return tuple(float(policy.distribution(margins, eligible, items[:k])[item]) for k, item in enumerate(items))


def _refused(row: DecisionRow, candidates: Candidates) -> tuple[RefusedCandidate, ...]:
    refused: list[RefusedCandidate] = []
    for k, code in enumerate(unpack_refusals(row.refusals, len(candidates))):
        if code:
            offer = candidates.offers[k]
            name = number_code(code)
            reason = Reason(name, row.refusal_params.get(k) or _params(name, offer))
            refused.append(RefusedCandidate(offer_id=offer.id, name=offer.name, reason=reason))
    return tuple(refused)


def _params(code: str, offer: Offer) -> dict[str, str | int | float]:
    """Parameters of a refusal that the offer itself states."""
    rules, schedule = offer.eligibility, offer.schedule
    found: dict[str, str | int | float | None] = {}
    if code in ("age.minimum", "age.unknown"):
        found = {"age": rules.minimum_age if rules.minimum_age is not None else rules.maximum_age}
    elif code == "age.maximum":
        found = {"age": rules.maximum_age}
    elif code.startswith("consent."):
        found = {"purpose": rules.requires_consent[0] if len(rules.requires_consent) == 1 else None}
    elif code == "exclude.bought":
        found = {"days": rules.exclude_bought_days}
    elif schedule is not None and code in ("schedule.before", "schedule.after"):
        found = {"at": schedule.start if code == "schedule.before" else schedule.end}
    return {name: value for name, value in found.items() if value is not None}


def _groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Entries of the vector by feature; the constant and the mark of personal data belong to none."""
    grouped: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name in ("constant", "personal"):
            continue
        own = (
            "time"
            if name.startswith(("hour ", "weekday "))
            else name.split("#")[0].split("=")[0].removesuffix(" missing")
        )
        grouped.setdefault(own, []).append(place)
    return grouped
