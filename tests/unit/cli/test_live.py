"""`vitrina doctor --live`: what a running server says about itself, in words, with a code for scripts."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import vitrina
from tests.service.conftest import start
from vitrina.cli import run
from vitrina.cli.live import server_of
from vitrina.core.access import Source
from vitrina.service.life import Life

SERVER = Source("s", "secret", True)


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "VITRINA_METRICS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_GB.UTF-8")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[vitrina.Workspace]:
    with vitrina.init(tmp_path / "shop") as made:
        yield made


def asked(url: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, object]]:
    capsys.readouterr()
    code = run(["doctor", "--live", "--url", url, "--json", *more])
    return code, json.loads(capsys.readouterr().out)


def codes(report: dict[str, object]) -> dict[str, str]:
    assert isinstance(report["findings"], list)
    return {finding["code"]: finding["level"] for finding in report["findings"]}


def test_a_server_that_is_well(workspace: vitrina.Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.start()
    address, stop = start(workspace)
    try:
        code, report = asked(f"{address}/", capsys)  # beside the server, which holds the workspace
        assert run(["doctor", "--live", "--url", address]) == 0
    finally:
        stop()
    assert (code, report["ok"], report["version"], codes(report)) == (0, True, vitrina.__version__, {"well": "well"})
    assert "All is well" in capsys.readouterr().out


def test_what_is_late_and_unwell_is_said_with_its_cure_in_both_languages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VITRINA_SERVICE_BEHIND_SECONDS", "0.001")
    with vitrina.init(tmp_path / "shop") as workspace:
        workspace.claim()
        workspace.receive(b'{"userId": "u", "event": "Viewed"}', "track", SERVER).result()
        address, stop = start(workspace)
        try:
            code, english = asked(address, capsys)
            monkeypatch.setenv("LANG", "ru_RU.UTF-8")
            _, russian = asked(address, capsys)
        finally:
            stop()
    assert code == 4
    assert codes(english) == codes(russian) == {"folder.behind": "unwell", "not.started": "unwell"}
    assert isinstance(english["findings"], list) and isinstance(russian["findings"], list)
    assert english["findings"][1]["found"] == "The server has not started its work yet."
    assert russian["findings"][1]["found"] == "Сервер ещё не начал работу."
    assert all(finding["cure"] for finding in (*english["findings"], *russian["findings"]))


def test_figures_that_are_kept_from_us_are_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VITRINA_SERVICE_METRICS_FROM", "")
    with vitrina.init(tmp_path / "shop") as workspace:
        workspace.start()
        key = workspace.keys.create("secret", scopes=["metrics"])
        address, stop = start(workspace)
        try:
            refused = asked(address, capsys)
            monkeypatch.setenv("VITRINA_METRICS_KEY", key)
            let_in = asked(address, capsys)
        finally:
            stop()
    assert (refused[0], codes(refused[1])) == (3, {"metrics.refused": "late"})
    assert (let_in[0], codes(let_in[1])) == (0, {"well": "well"})


class Canned(BaseHTTPRequestHandler):
    """Stands for a server in a state that is hard to bring about: the answers of a real one, with other numbers."""

    answers: dict[str, str] = {}

    def do_GET(self) -> None:
        body = self.answers.get(self.path, "").encode()
        self.send_response(200 if body else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silent."""


LATE = """
vitrina_lag_rows{reader="fold",journal="events",worker="0"} 1200
vitrina_lag_seconds{reader="fold",journal="events",worker="0"} 40
vitrina_lag_rows{reader="lake",journal="decisions",worker="0"} 9
vitrina_lag_seconds{reader="lake",journal="decisions",worker="0"} 900
vitrina_lag_rows{reader="learner",journal="outcomes",worker="0"} 3
vitrina_lag_seconds{reader="learner",journal="outcomes",worker="0"} 900
vitrina_queue_rows{journal="events",worker="0"} 15000
vitrina_queue_limit_rows{journal="events",worker="0"} 20000
vitrina_queue_rows{journal="decisions",worker="0"} 2
vitrina_queue_limit_rows{journal="decisions",worker="0"} 200
vitrina_disk_free_bytes{worker="0"} 1048576
vitrina_background_fault{part="drainer",worker="0"} 1
vitrina_background_fault{part="folder",worker="0"} 0
vitrina_bank_age_seconds{placement="home",worker="0"} 90000
"""


def test_every_lag_and_bound_has_its_words(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Canned.answers = {
        "/healthz": '{"status": "dead", "version": "0.1.0", "dead": ["writer"]}',
        "/readyz": '{"ready": false, "problems": [{"code": "store.slow"}, {"code": "new.one"}]}',
        "/metrics": LATE,
    }
    server = HTTPServer(("127.0.0.1", 0), Canned)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found: dict[str, dict[str, object]] = {}
    try:
        for language in ("en_US", "ru_RU"):
            monkeypatch.setenv("LANG", language)
            code, found[language] = asked(f"http://127.0.0.1:{server.server_port}", capsys)
            assert code == 4
        Canned.answers["/healthz"] = '{"status": "alive", "version": "0.1.0", "dead": []}'
        Canned.answers["/readyz"] = '{"ready": true, "problems": []}'
        assert asked(f"http://127.0.0.1:{server.server_port}", capsys)[0] == 3
        Canned.answers = {"/healthz": "Welcome to nginx"}
        assert run(["doctor", "--live", "--url", f"http://127.0.0.1:{server.server_port}"]) == 4
        assert "is not Vitrina" in capsys.readouterr().err
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    for report in found.values():
        assert codes(report) == {
            "thread.dead": "unwell", "store.slow": "unwell", "new.one": "unwell",
            "lag.fold": "late", "lag.lake": "late", "lag.learner": "late",
            "queue.full": "late", "disk.low": "late", "part.fault": "late", "bank.old": "late",
        }  # fmt: skip
    assert isinstance(found["ru_RU"]["findings"], list)
    assert "Ждут записи строк events: 15\u202f000 из 20\u202f000 возможных." in [
        finding["found"].replace("\xa0", "\u202f") for finding in found["ru_RU"]["findings"]
    ]


def test_nobody_there_and_no_address(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert run(["doctor", "--live", "--url", url]) == 4
    assert "nobody answers" in capsys.readouterr().err
    assert run(["doctor", "--live", "--url", "shop.example"]) == 1
    assert "no address" in capsys.readouterr().err


def test_the_address_comes_from_the_settings(tmp_path: Path) -> None:
    assert server_of(tmp_path) == "http://127.0.0.1:8400"
    (tmp_path / "vitrina.toml").write_text('[service]\nhost = "0.0.0.0"\nport = 9000\n', encoding="utf-8")
    assert server_of(tmp_path) == "http://127.0.0.1:9000"
    (tmp_path / "vitrina.toml").write_text('[service]\nhost = "::1"\n', encoding="utf-8")
    assert server_of(tmp_path) == "http://[::1]:8400"


def test_a_server_that_was_told_to_stop(workspace: vitrina.Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.start()
    life = Life()
    address, stop = start(workspace, life)
    try:
        life.stopping = True
        code, report = asked(address, capsys)
    finally:
        stop()
    assert (code, codes(report)) == (4, {"server.stopping": "unwell"})
