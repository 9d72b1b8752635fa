"""kill -9 and SIGTERM: the server, a writer of the lake, an erasure."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import vitrina
from tests.loop.faults.checks import check, check_batches, counted, finish
from tests.loop.faults.report import BUSY, CHECKED_EVERY, Report
from tests.loop.load import MONTH_AGO, Load, open_shop
from tests.loop.served import ROOT, Served, environment
from tests.loop.state import column, rows_wrong

__all__ = ["Writer", "kill_erasure", "kill_lake_writer", "kill_server", "stop_server"]


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
            finish(report, shop, load)
            check(report, shop, load, folder / "clean", chance)
        else:
            with vitrina.open(shop) as workspace:
                report.wrong += rows_wrong(workspace, load)
    return counted(report, load)


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

    @property
    def faults(self) -> int:
        """How many faults it told so far."""
        return sum("fault" in line for line in list(self.lines))

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
        check_batches(report, shop, batches, folder / "clean", chance, whole=point % CHECKED_EVERY == 0)
    check_batches(report, shop, batches, folder / "clean", chance, whole=True)
    report.events = 40 * batches
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
