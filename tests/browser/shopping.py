"""A visitor with a browser: pages that carry the tag, a clock that stands still, and what the server knows of them.

The clock of the page stands still where a test is about 150 ms or one second: it is moved by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.browser.conftest import Running
from tests.service.test_decide import eventually_true

SHOPPER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
GPC = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"
SETTLED = "window.answers = []; addEventListener('vitrina', event => answers.push(event.detail))"
DEFAULT = '<p class="default">Our own words</p>'


def page_of(origin: str, key: str, body: str = "", **attributes: str) -> str:
    """A page with the tag; `body` is what stands below it."""
    more = "".join(f' data-{name}="{value}"' for name, value in attributes.items())
    script = f'<script async crossorigin src="{origin}/v1/tag.js" data-key="{key}"{more}></script>'
    body = body or f'<div data-vitrina="home">{DEFAULT}</div>'
    return f'<!doctype html><html lang="en"><head><meta charset="utf-8">{script}</head><body>{body}</body></html>'


def decision(*contents: dict[str, Any], **more: Any) -> tuple[int, str, bytes]:
    """A good answer of `/v1/decide`."""
    items = [
        {"position": n, "offerId": f"o{n}", "content": content, "price": {"amount": "12.00", "currency": "EUR"}}
        for n, content in enumerate(contents, 1)
    ]
    return 200, "application/json", json.dumps({"decisionId": "d_1", "items": items, "labels": {}} | more).encode()


@contextmanager
def visitor(browser: Any, *, agent: str = SHOPPER, scripts: tuple[str, ...] = (), **options: Any) -> Iterator[Any]:
    """A page of somebody new; fails on an error that no script caught and on a break of the page's policy."""
    context = browser.new_context(user_agent=agent, **options)
    context.add_init_script(SETTLED)
    for script in scripts:
        context.add_init_script(script)
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: page.faults.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    faults = page.faults
    context.close()
    assert faults == []


def settled(page: Any, count: int = 1) -> list[Any]:
    """Wait until so many placements have their answer, or have given up."""
    page.wait_for_function(f"answers.length >= {count}")
    return page.evaluate("answers")


def stop_the_clock(page: Any) -> None:
    page.clock.install(time=1_800_000_000)
    page.clock.pause_at(1_800_000_001)


def frames(page: Any) -> None:
    """Let the browser paint: what comes into view is told after a frame."""
    page.screenshot()
    page.screenshot()


def own_words(page: Any) -> bool:
    return page.locator("[data-vitrina] .default").count() == 1 and page.locator(".vitrina-item").count() == 0


def stored_in(page: Any) -> tuple[list[str], int]:
    """Names of cookies of the whole browser, and how much is in the page's storages."""
    names = [cookie["name"] for cookie in page.context.cookies()]
    return names, page.evaluate("localStorage.length + sessionStorage.length")


def exported(shop: Running, anonymous_id: str) -> dict[str, Any]:
    """Everything that the server holds about a visitor, once it has dealt with what came."""
    eventually_true(lambda: shop.workspace.profiles.backlog == 0)
    with shop.client(shop.secret_key) as client:
        return client.get(f"/v1/profiles/{anonymous_id}/export").raise_for_status().json()


def events_of(shop: Running, anonymous_id: str) -> list[dict[str, Any]]:
    """Their events, those that wait and those that are in the lake already."""
    export = exported(shop, anonymous_id)
    waiting = [row["body"] for row in export["store"].get("events_journal", ())]
    return list({event["message_id"]: event for event in [*export["lake"]["events"], *waiting]}.values())


def consents_of(shop: Running, anonymous_id: str) -> list[tuple[str, bool]]:
    """Purpose and answer of every consent record, sorted."""
    records = exported(shop, anonymous_id)["store"].get("consent_record", ())
    return sorted((record["purpose"], bool(record["granted"])) for record in records)


def told(shop: Running, anonymous_id: str, decision_id: str) -> list[tuple[str, str]]:
    """Name and offer of every stored event about a decision, sorted."""
    events = [event for event in events_of(shop, anonymous_id) if event.get("decision_id") == decision_id]
    return sorted((event["name"], event["offer_id"]) for event in events)
