"""kill -9 at random points of append, drain and compaction: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.unit.storage.conftest import make_row, open_journal, open_store, stream_of
from vitrina.storage.lake import Lake


def run_and_kill(root: Path, folder: Path, first: int, seconds: float) -> int:
    """Start a victim at row `first`, kill it some time after its first answer; the last row it acknowledged."""
    victim = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.storage.victim", str(folder), str(first)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout is not None
    answered = victim.stdout.readline()
    assert answered, "the victim died before its first answer"
    lines = [answered]
    reader = threading.Thread(target=lambda: lines.extend(victim.stdout))  # pyright: ignore[reportArgumentType]
    reader.start()
    time.sleep(seconds)
    victim.send_signal(signal.SIGKILL)
    victim.wait(20)
    reader.join(20)
    victim.stdout.close()
    return int([line for line in lines if line.endswith("\n")][-1])


def check(folder: Path, acknowledged: int) -> int:
    """Everything acknowledged is there once, in the lake or in the journal; how many rows are there."""
    store = open_store(folder / "store.db")
    events = open_journal(store)
    stream = stream_of(events)
    lake = Lake.open(folder / "lake", store)
    files, offset = lake.snapshot(stream)
    held: Counter[str] = Counter()
    for path in files:
        held.update(pq.ParquetFile(path).read(columns=["text"])["text"].to_pylist())
    held.update(row.body.decode() for row in events.read(after=offset, limit=1_000_000))
    assert [text for text, times in held.items() if times > 1] == []
    assert {f"row {n}" for n in range(acknowledged + 1)} - set(held) == set()
    again = store.writer.append(events, [make_row(n) for n in range(len(held))]).result()
    assert [n for n in again if n is not None] == []
    store.close()
    return len(held)


def survive(root: Path, folder: Path, rounds: int, seed: int) -> None:
    moments = random.Random(seed)
    rows = 0
    for _ in range(rounds):
        acknowledged = run_and_kill(root, folder, max(0, rows - 50), moments.uniform(0.0, 1.2))
        rows = check(folder, acknowledged)
        assert rows >= acknowledged + 1


def test_killed_a_few_times(root: Path, tmp_path: Path) -> None:
    survive(root, tmp_path, rounds=3, seed=1)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_many_times(root: Path, tmp_path: Path) -> None:
    survive(root, tmp_path, rounds=30, seed=2)
