"""Traces: what a request, a decision and the work behind them look like to a real OTLP receiver; nothing when off."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import vitrina
from tests.service.conftest import start
from vitrina.core.errors import MissingExtraError
from vitrina.tracing import STEPS

MAIL, NAME = "anna.petrova@example.org", "Анна Петрова"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Receiver:
    """An OTLP receiver over HTTP on loopback: keeps every body, decoded."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.paths: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.paths.add(self.path)
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                outer.bodies.append(body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def spans(self) -> list[Span]:
        found: list[Span] = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found += scope.spans
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def told(span: Span) -> dict[str, str | int | bool]:
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in span.attributes}


def traffic(receiver: Receiver, folder: Path, parent: str = PARENT) -> list[Span]:
    """Some requests to a served workspace that traces to the receiver; every span, once it is closed."""
    with vitrina.init(folder) as workspace:
        workspace.start()
        key = workspace.keys.create("secret")
        address, stop = start(workspace)
        with httpx.Client(base_url=address, auth=(key, ""), trust_env=False, timeout=20) as client:
            client.put("/v1/placements/home", json={"name": "Home"}).raise_for_status()
            offer = {
                "name": "Tea",
                "price": {"amount": "9.5", "currency": "EUR"},
                "margin": {"amount": 2, "currency": "EUR"},
            }
            client.put("/v1/offers/tea", json=offer).raise_for_status()
            creative = {"offerId": "tea", "status": "approved", "content": {"title": "Tea"}}
            client.put("/v1/creatives/tea-web", json=creative).raise_for_status()
            call = {"event": "Product Viewed", "userId": MAIL, "properties": {"name": NAME}}
            client.post("/v1/track", json=call).raise_for_status()
            asked = {"placement": "home", "userId": MAIL, "context": {"who": NAME}}
            answer = client.post("/v1/decide", json=asked, headers={"traceparent": parent})
            answer.raise_for_status()
            shown = {"event": "Promotion Clicked", "userId": MAIL,
                     "properties": {"decisionId": answer.json()["decisionId"], "offerId": "tea"}}  # fmt: skip
            client.post("/v1/track", json=shown).raise_for_status()
            assert client.post("/v1/decide", json={"placement": MAIL, "userId": MAIL}).status_code == 404
            client.get(f"/v1/profiles/{MAIL}").raise_for_status()
        workspace.profiles.settle()
        workspace.drain()
        until = time.monotonic() + 30
        while not workspace.learner.examples and time.monotonic() < until:
            time.sleep(0.05)
        assert workspace.learner.examples
        stop()
    return receiver.spans()


def test_the_whole_loop_is_traced(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINA_SERVICE_TRACES", receiver.address)
    monkeypatch.setenv("VITRINA_SERVICE_TRACES_SHARE", "1")
    spans = traffic(receiver, tmp_path / "shop")
    assert receiver.paths == {"/v1/traces"}
    names = {span.name for span in spans}
    assert {"POST /v1/track", "POST /v1/decide", "GET /v1/profiles/{identifier}"} <= names
    assert {"collect", "commit", "fold", "decide", "drain", "learn"} <= names

    request = next(
        span for span in spans if span.trace_id.hex() == PARENT.split("-")[1] and span.kind == Span.SPAN_KIND_SERVER
    )
    assert request.parent_span_id.hex() == PARENT.split("-")[2]
    assert told(request)["http.response.status_code"] == 200 and told(request)["http.route"] == "/v1/decide"
    decide = next(span for span in spans if span.parent_span_id == request.span_id)
    assert (decide.name, told(decide)["vitrina.placement"]) == ("decide", "home")
    steps = [span for span in spans if span.parent_span_id == decide.span_id]
    assert [step.name for step in sorted(steps, key=lambda span: span.start_time_unix_nano)] == list(STEPS)
    assert all(decide.start_time_unix_nano <= step.start_time_unix_nano for step in steps)

    failed = [span for span in spans if span.name == "decide" and span.status.code == 2]
    assert [span.status.message for span in failed] == ["placement.unknown"]
    assert sum(told(span)["vitrina.rows"] == 1 for span in spans if span.name == "fold") >= 1
    assert MAIL.encode() not in b"".join(receiver.bodies)
    assert NAME.encode() not in b"".join(receiver.bodies)


def test_a_caller_may_say_that_a_request_is_not_to_be_traced(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRINA_SERVICE_TRACES", f"{receiver.address}/v1/traces")
    monkeypatch.setenv("VITRINA_SERVICE_TRACES_SHARE", "1")
    spans = traffic(receiver, tmp_path / "shop", PARENT[:-2] + "00")
    assert receiver.paths == {"/v1/traces"}
    assert [span for span in spans if span.trace_id.hex() == PARENT.split("-")[1]] == []
    assert any(span.name == "POST /v1/track" for span in spans)


def test_a_share_of_nothing_sends_only_what_a_caller_wants(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRINA_SERVICE_TRACES", receiver.address)
    monkeypatch.setenv("VITRINA_SERVICE_TRACES_SHARE", "0")
    spans = traffic(receiver, tmp_path / "shop")
    assert {span.trace_id.hex() for span in spans} == {PARENT.split("-")[1]}


WITHOUT = """
import sys, tempfile, vitrina
from vitrina.service import create_app
with vitrina.init(tempfile.mkdtemp() + "/shop") as workspace:
    workspace.start()
    create_app(workspace)
    import json
    assert workspace.tracing is None
    heavy = ("opentelemetry.sdk", "opentelemetry.trace", "opentelemetry.exporter", "google.protobuf", "requests")
    loaded = [name for name in sys.modules if name.startswith((*heavy, "vitrina.tracing"))]
    parts = (workspace.decider, workspace.intake, workspace.profiles, workspace.lake, workspace.store.writer)
    methods = ("decide", "choose", "receive", "fold", "drain", "commit")
    wrapped = [name for part in parts for name in vars(part) if name in methods]
    print(json.dumps([loaded, wrapped]))
"""


def test_off_by_default_nothing_is_loaded_and_nothing_is_wrapped() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [[], []]


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINA_SERVICE_TRACES", "http://127.0.0.1:4318")
    for name in [name for name in sys.modules if name.startswith("opentelemetry.exporter")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(
        sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None
    )  # as if not installed
    with vitrina.init(tmp_path / "shop") as workspace:
        with pytest.raises(MissingExtraError, match="opentelemetry") as caught:
            workspace.start()
        assert caught.value.code == "extra.missing" and "vitrina[otel]" in caught.value.cure
        assert workspace.background.running == ()
