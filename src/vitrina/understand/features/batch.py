"""The batch compiler: the same features for everyone, as one Ibis expression over the events of the lake.

Only what DuckDB and Spark both know is used. Every scan of the events is built apart, so that an engine that keeps
common table expressions in memory has none to keep; counts, sums and decay are integers, so that the result is the same
to the bit whatever the order of rows.
"""

# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# (Ibis: columns and methods that its type hints don't know.)

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ibis
import ibis.expr.types as ir

from vitrina.core.clock import DAY, SECOND, Micros, iso
from vitrina.understand.audiences.expression import column_resolver, compile_expression
from vitrina.understand.features.algebra import (
    LARGEST_AMOUNT,
    LINES,
    WEIGHT_ONE,
    Count,
    DaysSince,
    Decayed,
    Distinct,
    Events,
    Expression,
    Feature,
    Last,
    Ratio,
    Sessions,
    Sum,
    TopDecayed,
    decay_weights,
)
from vitrina.understand.features.fold import FeatureSet

__all__ = ["batch"]

_DAY_SECONDS = DAY // SECOND
_EPOCH = "1970-01-01T00:00:00Z"


def batch(feature_set: FeatureSet, events: ir.Table, as_of: Micros, identity: ir.Table | None = None) -> ir.Table:
    """Every feature as of a moment, one row a person with an event before it.

    Args:
        feature_set: the features.
        events: the lake's events (`vitrina.collect.tables`); each `message_id` once.
        as_of: only events whose `available_at` is before this moment count.
        identity: columns `subject` and `profile_id`; a subject that isn't in it is a profile of its own.

    Returns:
        An expression with the column `profile_id` and one column a feature: int64, float64 or string.
    """
    return _Batch(events, as_of, identity).table(feature_set.features)


class _Pass:
    """One aggregation of events by subject: measures by name, each with the way to put two subjects together."""

    def __init__(self, events: Events | None) -> None:
        self.events = events
        self.columns: set[str] = set() if events else {"type", "name", "trusted"}
        self.measures: dict[str, tuple[Callable[[ir.Table], Any], str]] = {}


