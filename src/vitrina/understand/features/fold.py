"""The incremental compiler: features kept up to date event by event, for one leaf or profile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vitrina.core.clock import DAY, SECOND, Micros
from vitrina.core.errors import UserError
from vitrina.core.event import Event
from vitrina.core.predicate import Predicate
from vitrina.understand.audiences.closure import compile_reader
from vitrina.understand.features import accumulators as memory
from vitrina.understand.features.accumulators import Accumulator, Fold, Read, State
from vitrina.understand.features.algebra import (
    LINES,
    Amount,
    Count,
    DaysSince,
    Decayed,
    Distinct,
    Events,
    Expression,
    Feature,
    Field,
    Last,
    Lines,
    Ratio,
    Sessions,
    Sum,
    TopDecayed,
    decay_weights,
)
from vitrina.understand.features.reading import amount_reader, field_reader

__all__ = ["FeatureSet", "Value"]

Value = int | float | str | None


class FeatureSet:
    """A numbered, ordered list of features with their incremental form.

    Args:
        features: the features; names are unique.
        number: version of the list; it is written beside every decision, and a state of another number is stale.

    Raises:
        UserError: two features share a name, or two sources of events share a key but differ, or a field is unknown.

    >>> from vitrina.understand.features.commerce import FEATURES, NUMBER
    >>> feature_set = FeatureSet(FEATURES, NUMBER)
    >>> feature_set.values({}, 0)["orders_90d"]
    0
    """

    def __init__(self, features: Sequence[Feature], number: int) -> None:
        self.features = tuple(features)
        self.number = number
        self.names = tuple(feature.name for feature in features)
        if len(set(self.names)) < len(self.names):
            double = next(name for name in self.names if self.names.count(name) > 1)
            raise UserError(f"two features are called {double}.", code="feature.double", cure="Rename one of them.")
        plan = _Plan()
        for feature in features:
            plan.need(feature.expression)
        self._accumulators = plan.build()
        self._day = 0
        self._readers = tuple((feature.name, self._reader(feature.expression)) for feature in features)
        self._tracks, self._types, self._rest_track, self._rest = plan.dispatch(self._accumulators)

    def fold(self, state: State, event: Event) -> None:
        """Add one event to a leaf's state, in place.

        The caller drops repeats (by message id) and keeps an event back until its `available_at` has passed; then the
        order of events doesn't matter.
        """
        if not state:
            state["set"] = self.number
        moment = event.occurred_at
        if event.available_at < moment:
            moment = event.available_at
        day = moment // DAY
        if day == self._day:
            day = self._day  # memories of all people share the number
        else:
            self._day = day
        if event.type == "track":
            for fold in self._tracks.get(event.name, self._rest_track):
                fold(state, event, moment, day)
        else:
            for fold in self._types.get(event.type, self._rest):
                fold(state, event, moment, day)

    def merge(self, states: Iterable[State]) -> State:
        """The state of one person from those of their leaves, as if all events had been folded into one.

        The parts are not changed. A stale state (see `stale`) counts as empty.
        """
        current = [state for state in states if state.get("set") == self.number]
        if len(current) == 1:
            return current[0]
        merged: State = {"set": self.number} if current else {}
        for accumulator in self._accumulators.values():
            memories = [state[accumulator.key] for state in current if accumulator.key in state]
            if memories:
                merged[accumulator.key] = accumulator.merge(memories)
        return merged

    def stale(self, state: State) -> bool:
        """True when the state was folded by another version of the set and has to be folded anew from the events."""
        return bool(state) and state.get("set") != self.number

    def values(self, state: State, now: Micros) -> dict[str, Value]:
        """Every feature as of `now`, in order. `now` is not before any event that was folded."""
        today = now // DAY
        return {name: read(state, today) for name, read in self._readers}

    def last_days(self, state: State, name: str, now: Micros) -> dict[str, int]:
        """For a `Distinct` feature: each value in the window, with the UTC day (since 1970) it was last seen.

        `last_days(state, "products_bought_365d", now)` says what a person bought, and when.
        """
        expression = next((feature.expression for feature in self.features if feature.name == name), None)
        if not isinstance(expression, Distinct):
            raise UserError(
                f"{name} does not count different values.",
                code="feature.kind",
                where=name,
                cure="Name a feature of the kind Distinct.",
            )
        accumulator = self._accumulators[_key(expression)]
        assert isinstance(accumulator, memory.DaysByValue)
        return accumulator.last_days(state, now // DAY - expression.days)

    def _reader(self, expression: Expression) -> Read:
        return _READERS[type(expression)](expression, self._accumulators)


class _Plan:
    """Which memories a set of features needs: shared where two features look at the same events."""

    def __init__(self) -> None:
        self.sources: dict[str, Events] = {}
        self.owner: dict[str, str] = {}
        self.by_day: dict[str, tuple[tuple[Amount, ...], int]] = {}
        self.others: dict[str, tuple[Expression, int, int]] = {}

    def need(self, expression: Expression) -> None:
        """Note what one feature needs."""
        if isinstance(expression, Ratio):
            self.need(expression.numerator)
            self.need(expression.denominator)
            return
        events = expression.events
        if self.sources.setdefault(events.key, events) != events:
            raise UserError(
                f"two different sources of events share the key {events.key}.",
                code="feature.key",
                where=events.key,
                cure="Give one of them another key.",
            )
        match expression:
            case Count() | Sum():
                self._days(events.key, expression.amount if isinstance(expression, Sum) else None, expression.days or 0)
            case Decayed():
                self._days(events.key, None, len(decay_weights(expression.half_life)))
            case TopDecayed():
                self._other(expression, len(decay_weights(expression.half_life)), expression.limit + 1)
            case Distinct():
                self._other(expression, expression.days, expression.limit)
            case Sessions():
                self._other(expression, expression.days, 0)
            case Last() | DaysSince():
                self._other(expression, 0, 0)

    def _days(self, key: str, amount: Amount | None, days: int) -> None:
        amounts, horizon = self.by_day.get(key, ((), 0))
        if amount is not None and amount not in amounts:
            amounts = (*amounts, amount)
        self.by_day[key] = (amounts, max(horizon, days))
        self.owner[key] = key

    def _other(self, expression: DaysSince | Distinct | Last | Sessions | TopDecayed, horizon: int, limit: int) -> None:
        key = _key(expression)
        _, before, bound = self.others.get(key, (expression, 0, 0))
        self.others[key] = (expression, max(before, horizon), max(bound, limit))
        self.owner[key] = expression.events.key

    def build(self) -> dict[str, Accumulator]:
        """The memories by key."""
        built: dict[str, Accumulator] = {}
        for key, (amounts, horizon) in self.by_day.items():
            built[key] = memory.ByDay(key, tuple(amount_reader(amount) for amount in amounts), horizon, amounts)
        for key, (expression, horizon, limit) in self.others.items():
            match expression:
                case TopDecayed() | Distinct():
                    built[key] = memory.DaysByValue(
                        key,
                        _value_reader(expression.field),
                        horizon,
                        limit,
                        counts=isinstance(expression, TopDecayed),
                        several=expression.field == LINES,
                    )
                case Sessions():
                    built[key] = memory.Visits(key, expression.gap, horizon)
                case Last():
                    built[key] = memory.Latest(key, _value_reader(expression.field))
                case _:
                    built[key] = memory.Seen(key)
        return built

    def dispatch(
        self, accumulators: dict[str, Accumulator]
    ) -> tuple[dict[str, tuple[Fold, ...]], dict[str, tuple[Fold, ...]], tuple[Fold, ...], tuple[Fold, ...]]:
        """What to call by track name, by other type, for any other track, and for any other type."""
        tracks: dict[str, list[Fold]] = {name: [] for events in self.sources.values() for name in events.names}
        types: dict[str, list[Fold]] = {kind: [] for events in self.sources.values() for kind in events.types}
        rest: list[Fold] = []
        for key, accumulator in accumulators.items():
            events = self.sources[self.owner[key]]
            fold = _guarded(events, accumulator.fold)
            everything = not events.names and not events.types
            places = [tracks[name] for name in events.names] + [types[kind] for kind in events.types]
            for place in [*tracks.values(), *types.values(), rest] if everything else places:
                place.append(fold)
        rest_track = [*rest, *(fold for fold in types.get("track", ()) if fold not in rest)]
        for folds in tracks.values():
            folds += [fold for fold in rest_track if fold not in folds]
        return (
            {name: tuple(folds) for name, folds in tracks.items()},
            {kind: tuple(folds) for kind, folds in types.items()},
            tuple(rest_track),
            tuple(rest),
        )


def _guarded(events: Events, fold: Fold) -> Fold:
    """The fold, behind the conditions that the event's name doesn't decide."""
    where: Predicate | None = events.where
    if where is None and not events.trusted:
        return fold
    holds = compile_reader(where, field_reader) if where is not None else None
    trusted = events.trusted

    def guarded(state: State, event: Event, moment: Micros, day: int) -> None:
        if (event.trusted or not trusted) and (holds is None or holds(event)):
            fold(state, event, moment, day)

    return guarded


def _value_reader(field: Field | Lines) -> memory.ReadText:
    if field == LINES:
        return lambda event: {line.product_id for line in event.products if line.kind == "sale" and line.product_id}
    return field_reader(field)


def _key(expression: DaysSince | Distinct | Last | Sessions | TopDecayed) -> str:
    """Where the memory of an expression lies in the state."""
    key = expression.events.key
    match expression:
        case DaysSince():
            return f"{key}.seen"
        case Distinct(field=field):
            return f"{key}.{field}.days"
        case Last(field=field):
            return f"{key}.{field}.last"
        case Sessions(gap=gap):
            return f"{key}.visits.{gap // SECOND}s"
        case TopDecayed(field=field):
            return f"{key}.{field}.counts"


def _read_amount(expression: Count | Sum, accumulators: dict[str, Accumulator]) -> Read:
    by_day = accumulators[expression.events.key]
    assert isinstance(by_day, memory.ByDay)
    column = 0 if isinstance(expression, Count) else 1 + by_day.names.index(expression.amount)
    return by_day.total(column) if expression.days is None else by_day.window(column, expression.days)


def _read_ratio(expression: Ratio, accumulators: dict[str, Accumulator]) -> Read:
    above = _read_amount(expression.numerator, accumulators)
    below = _read_amount(expression.denominator, accumulators)

    def read(state: State, today: int) -> float | None:
        divisor = below(state, today)
        return above(state, today) / divisor if divisor else None

    return read


def _read_days_since(expression: DaysSince, accumulators: dict[str, Accumulator]) -> Read:
    seen = accumulators[_key(expression)]
    assert isinstance(seen, memory.Seen)
    return seen.days_since(0 if expression.which == "first" else 1)


def _read_distinct(expression: Distinct, accumulators: dict[str, Accumulator]) -> Read:
    days_of = accumulators[_key(expression)]
    assert isinstance(days_of, memory.DaysByValue)
    return days_of.distinct(expression.days, expression.limit)


def _read_last(expression: Last, accumulators: dict[str, Accumulator]) -> Read:
    latest = accumulators[_key(expression)]
    assert isinstance(latest, memory.Latest)
    return latest.value()


def _read_sessions(expression: Sessions, accumulators: dict[str, Accumulator]) -> Read:
    visits = accumulators[_key(expression)]
    assert isinstance(visits, memory.Visits)
    return visits.count(expression.days)


def _read_decayed(expression: Decayed, accumulators: dict[str, Accumulator]) -> Read:
    by_day = accumulators[expression.events.key]
    assert isinstance(by_day, memory.ByDay)
    return by_day.weighted(decay_weights(expression.half_life))


def _read_top(expression: TopDecayed, accumulators: dict[str, Accumulator]) -> Read:
    days_of = accumulators[_key(expression)]
    assert isinstance(days_of, memory.DaysByValue)
    return days_of.top(decay_weights(expression.half_life), expression.limit)


_READERS: dict[type, Callable[[Any, dict[str, Accumulator]], Read]] = {
    Count: _read_amount,
    Sum: _read_amount,
    Ratio: _read_ratio,
    DaysSince: _read_days_since,
    Distinct: _read_distinct,
    Last: _read_last,
    Sessions: _read_sessions,
    Decayed: _read_decayed,
    TopDecayed: _read_top,
}
