"""A profile: one person as we know them, read as the merge of their leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from vitrina.collect.identity import Group, Link, Status, met_at
from vitrina.collect.leaf import Leaf
from vitrina.core.clock import DAY, Micros, to_datetime
from vitrina.core.errors import PermissionRefusedError
from vitrina.core.grant import Grant
from vitrina.core.profile import ConsentState, answer_order

__all__ = ["MergeFeatures", "Personal", "Profile"]

MergeFeatures = Callable[[Sequence[dict[str, Any]]], dict[str, Any]]
"""The feature set's merge of the states of several leaves."""

_YEAR = 365.2425 * DAY


class Personal(msgspec.Struct, frozen=True, gc=False):
    """Personal data that a grant opened: state of the feature set, and trait name → value."""

    features: dict[str, Any]
    traits: Mapping[str, Any]


class Profile:
    """One person. It is a live view: ask the book again for each decision, and keep nothing of it.

    What permission needs is open to all (`consents`, `gpc`, `age`, `shown`, `assignment_key`); features and traits need
    a `Grant` for this profile.
    """

    __slots__ = (
        "_age",
        "_consents",
        "_features",
        "_links",
        "_merge",
        "_shown",
        "_traits",
        "derived",
        "group",
        "leaves",
    )

    def __init__(
        self, group: Group, leaves: list[Leaf], merge: MergeFeatures, links: Mapping[tuple[str, str], Link]
    ) -> None:
        self.group = group
        self.leaves = leaves
        self._merge = merge
        self._links = links
        self.changed()

    def changed(self) -> None:
        """A leaf was changed: forget what was merged."""
        self._consents: Mapping[str, ConsentState] | None = None
        self._traits: Mapping[str, Any] | None = None
        self._features: dict[str, Any] | None = None
        self._shown: Mapping[str, Sequence[Micros]] | None = None
        self._age: tuple[int, int | None] = (-1, None)
        self.derived: dict[str, Any] = {}
        """What a reader under a grant worked out of the features and wants to find again; gone when a leaf changes."""

    def shown_changed(self) -> None:
        """Something was shown: nothing else that was merged is touched."""
        self._shown = None

    @property
    def profile_id(self) -> str:
        """The userId's identifier, else that of the leaf that was seen first."""
        return self.group.user or min((leaf.seen_at, leaf.key) for leaf in self.leaves)[1]

    @property
    def user_id(self) -> str | None:
        """The userId, if the person is known."""
        return None if self.group.user is None else self.group.user[2:]

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Everything this person is known by (`u:`, `a:`, `e:`, `p:`, `x:`), sorted."""
        return tuple(sorted(self.group.members))

    @property
    def seen_at(self) -> Micros:
        """When the person was first heard of."""
        return min(leaf.seen_at for leaf in self.leaves)

    @property
    def last_at(self) -> Micros:
        """When the person was last heard of."""
        return max(leaf.last_at for leaf in self.leaves)

    @property
    def decided_at(self) -> Micros | None:
        """The first decision for this person, or None before any."""
        return min([leaf.decided_at for leaf in self.leaves if leaf.decided_at is not None], default=None)

    @property
    def assignment_key(self) -> str:
        """What holdouts hash: the identifier of the first decision, which stays; before any, the one seen first.

        Of a known user it is the first decision made for what was the user's by then: an identifier that a page says
        is the user's, and that was decided for already, doesn't move the user to its arm.
        """
        decided = [
            (leaf.decided_at, leaf.key, leaf.assignment_key or leaf.key)
            for leaf in self.leaves
            if leaf.decided_at is not None
        ]
        if not decided:
            return min((leaf.seen_at, leaf.key) for leaf in self.leaves)[1]
        if self.group.user is not None and len({assigned for _, _, assigned in decided}) > 1:
            met = self._met_at()
            return min((max(at, met.get(key, 0)), at, key, assigned) for at, key, assigned in decided)[3]
        return min(decided)[2]

    def _met_at(self) -> dict[str, Micros]:
        """When each identifier became the user's (see `vitrina.collect.identity.met_at`)."""
        mine = set(self.group.members)
        return met_at(
            (link.low, link.high, link.holds_from)
            for link in self._links.values()
            if link.status == Status.JOINED and link.low in mine
        )

    @property
    def consents(self) -> Mapping[str, ConsentState]:
        """The latest answer by `vitrina.core.profile.consent_key`, with the record that proves it."""
        if self._consents is None:
            latest: dict[str, tuple[ConsentState, ConsentState]] = {}
            for leaf in self.leaves:
                for key, state in leaf.consents.items():
                    known = latest.get(key)
                    if known is None or answer_order(state) > answer_order(known[0]):
                        proof = leaf.proofs.get(key, (state[3], state[2]))[0]
                        latest[key] = (state, (state[0], state[1], state[2], proof, state[4]))
            self._consents = {key: shown for key, (_, shown) in latest.items()}
        return self._consents

    @property
    def gpc(self) -> bool:
        """Global Privacy Control was sent, and personalised advertising was not allowed explicitly since."""
        at = max([leaf.gpc_at for leaf in self.leaves if leaf.gpc_at is not None], default=None)
        if at is None:
            return False
        state = self.consents.get("ads_personalisation")
        return not (state is not None and state[0] and state[2] > at)

    @property
    def shown(self) -> Mapping[str, Sequence[Micros]]:
        """Offer id → when it was shown, oldest first."""
        if len(self.leaves) == 1:
            return self.leaves[0].shown
        if self._shown is None:
            merged: dict[str, set[Micros]] = {}
            for leaf in self.leaves:
                for offer, times in leaf.shown.items():
                    merged.setdefault(offer, set()).update(times)
            self._shown = {offer: sorted(times) for offer, times in merged.items()}
        return self._shown

    def age(self, now: Micros) -> int | None:
        """Age in full years at `now`, from the trait `birthday`, else `age` counted on; None when not known.

        It is worked out once a UTC day.
        """
        day = now // DAY
        if self._age[0] != day:
            self._age = (day, self._age_at(now))
        return self._age[1]

    def _age_at(self, now: Micros) -> int | None:
        birthday = self._trait("birthday")
        if birthday is not None and isinstance(birthday[0], str):
            years = _years_since(birthday[0], now)
            if years is not None:
                return years
        stated = self._trait("age")
        if stated is None or isinstance(stated[0], bool) or not isinstance(stated[0], (int, float)):
            return None
        if not 0 <= stated[0] <= 130:
            return None
        return int(stated[0] + max(0, now - stated[1]) / _YEAR)

    def _trait(self, name: str) -> tuple[Any, Micros, str] | None:
        found = [leaf.traits[name] for leaf in self.leaves if name in leaf.traits]
        return max(found, key=lambda trait: (trait[1], trait[2]), default=None)

    def personal(self, grant: Grant) -> Personal:
        """Features and traits, under a grant for this profile.

        Raises:
            PermissionRefusedError: the grant is another person's.
        """
        if grant.profile_id != self.profile_id:
            raise PermissionRefusedError(
                f"the grant is for {grant.profile_id}, not for this profile.",
                code="grant.other",
                cure="Ask permission for the profile that is read.",
            )
        if self._features is None or self._traits is None:
            leaves = self.leaves
            self._features = leaves[0].features if len(leaves) == 1 else self._merge([leaf.features for leaf in leaves])
            self._traits = _merge_traits(leaves)
        return Personal(self._features, self._traits)


def _merge_traits(leaves: Sequence[Leaf]) -> dict[str, Any]:
    latest: dict[str, tuple[Any, Micros, str]] = {}
    for leaf in leaves:
        for name, trait in leaf.traits.items():
            known = latest.get(name)
            if known is None or (trait[1], trait[2]) > (known[1], known[2]):
                latest[name] = trait
    return {name: trait[0] for name, trait in latest.items() if trait[0] is not None}


def _years_since(birthday: str, now: Micros) -> int | None:
    try:
        born = date.fromisoformat(birthday[:10])
    except ValueError:
        return None
    today = to_datetime(now).date()
    years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    return years if 0 <= years <= 130 else None
