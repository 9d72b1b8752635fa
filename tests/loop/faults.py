"""Faults, many times over: kill -9, a full disk, a database that goes, a clock that jumps, events that come again.

Each kind is a function that lays a workspace under load, lets the fault happen at random moments, and gives a `Report`:
how often it happened, what was answered, and everything that is wrong afterwards, in words. `make faults` runs the full
counts and writes them down; the tests run a part.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import msgspec

import vitrina
from tests.loop.lake_writer import calls_of
from tests.loop.load import MONTH_AGO, Load, make_call, open_shop, outcomes_of
from tests.loop.served import PROGRAM, ROOT, Served, environment
from tests.loop.state import clean_fold, column, difference, rows_wrong, send_calls, state_of, twice
from tests.postgres import Server as Postgres
from vitrina.collect.ingest import decode_event
from vitrina.core.access import Source
from vitrina.core.clock import DAY, Micros, SimulatedClock
from vitrina.core.decision import DecideRequest
from vitrina.storage import migrations
from vitrina.storage.store import Store
from vitrina.workspace import Workspace

__all__ = ["KINDS", "Report"]

BUSY = {
    "VITRINA_STORAGE_DRAIN_SECONDS": "0.3",
    "VITRINA_STORAGE_DRAIN_ROWS": "300",
    "VITRINA_STORAGE_COMPACT_FILES": "3",
}
CHECKED_EVERY = 10
ROOMY = 192 << 20


class Report(msgspec.Struct):
    """What a kind of fault did.

    Attributes:
        kind: its name.
        points: how often it happened.
        events, decisions: answered with 200 by then.
        refused: answers of 429 and 503, sent again later.
        wrong: what was wrong afterwards, in words; empty is what it has to be.
        slowest: seconds of the slowest recovery or stop.
        note: how it was done.
    """

    kind: str
    points: int = 0
    events: int = 0
    decisions: int = 0
    refused: int = 0
    wrong: list[str] = []
    slowest: float = 0.0
    note: str = ""

    def took(self, seconds: float) -> None:
        self.slowest = max(self.slowest, round(seconds, 2))


# the server


def kill_server(folder: Path, points: int, seed: int) -> Report:
    """kill -9 of the server under load; folder, writer, learner and drainer are in it."""
    return _end_server(Report("kill server", note="events, decisions, outcomes, edits of an offer; drain every 0.3 s"),
                       folder, points, seed, Served.kill)  # fmt: skip


def stop_server(folder: Path, points: int, seed: int) -> Report:
    """SIGTERM under load: it ends by itself, and what was answered is kept."""
    report = Report("stop server", note="SIGTERM under load; slowest: seconds to its end")

    def stop(server: Served) -> None:
        began = time.monotonic()
        code = server.stop()
        report.took(time.monotonic() - began)
        if code != 0:
            report.wrong.append(f"the server ended with {code}: {''.join(server.said)[-500:]}")

    return _end_server(report, folder, points, seed, stop)


def _end_server(report: Report, folder: Path, points: int, seed: int, end: Callable[[Served], object]) -> Report:
    shop, chance = folder / "лавка", random.Random(seed)
    load = Load(seed, open_shop(shop), edits=True)
    for point in range(points):
        server = Served(shop, BUSY)
        load.start(server)
        time.sleep(chance.uniform(0.1, 1.2))
        end(server)
        load.stop()
        report.points += 1
        if point % CHECKED_EVERY == CHECKED_EVERY - 1 or point == points - 1:
            _finish(report, shop, load)
            _check(report, shop, load, folder / "clean", chance)
        else:
            with vitrina.open(shop) as workspace:
                report.wrong += rows_wrong(workspace, load)
    return _counted(report, load)


def _finish(report: Report, shop: Path, load: Load) -> None:
    """Start it once more, send what is open, stop it in order."""
    server = Served(shop, BUSY)
    for _ in range(50):
        load.send_open(server)
        if not load.open:
            break
        time.sleep(0.1)
    with server.client() as anybody:
        ready = anybody.get("/readyz")
    if load.open or ready.status_code != 200:
        report.wrong.append(f"{load.open} requests stay open, ready: {ready.text}")
    with server.client(load._key) as client:  # pyright: ignore[reportPrivateUsage]
        if (name := client.get("/v1/offers/p1").json()["name"]) not in load.offer:
            report.wrong.append(f"the offer is {name}, acknowledged was {load.offer[0]}")
    if server.stop() != 0:
        report.wrong.append(f"the server did not end in order: {''.join(server.said)[-500:]}")


def _check(report: Report, shop: Path, load: Load, clean: Path, chance: random.Random) -> None:
    """Rows, and the state against a clean fold in another order; everything is answered by now."""
    now = time.time_ns() // 1000
    with vitrina.open(shop) as workspace:
        workspace.claim()
        workspace.step()
        report.wrong += rows_wrong(workspace, load)
        extra = set(column(workspace, "events", "message_id")) - set(load.acked)
        report.wrong += [f"event {name} was never answered" for name in sorted(extra)[:5]]
        workspace.drain()
        report.wrong += rows_wrong(workspace, load)
        found = state_of(workspace, now)
        wanted = clean_fold(workspace, clean, send_calls(load.acked.values(), chance), now)
    report.wrong += [f"{part} differ from a clean fold" for part in difference(found, wanted)]


def _counted(report: Report, load: Load) -> Report:
    report.events, report.decisions, report.refused = len(load.acked), len(load.served), load.refused
    report.wrong += load.wrong
    return report


# a writer of the lake


class Writer:
    """A process of `tests.loop.lake_writer`."""

    def __init__(self, shop: Path, first: int) -> None:
        command = [sys.executable, "-m", "tests.loop.lake_writer", str(shop), str(first), str(MONTH_AGO)]
        env = {**environment(BUSY), "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.lines: list[str] = [self.process.stdout.readline()]
        assert self.lines[0], "the writer died before its first answer"
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout or ()))
        self._reader.start()

    def kill(self) -> tuple[int, int]:
        """kill -9; the last batch that was acknowledged (-1: none), and how many faults were told."""
        self.process.kill()
        self.process.wait(30)
        self._reader.join(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        whole = [line.strip() for line in self.lines if line.endswith("\n")]
        return max((int(line) for line in whole if line.isdigit()), default=-1), sum("fault" in line for line in whole)


def kill_lake_writer(folder: Path, points: int, seed: int) -> Report:
    """kill -9 of a process that drains and compacts without a pause."""
    report = Report("kill lake writer", note="fold, drain and compaction in a loop, 40 events a batch")
    shop, chance = folder / "лавка", random.Random(seed)
    open_shop(shop)
    batches = 0
    for point in range(points):
        writer = Writer(shop, max(0, batches - 1))
        time.sleep(chance.uniform(0.05, 1.2))
        batches = max(batches, writer.kill()[0] + 1)
        report.points += 1
        _check_batches(report, shop, batches, folder / "clean", chance, whole=point % CHECKED_EVERY == 0)
    _check_batches(report, shop, batches, folder / "clean", chance, whole=True)
    report.events = 40 * batches
    return report


def _check_batches(
    report: Report, shop: Path, batches: int, clean: Path, chance: random.Random, *, whole: bool
) -> None:
    """Every batch that was acknowledged is there once; what was stored beyond them is sent, and folds to the same."""
    now = time.time_ns() // 1000
    with vitrina.open(shop) as workspace:
        names = column(workspace, "events", "message_id")
        wanted = {call["messageId"] for batch in range(batches) for call in calls_of(batch, MONTH_AGO)}
        report.wrong += [f"event {name} is there {n} times" for name, n in twice(names)]
        report.wrong += [f"acknowledged event {name} is lost" for name in sorted(wanted - set(names))[:5]]
        if whole:
            calls = [call for batch in range(batches + 1) for call in calls_of(batch, MONTH_AGO)]
            workspace.claim()
            send_calls(calls, chance)(workspace)
            workspace.drain()
            state = state_of(workspace, now)
            clean_state = clean_fold(workspace, clean, send_calls(calls, chance), now)
            report.wrong += [f"{part} differ from a clean fold" for part in difference(state, clean_state)]


# commands


MAPPING = """
source = { name = "till", currency = "EUR", lawful_basis = "contract", purposes = ["essential", "personalisation"] }
[columns]
order_id = "order"
product_id = "product"
quantity = "quantity"
unit_price = "price"
occurred_at = "at"
user_id = "who"
"""


def kill_import(folder: Path, points: int, seed: int) -> Report:
    """kill -9 of `vitrina import`, which is then repeated: the end is that of an import nobody disturbed."""
    report = Report("kill import", note="6,000 lines; killed up to 4 times, then repeated to the end")
    chance = random.Random(seed)
    file, mapping = folder / "заказы.csv", folder / "касса.toml"
    lines = [f"{n // 3},p{n % 50},{1 + n % 4},{n % 90 + 1}.50,2025-0{1 + n % 9}-01T10:00:00Z,u{n // 3 % 700}"
             for n in range(6_000)]  # fmt: skip
    file.write_text("\n".join(["order,product,quantity,price,at,who", *lines]) + "\n", encoding="utf-8")
    mapping.write_text(MAPPING, encoding="utf-8")
    now, began = time.time_ns() // 1000, time.monotonic()
    whole = _import(folder / "целиком", file, mapping)
    spent = time.monotonic() - began
    wanted = _state(folder / "целиком", now)
    shop = folder / "лавка"
    while report.points < points:
        shutil.rmtree(shop, ignore_errors=True)
        open_shop(shop)
        for _ in range(min(4, points - report.points)):
            process = subprocess.Popen(_import_line(shop, file, mapping), env=environment(), stdout=subprocess.DEVNULL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.5, 1.1) * spent)
            process.kill()
            process.wait(30)
            report.points += 1
        again = _import(shop, file, mapping)
        if again["read"] != whole["read"] or again["refused"]:
            report.wrong.append(f"the repeated import says {again}")
        report.wrong += [f"{part} differ from an undisturbed import" for part in difference(_state(shop, now), wanted)]
        report.events += again["stored"] + again["duplicates"]
    return report


def _import_line(shop: Path, file: Path, mapping: Path) -> list[str]:
    return [*PROGRAM, "-w", str(shop), "import", str(file), "--mapping", str(mapping), "--json"]


def _import(shop: Path, file: Path, mapping: Path) -> dict[str, Any]:
    if not shop.exists():
        open_shop(shop)
    done = subprocess.run(_import_line(shop, file, mapping), env=environment(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def _state(shop: Path, now: Micros) -> dict[str, str]:
    with vitrina.open(shop) as workspace:
        workspace.claim()
        return state_of(workspace, now)


def kill_migration(folder: Path, points: int, seed: int) -> Report:
    """kill -9 of `vitrina migrate` there and back; the store is always whole at one place, and nothing is lost."""
    report = Report("kill migrate", note="SQLite file to SQLite file and back, 4,000 events; then repeated to the end")
    shop, chance, now = folder / "лавка", random.Random(seed), time.time_ns() // 1000
    open_shop(shop)
    calls = [make_call(f"m-{n}", chance) for n in range(4_000)]
    with vitrina.open(shop) as workspace:
        send_calls(calls, chance)(workspace)
        wanted = state_of(workspace, now)
    began, spent = time.monotonic(), 0.0
    place = ""
    for number in range(1, points + 2):
        other = "" if place else f"sqlite:///{folder}/elsewhere-{number}.db"
        line = [*PROGRAM, "-w", str(shop), "migrate", *(["--to", other] if other else [])]
        process = subprocess.Popen(line, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if number > 1:  # the first one says how long it takes
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.3, 1.05) * spent)
            process.kill()
            report.points += 1
        _, said = process.communicate(timeout=60)
        if process.returncode not in (0, -signal.SIGKILL):
            report.wrong.append(f"migrate ended with {process.returncode}: {said.decode()[-300:]}")
        spent = spent or time.monotonic() - began
        report.wrong += [f"{part} differ after point {number}" for part in difference(_state(shop, now), wanted)]
        with vitrina.open(shop) as workspace:
            place = workspace.settings.storage.url
        if not place:  # a file that an ended attempt left behind beside is nobody's
            for file in folder.glob("elsewhere-*"):
                file.unlink()
    report.events = len(calls)
    return report


def kill_upgrade(folder: Path, points: int, seed: int) -> Report:
    """kill -9 while the tables are brought up to date: the next start finishes it."""
    report = Report("kill schema upgrade", note=f"to version {migrations.newest_version()}, from nothing")
    chance = random.Random(seed)
    program = (
        "import sys, vitrina.workspace\nfrom vitrina.storage.store import Store\n"
        "store = Store.open(sys.argv[1], threaded=False)\nsys.stdout.write('begin\\n')\nsys.stdout.flush()\n"
        "store.migrate()\nsys.stdout.write('end\\n')\nsys.stdout.flush()\nimport time\ntime.sleep(60)\n"
    )
    spent = 0.0
    for number in range(points + 1):
        file = folder / f"s{number}.db"
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(file)], env=environment(), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        if number:
            time.sleep(chance.uniform(0, 1.05) * spent)
        else:
            process.stdout.readline()
            spent = time.monotonic() - began
        process.kill()
        process.communicate(timeout=30)
        store = Store.open(str(file), threaded=False)
        store.migrate()
        with store.read() as connection:
            if left := migrations.differences(connection):
                report.wrong.append(f"after point {number} the tables differ: {left}")
        store.close()
        file.unlink()
        report.points += number > 0
    return report


def kill_erasure(folder: Path, points: int, seed: int) -> Report:
    """kill -9 of the server while it erases somebody: once 202 was answered, it is finished after the next start."""
    report = Report("kill erasure", note="202, then killed within 0.6 s; one person a point; nothing of them is left")
    shop, chance = folder / "лавка", random.Random(seed)
    load = Load(seed, open_shop(shop))
    key = load._key  # pyright: ignore[reportPrivateUsage]
    for point in range(points):
        user = f"стёртый-{point}"
        server = Served(shop, BUSY)
        with server.client(key) as client:
            base = {"userId": user, "anonymousId": f"след-{point}"}
            calls = [{**base, "type": "identify", "traits": {"city": "Тверь"}, "messageId": f"e-{point}-0"}]
            calls += [{**base, "type": "track", "event": "Product Viewed", "messageId": f"e-{point}-{n}"}
                      for n in range(1, 30)]  # fmt: skip
            assert client.post("/v1/batch", json={"batch": calls}).status_code == 200
            time.sleep(chance.uniform(0.3, 0.8))  # so that the lake has some of it
            erasure = client.delete(f"/v1/profiles/{user}")
            assert erasure.status_code == 202, erasure.text
        time.sleep(chance.uniform(0, 0.6))
        server.kill()
        report.points += 1
        server = Served(shop, BUSY)
        with server.client(key) as client:
            path, until = f"/v1/erasures/{erasure.json()['erasureId']}", time.monotonic() + 30
            while (receipt := client.get(path)).json().get("doneAt") is None and time.monotonic() < until:
                time.sleep(0.05)
            if receipt.json().get("doneAt") is None:
                report.wrong.append(f"the erasure of point {point} is not finished: {receipt.text}")
            if client.get(f"/v1/profiles/{user}").status_code != 404:
                report.wrong.append(f"{user} is known after point {point}")
        server.stop()
        with vitrina.open(shop) as workspace:
            names = column(workspace, "events", "message_id")
            report.wrong += [f"{name} is left of {user}" for name in names if name.startswith(f"e-{point}-")][:3]
    report.events = 30 * points
    return report


# a full disk


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Generator[str]:
    """A file system of `size` bytes on `folder`; says how it is made."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "vitrina-faults", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        yield ""
        return
    try:
        yield "tmpfs"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Fullness:
    """Fills the disk under a process, and makes room again.

    On a small file system a ballast file takes what is free but a rest; where none can be mounted, the process may not
    make files longer than they are (RLIMIT_FSIZE), which fails its writes as a full disk does.
    """

    def __init__(self, disk: Path, pid: int, *, mounted: bool) -> None:
        self._ballast = disk / "ballast"
        self._pid = pid
        self._mounted = mounted

    def fill(self, rest: int) -> None:
        if not self._mounted:
            resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            return
        free = shutil.disk_usage(self._ballast.parent).free
        with self._ballast.open("wb") as file:
            for size in (free - rest, free - rest - (1 << 20)):
                with contextlib.suppress(OSError, ValueError):
                    os.posix_fallocate(file.fileno(), 0, size)
                    break

    def empty(self) -> None:
        if self._mounted:
            self._ballast.unlink(missing_ok=True)
        else:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def full_disk(folder: Path, points: int, seed: int) -> Report:
    """The disk of a serving workspace fills up and gets room again: store, lake, catalogue."""
    report = Report("full disk, server")
    with small_disk(folder / "disk", ROOMY) as how:
        report.note = f"{how or 'RLIMIT_FSIZE'}; a rest of 0 to 400 kB is left free; slowest: ready again"
        shop, chance = folder / "disk" / "лавка", random.Random(seed)
        load = Load(seed, open_shop(shop), edits=True)
        server = Served(shop, BUSY)
        try:
            for _ in range(points):
                load.start(server)
                time.sleep(chance.uniform(0.1, 0.8))
                disk = Fullness(folder / "disk", server.pid, mounted=bool(how))
                disk.fill(chance.choice([0, chance.randrange(400_000)]))
                time.sleep(chance.uniform(0.3, 1.5))
                load.stop()
                _is_told(report, load, server)
                disk.empty()
                _recovered(report, server)
                report.points += 1
        finally:
            server.kill()
        _finish(report, shop, load)
        _check(report, shop, load, folder / "clean", chance)
    return _counted(report, load)


