"""The tag in a real browser: on a page of another origin, against a real server and against bad ones.

The clock of the page stands still where a test is about 150 ms or one second: it is moved by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Running
from tests.browser.sites import Backend, Site, hanging, refusing
from tests.service.test_decide import eventually_true
from vitrina.service import tag

pytestmark = [pytest.mark.browser, pytest.mark.long]

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "tag"
SHOPPER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
GPC = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"
SETTLED = "window.answers = []; addEventListener('vitrina', event => answers.push(event.detail))"
DEFAULT = '<p class="default">Our own words</p>'


def page_of(server: str, key: str, body: str = "", **attributes: str) -> str:
    """A page with the tag; `body` is what stands below it."""
    more = "".join(f' data-{name}="{value}"' for name, value in attributes.items())
    script = f'<script async crossorigin src="{server}/v1/tag.js" data-key="{key}"{more}></script>'
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
    page.on(
        "console", lambda said: page.faults.append(said.text) if "Content Security Policy" in said.text else None
    )
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
def shop(running: Running) -> Running:
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


def exported(shop: Running, anonymous_id: str) -> dict[str, Any]:
    """Everything that the server holds about a visitor, once it has dealt with what came."""
    eventually_true(lambda: shop.workspace.profiles.backlog == 0)
    with shop.client(shop.secret_key) as client:
        return client.get(f"/v1/profiles/{anonymous_id}/export").raise_for_status().json()


def told(export: dict[str, Any], decision_id: str) -> list[tuple[str, str]]:
    """Name and offer of every stored event about a decision, sorted."""
    bodies = [row["body"] for row in export["events_journal"]]
    return sorted((body["name"], body["offer_id"]) for body in bodies if body.get("decision_id") == decision_id)


# ---- against the real server


def test_a_decision_is_shown_seen_and_clicked_once(browser: Any, shop: Running, site: Site) -> None:
    """Two slots from another origin; the second of being seen; a click that leaves the page; the server's own books."""
    slots = f'<div data-vitrina="home" data-slots="2">{DEFAULT}</div>'
    site.pages |= {"/": page_of(shop.address, shop.write_key, slots), "/tea": "<h1>tea</h1>", "/cup": "<h1>cup</h1>"}
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        (answer,) = settled(page)
        number, offers = answer["decisionId"], [item["offerId"] for item in answer["items"]]
        assert sorted(offers) == ["cup", "tea"]
        assert page.locator("strong").all_inner_texts() == [f"The {offer}" for offer in offers]
        assert page.locator("[data-vitrina] span").first.inner_text() == "Fresh <b>today</b>"
        assert page.locator(".default").count() == 0
        frames(page)
        who = shop.workspace.decisions.find(number).subject.removeprefix("a:")
        page.clock.run_for(999)
        page.evaluate("vitrina.track('Product Viewed', {product_id: 'tea'})")
        eventually_true(lambda: [row["body"]["name"] for row in exported(shop, who)["events_journal"]])
        assert told(exported(shop, who), number) == []
        page.clock.run_for(1)
        views = [("Promotion Viewed", "cup"), ("Promotion Viewed", "tea")]
        eventually_true(lambda: told(exported(shop, who), number) == views)
        page.clock.run_for(5000)
        page.locator(".vitrina-item").first.click()
        page.wait_for_url(f"**/{offers[0]}")
        eventually_true(lambda: ("Promotion Clicked", offers[0]) in told(exported(shop, who), number))
        assert told(exported(shop, who), number) == sorted([*views, ("Promotion Clicked", offers[0])])
        assert stored_in(page) == ([], 0)
    outcomes = shop.workspace.explain(number).outcomes
    assert [(each.kind, each.offer_id, each.trusted) for each in outcomes] == [("click", offers[0], True)]


def test_a_robot_shows_but_does_not_teach(browser: Any, shop: Running, site: Site) -> None:
    site.pages |= {"/": page_of(shop.address, shop.write_key), "/tea": "tea", "/cup": "cup"}
    with visitor(browser, agent="Mozilla/5.0 HeadlessChrome/150.0.0.0") as page:
        stop_the_clock(page)
        page.goto(site.address)
        (answer,) = settled(page)
        page.locator(".vitrina-item").click()
        eventually_true(lambda: shop.workspace.explain(answer["decisionId"]).outcomes)
    assert [each.trusted for each in shop.workspace.explain(answer["decisionId"]).outcomes] == [False]


