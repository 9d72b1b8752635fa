"""Segment's own clients from npm, and a proxy that fails as networks and servers do."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import browser

__all__ = ["browser"]

HERE = Path(__file__).parent / "node"
FILES = ("package.json", "package-lock.json", ".npmrc")


@pytest.fixture(scope="session")
def node_modules(root: Path) -> Path:
    """`node_modules` with the clients that `tests/conformance/node` names, installed once into build/node."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("Segment's clients for JavaScript need node and npm: apt-get install nodejs npm")
    folder = root / "build" / "node"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()
    stamp = folder / "installed"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            for name in FILES:
                shutil.copy(HERE / name, folder / name)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
            assert done.returncode == 0, done.stderr
            stamp.write_text(wanted)
    return folder / "node_modules"


CUT = 0
"""A fault: the call reaches the server, and its answer is lost with the connection."""


class Proxy:
    """A server in front of another that fails the first POSTs as told and then passes everything on.

    Attributes:
        address: where it listens.
        faults: what becomes of the next POSTs: a status to answer with, or `CUT`.
        posts: what became of each POST so far: (path, status that the caller saw; `CUT` when it saw none).
    """

    def __init__(self, behind: str) -> None:
        self._behind = behind.removeprefix("http://")
        self.faults: list[int] = []
        self.posts: list[tuple[str, int]] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy._handle(self)

            do_GET = do_POST = do_OPTIONS = handle_any

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _handle(self, asked: BaseHTTPRequestHandler) -> None:
        body = asked.rfile.read(int(asked.headers.get("content-length") or 0))
        fault = None
        if asked.command == "POST":
            with self._lock:
                fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault != CUT:
            self.posts.append((asked.path, fault))
            headers = [
                ("retry-after", "1"),
                ("access-control-allow-origin", "*"),
                ("access-control-expose-headers", "retry-after"),
            ]
            _answer(asked, fault, headers, b"{}")
            return
        passed = http.client.HTTPConnection(self._behind, timeout=30)
        passed.request(asked.command, asked.path, body, dict(asked.headers.items()))
        answer = passed.getresponse()
        content = answer.read()
        passed.close()
        if asked.command == "POST":
            self.posts.append((asked.path, CUT if fault == CUT else answer.status))
        if fault == CUT:
            asked.close_connection = True
            return
        _answer(asked, answer.status, answer.getheaders(), content)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def _answer(asked: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
    asked.send_response(status)
    for name, value in headers:
        if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
            asked.send_header(name, value)
    asked.send_header("content-length", str(len(content)))
    asked.end_headers()
    asked.wfile.write(content)


@pytest.fixture
def proxies() -> Iterator[Callable[[str], Proxy]]:
    """Makes proxies in front of an address; they are closed at the end."""
    made: list[Proxy] = []

    def make(behind: str) -> Proxy:
        made.append(Proxy(behind))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()
