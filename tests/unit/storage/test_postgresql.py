"""PostgreSQL as the store: durability, faults of the server, schemas, and moving between the two databases."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

import vitrina
from tests.postgres import Server
from tests.unit.storage.conftest import append, bodies, make_row, open_journal
from vitrina.cli import run
from vitrina.core.access import Source
from vitrina.core.catalogue import Creative, CreativeStatus, Offer, Placement
from vitrina.core.config import parse, settings_table, stated
from vitrina.core.decision import DecideRequest
from vitrina.core.errors import MachineError, UserError
from vitrina.core.money import Money
from vitrina.storage import migrations
from vitrina.storage.connect import parse_address
from vitrina.storage.declared import metadata
from vitrina.storage.journal import Journal
from vitrina.storage.store import Store

SERVER = Source(name="server", kind="secret", trusted=True)
CONSENT = {"context": {"consent": {"categoryPreferences": {"personalisation": True}}}, "traits": {"имя": "Анна"}}
UNLIKE = {"audit_entry", "lease", "learner", "consumer_offset"}
"""Tables that moving itself writes to: it is audited, and the learner saves when it stops."""


def opened(url: str, **options: bool) -> Store:
    store = Store.open(url, **options)
    store.migrate()
    return store


@pytest.fixture
def events(postgresql: Server) -> Iterator[Journal]:
    store = opened(postgresql.url())
    yield open_journal(store)
    store.close()


def wait_until_healthy(store: Store) -> None:
    for _ in range(200):
        if store.writer.healthy:
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"the writer did not recover: {store.writer.cause}")


def test_versions_make_the_declared_tables_on_both(postgresql: Server, tmp_path: Path) -> None:
    for url in (postgresql.url(), str(tmp_path / "s.db")):
        store = Store.open(url, threaded=False)
        store.write(migrations.upgrade)
        with store.read() as connection:
            assert migrations.differences(connection) == []
        store.close()


def test_a_crash_of_the_server_loses_nothing_that_was_acknowledged(postgresql: Server, events: Journal) -> None:
    assert append(events, list(range(50))) == list(range(1, 51))
    postgresql.stop(signal.SIGQUIT)
    with pytest.raises(MachineError) as refused:
        events.store.writer.append(events, [make_row(100)]).result(20)
    assert refused.value.code == "store.write"
    assert not events.store.writer.healthy
    postgresql.start()
    wait_until_healthy(events.store)
    assert append(events, [*range(45, 55)]) == [None] * 5 + [51, 52, 53, 54, 55]
    assert len(bodies(events)) == 55


def test_everybody_in_a_group_is_told_when_the_server_goes(postgresql: Server, events: Journal) -> None:
    writer, gate = events.store.writer, threading.Event()
    held = writer.call(lambda _: gate.wait(10))
    tickets = [writer.append(events, [make_row(number)]) for number in range(20)]
    postgresql.stop(signal.SIGQUIT)
    gate.set()
    for ticket in [held, *tickets]:
        with pytest.raises(MachineError):
            ticket.result(20)
    postgresql.start()
    wait_until_healthy(events.store)
    assert bodies(events) == []
    assert append(events, [7]) == [1]


def test_acknowledged_means_flushed_whatever_the_default_of_the_server(postgresql: Server) -> None:
    postgresql.query("alter system set synchronous_commit = off")
    postgresql.query("select pg_reload_conf()")
    store = opened(postgresql.url())
    assert store.write(lambda c: c.exec_driver_sql("show synchronous_commit").scalar()) == "on"
    store.close()


def test_two_workspaces_share_a_database_and_see_nothing_of_each_other(postgresql: Server) -> None:
    stores = [opened(postgresql.url() + f"?schema={name}") for name in ("shop", "school")]
    journals = [open_journal(store) for store in stores]
    assert append(journals[0], [1, 2]) == [1, 2]
    assert append(journals[1], [1]) == [1]
    assert postgresql.query("select count(*) from shop.events_journal") == "2"
    assert postgresql.query("select count(*) from school.events_journal") == "1"
    for store in stores:
        store.close()


def test_two_processes_number_the_same_journal_without_gap_or_repeat(postgresql: Server) -> None:
    stores = [opened(postgresql.url()) for _ in range(2)]
    journals = [open_journal(store) for store in stores]

    def send(journal: Journal, start: int) -> None:
        for number in range(start, start + 200, 2):
            journal.store.writer.append(journal, [make_row(number), make_row(number % 50)]).result(20)

    threads = [threading.Thread(target=send, args=(journal, start)) for start, journal in enumerate(journals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    rows = journals[0].read(0, 10_000)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert sorted(row.id16 for row in rows) == sorted({make_row(number).id16 for number in range(200)})
    for store in stores:
        store.close()


def test_reading_can_not_write_and_sees_one_state(events: Journal) -> None:
    append(events, [1])
    with events.store.read() as connection:
        assert connection.execute(select(events.table.c.seq)).scalars().all() == [1]
        append(events, [2])
        assert connection.execute(select(events.table.c.seq)).scalars().all() == [1]
        with pytest.raises(Exception, match="read-only"):
            connection.execute(text("delete from consumer_offset"))


def test_scrubbing_rewrites_the_tables_about_people(postgresql: Server, events: Journal) -> None:
    events.store.writer.append(events, [make_row(n, subject="u:zebra", text="secret") for n in range(500)]).result()
    before = postgresql.query("select pg_relation_filenode('events_journal')")
    events.store.write(lambda c: events.delete_subjects(c, ["u:zebra"]))
    events.store.scrub()
    assert postgresql.query("select pg_relation_filenode('events_journal')") != before
    assert postgresql.query("select pg_relation_size('events_journal')") == "0"
    assert append(events, [1, 1_000]) == [None, 501]


def test_a_server_that_is_not_there_is_told_in_words(postgresql: Server) -> None:
    url = postgresql.url().replace("postgres@", "postgres:geheim@")
    postgresql.stop()
    store = Store.open(url)
    with pytest.raises(MachineError, match="can't be opened") as refused:
        store.migrate()
    assert "geheim" not in str(refused.value)
    assert "***" in refused.value.where
    store.close()


@pytest.mark.parametrize("schema", ["Shop", "a-b", "1a", 'x"; drop schema public', "я" * 3])
def test_a_name_that_can_not_be_a_schema_is_refused(schema: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_address(f"postgresql://u@localhost/db?schema={schema}")
    assert refused.value.code == "store.schema"


# moving


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A workspace on SQLite with people, an offer, a decision and what came of it."""
    folder = tmp_path / "чайная"
    with vitrina.init(folder, currency="RUB") as made:
        made.catalogue.put(Placement(id="home", currency="RUB"))
        made.catalogue.put(Offer(id="улун", name="Улун", placements=("home",), margin=Money(50_000, "RUB")))
        made.catalogue.put(Creative(id="улун-ru", offer_id="улун", status=CreativeStatus.APPROVED))
        made.keys.create("secret", (), "server")
        send(made, {"messageId": "m1", "type": "identify", "userId": "анна", "anonymousId": "a-1", **CONSENT})
        made.step()
        decided = made.decide(DecideRequest(placement="home", user_id="анна"))
        send(made, order("o-1", decided.decision_id))
        made.step()
    return folder


