"""Who is who: links between identifiers, and the partition of identifiers into people that follows from them.

The partition is a function of the *set* of links. Links are taken in a fixed order (trusted evidence before public,
stronger kinds before weaker, earlier before later) and join two groups unless both hold a userId already, or a limit
would be passed. So it is the same for any order of arrival and any repetition, two known users are never one person,
and taking a link away gives exactly the people there would have been without it.

Evidence by a public write key joins two leaves only where one call named both, as browsers do when a visitor signs in.
An e-mail, a phone number or another system's id that a page states is anybody's to type in, so it joins nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

from vitrina.collect.identifiers import is_junk, normal_email, normal_phone
from vitrina.core.clock import Micros
from vitrina.core.event import Event

__all__ = [
    "CALL",
    "EMAIL",
    "EXTERNAL",
    "PHONE",
    "Group",
    "Limits",
    "Link",
    "Status",
    "Strength",
    "links",
    "met_at",
    "order_pair",
    "partition",
]

CALL, EXTERNAL, EMAIL, PHONE = range(4)
"""What linked two identifiers, strongest first: one call, an id of another system, an e-mail, a phone number."""

Strength = tuple[bool, int, Micros, str]
"""Public?, kind, when, message id. The smallest evidence of a link is the one that counts."""


class Status:
    """What became of a link."""

    JOINED = "joined"
    CONTESTED = "contested"
    """Both sides hold a userId."""
    LIMIT = "limit"
    """One person would have had too many anonymousIds or e-mail addresses."""
    UNPROVEN = "unproven"
    """A public e-mail, phone or external id that somebody else holds already."""
    SUPPRESSED = "suppressed"
    """A person undid it."""
    DEVICE = "device"
    """The identifier is shared by too many people to say anything."""


class Limits(msgspec.Struct, frozen=True):
    """How much one person, and one shared identifier, may hold.

    Attributes:
        anonymous: anonymousIds of one person.
        emails: e-mail addresses of one person.
        users: userIds at one other identifier, above which it counts as a shared device and links nobody.
        links: links of one identifier; of a userId only the first ones count, anything else is a shared device.
    """

    anonymous: int = 100
    emails: int = 5
    users: int = 50
    links: int = 500


class Link(msgspec.Struct, gc=False, kw_only=True):
    """Two identifiers and the strongest evidence that they are one person's.

    `joined_at` is when it first joined its two sides, by our clock whatever the evidence says, 0 while it never did.
    """

    low: str
    high: str
    public: bool
    kind: int
    at: Micros
    message_id: str
    source: str = ""
    suppressed: bool = False
    status: str = ""
    joined_at: Micros = 0

    @property
    def holds_from(self) -> Micros:
        """Since when it may say which decisions were made for one person: trusted evidence always could (0).

        Public evidence could once we had it, so that nobody writes a date, or claims an older decision for a user.
        """
        return self.joined_at if self.public else 0

    @property
    def strength(self) -> Strength:
        """What decides between two pieces of evidence."""
        return self.public, self.kind, self.at, self.message_id

    @property
    def order(self) -> tuple[Strength, str, str]:
        """The place of this link among all."""
        return self.strength, self.low, self.high


class Group:
    """The identifiers of one person, and what limits count. `user` is their userId's identifier, if any."""

    __slots__ = ("anonymous", "emails", "members", "user", "view")

    def __init__(self, member: str) -> None:
        self.view: Any = None  # the profile that the graph made of this group
        self.members = [member]
        self.user = member if member[0] == "u" else None
        self.anonymous = 1 if member[0] == "a" else 0
        self.emails = 1 if member[0] == "e" else 0

    def verdict(self, other: Group, link: Link, limits: Limits) -> str:
        """What a link between two groups comes to."""
        if self is other:
            return Status.JOINED
        if self.user is not None and other.user is not None:
            return Status.CONTESTED
        if link.public and link.kind != CALL and self.has_leaf and other.has_leaf:
            return Status.UNPROVEN
        if self.anonymous + other.anonymous > limits.anonymous or self.emails + other.emails > limits.emails:
            return Status.LIMIT
        return Status.JOINED

    @property
    def has_leaf(self) -> bool:
        """It holds a userId or an anonymousId, and not only what a person is reached by."""
        return self.user is not None or self.anonymous > 0

    def absorb(self, other: Group) -> None:
        """Take over another group's members."""
        self.view = None
        self.members += other.members
        self.user = self.user or other.user
        self.anonymous += other.anonymous
        self.emails += other.emails