def _is_told(report: Report, load: Load, server: Served) -> None:
    """While events are refused because they can't be stored, `/readyz` says 503 and why."""
    with server.client() as anybody:
        lies = 0
        while lies < 5:
            status = load.once(server)
            if status == 200:
                return  # there was room for it
            ready = anybody.get("/readyz")
            if ready.status_code == 503 and ready.json()["problems"]:
                return
            lies += status == 503  # 429 is about the pace, not about the store
            time.sleep(0 if status == 503 else 0.2)
    report.wrong.append(f"events are refused ({load.refusal}) and /readyz says {ready.status_code} {ready.text}")


def _recovered(report: Report, server: Served) -> None:
    """Ready again within half a minute."""
    began = time.monotonic()
    with server.client() as anybody:
        while time.monotonic() < began + 30:
            with contextlib.suppress(httpx.TransportError):
                if (ready := anybody.get("/readyz")).status_code == 200:
                    report.took(time.monotonic() - began)
                    return
            time.sleep(0.05)
    report.wrong.append(f"not ready again after 30 s: {ready.text}")


def full_disk_of_lake_writer(folder: Path, points: int, seed: int) -> Report:
    """The disk fills up under drains and compactions that follow each other without a pause."""
    report = Report("full disk, lake writer")
    with small_disk(folder / "disk", ROOMY) as how:
        report.note = f"{how or 'RLIMIT_FSIZE'}; drain and compaction in a loop"
        shop, chance = folder / "disk" / "лавка", random.Random(seed)
        open_shop(shop)
        writer = Writer(shop, 0)
        disk = Fullness(folder / "disk", writer.process.pid, mounted=bool(how))
        for _ in range(points):
            time.sleep(chance.uniform(0.2, 0.8))
            disk.fill(chance.randrange(300_000))
            time.sleep(chance.uniform(0.2, 0.8))
            disk.empty()
            report.points += 1
        time.sleep(1)
        alive = writer.process.poll() is None
        last, report.refused = writer.kill()
        if not alive or not report.refused:
            report.wrong.append(f"the writer lives: {alive}, faults that it met: {report.refused}")
        _check_batches(report, shop, last + 1, folder / "clean", chance, whole=True)
        report.events = 40 * (last + 1)
    return report


