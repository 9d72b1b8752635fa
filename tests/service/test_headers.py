"""What every answer carries: an id of the request, and headers of safety."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

import vitrina
from tests.service.conftest import Running, start
from vitrina.service.logs import REQUEST

pytestmark = pytest.mark.usefixtures("catalogue")
MADE = re.compile(r"r_[0-9a-f]{18}")
ASKS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/decide", {"json": {"placement": "home", "anonymousId": "a"}}),
    ("POST", "/v1/decide", {"json": {"placement": 7}}),
    ("POST", "/v1/track", {"content": b"{"}),
    ("GET", "/v1/track", {}),
    ("GET", "/v1/profiles/nobody", {}),
    ("PUT", "/v1/offers/mug", {"json": {"name": 7}}),
    ("GET", "/v1/offers/tea", {}),
    ("GET", "/v1/nothing", {}),
    ("GET", "/nothing", {}),
    ("GET", "/sign-in", {}),
    ("GET", "/static/tokens.css", {}),
    ("GET", "/schema/openapi.json", {}),
    ("GET", "/healthz", {}),
    ("OPTIONS", "/v1/decide", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), ASKS)
def test_every_answer_has_an_id_and_can_not_be_taken_for_something_else(
    shop: httpx.Client, method: str, path: str, body: dict[str, Any]
) -> None:
    first, again = (shop.request(method, path, **body) for _ in range(2))
    assert (
        MADE.fullmatch(first.headers["x-request-id"]) and first.headers["x-request-id"] != again.headers["x-request-id"]
    )
    assert first.headers["x-content-type-options"] == "nosniff"
    if path.startswith("/v1/") and method != "OPTIONS":
        assert first.headers["cache-control"] == "no-store"
    kind = first.headers.get("content-type", "")
    if "problem+json" in kind:
        assert first.json()["requestId"] == first.headers["x-request-id"]
    if "text/html" in kind:
        assert "default-src 'none'" in first.headers["content-security-policy"]


@pytest.mark.parametrize("given", ["a", "0af7651916cd43dd8448eb211c80319c", "web-1:7.x_y", "x" * 64])
def test_a_sane_id_is_kept(shop: httpx.Client, given: str) -> None:
    for path in ("/v1/decide", "/v1/profiles/nobody"):
        answer = shop.request("POST" if path.endswith("decide") else "GET", path, headers={"x-request-id": given})
        assert answer.headers["x-request-id"] == answer.json()["requestId"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "<script>", "a\tb", "ann@example.com", "é".encode()])
def test_another_id_is_replaced(running: Running, shop: httpx.Client, given: str | bytes) -> None:
    answer = shop.get("/v1/profiles/nobody", headers=[("x-request-id", given)])
    assert MADE.fullmatch(answer.headers["x-request-id"])
    assert MADE.fullmatch(answer.json()["requestId"])


def test_a_fault_of_ours_is_found_in_the_log_by_its_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody took a table away: the answer says nothing of it, the log says all, under the request's id."""
    logged: list[tuple[bytes, bool]] = []

    def note(record: logging.LogRecord) -> bool:
        logged.append((REQUEST.get(), bool(record.exc_info)))
        return True

    caplog.handler.addFilter(note)
    workspace = vitrina.init(tmp_path / "shop")
    workspace.start()
    address, stop = start(workspace)
    try:
        workspace.store.write(lambda connection: connection.exec_driver_sql("drop table erasure_receipt"))
        with Running(workspace, address, "", "").client(workspace.keys.create("secret")) as shop:
            answer = shop.get("/v1/erasures/e_1", headers={"x-request-id": "find-me"})
    finally:
        stop()
        workspace.close()
    assert answer.status_code == 500
    assert answer.json()["requestId"] == "find-me"
    assert "erasure" not in answer.text and "sql" not in answer.text.lower()
    assert (b"find-me", True) in logged
