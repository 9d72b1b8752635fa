"""Outcomes: events that name a decision are credited to it, once, within its window, reversed when money goes back."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection, select, text

from vitrina.core.catalogue import OutcomeRule, Placement
from vitrina.core.clock import DAY, MINUTE
from vitrina.core.decision import DecisionRow
from vitrina.core.event import CLICK, ORDER, REFUND, Event
from vitrina.core.ids import hash16
from vitrina.core.outcome import Outcome
from vitrina.decide.candidates import Candidates
from vitrina.decide.log import DecisionLog
from vitrina.decide.tables import outcome as outcome_table
from vitrina.storage.journal import Journal, JournalRow
from vitrina.storage.owed import Owed
from vitrina.storage.store import Store

__all__ = ["DEFAULT_RULES", "OutcomeLog", "outcome_rules"]

log = logging.getLogger(__name__)

WINDOW = 7 * DAY
EARLY = MINUTE
"""An event may be this much older than its decision: clocks differ."""

DEFAULT_RULES: tuple[OutcomeRule, ...] = (
    OutcomeRule(event=ORDER, window=WINDOW),
    OutcomeRule(event=REFUND, sign=-1, window=WINDOW),
    OutcomeRule(event=CLICK, weak=True, window=WINDOW),
)
"""Outcomes of a placement that names none. A refund that names a credited order reverses it however late it comes."""

_REMEMBERED = 20_000
_INSERT = text(
    "insert into outcome (id, decision_id, offer_id, position, kind, event, message_id, order_id, at, value, currency, "
    "trusted, placement, subject) values (:id, :decision_id, :offer_id, :position, :kind, :event, :message_id, "
    ":order_id, :at, :value, :currency, :trusted, :placement, :subject) on conflict do nothing"
)
_encode = msgspec.msgpack.Encoder().encode


class Lists(Protocol):
    """Where lists of candidates are found by number."""

    def numbered(self, number: int) -> Candidates | None:
        """The list, or None."""
        ...


def outcome_rules(placement: Placement) -> tuple[OutcomeRule, ...]:
    """The outcomes that a placement is credited with."""
    return placement.outcomes or DEFAULT_RULES


class OutcomeLog:
    """Credits events to decisions and keeps the outcomes (table `outcome`, journal `outcomes`).

    Attributes:
        owed: outcomes that are queued; the fold's offset waits for them.
        refused: reason → how many events named a decision and were not credited: `decision.unknown`,
            `decision.preview`, `offer.other`, `event.other`, `window`, `currency.other`, `order.unknown`.
    """

    def __init__(self, store: Store, journal: Journal, decisions: DecisionLog, lists: Lists) -> None:
        self._store = store
        self.journal = journal
        self._decisions = decisions
        self._lists = lists
        self._orders: OrderedDict[str, list[Outcome]] = OrderedDict()
        self.refused: Counter[str] = Counter()
        self.owed = Owed()

    def join(self, event: Event) -> Outcome | None:
        """Credit one event, called in the fold in order; None when it is no outcome.

        Folding an event again is harmless: the same outcome has the same id. Nothing is waited for; the write is
        queued before the fold's own offset, and is `owed`, so neither a crash nor a full disk can lose it.
        """
        if event.decision_id is None and (event.name != REFUND or event.order_id is None):
            return None
        credited = self._credit(event)
        if credited is None:
            return None
        key = _key(credited)
        row = JournalRow(key, credited.at, credited.subject, _encode(credited), credited)
        self.owed.queue(lambda: self._store.writer.append(self.journal, [row]))
        self.owed.queue(lambda: self._store.writer.call(_insert([(key, credited)])))
        if credited.order_id is not None:
            self._remember(credited.order_id, key, credited)
        return credited

    def of_decision(self, decision_id: str) -> tuple[Outcome, ...]:
        """Outcomes of a decision, oldest first."""
        return self.of_decisions([decision_id]).get(decision_id, ())

    def of_decisions(self, decision_ids: Sequence[str]) -> dict[str, tuple[Outcome, ...]]:
        """Outcomes of several decisions, oldest first; a decision without any is left out."""
        table = outcome_table
        query = select(table).where(table.c.decision_id.in_(list(decision_ids))).order_by(table.c.at, table.c.id)
        found: dict[str, tuple[Outcome, ...]] = {}
        with self._store.read() as connection:
            for row in connection.execute(query):
                credited = _outcome(row)
                found[credited.decision_id] = (*found.get(credited.decision_id, ()), credited)
        return found

    def forget(self, subjects: set[str]) -> None:
        """Drop these people's outcomes from memory."""
        for order, known in list(self._orders.items()):
            if any(credited.subject in subjects for credited in known):
                del self._orders[order]

    def _credit(self, event: Event) -> Outcome | None:
        if event.decision_id is None:
            return self._reverse_order(event)
        row = self._decisions.find(event.decision_id)
        if row is None:
            return self._refuse("decision.unknown", event)
        if row.preview or row.replayed:
            return self._refuse("decision.preview", event)
        candidates = self._lists.numbered(row.catalogue)
        if candidates is None:
            return self._refuse("decision.unknown", event)
        position = _position(row, candidates, event)
        if position is None:
            return self._refuse("offer.other", event)
        rule = next((rule for rule in outcome_rules(candidates.placement) if rule.event == event.name), None)
        if rule is None:
            return None if event.name == "Promotion Viewed" else self._refuse("event.other", event)
        if rule.sign < 0 and event.order_id is not None:
            return self._reverse_order(event)
        if not row.at - EARLY <= event.occurred_at < row.at + rule.window:
            return self._refuse("window", event)
        if event.currency is not None and row.currency and event.currency != row.currency and not rule.weak:
            return self._refuse("currency.other", event)
        return _outcome_of(event, row, candidates, position, rule)

    def _reverse_order(self, event: Event) -> Outcome | None:
        """Take back what an order earned: at most what is left of it, trusted only where both are."""
        assert event.order_id is not None
        known = self._of_order(event.order_id)
        for sale in known:
            if sale.kind != "conversion" or sale.trusted != (event.trusted and not event.quarantined):
                continue
            if event.decision_id not in (None, sale.decision_id) or event.offer_id not in (None, sale.offer_id):
                continue
            if event.currency is not None and event.currency != sale.currency:
                return self._refuse("currency.other", event)
            taken = -sum(
                each.value or 0
                for each in known
                if each.kind == "reversal" and _same(each, sale) and each.message_id != event.message_id
            )
            left = max((sale.value or 0) - taken, 0)
            loss = left if event.value is None else min(abs(event.value), left)
            return msgspec.structs.replace(
                sale,
                kind="reversal",
                event=event.name,
                message_id=event.message_id,
                at=event.occurred_at,
                value=-loss,
                subject=event.subject,
            )
        return self._refuse("order.unknown", event)

    def _of_order(self, order_id: str) -> list[Outcome]:
        known = self._orders.get(order_id)
        if known is None:
            query = select(outcome_table).where(outcome_table.c.order_id == order_id).order_by(outcome_table.c.at)
            with self._store.read() as connection:
                known = [_outcome(row) for row in connection.execute(query)]
        return known

    def _remember(self, order_id: str, key: bytes, credited: Outcome) -> None:
        known = self._of_order(order_id)
        if any(_key(each) == key for each in known):
            known = [each for each in known if _key(each) != key]
        self._orders[order_id] = [*known, credited]
        if len(self._orders) > _REMEMBERED:
            self._orders.popitem(last=False)

    def _refuse(self, reason: str, event: Event) -> None:
        if reason == "order.unknown" and event.decision_id is None:
            return  # a refund of an order that no decision was credited with
        self.refused[reason] += 1
        log.debug("an outcome of the decision %s is not credited: %s", event.decision_id, reason)


