"""The log: one line an event of life, as text or JSON, and nothing about a person whatever goes wrong."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text

import vitrina
from vitrina.core.errors import MachineError
from vitrina.service import logs
from vitrina.service.watch import Watch

MAIL, NAME, PHONE = "anna.petrova@example.org", "Анна Сергеевна Петрова", "+79161234567"
VISITOR, ORDER, CITY = "visitor-anna-77", "order-4711-anna", "Петропавловск-Камчатский"
PERSONAL = (MAIL, "petrova", NAME, "Петрова", PHONE, "79161234567", VISITOR, ORDER, CITY, "s3cret-password-anna")


@pytest.fixture
def plain() -> Iterator[None]:
    """Logging as it was, afterwards."""
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, threading.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("vitrina").setLevel(logging.NOTSET)
    logging.raiseExceptions = True
    threading.excepthook = hook


def found_in(said: str, secrets: tuple[str, ...]) -> list[str]:
    """Which secrets a log gives away: as they are, or as JSON or Python would write them."""
    forms = {
        secret: {secret, json.dumps(secret)[1:-1], ascii(secret)[1:-1], repr(secret.encode())[2:-1]}
        for secret in secrets
    }
    low = said.lower()
    return [secret for secret, written in forms.items() if any(form.lower() in low for form in written)]


class Process:
    """A server that logs JSON, what it said, and where it listens."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        command = [
            sys.executable,
            "-c",
            "from vitrina.cli import main; main()",
            "-w",
            str(folder),
            "serve",
            "--port",
            "0",
        ]
        environment = {**os.environ, "VITRINA_SERVICE_LOG": "json", **settings}
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.address = str(self.wait_for("server.ready")["address"])

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)

    def wait_for(self, event: str) -> dict[str, object]:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for line in list(self.lines):
                if event in line:
                    return json.loads(line)
            assert self._process.poll() is None or self._reader.is_alive(), self.lines
            time.sleep(0.02)
        raise AssertionError(f"{event} was not logged: {self.lines}")

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(30)
        self._reader.join(10)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code


def rename_table(folder: Path, name: str, to: str) -> None:
    """Take a table away from under a running server, so that what it wants to write fails with its parameters."""
    url = os.environ.get("VITRINA_STORAGE_URL", "")
    from vitrina.storage.connect import parse_address, store_address

    address = parse_address(store_address(url, folder))
    engine = create_engine(address.url)
    with engine.begin() as connection:
        if address.schema:
            connection.execute(text(f'set search_path to "{address.schema}"'))
        connection.execute(text(f"alter table {name} rename to {to}"))
    engine.dispose()


