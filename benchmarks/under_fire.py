"""Benchmarks of the loop under fire: every target is one row of `results/under-fire.json`.

`python -m benchmarks.under_fire` runs everything; name parts to run only those. Run it alone on a quiet machine. On
PostgreSQL the database shares the two cores with the server and the load: rates there are recorded, not judged.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import psutil

from benchmarks import load, peer_fastapi
from benchmarks.harness import closed_loop, request, row, serving, show, write
from benchmarks.main_loop import PORT, REPEATS, Row, run, vitrina_command, wait_folded, workspace
from tests.postgres import Server as PostgreSQL

PACKAGES = ["vitrina", "sqlalchemy", "psycopg", "uvicorn", "litestar", "fastapi", "starlette", "deltalake"]
BATCHES, SINGLES, DECISIONS = 150, 4_000, 3_000
HELD_IDS = 200_000
INBOX = 1_000_000


@contextmanager
def postgresql() -> Generator[PostgreSQL]:
    """A database server for the length of a block."""
    server = PostgreSQL()
    try:
        yield server
    finally:
        server.close()


def _cpu_of_database(server: PostgreSQL) -> float:
    """CPU seconds of every process of the database server, those that ended included as far as it knows."""
    main = psutil.Process(server.pid)
    total = 0.0
    for process in [main, *main.children(recursive=True)]:
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return total


class _Figures:
    """What one store gave: µs of CPU a unit in the server, the same in the database, and units a second."""

    def __init__(self) -> None:
        self.own: dict[str, list[float]] = {"batch": [], "single": [], "decide": []}
        self.database: dict[str, list[float]] = {"batch": [], "single": [], "decide": []}
        self.rates: dict[str, list[float]] = {"batch": [], "single": [], "decide": []}


def _measure(
    folder: Path, database: PostgreSQL | None, extra: tuple[str, ...] = (), repeats: int = REPEATS
) -> _Figures:
    """Batches, single posts and decisions against one server over `folder`."""
    write_key, secret = workspace(folder)
    found = _Figures()
    command = [*vitrina_command(folder, PORT), *extra]
    with serving(command, PORT, environment=_QUIET) as server:

        def measured(kind: str, units: int, bodies: list[bytes], connections: int, keep: bool) -> None:
            before, database_before = _tree_cpu(server.process.pid), _cpu_of_database(database) if database else 0.0
            wall, _, bad = run(closed_loop(PORT, connections, bodies.__getitem__, len(bodies)))
            if bad:
                raise RuntimeError(f"{bad} requests of {kind} were refused")
            wait_folded(server, folder)
            if keep:
                found.own[kind].append((_tree_cpu(server.process.pid) - before) / units * 1e6)
                found.rates[kind].append(units / wall)
                if database:
                    found.database[kind].append((_cpu_of_database(database) - database_before) / units * 1e6)

        for repeat in range(-1, REPEATS):
            keep = repeat >= 0
            batches = [request("/v1/batch", load.batch(i, f"b{repeat}"), write_key) for i in range(BATCHES)]
            measured("batch", 100 * BATCHES, batches, 16, keep)
            singles = [_single(i, f"s{repeat}", write_key) for i in range(SINGLES)]
            measured("single", SINGLES, singles, 64, keep)
            asks = [request("/v1/decide", load.decide(i), secret, basic=False) for i in range(DECISIONS)]
            measured("decide", DECISIONS, asks, 32, keep)
    return found


_QUIET = {"VITRINA_STORAGE_DRAIN_SECONDS": "3600", "VITRINA_STORAGE_DRAIN_ROWS": "100000000"}


def _single(number: int, run_name: str, key: str) -> bytes:
    return request("/v1/track", json.dumps(load.event(number, run_name)).encode(), key)


def _tree_cpu(pid: int) -> float:
    main = psutil.Process(pid)
    total = 0.0
    for process in [main, *main.children(recursive=True)]:
        times = process.cpu_times()
        total += times.user + times.system
    return total


_NAMES = {"batch": "an event, batches of 100", "single": "an event, single posts", "decide": "a decision, 100 offers"}
_UNITS = {"batch": "events", "single": "events", "decide": "decisions"}


def stores(scratch: Path) -> list[Row]:
    """Ingest and decide on PostgreSQL beside SQLite, in one run."""
    sqlite = _measure(scratch / "sqlite", None)
    with postgresql() as database:
        os.environ["VITRINA_STORAGE_URL"] = database.url() + "?schema={folder}"
        try:
            other = _measure(scratch / "postgresql", database)
        finally:
            del os.environ["VITRINA_STORAGE_URL"]
    rows: list[Row] = []
    for kind, words in _NAMES.items():
        middle = sorted(sqlite.own[kind])[len(sqlite.own[kind]) // 2]
        rows.append(
            row(
                f"postgresql-{kind}-cpu",
                f"CPU {words}, store on PostgreSQL (server process)",
                other.own[kind],
                "µs",
                peer="SQLite in the same run",
                peer_value=middle,
                note=f"and {sorted(other.database[kind])[len(other.database[kind]) // 2]:.0f} µs in the database",
            )
        )
        rows.append(
            row(
                f"postgresql-{kind}-rate",
                f"{_UNITS[kind]} a second, {words.partition(', ')[2]}, on PostgreSQL",
                other.rates[kind],
                "1/s",
                better="higher",
                peer="SQLite in the same run",
                peer_value=sorted(sqlite.rates[kind])[len(sqlite.rates[kind]) // 2],
                note="server on one core, database and load on the two",
            )
        )
    return rows


def workers(scratch: Path) -> list[Row]:
    """One and two server processes on PostgreSQL: throughput is recorded, correctness is what the tests hold."""
    rows: list[Row] = []
    with postgresql() as database:
        os.environ["VITRINA_STORAGE_URL"] = database.url() + "?schema={folder}"
        try:
            found = {n: _measure(scratch / f"workers{n}", database, ("--workers", str(n))) for n in (1, 2)}
        finally:
            del os.environ["VITRINA_STORAGE_URL"]
    for kind, words in _NAMES.items():
        rows.append(
            row(
                f"workers-{kind}-rate",
                f"{_UNITS[kind]} a second with two workers, {words.partition(', ')[2]}",
                found[2].rates[kind],
                "1/s",
                better="higher",
                peer="one worker in the same run",
                peer_value=sorted(found[1].rates[kind])[len(found[1].rates[kind]) // 2],
                note="workers pinned to one core, database and load on the two",
            )
        )
    return rows


def peers(scratch: Path) -> list[Row]:
    """CPU a request beside Starlette and FastAPI services that only store."""
    ours = _measure(scratch / "ours", None)
    rows: list[Row] = []
    for module, name in (("peer_starlette", "Starlette"), ("peer_fastapi", "FastAPI + pydantic")):
        path = scratch / f"{module}.db"
        peer_fastapi.hold_ids(str(path), HELD_IDS)
        costs: dict[str, list[float]] = {"batch": [], "single": []}
        with serving([sys.executable, "-m", f"benchmarks.{module}", str(path), str(PORT + 1)], PORT + 1) as server:
            for repeat in range(-1, REPEATS):
                batches = [request("/v1/batch", load.batch(i, f"b{repeat}"), "k") for i in range(BATCHES)]
                singles = [_single(i, f"s{repeat}", "k") for i in range(SINGLES // 2)]
                for kind, bodies, connections, units in (
                    ("batch", batches, 16, 100 * BATCHES),
                    ("single", singles, 64, len(singles)),
                ):
                    before = server.cpu()
                    run(closed_loop(PORT + 1, connections, bodies.__getitem__, len(bodies)))
                    if repeat >= 0:
                        costs[kind].append((server.cpu() - before) / units * 1e6)
        for kind, target in (("batch", 1.5), ("single", 5.0)):
            peer_value = sorted(costs[kind])[len(costs[kind]) // 2]
            judged = module == "peer_fastapi"
            rows.append(
                row(
                    f"{module.replace('_', '-')}-{kind}",
                    f"CPU of the peer / ours {_NAMES[kind].partition(' ')[2]}, {name}",
                    [peer_value / own for own in ours.own[kind]],
                    "×",
                    target=target if judged else None,
                    better="higher",
                    peer=f"{name} + SQLite",
                    peer_value=peer_value,
                    note="" if judged else "it neither validates nor folds; recorded",
                )
            )
    return rows


def recovery(scratch: Path) -> list[Row]:
    """From the start after `kill -9` to ready, and to the first ack, with a million events in the inbox."""
    folder = scratch / "recovery"
    write_key, _ = workspace(folder)
    fill_inbox(folder, INBOX)
    ready, acked = [], []
    for repeat in range(REPEATS):
        with serving(vitrina_command(folder, PORT), PORT, environment=_QUIET) as server:
            batches = [request("/v1/batch", load.batch(i, f"k{repeat}"), write_key) for i in range(100)]
            run(closed_loop(PORT, 16, batches.__getitem__, len(batches)))
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        began = time.perf_counter()
        with serving(vitrina_command(folder, PORT), PORT, environment=_QUIET) as server:
            ready.append(time.perf_counter() - began)
            one = [_single(0, f"first{repeat}", write_key)]
            run(closed_loop(PORT, 1, one.__getitem__, 1))
            acked.append(time.perf_counter() - began)
    note = f"{INBOX:,} events in the inbox, killed under load; the start of the program is in it"
    return [
        row("recovery-ready", "kill -9 to ready, wall clock", ready, "s", target=5, note=note),
        row("recovery-acked", "kill -9 to the first event acknowledged, wall clock", acked, "s", target=5, note=note),
    ]


def fill_inbox(folder: Path, count: int) -> None:
    """Put events into the journal and fold them, as a server does whose lake can't be written for a while."""
    import vitrina
    from vitrina.core.access import Source

    source = Source("bench", "write", trusted=False)
    with vitrina.open(folder, threaded=False) as opened:
        opened.claim()
        for number in range(count // 1_000):
            opened.receive(load.batch(number, "inbox", 1_000), "batch", source).result()
            opened.profiles.step()


def tag(scratch: Path) -> list[Row]:
    """Bytes of the browser tag after gzip."""
    from vitrina.service.tag import gzip_size

    return [row("tag-size", "the browser tag after gzip", [gzip_size()], "bytes", target=3_072)]


PARTS: dict[str, Callable[[Path], list[Row]]] = {
    "tag": tag,
    "stores": stores,
    "workers": workers,
    "peers": peers,
    "recovery": recovery,
}


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="parts to run; all by default")
    parser.add_argument("--no-write", action="store_true", help="print only")
    given = parser.parse_args()
    for name in given.parts or PARTS:
        scratch = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            rows = PARTS[name](scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        show(rows)
        if not given.no_write:
            write("under-fire", rows, PACKAGES)


if __name__ == "__main__":
    main()
