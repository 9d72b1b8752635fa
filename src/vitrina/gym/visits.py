"""Visitors of a simulated shop, sent through the workspace as a page and a shop's server would send them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from vitrina.core.access import Caller, Source
from vitrina.core.clock import DAY, SECOND, Micros, SimulatedClock, iso
from vitrina.core.decision import Answer, DecideRequest
from vitrina.core.event import CLICK, ORDER, REFUND, VIEW
from vitrina.gym.market import CURRENCY, Market, Person
from vitrina.gym.score import Score, share_of_oracle
from vitrina.workspace import Workspace

__all__ = ["Tally", "Visits", "furnish"]

PAGE = Source("page", "write", trusted=False)
SERVER = Source("server", "secret", trusted=True)
CALLER = Caller("server", "secret", frozenset({"decide"}))

Progress = Callable[[int, int], None]
Message = dict[str, Any]


class Tally(msgspec.Struct):
    """What happened in the simulation, as only the simulation knows it; money in minor units."""

    visits: int = 0
    decisions: int = 0
    holdout: int = 0
    contextual: int = 0
    clicks: int = 0
    orders: int = 0
    refunds: int = 0
    margin: int = 0
    refunded: int = 0


def furnish(workspace: Workspace, market: Market) -> None:
    """Put the market's offers, creatives and placement into the workspace's catalogue."""
    workspace.catalogue.put_all(list(market.offers))
    workspace.catalogue.put_all(list(market.creatives))
    workspace.catalogue.put(market.placement)


class Visits:
    """Drives a workspace with the visitors of a market.

    Args:
        clock: the workspace's clock; it is moved forward here.
        seed: of who comes and what they do; another seed is another fortnight of the same people.
        together: visitors who are on the site at the same moment.

    Attributes:
        tally: what happened so far.
    """

    def __init__(
        self, workspace: Workspace, market: Market, clock: SimulatedClock, *, seed: int = 1, together: int = 20
    ) -> None:
        self.tally = Tally()
        self._workspace = workspace
        self._market = market
        self._clock = clock
        self._together = together
        self._rng = np.random.default_rng([seed, 2])
        self._signed_in = {person.number for person in market.people if person.user_id is not None}
        self._met: set[int] = set()
        self._recent: list[int] = []
        self._due: list[tuple[Micros, int, Message]] = []
        self._clicks: list[Message] = []
        self._messages = 0
        self._orders = 0
        self._scores: list[tuple[int, float, float, float]] = []

    def run(self, visits: int, days: float = 14.0, progress: Progress | None = None) -> None:
        """Let `visits` visitors come over `days`, evenly, and send what they and the shop do."""
        rounds = -(-visits // self._together)
        start, span = self._clock.now(), int(days * DAY)
        for number in range(rounds):
            self._clock.set(start + (number + 1) * span // rounds)
            self._round(min(self._together, visits - number * self._together))
            if progress is not None:
                progress(self.tally.visits, visits)

    def move_to(self, workspace: Workspace) -> None:
        """Go on with the same workspace, opened again."""
        self._workspace = workspace

    def settle(self, days: float = 7.0) -> None:
        """Let time pass without visitors, so that sales and refunds under way arrive."""
        for _ in range(14):
            self._clock.advance(int(days * DAY / 14))
            self._send_due()
            self._send(self._clicks, PAGE)
            self._clicks = []
            self._workspace.step()

    def score(self, *, last: float = 1.0) -> Score:
        """How good the decisions for treated people were, over the last share of them."""
        scores = self._scores[int(len(self._scores) * (1.0 - last)) :]
        people, policy, uniform, oracle = zip(*scores, strict=True)
        return share_of_oracle(np.array(policy), np.array(uniform), np.array(oracle), people)

    # one round: browse, decide, react; clicks go out with the next round's browsing

    def _round(self, count: int) -> None:
        people = [self._next_person() for _ in range(count)]
        self._send_due()
        self._send(self._clicks + [message for person in people for message in self._browse(person)], PAGE)
        self._workspace.step()
        self._clicks = []
        for person, answer in zip(people, self._decide(people), strict=True):
            self._clicks += self._react(person, answer)
        self.tally.visits += count

    def _next_person(self) -> Person:
        """A recent visitor again with chance 30 %, else anybody."""
        if self._recent and self._rng.random() < 0.3:
            number = self._recent[int(self._rng.integers(len(self._recent)))]
        else:
            number = int(self._rng.integers(len(self._market.people)))
        self._recent = [*self._recent[-499:], number]
        return self._market.people[number]

    def _browse(self, person: Person) -> list[Message]:
        seen = self._market.looks_at(person, self._rng)
        at = self._clock.now() - (len(seen) + 1) * 30 * SECOND
        messages: list[Message] = []
        if person.number not in self._met:
            self._met.add(person.number)
            traits = {"age": person.age} if person.age is not None else {}
            answers = dict.fromkeys(("personalization", "model_training"), person.consents)
            consent = {"consent": {"categoryPreferences": answers}}
            messages.append(self._message("identify", person, at, traits=traits, context=consent))
        for place, category in enumerate(seen):
            properties = {"product_id": f"{category}-{int(self._rng.integers(40))}", "category": category}
            messages.append(
                self._message("track", person, at + (place + 1) * 30 * SECOND, event=VIEW, properties=properties)
            )
        return messages

    def _decide(self, people: list[Person]) -> list[Answer]:
        answers: list[Answer] = []
        tickets: list[Any] = []
        for person in people:
            request = DecideRequest(
                placement=self._market.placement.id,
                user_id=self._user_id(person),
                anonymous_id=person.anonymous_id,
                context={"device": person.device},
            )
            answer, ticket = self._workspace.decide_soon(request, CALLER)
            answers.append(answer)
            tickets.append(ticket)
        for ticket in tickets:
            if ticket is not None:
                ticket.result()
        return answers

    def _react(self, person: Person, answer: Answer) -> list[Message]:
        self.tally.decisions += 1
        self.tally.holdout += answer.holdout
        self.tally.contextual += not answer.personalised
        if not answer.items:
            return []
        offer = answer.items[0].offer_id
        if not answer.holdout:
            value = self._market.value(person)
            shown = self._market.shown_value(person, offer)
            self._scores.append((person.number, shown, float(np.nanmean(value)), float(np.nanmax(value))))
        response = self._market.respond(person, offer, self._rng)
        if response.click_after is None:
            return []
        self.tally.clicks += 1
        now = self._clock.now()
        credit = {"decisionId": answer.decision_id, "offerId": offer}
        if response.order_after is not None:
            self._plan_order(person, offer, credit, now + response.order_after, response.refund_after, now)
        return [self._message("track", person, now + response.click_after, event=CLICK, properties=credit)]

    def _plan_order(
        self, person: Person, offer: str, credit: Message, at: Micros, refund_after: Micros | None, shown_at: Micros
    ) -> None:
        self._orders += 1
        self._signed_in.add(person.number)
        margin = self._market.margin(offer)
        price = next(each.price for each in self._market.offers if each.id == offer)
        money: Message = {"order_id": f"order-{self._orders}", "currency": CURRENCY, "value": margin / 100, **credit}
        line = {"product_id": offer, "quantity": 1, "price": price.minor / 100 if price else 0}
        order = {**money, "total": line["price"], "products": [line]}
        self._plan(at, self._message("track", person, at, event=ORDER, properties=order))
        if refund_after is not None:
            at = shown_at + refund_after
            self._plan(at, self._message("track", person, at, event=REFUND, properties=money))

    # messages

    def _user_id(self, person: Person) -> str | None:
        return f"customer-{person.number}" if person.number in self._signed_in else None

    def _message(self, kind: str, person: Person, at: Micros, **fields: Any) -> Message:
        self._messages += 1
        message: Message = {"type": kind, "messageId": f"m-{self._messages}", "anonymousId": person.anonymous_id}
        user = self._user_id(person)
        if user is not None:
            message["userId"] = user
        return {**message, "timestamp": iso(at), **fields}

    def _plan(self, at: Micros, message: Message) -> None:
        heapq.heappush(self._due, (at, self._messages, message))

    def _send_due(self) -> None:
        """What the shop's server has to say by now: sales and refunds."""
        messages: list[Message] = []
        while self._due and self._due[0][0] <= self._clock.now():
            messages.append(heapq.heappop(self._due)[2])
        for message in messages:
            value = round(100 * message["properties"]["value"])
            if message["event"] == ORDER:
                self.tally.orders, self.tally.margin = self.tally.orders + 1, self.tally.margin + value
            else:
                self.tally.refunds, self.tally.refunded = self.tally.refunds + 1, self.tally.refunded + value
        self._send(messages, SERVER)

    def _send(self, messages: list[Message], source: Source) -> None:
        for start in range(0, len(messages), 100):
            body = {"batch": messages[start : start + 100], "sentAt": iso(self._clock.now())}
            self._workspace.receive(msgspec.json.encode(body), "batch", source).result()