def a_day(client: httpx.Client, page: httpx.Client) -> None:
    """What a shop, its pages, its staff and strangers send."""
    people = {"userId": MAIL, "anonymousId": VISITOR}
    calls = [
        {"type": "identify", **people, "traits": {"name": NAME, "email": MAIL, "phone": PHONE, "city": CITY}},
        {"type": "track", "event": f"Просмотр {NAME}", **people, "messageId": f"{MAIL}-1"},
        {"type": "track", "event": "Order Completed", **people, "properties": {"order_id": ORDER, "total": -1}},
        {"type": "track", "event": "Order Refunded", **people, "properties": {"order_id": ORDER, "value": "1"}},
        {"type": NAME, **people},
        {"type": "track", "event": "Promotion Clicked", **people, "properties": {"decisionId": VISITOR}},
    ]
    assert client.post("/v1/batch", json={"batch": calls}).status_code == 200
    page.post("/v1/track", json={"event": "Product Viewed", "anonymousId": VISITOR}).raise_for_status()
    assert page.post("/v1/track", content=f'{{"userId": "{MAIL}", '.encode()).status_code == 400
    client.put("/v1/placements/home", json={"name": "Home"}).raise_for_status()
    assert (
        client.post("/v1/decide", json={"placement": "home", "userId": MAIL, "context": {"q": NAME}}).status_code == 200
    )
    assert page.post("/v1/decide", json={"placement": "home", "userId": MAIL}).status_code == 403
    assert client.post("/v1/decide", json={"placement": MAIL, "userId": NAME}).status_code == 404
    consent = {"granted": True, "lawfulBasis": "consent", "source": "form", "textVersion": NAME}
    client.put(f"/v1/profiles/{MAIL}/consents/personalisation", json=consent).raise_for_status()
    for path in (
        f"/v1/profiles/{MAIL}",
        f"/v1/profiles/{MAIL}/export",
        f"/v1/nothing/{MAIL}?name={NAME}&phone={PHONE}",
    ):
        client.get(path)
        page.get(path, params={"email": MAIL})
    client.get(f"/v1/decisions/{VISITOR}/why")
    client.get("/decisions", params={"person": MAIL})
    form = re.search(r'name="form" value="(\w+)"', client.get("/sign-in").text)
    assert form is not None
    client.post("/sign-in", data={"form": form[1], "email": MAIL, "password": "s3cret-password-anna"})
    client.request("PATCH", f"/v1/offers/{MAIL}", content=NAME.encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    vitrina.init(tmp_path / "shop").close()
    return tmp_path / "shop"


def test_a_day_of_traffic_and_of_faults_leaves_no_personal_data_in_the_log(folder: Path) -> None:
    with vitrina.open(folder) as workspace:
        secret, write = workspace.keys.create("secret"), workspace.keys.create("write")
    served = Process(folder, {"VITRINA_SERVICE_SLOW_SECONDS": "0.000001"})
    try:
        with (
            httpx.Client(base_url=served.address, auth=(secret, ""), trust_env=False, timeout=20) as client,
            httpx.Client(base_url=served.address, auth=(write, ""), trust_env=False, timeout=20) as page,
            httpx.Client(base_url=served.address, auth=(f"vs_{MAIL}", ""), trust_env=False, timeout=20) as stranger,
        ):
            a_day(client, page)
            for _ in range(50):
                assert stranger.get(f"/v1/profiles/{MAIL}").status_code == 401
            rename_table(folder, "dead_letter", "away")
            bad = {"event": "Order Completed", "userId": MAIL, "properties": {"total": -1, "order_id": ORDER}}
            failed = client.post("/v1/track", json=bad)
            assert failed.status_code == 500
            rename_table(folder, "away", "dead_letter")
            rename_table(folder, "profile_leaf", "away")
            client.post("/v1/track", json={"event": "Product Viewed", "userId": MAIL, "messageId": ORDER})
            served.wait_for("folding or saving profiles failed")
            rename_table(folder, "away", "profile_leaf")
    finally:
        code = served.stop()
    said = "".join(served.lines)
    assert found_in(said, (*PERSONAL, secret, write, f"vs_{MAIL}")) == []
    events = [json.loads(line) for line in served.lines]
    kinds = [event["event"] for event in events]
    assert {"server.ready", "server.stopping", "server.stopped", "request.refused", "request.slow"} <= set(kinds)
    fault = next(event for event in events if event["event"] == "a request failed")
    assert fault["request"] == failed.headers["x-request-id"]
    assert "sqlalchemy.exc." in fault["fault"] and "hot.py" not in fault["event"]
    refused = [event for event in events if event["event"] == "request.refused" and event["code"] == "key.unknown"]
    assert len(refused) < 5, "fifty refusals of one kind are not fifty lines"
    assert {event["route"] for event in events if event["event"] == "request.slow"} >= {"/v1/batch", "/v1/decide"}
    assert all({"at", "level", "logger", "event"} <= set(event) for event in events)
    assert code == 0


def test_the_scan_finds_what_a_plain_log_would_tell(folder: Path) -> None:
    """The control: the very error that the server above logged does name the person when it is written as it is."""
    with vitrina.open(folder) as workspace:
        workspace.claim()
        rename_table(folder, "dead_letter", "away")
        bad = json.dumps({"event": "Order Completed", "userId": MAIL, "properties": {"total": -1, "city": CITY}})
        from vitrina.core.access import Source

        with pytest.raises(Exception) as caught:
            workspace.receive(bad.encode(), "track", Source("s", "secret", True)).result()
    plainly = logging.Formatter().formatException((type(caught.value), caught.value, caught.value.__traceback__))
    assert MAIL in found_in(plainly, PERSONAL)
    assert found_in(logs.describe(caught.value), PERSONAL) == []
    assert "sqlalchemy.exc." in logs.describe(caught.value)
    assert found_in(json.dumps({"name": NAME}), PERSONAL) == [NAME, "Петрова"]


def lines_of(form: str) -> tuple[io.StringIO, logging.Logger]:
    stream = io.StringIO()
    logs.configure(form, stream)
    return stream, logging.getLogger("vitrina.service")


def boom() -> None:
    try:
        raise KeyError(MAIL)
    except KeyError:
        raise ValueError(f"{NAME} can't be") from OSError(28, PHONE)


@pytest.mark.parametrize("form", ["text", "json"])
def test_errors_are_logged_by_type_code_and_place(form: str, plain: None) -> None:
    stream, log = lines_of(form)
    try:
        boom()
    except ValueError as error:
        log.exception("it failed: %s", error)
        log.error(error)
        logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
        logging.getLogger("asyncio").error("Task exception was never retrieved: %r", error, exc_info=error)
        logging.getLogger("uvicorn.error").warning('%s - "WebSocket %s" 403', MAIL, f"/x?{PHONE}")
    said = stream.getvalue()
    assert found_in(said, PERSONAL) == []
    assert len(said.splitlines()) == 5
    assert said.count("OSError(ENOSPC)") == 5 and said.count("test_logs.py:") >= 4
    assert "it failed: ValueError" in said and "Exception in ASGI application" in said


def test_codes_of_libraries_are_kept() -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(":memory:").execute("select * from anna")
    assert logs.describe(caught.value).startswith("sqlite3.OperationalError(SQLITE_ERROR) at ")
    error = MachineError(f"{NAME} can't be written.", code="store.write", where=MAIL, cure=PHONE)
    assert logs.describe(error) == "vitrina.core.errors.MachineError(store.write)"


def test_text_stays_one_line_and_json_one_object(plain: None) -> None:
    stream, log = lines_of("text")
    logs.say(log, logging.WARNING, "lag.trouble", {"of": "fold.events", "rows": 7, "words": "two\nlines"})
    line = stream.getvalue()
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING vitrina\.service lag\.trouble '
        r'of=fold\.events rows=7 words="two\\nlines"\n',
        line,
    )  # fmt: skip
    stream, log = lines_of("json")
    logs.say(log, logging.WARNING, "lag.trouble", {"of": "fold.events", "rows": 7})
    found = json.loads(stream.getvalue())
    assert found.pop("at") and found == {
        "level": "warning", "logger": "vitrina.service", "event": "lag.trouble", "of": "fold.events", "rows": 7,
    }  # fmt: skip


