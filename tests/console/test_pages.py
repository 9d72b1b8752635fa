"""Pages over HTTP: headers, ways in, errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.service.conftest import Running, catalogue, page, running, shop

__all__ = ["catalogue", "page", "running", "shop"]

EMAIL, PASSWORD = "ann@example.com", "correct horse battery"


@pytest.fixture(scope="module")
def staff(running: Running) -> None:
    running.workspace.users.create(EMAIL, PASSWORD, role="viewer")


def form_code(text: str) -> str:
    found = re.search(r'name="form" value="(\w+)"', text)
    assert found is not None
    return found[1]


@contextmanager
def signed_in(running: Running, language: str = "en") -> Iterator[httpx.Client]:
    with running.client() as browser:
        code = form_code(browser.get("/sign-in").text)
        answer = browser.post("/sign-in", data={"form": code, "email": EMAIL, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        browser.post("/preferences", data={"form": code, "language": language})
        yield browser


@pytest.mark.usefixtures("staff")
@pytest.mark.parametrize("path", ["/sign-in", "/decisions", "/decisions/d_nothing", "/nothing", "/"])
def test_every_page_forbids_scripts_frames_and_keeping(running: Running, path: str) -> None:
    with signed_in(running) as browser:
        answer = browser.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script" not in answer.text and " style=" not in answer.text


@pytest.mark.usefixtures("staff")
@pytest.mark.parametrize(("language", "title"), [("en", "There is no such page"), ("ru", "Такой страницы нет")])
def test_an_unknown_page_says_where_to_go(running: Running, language: str, title: str) -> None:
    with signed_in(running, language) as browser:
        answer = browser.get("/nothing")
    assert answer.status_code == 404
    assert title in answer.text and 'href="/decisions"' in answer.text


@pytest.mark.parametrize("path", ["/decisions", "/decisions/d_1", "/decisions/d_1/json", "/find?q=tea"])
def test_nothing_is_shown_without_a_sign_in(running: Running, path: str) -> None:
    with running.client() as stranger:
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in")
        stranger.cookies.set("vitrina_session", "made.up")
        assert stranger.get(path).status_code == 303
    with running.client(running.secret_key) as program:
        assert program.get(path).status_code == 303


@pytest.mark.usefixtures("staff")
def test_a_form_from_elsewhere_changes_nothing(running: Running) -> None:
    with signed_in(running) as browser:
        code = form_code(browser.get("/decisions").text)
        for data, headers in (
            ({"form": "forged"}, {}),
            ({}, {}),
            ({"form": code}, {"sec-fetch-site": "cross-site"}),
        ):
            assert browser.post("/sign-out", data=data, headers=headers).status_code == 403
        assert browser.get("/decisions").status_code == 200
        assert browser.post("/sign-out", data={"form": code}).status_code == 303
        assert browser.get("/decisions").status_code == 303


@pytest.mark.usefixtures("staff")
def test_cookies_are_for_this_site_and_not_for_scripts(running: Running) -> None:
    with running.client() as browser:
        first = browser.get("/sign-in")
        data = {"form": form_code(first.text), "email": EMAIL, "password": PASSWORD}
        second = browser.post("/sign-in", data=data)
    for cookie in (*first.headers.get_list("set-cookie"), *second.headers.get_list("set-cookie")):
        assert "HttpOnly" in cookie and "SameSite=" in cookie, cookie


@pytest.mark.usefixtures("staff", "catalogue")
def test_what_a_person_sends_can_not_become_markup(running: Running, shop: httpx.Client) -> None:
    evil = "<img src=x onerror=alert(1)>\"'"
    shop.put("/v1/offers/evil", json={"name": evil}).raise_for_status()
    shop.put("/v1/creatives/evil", json={"offerId": "evil", "status": "approved"}).raise_for_status()
    answer = shop.post("/v1/decide", json={"placement": "home", "anonymousId": evil, "slots": 20}).json()
    with signed_in(running) as browser:
        for path in (f"/decisions/{answer['decisionId']}", "/decisions", f"/decisions?person={evil}&since={evil}"):
            page = browser.get(path)
            assert page.status_code == 200
            assert "<img" not in page.text


@pytest.mark.usefixtures("staff")
def test_passwords_can_not_be_tried_out(running: Running) -> None:
    """Last in this module: it uses up the attempts from this address."""
    with running.client() as browser:
        data = {"form": form_code(browser.get("/sign-in").text), "email": "nobody@example.com", "password": "guess"}
        answers = [browser.post("/sign-in", data=data).status_code for _ in range(11)]
    assert answers == [403] * 10 + [429]
