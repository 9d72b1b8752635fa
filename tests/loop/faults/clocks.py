"""A clock that jumps, and events that come again."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import vitrina
from tests.loop.faults.report import Report
from tests.loop.load import make_call, open_shop, outcomes_of
from tests.loop.state import SERVER, clean_fold, column, difference, send_calls, state_of, twice
from vitrina.collect.ingest import decode_event
from vitrina.core.clock import DAY, Micros, SimulatedClock
from vitrina.core.decision import DecideRequest
from vitrina.workspace import Workspace

__all__ = ["clock_jumps", "events_again"]


class JumpingClock:
    """The machine's clock, and an offset that jumps."""

    def __init__(self) -> None:
        self.offset = 0

    def now(self) -> Micros:
        """The jumped time."""
        return time.time_ns() // 1_000 + self.offset


def clock_jumps(folder: Path, points: int, seed: int) -> Report:
    """The clock jumps by up to a day, there and back, while a workspace is at work."""
    report = Report(
        "clock jump", note="±1 day, the clock of a workspace whose threads run; every event also comes again"
    )
    shop, chance, clock = folder / "лавка", random.Random(seed), JumpingClock()
    open_shop(shop)
    ids: list[str] = []
    with vitrina.open(shop, clock=clock) as workspace:
        journal = workspace._journals.events
        journal.subscribe("harness")  # so that rows stay, and can be read back as they were stored
        workspace.start()
        for _ in range(points):
            clock.offset = chance.choice([0, DAY, -DAY, chance.randrange(-DAY, DAY)])
            ids += _stretch(report, workspace, clock, chance, len(ids))
            workspace.drain()
            report.points += 1
        clock.offset = 2 * DAY  # whatever was kept back until its day may be used now
        workspace.step()
        workspace.drain()
        names, now = column(workspace, "events", "message_id"), clock.now()
        _check_jumped(report, workspace, ids, names)
        stored = [decode_event(row.body) for row in journal.read(0, 1_000_000)]
        chance.shuffle(stored)

        def send(clean: Workspace) -> None:
            for begin in range(0, len(stored), 400):
                clean.receive_events(stored[begin : begin + 400])
                clean.step()

        wanted = clean_fold(workspace, folder / "clean", send, now, SimulatedClock(now))
        report.wrong += [f"{part} differ from a clean fold" for part in difference(state_of(workspace, now), wanted)]
    report.events, report.decisions = len(names), len(ids)
    return report


def _stretch(report: Report, workspace: Workspace, clock: JumpingClock, chance: random.Random, done: int) -> list[str]:
    """Some decisions, what comes of them, and events, each sent twice; ids are in order while the clock stands by."""
    ids: list[str] = []
    for number in range(done + 1, done + 16):
        asked = DecideRequest(placement="home", user_id=f"u{chance.randrange(30)}", request_id=f"j-{number}")
        ids.append(workspace.decide(asked).decision_id)
        if workspace.decide(asked).decision_id != ids[-1]:
            report.wrong.append(f"the request j-{number} was answered twice differently")
        batch = [make_call(f"j-{number}-{n}", chance) for n in range(20)]
        batch += outcomes_of(ids[-1], asked.user_id or "", clock.now() / 1e6, order=chance.random() < 0.3)
        again = [{**batch[0], "messageId": f"j-{chance.randrange(1, number + 1)}-{n}"} for n in range(5)]
        for body in (batch, [*again, *batch]):
            workspace.receive(json.dumps({"batch": body}).encode(), "batch", SERVER).result()
        time.sleep(0.002)  # so that ids are of different milliseconds
    if ids != sorted(ids):
        report.wrong.append("ids are out of order though the clock stood by")
    return ids


def _check_jumped(report: Report, workspace: Workspace, ids: list[str], names: list[str]) -> None:
    if faults := workspace.background.faults():
        report.wrong.append(f"faults in the background: {faults}")
    report.wrong += [f"event {name} is there {n} times" for name, n in twice(names)]
    if len(ids) != len(set(ids)) or set(ids) != set(column(workspace, "decisions", "id")):
        report.wrong.append("decisions are not those that were answered")
    credited, learned = len(column(workspace, "outcomes", "decision_id")), workspace.learner.weights("home")
    if credited < len(ids) or not sum(learned.values()):
        report.wrong.append(f"{credited} outcomes of {len(ids)} decisions; learned {learned}")


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