def test_permission_makes_the_next_page_personal_and_is_taken_back(browser: Any, shop: Running, site: Site) -> None:
    """No permission: nothing is stored. Permission: one cookie, one profile, a consent record. Withdrawal: gone."""
    site.pages["/"] = page_of(shop.address, shop.write_key)
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        (first,) = settled(page)
        who = shop.workspace.decisions.find(first["decisionId"]).subject
        page.goto(site.address)
        (second,) = settled(page)
        assert shop.workspace.decisions.find(second["decisionId"]).subject != who
        assert stored_in(page) == ([], 0)
        assert (first["personalised"], second["personalised"]) == (False, False)

        who = shop.workspace.decisions.find(second["decisionId"]).subject
        page.evaluate("vitrina.consent({personalisation: true, ads_personalisation: false})")
        (cookie,) = page.context.cookies()
        assert (cookie["name"], "a:" + cookie["value"]) == ("vitrina_id", who)
        assert (cookie["path"], cookie["sameSite"]) == ("/", "Lax")
        assert page.evaluate("localStorage.length") == 0
        eventually_true(lambda: exported(shop, cookie["value"])["consent"])
        page.goto(site.address)
        (third,) = settled(page)
        assert shop.workspace.decisions.find(third["decisionId"]).subject == who
        assert third["personalised"] is True
        assert [each["value"] for each in page.context.cookies()] == [cookie["value"]]

        page.evaluate("vitrina.consent({personalisation: false})")
        assert stored_in(page) == ([], 0)
        eventually_true(lambda: len(exported(shop, cookie["value"])["consent"]) == 3)
        page.goto(site.address)
        (fourth,) = settled(page)
        assert shop.workspace.decisions.find(fourth["decisionId"]).subject != who
        assert fourth["personalised"] is False
    said = exported(shop, cookie["value"])["consent"]
    assert sorted((each["purpose"], bool(each["granted"])) for each in said) == [
        ("ads_personalisation", False),
        ("personalisation", False),
        ("personalisation", True),
    ]


def test_somebody_who_signed_in_is_asked_for_with_the_hash(browser: Any, shop: Running, site: Site) -> None:
    """Calls made before the script is there count for the first decision."""
    right = shop.workspace.keys.user_hash("Зоя")
    for name, user_hash in (("right", right), ("wrong", "0" * 64)):
        call = f"(window.vitrina = window.vitrina || []).push(['identify', 'Зоя', '{user_hash}'])"
        site.pages[f"/{name}.js"] = call
        slot = f'<script src="/{name}.js"></script><div data-vitrina="home">{DEFAULT}</div>'
        site.pages[f"/{name}"] = page_of(shop.address, shop.write_key, slot).replace("async", "defer")
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(f"{site.address}/right")
        (answer,) = settled(page)
        assert shop.workspace.decisions.find(answer["decisionId"]).subject == "u:Зоя"
        page.goto(f"{site.address}/wrong")
        assert settled(page) == [None]
        assert own_words(page)


def test_a_private_placement_and_a_wrong_key_keep_the_default(browser: Any, shop: Running, site: Site) -> None:
    with shop.client(shop.secret_key) as client:
        client.put("/v1/placements/inside", json={"name": "Inside"}).raise_for_status()
    site.pages["/private"] = page_of(
        shop.address, shop.write_key, f'<div data-vitrina="inside">{DEFAULT}</div>'
    )
    site.pages["/key"] = page_of(shop.address, "vw_nothing")
    with visitor(browser) as page:
        for path in ("/private", "/key"):
            page.goto(site.address + path)
            assert settled(page) == [None]
            assert own_words(page)


