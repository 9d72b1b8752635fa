"""The heart: one decision. `Engine.decide` reads as the sentence that the whole product is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.core.access import Caller
from vitrina.core.clock import DAY, SECOND, Clock, Micros
from vitrina.core.decision import Answer, DecideRequest, DecisionRow
from vitrina.core.errors import OverloadedError
from vitrina.core.grant import Grant, Refusal
from vitrina.core.ids import new_id
from vitrina.decide.answer import answer
from vitrina.decide.asked import Asked, check
from vitrina.decide.candidates import Candidates
from vitrina.decide.eligibility import Eligible, list_eligible
from vitrina.decide.holdout import in_placement_holdout, serve_holdout
from vitrina.decide.log import DecisionLog
from vitrina.decide.neighbours import Banks, Bound, Catalogued, Known, Personal, Profiles, Recommender
from vitrina.decide.packing import pack_bits, pack_refusals
from vitrina.decide.policies import Choice, Margins, Policy, policy_of
from vitrina.decide.requests import Requests
from vitrina.decide.stock import Stock
from vitrina.govern.permission import ask
from vitrina.storage.ticket import Ticket
from vitrina.understand.features.fold import FeatureSet
from vitrina.understand.features.vector import Vectoriser

__all__ = ["Decided", "Engine", "feature_set_number"]


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What `Engine.decide` gives.

    Attributes:
        answer: what to tell the caller, once `ticket` is done.
        row: the row of the log; None when the answer was given before (`requestId`) and its row isn't at hand.
        ticket: the commit of the row; None when nothing is written (a preview, or an answer that is committed already).
    """

    answer: Answer
    row: DecisionRow | None
    ticket: Ticket[Any] | None


