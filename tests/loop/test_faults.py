"""Faults of the machine: what was answered is there, and there once; the state is that of a clean fold.

A few of each in `make test`, a tenth of the full counts in `make test-long`, all of them by `make faults`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loop.faults import KINDS, Kind, Report
from tests.loop.faults.clocks import clock_jumps, events_again
from tests.loop.faults.commands import kill_migration, kill_upgrade
from tests.loop.faults.kills import kill_erasure, kill_lake_writer, kill_server
from tests.loop.faults.stores import full_disk_of_lake_writer
from tests.postgres import MISSING, find_programs

QUICK: dict[Kind, int] = {
    kill_server: 2,
    kill_lake_writer: 2,
    kill_erasure: 1,
    kill_migration: 2,
    kill_upgrade: 4,
    full_disk_of_lake_writer: 1,
    clock_jumps: 3,
    events_again: 2,
}


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", QUICK, ids=lambda kind: kind.__name__)
def test_a_few(tmp_path: Path, kind: Kind) -> None:
    check(kind(tmp_path, QUICK[kind], 7), QUICK[kind])


@pytest.mark.long
@pytest.mark.sqlite
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_tenth(tmp_path: Path, kind: Kind) -> None:
    if kind.__name__ == "database_gone" and find_programs() is None:
        pytest.skip(MISSING)
    points = max(2, KINDS[kind] // 10)
    check(kind(tmp_path, points, 11), points)


def check(report: Report, points: int) -> None:
    assert report.wrong == []
    assert report.points == points
    assert report.events > 0 or report.kind == "kill schema upgrade"
