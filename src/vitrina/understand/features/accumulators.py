"""What the fold remembers of one person, one class a kind of memory.

States are lists and dictionaries of integers and text, so that they can be stored as JSON or MessagePack. Every fold is
commutative: the values read later depend on the set of events, not on their order (what is pruned is out of every
later window). One thread may fold while another reads or merges: readers take a copy of a list in one step, so they
may see an event half-applied across memories, but never fail.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Protocol

from vitrina.core.clock import DAY, Micros
from vitrina.core.event import Event
from vitrina.understand.features.algebra import WEIGHT_ONE

__all__ = ["Accumulator", "ByDay", "DaysByValue", "Fold", "Latest", "Read", "Seen", "State", "Visits"]

State = dict[str, Any]
"""Memory of one leaf or profile: accumulator key → lists and dictionaries of integers and text."""

ReadText = Callable[[Event], Any]
"""Reads a text or None from an event; where `several`, a set of texts."""

Read = Callable[[State, int], Any]
"""Computes a value from a state as of a UTC day since 1970."""

Fold = Callable[[State, Event, Micros, int], None]
"""Adds an event that happened at a moment, on a UTC day since 1970, to a state."""


class Accumulator(Protocol):
    """One kind of memory under one key of the state."""

    key: str

    @property
    def fold(self) -> Fold:
        """Add an event that happened at `moment`, on UTC day `day` since 1970: (state, event, moment, day)."""
        ...

    def merge(self, memories: list[Any]) -> Any:
        """The memory of all the events of several leaves."""
        ...


class ByDay:
    """Totals ever, and totals by day for the last `horizon` days: [total…, day, amount…, day, amount…].

    The first amount is the count of events; `amounts` read the others, which are called `names`.
    """

    def __init__(
        self, key: str, amounts: tuple[Callable[[Event], int], ...], horizon: int, names: tuple[str, ...]
    ) -> None:
        self.key = key
        self.horizon = horizon
        self.amounts = amounts
        self.names = names
        self.width = 1 + len(amounts)
        self.fold = self._fold_amounts if amounts or not horizon else self._count()

    def _count(self) -> Fold:
        """The fold of a memory that only counts."""
        key, place = self.key, self._place

        def count(state: State, event: Event, moment: Micros, day: int) -> None:
            rows = state.get(key)
            if rows is None:
                state[key] = [1, day, 1]
                return
            rows[0] += 1
            if rows[-2] == day:
                rows[-1] += 1
            else:
                place(rows, day, [1])

        return count

    def _fold_amounts(self, state: State, event: Event, moment: Micros, day: int) -> None:
        row = [1, *[read(event) for read in self.amounts]]
        rows = state.get(self.key)
        if rows is None:
            state[self.key] = [*row, day, *row] if self.horizon else row
            return
        width = self.width
        for i in range(width):
            rows[i] += row[i]
        if not self.horizon:
            return
        if len(rows) > width and rows[-width - 1] == day:
            for i in range(-width, 0):
                rows[i] += row[i]
        else:
            self._place(rows, day, row)

    def _place(self, rows: list[int], day: int, row: list[int]) -> None:
        """Put a day's row in its place among the days, and forget days beyond the horizon."""
        width, stride = self.width, self.width + 1
        at = len(rows)
        while at > width and rows[at - stride] > day:
            at -= stride
        if at > width and rows[at - stride] == day:
            for i in range(width):
                rows[at - width + i] += row[i]
            return
        if at < len(rows) and day <= rows[-stride] - self.horizon:
            return
        rows[at:at] = [day, *row]
        oldest = rows[-stride] - self.horizon
        stale = width
        while rows[stale] <= oldest:
            stale += stride
        del rows[width:stale]

    def merge(self, memories: list[list[int]]) -> list[int]:
        """Add up totals and days."""
        width, stride = self.width, self.width + 1
        merged = [0] * width
        days: dict[int, list[int]] = {}
        for memory in memories:
            rows = memory[:]
            for i in range(width):
                merged[i] += rows[i]
            for at in range(width, len(rows), stride):
                day = days.setdefault(rows[at], [0] * width)
                for i in range(width):
                    day[i] += rows[at + 1 + i]
        oldest = max(days, default=0) - self.horizon
        for day in sorted(days):
            if day > oldest:
                merged += [day, *days[day]]
        return merged

    def total(self, column: int) -> Read:
        """Reads the sum of a column over all time."""
        key = self.key

        def read(state: State, today: int) -> int:
            rows = state.get(key)
            return 0 if rows is None else rows[column]

        return read

    def window(self, column: int, days: int) -> Read:
        """Reads the sum of a column over the last `days` days."""
        key, width, stride = self.key, self.width, self.width + 1

        def read(state: State, today: int) -> int:
            rows = state.get(key)
            if rows is None:
                return 0
            rows, oldest, total = rows[:], today - days, 0
            for at in range(len(rows) - stride, width - 1, -stride):
                if rows[at] <= oldest:
                    break
                total += rows[at + 1 + column]
            return total

        return read

    def weighted(self, weights: tuple[int, ...]) -> Read:
        """Reads the sum of counts, each times the weight of its age in days, in units of `WEIGHT_ONE`."""
        key, width, stride, last = self.key, self.width, self.width + 1, len(weights) - 1

        def read(state: State, today: int) -> float:
            rows = state.get(key)
            if rows is None:
                return 0.0
            rows, total = rows[:], 0
            for at in range(len(rows) - stride, width - 1, -stride):
                age = today - rows[at]
                if age > last:
                    break
                total += rows[at + 1] * weights[age]
            return total / WEIGHT_ONE

        return read