class Engine:
    """Makes decisions. One life a workspace; safe to call from several threads.

    Args:
        catalogue: candidates.
        profiles: people.
        features, vectoriser: from a profile's state to the vector that the bank scores.
        banks: draws.
        log: the decision log.
        stock: what is left.
        clock, rng: time and chance.
        recommender: supplies candidates above `shortlist_above` of them, and scores for `ranking`; None does without.
        shortlist_above: offers above which the recommender proposes that many.
        expires_seconds: how long a page may keep an answer.
        adult_age: years from which advertising may profile a person.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogued,
        profiles: Profiles,
        features: FeatureSet,
        vectoriser: Vectoriser,
        banks: Banks,
        log: DecisionLog,
        stock: Stock,
        clock: Clock,
        rng: np.random.Generator,
        recommender: Recommender | None = None,
        shortlist_above: int = 500,
        expires_seconds: int = 300,
        adult_age: int = 18,
    ) -> None:
        self._catalogue = catalogue
        self._profiles = profiles
        self._features = features
        self._vectoriser = vectoriser
        self._banks = banks
        self._log = log
        self._stock = stock
        self._clock = clock
        self._rng = rng
        self._recommender: Recommender | None = recommender
        self._shortlist_above = shortlist_above
        self._expires = expires_seconds * SECOND
        self._adult_age = adult_age
        self._requests = Requests(log, catalogue)
        self._policies: dict[int, Policy] = {}
        self._versions: dict[tuple[int, int], str] = {}
        self._feature_set = feature_set_number(features, vectoriser)

    def use(self, recommender: Recommender | None) -> None:
        """Take another recommender from the next decision on."""
        self._recommender = recommender

    def decide(self, request: DecideRequest, caller: Caller, *, replayed: bool = False) -> Decided:
        """Decide what this person sees in this placement, now.

        Args:
            request: who, where, in what context.
            caller: who asks; only a secret key, the console and the house itself may preview.
            replayed: the decision walks through history: nobody sees it, nothing learns from it, no trace is left.

        Raises:
            NotFoundError: there is no such placement.
            UserError: the request names nobody, or more slots than 20.
            ConflictError: the `requestId` came before with another body.
            PermissionRefusedError: a write key asked for a preview.
            OverloadedError: too many decisions wait to be logged.
        """
        repeated = self._requests.find(request, caller)
        if repeated is not None:
            return Decided(answer=repeated.answer, row=None, ticket=repeated.ticket)
        asked = check(request, caller, self._catalogue.candidates(request.placement), self._clock, replayed=replayed)
        with self._profiles.reading():
            person = self.load_profile(asked)
            grant = self.ask_permission(asked, person)
            seen = self.read_features(asked, person, grant)
            eligible = self.list_eligible(asked, person, seen)
        bound = self.bind(asked)
        margins = self.expected_margin(asked, bound, seen, eligible)
        choice = self.choose(asked, seen, margins, eligible)
        row = self.log_row(asked, grant, seen, eligible, bound, choice)
        told = self.answer(asked, row)
        return Decided(answer=told, row=row, ticket=self.log(asked, row, told))

    def load_profile(self, asked: Asked) -> Known | None:
        """The person, from memory; None when nothing is known yet."""
        return self._profiles.find(asked.request.user_id, asked.request.anonymous_id)

    def ask_permission(self, asked: Asked, person: Known | None) -> Grant | Refusal:
        """May the person's data be used for what this placement is for?"""
        return ask(person, asked.placement.purpose, asked.now, gpc=asked.gpc, adult_age=self._adult_age)

    def read_features(self, asked: Asked, person: Known | None, grant: Grant | Refusal) -> Seen:
        """The vector that the bank scores and the values that rules read: the page alone where there is no grant."""
        rules = asked.candidates.rules
        key = self._assignment_key(asked, person)
        profile_id = person.profile_id if person is not None else asked.subject
        if person is None or isinstance(grant, Refusal):
            x = self._vectoriser.empty(asked.context, asked.now)
            return Seen(profile_id, key, x, asked.context_values() if rules.personal else {}, None, None)
        personal = person.personal(grant)
        features, entries = self._values(person, personal, asked.now)
        x = self._vectoriser.on_page(entries, asked.context, asked.now)
        values: dict[str, object] = {}
        if rules.personal:
            values = {**features, **asked.context_values()}
            values.update((f"trait.{name}", value) for name, value in personal.traits.items())
        return Seen(profile_id, key, x, values, self._bought(personal, asked) if rules.bought else None, personal)

    def list_eligible(self, asked: Asked, person: Known | None, seen: Seen) -> Eligible:
        """Which candidates may be shown, and why not the others."""
        return list_eligible(
            asked.candidates,
            person,
            seen.values,
            asked.now,
            exclude=asked.request.exclude,
            sold_out=self._stock.sold_out,
            bought=seen.bought,
            shortlist=self._shortlist(asked, seen),
            gpc=asked.gpc,
            adult_age=self._adult_age,
        )

    def bind(self, asked: Asked) -> Bound:
        """The newest bank over the candidates; none where the recommender ranks, which spares a large catalogue."""
        if self._ranks(asked):
            return _NO_BANK
        return self._banks.current(asked.placement.id).bind(asked.candidates)

    def expected_margin(self, asked: Asked, bound: Bound, seen: Seen, eligible: Eligible) -> Margins:
        """float32[M, K]: what each candidate would earn under each draw, minor units."""
        if not eligible.count or not self._policy(asked.candidates).scores:
            return _NO_MARGINS
        if self._recommender is not None and self._ranks(asked):
            return self._recommender.scores(seen.personal, asked.candidates, asked.now, eligible.mask)[np.newaxis]
        return bound.margins(seen.x)

    def choose(self, asked: Asked, seen: Seen, margins: Margins, eligible: Eligible) -> Chosen:
        """The slate with its chances; of the holdout what they are served, and the slate they would have seen."""
        held = in_placement_holdout(asked.placement, seen.assignment_key)
        policy = self._policy(asked.candidates)
        if not eligible.count:
            return Chosen(held, "fallback" if held else policy.id, _NOTHING, None)
        would = policy.choose(margins, eligible.mask, asked.slots, self._rng)
        if not held:
            return Chosen(False, policy.id, would, None)
        rule, served = serve_holdout(asked.candidates, eligible, asked.slots, self._rng)
        return Chosen(True, rule, served, would)

    def log_row(
        self,
        asked: Asked,
        grant: Grant | Refusal,
        seen: Seen,
        eligible: Eligible,
        bound: Bound,
        chosen: Chosen,
    ) -> DecisionRow:
        """The row of the log: what answer, audit and learning need, and nothing that follows from the rest."""
        candidates, request, choice, ghost = asked.candidates, asked.request, chosen.choice, chosen.ghost
        decided_by = ghost if ghost is not None else choice
        creatives = candidates.creatives_for(asked.locale)
        granted = isinstance(grant, Grant)
        return DecisionRow(
            id=new_id("d", asked.now, self._rng),
            at=asked.now,
            subject=asked.subject,
            other_subject=asked.other_subject,
            profile_id=seen.profile_id,
            assignment_key=seen.assignment_key,
            holdout=chosen.holdout,
            placement=asked.placement.id,
            placement_revision=asked.placement.revision,
            catalogue=candidates.number,
            eligible=pack_bits(eligible.mask),
            refusals=pack_refusals(eligible.codes, eligible.count),
            refusal_params=eligible.params,
            items=choice.items,
            creatives=tuple([_id(creatives[k]) for k in choice.items]),
            ghost=ghost.items if ghost is not None else (),
            ghost_probabilities=ghost.probabilities if ghost is not None else (),
            probabilities=choice.probabilities,
            slate_probability=choice.slate_probability,
            inclusion=choice.probabilities if len(choice.items) == 1 else None,
            policy=chosen.rule,
            policy_version=self._version(candidates, bound.number),
            bank=bound.number,
            draw=decided_by.draw,
            coins=choice.coins,
            greedy=decided_by.greedy,
            features=seen.x.tobytes(),
            feature_set=self._feature_set,
            context=asked.logged_context(),
            purpose=asked.placement.purpose,
            basis=grant.basis if granted else grant.reason,
            basis_record=grant.record_id,
            personalised=granted,
            prices=tuple([candidates.prices[k] for k in choice.items]),
            costs=tuple([candidates.costs[k] for k in choice.items]),
            currency=asked.placement.currency,
            request_id=request.request_id,
            request_hash=self._requests.hash(request),
            expires_at=asked.now + self._expires,
            preview=request.preview,
            replayed=asked.replayed,
        )

    def answer(self, asked: Asked, row: DecisionRow) -> Answer:
        """What to tell the caller: items, probabilities, reasons."""
        return answer(row, asked.candidates)

    def log(self, asked: Asked, row: DecisionRow, told: Answer) -> Ticket[Any] | None:
        """Queue the row and let caps and the holdout know at once; a preview or a replay leaves no trace."""
        if row.preview or row.replayed:
            return None
        request_key = self._requests.key(asked.request, asked.caller)
        offers = [asked.candidates.offer_ids[k] for k in row.items]
        self._profiles.touch_decision(row.subject, row.at, row.assignment_key, offers)
        try:
            ticket = self._log.append(row, request_key)
        except OverloadedError:
            self._profiles.untouch_decision(row.subject, row.at)
            raise
        if request_key is not None:
            self._requests.remember(request_key, row.request_hash, told, ticket)
        return ticket

    def _values(self, person: Known, personal: Personal, now: Micros) -> tuple[Mapping[str, Any], list[float]]:
        """Every feature as of today and its entries in the vector; worked out once a day, and when an event came."""
        key = f"{self._feature_set}.{now // DAY}"
        found = person.derived.get(key)
        if found is None:
            values = self._features.values(personal.features, now)
            found = person.derived[key] = values, self._vectoriser.person(values, personal.traits)
        return found

    def _assignment_key(self, asked: Asked, person: Known | None) -> str:
        """The identifier that holdouts hash: the person's first, kept once decided.

        Somebody who signs in may be asked for by userId and anonymousId before an event has joined the two: then a
        decision made for the anonymousId settles it.
        """
        anonymous = asked.request.anonymous_id
        if asked.other_subject is not None and (person is None or person.decided_at is None):
            before = self._profiles.find(None, anonymous)
            if before is not None and before.decided_at is not None and before.user_id in (None, asked.request.user_id):
                return before.assignment_key
        if person is not None:
            return person.assignment_key
        return asked.other_subject or asked.subject

    def _policy(self, candidates: Candidates) -> Policy:
        policy = self._policies.get(candidates.number)
        if policy is None:
            if len(self._policies) > 256:
                self._policies.clear()
            policy = self._policies[candidates.number] = policy_of(candidates.placement.policy)
        return policy

    def _ranks(self, asked: Asked) -> bool:
        return self._recommender is not None and asked.placement.policy.kind == "ranking"

    def _version(self, candidates: Candidates, bank: int) -> str:
        """What names the chances: placement, list of candidates, bank, features; it changes when one of them does."""
        key = (candidates.number, bank)
        version = self._versions.get(key)
        if version is None:
            if len(self._versions) > 256:
                self._versions.clear()
            version = f"{candidates.placement.revision}.{candidates.number:x}.{bank}.{self._feature_set}"
            self._versions[key] = version
        return version

    def _shortlist(self, asked: Asked, seen: Seen) -> Sequence[int] | None:
        if self._recommender is None or len(asked.candidates) <= self._shortlist_above:
            return None
        if asked.placement.policy.kind == "ranking":
            return None
        scores = self._recommender.scores(seen.personal, asked.candidates, asked.now)
        return np.argpartition(-scores, self._shortlist_above)[: self._shortlist_above].tolist()

    def _bought(self, personal: Personal, asked: Asked) -> Mapping[str, Micros]:
        days = self._features.last_days(personal.features, "products_bought_365d", asked.now)
        return {product: day * DAY for product, day in days.items()}


