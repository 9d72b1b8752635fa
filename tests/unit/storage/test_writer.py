"""The writer: durable before it answers, all or nothing, repeats dropped, limits kept, faults survived."""

from __future__ import annotations

import asyncio
import random
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, text

from tests.unit.storage.conftest import START, append, bodies, make_row, open_journal, open_store
from vitrina.core.clock import DAY
from vitrina.core.errors import MachineError, OverloadedError
from vitrina.storage.declared import metadata
from vitrina.storage.journal import CommittedRow, Journal
from vitrina.storage.store import Store


def test_rows_are_numbered_in_order_and_repeats_dropped(events: Journal) -> None:
    assert append(events, [1, 2, 3]) == [1, 2, 3]
    assert append(events, [3, 4, 4, 1, 5]) == [None, 4, None, None, 5]
    assert bodies(events) == ["row 1", "row 2", "row 3", "row 4", "row 5"]
    assert append(events, []) == []


def test_a_large_append_is_one(events: Journal) -> None:
    assert append(events, list(range(2_345))) == list(range(1, 2_346))
    assert append(events, [7, 3_000, 2_344]) == [None, 2_346, None]


def test_repeats_are_known_after_rows_were_deleted_and_after_a_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s.db")
    events = open_journal(store)
    append(events, list(range(300)))
    assert events.delete(150) == 150
    assert append(events, [5, 149, 150, 299, 300]) == [None, None, None, None, 301]
    store.close()
    store = open_store(tmp_path / "s.db")
    events = open_journal(store)
    assert append(events, [0, 100, 200, 300, 301]) == [None, None, None, None, 302]
    events.delete(1_000)
    assert (events.count(), events.last()) == (0, 302)
    store.close()
    store = open_store(tmp_path / "s.db")
    events = open_journal(store)
    assert append(events, [0, 301, 302]) == [None, None, 303]
    store.close()


def test_two_processes_share_numbers_and_ids(tmp_path: Path) -> None:
    first, second = open_store(tmp_path / "s.db"), open_store(tmp_path / "s.db")
    one, two = open_journal(first), open_journal(second)
    assert append(one, [1, 2]) == [1, 2]
    assert append(two, [2, 3]) == [None, 3]
    assert append(one, [3, 4]) == [None, 4]
    two.delete(3)
    assert append(one, [1, 2, 3, 4, 5]) == [None, None, None, None, 5]
    first.close()
    second.close()


def test_ids_are_forgotten_after_their_days_but_not_lasting_ones(events: Journal) -> None:
    append(events, list(range(10)))
    append(events, list(range(10, 20)), lasting=True)
    events.delete(1_000)
    assert events.forget_ids(START - DAY) == 0
    assert events.forget_ids(START + 2 * DAY) == 10
    assert append(events, [0, 10]) == [21, None]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=12), seed=st.integers(0, 99))
def test_each_id_is_stored_exactly_once(tmp_path: Path, steps: list[list[int]], seed: int) -> None:
    random_deletes = random.Random(seed)
    path = tmp_path / f"{uuid.uuid4()}.db"
    store = open_store(path, threaded=False)
    events = open_journal(store)
    kept: list[int] = []
    gone: list[str] = []
    for numbers in steps:
        fresh = [n for i, n in enumerate(numbers) if n not in kept and n not in numbers[:i]]
        found = append(events, numbers)
        assert [n for n, seq in zip(numbers, found, strict=True) if seq is not None] == fresh
        kept += fresh
        if random_deletes.random() < 0.4:
            before = bodies(events)
            events.delete(random_deletes.randint(0, 40))
            gone += before[: len(before) - events.count()]
        if random_deletes.random() < 0.2:
            store.close()
            store = open_store(path, threaded=False)
            events = open_journal(store)
    assert gone + bodies(events) == [f"row {n}" for n in kept]
    store.close()


