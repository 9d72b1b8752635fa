"""Faults, many times over: kill -9, a full disk, a database that goes, a clock that jumps, events that come again.

Each kind is a function that lays a workspace under load, lets the fault happen at random moments, and gives a `Report`:
how often it happened, what was answered, and everything that is wrong afterwards, in words. `make faults` runs the full
counts and writes them down; the tests run a part.
"""

from __future__ import annotations

from tests.loop.faults.clocks import clock_jumps, events_again
from tests.loop.faults.commands import kill_import, kill_migration, kill_upgrade
from tests.loop.faults.kills import kill_erasure, kill_lake_writer, kill_server, stop_server
from tests.loop.faults.report import Kind, Report
from tests.loop.faults.stores import database_gone, full_disk, full_disk_of_import, full_disk_of_lake_writer

__all__ = ["KINDS", "Kind", "Report"]

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
