"""/healthz and /readyz tell the truth: about a store that can't be written, a dead thread, and a server that stops."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection

import vitrina
from tests.loop.served import Served
from tests.service.conftest import start
from vitrina.core.access import INTERNAL


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[vitrina.Workspace]:
    with vitrina.init(tmp_path / "shop") as made:
        yield made


def reasons(address: str) -> tuple[int, list[str]]:
    answer = httpx.get(f"{address}/readyz", trust_env=False, timeout=20)
    found = answer.json()
    assert found["ready"] is (answer.status_code == 200) is (not found["problems"])
    assert all(problem["detail"] for problem in found["problems"])
    return answer.status_code, [problem["code"] for problem in found["problems"]]


def until(wanted: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not wanted():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_workspace_that_has_not_started_is_not_ready(workspace: vitrina.Workspace) -> None:
    workspace.claim()
    address, stop = start(workspace)
    try:
        before = reasons(address)
        workspace.start()
        after = reasons(address)
    finally:
        stop()
    assert (before, after) == ((503, ["not.started"]), (200, []))


def test_a_store_that_can_not_be_written_is_found_out_without_traffic(workspace: vitrina.Workspace) -> None:
    """Nobody sends anything: the question itself tries a small write, and a writer that hangs is not waited for."""
    workspace.start()
    address, stop = start(workspace)
    ours, theirs = socket.socketpair()

    def hang(_: Connection) -> None:
        theirs.recv(1)

    try:
        assert reasons(address) == (200, [])
        workspace.store.writer.call(hang)  # as a disk or a server that doesn't answer does
        workspace.store.writer.meter.committed_at -= 60  # and for a minute nothing was written
        assert reasons(address) == (503, ["store.slow"])
        with httpx.Client(base_url=address, trust_env=False, timeout=20) as client:
            assert client.get("/healthz").status_code == 200
        ours.send(b"x")
        until(lambda: reasons(address) == (200, []))
    finally:
        ours.close()
        theirs.close()
        stop()


@pytest.mark.sqlite
def test_a_store_that_refuses_writes_is_not_ready_until_it_takes_them_again(workspace: vitrina.Workspace) -> None:
    """Another program holds the file's lock for longer than the writer waits for it."""
    workspace.start()
    key = workspace.keys.create("secret")
    address, stop = start(workspace)
    holder = sqlite3.connect(workspace.root / "store.db", isolation_level=None, timeout=10)
    call = {"event": "Viewed", "userId": "u"}
    try:
        with httpx.Client(base_url=address, auth=(key, ""), trust_env=False, timeout=30) as client:
            assert client.post("/v1/track", json=call).status_code == 200
            holder.execute("begin immediate")
            assert client.post("/v1/track", json=call).status_code == 503
            status, codes = reasons(address)
            assert (status, "store.unwritable" in codes) == (503, True)
            assert workspace.vitals.read().store.failures >= 1
            holder.execute("rollback")
            until(lambda: reasons(address) == (200, []))
            assert client.post("/v1/track", json=call).status_code == 200
    finally:
        holder.close()
        stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_is_a_dead_process(workspace: vitrina.Workspace) -> None:
    """A `SystemExit` ends a thread and nothing catches it: the process answers, but nobody folds any more."""
    workspace.start()
    address, stop = start(workspace)
    try:
        assert httpx.get(f"{address}/healthz", trust_env=False).json()["dead"] == []

        def end() -> None:
            raise SystemExit

        workspace.profiles.after_save.append(end)
        workspace.receive(
            json.dumps({"userId": "u", "event": "Viewed"}).encode(),
            "track",
            INTERNAL.source,
        ).result()
        until(lambda: httpx.get(f"{address}/healthz", trust_env=False).status_code == 503)
        found = httpx.get(f"{address}/healthz", trust_env=False).json()
    finally:
        workspace.profiles.after_save.clear()
        stop()
    assert (found["status"], found["dead"]) == ("dead", ["folder"])


def test_a_server_that_is_told_to_stop_says_so_before_it_refuses_connections(tmp_path: Path) -> None:
    vitrina.init(tmp_path / "shop").close()
    server = Served(tmp_path / "shop", {"VITRINA_SERVICE_STOP_SECONDS": "3"})
    assert reasons(server.address) == (200, [])
    codes: list[int] = []
    stopper = threading.Thread(target=lambda: codes.append(server.stop()))
    stopper.start()
    until(lambda: reasons(server.address) == (503, ["server.stopping"]))
    with server.client() as anybody:
        assert anybody.get("/healthz").status_code == 200  # alive: whoever is in flight is still served
    stopper.join(30)
    assert codes == [0]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.address}/readyz", trust_env=False)


def test_the_service_manager_is_told(tmp_path: Path) -> None:
    """Type=notify of systemd: READY=1 once it listens, STOPPING=1 when it is told to stop."""
    vitrina.init(tmp_path / "shop").close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        server = Served(
            tmp_path / "shop", {"NOTIFY_SOCKET": str(tmp_path / "notify"), "VITRINA_SERVICE_STOP_SECONDS": "0.1"}
        )
        said = [manager.recv(64)]
        assert server.stop() == 0
        said.append(manager.recv(64))
    assert said == [b"READY=1", b"STOPPING=1"]
