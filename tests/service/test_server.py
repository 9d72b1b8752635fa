"""`vitrina serve` as a process: where it listens, the first user, and a stop that loses nothing."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

import vitrina


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A serving process: itself, its address, and what it said."""
    command = [
        sys.executable,
        "-c",
        "from vitrina.cli import main; main()",
        "-w",
        str(folder),
        "serve",
        "--port",
        "0",
        *options,
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        said = ""
        while "listens at" not in said or said.count("\n") < (2 if "password" in said else 1):
            line = process.stderr.readline()
            assert line, said
            said += line
            if "First user" in said or "listens at" in said:
                break
        address = re.search(r"http://\S+?(?=/ )", said)
        assert address is not None, said
        try:
            yield process, address[0], said
        finally:
            if process.poll() is None:
                process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    workspace = vitrina.init(tmp_path / "shop")
    workspace.close()
    return tmp_path / "shop"


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_seconds_and_keeps_what_it_acknowledged(folder: Path, sign: signal.Signals) -> None:
    with vitrina.open(folder) as workspace:
        key = workspace.keys.create("write")
    acknowledged = 0
    stop = threading.Event()
    with served(folder) as (process, address, _):

        def send() -> None:
            nonlocal acknowledged
            with httpx.Client(base_url=address, auth=(key, ""), trust_env=False, timeout=10) as client:
                while not stop.is_set():
                    call = {"event": "Product Viewed", "anonymousId": "a", "messageId": f"m-{acknowledged}"}
                    try:
                        if client.post("/v1/track", json=call).status_code != 200:
                            return
                    except httpx.HTTPError:
                        return
                    acknowledged += 1

        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(1.5)
        began = time.monotonic()
        process.send_signal(sign)
        assert process.wait(15) in (0, 130, -sign)
        took = time.monotonic() - began
        stop.set()
        sender.join(10)
    assert acknowledged > 10
    assert took < 10  # 5 s on a quiet machine: 4 s for requests in flight, and the last save
    with vitrina.open(folder) as workspace, workspace.store.read() as connection:
        stored = connection.execute(text("select seq from journal_head where journal = 'events'")).scalar_one()
    assert acknowledged <= stored <= acknowledged + 1


def test_the_first_user_is_shown_once_and_may_sign_in(folder: Path) -> None:
    with served(folder) as (process, address, said):
        assert process.stderr is not None
        said += process.stderr.readline() if "password" not in said else ""
        found = re.search(r"First user of the console: (\S+), password (\S+) ", said)
        assert found is not None, said
        with httpx.Client(base_url=address, trust_env=False, timeout=10) as browser:
            form = re.search(r'name="form" value="(\w+)"', browser.get("/sign-in").text)
            assert form is not None
            answer = browser.post("/sign-in", data={"form": form[1], "email": found[1], "password": found[2]})
            assert (answer.status_code, answer.headers["location"]) == (303, "/decisions")
            assert browser.get("/decisions").status_code == 200
            assert browser.post("/sign-out", data={"form": "forged"}).status_code == 403
            assert browser.get("/decisions").status_code == 200
        process.send_signal(signal.SIGTERM)
        process.wait(15)
    with served(folder) as (process, _, said):
        assert "password" not in said
        process.send_signal(signal.SIGTERM)
        process.wait(15)


def test_an_address_that_is_taken_is_the_machines_fault(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [
            sys.executable,
            "-c",
            "from vitrina.cli import main; main()",
            "-w",
            str(folder),
            "serve",
            "--port",
            port,
        ]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 4, ended.stderr
    assert "can't be listened on" in ended.stderr
