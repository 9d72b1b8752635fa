"""What the fold remembers of one person, one class a kind of memory.

States are lists and dictionaries of integers and text, so that they can be stored as JSON or MessagePack. Every fold is
commutative: the values read later depend on the set of events, not on their order (what is pruned is out of every
later window). One thread may fold while another reads or merges: readers take a copy of a list in one step, so they
may see an event half-applied across memories, but never fail.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from vitrina.core.clock import DAY, Micros
from vitrina.core.event import Event

__all__ = ["Accumulator", "ByDay", "DaysByValue", "Latest", "Seen", "State", "Values", "Visits"]

State = dict[str, Any]
"""Memory of one leaf or profile: accumulator key → lists and dictionaries of integers and text."""

Values = Callable[[Event], Iterable[str]]


class Accumulator(Protocol):
    """One kind of memory under one key of the state."""

    key: str

    def fold(self, state: State, event: Event, moment: Micros, day: int) -> None:
        """Add an event that happened at `moment`, on UTC day `day` since 1970."""
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

    def fold(self, state: State, event: Event, moment: Micros, day: int) -> None:
        """Add one event."""
        row = [1, *[read(event) for read in self.amounts]] if self.amounts else [1]
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

    def total(self, state: State, column: int) -> int:
        """Sum of a column over all time."""
        rows = state.get(self.key)
        return rows[column] if rows is not None else 0

    def window(self, state: State, column: int, oldest: int) -> int:
        """Sum of a column over the days after `oldest`."""
        rows = state.get(self.key)
        if rows is None:
            return 0
        rows = rows[:]
        stride = self.width + 1
        total = 0
        for at in range(len(rows) - stride, self.width - 1, -stride):
            if rows[at] <= oldest:
                break
            total += rows[at + 1 + column]
        return total

    def weighted(self, state: State, today: int, weights: tuple[int, ...]) -> int:
        """Sum of counts, each times the weight of its age in days."""
        rows = state.get(self.key)
        if rows is None:
            return 0
        rows = rows[:]
        total, last = 0, len(weights) - 1
        for at in range(self.width, len(rows), self.width + 1):
            age = today - rows[at]
            if age <= last:
                total += rows[at + 1] * weights[age]
        return total


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


class Latest:
    """The value of the latest moment, the larger text on a tie: [moment, value]."""

    def __init__(self, key: str, values: Values) -> None:
        self.key = key
        self.values = values

    def fold(self, state: State, event: Event, moment: Micros, day: int) -> None:
        """Add one event."""
        for value in self.values(event):
            latest = state.get(self.key)
            if latest is None or moment > latest[0] or (moment == latest[0] and value > latest[1]):
                state[self.key] = [moment, value]

    def merge(self, memories: list[list[Any]]) -> list[Any]:
        """The later one."""
        return list(max(memories))


class DaysByValue:
    """Days by value for the last `horizon` days: {value: [day, count, day, count …]} or, uncounted, {value: [last day]}.

    Only the `limit` values of the latest days are sure to be kept (ties by text), so that a robot can't fill the
    memory; features are defined so that no more are needed.
    """

    def __init__(self, key: str, values: Values, horizon: int, limit: int, *, counts: bool) -> None:
        self.key = key
        self.values = values
        self.horizon = horizon
        self.limit = limit
        self.counts = counts

    def fold(self, state: State, event: Event, moment: Micros, day: int) -> None:
        """Add one event."""
        days_of = state.get(self.key)
        if days_of is None:
            days_of = state[self.key] = {}
        for value in self.values(event):
            days = days_of.get(value)
            if days is None:
                days_of[value] = [day, 1] if self.counts else [day]
                size = len(days_of)
                if size >= 16 and (size & (size - 1) == 0 or size > 2 * self.limit):
                    self._prune(days_of)
            elif self.counts:
                self._count(days, day)
            elif day > days[0]:
                days[0] = day

    def _count(self, days: list[int], day: int) -> None:
        if days[-2] == day:
            days[-1] += 1
            return
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

    def _last(self, days: list[int]) -> int:
        return days[-2] if self.counts else days[0]

    def _prune(self, days_of: dict[str, list[int]]) -> None:
        """Forget values beyond the horizon, then all but the `limit` latest."""
        oldest = max(self._last(days) for days in days_of.values()) - self.horizon
        kept = [(self._last(days), value) for value, days in days_of.items() if self._last(days) > oldest]
        if len(kept) > self.limit:
            kept = sorted(kept)[-self.limit :]
        if len(kept) < len(days_of):
            keep = {value for _, value in kept}
            for value in [value for value in days_of if value not in keep]:
                del days_of[value]

    def merge(self, memories: list[dict[str, list[int]]]) -> dict[str, list[int]]:
        """Add up counts by value and day."""
        merged: dict[str, list[int]] = {}
        for memory in memories:
            for value, days in list(memory.items()):
                other = merged.get(value)
                merged[value] = days[:] if other is None else self._together(other, days[:])
        if merged:
            self._prune(merged)
        return merged

    def _together(self, one: list[int], other: list[int]) -> list[int]:
        if not self.counts:
            return [max(one[0], other[0])]
        total: dict[int, int] = {}
        for days in (one, other):
            for at in range(0, len(days), 2):
                total[days[at]] = total.get(days[at], 0) + days[at + 1]
        oldest = max(total) - self.horizon
        return [number for day in sorted(total) if day > oldest for number in (day, total[day])]

    def last_days(self, state: State, oldest: int) -> dict[str, int]:
        """Last day of each value seen after day `oldest`."""
        days_of: dict[str, list[int]] = state.get(self.key, {})
        return {value: self._last(days) for value, days in list(days_of.items()) if self._last(days) > oldest}

    def distinct(self, state: State, oldest: int, limit: int) -> int:
        """Number of values seen after day `oldest`, at most `limit` (which is not above the memory's own)."""
        days_of = state.get(self.key)
        if days_of is None:
            return 0
        count = 0
        for days in list(days_of.values()):
            if self._last(days) > oldest:
                count += 1
        return min(count, limit)

    def top(self, state: State, today: int, weights: tuple[int, ...], limit: int) -> str | None:
        """The value with the largest weighted count; None when there is none or more than `limit` compete."""
        days_of = state.get(self.key)
        if days_of is None:
            return None
        best, best_value, competing, last = 0, None, 0, len(weights) - 1
        for value, live in list(days_of.items()):
            days, score = live[:], 0
            for at in range(len(days) - 2, -1, -2):
                age = today - days[at]
                if age > last:
                    break
                score += days[at + 1] * weights[age]
            if score:
                competing += 1
                if score > best or (score == best and (best_value is None or value > best_value)):
                    best, best_value = score, value
        return best_value if competing <= limit else None


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

    def count(self, state: State, oldest: int) -> int:
        """Sessions with activity after day `oldest`."""
        visits = state.get(self.key)
        if visits is None:
            return 0
        ends = visits[1::2]
        return len(ends) - bisect_left(ends, (oldest + 1) * DAY)
