"""Reading request bodies: whole batches, and what is kept when one event is bad."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vitrina.collect.segment_api import read
from vitrina.core.errors import UserError

GOOD = '{"type":"track","event":"Product Viewed","userId":"1","messageId":"g"}'


def batch(*events: str) -> bytes:
    return ('{"batch":[' + ",".join(events) + "]}").encode()


def test_a_batch_is_read_whole() -> None:
    delivery = read(
        b'{"batch":[' + GOOD.encode() + b'],"sentAt":"2026-05-01T12:00:00.5Z","writeKey":"k","context":{"ip":"::1"}}',
        "batch",
    )
    assert [message.event for message in delivery.messages] == ["Product Viewed"]
    assert delivery.write_key == "k"
    assert delivery.context == {"ip": "::1"}
    assert delivery.sent_at is not None
    assert delivery.places == [0]
    assert delivery.dead == []


@pytest.mark.parametrize("kind", ["track", "identify", "page", "screen", "group", "alias"])
def test_a_single_call_is_of_the_type_of_its_route(kind: str) -> None:
    delivery = read(b'{"userId":"1","type":"track","event":"E","writeKey":"k"}', kind)
    assert delivery.messages[0].type == kind
    assert delivery.places == [-1]
    assert delivery.write_key == "k"


BAD: list[tuple[str, str, str]] = [
    ('{"type":"trakc","event":"E","userId":"1"}', "event.unknown_type", "batch[1].type"),
    ('{"type":"track","event":7,"userId":"1"}', "event.type", "batch[1].event"),
    ('{"type":"track","event":"E","userId":true}', "event.type", "batch[1].userId"),
    ('{"type":"track","event":"E","userId":"1","properties":[]}', "event.type", "batch[1].properties"),
    ('{"type":"track","event":"E","userId":"1","timestamp":"tomorrow"}', "event.type", "batch[1].timestamp"),
    ('{"type":"track","event":"E","userId":"1","timestamp":1700000000}', "event.type", "batch[1].timestamp"),
    ('{"type":"track","event":"E","userId":"1","properties":{"a":NaN}}', "event.not_finite", "batch[1].properties.a"),
    (
        '{"type":"track","event":"E","userId":"1","properties":{"a":[0,-Infinity]}}',
        "event.not_finite",
        "batch[1].properties.a[1]",
    ),
    ('{"type":"track","event":"E","userId":"1","properties":{"a":1e999}}', "event.not_finite", "batch[1].properties.a"),
    (
        '{"type":"track","event":"E","userId":"1","properties":{"a":' + "9" * 5000 + "}}",
        "event.not_finite",
        "batch[1].properties.a",
    ),
    (r'{"type":"track","event":"E","userId":"\ud800"}', "event.surrogate", "batch[1].userId"),
    (
        r'{"type":"track","event":"E","userId":"1","traits":{"\udc00x":1}}',
        "event.surrogate",
        r"batch[1].traits.\udc00x",
    ),
    ('{"type":"track","userId":"1","properties":' + '{"a":' * 80 + "1" + "}" * 81, "event.too_deep", "batch[1]"),
    ("7", "event.type", "batch[1]"),
    ("null", "event.type", "batch[1]"),
]


@pytest.mark.parametrize(("event", "code", "where"), BAD)
def test_a_bad_event_is_a_dead_letter_and_its_neighbours_stay(event: str, code: str, where: str) -> None:
    nan_elsewhere = '{"type":"track","event":"E","userId":"2","properties":{"x":NaN}}'  # has every event read alone
    delivery = read(batch(GOOD, event, GOOD, nan_elsewhere), "batch")
    assert [m.message_id for m in delivery.messages] == ["g", "g"]
    assert delivery.places == [0, 2]
    letter = delivery.dead[0]
    assert letter.code == code
    assert letter.where.startswith(where)
    assert letter.cause
    assert letter.cure
    assert [later.where for later in delivery.dead[1:]] == ["batch[3].properties.x"]
    json.loads(letter.body or b"null")


def test_bytes_that_are_not_utf8_hurt_only_their_event() -> None:
    body = batch(GOOD, '{"type":"track","event":"E","userId":"2","properties":{"a":"?"}}').replace(b"?", b"\xff")
    delivery = read(body, "batch")
    assert len(delivery.messages) == 1
    assert delivery.dead[0].code == "event.surrogate"
    assert delivery.dead[0].where == "batch[1].properties.a"
    assert delivery.dead[0].subject == "u:2"


def test_of_duplicate_keys_the_last_wins() -> None:
    fast = read(batch('{"type":"track","event":"A","event":"B","userId":"1"}'), "batch")
    slow = read(batch('{"type":"track","event":"A","event":"B","userId":"1"}', "7"), "batch")
    assert fast.messages[0].event == slow.messages[0].event == "B"


def test_fast_and_slow_path_read_the_same() -> None:
    event: dict[str, Any] = {
        "type": "identify",
        "userId": 42,
        "anonymousId": None,
        "traits": {"имя": "Анна", "n": 1 << 70, "x": 1.5},
        "timestamp": "2026-05-01T12:00:00.123+03:00",
        "unknown": [1],
    }
    text = json.dumps(event)
    fast = read(batch(text), "batch").messages[0]
    slow = read(batch(text, "7"), "batch").messages[0]
    assert fast == slow


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json.unreadable"),
        (b"not json", "json.unreadable"),
        (b'{"batch":[', "json.unreadable"),
        (b'{"batch":[{"type":}]}', "json.unreadable"),
        (b"[" * 100_000, "json.unreadable"),
        (b"[]", "json.shape"),
        (b'{"events":[]}', "json.shape"),
        (b'{"batch":{}}', "json.shape"),
        (b'{"batch":null}', "json.shape"),
    ],
)
def test_an_unreadable_body_is_refused_with_its_place(body: bytes, code: str) -> None:
    with pytest.raises(UserError) as caught:
        read(body, "batch")
    assert caught.value.code == code
    assert caught.value.status == 400
    assert caught.value.cure


def test_line_and_column_are_named() -> None:
    with pytest.raises(UserError, match="line 2, column 3"):
        read(b'{"batch":\n [}', "batch")


def test_a_bad_time_of_the_batch_costs_the_correction_not_the_events() -> None:
    delivery = read(b'{"batch":[' + GOOD.encode() + b'],"sentAt":"soon"}', "batch")
    assert len(delivery.messages) == 1
    assert delivery.sent_at is None
    assert [letter.code for letter in delivery.dead] == ["batch.sent_at"]


def test_a_byte_order_mark_is_no_fault() -> None:
    assert len(read(b"\xef\xbb\xbf" + batch(GOOD), "batch").messages) == 1
