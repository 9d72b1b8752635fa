"""Sites around the tag: the shop whose page carries it, and servers that are slow, lie, or never answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from vitrina.service import tag

__all__ = ["Backend", "Site", "hanging", "refusing"]

Reply = tuple[int, str, bytes]
"""Status, content type, body."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    reply: Callable[[str, str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        names = {name.lower(): value for name, value in self.headers.items()}
        status, headers, answer = cast("_Server", self.server).reply(self.command, self.path, names, body)
        try:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
        except OSError:
            self.close_connection = True  # the browser no longer waits

    do_GET = do_POST = do_OPTIONS = _answer

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""


class _Loopback:
    """A small HTTP server on a free port."""

    host = "127.0.0.1"

    def __enter__(self) -> Any:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.reply = self.reply
        self.address = f"http://{self.host}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """What a request is answered with."""
        raise NotImplementedError


class Site(_Loopback):
    """The shop: pages by path, of another origin than the server that the tag asks.

    Attributes:
        pages: path → HTML, script or style sheet.
        policy: its Content-Security-Policy.
        asked: path of every request.
    """

    host = "localhost"

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.policy = ""
        self.asked: list[str] = []

    def reply(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """A page, or 404."""
        path = path.partition("?")[0]
        self.asked.append(path)
        kind = {"js": "text/javascript", "css": "text/css"}.get(path.rpartition(".")[2], "text/html; charset=utf-8")
        more = {"content-security-policy": self.policy} if self.policy and "html" in kind else {}
        page = self.pages.get(path)
        return (404 if page is None else 200), {"content-type": kind, **more}, (page or "").encode()


class Backend(_Loopback):
    """A server in Vitrina's place that gives what the test wants it to.

    Attributes:
        decision: status, content type and body of `/v1/decide`.
        headers: more headers of that answer.
        collect: status of `/v1/batch`.
        hold: decisions are answered only while this is set.
        asked: bodies of `/v1/decide` as they came.
        events: events that were taken (those of a batch that was refused are in `refused`).
    """

    def __init__(self) -> None:
        self.decision: Reply = (200, "application/json", b"{}")
        self.headers: dict[str, str] = {}
        self.collect = 200
        self.hold = threading.Event()
        self.hold.set()
        self.asked: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []

    def reply(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The tag, a decision, or what collect says."""
        open_to_all = {"access-control-allow-origin": "*", "access-control-allow-headers": "authorization"}
        if method == "OPTIONS":
            return 204, {**open_to_all, "access-control-allow-methods": "POST"}, b""
        if path.startswith("/v1/tag"):
            return 200, {**open_to_all, "content-type": "text/javascript"}, tag.latest().read()
        if path == "/v1/decide":
            self.asked.append(json.loads(body))
            self.hold.wait(60)
            status, kind, answer = self.decision
            return status, {**open_to_all, "content-type": kind, **self.headers}, answer
        batch = json.loads(body)["batch"]
        (self.events if self.collect == 200 else self.refused).extend(batch)
        return self.collect, open_to_all, b"{}"


def refusing() -> str:
    """An address of this machine where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def hanging() -> Iterator[str]:
    """An address that takes a connection and never says a word."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"