def full_disk_of_import(folder: Path, points: int, seed: int) -> Report:
    """The disk fills up under `vitrina import`: it says so and ends with 4; repeated, it is as if nothing happened."""
    report = Report("full disk, import", note="tmpfs or RLIMIT_FSIZE; repeated to the end each time")
    chance, now = random.Random(seed), time.time_ns() // 1000
    with small_disk(folder / "disk", ROOMY) as how:
        file, mapping = folder / "disk" / "заказы.csv", folder / "disk" / "касса.toml"
        lines = [f"{n // 3},p{n % 50},1,{n % 90 + 1}.50,2025-01-01T10:00:00Z,u{n // 3 % 700}" for n in range(6_000)]
        file.write_text("\n".join(["order,product,quantity,price,at,who", *lines]) + "\n", encoding="utf-8")
        mapping.write_text(MAPPING, encoding="utf-8")
        began = time.monotonic()
        _import(folder / "целиком", file, mapping)
        spent = time.monotonic() - began
        wanted = _state(folder / "целиком", now)
        for _ in range(points):
            shop = folder / "disk" / "лавка"
            shutil.rmtree(shop, ignore_errors=True)
            open_shop(shop)
            process = subprocess.Popen(
                _import_line(shop, file, mapping), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            disk = Fullness(folder / "disk", process.pid, mounted=bool(how))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.4, 0.9) * spent)
            if process.poll() is None:
                disk.fill(chance.randrange(200_000))
            _, said = process.communicate(timeout=120)
            disk.empty()
            report.points += 1
            report.refused += process.returncode == 4
            if process.returncode not in (0, 4) or b"Traceback" in said:
                report.wrong.append(f"import ended with {process.returncode}: {said.decode()[-400:]}")
            again = _import(shop, file, mapping)
            report.events += again["stored"] + again["duplicates"]
            report.wrong += [f"{part} differ from an undisturbed import" for part in
                             difference(_state(shop, now), wanted)]  # fmt: skip
    return report


