"""The people at hand: loaded identifiers, their links and leaves. In memory only; `profiles` loads and saves.

Identifiers that are linked at all, joined or not, form a cluster: what a new link can change lies inside it. A link
that sorts after all others of its cluster (live events, nearly always) is judged alone; any other has its cluster
judged anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from vitrina.collect.identity import Group, Limits, Link, Status, Strength, partition
from vitrina.collect.leaf import Leaf
from vitrina.collect.profile import MergeFeatures, Profile
from vitrina.core.clock import Micros

__all__ = ["Change", "Cluster", "Graph"]

_FIRST: tuple[Strength, str, str] = ((False, -1, 0, ""), "", "")


class Change(msgspec.Struct, frozen=True, gc=False):
    """A link whose status changed, with what it was before ("" when it is new)."""

    link: Link
    before: str


class Cluster:
    """Identifiers that hang together by links. `used` is the tick of the last use, for eviction."""

    __slots__ = ("groups", "last", "leaves", "links", "used")

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.links: dict[tuple[str, str], Link] = {}
        self.leaves: dict[str, Leaf] = {}
        self.last = _FIRST
        self.used = 0

    def judge(self, limits: Limits) -> list[Change]:
        """Judge every link anew; gives those whose status changed."""
        before = {key: link.status for key, link in self.links.items()}
        self.groups = partition(self.groups, self.links.values(), limits)
        self.last = max((link.order for link in self.links.values()), default=_FIRST)
        return [Change(link, before[key]) for key, link in self.links.items() if link.status != before[key]]


class Graph:
    """Clusters by identifier.

    Args:
        limits: what one person and one shared identifier may hold.
        merge: the feature set's merge of states.

    Attributes:
        clusters: identifier → its cluster, for everything loaded.
        devices: identifiers that too many people share; they link nobody.
        removed: links that no longer count at all and have to be deleted from the store.
        tick: moves on at each save; a cluster remembers when it was used.
    """

    def __init__(self, limits: Limits, merge: MergeFeatures) -> None:
        self.limits = limits
        self.clusters: dict[str, Cluster] = {}
        self.devices: set[str] = set()
        self.removed: set[tuple[str, str]] = set()
        self.tick = 0
        self._merge = merge

    # loading and leaving

    def load(self, identifiers: Iterable[str], given: Sequence[Link], leaves: Iterable[Leaf]) -> None:
        """Put what the store holds of identifiers that are not at hand yet (also when that is nothing)."""
        fresh = [identifier for identifier in identifiers if identifier not in self.clusters]
        for identifier in fresh:
            self._cluster(identifier)
        touched: dict[int, Cluster] = {}
        for link in given:
            cluster = self._together(self._cluster(link.low), self._cluster(link.high))
            cluster.links[link.low, link.high] = link
            touched[id(cluster)] = cluster
        for cluster in touched.values():
            if cluster.links and cluster is self.clusters.get(next(iter(cluster.groups))):
                cluster.judge(self.limits)
        for leaf in leaves:
            cluster = self._cluster(leaf.key)
            cluster.leaves[leaf.key] = leaf
            cluster.groups[leaf.key].view = None

    def evict(self, keep: int, busy: Collection[str]) -> int:
        """Let go of the clusters used longest ago until `keep` identifiers stay; those with `busy` leaves do stay."""
        over = len(self.clusters) - keep
        if over <= 0:
            return 0
        oldest = sorted({id(c): c for c in self.clusters.values()}.values(), key=lambda cluster: cluster.used)
        gone = 0
        for cluster in oldest:
            if gone >= over:
                break
            if any(key in busy for key in cluster.leaves):
                continue
            gone += len(cluster.groups)
            for identifier in cluster.groups:
                del self.clusters[identifier]
        return gone

    def _cluster(self, identifier: str) -> Cluster:
        cluster = self.clusters.get(identifier)
        if cluster is None:
            cluster = self.clusters[identifier] = Cluster()
            cluster.groups[identifier] = Group(identifier)
            cluster.used = self.tick
        return cluster

    def _together(self, one: Cluster, other: Cluster) -> Cluster:
        """One cluster of two; the statuses inside each stay as they are."""
        if one is other:
            return one
        if len(one.groups) < len(other.groups):
            one, other = other, one
        one.groups.update(other.groups)
        one.links.update(other.links)
        one.leaves.update(other.leaves)
        one.last = max(one.last, other.last)
        one.used = max(one.used, other.used)
        for identifier in other.groups:
            self.clusters[identifier] = one
        return one

    # people

    def leaf(self, subject: str, at: Micros) -> Leaf:
        """The leaf of a subject key, made when there is none."""
        cluster = self._cluster(subject)
        cluster.used = self.tick
        found = cluster.leaves.get(subject)
        if found is None:
            found = cluster.leaves[subject] = Leaf(key=subject, seen_at=at, last_at=at)
            cluster.groups[subject].view = None
        return found

    def profile(self, identifier: str) -> Profile | None:
        """The person of an identifier at hand, or None when nothing but the identifier is known."""
        cluster = self.clusters.get(identifier)
        if cluster is None:
            return None
        cluster.used = self.tick
        group = cluster.groups[identifier]
        view: Profile | None = group.view
        if view is None:
            leaves = [cluster.leaves[member] for member in group.members if member in cluster.leaves]
            if not leaves:
                return None
            view = group.view = Profile(group, leaves, self._merge, cluster.links)
        return view

    def changed(self, subject: str) -> None:
        """The leaf of a subject was changed in place."""
        view: Profile | None = self.clusters[subject].groups[subject].view
        if view is not None:
            view.changed()

    def shown(self, subject: str) -> None:
        """Only what was shown to a subject was changed."""
        view: Profile | None = self.clusters[subject].groups[subject].view
        if view is not None:
            view.shown_changed()

    # links

    def link(self, low: str, high: str, strength: Strength, source: str) -> list[Change]:
        """Take evidence that two identifiers (in order) are one person's. Gives the links whose status changed."""
        if low in self.devices or high in self.devices:
            return []
        cluster = self._cluster(low)
        known = cluster.links.get((low, high))
        if known is not None:
            if strength >= known.strength:
                return []
            known.public, known.kind, known.at, known.message_id = strength
            known.source = source
            changes = cluster.judge(self.limits)
            return (
                changes if any(change.link is known for change in changes) else [*changes, Change(known, known.status)]
            )
        public, kind, at, message_id = strength
        new = Link(low=low, high=high, public=public, kind=kind, at=at, message_id=message_id, source=source)
        if self._too_weak(new):
            return []
        cluster = self._together(cluster, self._cluster(high))
        cluster.links[low, high] = new
        self.removed.discard((low, high))
        if new.order < cluster.last:
            changes = cluster.judge(self.limits)
        else:
            changes = [self._judge_last(cluster, new)]
        if len(cluster.links) > min(self.limits.users, self.limits.links):
            changes += self._crowded(new)
        return changes

    def _judge_last(self, cluster: Cluster, new: Link) -> Change:
        """Judge a link that sorts after all others: it can't change what became of them."""
        cluster.last = new.order
        low, high = cluster.groups[new.low], cluster.groups[new.high]
        new.status = low.verdict(high, new, self.limits)
        if new.status == Status.JOINED and low is not high:
            if len(low.members) < len(high.members):
                low, high = high, low
            low.absorb(high)
            for member in high.members:
                cluster.groups[member] = low
        return Change(new, "")

    def _of(self, identifier: str) -> list[Link]:
        cluster = self.clusters.get(identifier)
        return [] if cluster is None else [link for pair, link in cluster.links.items() if identifier in pair]

    def _too_weak(self, new: Link) -> bool:
        """A userId that has all the links it may have takes only a stronger one."""
        for identifier in (new.low, new.high):
            if identifier[0] == "u" and len(self.clusters.get(identifier, _NOBODY).links) >= self.limits.links:
                mine = self._of(identifier)
                if len(mine) >= self.limits.links and new.order > max(link.order for link in mine):
                    return True
        return False

    def _crowded(self, new: Link) -> list[Change]:
        """Keep the bounds of single identifiers, after a link was added to a large cluster."""
        changes: list[Change] = []
        for identifier in (new.low, new.high):
            cluster, mine = self.clusters[identifier], self._of(identifier)
            if identifier[0] == "u":
                if len(mine) > self.limits.links:
                    changes += self._remove(cluster, [max(mine, key=lambda link: link.order)])
                continue
            users = sum([link.low[0] == "u" or link.high[0] == "u" for link in mine])
            if users > self.limits.users or len(mine) > self.limits.links:
                self.devices.add(identifier)
                gone = msgspec.structs.replace(new, low=identifier, high=identifier, status=Status.DEVICE)
                changes += [*self._remove(cluster, mine), Change(gone, "")]
                break
        return changes

    def _remove(self, cluster: Cluster, gone: Iterable[Link]) -> list[Change]:
        """Take links away for good, and part what no longer hangs together."""
        before = {key: link.status for key, link in cluster.links.items()}
        for link in gone:
            del cluster.links[link.low, link.high]
            self.removed.add((link.low, link.high))
        changes: list[Change] = []
        for part in self._parted(cluster):
            part.judge(self.limits)
            changes += [Change(link, before[key]) for key, link in part.links.items() if link.status != before[key]]
        return changes

    def _parted(self, cluster: Cluster) -> Iterator[Cluster]:
        """The clusters that an old one falls into by the links that are left."""
        near: dict[str, list[Link]] = {identifier: [] for identifier in cluster.groups}
        for link in cluster.links.values():
            near[link.low].append(link)
            near[link.high].append(link)
        waiting = set(near)
        while waiting:
            part, front = Cluster(), [waiting.pop()]
            part.used = cluster.used
            while front:
                identifier = front.pop()
                part.groups[identifier] = Group(identifier)
                self.clusters[identifier] = part
                if identifier in cluster.leaves:
                    part.leaves[identifier] = cluster.leaves[identifier]
                for link in near[identifier]:
                    part.links[link.low, link.high] = link
                    for other in (link.low, link.high):
                        if other in waiting:
                            waiting.discard(other)
                            front.append(other)
            yield part

    def suppress(self, low: str, high: str, suppressed: bool) -> list[Change] | None:
        """Undo a link, or restore it; None when there is none. It stays in the set either way."""
        cluster = self.clusters.get(low)
        link = None if cluster is None else cluster.links.get((low, high))
        if cluster is None or link is None:
            return None
        link.suppressed = suppressed
        return cluster.judge(self.limits)

    def forget(self, identifiers: Collection[str]) -> None:
        """Drop identifiers with their leaves and links, as if they had never been seen."""
        touched = {id(self.clusters[i]): self.clusters[i] for i in identifiers if i in self.clusters}
        for cluster in touched.values():
            for identifier in identifiers:
                if cluster.groups.pop(identifier, None) is not None:
                    del self.clusters[identifier]
                cluster.leaves.pop(identifier, None)
            for low, high in list(cluster.links):
                if low in identifiers or high in identifiers:
                    del cluster.links[low, high]
                    self.removed.add((low, high))
            for part in self._parted(cluster):
                part.judge(self.limits)


_NOBODY = Cluster()
