"""Limits by key and by address: what is let through, what is 429, whose address counts, and that memory is bounded."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vitrina
from tests.service.conftest import Running, start
from tests.service.test_collect import eventually_refusals, track
from vitrina.service.exchange import Clients
from vitrina.service.limits import Buckets

SLOW = """
[service]
trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"]
requests_per_address = 0.01
requests_per_write_key = 0.02
requests_per_secret_key = 0.05
burst_seconds = 300
"""
"""A bucket gives back one request in 100, 50 or 20 seconds: within a test it holds 3, 6 or 15 requests."""


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Running]:
    """A server that lets little through, behind a proxy on this machine."""
    folder = tmp_path / "shop"
    vitrina.init(folder).close()
    settings = folder / "vitrina.toml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("[service]\n", SLOW), encoding="utf-8")
    workspace = vitrina.open(folder)
    workspace.start()
    address, stop = start(workspace)
    yield Running(workspace, address, workspace.keys.create("secret"), workspace.keys.create("write"))
    stop()
    workspace.close()


def from_address(address: str) -> dict[str, str]:
    return {"x-forwarded-for": address}


def statuses(ask: Callable[[], httpx.Response], times: int) -> list[int]:
    return [ask().status_code for _ in range(times)]


def test_a_secret_key_is_counted_by_itself_wherever_it_comes_from(slow: Running) -> None:
    other = slow.workspace.keys.create("secret")
    with slow.client(slow.secret_key) as shop, slow.client(other) as second:
        for number in range(15):
            answer = shop.get("/v1/offers/none", headers=from_address(f"203.0.113.{number}"))
            assert answer.status_code == 404
        refused = shop.post("/v1/track", json=track(1))
        assert (refused.status_code, refused.json()["code"]) == (429, "rate.key")
        assert refused.headers["content-type"] == "application/problem+json"
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert shop.get("/v1/offers/none").status_code == 429
        assert second.get("/v1/offers/none").status_code == 404


def test_a_write_key_is_counted_by_key_and_by_address(slow: Running) -> None:
    with slow.client(slow.write_key) as page:

        def ask(address: str) -> Callable[[], httpx.Response]:
            return lambda: page.post("/v1/track", json=track(1), headers=from_address(address))

        assert statuses(ask("203.0.113.1"), 4) == [200, 200, 200, 429]
        assert statuses(ask("203.0.113.2"), 3) == [200, 200, 200]
        by_key = ask("203.0.113.3")()
        assert (by_key.status_code, by_key.json()["code"], by_key.json()["field"]) == (429, "rate.key", "authorization")
        by_address = ask("203.0.113.1")()
        assert (by_address.status_code, by_address.json()["code"]) == (429, "rate.address")
    with slow.client(slow.secret_key) as shop:
        assert shop.post("/v1/track", json=track(2), headers=from_address("203.0.113.1")).status_code == 200
    assert {entry.actor.split()[0] for entry in eventually_refusals(slow, "rate.key")} == {"write"}


def test_a_key_in_the_body_is_counted_too(slow: Running) -> None:
    with slow.client() as page:
        answers = [
            page.post("/v1/t", json=track(1, writeKey=slow.write_key), headers=from_address(f"203.0.113.{number}"))
            for number in range(7)
        ]
    assert [answer.status_code for answer in answers] == [200] * 6 + [429]
    assert answers[6].json()["code"] == "rate.key"


def test_who_has_no_key_is_counted_by_address_on_every_route_but_health(slow: Running) -> None:
    headers = from_address("2001:db8:1:2::7")
    with slow.client("vs_" + "x" * 43) as guesser, slow.client() as nobody:
        assert guesser.get("/v1/profiles/ann", headers=headers).status_code == 401
        assert nobody.get("/sign-in", headers=headers).status_code == 200
        assert nobody.post("/v1/track", json=track(1), headers=headers).status_code == 401
        for ask in ("/sign-in", "/schema/openapi.json", "/v1/profiles/ann", "/nothing", "/static/tokens.css"):
            neighbour = from_address("2001:db8:1:2:ffff::1")
            assert nobody.get(ask, headers=neighbour).status_code == 429, "one /64 is one household"
        assert guesser.post("/v1/track", json=track(1), headers=headers).status_code == 429
        assert nobody.get("/sign-in", headers=from_address("2001:db8:1:3::7")).status_code == 200
        assert statuses(lambda: nobody.get("/healthz", headers=headers), 20) == [200] * 20


def test_a_refused_body_is_not_looked_at(slow: Running) -> None:
    """What would be 400, 413 or 401 is 429 once the bucket is empty."""
    headers = from_address("203.0.113.9")
    packed = gzip.compress(json.dumps(track(1)).encode())[:-9]
    with slow.client(slow.write_key) as page:
        for body, more, status in ((b"{", {}, 400), (packed, {"content-encoding": "gzip"}, 400), (b"x", {}, 400)):
            assert page.post("/v1/track", content=body, headers=headers | more).status_code == status
        for body, more in ((b"{", {}), (packed, {"content-encoding": "gzip"}), (b"x" * 600_000, {})):
            refused = page.post("/v1/track", content=body, headers=headers | more)
            assert (refused.status_code, refused.json()["code"]) == (429, "rate.address")
        assert page.post("/v1/track", json=track(2), headers=from_address("203.0.113.10")).status_code == 200


def test_without_a_trusted_proxy_nobody_writes_an_address(running: Running) -> None:
    """On a server with default settings the header changes nothing, and this machine itself is not counted."""
    with running.client() as nobody:
        asked = statuses(lambda: nobody.get("/v1/profiles/ann", headers=from_address("203.0.113.1")), 1_200)
    assert asked == [401] * 1_200


CASES: list[tuple[tuple[str, ...], str, list[str], str]] = [
    ((), "198.51.100.1", ["203.0.113.1"], "198.51.100.1"),
    (("10.0.0.0/8",), "198.51.100.1", ["203.0.113.1"], "198.51.100.1"),
    (("10.0.0.0/8",), "10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
    (("10.0.0.0/8",), "10.0.0.1", ["1.1.1.1, 203.0.113.1"], "203.0.113.1"),
    (("10.0.0.0/8",), "10.0.0.1", ["1.1.1.1", "203.0.113.1"], "203.0.113.1"),
    (("10.0.0.0/8",), "10.0.0.1", ["203.0.113.1, 10.9.9.9"], "203.0.113.1"),
    (("10.0.0.0/8",), "10.0.0.1", ["10.2.2.2, 10.9.9.9"], "10.2.2.2"),
    (("10.0.0.0/8",), "10.0.0.1", ["203.0.113.1, nonsense"], "10.0.0.1"),
    (("10.0.0.0/8",), "10.0.0.1", ["203.0.113.1, nonsense, 10.9.9.9"], "10.9.9.9"),
    (("10.0.0.0/8",), "10.0.0.1", [""], "10.0.0.1"),
    (("10.0.0.0/8",), "10.0.0.1", ["203.0.113.1:55555"], "203.0.113.1"),
    (("10.0.0.0/8",), "::ffff:10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
    (("2001:db8::/32",), "2001:db8::9", ["2001:db9::1"], "2001:db9::1"),
    (("10.0.0.1",), "10.0.0.2", ["203.0.113.1"], "10.0.0.2"),
    (("10.0.0.0/8",), "", ["203.0.113.1"], ""),
]


@pytest.mark.parametrize(("trusted", "peer", "said", "address"), CASES)
def test_the_address_is_the_nearest_that_no_trusted_proxy_has(
    trusted: tuple[str, ...], peer: str, said: list[str], address: str
) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in said] + [(b"x-forwarded-proto", b"https")]
    scope: dict[str, Any] = {"client": (peer, 5) if peer else None, "headers": headers, "scheme": "http"}
    clients = Clients(trusted)
    assert clients.place(scope, dict(headers)) == address
    believed = any(peer.endswith(inside) for inside in ("10.0.0.1", "2001:db8::9")) and bool(trusted)
    assert scope["scheme"] == ("https" if believed else "http")
    assert (scope["client"] or ("",))[0] == address


@given(
    rate=st.floats(0.1, 50),
    burst=st.floats(0, 100),
    gaps=st.lists(st.floats(0, 20), min_size=1, max_size=300),
)
def test_no_span_lets_more_through_than_burst_and_rate_allow(rate: float, burst: float, gaps: list[float]) -> None:
    now = [0.0]
    buckets = Buckets(rate, burst, timer=lambda: now[0])
    let_in: list[float] = []
    for gap in gaps:
        now[0] += gap
        wait = buckets.take("a")
        if wait == 0:
            let_in.append(now[0])
        else:
            before, now[0] = now[0], now[0] + wait * (1 + 1e-9) + 1e-9
            assert buckets.take("a") == 0, f"{wait} s after {before} there is one again"
            let_in.append(now[0])
    for i, begin in enumerate(let_in):
        for j in range(i, len(let_in)):
            assert j - i + 1 <= max(burst, 1) + rate * (let_in[j] - begin) + 1e-6


def test_a_burst_comes_whole_and_comes_back() -> None:
    now = [100.0]
    buckets = Buckets(2, 4, timer=lambda: now[0])
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    now[0] += 2
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert Buckets(0, 10).take("a") == 0


def test_memory_is_bounded_and_the_least_used_bucket_goes_first() -> None:
    now = [0.0]
    buckets = Buckets(1, 1, most=100, timer=lambda: now[0])
    assert buckets.take("busy") == 0
    for number in range(10_000):
        buckets.take(f"address {number}")
        assert buckets.take("busy") > 0
        assert len(buckets) <= 100