# a database that goes and comes back


def database_gone(folder: Path, points: int, seed: int) -> Report:
    """PostgreSQL crashes under a serving workspace and comes back."""
    report = Report(
        "database gone", note="PostgreSQL stopped hard (SIGQUIT), back after 0.2 to 2 s; slowest: ready again"
    )
    shop, chance, database = folder / "лавка", random.Random(seed), Postgres()
    try:
        load = Load(seed, open_shop(shop, database.url() + "?schema=shop"))
        server = Served(shop, BUSY)
        try:
            for _ in range(points):
                load.start(server)
                time.sleep(chance.uniform(0.3, 1.5))
                database.stop(signal.SIGQUIT)
                time.sleep(chance.uniform(0.2, 2.0))
                load.stop()
                _is_told(report, load, server)
                database.start()
                _recovered(report, server)
                report.points += 1
        finally:
            server.kill()
        _finish(report, shop, load)
        _check(report, shop, load, folder / "clean", chance)
    finally:
        database.close()
    return _counted(report, load)


# a clock that jumps, and events that come again


class JumpingClock:
    """The machine's clock, and an offset that jumps."""

    def __init__(self) -> None:
        self.offset = 0

    def now(self) -> Micros:
        """The jumped time."""
        return time.time_ns() // 1_000 + self.offset


