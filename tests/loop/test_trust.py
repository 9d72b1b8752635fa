"""Which outcomes teach and count: every kind of outcome, by every way in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vitrina
from vitrina.core.clock import HOUR, SimulatedClock, iso
from vitrina.core.decision import DecideRequest
from vitrina.core.outcome import Outcome

NOW = 1_790_000_000_000_000

PLACEMENT = {
    "name": "Home",
    "holdout": 0.0,
    "outcomes": [
        {"event": "Order Completed", "window": "7d"},
        {"event": "Order Refunded", "sign": -1, "window": "7d"},
        {"event": "Promotion Clicked", "weak": True, "window": "7d"},
        {"event": "Trial Started", "value": {"amount": 5, "currency": "EUR"}, "window": "7d"},
    ],
}

EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "order with a value": ("Order Completed", {"order_id": "1", "total": 20, "value": 6, "currency": "EUR"}),
    "order at its margin": ("Order Completed", {"order_id": "1", "total": 20, "currency": "EUR"}),
    "outcome of a fixed value": ("Trial Started", {}),
    "refund": ("Order Refunded", {"order_id": "1", "total": 20, "value": 6, "currency": "EUR"}),
    "click": ("Promotion Clicked", {}),
}

MAPPING = """
source = {{ name = "till", currency = "EUR" }}
[columns]
occurred_at = "at"
order_id = "order"
product_id = "product"
quantity = "quantity"
unit_price = "price"
user_id = "user"
decision_id = "decision"
offer_id = "offer"
{value}
{name}
[[kinds]]
kind = "{kind}"
"""


class Shop:
    """A workspace whose work is done when asked, a decision for Ann, and the ways in which its outcomes come."""

    def __init__(self, folder: Path) -> None:
        vitrina.init(folder).close()
        self.folder = folder
        self.clock = SimulatedClock(NOW)
        self.workspace = vitrina.open(folder, clock=self.clock, threaded=False)
        self.keys = {kind: self.workspace.keys.create(kind) for kind in ("write", "secret")}
        self.put("placement", "home", PLACEMENT)
        money = {"price": {"amount": 20, "currency": "EUR"}, "margin": {"amount": 6, "currency": "EUR"}}
        self.put("offer", "tea", {"name": "Tea", "stock": 10, **money})
        self.put("creative", "tea-web", {"offerId": "tea", "status": "approved", "content": {}})
        self.decision = self.workspace.decide(DecideRequest(placement="home", user_id="ann")).decision_id
        self.clock.advance(HOUR)
        self.workspace.step()

    def put(self, kind: str, name: str, body: dict[str, Any]) -> None:
        self.workspace.put_body(kind, name, json.dumps(body).encode())

    def send(self, way: str, what: str, number: int = 1) -> None:
        """An outcome of the decision, by a key of that kind or in a file."""
        name, properties = EVENTS[what]
        if way == "import":
            self._import(name, properties, number)
        else:
            caller = self.workspace.keys.find(self.keys[way])
            assert caller is not None
            named = {"decisionId": self.decision, "offerId": "tea", **properties}
            call = {"type": "track", "userId": "ann", "event": name, "messageId": f"m-{number}", "properties": named}
            self.workspace.receive(json.dumps(call).encode(), "track", caller.source).result()
        self.workspace.step()

    def _import(self, name: str, properties: dict[str, Any], number: int) -> None:
        kinds = {"Order Completed": "order", "Order Refunded": "refund", "Promotion Clicked": "click"}
        kind = kinds.get(name, "event")
        value = 'value = "value"' if "value" in properties else ""
        mapping, file = self.folder / f"m{number}.toml", self.folder / f"f{number}.csv"
        named = 'name = "event"' if kind == "event" else ""
        mapping.write_text(MAPPING.format(kind=kind, value=value, name=named), encoding="utf-8")
        row = f"{iso(self.clock.now())},1,tea,1,20,ann,{self.decision},tea,{properties.get('value', '')},{name}"
        file.write_text(f"at,order,product,quantity,price,user,decision,offer,value,event\n{row}\n", encoding="utf-8")
        assert self.workspace.import_file(file, mapping).stored == 1

    def outcomes(self) -> tuple[Outcome, ...]:
        return self.workspace.explain(self.decision).outcomes

    def state(self) -> tuple[Any, ...]:
        """Everything that money moves: what the model has learned, revenue, stock."""
        workspace, learner = self.workspace, self.workspace.learner
        workspace.drain()
        stock = workspace.get_body("offer", "tea").stock  # pyright: ignore[reportAttributeAccessIssue]
        learned = learner.weights("home"), learner.losses("home"), learner.ages()
        return learned, workspace.summary().net_revenue, stock


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path / "shop")
    yield opened
    opened.workspace.close()


@pytest.mark.parametrize("what", [what for what in EVENTS if what != "click"])
@pytest.mark.parametrize("way", ["write", "secret", "import"])
def test_a_valued_outcome_counts_by_secret_key_and_import_only(shop: Shop, way: str, what: str) -> None:
    trusted = way != "write"
    if what == "refund":
        shop.send("secret", "order with a value", 0)
    before, known = shop.state(), set(shop.outcomes())
    shop.send(way, what)
    new = set(shop.outcomes()) - known
    if what == "refund" and not trusted:
        assert new == set()  # there is no untrusted order that it could reverse
    else:
        (outcome,) = new
        assert (outcome.trusted, outcome.value) == (
            trusted,
            {"refund": -600, "outcome of a fixed value": 500}.get(what, 600),
        )
    after = shop.state()
    assert (after[0] != before[0]) is trusted, "the model learns from the trusted alone"
    moves_revenue = trusted and what != "outcome of a fixed value"
    assert (after[1] != before[1]) is moves_revenue
    takes_stock = way == "secret" and what.startswith("order")  # an imported order was counted by the till
    assert (after[2] != before[2]) is takes_stock


@pytest.mark.parametrize("way", ["write", "secret", "import"])
def test_a_click_teaches_by_every_way_and_moves_no_money(shop: Shop, way: str) -> None:
    before = shop.state()
    shop.send(way, "click")
    (outcome,) = shop.outcomes()
    assert (outcome.kind, outcome.trusted, outcome.value) == ("click", True, None)
    after = shop.state()
    assert after[0] != before[0]
    assert after[1:] == before[1:]


@pytest.mark.parametrize("real", ["secret", "import"])
def test_a_forged_order_takes_nobody_s_place(shop: Shop, real: str) -> None:
    """The forged one comes first, with the same order and message ids: the real one counts as if it weren't there."""
    shop.send("write", "order with a value")
    shop.send(real, "order with a value")
    assert sorted((outcome.trusted, outcome.value) for outcome in shop.outcomes()) == [(False, 600), (True, 600)]
    assert str(shop.workspace.summary().net_revenue) == "20.00"