class Seen:
    """First and last moment: [first, last]."""

    def __init__(self, key: str) -> None:
        self.key = key

    def fold(self, state: State, event: Event, moment: Micros, day: int) -> None:
        """Add one event."""
        seen = state.get(self.key)
        if seen is None:
            state[self.key] = [moment, moment]
        elif moment > seen[1]:
            seen[1] = moment
        elif moment < seen[0]:
            seen[0] = moment

    def merge(self, memories: list[list[int]]) -> list[int]:
        """Earliest first, latest last."""
        return [min(memory[0] for memory in memories), max(memory[1] for memory in memories)]

    def days_since(self, position: int) -> Read:
        """Reads the whole days since the first (0) or last (1) moment."""
        key = self.key

        def read(state: State, today: int) -> int | None:
            seen = state.get(key)
            return None if seen is None else today - seen[position] // DAY

        return read


class Latest:
    """The value of the latest moment, the larger text on a tie: [moment, value]."""

    def __init__(self, key: str, read: ReadText) -> None:
        self.key = key
        self.read = read

    def fold(self, state: State, event: Event, moment: Micros, day: int) -> None:
        """Add one event."""
        value = self.read(event)
        if value:
            latest = state.get(self.key)
            if latest is None or moment > latest[0] or (moment == latest[0] and value > latest[1]):
                state[self.key] = [moment, value]

    def merge(self, memories: list[list[Any]]) -> list[Any]:
        """The later one."""
        return list(max(memories))

    def value(self) -> Read:
        """Reads the value."""
        key = self.key

        def read(state: State, today: int) -> str | None:
            latest = state.get(key)
            return None if latest is None else latest[1]

        return read


_TEXTS = 50_000
_texts: dict[str, str] = {}


def _shared(value: str) -> str:
    """The same object for an equal text: what thousands of people have seen lies in memory once."""
    if len(_texts) >= _TEXTS:
        _texts.clear()  # memories keep theirs; what is seen from here on is shared anew
    return _texts.setdefault(value, value)


