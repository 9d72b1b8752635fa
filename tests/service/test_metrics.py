"""/metrics: every declared metric and no other, numbers that follow what happened, nothing about a person, a guard."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import vitrina
from tests.service.conftest import Running, start
from vitrina.core.access import Source
from vitrina.service.life import Life
from vitrina.service.meter import RequestMeter
from vitrina.service.metrics import METRICS

PERSONAL = ("anna.petrova@example.org", "Анна Петрова", "+79161234567", "visitor-anna-77")


@pytest.fixture(scope="module")
def busy(running: Running, shop: httpx.Client, page: httpx.Client, catalogue: None) -> Running:
    """A shop after some traffic: good events and bad ones, a repeat, decisions, refusals."""
    mail, name, phone, visitor = PERSONAL
    order = {
        "type": "track", "event": "Order Completed", "userId": mail, "messageId": "o-1",
        "properties": {"order_id": "1", "total": 10, "currency": "EUR"},
    }  # fmt: skip
    identify = {"type": "identify", "userId": mail, "messageId": "i-1", "traits": {"name": name, "phone": phone}}
    bad = {"type": "track", "event": "Order Completed", "userId": mail, "properties": {"total": -3}}
    for _ in range(2):
        shop.post("/v1/batch", json={"batch": [order, identify, bad]}).raise_for_status()
    seen = {"event": "Product Viewed", "anonymousId": visitor, "properties": {"product_id": "tea"}}
    page.post("/v1/track", json=seen).raise_for_status()
    page.post("/v1/t", json=seen).raise_for_status()
    for number in range(6):
        body = {"placement": "home", "anonymousId": f"{visitor}-{number}"}
        shop.post("/v1/decide", json=body).raise_for_status()
    assert shop.get(f"/v1/profiles/{mail}").status_code == 200
    assert page.get(f"/v1/profiles/{mail}").status_code == 403
    assert shop.get(f"/no/such/{mail}").status_code == 404
    return running


@pytest.fixture(scope="module")
def text(busy: Running) -> str:
    with busy.client() as nobody:
        answer = nobody.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


@pytest.fixture(scope="module")
def samples(text: str) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels["worker"] == "0", sample
            labels = frozenset((name, value) for name, value in sample.labels.items() if name != "worker")
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def label(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def test_every_declared_metric_is_there_and_no_other(text: str) -> None:
    kinds = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE "))
    assert kinds == {metric.name: metric.kind for metric in METRICS}
    helps = [line.split(" ", 3) for line in text.splitlines() if line.startswith("# HELP vitrina_")]
    assert {name: words for _, _, name, words in helps} == {
        metric.name: metric.meaning for metric in METRICS if metric.name.startswith("vitrina_")
    }


def test_labels_are_those_that_are_declared(text: str) -> None:
    declared = {metric.name: set(metric.labels) for metric in METRICS}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = family.name if family.name in declared else f"{family.name}_total"
            assert set(sample.labels) - {"worker", "le"} == declared[name], sample


def test_counts_follow_what_happened(samples: dict[str, dict[frozenset[tuple[str, str]], float]]) -> None:
    assert samples["vitrina_events_total"] == {label(trusted="yes"): 2, label(trusted="no"): 2}
    assert samples["vitrina_store_repeats_total"] == {label(journal="events"): 2}
    assert samples["vitrina_store_rows_total"][label(journal="events")] == 4
    assert samples["vitrina_dead_letters_total"] == {label(code="money.negative"): 2}
    decisions = samples["vitrina_decisions_total"]
    assert sum(decisions.values()) == 6
    assert {dict(kind)["placement"] for kind in decisions} == {"home"}
    held = sum(count for kind, count in decisions.items() if dict(kind)["holdout"] == "yes")
    assert samples["vitrina_holdout_share"] == {label(placement="home"): held / 6}
    assert samples["vitrina_holdout_wanted"] == {label(placement="home"): 0.05}
    assert samples["vitrina_refusals_total"] == {label(route="/v1/profiles/{identifier}", code="key.scope"): 1}
    assert samples["vitrina_store_healthy"] == {frozenset(): 1}
    assert samples["vitrina_ready"] == {frozenset(): 1}
    assert samples["vitrina_banks_published_total"][label(placement="home")] >= 1


def test_latencies_are_by_route_and_status(samples: dict[str, dict[frozenset[tuple[str, str]], float]]) -> None:
    counts = samples["vitrina_request_seconds_count"]
    assert counts[label(route="/v1/decide", status="200")] == 6
    assert counts[label(route="/v1/batch", status="200")] == 2
    assert counts[label(route="/v1/track", status="200")] == 2  # the letter form is the same call
    assert counts[label(route="/v1/profiles/{identifier}", status="403")] == 1
    assert counts[label(route="other", status="404")] == 1
    buckets = samples["vitrina_request_seconds_bucket"]
    assert buckets[label(route="/v1/decide", status="200", le="+Inf")] == 6
    groups = samples["vitrina_store_group_rows_count"][frozenset()]
    assert groups == samples["vitrina_store_commit_seconds_count"][frozenset()] > 0


def test_nothing_about_a_person_is_told(text: str, busy: Running) -> None:
    assert "visitor" not in text and "anna" not in text.lower()
    assert not [secret for secret in (*PERSONAL, busy.secret_key, busy.write_key, '"tea"', '"o-1"') if secret in text]


def test_an_answer_names_its_request(busy: Running, shop: httpx.Client) -> None:
    answers = [
        shop.post("/v1/decide", json={"placement": "home", "anonymousId": "x"}),
        shop.post("/v1/decide", json={}),
        shop.get("/healthz"),
        shop.get("/v1/offers/tea"),
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 4


def test_without_an_allowed_address_a_key_with_the_scope_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRINA_SERVICE_METRICS_FROM", "10.0.0.0/8, fd00::/8")
    with vitrina.init(tmp_path / "shop") as workspace:
        workspace.start()
        keys = {
            "metrics": workspace.keys.create("secret", scopes=["metrics"]),
            "decide": workspace.keys.create("secret", scopes=["decide"]),
            "write": workspace.keys.create("write"),
            "all": workspace.keys.create("secret"),
        }
        address, stop = start(workspace)
        try:
            found = {
                name: httpx.get(f"{address}/metrics", headers={"authorization": f"Bearer {key}"}, trust_env=False)
                for name, key in keys.items()
            }
            nobody = httpx.get(f"{address}/metrics", trust_env=False)
        finally:
            stop()
    assert {name: answer.status_code for name, answer in found.items()} == {
        "metrics": 200,
        "decide": 403,
        "write": 403,
        "all": 200,
    }
    assert (nobody.status_code, nobody.json()["code"]) == (401, "key.missing")


def test_what_a_proxy_passed_on_needs_a_key_though_it_comes_from_this_machine(busy: Running) -> None:
    for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        answer = httpx.get(f"{busy.address}/metrics", headers={name: "203.0.113.9"}, trust_env=False)
        assert answer.status_code == 401, name
    with busy.client(busy.secret_key) as shop:
        assert shop.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 200


def test_a_wrong_key_is_not_saved_by_its_address(busy: Running) -> None:
    with busy.client("vs_wrong") as stranger:
        assert stranger.get("/metrics").status_code == 401


def test_routes_have_a_bound() -> None:
    meter = RequestMeter()
    for number in range(1_000):
        meter.note(f"/r{number}", 200, 0.001)
    seen = meter.read()
    assert len(seen) == 401
    assert seen["other", 0].count == 600


def test_each_worker_answers_for_itself(running: Running) -> None:
    from vitrina.service.metrics import Metrics
    from vitrina.service.refusals import Refusals

    text = Metrics(running.workspace, RequestMeter(), Refusals(lambda *_: None), Life("3")).text().decode()
    assert 'vitrina_ready{worker="3"} 1.0' in text


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[vitrina.Workspace]:
    monkeypatch.setenv("VITRINA_SERVICE_BEHIND_SECONDS", "0.001")
    with vitrina.init(tmp_path / "shop") as workspace:
        yield workspace


def test_lags_tell_rows_and_the_age_of_the_oldest(behind: vitrina.Workspace) -> None:
    behind.claim()
    before = behind.vitals.read()
    assert [(lag.rows, lag.seconds) for lag in before.lags] == [(0, 0.0)] * 5
    call = b'{"userId": "u", "event": "Product Viewed", "messageId": "%d"}'
    for number in range(3):
        behind.receive(call % number, "track", Source("s", "secret", True)).result()
    lags = {(lag.reader, lag.journal): lag for lag in behind.vitals.lags()}
    assert lags["fold", "events"].rows == lags["lake", "events"].rows == 3
    assert lags["fold", "events"].seconds > 0
    assert lags["lake", "events"].seconds >= lags["fold", "events"].seconds
    assert [problem.code for problem in behind.problems()] == ["folder.behind", "not.started"]
    behind.step()
    assert [problem.code for problem in behind.problems()] == ["not.started"]
    behind.drain()
    assert [lag.rows for lag in behind.vitals.lags()] == [0] * 5


def test_who_waits_in_front_of_a_busy_store_is_counted(behind: vitrina.Workspace) -> None:
    queues = {queue.journal: queue for queue in behind.vitals.read().queues}
    settings = behind.settings
    assert queues["events"].most_rows == settings.collect.waiting_events
    assert queues["decisions"].most_rows == settings.decide.waiting_decisions
    gate = socket.socketpair()
    behind.store.writer.call(lambda _: gate[0].recv(1))  # the writer waits for us
    ticket = behind.receive(b'{"userId": "u", "event": "Viewed"}', "track", Source("s", "secret", True))
    waiting = {queue.journal: queue for queue in behind.vitals.read().queues}["events"]
    gate[1].send(b"x")
    ticket.result(20)
    assert waiting.rows == 1 and waiting.size > 0
    assert {queue.journal: queue.rows for queue in behind.vitals.read().queues}["events"] == 0
    for end in gate:
        end.close()
