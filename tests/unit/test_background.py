"""Background parts: started, stepped and stopped together or by name, with what is wrong and what waits."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vitrina
from vitrina.background import Background, Part
from vitrina.core.access import Source

SERVER = Source(name="server", kind="secret", trusted=True)
THREADS = {
    "folder": "vitrina-folder",
    "learner": "learner",
    "drainer": "vitrina-drainer",
    "refresher": "vitrina-recommender",
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[vitrina.Workspace]:
    monkeypatch.setenv("VITRINA_STORAGE_DRAIN_SECONDS", "0.1")
    with vitrina.init(tmp_path / "shop") as made:
        yield made


def send(workspace: vitrina.Workspace, count: int) -> None:
    calls = [
        {"type": "track", "event": "Product Viewed", "userId": "anna", "messageId": f"m{number}",
         "properties": {"product_id": "tea"}}
        for number in range(count)
    ]  # fmt: skip
    workspace.receive(json.dumps({"batch": calls}).encode(), "batch", SERVER).result()


def alive() -> set[str]:
    names = {thread.name for thread in threading.enumerate()}
    return {part for part, name in THREADS.items() if name in names}


def recorded(*names: str) -> tuple[Background, list[str]]:
    """A background whose parts write down what is asked of them; the last one has no rounds and can't tell its lag."""
    said: list[str] = []

    def part(name: str, *, last: bool) -> Part:
        return Part(
            name=name,
            start=lambda: said.append(f"start {name}"),
            stop=lambda: said.append(f"stop {name}"),
            step=None if last else lambda: said.append(f"step {name}"),
            fault=lambda: f"{name} is broken" if last else "",
            lag=None if last else lambda: len(name),
        )

    return Background([part(name, last=name == names[-1]) for name in names]), said


def test_all_parts_start_in_order_and_stop_in_reverse() -> None:
    background, said = recorded("fold", "learn", "drain")
    background.start()
    background.start()
    assert background.running == ("fold", "learn", "drain")
    background.stop()
    background.stop()
    assert said == ["start fold", "start learn", "start drain", "stop drain", "stop learn", "stop fold"]
    assert background.running == ()


def test_only_what_was_started_is_stopped() -> None:
    background, said = recorded("fold", "learn", "drain")
    background.start("drain", "fold")
    assert background.running == ("fold", "drain")
    background.stop("drain", "learn")
    assert background.running == ("fold",)
    background.stop()
    assert said == ["start fold", "start drain", "stop drain", "stop fold"]


def test_rounds_and_their_end_go_first_to_last() -> None:
    background, said = recorded("fold", "learn", "drain")
    background.step()
    background.step("learn", "drain")
    background.settle()
    assert said == ["step fold", "step learn", "step learn", "stop fold", "stop learn", "stop drain"]


def test_faults_and_lags_name_their_part() -> None:
    background, _ = recorded("fold", "learn", "drain")
    assert background.faults() == {"drain": "drain is broken"}
    assert background.lags() == {"fold": 4, "learn": 5}


def test_an_unknown_name_starts_nothing() -> None:
    background, said = recorded("fold", "drain")
    with pytest.raises(KeyError, match="learn"):
        background.start("fold", "learn")
    assert (said, background.running) == ([], ())


def test_a_process_may_run_one_part_alone(workspace: vitrina.Workspace) -> None:
    workspace.claim()
    assert [problem.code for problem in workspace.problems()] == ["not.started"]
    workspace.background.start("folder")
    assert alive() == {"folder"}
    assert workspace.problems() == []
    send(workspace, 3)
    workspace.profiles.settle()
    assert workspace.background.lags() == {"folder": 0, "drainer": 3}
    workspace.start()
    assert alive() == set(THREADS)
    workspace.background.stop()
    assert alive() == set()
    assert [problem.code for problem in workspace.problems()] == ["not.started"]


def test_lags_count_what_waits(workspace: vitrina.Workspace) -> None:
    workspace.claim()
    send(workspace, 3)
    assert workspace.background.lags() == {"folder": 3, "drainer": 3}
    workspace.step()
    assert workspace.background.lags() == {"folder": 0, "drainer": 3}
    workspace.drain()
    assert workspace.background.lags() == {"folder": 0, "drainer": 0}


def test_a_lake_that_cannot_be_written_is_a_fault_but_no_reason_to_turn_people_away(
    workspace: vitrina.Workspace,
) -> None:
    lake = workspace.root / "lake"
    assert workspace.background.faults() == {}
    lake.rmdir()
    lake.write_text("a file where the lake should be", encoding="utf-8")
    workspace.start()
    send(workspace, 1)
    until = time.monotonic() + 60
    while not workspace.background.faults() and time.monotonic() < until:
        time.sleep(0.05)
    assert set(workspace.background.faults()) == {"drainer"}
    assert workspace.problems() == []
