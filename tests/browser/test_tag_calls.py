"""What a page may ask of the tag, and what is counted as seen and clicked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.shopping import DEFAULT, decision, frames, page_of, settled, stop_the_clock, visitor
from tests.browser.sites import Backend, Site
from tests.service.test_decide import eventually_true

pytestmark = [pytest.mark.browser, pytest.mark.long]


def test_a_template_says_how_it_looks(browser: Any, backend: Backend, site: Site) -> None:
    backend.decision = decision(
        {"title": "Tea", "url": "/tea?a=1&b=2", "image": "tea.png"},
        {"title": "Cup", "url": "https://elsewhere.example/cup", "text": 7},
        labels={"advertising": True, "advertiser": "Kettle & Leaf", "erid": "2VtzqvX"},
    )
    item = (
        "<template><li class='card'><a href='{{url}}'><img alt='{{title}}' src='{{image}}'>{{title}}, {{text}}: "
        "<i>{{price}}</i> {{amount}} {{currency}}, {{unknown}}</a><small>{{advertiser}} {{erid}}</small></li>"
        "</template>"
    )
    site.pages["/"] = page_of(
        backend.address,
        "vw_1",
        f'<ul data-vitrina="home">{item}<li class="default">Our own words</li></ul>'
        f'<div data-vitrina="basket" data-label="Реклама">{DEFAULT}</div>',
    )
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        settled(page, 2)
        assert page.locator("ul > li.card").all_inner_texts() == [
            "Tea, : 12.00 EUR, Kettle & Leaf 2VtzqvX",
            "Cup, 7: 12.00 EUR, Kettle & Leaf 2VtzqvX",
        ]
        assert page.locator("ul a").evaluate_all("all => all.map(a => a.href)") == [
            f"{site.address}/tea?a=1&b=2",
            "https://elsewhere.example/cup",
        ]
        assert page.locator("ul img[src]").evaluate_all("all => all.map(i => i.src)") == [f"{site.address}/tea.png"]
        assert "%7B" not in " ".join(site.asked)
        assert page.locator("ul > .default").count() == 0
        assert page.locator("div small").first.inner_text() == "Реклама Kettle & Leaf 2VtzqvX"
    assert sorted(asked["placement"] for asked in backend.asked) == ["basket", "home"]


def test_an_item_is_seen_only_after_a_second_of_half_of_it(browser: Any, backend: Backend, site: Site) -> None:
    """Below the fold, half a second in view, 49 %, a page in the background: not seen. Then seen, once."""
    backend.decision = decision({"title": "Tea"})
    style = '<link rel="stylesheet" href="/s.css">'
    site.pages["/s.css"] = ".vitrina-item { display: block; height: 200px } #far { height: 3000px }"
    body = f'{style}<div id="far"></div><div data-vitrina="home">{DEFAULT}</div><div id="far"></div>'
    site.pages["/"] = page_of(backend.address, "vw_1", body)
    hidden = "Object.defineProperty(Document.prototype, 'hidden', {get: () => !!window.away})"

    def scroll(visible: int) -> None:
        page.evaluate(
            "visible => scrollTo(0, document.querySelector('.vitrina-item').getBoundingClientRect().top + scrollY"
            " - innerHeight + visible)",
            visible,
        )
        frames(page)

    def seen() -> list[str]:
        marks = sum(event["event"] == "Mark" for event in backend.events)
        page.evaluate("vitrina.track('Mark')")
        eventually_true(lambda: sum(event["event"] == "Mark" for event in backend.events) > marks)
        return [event["messageId"] for event in backend.events if event["event"] == "Promotion Viewed"]

    with visitor(browser, scripts=(hidden,), viewport={"width": 800, "height": 600}) as page:
        stop_the_clock(page)
        page.goto(site.address)
        settled(page)
        frames(page)
        page.clock.run_for(5000)
        assert seen() == []
        scroll(99)
        page.clock.run_for(5000)
        assert seen() == []
        scroll(101)
        page.clock.run_for(600)
        scroll(50)
        scroll(101)
        page.clock.run_for(600)
        assert seen() == []
        page.evaluate("away = true; document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))")
        page.clock.run_for(5000)
        assert seen() == []
        page.evaluate("away = false; document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))")
        frames(page)
        page.clock.run_for(999)
        assert seen() == []
        page.clock.run_for(1)
        assert seen() == ["d_1.o1.Viewed"]
        for visible in (0, 200, 0, 200):
            scroll(visible)
            page.clock.run_for(3000)
        assert seen() == ["d_1.o1.Viewed"]


def test_every_way_of_clicking_counts_once(browser: Any, backend: Backend, site: Site) -> None:
    """Twice, the middle button, the keyboard, past a page that stops the event; never the right button."""
    backend.decision = decision({"title": "Tea", "url": "#tea"})
    site.pages["/"] = page_of(backend.address, "vw_1")
    ways = {
        "twice": lambda item: item.dblclick(),
        "middle": lambda item: item.click(button="middle"),
        "keyboard": lambda item: item.press("Enter"),
        "inside": lambda item: item.locator("strong").click(),
    }
    for name, way in ways.items():
        backend.events.clear()
        with visitor(browser) as page:
            stop_the_clock(page)
            page.goto(site.address)
            settled(page)
            page.evaluate(
                "document.querySelector('.vitrina-item strong').addEventListener('click', e => e.stopPropagation())"
            )
            page.locator(".vitrina-item").click(button="right")
            page.evaluate("vitrina.track('Before')")
            eventually_true(lambda: backend.events)
            way(page.locator(".vitrina-item"))
            page.evaluate("vitrina.track('After')")
            eventually_true(lambda: len(backend.events) >= 3)
        assert sorted(event["event"] for event in backend.events) == ["After", "Before", "Promotion Clicked"], name


def test_a_single_page_app_refreshes_and_shows_by_itself(browser: Any, backend: Backend, site: Site) -> None:
    """New elements are asked for, old ones not again; a page that draws for itself watches what it drew."""
    backend.decision = decision({"title": "Tea"})
    site.pages["/"] = page_of(backend.address, "vw_1")
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        settled(page)
        page.evaluate(
            "document.body.insertAdjacentHTML('beforeend', '<div data-vitrina=\"basket\" data-slots=\"3\">Ours</div>');"
            "vitrina.refresh()"
        )
        settled(page, 2)
        page.evaluate("vitrina.refresh(); document.querySelector('[data-vitrina]').dataset.vitrina = 'moved'")
        page.evaluate("vitrina.refresh()")
        settled(page, 3)
        assert [(asked["placement"], asked.get("slots")) for asked in backend.asked] == [
            ("home", None),
            ("basket", 3),
            ("moved", None),
        ]
        backend.decision = decision({"title": "Cup"}, decisionId="d_2")
        own = page.evaluate(
            """async () => {
                const given = {slots: 1, exclude: ["o9"], context: {category: "cups"}};
                const {decisionId, items: [item]} = await vitrina.decide("own", given);
                const node = document.body.appendChild(document.createElement("button"));
                node.textContent = item.content.title;
                vitrina.watch(node, decisionId, item.offerId);
                return node.textContent;
            }"""
        )
        assert own == "Cup"
        page.locator("button").click()
        eventually_true(lambda: [event for event in backend.events if event.get("messageId") == "d_2.o1.Clicked"])
    asked = backend.asked[-1]
    assert (asked["exclude"], asked["context"]) == (["o9"], {"page": "/", "locale": "en", "category": "cups"})


def test_twice_on_a_page_and_an_odd_page_do_no_harm(browser: Any, backend: Backend, site: Site) -> None:
    """A second copy, an element of that name, calls that there are not, a template without an element."""
    backend.decision = decision({"title": "Tea"})
    body = (
        f'<p id="vitrina"></p><div data-vitrina="home">{DEFAULT}</div><div data-vitrina="b"><template>{{{{title}}}}'
        f'</template>{DEFAULT}</div><script async src="{backend.address}/v1/tag.js" data-key="vw_2"></script>'
    )
    site.pages["/"] = page_of(backend.address, "vw_1", body)
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        settled(page, 2)
        page.evaluate("vitrina.push(['nothing', 1]); vitrina.push(['track', 'Pushed', {a: 1}])")
        eventually_true(lambda: backend.events)
        assert page.locator(".vitrina-item").count() == 1
        assert page.locator(".default").count() == 1
    assert sorted(asked["placement"] for asked in backend.asked) == ["b", "home"]
    assert [(event["event"], event["properties"]) for event in backend.events] == [("Pushed", {"a": 1})]


def test_a_click_is_reported_though_the_page_is_gone(browser: Any, backend: Backend, site: Site) -> None:
    """On a network where the report takes longer than leaving does."""
    backend.decision = decision({"title": "Tea"})
    site.pages["/"] = page_of(backend.address, "vw_1")
    far = {"offline": False, "latency": 1500, "downloadThroughput": -1, "uploadThroughput": -1}
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        settled(page)
        page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", far)
        page.evaluate("document.querySelector('.vitrina-item').click(); location = 'about:blank'")
        page.wait_for_url("about:blank")
        eventually_true(lambda: backend.events)
    assert [event["messageId"] for event in backend.events] == ["d_1.o1.Clicked"]
