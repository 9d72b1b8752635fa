"""A disk that is full for a while, and a database that goes and comes back."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path

from tests.loop.faults.checks import check, check_batches, counted, finish, is_told, recovered, state
from tests.loop.faults.commands import MAPPING, import_file, import_line
from tests.loop.faults.kills import Writer
from tests.loop.faults.report import BUSY, Report
from tests.loop.load import Load, open_shop
from tests.loop.served import Served, environment
from tests.loop.state import difference
from tests.postgres import Server as Postgres

__all__ = ["database_gone", "full_disk", "full_disk_of_import", "full_disk_of_lake_writer"]

ROOMY = 192 << 20


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
        """Leave so many bytes free; again, it takes what was let go of meanwhile."""
        if not self._mounted:
            resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            return
        with self._ballast.open("ab") as file:
            for margin in (0, 1 << 16, 1 << 20):
                more = shutil.disk_usage(self._ballast.parent).free - rest - margin
                if more <= 0:
                    return
                with contextlib.suppress(OSError):  # somebody else took it first
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, more)
                    return

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
                met = load.refused
                _until(lambda met=met: load.refused > met, disk, chance.choice([0, chance.randrange(400_000)]))
                time.sleep(chance.uniform(0, 1.2))
                load.stop()
                is_told(report, load, server)
                disk.empty()
                recovered(report, server)
                report.points += 1
        finally:
            server.kill()
        finish(report, shop, load)
        check(report, shop, load, folder / "clean", chance)
    return counted(report, load)


def _until(happened: Callable[[], bool], disk: Fullness, rest: int) -> None:
    """Keep the disk full until the fault was met, ten seconds at most: a compaction lets go of what it took."""
    end = time.monotonic() + 10
    while not happened() and time.monotonic() < end:
        disk.fill(rest)
        time.sleep(0.01)


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
            met = writer.faults
            _until(lambda met=met: writer.faults > met, disk, chance.randrange(300_000))
            time.sleep(chance.uniform(0, 0.4))
            disk.empty()
            report.points += 1
        time.sleep(1)
        alive = writer.process.poll() is None
        last, report.refused = writer.kill()
        if not alive or not report.refused:
            report.wrong.append(f"the writer lives: {alive}, faults that it met: {report.refused}")
        check_batches(report, shop, last + 1, folder / "clean", chance, whole=True)
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
        import_file(folder / "целиком", file, mapping)
        spent = time.monotonic() - began
        wanted = state(folder / "целиком", now)
        for _ in range(points):
            shop = folder / "disk" / "лавка"
            shutil.rmtree(shop, ignore_errors=True)
            open_shop(shop)
            process = subprocess.Popen(
                import_line(shop, file, mapping), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            disk = Fullness(folder / "disk", process.pid, mounted=bool(how))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.3, 0.7) * spent)
            if process.poll() is None:
                disk.fill(chance.choice([0, chance.randrange(50_000)]))
            _, said = process.communicate(timeout=120)
            disk.empty()
            report.points += 1
            report.refused += process.returncode == 4
            if process.returncode not in (0, 4) or b"Traceback" in said:
                report.wrong.append(f"import ended with {process.returncode}: {said.decode()[-400:]}")
            again = import_file(shop, file, mapping)
            report.events += again["stored"] + again["duplicates"]
            report.wrong += [f"{part} differ from an undisturbed import" for part in
                             difference(state(shop, now), wanted)]  # fmt: skip
    return report


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
                is_told(report, load, server)
                database.start()
                recovered(report, server)
                report.points += 1
        finally:
            server.kill()
        finish(report, shop, load)
        check(report, shop, load, folder / "clean", chance)
    finally:
        database.close()
    return counted(report, load)