def clock_jumps(folder: Path, points: int, seed: int) -> Report:
    """The clock jumps by up to a day, there and back, while a workspace is at work."""
    report = Report("clock jump", note="±1 day; the workspace's clock; killed never, threads running")
    shop, chance, clock = folder / "лавка", random.Random(seed), JumpingClock()
    open_shop(shop)
    calls = 0
    ids: list[str] = []
    with vitrina.open(shop, clock=clock) as workspace:
        workspace._journals.events.subscribe("harness")  # so that what was stored can be read back  # pyright: ignore
        workspace.start()
        source = Source("server", "secret", trusted=True)
        for _ in range(points):
            clock.offset = chance.choice([0, DAY, -DAY, chance.randrange(-DAY, DAY)])
            stretch: list[str] = []
            for _ in range(15):
                calls += 1
                batch = [make_call(f"j-{calls}-{n}", chance) for n in range(20)]
                again = [make_call(f"j-{chance.randrange(1, calls + 1)}-{n}", chance) for n in range(5)]
                asked = DecideRequest(placement="home", user_id=f"u{chance.randrange(30)}", request_id=f"j-{calls}")
                stretch.append(workspace.decide(asked).decision_id)
                if workspace.decide(asked).decision_id != stretch[-1]:
                    report.wrong.append(f"the request j-{calls} was answered twice differently")
                batch += outcomes_of(stretch[-1], asked.user_id or "", clock.now() / 1e6, order=chance.random() < 0.3)
                for body in (batch, [*again, *batch]):
                    workspace.receive(json.dumps({"batch": body}).encode(), "batch", source).result()
                time.sleep(0.002)  # so that ids are of different milliseconds
            if stretch != sorted(stretch):
                report.wrong.append("ids are out of order though the clock stood by")
            ids += stretch
            workspace.drain()
            report.points += 1
        clock.offset = 2 * DAY  # whatever was kept back until its day may be used now
        workspace.step()
        workspace.drain()
        if faults := workspace.background.faults():
            report.wrong.append(f"faults in the background: {faults}")
        now = clock.now()
        stored = [decode_event(row.body) for row in workspace._journals.events.read(0, 1_000_000)]  # pyright: ignore
        names = column(workspace, "events", "message_id")
        report.wrong += [f"event {name} is there {n} times" for name, n in twice(names)]
        if len(ids) != len(set(ids)) or set(ids) != set(column(workspace, "decisions", "id")):
            report.wrong.append("decisions are not those that were answered")
        credited = len(column(workspace, "outcomes", "decision_id"))
        if credited < len(ids) or workspace.learner.weights("home") == {}:
            report.wrong.append(
                f"{credited} outcomes for {len(ids)} decisions, learned: {workspace.learner.weights('home')}"
            )
        state = state_of(workspace, now)
        chance.shuffle(stored)

        def send(clean: Workspace) -> None:
            for begin in range(0, len(stored), 400):
                clean.receive_events(stored[begin : begin + 400])
                clean.step()

        wanted = clean_fold(workspace, folder / "clean", send, now, SimulatedClock(now))
    report.wrong += [f"{part} differ from a clean fold" for part in difference(state, wanted)]
    report.events, report.decisions = len(names), len(ids)
    return report