def _position(row: DecisionRow, candidates: Candidates, event: Event) -> int | None:
    """The place in the slate that the event means: by offer, by product, or the only one."""
    shown = [candidates.offer_ids[k] for k in row.items]
    for named in (event.offer_id, event.product_id):
        if named is not None and named in shown:
            return shown.index(named)
    if event.offer_id is None and len(shown) == 1:
        return 0
    return None


def _outcome_of(event: Event, row: DecisionRow, candidates: Candidates, position: int, rule: OutcomeRule) -> Outcome:
    k = row.items[position]
    kind = "click" if rule.weak else "conversion" if rule.sign > 0 else "reversal"
    value: int | None = None
    if not rule.weak:
        value = rule.value if rule.value is not None else event.value
        value = rule.sign * abs(value) if rule.sign < 0 and value is not None else value
        if value is None:
            value = rule.sign * round(float(candidates.margin[k]))
    return Outcome(
        decision_id=row.id,
        offer_id=candidates.offer_ids[k],
        position=position,
        kind=kind,
        event=event.name,
        message_id=event.message_id,
        order_id=event.order_id,
        at=event.occurred_at,
        value=value,
        currency=row.currency if value is not None else None,
        trusted=not event.quarantined and (rule.weak or event.trusted),
        placement=row.placement,
        subject=event.subject,
    )


def _same(one: Outcome, other: Outcome) -> bool:
    return (one.decision_id, one.offer_id, one.trusted) == (other.decision_id, other.offer_id, other.trusted)


def _key(credited: Outcome) -> bytes:
    """What makes an outcome the same: a click an item, a conversion an order, a reversal a message; forged apart."""
    once = {"click": "", "conversion": credited.order_id or credited.message_id}.get(credited.kind, credited.message_id)
    parts = (credited.decision_id, credited.offer_id, credited.kind, once, str(credited.trusted))
    return hash16("\n".join(parts), b"outcome")


def _insert(outcomes: Sequence[tuple[bytes, Outcome]]) -> Callable[[Connection], None]:
    values = [{**msgspec.structs.asdict(credited), "id": key} for key, credited in outcomes]

    def insert(connection: Connection) -> None:
        connection.execute(_INSERT, values)

    return insert


def _outcome(row: Any) -> Outcome:
    fields: dict[str, Any] = {**row._mapping, "trusted": bool(row.trusted)}
    del fields["id"]
    return Outcome(**fields)