def test_a_thread_that_dies_is_logged_without_its_words(plain: None) -> None:
    stream, _ = lines_of("json")
    thread = threading.Thread(target=boom, name="worker-1")
    thread.start()
    thread.join()
    found = json.loads(stream.getvalue())
    assert found["event"] == "the thread worker-1 died"
    assert found["fault"].startswith("ValueError at ")
    assert found_in(stream.getvalue(), PERSONAL) == []


def test_a_lag_is_logged_when_it_begins_and_when_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None
) -> None:
    from vitrina.core.access import Source

    monkeypatch.setenv("VITRINA_SERVICE_BEHIND_SECONDS", "0.0001")
    stream, _ = lines_of("json")
    with vitrina.init(tmp_path / "shop") as workspace:
        workspace.claim()
        watch = Watch(workspace)
        watch.look()
        call = json.dumps({"event": "Product Viewed", "userId": MAIL}).encode()
        workspace.receive(call, "track", Source("s", "secret", True)).result()
        watch.look()
        watch.look()
        workspace.step()
        watch.look()
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["of"]) for line in said] == [
        ("lag.trouble", "fold.events"),
        ("lag.well", "fold.events"),
    ]
    assert said[0]["rows"] == 1 and said[0]["seconds"] >= 0
    assert found_in(stream.getvalue(), PERSONAL) == []
