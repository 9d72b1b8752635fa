"""A small shop on a real store, and people as the engine sees them."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta

import msgspec
import numpy as np

from tests.stores import store_url
from vitrina.core.access import Caller
from vitrina.core.catalogue import Creative, CreativeStatus, Eligibility, Offer, Placement
from vitrina.core.clock import DAY, SimulatedClock
from vitrina.core.money import Money
from vitrina.decide.catalogue import Catalogue
from vitrina.decide.engine import Engine
from vitrina.decide.listing import DecisionList
from vitrina.decide.log import DecisionLog
from vitrina.decide.outcomes import OutcomeLog
from vitrina.decide.stock import Stock
from vitrina.storage.journal import Journal
from vitrina.storage.store import Store
from vitrina.understand.audiences import compile_closure
from vitrina.understand.features.commerce import FEATURES, NUMBER
from vitrina.understand.features.fold import FeatureSet
from vitrina.understand.features.vector import Vectoriser

NOON = 20_500 * DAY + 12 * 3600 * 1_000_000
"""A Sunday in February 2026."""

SECRET = Caller("server", "secret", frozenset({"decide"}))
WRITE = Caller("page", "write")


class Person:
    """A profile: what the engine and the rules read of it."""

    def __init__(
        self, profile_id, *, consents=(), age=None, gpc=False, shown=None, traits=None, state=None, first=None
    ):
        self.profile_id = profile_id
        self.consents = {p: (True, "consent", NOON - DAY, f"c_{p}", None) for p in consents}
        self.gpc = gpc
        self.derived = {}
        self.shown = shown or {}
        self.assignment_key = first or profile_id
        self.decided_at = NOON - DAY if first else None
        self.user_id = profile_id[2:] if profile_id.startswith("u:") else None
        self._age, self._traits, self._state = age, traits or {}, state or {}

    def age(self, now):
        return self._age

    def personal(self, grant):
        assert grant.profile_id == self.profile_id
        return Personal(self._state, self._traits)


class Personal(msgspec.Struct):
    features: dict
    traits: dict


class People:
    """Profiles by user id, with what decisions left on them."""

    def __init__(self):
        self.by_user = {}
        self.touched = []

    def reading(self):
        return nullcontext()

    def find(self, user_id, anonymous_id):
        return self.by_user.get(user_id) if user_id else self.by_user.get(f"a:{anonymous_id}")

    def touch_decision(self, subject, now, assignment_key, offers):
        self.touched.append((subject, now, assignment_key, tuple(offers)))
        person = self.by_user.get(subject.removeprefix("u:"))
        if person is not None:
            if person.decided_at is None:
                person.decided_at, person.assignment_key = now, assignment_key
            for offer in offers:
                person.shown.setdefault(offer, []).append(now)


class Draws:
    """A bank whose margins depend on the person's vector through fixed random weights."""

    def __init__(self, number, draws=64, seed=5):
        self.number, self.draws, self.seed = number, draws, seed
        self._bound = None

    def bind(self, candidates):
        if self._bound is None or self._bound[0] is not candidates:
            rng = np.random.default_rng(self.seed + self.number)
            size = Vectoriser().size
            weights = rng.normal(size=(size, self.draws * len(candidates))).astype(np.float32) * 0.2
            self._bound = (candidates, Bound(self.number, weights, candidates.margin.astype(np.float32), self.draws))
        return self._bound[1]


class Bound:
    def __init__(self, number, weights, margin, draws):
        self.number, self._weights, self._margin, self._draws = number, weights, margin, draws

    def margins(self, x):
        logits = (x @ self._weights).reshape(self._draws, -1)
        return self._margin / (1 + np.exp(3 - logits))


class Banks:
    def __init__(self):
        self.banks = {1: Draws(1)}
        self.newest = 1

    def current(self, placement_id):
        return self.banks[self.newest]

    def numbered(self, number):
        return self.banks.get(number)


class Shop:
    """Everything that decides, wired as the workspace wires it."""

    def __init__(self, folder, *, threaded=False, seed=1):
        self.store = Store.open(store_url(folder / "store.db"), threaded=threaded)
        self.store.migrate()
        self.journal = self.store.attach(Journal("decisions", dedupe=False, keep=timedelta(days=731), waiting_rows=200))
        self.outcomes_journal = self.store.attach(Journal("outcomes", dedupe=True, keep=timedelta(days=7)))
        self.clock = SimulatedClock(NOON)
        self.stock = Stock(self.store)
        self.catalogue = Catalogue(self.store, self.clock, self.stock, compile_closure)
        self.log = DecisionLog(self.store, self.journal)
        self.outcomes = OutcomeLog(self.store, self.outcomes_journal, self.log, self.catalogue)
        self.listing = DecisionList(self.log, self.outcomes, self.catalogue)
        self.people, self.banks = People(), Banks()
        self.engine = Engine(
            catalogue=self.catalogue,
            profiles=self.people,
            features=FeatureSet(FEATURES, NUMBER),
            vectoriser=Vectoriser(),
            banks=self.banks,
            log=self.log,
            stock=self.stock,
            clock=self.clock,
            rng=np.random.default_rng(seed),
        )

    def stock_up(self, count=5, **placement):
        """`count` offers o0… with one approved creative each, and the placement `home`."""
        self.catalogue.put_all([offer(f"o{i:02}", price=1000 + 100 * i) for i in range(count)])
        self.catalogue.put_all([creative(f"o{i:02}") for i in range(count)])
        self.catalogue.put(Placement(id="home", **{"holdout": 0.0, "currency": "EUR", **placement}))


def offer(offer_id, *, price=1000, margin=300, **fields):
    rules = {name: fields.pop(name) for name in list(fields) if name in Eligibility.__struct_fields__}
    return Offer(
        id=offer_id,
        name=offer_id.upper(),
        price=Money(price, "EUR"),
        margin=Money(margin, "EUR"),
        eligibility=Eligibility(**rules),
        **fields,
    )


def creative(offer_id, locale="", **fields):
    return Creative(
        id=f"c-{offer_id}{locale}",
        offer_id=offer_id,
        locale=locale,
        content={"title": offer_id + locale},
        **{"status": CreativeStatus.APPROVED, **fields},
    )