def events_again(folder: Path, points: int, seed: int) -> Report:
    """Every event three times, in random order, beside a workspace that got each once."""
    report = Report("every event three times", note="300 events a point, random order; drained in between")
    shop, chance, now = folder / "лавка", random.Random(seed), time.time_ns() // 1000
    open_shop(shop)
    calls: list[dict[str, Any]] = []
    with vitrina.open(shop) as workspace:
        workspace.claim()
        for point in range(points):
            fresh = [make_call(f"t-{point}-{n}", chance) for n in range(300)]
            asked = [workspace.decide(DecideRequest(placement="home", user_id=f"u{n}")) for n in range(10)]
            for answer in asked:
                fresh += outcomes_of(answer.decision_id, "u1", time.time(), order=True)
            calls += fresh
            send_calls([*fresh * 3, *chance.sample(calls, 50)], chance)(workspace)
            workspace.drain()
            report.points += 1
            report.decisions += len(asked)
        report.wrong += [
            f"event {name} is there {n} times" for name, n in twice(column(workspace, "events", "message_id"))
        ]
        state = state_of(workspace, now)
        wanted = clean_fold(workspace, folder / "clean", send_calls(calls, chance), now)
    report.wrong += [f"{part} differ from a clean fold" for part in difference(state, wanted)]
    report.events = len(calls)
    return report


