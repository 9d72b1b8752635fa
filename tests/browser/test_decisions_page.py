"""The Decisions page in a real browser, without scripts: sign in, filter, open, switch language and theme."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import PASSWORD, Running

pytestmark = [pytest.mark.browser, pytest.mark.long]

SIZES = [(1280, 900), (390, 844)]


@contextmanager
def visit(
    browser: Any, running: Running, width: int, height: int, *, theme: str = "light", sign_in: bool = True
) -> Iterator[Any]:
    """A page of a fresh visitor without scripts, signed in; fails on anything that the browser complains about."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, java_script_enabled=False, color_scheme=theme
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None)
    page.on("requestfailed", lambda request: complaints.append(request.url) if ".css" in request.url else None)
    page.on(
        "response", lambda answer: complaints.append(f"{answer.url}: {answer.status}") if answer.status >= 500 else None
    )
    if sign_in:
        page.goto(f"{running.address}/sign-in")
        page.fill("#email", "a.reyes@example.com")
        page.fill("#password", PASSWORD)
        page.click(".btn.primary")
        page.wait_for_url("**/decisions")
    yield page
    context.close()
    assert complaints == []


def shoot(page: Any, folder: Path | None, name: str) -> None:
    if folder is not None:
        page.screenshot(path=folder / f"{name}.png", full_page=True)


def fits(page: Any, width: int) -> bool:
    """Nothing stands out to the right."""
    session = page.context.new_cdp_session(page)
    size = session.send("Page.getLayoutMetrics")["cssContentSize"]
    return size["width"] <= width


@pytest.mark.parametrize("size", SIZES, ids=["wide", "narrow"])
@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_list_and_detail_fit_and_are_in_the_language(
    browser: Any, furnished: Running, screenshots: Path | None, size: tuple[int, int], language: str, theme: str
) -> None:
    question = {"en": "Why this, for whom?", "ru": "Почему это и кому?"}[language]
    with visit(browser, furnished, *size, theme=theme) as page:
        if language == "ru":
            page.click("button[value=ru]")
        assert page.locator("html").get_attribute("lang") == language
        assert page.locator("h1").inner_text() == question
        assert page.locator("tbody tr").count() == 20
        assert fits(page, size[0])
        shoot(page, screenshots, f"decisions-list-{language}-{theme}-{size[0]}")
        order = page.locator("tr:has(.badge.good) a.nowrap").first
        page.goto(furnished.address + order.get_attribute("href").partition("#")[0])
        assert page.locator(".detail .said").inner_text()
        assert page.locator(".detail svg.instrument rect.segment").count() >= 5
        assert page.locator("tr[aria-current] a.nowrap").count() == 1
        assert fits(page, size[0])
        shoot(page, screenshots, f"decisions-{language}-{theme}-{size[0]}")


def test_it_needs_a_sign_in_and_goes_back_where_it_came_from(
    browser: Any, furnished: Running, screenshots: Path | None
) -> None:
    with visit(browser, furnished, 1280, 900, sign_in=False) as page:
        page.goto(f"{furnished.address}/decisions?served=holdout")
        assert page.url.endswith("/sign-in?next=%2Fdecisions%3Fserved%3Dholdout")
        shoot(page, screenshots, "sign-in-en-light-1280")
        page.fill("#email", "a.reyes@example.com")
        page.fill("#password", "not the password")
        page.click(".btn.primary")
        assert "don’t belong together" in page.locator("[role=alert]").inner_text()
        page.fill("#password", PASSWORD)
        page.click(".btn.primary")
        page.wait_for_url("**/decisions?served=holdout")
        for row in page.locator("tbody tr").all():
            assert "holdout" in row.inner_text()
        page.click(".bar .who button")
        page.goto(f"{furnished.address}/decisions")
        assert "/sign-in" in page.url


def test_filters_pager_and_search(browser: Any, furnished: Running) -> None:
    with visit(browser, furnished, 1280, 900) as page:
        assert "20 of 60" in page.locator("nav[aria-label] .soft").last.inner_text()
        first = page.locator("tbody tr").first.inner_text()
        page.click("text=Older")
        assert page.locator("tbody tr").first.inner_text() != first
        page.click("text=Newer")
        assert page.locator("tbody tr").first.inner_text() == first
        page.select_option("#outcome", "conversion")
        page.click("text=Filter")
        rows = page.locator("tbody tr")
        assert 0 < rows.count() < 20
        assert all("order" in row.inner_text() for row in rows.all())
        page.select_option("#refused", "schedule")
        page.click("text=Filter")
        assert page.locator("#outcome").input_value() == "conversion"
        page.click("text=Clear")
        page.fill("#since", "23 Nov 2099")
        page.click("text=Filter")
        assert "No decision matches" in page.locator(".empty").inner_text()
        page.fill("#since", "soon")
        page.click("text=Filter")
        assert "“soon” is no day" in page.locator("#since-error").inner_text()
        page.fill("#q", "p_06")
        page.click("[role=search] .btn")
        assert page.locator("tbody tr").count() == 1
        page.fill("#q", "kettle")
        page.click("[role=search] .btn")
        assert page.url.endswith("offer=kettle")
        page.goto(f"{furnished.address}/decisions/d_nothing")
        assert page.locator("h1").inner_text() == "There is no such decision"


def test_the_menu_of_a_narrow_page_opens_without_scripts(browser: Any, furnished: Running) -> None:
    with visit(browser, furnished, 390, 844) as page:
        assert not page.locator("#nav").is_visible()
        page.click(".menu")
        assert page.locator("#nav a[aria-current]").is_visible()
        page.click("#nav .leave button")
        assert "/sign-in" in page.url


def test_the_theme_is_kept(browser: Any, furnished: Running) -> None:
    with visit(browser, furnished, 390, 844) as page:
        page.click("text=Theme: system")
        assert page.locator("html").get_attribute("data-theme") == "light"
        page.click("text=Theme: light")
        assert page.locator("html").get_attribute("data-theme") == "dark"
        page.reload()
        assert page.locator("html").get_attribute("data-theme") == "dark"
        page.click("text=Theme: dark")
        assert page.locator("html").get_attribute("data-theme") is None


def test_the_keyboard_reaches_everything(browser: Any, furnished: Running) -> None:
    with visit(browser, furnished, 1280, 900) as page:
        page.keyboard.press("Tab")
        assert page.locator(":focus").get_attribute("class") == "skip"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.locator(":focus").get_attribute("id") == "placement"


@pytest.mark.parametrize("language", ["en", "ru"])
def test_an_empty_shop_says_what_to_do(browser: Any, running: Running, screenshots: Path | None, language: str) -> None:
    """Before the first decision. Runs on its own workspace."""
    import tempfile

    import vitrina
    from tests.browser.conftest import start

    with tempfile.TemporaryDirectory() as folder:
        workspace = vitrina.init(Path(folder) / "ws")
        workspace.users.create("a.reyes@example.com", PASSWORD)
        workspace.start()
        address, stop = start(workspace)
        try:
            empty = Running(workspace, address, "", "")
            with visit(browser, empty, 1280, 900) as page:
                if language == "ru":
                    page.click("button[value=ru]")
                assert page.locator(".steps > li").count() == 3
                assert "/v1/decide" in page.locator(".steps").inner_text()
                shoot(page, screenshots, f"decisions-empty-{language}-light-1280")
        finally:
            stop()
            workspace.close()
