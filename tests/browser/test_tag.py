"""The tag on a page of another origin against a real server: shown, seen, clicked, permitted, forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Running
from tests.browser.shopping import (
    DEFAULT,
    GPC,
    consents_of,
    decision,
    events_of,
    frames,
    own_words,
    page_of,
    settled,
    stop_the_clock,
    stored_in,
    told,
    visitor,
)
from tests.browser.sites import Backend, Site
from tests.service.test_decide import eventually_true
from vitrina.service import tag

pytestmark = [pytest.mark.browser, pytest.mark.long]

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "tag"


def test_a_decision_is_shown_seen_and_clicked_once(browser: Any, tagged: Running, site: Site) -> None:
    """Two slots from another origin; the second of being seen; a click that leaves the page; the server's own books."""
    slots = f'<div data-vitrina="home" data-slots="2">{DEFAULT}</div>'
    site.pages |= {
        "/": page_of(tagged.address, tagged.write_key, slots),
        "/tea": "<h1>tea</h1>",
        "/cup": "<h1>cup</h1>",
    }
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
        who = tagged.workspace.decisions.find(number).subject.removeprefix("a:")
        page.clock.run_for(999)
        page.evaluate("vitrina.track('Product Viewed', {product_id: 'tea'})")
        eventually_true(lambda: events_of(tagged, who))
        assert told(tagged, who, number) == []
        page.clock.run_for(1)
        views = [("Promotion Viewed", "cup"), ("Promotion Viewed", "tea")]
        eventually_true(lambda: told(tagged, who, number) == views)
        page.clock.run_for(5000)
        page.locator(".vitrina-item").first.click()
        page.wait_for_url(f"**/{offers[0]}")
        eventually_true(lambda: ("Promotion Clicked", offers[0]) in told(tagged, who, number))
        assert told(tagged, who, number) == sorted([*views, ("Promotion Clicked", offers[0])])
        assert stored_in(page) == ([], 0)
    outcomes = tagged.workspace.explain(number).outcomes
    assert [(each.kind, each.offer_id, each.trusted) for each in outcomes] == [("click", offers[0], True)]


def test_a_robot_shows_but_does_not_teach(browser: Any, tagged: Running, site: Site) -> None:
    site.pages |= {"/": page_of(tagged.address, tagged.write_key), "/tea": "tea", "/cup": "cup"}
    with visitor(browser, agent="Mozilla/5.0 HeadlessChrome/150.0.0.0") as page:
        stop_the_clock(page)
        page.goto(site.address)
        (answer,) = settled(page)
        page.locator(".vitrina-item").click()
        eventually_true(lambda: tagged.workspace.explain(answer["decisionId"]).outcomes)
    assert [each.trusted for each in tagged.workspace.explain(answer["decisionId"]).outcomes] == [False]


def test_permission_makes_the_next_page_personal_and_is_taken_back(browser: Any, tagged: Running, site: Site) -> None:
    """No permission: nothing is stored. Permission: one cookie, one profile, a consent record. Withdrawal: gone."""
    site.pages["/"] = page_of(tagged.address, tagged.write_key)
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(site.address)
        (first,) = settled(page)
        who = tagged.workspace.decisions.find(first["decisionId"]).subject
        page.goto(site.address)
        (second,) = settled(page)
        assert tagged.workspace.decisions.find(second["decisionId"]).subject != who
        assert stored_in(page) == ([], 0)
        assert (first["personalised"], second["personalised"]) == (False, False)

        who = tagged.workspace.decisions.find(second["decisionId"]).subject
        page.evaluate("vitrina.consent({personalisation: true, ads_personalisation: false})")
        (cookie,) = page.context.cookies()
        assert (cookie["name"], "a:" + cookie["value"]) == ("vitrina_id", who)
        assert (cookie["path"], cookie["sameSite"]) == ("/", "Lax")
        assert page.evaluate("localStorage.length") == 0
        eventually_true(lambda: len(consents_of(tagged, cookie["value"])) == 2)
        page.goto(site.address)
        (third,) = settled(page)
        assert tagged.workspace.decisions.find(third["decisionId"]).subject == who
        assert third["personalised"] is True
        assert [each["value"] for each in page.context.cookies()] == [cookie["value"]]

        page.evaluate("vitrina.consent({personalisation: false})")
        assert stored_in(page) == ([], 0)
        eventually_true(lambda: len(consents_of(tagged, cookie["value"])) == 3)
        page.goto(site.address)
        (fourth,) = settled(page)
        assert tagged.workspace.decisions.find(fourth["decisionId"]).subject != who
        assert fourth["personalised"] is False
    assert consents_of(tagged, cookie["value"]) == [
        ("ads_personalisation", False),
        ("personalisation", False),
        ("personalisation", True),
    ]