Kind = Callable[[Path, int, int], Report]
KINDS: dict[Kind, int] = {
    kill_server: 100,
    stop_server: 20,
    kill_lake_writer: 40,
    kill_import: 20,
    kill_migration: 20,
    kill_upgrade: 20,
    kill_erasure: 10,
    full_disk: 20,
    full_disk_of_lake_writer: 20,
    full_disk_of_import: 10,
    database_gone: 10,
    clock_jumps: 20,
    events_again: 10,
}
"""Each kind and how often it happens in a full run."""


# the whole, written down


def _write(reports: list[Report], spent: float) -> None:
    from benchmarks.harness import row, write

    rows: list[dict[str, Any]] = []
    for report in reports:
        name = report.kind.replace(",", "").replace(" ", "-")
        note = f"{report.points} points, {report.events} events, {report.decisions} decisions; {report.note}"
        note += f"; wrong: {'; '.join(report.wrong)[:500]}" if report.wrong else ""
        rows.append(row(name, f"wrong after: {report.kind}", [len(report.wrong)], "findings", target=0, note=note))
    write("faults", rows, ["vitrina", "deltalake", "sqlalchemy", "psycopg"])
    lines = [
        "# Faults",
        "",
        "<!-- Written by `make faults`: run it, don't edit this page. -->",
        "",
        "Each fault happens at random moments of a load that a shop would send, and the workspace goes on. Afterwards nothing",
        "that was answered with 200 may be lost, nothing may be there twice, and everything that can be seen (leaves, links,",
        "consents, stock, outcomes, decisions, sums) has to equal a clean fold of the same events in another order.",
        "`tests/loop/faults.py` does it; `make test-long` runs a tenth.",
        "",
        "| fault | how often | events | decisions | refused, sent again | slowest, s | wrong | how |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for r in reports:
        slowest = f"{r.slowest:g}" if r.slowest else "–"
        lines.append(
            f"| {r.kind} | {r.points} | {r.events:,} | {r.decisions:,} | {r.refused:,} | {slowest} | {len(r.wrong)} | {r.note} |"
        )
    wrong = [f"- {report.kind}: {what}" for report in reports for what in report.wrong]
    lines += ["", *(["What was wrong:", "", *wrong, ""] if wrong else [])]
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lines += [f"{when}; {os.cpu_count()} cores, {spent / 60:.0f} minutes."]
    (ROOT / "docs" / "dev" / "faults.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run kinds in full, or a share of them; write the report after a full run."""
    names = {kind.__name__: kind for kind in KINDS}
    parser = argparse.ArgumentParser(description="Faults, many times over.")
    parser.add_argument("--only", choices=sorted(names), action="append", help="this kind only (no report is written)")
    parser.add_argument("--share", type=float, default=1.0, help="share of the full counts")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    began, reports = time.monotonic(), list[Report]()
    for kind in [names[name] for name in given.only] if given.only else KINDS:
        with tempfile.TemporaryDirectory(prefix="vitrina-faults-") as folder:
            at = time.monotonic()
            report = kind(Path(folder), max(1, round(KINDS[kind] * given.share)), given.seed)
        reports.append(report)
        sys.stdout.write(f"{time.monotonic() - at:6.0f} s  {msgspec.json.encode(report).decode()}\n")
        sys.stdout.flush()
    if not given.only and given.share == 1.0:
        _write(reports, time.monotonic() - began)
    return 1 if any(report.wrong for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
