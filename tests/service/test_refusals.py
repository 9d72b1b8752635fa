"""The audit log hears of a refusal at once, and of its repeats as a count."""

from __future__ import annotations

from vitrina.service.refusals import Refusals


def test_repeats_are_counted_not_written() -> None:
    heard: list[tuple[str, str, str, int]] = []
    now = [0.0]
    refusals = Refusals(lambda *entry: heard.append(entry), timer=lambda: now[0])
    for _ in range(1000):
        refusals.note("/v1/track", "key.unknown", "")
    refusals.note("/v1/decide", "key.unknown", "")
    assert heard == [("", "key.unknown", "/v1/track", 1), ("", "key.unknown", "/v1/decide", 1)]
    now[0] = 61.0
    refusals.note("/v1/track", "key.unknown", "")
    assert heard[-1] == ("", "key.unknown", "/v1/track", 1000)
    refusals.note("/v1/track", "key.unknown", "")
    refusals.flush()
    assert heard[-1] == ("", "key.unknown", "/v1/track", 1)
