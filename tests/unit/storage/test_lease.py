"""A lease has one holder; the dead lose it at once, the silent when it runs out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import update

from vitrina.core.errors import MachineError
from vitrina.storage import tables
from vitrina.storage.lease import Lease
from vitrina.storage.store import Store


def test_one_holder_at_a_time(store: Store) -> None:
    first, second = Lease(store, "lake"), Lease(store, "lake")
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    assert Lease(store, "other").acquire()
    first.release()
    assert second.acquire()
    assert second.owner() == second.holder


def test_releasing_what_is_not_ours_changes_nothing(store: Store) -> None:
    first, second = Lease(store, "lake"), Lease(store, "lake")
    first.acquire()
    second.release()
    assert first.owner() == first.holder


def test_a_lease_runs_out(store: Store) -> None:
    first, second = Lease(store, "lake", seconds=0.1), Lease(store, "lake")
    assert first.acquire()
    time.sleep(0.15)
    assert second.acquire()
    with pytest.raises(MachineError, match="lost to another process") as lost:
        first.renew()
    assert lost.value.code == "lease.lost"


def test_the_dead_lose_it_at_once(store: Store) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lease = Lease(store, "lake")
    lease.acquire()
    holder = f"{socket.gethostname()}/{dead.pid}/abc"
    store.write(lambda c: c.execute(update(tables.lease).values(holder=holder)))
    assert lease.acquire()
    give(store, "elsewhere/1/abc", seconds=30)
    assert not lease.acquire()


def give(store: Store, holder: str, *, seconds: float) -> None:
    until = round((time.time() + seconds) * 1e6)
    store.write(lambda c: c.execute(update(tables.lease).values(holder=holder, until=until)))


def test_a_process_of_the_same_number_before_us_is_dead(store: Store) -> None:
    """In a container every server is process 1, also the one that was killed."""
    first, second = Lease(store, "lake"), Lease(store, "lake")
    assert first.acquire()
    assert not second.acquire()
    give(store, f"{socket.gethostname()}/{os.getpid()}/0123abcd", seconds=30)
    assert second.acquire()


def test_a_lease_of_tomorrow_was_given_before_the_clock_was_set_back(store: Store) -> None:
    lease = Lease(store, "lake")
    assert lease.acquire()
    give(store, "elsewhere/7/abc", seconds=86_400)
    assert lease.acquire()


def test_waiting_for_it(store: Store) -> None:
    first, second = Lease(store, "lake"), Lease(store, "lake")
    first.acquire()
    with pytest.raises(MachineError, match="has held the lease on lake") as taken, second.held(wait=0.1):
        pass
    assert taken.value.code == "lease.taken"
    threading.Timer(0.2, first.release).start()
    with second.held(wait=5):
        assert second.owner() == second.holder
    assert second.owner() == ""
