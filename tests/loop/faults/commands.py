"""kill -9 of commands: import, migration, schema upgrade."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import text

import vitrina
from tests.loop.faults.checks import state
from tests.loop.faults.report import Report
from tests.loop.load import make_call, open_shop
from tests.loop.served import PROGRAM, environment
from tests.loop.state import difference, send_calls, state_of
from vitrina.storage import migrations
from vitrina.storage.store import Store

__all__ = ["MAPPING", "import_file", "import_line", "kill_import", "kill_migration", "kill_upgrade"]

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
    whole = import_file(folder / "целиком", file, mapping)
    spent = time.monotonic() - began
    wanted = state(folder / "целиком", now)
    shop = folder / "лавка"
    while report.points < points:
        shutil.rmtree(shop, ignore_errors=True)
        open_shop(shop)
        for _ in range(min(4, points - report.points)):
            process = subprocess.Popen(import_line(shop, file, mapping), env=environment(), stdout=subprocess.DEVNULL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.5, 1.1) * spent)
            process.kill()
            process.wait(30)
            report.points += 1
        again = import_file(shop, file, mapping)
        if again["read"] != whole["read"] or again["refused"]:
            report.wrong.append(f"the repeated import says {again}")
        report.wrong += [f"{part} differ from an undisturbed import" for part in difference(state(shop, now), wanted)]
        report.events += again["stored"] + again["duplicates"]
    return report


def import_line(shop: Path, file: Path, mapping: Path) -> list[str]:
    return [*PROGRAM, "-w", str(shop), "import", str(file), "--mapping", str(mapping), "--json"]


def import_file(shop: Path, file: Path, mapping: Path) -> dict[str, Any]:
    if not shop.exists():
        open_shop(shop)
    done = subprocess.run(import_line(shop, file, mapping), env=environment(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


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
        report.wrong += [f"{part} differ after point {number}" for part in difference(state(shop, now), wanted)]
        with vitrina.open(shop) as workspace:
            place = workspace.settings.storage.url
        if not place:  # a file that an ended attempt left behind beside is nobody's
            for file in folder.glob("elsewhere-*"):
                file.unlink()
    report.events = len(calls)
    return report


_UPGRADE = """
import sys, time
import vitrina.workspace
from vitrina.storage.store import Store
store = Store.open(sys.argv[1], threaded=False)
print("begin", flush=True)
store.migrate()
print("end", flush=True)
time.sleep(60)
"""


def kill_upgrade(folder: Path, points: int, seed: int) -> Report:
    """kill -9 while the tables are brought up to date: the next start finishes it, and the rows are there."""
    newest, oldest = migrations.newest_version(), min(migrations.known_versions())
    report = Report("kill schema upgrade", note=f"to version {newest}: from {oldest} with 2,000 rows, and from nothing")
    chance, spent = random.Random(seed), {True: 0.0, False: 0.0}
    for number in range(points + 2):
        file, from_nothing = folder / f"s{number}.db", bool(number % 2)
        if not from_nothing:
            _old_store(file, oldest)
        process = subprocess.Popen(
            [sys.executable, "-c", _UPGRADE, str(file)], env=environment(), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        if number < 2:  # these say how long it takes
            process.stdout.readline()
            spent[from_nothing] = time.monotonic() - began
        else:
            time.sleep(chance.uniform(0, 1.05) * spent[from_nothing])
            report.points += 1
        process.kill()
        process.communicate(timeout=30)
        report.wrong += [f"after point {number}: {what}" for what in _left(file, 0 if from_nothing else 2_000)]
        file.unlink()
    return report


def _old_store(file: Path, version: str) -> None:
    """A store at an old version of its tables, with rows in it."""
    store = Store.open(str(file), threaded=False)
    config = migrations._config  # pyright: ignore[reportPrivateUsage]
    store.write(lambda connection: command.upgrade(config(connection), version))
    rows = [{"seq": n, "id": n.to_bytes(16), "body": f"{{{n}}}".encode()} for n in range(1, 2_001)]
    insert = text(
        "insert into events_journal (seq, id, at, subject, lasting, body) values (:seq, :id, 1, 'u:1', 0, :body)"
    )
    store.write(lambda connection: connection.execute(insert, rows))
    store.close()


def _left(file: Path, rows: int) -> list[str]:
    """What is wrong with a store after it was opened again."""
    store = Store.open(str(file), threaded=False)
    store.migrate()
    with store.read() as connection:
        wrong = [f"the tables differ: {found}" for found in migrations.differences(connection)]
        if (count := connection.execute(text("select count(*) from events_journal")).scalar()) != rows:
            wrong.append(f"{count} of {rows} rows are left")
    store.close()
    return wrong