class _Batch:
    """One compilation: the events, the moment, and what the features need of them."""

    def __init__(self, events: ir.Table, as_of: Micros, identity: ir.Table | None) -> None:
        self.events = events
        self.as_of = as_of
        self.today = as_of // DAY
        self.identity = identity
        self.passes: dict[str, _Pass] = {"": _Pass(None)}
        self.joined: dict[str, ir.Table] = {}

    def table(self, features: Iterable[Feature]) -> ir.Table:
        """The expression for all features."""
        finish = {feature.name: self._need(feature.expression) for feature in features}
        everyone, *others = [self._aggregate(one) for one in self.passes.values()]
        people = everyone
        for table in [*others, *self.joined.values()]:
            people = people.left_join(table, people.profile_id == table.profile_id, rname="{name}_").drop("profile_id_")
        return people.select("profile_id", **{name: finished(people) for name, finished in finish.items()})

    def _need(self, expression: Expression) -> Callable[[ir.Table], Any]:
        """Note what a feature needs; the answer turns it into the feature's column."""
        match expression:
            case Count() | Sum():
                name = self._measure(expression)
                return lambda people: people[name].fill_null(0)
            case Ratio(numerator=numerator, denominator=denominator):
                above, below = self._measure(numerator), self._measure(denominator)
                return lambda people: people[above].fill_null(0) / people[below].cast("float64").nullif(0.0)
            case DaysSince():
                name = self._seen(expression)
                return lambda people: _integer(self.today - _day(people[name]))
            case Decayed():
                name = self._decayed(expression)
                return lambda people: people[name].fill_null(0) / float(WEIGHT_ONE)
            case Distinct():
                name = self._distinct(expression)
                return lambda people: _integer(ibis.least(people[name].fill_null(0), expression.limit))
            case Last():
                name = self._last(expression)
                return lambda people: people[name]["value"]
            case TopDecayed():
                name = self._top(expression)
                return lambda people: people[name]
            case Sessions():
                name = self._sessions(expression)
                return lambda people: people[name].fill_null(0)

    def _rows(self, events: Events | None, columns: Iterable[str], days: int | None) -> ir.Table:
        """Events before the moment, with `subject` and `moment`; of one source, and of the last days, if given."""
        table = self.events
        keep = [table.available_at < _instant(self.as_of), ~_set_aside(table)]
        if events is not None:
            keep += _matches(table, events)
        if days is not None:
            oldest = self._oldest(days)
            keep += [table.occurred_at >= oldest, table.available_at >= oldest]
        taken = table.filter(keep)
        return taken.select("subject", *columns, moment=ibis.least(taken.occurred_at, taken.available_at))

    def _identified(self, rows: ir.Table) -> ir.Table:
        """The rows with `profile_id` in place of `subject`."""
        if self.identity is None:
            return rows.rename(profile_id="subject")
        known = self.identity.select(subject_="subject", profile_="profile_id")
        joined = rows.left_join(known, rows.subject == known.subject_)
        profile = ibis.coalesce(joined.profile_, joined.subject)
        return joined.mutate(profile_id=profile).drop("subject", "subject_", "profile_")

    def _aggregate(self, one: _Pass) -> ir.Table:
        """By subject first: that leaves few rows to join with the identity map."""
        rows = self._rows(one.events, sorted(one.columns), None)
        parts = {name: measure(rows) for name, (measure, _) in one.measures.items()}
        subjects = self._identified(rows.group_by("subject").aggregate(**parts))
        together = {name: getattr(subjects[name], combine)() for name, (_, combine) in one.measures.items()}
        whole = {name: _integer(total) if total.type().is_integer() else total for name, total in together.items()}
        return subjects.group_by("profile_id").aggregate(**whole)

    def _pass_for(self, events: Events) -> _Pass:
        """The pass over everything, or one of its own for a rule, which costs much a row and leaves few."""
        if events.where is None:
            return self.passes[""]
        return self.passes.setdefault(events.key, _Pass(events))

    def _measure(self, expression: Count | Sum) -> str:
        events, days = expression.events, expression.days
        column = expression.amount if isinstance(expression, Sum) else "count"
        name = f"{events.key}_{column}_{days or 'all'}"
        one = self._pass_for(events)
        if isinstance(expression, Sum):
            one.columns.add(expression.amount)

        def measure(rows: ir.Table) -> Any:
            where = self._where(rows, one, events, days)
            if isinstance(expression, Count):
                return rows.count(where=where)
            amount = rows[expression.amount].fill_null(0)
            return ibis.least(ibis.greatest(amount, -LARGEST_AMOUNT), LARGEST_AMOUNT).sum(where=where)

        one.measures[name] = (measure, "sum")
        return name

    def _seen(self, expression: DaysSince) -> str:
        events, extreme = expression.events, "min" if expression.which == "first" else "max"
        name = f"{events.key}_{expression.which}_seen"
        one = self._pass_for(events)

        def measure(rows: ir.Table) -> Any:
            return getattr(rows.moment, extreme)(where=self._where(rows, one, events, None))

        one.measures[name] = (measure, extreme)
        return name

    def _decayed(self, expression: Decayed) -> str:
        weights = decay_weights(expression.half_life)
        name = f"{expression.events.key}_decayed_{expression.half_life}"
        one = self._pass_for(expression.events)

        def measure(rows: ir.Table) -> Any:
            return self._weight(rows.moment, weights).sum(where=self._where(rows, one, expression.events, len(weights)))

        one.measures[name] = (measure, "sum")
        return name

    def _distinct(self, expression: Distinct) -> str:
        name = f"{expression.events.key}_{expression.field.replace('.', '_')}_distinct_{expression.days}"
        if expression.field == LINES:
            rows = self._rows(expression.events, ("products",), expression.days)
            lines = rows.select("subject", line=rows.products.unnest())
            lines = lines.filter(lines.line["kind"] == "sale")
            pairs = lines.select("subject", value=lines.line["product_id"])
            pairs = pairs.filter(pairs.value.notnull(), pairs.value != "")
        else:
            pairs = self._valued(expression.events, expression.field, expression.days).drop("moment")
        different = self._identified(pairs.distinct())
        if self.identity is not None:
            different = different.distinct()
        self.joined[name] = different.group_by("profile_id").aggregate(**{name: different.count()})
        return name

    def _last(self, expression: Last) -> str:
        name = f"{expression.events.key}_{expression.field}_last"
        one = self._pass_for(expression.events)
        one.columns.add(expression.field)

        def measure(rows: ir.Table) -> Any:
            value = rows[expression.field]
            where = ibis.and_(value.notnull(), value != "", *self._conditions(rows, one, expression.events, None))
            return ibis.struct({"moment": rows.moment, "value": value}).max(where=where)

        one.measures[name] = (measure, "max")
        return name

    def _top(self, expression: TopDecayed) -> str:
        """Add up by subject and value first, then choose among a person's few values."""
        name = f"{expression.events.key}_{expression.field}_top_{expression.half_life}"
        weights = decay_weights(expression.half_life)
        rows = self._valued(expression.events, expression.field, len(weights))
        scores = rows.group_by("subject", "value").aggregate(score=self._weight(rows.moment, weights).sum())
        scores = self._identified(scores)
        values = scores.group_by("profile_id", "value").aggregate(score=_integer(scores.score.sum()))
        people = values.group_by("profile_id").aggregate(
            best=ibis.struct({"score": values.score, "value": values.value}).max(), competing=values.count()
        )
        chosen = (people.competing <= expression.limit).ifelse(people.best["value"], ibis.null("string"))
        self.joined[name] = people.select("profile_id", **{name: chosen})
        return name

    def _valued(self, events: Events, field: str, days: int | None) -> ir.Table:
        """Rows that have a value: `subject`, `moment`, `value`."""
        rows = self._rows(events, (field,), days)
        rows = rows.select("subject", "moment", value=rows[field])
        return rows.filter(rows.value.notnull(), rows.value != "")

    def _sessions(self, expression: Sessions) -> str:
        name = f"{expression.events.key}_sessions_{expression.days}_{expression.gap}"
        rows = self._identified(self._rows(expression.events, (), expression.days))
        before = rows.moment.lag().over(group_by=rows.profile_id, order_by=rows.moment)
        gap = ibis.interval(seconds=expression.gap // SECOND)
        starts = rows.select("profile_id", start=before.isnull() | (rows.moment > before + gap))
        self.joined[name] = starts.group_by("profile_id").aggregate(**{name: starts.count(where=starts.start)})
        return name

    def _where(self, rows: ir.Table, one: _Pass, events: Events, days: int | None) -> Any:
        conditions = self._conditions(rows, one, events, days)
        return ibis.and_(*conditions) if conditions else None

    def _conditions(self, rows: ir.Table, one: _Pass, events: Events, days: int | None) -> list[Any]:
        conditions = _matches(rows, events) if one.events is None else []
        if days is not None:
            conditions.append(rows.moment >= self._oldest(days))
        return conditions

    def _oldest(self, days: int) -> Any:
        return _instant((self.today - days + 1) * DAY)

    def _weight(self, moment: Any, weights: tuple[int, ...]) -> Any:
        """The weight of an event by its age in whole days, as a search tree over the days' beginnings.

        (Engines take a hundred times longer to turn a timestamp with a zone into a day.)
        """

        def between(youngest: int, oldest: int) -> Any:
            if youngest == oldest:
                return ibis.literal(weights[youngest], type="int64")
            middle = (youngest + oldest) // 2
            newer = moment >= self._oldest(middle + 1)
            return newer.ifelse(between(youngest, middle), between(middle + 1, oldest))

        return between(0, len(weights) - 1)


def _set_aside(table: ir.Table) -> Any:
    """Events that the tracking plan quarantined (`vitrina.core.event.Event.set_aside`); older files don't say."""
    return table.quarantined & (table.violation.fill_null("") != "")


def _matches(table: ir.Table, events: Events) -> list[Any]:
    """Conditions, each true or false, that all hold for the events of a source."""
    conditions: list[Any] = []
    named = (table.type == "track") & table.name.isin(events.names) if events.names else None
    typed = table.type.isin(events.types) if events.types else None
    if named is not None and typed is not None:
        conditions.append(named | typed)
    elif named is not None or typed is not None:
        conditions.append(named if typed is None else typed)
    if events.trusted:
        conditions.append(table.trusted)
    if events.where is not None:
        conditions.append(compile_expression(events.where, column_resolver(table, properties="properties")))
    return conditions


def _integer(total: Any) -> Any:
    """The sum as int64: engines widen it, and Ibis leaves out a cast to what it believes the type to be already."""
    return total.cast("decimal(38, 0)").cast("int64")


def _instant(at: Micros) -> Any:
    return ibis.literal(iso(at)).cast("timestamp('UTC')")


def _day(moment: Any) -> Any:
    """UTC day since 1970 of a timestamp."""
    return moment.delta(ibis.literal(_EPOCH).cast("timestamp('UTC')"), unit="second") // _DAY_SECONDS
