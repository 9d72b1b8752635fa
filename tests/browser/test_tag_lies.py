"""The tag and a server that lies: nothing runs, nothing breaks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.shopping import DEFAULT, decision, own_words, page_of, settled, stop_the_clock, visitor
from tests.browser.sites import Backend, Site

pytestmark = [pytest.mark.browser, pytest.mark.long]


HTML = "<img src=x onerror='window.owned=1'><script>window.owned=1</script>"
TEMPLATE = (
    "<template><article><a href='{{url}}' title='{{title}}' onclick='{{text}}' style='{{text}}'>"
    "<img src='{{image}}' alt='{{text}}'>{{title}} <b>{{ text }}</b></a>"
    "<script>{{text}}</script><style>{{text}}</style><iframe srcdoc='{{text}}'></iframe></article></template>"
)


@pytest.mark.parametrize("template", ["", TEMPLATE], ids=["plain", "template"])
@pytest.mark.parametrize(
    "url", ["javascript:window.owned=1", " java\nscript:window.owned=1", "data:text/html,<script>1</script>", "blob:x"]
)
def test_a_lying_server_gets_no_code_into_the_page(
    browser: Any, backend: Backend, site: Site, template: str, url: str
) -> None:
    script = "window.owned=1"
    backend.decision = decision(
        {"title": HTML, "text": script, "url": url, "image": url, "__proto__": {"polluted": 1}, "constructor": 1},
        {"title": "Second", "text": HTML, "url": "/fine", "image": "//[", "onclick": script},
    )
    site.pages["/"] = page_of(backend.address, "vw_1", f'<div data-vitrina="home">{template}{DEFAULT}</div>')
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        assert settled(page) != [None]
        assert HTML in page.locator("[data-vitrina]").inner_text()
        items = page.locator("[data-vitrina] > :not(template)")
        assert items.count() == 2
        items.first.click()
        assert page.evaluate("[window.owned, {}.polluted]") == [None, None]
        assert page.locator("[data-vitrina] :is(script, style, [onclick], [style], [srcdoc], [onerror])").count() == 0
        links = page.locator("[data-vitrina] a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        assert [link for link in links if link] == [f"{site.address}/fine"]
        assert page.locator("[data-vitrina] img[src]").count() == 0


ODD = [
    b"",
    b"null",
    b"[]",
    b"7",
    b'"items"',
    b"<!doctype html><script>window.owned=1</script>",
    b'{"decisionId": "d", "items": []}',
    b'{"decisionId": "d", "items": {"length": 9}}',
    b'{"decisionId": "d", "items": [null]}',
    b'{"decisionId": 7, "items": [{"offerId": "o", "content": {"title": "odd"}}]}',
    b'{"decisionId": "d", "items": [{"offerId": {"a": 1}, "content": {"title": "odd"}}]}',
    b'{"decisionId": "d", "items": [{"offerId": "o", "content": null}]}',
    b'{"decisionId": "d", "items": [{"offerId": "o", "content": {"title": {"toString": "x"}, "text": ["odd"]}}]}',
    b'{"decisionId": "d", "items": [{"offerId": "o", "content": "odd"}], "labels": 5}',
    b'{"decisionId": "d", "items": [' + b"[" * 40_000,
    b'{"decisionId": "d", "items": [{"offerId": "o", "content": {"title": "' + b"odd" * 100_000 + b'"}}]}',
    b'{"decisionId": "d", "items": [{"offerId": "o", "content": {"title": "odd"}}]',
    b"\xff\xfe\x00",
]


def test_an_odd_answer_changes_nothing(browser: Any, backend: Backend, site: Site) -> None:
    site.pages["/"] = page_of(backend.address, "vw_1")
    with visitor(browser) as page:
        stop_the_clock(page)
        for answer in ODD:
            backend.decision = (200, "application/json", answer)
            page.goto(site.address)
            assert settled(page) == [None], answer[:80]
            assert own_words(page), answer[:80]
        assert page.evaluate("window.owned") is None
        backend.decision = (200, "text/html", decision({"title": "Fine"})[2])
        page.goto(site.address)
        assert settled(page) != [None]


def test_a_redirect_is_not_followed(browser: Any, backend: Backend, site: Site) -> None:
    with Backend() as other:
        other.decision = decision({"title": "From elsewhere"})
        backend.decision = (307, "application/json", b"")
        backend.headers = {"location": f"{other.address}/v1/decide"}
        site.pages["/"] = page_of(backend.address, "vw_1")
        with visitor(browser) as page:
            stop_the_clock(page)
            page.goto(site.address)
            assert settled(page) == [None]
            assert own_words(page)
        assert other.asked == []


def test_a_slate_without_end_is_cut(browser: Any, backend: Backend, site: Site) -> None:
    backend.decision = decision(*({"title": f"Item {n}"} for n in range(500)))
    site.pages["/"] = page_of(backend.address, "vw_1")
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        settled(page)
        assert page.locator(".vitrina-item").count() == 20