def test_the_pinned_build_runs_under_a_strict_policy_and_moves_nothing(
    browser: Any, shop: Running, site: Site
) -> None:
    """Integrity, trusted types, no inline anything; what stands below the placement stays where it was."""
    build = tag.latest()
    site.policy = (
        f"default-src 'none'; script-src {shop.address}; connect-src {shop.address}; style-src 'self'; "
        "require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'none'"
    )
    site.pages["/size.css"] = "[data-vitrina] { height: 120px; overflow: hidden }"
    html = page_of(shop.address, shop.write_key, f'<div data-vitrina="home">{DEFAULT}</div><p id="below">Below</p>')
    html = html.replace("</head>", '<link rel="stylesheet" href="/size.css"></head>')
    html = html.replace(f'{shop.address}/v1/tag.js"', f'{shop.address}{build.path}" integrity="{build.integrity}"')
    site.pages["/"] = html
    site.pages["/other"] = html.replace(build.integrity, build.integrity[:-8] + "AAAAAAAA")
    shifts = "window.shifts = []; new PerformanceObserver(list => shifts.push(...list.getEntries().map(e => e.value)))"
    with visitor(browser, scripts=(shifts + ".observe({type: 'layout-shift', buffered: true})",)) as page:
        stop_the_clock(page)
        page.goto(site.address)
        assert settled(page) != [None]
        assert page.locator(".vitrina-item strong").count() == 1
        frames(page)
        assert page.evaluate("shifts") == []
        page.locator("[data-vitrina]").evaluate("element => element.style.height = '400px'")
        frames(page)
        page.wait_for_function("shifts.length == 1")  # the observer does look
        page.goto(f"{site.address}/other")
        assert own_words(page)
        assert page.evaluate("typeof vitrina") == "undefined"


# ---- silence


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
    late = "window.ahead = 0; const now = performance.now.bind(performance); performance.now = () => now() + ahead"
    with visitor(browser, scripts=(late,)) as page:
        backend.hold.clear()
        page.clock.install(time=1_800_000_000)
        page.clock.pause_at(1_800_000_001)
        page.goto(site.address)
        eventually_true(lambda: backend.asked)
        page.evaluate("performance.now = () => 1e6")
        backend.hold.set()
        assert settled(page) == [None]
        assert own_words(page)


def test_a_slow_server_changes_nothing_and_nothing_late_is_reported(
    browser: Any, backend: Backend, site: Site
) -> None:
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
        with visitor(browser) as page:
            for name in ("refused", "hanging"):
                page.goto(f"{site.address}/{name}")
                assert settled(page) == [None]
                assert own_words(page)
            page.goto(f"{site.address}/nothing")
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
    assert names == ["At 429", "At 503", "Last", "Offline", "Promotion Clicked"]
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


# ---- lies

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
        for item in items.all():
            item.click(no_wait_after=True)
        page.goto(site.address) if page.url.endswith("/fine") else None
        settled(page)
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


# ---- what a page may do


def test_a_template_says_how_it_looks(browser: Any, backend: Backend, site: Site) -> None:
    backend.decision = decision(
        {"title": "Tea", "url": "/tea?a=1&b=2", "image": "tea.png"},
        {"title": "Cup", "url": "https://elsewhere.example/cup", "text": 7},
        labels={"advertising": True, "advertiser": "Kettle & Leaf", "erid": "2VtzqvX"},
    )
    item = (
        "<template><li class='card'><a href='{{url}}'><img alt='{{title}}' src='{{image}}'>{{title}}, {{text}}: "
        "<i>{{price}}</i> {{amount}} {{currency}}, {{unknown}}</a><small>{{advertiser}} {{erid}}</small></li></template>"
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
            "Tea, : 12.00 EUR,\u0020Kettle & Leaf 2VtzqvX".replace(",\u0020K", ",K"),
            "Cup, 7: 12.00 EUR,Kettle & Leaf 2VtzqvX",
        ]
        assert page.locator("ul a").evaluate_all("all => all.map(a => a.href)") == [
            f"{site.address}/tea?a=1&b=2",
            "https://elsewhere.example/cup",
        ]
        assert page.locator("ul img[src]").evaluate_all("all => all.map(i => i.src)") == [f"{site.address}/tea.png"]
        assert "%7B" not in " ".join(site.asked)
        assert page.locator("ul > .default").count() == 0
        assert page.locator("div small").first.inner_text() == "Реклама Kettle & Leaf 2VtzqvX"
    assert [asked["placement"] for asked in backend.asked] == ["home", "basket"]


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
        page.evaluate("vitrina.track('Mark')")
        marks = sum(event["event"] == "Mark" for event in backend.events)
        eventually_true(lambda: sum(event["event"] == "Mark" for event in backend.events) > marks)
        return [event["messageId"] for event in backend.events if event["event"] == "Promotion Viewed"]

    with visitor(browser, scripts=(hidden,), viewport={"width": 800, "height": 600}) as page:
        stop_the_clock(page)
        page.goto(site.address)
        settled(page)
        frames(page)
        page.clock.run_for(5000)
        assert seen() == []
        scroll(98)
        page.clock.run_for(5000)
        assert seen() == []
        scroll(102)
        page.clock.run_for(600)
        scroll(50)
        scroll(150)
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


