"""What the benchmarks share: a server on one core, a client on the other, rows of results, a quiet file's fdatasync."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results"
TRIES = 300


def row(
    row_id: str,
    what: str,
    values: Sequence[float],
    unit: str,
    *,
    target: float | None = None,
    better: str = "lower",
    peer: str | None = None,
    peer_value: float | None = None,
    ok: bool | None = None,
    note: str = "",
) -> dict[str, Any]:
    """One row: the median of repeated measurements with its lowest and highest."""
    value = statistics.median(values)
    if ok is None:
        ok = target is None or (value <= target if better == "lower" else value >= target)
    return {
        "id": row_id,
        "what": what,
        "target": target,
        "better": better,
        "unit": unit,
        "value": round(value, 4),
        "low": round(min(values), 4),
        "high": round(max(values), 4),
        "n": len(values),
        "peer": peer,
        "peer_value": None if peer_value is None else round(peer_value, 4),
        "ok": ok,
        "note": note,
    }


def write(name: str, rows: Sequence[dict[str, Any]], packages: Sequence[str]) -> Path:
    """Merge rows into `results/NAME.json` (a row measured again replaces its older self) and give the path."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    kept = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    fresh = {r["id"] for r in rows}
    merged = [r for r in kept if r["id"] not in fresh] + list(rows)
    document = {
        "name": name,
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": {"cores": os.cpu_count(), "cpu": cpu_name(), "load": round(os.getloadavg()[0], 2)},
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
        "rows": sorted(merged, key=lambda r: r["id"]),
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows for a person."""
    for r in rows:
        bound = "" if r["target"] is None else f"  (target {'≤' if r['better'] == 'lower' else '≥'} {r['target']:g})"
        mark = "ok  " if r["ok"] else "MISS"
        peer = f"  {r['peer']}: {r['peer_value']:g}" if r["peer_value"] is not None else ""
        sys.stdout.write(
            f"{mark} {r['id']}: {r['value']:g} {r['unit']} [{r['low']:g} … {r['high']:g}]{bound}{peer} {r['note']}\n"
        )
        sys.stdout.flush()


def cpu_name() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def pin(core: int) -> None:
    """Keep this process on one core."""
    os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})


class Server:
    """A server process on core 0."""

    def __init__(self, command: Sequence[str], port: int, environment: dict[str, str] | None = None) -> None:
        self.port = port
        self._log = tempfile.NamedTemporaryFile(prefix="bench-server-", suffix=".log", delete=False)  # noqa: SIM115
        env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **(environment or {})}
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=env, preexec_fn=lambda: pin(0))
        self._ps = psutil.Process(self.process.pid)

    def cpu(self) -> float:
        """CPU seconds of the server so far."""
        times = self._ps.cpu_times()
        return times.user + times.system

    def rss(self) -> int:
        """Resident bytes."""
        return self._ps.memory_info().rss

    def wait_ready(self, path: str = "/readyz") -> None:
        """Wait until it answers 200."""
        import http.client

        for _ in range(TRIES):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {Path(self._log.name).read_text()[-2000:]}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise RuntimeError("the server did not get ready")

    def stop(self) -> None:
        """End it and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def serving(
    command: Sequence[str], port: int, ready: str = "/readyz", environment: dict[str, str] | None = None
) -> Generator[Server]:
    """A server for the length of a block."""
    server = Server(command, port, environment)
    try:
        server.wait_ready(ready)
        yield server
    finally:
        server.stop()


class Connection:
    """A keep-alive HTTP/1.1 connection that sends prepared requests: as little client as possible."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request, give status and body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        lower = head.lower()
        start = lower.index(b"content-length:") + 15
        length = int(lower[start : lower.index(b"\r\n", start)])
        return status, await self._reader.readexactly(length) if length else b""

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def request(path: str, body: bytes, key: str, *, method: str = "POST", basic: bool = True) -> bytes:
    """The bytes of a request."""
    from base64 import b64encode

    credentials = "Basic " + b64encode(f"{key}:".encode()).decode() if basic else f"Bearer {key}"
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {credentials}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def closed_loop(
    port: int, connections: int, make: Callable[[int], bytes], total: int
) -> tuple[float, list[float], int]:
    """Send `total` requests, each connection one after the other.

    Returns:
        Wall seconds, latencies in ms, answers that weren't 200.
    """
    sent, bad = 0, 0
    latencies: list[float] = []

    async def work() -> None:
        nonlocal sent, bad
        connection = await Connection.open(port)
        while sent < total:
            number = sent
            sent += 1
            message = make(number)
            began = time.perf_counter()
            status, _ = await connection.send(message)
            latencies.append((time.perf_counter() - began) * 1e3)
            bad += status != 200
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(connections)])
    return time.perf_counter() - began, latencies, bad


async def open_loop(
    port: int,
    connections: int,
    make: Callable[[int], bytes],
    rate: float,
    seconds: float,
    watch: Callable[[], Awaitable[None]] | None = None,
) -> tuple[list[float], int]:
    """Send at a fixed rate; latency counts from the moment a request was due.

    Returns:
        Latencies in ms, answers that weren't 200.
    """
    latencies: list[float] = []
    bad = 0
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(await Connection.open(port))
    began = time.perf_counter()
    tasks: set[asyncio.Task[None]] = set()

    async def one(number: int, due: float) -> None:
        nonlocal bad
        connection = await free.get()
        status, _ = await connection.send(make(number))
        latencies.append((time.perf_counter() - due) * 1e3)
        bad += status != 200
        free.put_nowait(connection)

    watcher = asyncio.ensure_future(watch()) if watch is not None else None
    number = 0
    while (due := began + number / rate) < began + seconds:
        delay = due - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        task = asyncio.ensure_future(one(number, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
    await asyncio.gather(*list(tasks))
    if watcher is not None:
        watcher.cancel()
    return latencies, bad


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def fdatasync_ms(seconds: float = 2.0) -> list[float]:
    """Milliseconds of writing 16 KB and `fdatasync`, again and again: what the disk alone costs in this run."""
    times: list[float] = []
    with tempfile.NamedTemporaryFile() as file:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            os.write(file.fileno(), b"x" * 16_384)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1e3)
            time.sleep(0.002)
    return times