def feature_set_number(features: FeatureSet, vectoriser: Vectoriser) -> int:
    """The number under which decisions log their vectors: it changes with the features and with the columns."""
    return features.number * 1000 + vectoriser.number


class _NoBank:
    """Stands for a bank where none is asked."""

    number = 0

    def margins(self, x: NDArray[np.float32]) -> Margins:
        """Nothing."""
        return _NO_MARGINS


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What is known for one decision.

    Attributes:
        profile_id, assignment_key: who it is, and which identifier holdouts hash.
        x: the vector that is scored.
        values: what rules read.
        bought: product → when it was bought last; None when it may not be read, or nothing asks for it.
        personal: the personal data themselves, under a grant.
    """

    profile_id: str
    assignment_key: str
    x: NDArray[np.float32]
    values: Mapping[str, object]
    bought: Mapping[str, Micros] | None
    personal: Personal | None


class Chosen(msgspec.Struct, frozen=True, gc=False):
    """Who was treated how: holdout or not, the rule that chose, and the ghost slate of a holdout."""

    holdout: bool
    rule: str
    choice: Choice
    ghost: Choice | None


_NO_MARGINS = np.empty((0, 0), dtype=np.float32)
_NO_BANK = _NoBank()
_NOTHING = Choice(items=(), probabilities=(), slate_probability=1.0)


def _id(creative: Any) -> str | None:
    return creative.id if creative is not None else None
