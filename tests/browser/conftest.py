"""A served shop with decisions in it, and a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.sites import Backend, Site
from tests.service.conftest import Running, running, start
from tests.service.test_decide import eventually_true

__all__ = ["Running", "running", "start"]

PASSWORD = "correct horse battery"
OFFERS = {
    "kettle": ("Gooseneck kettle", "49.00", "7.40", {}),
    "sencha": ("Sencha 100 g, −10%", "12.60", "6.10", {}),
    "gaiwan": ("Gaiwan, 120 ml", "24.00", "6.70", {}),
    "oolong": ("Oolong sampler", "18.00", "5.90", {}),
    "rooibos": ("Rooibos 250 g", "9.90", "5.30", {}),
    "tasting": ("Tasting evening", "30.00", "12.00", {"eligibility": {"minimumAge": 18}}),
    "advent": ("Advent box", "39.00", "15.00", {"schedule": {"from": "2099-11-27T00:00:00Z"}}),
    "assam": ("Assam 500 g", "21.00", "8.00", {"stock": 0}),
    "letter": ("Newsletter sign-up", "0", "0.40", {"eligibility": {"requiresConsent": ["email"]}}),
}


def furnish(running: Running) -> None:
    """Nine offers, consents, sixty decisions with clicks, orders and a refund."""
    with running.client(running.secret_key) as shop:
        placement = {"name": "Home, hero", "public": True, "holdout": 0.2, "policy": {"kind": "bank", "floor": 0.05}}
        shop.put("/v1/placements/home", json=placement).raise_for_status()
        for name, (title, price, margin, more) in OFFERS.items():
            offer = {
                "name": title,
                "price": {"amount": price, "currency": "EUR"},
                "margin": {"amount": margin, "currency": "EUR"},
            }
            shop.put(f"/v1/offers/{name}", json=offer | more).raise_for_status()
            creative = {"offerId": name, "status": "approved", "content": {"title": title}}
            shop.put(f"/v1/creatives/{name}-web", json=creative).raise_for_status()
        for number in range(0, 60, 2):
            consent = {"granted": True, "source": "banner", "textVersion": "v5 (en)"}
            shop.put(f"/v1/profiles/p_{number:02}/consents/personalisation", json=consent).raise_for_status()
        for number in range(60):
            decide_and_answer(shop, number)
    eventually_true(lambda: running.workspace.profiles.backlog == 0)


def decide_and_answer(shop: Any, number: int) -> None:
    """One person's decision, and for some a click, an order, a refund."""
    decided = shop.post("/v1/decide", json={"placement": "home", "userId": f"p_{number:02}"}).json()
    if not decided["items"]:
        return
    named = {"decisionId": decided["decisionId"], "offerId": decided["items"][0]["offerId"]}
    events: list[tuple[str, dict[str, Any]]] = []
    if number % 3 == 0:
        events.append(("Promotion Clicked", {}))
    if number % 6 == 0:
        events.append(
            ("Order Completed", {"order_id": f"INV-{number}", "total": 34.2, "value": 6.1, "currency": "EUR"})
        )
    if number % 18 == 0:
        events.append(("Order Refunded", {"order_id": f"INV-{number}", "value": 6.1, "currency": "EUR"}))
    for count, (event, properties) in enumerate(events):
        call = {
            "event": event,
            "userId": f"p_{number:02}",
            "messageId": f"o-{number}-{count}",
            "properties": named | properties,
        }
        shop.post("/v1/track", json=call).raise_for_status()


@pytest.fixture(scope="module")
def furnished(running: Running) -> Running:
    """The shop with decisions, and a marketer who may sign in."""
    furnish(running)
    running.workspace.users.create("a.reyes@example.com", PASSWORD, role="marketer")
    return running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def screenshots(root: Path) -> Path | None:
    """Where screenshots go: the folder in $VITRINA_SCREENSHOTS, or nowhere."""
    named = os.environ.get("VITRINA_SCREENSHOTS")
    if not named:
        return None
    folder = root / named
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as started:
        yield started


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as started:
        yield started
        started.hold.set()


@pytest.fixture(scope="module")
def tagged(running: Running) -> Running:
    """Two offers that look different, in two public placements."""
    with running.client(running.secret_key) as client:
        for placement in ("home", "basket"):
            body = {"name": placement, "public": True, "holdout": 0}
            client.put(f"/v1/placements/{placement}", json=body).raise_for_status()
        for name in ("tea", "cup"):
            offer = {"name": name, "price": {"amount": "9.50", "currency": "EUR"}}
            client.put(f"/v1/offers/{name}", json=offer).raise_for_status()
            content = {"title": f"The {name}", "text": "Fresh <b>today</b>", "url": f"/{name}"}
            creative = {"offerId": name, "status": "approved", "content": content}
            client.put(f"/v1/creatives/{name}-web", json=creative).raise_for_status()
    return running
