"""Bodies are read within bounds, whatever is sent."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.core.errors import UserError
from vitrina.service.body import BodyTooLargeError, inflate, read


def receive_of(parts: list[bytes]) -> Any:
    waiting = [{"type": "http.request", "body": part, "more_body": n + 1 < len(parts)} for n, part in enumerate(parts)]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    return receive


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6))
def test_a_body_is_its_parts(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert asyncio.run(read(receive_of(parts), {}, 2_000, 2_000)) == whole
    if len(whole) > 100:
        with pytest.raises(BodyTooLargeError):
            asyncio.run(read(receive_of(parts), {}, 100, 2_000))


@given(st.binary(max_size=2_000))
def test_gzip_comes_back_as_it_was(body: bytes) -> None:
    assert inflate(gzip.compress(body), 2_000) == body
    if body:
        with pytest.raises(BodyTooLargeError):
            inflate(gzip.compress(body), len(body) - 1)


@given(st.binary(min_size=1, max_size=200))
def test_what_is_no_gzip_is_the_senders_mistake(body: bytes) -> None:
    with suppress(UserError):
        inflate(body, 1_000)


def test_two_members_are_one_body() -> None:
    assert inflate(gzip.compress(b"one ") + gzip.compress(b"two"), 100) == b"one two"


@pytest.mark.parametrize("length", ["many", "-1", "9" * 16, "501"])
def test_an_absurd_length_is_refused_before_reading(length: str) -> None:
    with pytest.raises(BodyTooLargeError):
        asyncio.run(read(receive_of([b"x"]), {b"content-length": length.encode()}, 500, 500))


def test_a_last_part_that_is_too_much_is_not_waited_behind() -> None:
    """After the last part nothing more comes: asking for it would wait for ever."""

    async def receive() -> dict[str, Any]:
        if len(parts) == 0:
            await asyncio.sleep(60)
        return parts.pop(0)

    parts = [{"type": "http.request", "body": b"x" * 400, "more_body": more} for more in (True, False)]
    with pytest.raises(BodyTooLargeError):
        asyncio.run(asyncio.wait_for(read(receive, {}, 500, 500), 5))


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(UserError, match="br"):
        asyncio.run(read(receive_of([b"x"]), {b"content-encoding": b"br"}, 500, 500))


def test_a_sender_who_goes_away_is_no_body() -> None:
    async def receive() -> dict[str, Any]:
        return (
            {"type": "http.disconnect"}
            if asked
            else asked.append(1) or {"body": b"x", "more_body": True, "type": "http.request"}
        )

    asked: list[int] = []
    with pytest.raises(UserError, match="went away"):
        asyncio.run(read(receive, {}, 500, 500))
