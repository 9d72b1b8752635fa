"""The real `segment-analytics-python` sends to us over loopback, and everything arrives once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conformance.conftest import CUT, Proxy
from tests.service.conftest import Running, catalogue, page, running, shop, start
from tests.service.test_decide import eventually_true

segment = pytest.importorskip("segment.analytics.client", reason="segment-analytics-python is not installed")

__all__ = ["catalogue", "page", "running", "shop", "start"]


def client(running: Running, failed: list[Any], key: str = "", **options: Any) -> Any:
    """A client of Segment's that sends to the server and remembers what failed."""
    return segment.Client(
        key or running.write_key,
        host=running.address,
        on_error=lambda *fault: failed.append(fault),
        send=True,
        **options,
    )


def events_of(running: Running, user: str) -> list[Any]:
    profile = running.workspace.profiles.find(user, None)
    return [] if profile is None else list(profile.identifiers)


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_what_it_sends_is_stored_once(running: Running, gzip: bool) -> None:
    failed: list[Any] = []
    user = f"seg-{gzip}"
    sender = client(running, failed, gzip=gzip, max_retries=2, upload_size=50)
    before = head(running)
    sender.identify(user, {"email": f"{user}@example.com", "город": "Казань"}, anonymous_id=f"anon-{user}")
    for number in range(120):
        sender.track(user, "Product Viewed", {"product_id": f"p{number}"}, message_id=f"{user}-{number}")
    sender.page(user, "shop", "home", {"url": "https://shop.example/"})
    sender.screen(user, "app", "basket")
    sender.group(user, "club-1", {"name": "Club"})
    sender.alias(f"anon-{user}", user)
    sender.flush()
    sender.join()
    assert failed == []
    assert head(running) == before + 120 + 5
    eventually_true(lambda: f"a:anon-{user}" in events_of(running, user))


def test_a_repeat_by_the_client_is_harmless(running: Running) -> None:
    failed: list[Any] = []
    sender = client(running, failed, gzip=True)
    before = head(running)
    for _ in range(3):
        sender.track("again", "Product Viewed", {"product_id": "p"}, message_id="again-1")
    sender.flush()
    sender.join()
    assert failed == [] and head(running) == before + 1


def test_times_in_other_zones_and_the_past_are_kept(running: Running) -> None:
    failed: list[Any] = []
    sender = client(running, failed)
    sender.track("late", "Product Viewed", {"product_id": "p"}, timestamp=datetime.now(UTC) - timedelta(days=3))
    sender.flush()
    sender.join()
    assert failed == []


def test_an_unknown_key_is_told_and_not_retried_for_ever(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    failed: list[Any] = []
    with caplog.at_level(logging.CRITICAL, logger="segment"):
        sender = client(running, failed, key="vw_nothing", max_retries=1)
        sender.track("ann", "Product Viewed")
        sender.flush()
        sender.join()
    assert len(failed) == 1


@pytest.mark.parametrize("faults", [[429, 429], [500, 503], [CUT, CUT], [503, CUT, 429]], ids=str)
def test_faults_lose_nothing_and_double_nothing(
    running: Running, proxies: Callable[[str], Proxy], faults: list[int]
) -> None:
    proxy, failed = proxies(running.address), list[Any]()
    proxy.faults = list(faults)
    user, before = f"fault-{'-'.join(map(str, faults))}", head(running)
    sender = segment.Client(
        running.secret_key,
        host=proxy.address,
        on_error=lambda *fault: failed.append(fault),
        max_retries=6,
        upload_size=20,
        gzip=True,
    )
    for number in range(60):
        sender.track(user, "Product Viewed", {"product_id": f"чай-{number}"}, message_id=f"{user}-{number}")
    sender.flush()
    sender.join()
    assert failed == []
    assert proxy.faults == []
    assert sorted(status for _, status in proxy.posts if status != 200) == sorted(faults)
    assert head(running) == before + 60


def head(running: Running) -> int:
    from sqlalchemy import text

    with running.workspace.store.read() as connection:
        return connection.execute(text("select seq from journal_head where journal = 'events'")).scalar() or 0