def test_global_privacy_control_stores_nothing_and_refuses_advertising(
    browser: Any, backend: Backend, shop: Running, site: Site
) -> None:
    backend.decision = decision({"title": "Tea"})
    site.pages["/"] = page_of(backend.address, "vw_1", consent="granted")
    everything = "vitrina.consent({personalisation: true, ads_measurement: true, advertising: true, analytics: true})"
    with visitor(browser, scripts=(GPC,)) as page:
        page.context.add_cookies([{"name": "vitrina_id", "value": "old", "url": site.address}])
        stop_the_clock(page)
        page.goto(site.address)
        settled(page)
        page.evaluate(everything)
        eventually_true(lambda: len(backend.events) >= 2)
        assert stored_in(page) == ([], 0)
    (asked,) = backend.asked
    assert asked["globalPrivacyControl"] is True
    assert asked["anonymousId"] != "old"
    for event in backend.events:
        assert event["context"]["globalPrivacyControl"] is True
        assert event["context"]["consent"]["categoryPreferences"]["advertising"] is False
    assert backend.events[-1]["context"]["consent"]["categoryPreferences"] == {
        "advertising": False,
        "personalisation": True,
        "ads_measurement": False,
        "analytics": True,
    }
    site.pages["/real"] = page_of(shop.address, shop.write_key)
    with visitor(browser, scripts=(GPC,)) as page:
        stop_the_clock(page)
        page.goto(f"{site.address}/real")
        (answer,) = settled(page)
        page.evaluate(everything)
        who = shop.workspace.decisions.find(answer["decisionId"]).subject.removeprefix("a:")
        eventually_true(lambda: len(exported(shop, who).get("consent", ())) >= 4)
        granted = {each["purpose"]: bool(each["granted"]) for each in exported(shop, who)["consent"]}
    assert granted == {
        "ads_measurement": False,
        "ads_personalisation": False,
        "personalisation": True,
        "analytics": True,
    }


def test_what_is_kept_lives_for_thirteen_months_at_most_and_is_not_renewed(
    browser: Any, backend: Backend, site: Site
) -> None:
    site.pages["/"] = page_of(backend.address, "vw_1", consent="granted")
    with visitor(browser) as page:
        page.goto(site.address)
        settled(page)
        (cookie,) = page.context.cookies()
        days = (cookie["expires"] - page.evaluate("Date.now()") / 1000) / 86400
        assert 380 < days <= 393  # the shortest thirteen months
        page.goto(site.address)
        settled(page)
        assert page.context.cookies() == [cookie]
        page.evaluate("vitrina.forget()")
        assert stored_in(page) == ([], 0)
        page.evaluate("vitrina.consent({analytics: true})")
        assert stored_in(page) == ([], 0)
    assert [asked["anonymousId"] for asked in backend.asked] == [cookie["value"]] * 2


def test_after_forgetting_nothing_is_told_about_the_decision(browser: Any, backend: Backend, site: Site) -> None:
    backend.decision = decision({"title": "Tea"})
    site.pages["/"] = page_of(backend.address, "vw_1")
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        settled(page)
        frames(page)
        page.evaluate("vitrina.identify('zoya', 'ab'); vitrina.forget()")
        page.clock.run_for(5000)
        page.locator(".vitrina-item").click()
        page.evaluate("vitrina.track('Last')")
        eventually_true(lambda: len(backend.events) >= 2)
    known, last = backend.events
    assert (known["type"], known["userId"], last["event"]) == ("identify", "zoya", "Last")
    assert "userId" not in last and last["anonymousId"] != known["anonymousId"]


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
                const given = {slots: 1, exclude: ["o9"], context: {category: "cups"}, userId: "somebody"};
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


def test_the_example_page_works(browser: Any, shop: Running, site: Site) -> None:
    """The page in `examples/tag`, with its address and key filled in as its README says."""
    for name in ("index.html", "banner.js", "shop.css"):
        text = (EXAMPLE / name).read_text(encoding="utf-8")
        site.pages[f"/{name}"] = text.replace("http://127.0.0.1:8400", shop.address).replace("WRITE_KEY", shop.write_key)
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(f"{site.address}/index.html")
        answers = settled(page, 2)
        assert all(answers)
        assert page.locator("article.card strong").count() == 1
        assert page.locator(".vitrina-item strong").count() == 1
        assert stored_in(page) == ([], 0)
        page.click("#allow")
        assert stored_in(page)[0] == ["vitrina_id"]
        page.click("#refuse")
        assert stored_in(page)[0] == []
