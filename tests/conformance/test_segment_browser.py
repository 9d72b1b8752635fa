"""The real `@segment/analytics-next` in Chromium, on a page of another origin: settings, calls, faults, consent."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import CUT, Proxy
from tests.conformance.test_segment_client import events_of, head
from tests.service.conftest import Running, running, start
from tests.service.test_decide import eventually_true

__all__ = ["running", "start"]

pytestmark = [pytest.mark.browser, pytest.mark.long]

PAGE = """<!doctype html><html lang="ru"><meta charset="utf-8"><title>Чайная</title><h1>Улун</h1>
<script src="/analytics.js"></script></html>"""

LOAD = """([key, host, batching]) => {
  const options = { retryQueue: true, integrations: {} }
  if (batching) options.integrations['Segment.io'] = {
    deliveryStrategy: { strategy: 'batching', config: { size: 5, timeout: 300 } },
  }
  window.faults = []
  const loading = AnalyticsNext.AnalyticsBrowser.load({ writeKey: key, cdnURL: host }, options)
  return loading.then(([analytics]) => {
    window.analytics = analytics
    analytics.on('error', (fault) => window.faults.push(String(fault.reason)))
    return 'loaded'
  }, (error) => 'refused: ' + error.message)
}"""

CALLS = """async ([user, count]) => {
  await analytics.identify(user, { город: 'Казань' })
  for (let number = 0; number < count; number += 1)
    await analytics.track('Product Viewed', { product_id: 'p' + number, name: 'Чайник «Ласточка»' })
  await analytics.page('shop', 'Главная')
  await analytics.screen('shop', 'Корзина')
  await analytics.group('клуб', { name: 'Клуб' })
  await analytics.alias(user + '-2', user)
  return analytics.user().anonymousId()
}"""
COUNT = 8
ALL = COUNT + 5


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The shop's site: a page with the client's own browser build; gives its address."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text(PAGE, encoding="utf-8")
    built = node_modules / "@segment" / "analytics-next" / "dist" / "umd" / "index.js"
    (folder / "analytics.js").write_bytes(built.read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def page(browser: Any, site: str) -> Iterator[Any]:
    """A window on the site, of a visitor who was never there; what its console says is in `page.said`."""
    window = browser.new_context()
    opened = window.new_page()
    opened.said = []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.goto(site)
    yield opened
    window.close()


def load(page: Any, host: str, key: str, *, batching: bool = False) -> str:
    return page.evaluate(LOAD, [key, host, batching])


@pytest.mark.parametrize("batching", [False, True], ids=["one by one", "batches"])
def test_what_a_page_sends_is_stored_once(page: Any, running: Running, *, batching: bool) -> None:
    """The page is told one address; where to send to follows from the settings that it loads there."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    user, before = f"анна-{batching}", head(running)
    assert load(page, running.address, running.write_key, batching=batching) == "loaded"
    visitor = page.evaluate(CALLS, [user, COUNT])
    eventually_true(lambda: head(running) == before + ALL)
    eventually_true(lambda: f"a:{visitor}" in events_of(running, user))
    assert running.workspace.person(user)["traits"] == {"город": "Казань"}
    assert page.evaluate("window.faults") == []
    outside = [line for line in asked if running.address not in line]
    assert outside == []
    letters = {line.rsplit("/", 1)[-1] for line in asked if line.startswith("POST")}
    assert letters == ({"b"} if batching else {"i", "t", "p", "s", "g", "a"})


@pytest.mark.parametrize("batching", [False, True], ids=["one by one", "batches"])
@pytest.mark.parametrize("faults", [[429, 429], [500, 503], [CUT, CUT]], ids=str)
def test_faults_lose_nothing_and_double_nothing(
    page: Any, running: Running, proxies: Callable[[str], Proxy], faults: list[int], *, batching: bool
) -> None:
    """The browser asks again before each repeat whether it may send X-Retry-Count, and may read Retry-After."""
    proxy = proxies(running.address)
    proxy.faults = list(faults)
    before = head(running)
    assert load(page, proxy.address, running.write_key, batching=batching) == "loaded"
    page.evaluate(CALLS, [f"борис-{batching}-{'-'.join(map(str, faults))}", COUNT])
    eventually_true(lambda: proxy.faults == [] and head(running) == before + ALL)
    page.wait_for_timeout(1_500)  # what is repeated for nothing would come by now
    assert head(running) == before + ALL
    assert sorted(status for _, status in proxy.posts if status != 200) == sorted(faults)
    assert page.evaluate("window.faults") == []


def test_a_key_that_is_not_known_is_told_to_the_page(page: Any, running: Running) -> None:
    """The client gives up at once, with our words, and the page goes on."""
    for key in ("vw_nothing", running.secret_key):
        said = load(page, running.address, key)
        assert said.startswith("refused") and "there is no such write key" in said.lower()
    assert page.locator("h1").inner_text() == "Улун"


def test_a_withdrawal_of_consent_counts(page: Any, running: Running) -> None:
    with running.client(running.secret_key) as shop:
        shop.put("/v1/placements/home", json={"name": "Home", "public": True, "holdout": 0}).raise_for_status()
    load(page, running.address, running.write_key)
    visitor = page.evaluate("analytics.user().anonymousId()")

    def personalised() -> bool:
        with running.client(running.write_key) as other:
            answer = other.post("/v1/decide", json={"placement": "home", "anonymousId": visitor})
        return answer.json()["personalised"]

    send = """(granted) => analytics.track('Segment Consent Preference Updated', {}, {
      context: { consent: { categoryPreferences: { personalisation: granted, Advertising: false } } } })"""
    for granted in (True, False, True):
        page.evaluate(send, granted)
        eventually_true(lambda granted=granted: personalised() is granted)


def test_a_beacon_and_a_report_on_itself_are_taken(page: Any, running: Running) -> None:
    """What a page sends while it is left: plain text, no header of its own, the key in the body."""
    before = head(running)
    call = {
        "writeKey": running.write_key,
        "anonymousId": "уходящий",
        "event": "Product Viewed",
        "messageId": "beacon-1",
    }
    send = "([url, body]) => navigator.sendBeacon(url, body)"
    assert page.evaluate(send, [f"{running.address}/v1/t", json.dumps(call, ensure_ascii=False)])
    batch = {"writeKey": running.write_key, "batch": [{**call, "type": "track", "messageId": "beacon-2"}]}
    assert page.evaluate(send, [f"{running.address}/v1/b", json.dumps(batch, ensure_ascii=False)])
    eventually_true(lambda: head(running) == before + 2)
    report = """(url) => fetch(url, { method: 'POST', headers: { 'Content-Type': 'text/plain' },
      body: JSON.stringify({ series: [{ type: 'Counter', metric: 'analytics_js.invoke', value: 1, tags: { a: 'b' } }] })
    }).then((answer) => answer.status)"""
    assert page.evaluate(report, f"{running.address}/v1/m") == 200
    assert head(running) == before + 2