def order_pair(one: str, other: str) -> tuple[str, str]:
    """The two identifiers, the one that sorts first first."""
    return (one, other) if one < other else (other, one)


def partition(members: Iterable[str], given: Iterable[Link], limits: Limits) -> dict[str, Group]:
    """The group of each identifier; sets each link's `status`.

    Args:
        members: every identifier, linked or not.
        given: the links, in any order; identifiers that only they name are members too.
        limits: what one person may hold.
    """
    groups = {member: Group(member) for member in members}
    for link in sorted(given, key=lambda link: link.order):
        low = groups.get(link.low) or groups.setdefault(link.low, Group(link.low))
        high = groups.get(link.high) or groups.setdefault(link.high, Group(link.high))
        if link.suppressed:
            link.status = Status.SUPPRESSED
            continue
        link.status = low.verdict(high, link, limits)
        if link.status == Status.JOINED and low is not high:
            if len(low.members) < len(high.members):
                low, high = high, low
            low.absorb(high)
            for member in high.members:
                groups[member] = low
    return groups


def met_at(joined: Iterable[tuple[str, str, Micros]]) -> dict[str, Micros]:
    """When each identifier of a person with a userId came to be that user's; left out are the userIds themselves.

    It is the earliest instant by which a chain of links led from the one to the other.

    Args:
        joined: pairs that are joined, with their `Link.holds_from`; never two userIds in one chain.

    >>> met_at([("a:x", "u:1", 5), ("a:x", "a:y", 3), ("a:z", "u:1", 4), ("a:v", "a:w", 1)])
    {'a:z': 4, 'a:x': 5, 'a:y': 5}
    """
    groups: dict[str, Group] = {}
    met: dict[str, Micros] = {}
    for low, high, at in sorted(joined, key=lambda pair: pair[2]):
        one = groups.get(low) or groups.setdefault(low, Group(low))
        other = groups.get(high) or groups.setdefault(high, Group(high))
        if one is other:
            continue
        if (one.user is None) != (other.user is None):
            met.update(dict.fromkeys((one if one.user is None else other).members, at))
        if len(one.members) < len(other.members):
            one, other = other, one
        one.absorb(other)
        groups.update(dict.fromkeys(other.members, one))
    return met


def links(event: Event) -> list[tuple[str, str, int]]:
    """The links that an event is evidence of: identifier, identifier, kind. Placeholders link nobody."""
    user, anonymous = event.user_id, event.anonymous_id
    found: list[tuple[str, str, int]] = []
    if user and anonymous:
        found.append((f"a:{anonymous}", f"u:{user}", CALL))
    if event.type == "identify" or event.type == "alias" or "externalIds" in event.context:
        _add_others(event, found)
    return found


def _add_others(event: Event, found: list[tuple[str, str, int]]) -> None:
    subject = event.subject
    if event.type == "identify":
        email, phone = event.traits.get("email"), event.traits.get("phone")
        address = normal_email(email) if isinstance(email, str) else None
        if address is not None:
            found.append((*order_pair(subject, f"e:{address}"), EMAIL))
        number = normal_phone(phone) if isinstance(phone, str) else None
        if number is not None:
            found.append((*order_pair(subject, f"p:{number}"), PHONE))
    elif event.type == "alias":
        previous: object = event.properties.get("previousId")
        if isinstance(previous, str) and _usable(previous) and f"a:{previous}" != subject:
            found.append((*order_pair(subject, f"a:{previous}"), CALL))
    external: object = event.context.get("externalIds")
    if isinstance(external, list):
        for entry in cast("list[object]", external)[:10]:
            identifier = _external(entry)
            if identifier is not None:
                found.append((*order_pair(subject, identifier), EXTERNAL))


def _external(entry: object) -> str | None:
    """`x:TYPE:ID` of one of Segment's external ids, or None."""
    if not isinstance(entry, dict):
        return None
    fields = cast("dict[str, Any]", entry)
    kind, value = fields.get("type"), fields.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(kind, str) or not isinstance(value, str) or not _usable(value) or not _usable(kind):
        return None
    return f"x:{kind}:{value}"


def _usable(identifier: str) -> bool:
    return 0 < len(identifier) <= 255 and identifier.isprintable() and not is_junk(identifier)