def test_listeners_hear_committed_rows_in_order(events: Journal) -> None:
    heard: list[CommittedRow] = []
    events.after_commit.append(heard.extend)
    append(events, [1, 2])
    append(events, [2, 3])
    assert [(row.seq, row.item) for row in heard] == [(1, 1), (2, 2), (3, 3)]


def test_a_failing_listener_does_not_lose_the_row(events: Journal, caplog: pytest.LogCaptureFixture) -> None:
    events.after_commit.append(lambda rows: 1 / 0)  # pyright: ignore[reportArgumentType]
    assert append(events, [1]) == [1]
    assert "listener of the journal events failed" in caplog.text


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s.db")
    events = open_journal(store)
    heard: list[int] = []
    events.after_commit.append(lambda rows: heard.extend(row.seq for row in rows))
    answers: list[int | None] = []

    def post(worker: int) -> None:
        for n in range(50):
            answers.extend(append(events, [worker * 25 + n]))

    threads = [threading.Thread(target=post, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = sorted(seq for seq in answers if seq is not None)
    assert numbers == list(range(1, 8 * 25 + 25 + 1))
    assert heard == numbers
    assert len(bodies(events)) == len(numbers)
    store.close()


def test_tickets_are_awaited(events: Journal) -> None:
    async def post() -> list[list[int | None]]:
        tickets = [events.store.writer.append(events, [make_row(n)]) for n in range(20)]
        return [await ticket for ticket in reversed(tickets)]

    assert asyncio.run(post()) == [[n] for n in range(20, 0, -1)]


def test_a_cancelled_request_harms_nobody(events: Journal) -> None:
    async def post() -> list[int | None]:
        async def wait() -> list[int | None]:
            return await events.store.writer.append(events, [make_row(1)])

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        return await events.store.writer.append(events, [make_row(2)])

    assert asyncio.run(post()) == [2]


def test_a_failing_call_takes_nothing_else_with_it(store: Store, events: Journal) -> None:
    def fail(connection: object) -> None:
        events.advance(connection, "fold", 7, START)  # pyright: ignore[reportArgumentType]
        raise ValueError("no")

    writer = store.writer
    tickets = [writer.append(events, [make_row(1)]), writer.call(fail), writer.append(events, [make_row(2)])]
    assert [tickets[0].result(), tickets[2].result()] == [[1], [2]]
    with pytest.raises(ValueError, match="no"):
        tickets[1].result()
    assert events.offset("fold") == 0
    with pytest.raises(Exception, match="no such table|does not exist"):
        store.write(lambda c: c.execute(text("insert into nowhere values (1)")))
    assert writer.healthy
    assert append(events, [3]) == [3]


def test_reading_can_not_write(store: Store) -> None:
    with store.read() as connection, pytest.raises(Exception, match="readonly|read-only"):
        connection.execute(text("delete from consumer_offset"))


@pytest.fixture
def slow_events(tmp_path: Path) -> Iterator[Journal]:
    store = open_store(tmp_path / "s.db")
    yield open_journal(store, waiting_rows=100, waiting_bytes=2_000)
    store.close()


def test_limits_are_kept_apart(slow_events: Journal) -> None:
    journal, store = slow_events, slow_events.store
    decisions = open_journal(store, "decisions")
    gate, entered = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        entered.set()
        gate.wait(10)

    held = store.writer.call(hold)
    entered.wait(10)
    tickets = [store.writer.append(journal, [make_row(n) for n in range(60)])]
    assert store.writer.waiting(journal) == (60, 350)
    with pytest.raises(OverloadedError) as refused:
        store.writer.append(journal, [make_row(n) for n in range(60, 120)])
    assert refused.value.code == "events.overloaded"
    assert refused.value.retry_after == 1
    with pytest.raises(OverloadedError):
        store.writer.append(journal, [make_row(60, text="x" * 1_900)])
    tickets.append(store.writer.append(decisions, [make_row(1)]))
    gate.set()
    held.result(10)
    assert [len(ticket.result(10)) for ticket in tickets] == [60, 1]
    assert store.writer.waiting(journal) == (0, 0)
    assert append(journal, list(range(60, 300)))[-1] == 300


@pytest.mark.sqlite
def test_a_full_disk_is_told_to_all_and_survived(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s.db")
    events = open_journal(store)
    append(events, [1])
    pages = store.write(lambda c: c.exec_driver_sql("pragma page_count").scalar_one())
    store.write(lambda c: c.exec_driver_sql(f"pragma max_page_count = {pages + 2}").scalar_one())
    with pytest.raises(MachineError, match="full") as refused:
        store.writer.append(events, [make_row(n, text="x" * 3_000) for n in range(50)]).result(10)
    assert refused.value.code == "store.write"
    assert not store.writer.healthy
    assert store.writer.cause is refused.value
    assert append(events, [1, 2]) == [None, 2]  # a new connection has no such limit: the disk has room again
    assert store.writer.healthy
    assert bodies(events) == ["row 1", "row 2"]
    store.close()


@pytest.mark.sqlite
def test_health_comes_back_by_itself(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s.db")
    events = open_journal(store)
    store.write(lambda c: c.exec_driver_sql("pragma query_only = on"))
    with pytest.raises(MachineError):
        append(events, [1])
    assert not store.writer.healthy
    for _ in range(100):
        if store.writer.healthy:
            break
        threading.Event().wait(0.05)
    assert store.writer.healthy
    store.close()


def test_the_writer_does_not_wait_for_itself(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s.db")
    with pytest.raises(RuntimeError, match="can't wait for itself"):
        store.write(lambda _: store.write(lambda c: None))
    store.close()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s.db")
    events = open_journal(store)
    ticket = store.writer.append(events, [make_row(1)])
    store.close()
    assert ticket.result() == [1]
    with pytest.raises(MachineError, match="closed"):
        append(events, [2])


@pytest.mark.sqlite
def test_scrubbing_leaves_no_byte(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s.db")
    events = open_journal(store)
    rows = [
        make_row(n, subject="u:zebra" if n % 2 else "u:lion", text="secret of u:zebra" if n % 2 else "")
        for n in range(200)
    ]
    store.writer.append(events, rows).result()
    assert store.write(lambda c: events.delete_subjects(c, ["u:zebra"])) == 100
    store.scrub()
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"zebra" not in held
    assert b"lion" in held
    store.close()


def test_a_kept_journal_finds_by_id_and_subject(store: Store) -> None:
    decisions = open_journal(store, "decisions", keep=timedelta(days=700))
    store.writer.append(decisions, [make_row(n, subject=f"u:{n % 2}") for n in range(10)]).result()
    found = decisions.find(make_row(7).id16)
    assert found is not None
    assert (found.seq, found.subject) == (8, "u:1")
    assert decisions.find(b"\0" * 16) is None
    assert [row.seq for row in decisions.of_subject(["u:0"])] == [1, 3, 5, 7, 9]
    assert decisions.delete_before(START + 4) == 4
    assert [row.seq for row in decisions.read(limit=2)] == [5, 6]
    assert [row.seq for row in decisions.read(after=6, upto=8)] == [7, 8]


def test_an_unattached_journal_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"store\.attach"):
        Journal("events", dedupe=True, keep=timedelta(days=7)).read()


def test_undeclared_columns_are_refused() -> None:
    from vitrina.storage.declared import declare

    rules = {"purpose": "essential", "retention": "a day", "eraser": "delete", "exporter": "rows"}
    with pytest.raises(ValueError, match=r"undeclared columns \['b'\]"):
        declare("test_a", Column("a", Integer), Column("b", Integer), subject="a", columns={"a": "x"}, **rules)
    with pytest.raises(ValueError, match="needs an eraser"):
        declare("test_a", Column("a", Integer), subject="a", columns={"a": "x"}, **{**rules, "eraser": "none"})
    with pytest.raises(ValueError, match="subject column c"):
        declare("test_a", Column("a", Integer), subject="c", columns={"a": "x"}, **rules)
    assert "test_a" not in metadata.tables
