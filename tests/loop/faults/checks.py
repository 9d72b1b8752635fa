"""What has to hold after a fault, and while it lasts."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import httpx

import vitrina
from tests.loop.faults.report import BUSY, Report
from tests.loop.lake_writer import calls_of
from tests.loop.load import MONTH_AGO, Load
from tests.loop.served import Served
from tests.loop.state import clean_fold, column, difference, rows_wrong, send_calls, state_of, twice
from vitrina.core.clock import Micros

__all__ = ["check", "check_batches", "counted", "finish", "is_told", "recovered", "state"]


def finish(report: Report, shop: Path, load: Load) -> None:
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


def check(report: Report, shop: Path, load: Load, clean: Path, chance: random.Random) -> None:
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


def counted(report: Report, load: Load) -> Report:
    report.events, report.decisions, report.refused = len(load.acked), len(load.served), load.refused
    report.wrong += load.wrong
    return report


def check_batches(report: Report, shop: Path, batches: int, clean: Path, chance: random.Random, *, whole: bool) -> None:
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


def state(shop: Path, now: Micros) -> dict[str, str]:
    with vitrina.open(shop) as workspace:
        workspace.claim()
        return state_of(workspace, now)


def is_told(report: Report, load: Load, server: Served) -> None:
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


def recovered(report: Report, server: Served) -> None:
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