class DaysByValue:
    """Days by value for the last `horizon` days: {value: [day, count, day, count …]}, or {value: last day}.

    Only the `limit` values of the latest days are sure to be kept (ties by text), so that a robot can't fill the
    memory; features are defined so that no more are needed.
    """

    def __init__(self, key: str, read: ReadText, horizon: int, limit: int, *, counts: bool, several: bool) -> None:
        self.key = key
        self.read = read
        self.fold = self._fold_several if several else self._one()
        self.horizon = horizon
        self.limit = limit
        self.counts = counts

    def _one(self) -> Fold:
        read, add = self.read, self._add

        def fold(state: State, event: Event, moment: Micros, day: int) -> None:
            value = read(event)
            if value:
                add(state, value, day)

        return fold

    def _fold_several(self, state: State, event: Event, moment: Micros, day: int) -> None:
        for value in self.read(event):
            self._add(state, value, day)

    def _add(self, state: State, value: str, day: int) -> None:
        days_of = state.get(self.key)
        if days_of is None:
            days_of = state[self.key] = {}
        days = days_of.get(value)
        if days is None:
            days_of[_shared(value)] = [day, 1] if self.counts else day
            size = len(days_of)
            if size >= 16 and (size & (size - 1) == 0 or size > 2 * self.limit):
                self._prune(days_of)
        elif not self.counts:
            if day > days:
                days_of[value] = day
        elif days[-2] == day:
            days[-1] += 1
        else:
            self._count(days, day)

    def _count(self, days: list[int], day: int) -> None:
        """Count a day that is not the last."""
        at = len(days)
        while at and days[at - 2] > day:
            at -= 2
        if at and days[at - 2] == day:
            days[at - 1] += 1
            return
        days[at:at] = [day, 1]
        oldest = days[-2] - self.horizon
        while days[0] <= oldest:
            del days[:2]

    def _last(self, days: Any) -> int:
        return days[-2] if self.counts else days

    def _prune(self, days_of: dict[str, Any]) -> None:
        """Forget values beyond the horizon, then all but the `limit` latest."""
        oldest = max(self._last(days) for days in days_of.values()) - self.horizon
        kept = [(self._last(days), value) for value, days in days_of.items() if self._last(days) > oldest]
        if len(kept) > self.limit:
            kept = sorted(kept)[-self.limit :]
        if len(kept) < len(days_of):
            keep = {value for _, value in kept}
            for value in [value for value in days_of if value not in keep]:
                del days_of[value]

    def merge(self, memories: list[dict[str, Any]]) -> dict[str, Any]:
        """Add up counts by value and day, or take the later day."""
        merged: dict[str, Any] = {}
        for memory in memories:
            for value, days in list(memory.items()):
                other = merged.get(value)
                if not self.counts:
                    merged[value] = days if other is None else max(other, days)
                else:
                    merged[value] = days[:] if other is None else self._together(other, days[:])
        if merged:
            self._prune(merged)
        return merged

    def _together(self, one: list[int], other: list[int]) -> list[int]:
        total: dict[int, int] = {}
        for days in (one, other):
            for at in range(0, len(days), 2):
                total[days[at]] = total.get(days[at], 0) + days[at + 1]
        oldest = max(total) - self.horizon
        return [number for day in sorted(total) if day > oldest for number in (day, total[day])]

    def last_days(self, state: State, oldest: int) -> dict[str, int]:
        """Last day of each value seen after day `oldest`."""
        days_of: dict[str, Any] = state.get(self.key, {})
        return {value: self._last(days) for value, days in list(days_of.items()) if self._last(days) > oldest}

    def distinct(self, days: int, limit: int) -> Read:
        """Reads the number of values of the last `days` days, at most `limit` (not above the memory's own)."""
        key, last = self.key, self._last

        def read(state: State, today: int) -> int:
            days_of = state.get(key)
            if days_of is None:
                return 0
            oldest, count = today - days, 0
            for seen in list(days_of.values()):
                if last(seen) > oldest:
                    count += 1
            return min(count, limit)

        return read

    def top(self, weights: tuple[int, ...], limit: int) -> Read:
        """Reads the value with the largest weighted count; None when there is none or more than `limit` compete."""
        key, last = self.key, len(weights) - 1

        def score_of(days: list[int], today: int) -> int:
            score = 0
            for at in range(len(days) - 2, -1, -2):
                age = today - days[at]
                if age > last:
                    break
                score += days[at + 1] * weights[age]
            return score

        def read(state: State, today: int) -> str | None:
            days_of = state.get(key)
            if days_of is None:
                return None
            scores = [(score_of(days[:], today), value) for value, days in list(days_of.items())]
            if len(scores) > limit and sum(1 for score, _ in scores if score) > limit:
                return None
            best, value = max(scores)
            return value if best else None

        return read


class Visits:
    """Sessions as intervals of activity for the last `horizon` days, in order: [start, end, start, end …]."""

    def __init__(self, key: str, gap: int, horizon: int) -> None:
        self.key = key
        self.gap = gap
        self.horizon = horizon

    def fold(self, state: State, event: Event, moment: Micros, day: int) -> None:
        """Add one event."""
        visits = state.get(self.key)
        if visits is None:
            state[self.key] = [moment, moment]
        elif moment - visits[-1] > self.gap:
            visits += (moment, moment)
            self._prune(visits, day)
        elif moment >= visits[-2]:
            if moment > visits[-1]:
                visits[-1] = moment
                if visits[1] < (day - self.horizon + 1) * DAY:
                    self._prune(visits, day)
        else:
            state[self.key] = self._union([*visits, moment, moment])

    def _prune(self, visits: list[int], day: int) -> None:
        oldest = (day - self.horizon + 1) * DAY
        stale = 0
        while visits[stale + 1] < oldest:
            stale += 2
        if stale:
            del visits[:stale]

    def _union(self, visits: list[int]) -> list[int]:
        pairs = sorted(zip(visits[::2], visits[1::2], strict=True))
        union: list[int] = []
        for start, end in pairs:
            if union and start - union[-1] <= self.gap:
                union[-1] = max(union[-1], end)
            else:
                union += (start, end)
        self._prune(union, union[-1] // DAY)
        return union

    def merge(self, memories: list[list[int]]) -> list[int]:
        """Union of the intervals."""
        return self._union([number for memory in memories for number in memory[:]])

    def count(self, days: int) -> Read:
        """Reads the number of sessions with activity in the last `days` days."""
        key = self.key

        def read(state: State, today: int) -> int:
            visits = state.get(key)
            if visits is None:
                return 0
            ends = visits[1::2]
            return len(ends) - bisect_left(ends, (today - days + 1) * DAY)

        return read