def test_somebody_who_signed_in_is_asked_for_with_the_hash(browser: Any, tagged: Running, site: Site) -> None:
    """Calls made before the script is there count for the first decision."""
    right = tagged.workspace.keys.user_hash("Зоя")
    for name, user_hash in (("right", right), ("wrong", "0" * 64)):
        call = f"(window.vitrina = window.vitrina || []).push(['identify', 'Зоя', '{user_hash}'])"
        site.pages[f"/{name}.js"] = call
        slot = f'<script src="/{name}.js"></script><div data-vitrina="home">{DEFAULT}</div>'
        site.pages[f"/{name}"] = page_of(tagged.address, tagged.write_key, slot).replace("async", "defer")
    with visitor(browser) as page:
        stop_the_clock(page)
        page.goto(f"{site.address}/right")
        (answer,) = settled(page)
        assert tagged.workspace.decisions.find(answer["decisionId"]).subject == "u:Зоя"
        page.goto(f"{site.address}/wrong")
        assert settled(page) == [None]
        assert own_words(page)


def test_a_private_placement_and_a_wrong_key_keep_the_default(browser: Any, tagged: Running, site: Site) -> None:
    with tagged.client(tagged.secret_key) as client:
        client.put("/v1/placements/inside", json={"name": "Inside"}).raise_for_status()
    site.pages["/private"] = page_of(tagged.address, tagged.write_key, f'<div data-vitrina="inside">{DEFAULT}</div>')
    site.pages["/key"] = page_of(tagged.address, "vw_nothing")
    with visitor(browser) as page:
        stop_the_clock(page)
        for path in ("/private", "/key"):
            page.goto(site.address + path)
            assert settled(page) == [None]
            assert own_words(page)


def test_the_pinned_build_runs_under_a_strict_policy_and_moves_nothing(
    browser: Any, tagged: Running, site: Site
) -> None:
    """Integrity, trusted types, no inline anything; what stands below the placement stays where it was."""
    build = tag.latest()
    site.policy = (
        f"default-src 'none'; script-src {tagged.address}; connect-src {tagged.address}; style-src 'self'; "
        "require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'none'"
    )
    site.pages["/size.css"] = "[data-vitrina] { height: 120px; overflow: hidden }"
    html = page_of(tagged.address, tagged.write_key, f'<div data-vitrina="home">{DEFAULT}</div><p id="below">Below</p>')
    html = html.replace("</head>", '<link rel="stylesheet" href="/size.css"></head>')
    html = html.replace(f'{tagged.address}/v1/tag.js"', f'{tagged.address}{build.path}" integrity="{build.integrity}"')
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


def test_global_privacy_control_stores_nothing_and_refuses_advertising(
    browser: Any, backend: Backend, tagged: Running, site: Site
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
    site.pages["/real"] = page_of(tagged.address, tagged.write_key)
    with visitor(browser, scripts=(GPC,)) as page:
        stop_the_clock(page)
        page.goto(f"{site.address}/real")
        (answer,) = settled(page)
        page.evaluate(everything)
        who = tagged.workspace.decisions.find(answer["decisionId"]).subject.removeprefix("a:")
        eventually_true(lambda: len(consents_of(tagged, who)) == 4)
    assert consents_of(tagged, who) == [
        ("ads_measurement", False),
        ("ads_personalisation", False),
        ("analytics", True),
        ("personalisation", True),
    ]


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


def test_the_example_page_works(browser: Any, tagged: Running, site: Site) -> None:
    """The page in `examples/tag`, with its address and key filled in as its README says."""
    for name in ("index.html", "banner.js", "shop.css"):
        text = (EXAMPLE / name).read_text(encoding="utf-8")
        site.pages[f"/{name}"] = text.replace("http://127.0.0.1:8400", tagged.address).replace(
            "WRITE_KEY", tagged.write_key
        )
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
