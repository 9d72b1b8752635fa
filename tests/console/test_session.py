"""Cookies that were not signed here open nothing, and run out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.console.page import safe_path
from vitrina.console.session import LIFETIME, Attempts, Sessions
from vitrina.core.clock import MINUTE, SimulatedClock

START = 1_700_000_000_000_000


def sessions(clock: SimulatedClock, secret: bytes = b"s" * 32) -> Sessions:
    return Sessions(lambda: secret, clock)


def test_a_session_is_read_until_it_runs_out() -> None:
    clock = SimulatedClock(START)
    mine = sessions(clock)
    cookie = mine.issue("m_1")
    assert mine.read(cookie) == ("m_1", START)
    assert sessions(clock, b"t" * 32).read(cookie) is None
    clock.advance(LIFETIME)
    assert mine.read(cookie) is None


@given(st.text(max_size=80))
def test_a_made_up_cookie_opens_nothing(cookie: str) -> None:
    mine = sessions(SimulatedClock(START))
    assert mine.read(cookie) is None
    body, _, signature = mine.issue("m_1").partition(".")
    assert mine.read(f"{body}x.{signature}") is None


def test_a_form_belongs_to_its_cookie() -> None:
    mine = sessions(SimulatedClock(START))
    cookie = mine.new_form()
    assert mine.is_our_form(cookie, mine.form_code(cookie))
    assert not mine.is_our_form(mine.new_form(), mine.form_code(cookie))
    assert not mine.is_our_form("", mine.form_code(""))
    assert not mine.is_our_form(cookie, "")
    session = mine.issue("m_1")
    assert not mine.is_our_form(session.partition(".")[0], session.partition(".")[2])


def test_passwords_can_not_be_tried_out() -> None:
    clock = SimulatedClock(START)
    attempts = Attempts(clock)
    for _ in range(10):
        assert attempts.allowed("mail ann", "from 10.0.0.1")
        attempts.failed("mail ann", "from 10.0.0.1")
    assert not attempts.allowed("mail ann", "from 10.0.0.2")
    assert not attempts.allowed("mail bob", "from 10.0.0.1")
    assert attempts.allowed("mail bob", "from 10.0.0.2")
    clock.advance(15 * MINUTE)
    assert attempts.allowed("mail ann", "from 10.0.0.1")


@pytest.mark.parametrize(
    "path",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "", None, "/a\r\nb", "/a b", "\t/x"],
)
def test_the_way_back_stays_on_this_site(path: str | None) -> None:
    assert safe_path(path) == "/decisions"
