"""The tag and servers that are late, dead or overloaded: the page stays as it is, and no event is lost."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.shopping import decision, frames, own_words, page_of, settled, stop_the_clock, visitor
from tests.browser.sites import Backend, Site, hanging, refusing
from tests.service.test_decide import eventually_true

pytestmark = [pytest.mark.browser, pytest.mark.long]


def test_what_comes_within_150_ms_is_shown_and_nothing_later(browser: Any, backend: Backend, site: Site) -> None:
    backend.decision = decision({"title": "Late or not"})
    site.pages["/"] = page_of(backend.address, "vw_1")
    for wait, shown in ((149, True), (150, False)):
        backend.hold.clear()
        backend.asked.clear()
        with visitor(browser) as page:
            stop_the_clock(page)
            page.goto(site.address)
            eventually_true(lambda: backend.asked)
            page.clock.run_for(wait)
            assert own_words(page)
            backend.hold.set()
            assert (settled(page) == [None]) is not shown
            assert own_words(page) is not shown
            page.clock.run_for(60_000)
            frames(page)
            page.clock.run_for(60_000)
            assert own_words(page) is not shown


def test_an_answer_that_is_read_late_is_not_shown(browser: Any, backend: Backend, site: Site) -> None:
    """A busy page gets to the answer before its own timer, though the time is long over."""
    backend.decision = decision({"title": "Late"})
    site.pages["/"] = page_of(backend.address, "vw_1")
    with visitor(browser) as page:
        backend.hold.clear()
        stop_the_clock(page)
        page.goto(site.address)
        eventually_true(lambda: backend.asked)
        page.evaluate("performance.now = () => 1e6")
        backend.hold.set()
        assert settled(page) == [None]
        assert own_words(page)


def test_a_slow_server_changes_nothing_and_nothing_late_is_reported(browser: Any, backend: Backend, site: Site) -> None:
    """The clock runs as it does: the server answers when the page gave up long ago."""
    backend.decision = decision({"title": "Late"})
    backend.hold.clear()
    site.pages["/"] = page_of(backend.address, "vw_1")
    with visitor(browser) as page:
        page.goto(site.address)
        assert settled(page) == [None]
        backend.hold.set()
        page.wait_for_timeout(1500)
        page.locator(".default").click()
        page.evaluate("vitrina.track('Last')")
        eventually_true(lambda: backend.events)
        assert own_words(page)
    assert [event["event"] for event in backend.events] == ["Last"]


def test_a_dead_server_changes_nothing(browser: Any, backend: Backend, site: Site) -> None:
    """Nobody listens; somebody listens and says nothing; the script itself does not come."""
    with hanging() as silent:
        for name, server in (("refused", refusing()), ("hanging", silent)):
            site.pages[f"/{name}"] = page_of(backend.address, "vw_1", server=f"{server}/v1/")
        site.pages["/nothing"] = page_of(refusing(), "vw_1")
        site.pages["/waiting"] = page_of(silent, "vw_1")
        with visitor(browser) as page:
            for name in ("refused", "hanging"):
                page.goto(f"{site.address}/{name}")
                assert settled(page) == [None]
                assert own_words(page)
            page.goto(f"{site.address}/nothing")
            assert own_words(page)
            page.goto(f"{site.address}/waiting", wait_until="domcontentloaded")
            assert own_words(page)
    assert backend.asked == []


def test_events_wait_for_a_server_that_can_take_them(browser: Any, backend: Backend, site: Site) -> None:
    """A server that is overloaded, then a browser without a network: each event arrives once, in the end."""
    backend.decision = decision({"title": "Tea"})
    site.pages["/"] = page_of(backend.address, "vw_1")
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        settled(page)
        for status in (503, 429):
            backend.collect = status
            before = len(backend.refused)
            page.evaluate(f"vitrina.track('At {status}')")
            eventually_true(lambda: len(backend.refused) > before)  # noqa: B023
        page.context.set_offline(True)
        page.evaluate("vitrina.track('Offline')")
        page.locator(".vitrina-item").click()
        page.clock.run_for(100)
        backend.collect = 200
        page.context.set_offline(False)
        eventually_true(lambda: len(backend.events) >= 4)
        page.clock.run_for(200_000)
        page.evaluate("vitrina.track('Last')")
        eventually_true(lambda: backend.events[-1]["event"] == "Last")
    names = sorted(event["event"] for event in backend.events)
    assert names == ["At 429", "At 503", "Last", "Offline", "Promotion Clicked", "Promotion Viewed"]
    (click,) = (event for event in backend.events if event["event"] == "Promotion Clicked")
    assert click["messageId"] == "d_1.o1.Clicked"
    assert click["timestamp"].startswith("2027-01-15")


def test_what_can_not_be_taken_is_not_sent_for_ever(browser: Any, backend: Backend, site: Site) -> None:
    site.pages["/"] = page_of(backend.address, "vw_1")
    backend.collect = 400
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        settled(page)
        page.evaluate("vitrina.track('Bad')")
        eventually_true(lambda: backend.refused)
        backend.collect = 200
        page.clock.run_for(200_000)
        page.evaluate("vitrina.track('Good')")
        eventually_true(lambda: backend.events)
    assert [event["event"] for event in backend.events] == ["Good"]