def send(workspace: vitrina.Workspace, *calls: dict[str, Any]) -> None:
    workspace.receive(json.dumps({"batch": calls}).encode(), "batch", SERVER).result()


def order(order_id: str, decision_id: str) -> dict[str, Any]:
    properties = {"order_id": order_id, "value": 500, "total": 900, "currency": "RUB", "decisionId": decision_id}
    return {
        "messageId": order_id,
        "type": "track",
        "event": "Order Completed",
        "userId": "анна",
        "properties": {**properties, "offerId": "улун"},
    }


def rows_of(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    with vitrina.open(folder) as workspace, workspace.store.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table)).all()), key=repr)
            for table in metadata.sorted_tables
            if table.info.get("declared") is not None and table.name not in UNLIKE
        }


@pytest.mark.sqlite
def test_moving_there_and_back_keeps_every_row(
    postgresql: Server, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rows_of(shop)
    assert before["decisions_journal"]
    assert run(["-w", str(shop), "migrate", "--to", postgresql.url() + "?schema=shop", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert rows_of(shop) == before
    assert not (shop / "store.db").exists()
    assert Path(told["kept_as"]).exists()
    assert told["rows"] == sum(table["rows"] for table in told["tables"])
    with vitrina.open(shop) as workspace:  # and it lives on there
        send(workspace, order("o-2", ""))
        workspace.step()
        workspace.drain()
        assert workspace.summary().orders == 2
        assert "store.migrate" in [entry.action for entry in workspace.audit.entries()]
    there = rows_of(shop)
    assert run(["-w", str(shop), "migrate", "--json"]) == 0
    assert rows_of(shop) == there
    assert (shop / "store.db").exists()
    with vitrina.open(shop) as workspace:
        send(workspace, order("o-2", ""), order("o-3", ""))
        workspace.step()
        workspace.drain()
        assert workspace.summary().orders == 3


@pytest.mark.sqlite
def test_moving_to_where_something_is_changes_nothing(
    postgresql: Server, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (shop / "vitrina.toml").read_bytes()
    other = opened(postgresql.url())
    append(open_journal(other), [1])
    assert run(["-w", str(shop), "migrate", "--to", postgresql.url()]) == 1
    assert "holds rows already (events_journal)" in capsys.readouterr().err
    assert (shop / "vitrina.toml").read_bytes() == settings
    assert bodies(open_journal(other)) == ["row 1"]
    other.close()
    assert run(["-w", str(shop), "migrate"]) == 1
    assert "there already" in capsys.readouterr().err
    assert run(["-w", str(shop), "migrate", "--to", "mysql://u@localhost/x"]) == 1
    assert "postgresql://" in capsys.readouterr().err
    postgresql.stop()
    assert run(["-w", str(shop), "migrate", "--to", postgresql.url() + "?schema=b"]) == 4
    assert (shop / "vitrina.toml").read_bytes() == settings
    with vitrina.open(shop) as workspace:
        assert workspace.summary().decisions == 1


@pytest.mark.sqlite
def test_moving_is_refused_while_an_environment_variable_says_where(
    postgresql: Server, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRINA_STORAGE_URL", str(shop / "store.db"))
    with vitrina.open(shop) as workspace, pytest.raises(UserError) as refused:
        workspace.migrate(postgresql.url())
    assert refused.value.code == "store.variable"


@pytest.mark.sqlite
def test_the_password_of_a_database_is_never_shown(shop: Path) -> None:
    text = stated((shop / "vitrina.toml").read_text(encoding="utf-8"), "storage", "url", "postgresql://u:geheim@h/d")
    settings, origins = parse(text.encode(), "vitrina.toml", {})
    shown = {setting.name: setting.value for setting in settings_table(settings, origins)}
    assert settings.storage.url == "postgresql://u:geheim@h/d"
    assert shown["storage.url"] == "postgresql://u:***@h/d"
