"""What the engine needs of its neighbours, as protocols: profiles, catalogue, banks, recommender."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vitrina.core.clock import Micros
from vitrina.core.grant import Grant
from vitrina.decide.candidates import Candidates
from vitrina.decide.eligibility import Person
from vitrina.decide.policies import Margins

__all__ = ["Banks", "Bindable", "Bound", "Catalogued", "Known", "Personal", "Profiles", "Recommender"]


class Known(Person, Protocol):
    """What the engine reads of a profile (`vitrina.collect.profiles.Profile`)."""

    @property
    def assignment_key(self) -> str:
        """The person's first identifier, which holdouts hash."""
        ...

    @property
    def decided_at(self) -> Micros | None:
        """The first decision, or None before any."""
        ...

    @property
    def user_id(self) -> str | None:
        """The userId, if the person is known by one."""
        ...

    @property
    def derived(self) -> dict[str, Any]:
        """A place for what was worked out of the features; emptied when a leaf changes."""
        ...

    def personal(self, grant: Grant) -> Personal:
        """Features and traits, under a grant for this profile."""
        ...


class Personal(Protocol):
    """Personal data read under a grant."""

    @property
    def features(self) -> dict[str, Any]:
        """Merged state of the feature set."""
        ...

    @property
    def traits(self) -> Mapping[str, Any]:
        """Trait name → value."""
        ...


class Profiles(Protocol):
    """Where profiles are found (`vitrina.collect.profiles.ProfileBook`)."""

    def reading(self) -> AbstractContextManager[Any]:
        """Hold it from `find` until what was found has been read: nobody changes a profile meanwhile."""
        ...

    def find(self, user_id: str | None, anonymous_id: str | None) -> Known | None:
        """The profile of either identifier, or None when nothing is known."""
        ...

    def untouch_decision(self, subject: str, now: Micros) -> None:
        """Take it back: the decision could not be logged, so nobody was answered."""
        ...

    def touch_decision(self, subject: str, now: Micros, assignment_key: str, offers: Sequence[str]) -> None:
        """Note that this person was decided for and shown `offers`, so that caps and the holdout hold from now on."""
        ...


class Catalogued(Protocol):
    """Where candidates are found (`vitrina.decide.catalogue.Catalogue`)."""

    def candidates(self, placement_id: str) -> Candidates:
        """The current numbered list; a `NotFoundError` for an unknown placement."""
        ...

    def numbered(self, number: int) -> Candidates | None:
        """An earlier list."""
        ...


class Bound(Protocol):
    """A bank over a list of candidates."""

    @property
    def number(self) -> int:
        """The bank's number."""
        ...

    def margins(self, x: NDArray[np.float32]) -> Margins:
        """Expected margin in minor units, float32[M, K], for the person's vector float32[d]."""
        ...


class Bindable(Protocol):
    """A bank of draws."""

    def bind(self, candidates: Candidates) -> Bound:
        """The bank over these candidates, kept for the next call."""
        ...


class Banks(Protocol):
    """Where banks are found (`vitrina.decide.learning.Learner`)."""

    def current(self, placement_id: str) -> Bindable:
        """The newest bank of a placement."""
        ...

    def numbered(self, number: int) -> Bindable | None:
        """An earlier bank."""
        ...


class Recommender(Protocol):
    """Supplies candidates where a catalogue is too large to score every offer."""

    def scores(
        self,
        personal: Personal | None,
        candidates: Candidates,
        now: Micros,
        eligible: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """float32[K]: what this person is likely to want next; without `personal`, what everybody wants.

        The list is varied among what is `eligible`, bool[K]; None means everything.
        """
        ...
