"""Backups: one state while others write; whole or refused; nobody who was erased comes back; SQLite and PostgreSQL."""

from __future__ import annotations

import json
import random
import shutil
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

import vitrina
from tests.loop.load import make_call, open_shop, outcomes_of
from tests.loop.state import SERVER, clean_fold, column, send_calls, state_of, twice
from tests.postgres import Server
from tests.unit.govern.test_erasure import traces
from vitrina.cli import run
from vitrina.core.config import stated
from vitrina.core.decision import DecideRequest
from vitrina.core.errors import ConflictError, MachineError, UserError
from vitrina.govern.secret import workspace_secret
from vitrina.storage.backup import MANIFEST, check, read_manifest
from vitrina.workspace import Workspace, restore

SECRETS = ["анна-3141", "anna.secret@shop.example", "anon-2718", "Аннушка"]
NEIGHBOUR = "борис-1618"

pytestmark = pytest.mark.sqlite


def send(workspace: Workspace, *calls: dict[str, Any]) -> None:
    workspace.receive(json.dumps({"batch": calls}).encode(), "batch", SERVER).result()
    workspace.step()


def live(workspace: Workspace, user: str, anonymous: str, email: str, name: str) -> None:
    """A whole life in the shop: two identifiers, a decision, an order, an event that is refused."""
    traits = {"traits": {"email": email, "name": name}}
    send(
        workspace,
        {"type": "track", "event": "Product Viewed", "anonymousId": anonymous, "messageId": f"{user}-1"},
        {"type": "identify", "userId": user, "anonymousId": anonymous, "messageId": f"{user}-2", **traits},
        {"type": "track", "event": "Order Completed", "userId": user, "messageId": "x", "properties": {"total": "x"}},
    )
    decision = workspace.decide(DecideRequest(placement="home", user_id=user))
    send(workspace, *outcomes_of(decision.decision_id, user, time.time(), order=True))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop of two people, one half of whose rows are in the lake."""
    folder = tmp_path / "чайная"
    open_shop(folder)
    with vitrina.open(folder) as workspace:
        live(workspace, SECRETS[0], SECRETS[2], SECRETS[1], SECRETS[3])
        workspace.drain()
        live(workspace, NEIGHBOUR, "anon-b", "boris@shop.example", "Борис")
        (folder / "imports").mkdir()
        (folder / "imports" / "заказы.refused.ndjson").write_text("{}\n", encoding="utf-8")
    return folder


def back_up(shop: Path, target: Path) -> Any:
    with vitrina.open(shop) as workspace:
        return workspace.back_up(target)


def state(folder: Path, now: int) -> dict[str, str]:
    with vitrina.open(folder) as workspace:
        workspace.claim()
        return state_of(workspace, now)


@pytest.mark.parametrize("name", ["копия", "копия.tar"])
def test_what_is_restored_is_what_was_there(shop: Path, tmp_path: Path, name: str) -> None:
    now = time.time_ns() // 1000
    before, backup, again = state(shop, now), tmp_path / "диск" / name, tmp_path / "снова"
    made = back_up(shop, backup)
    assert check(backup) == msgspec.structs.replace(made, backup=str(backup))
    shutil.rmtree(shop)
    done = restore(backup, again)
    assert done.events == made.events == 8
    assert state(again, now) == before
    assert (again / "imports" / "заказы.refused.ndjson").read_text(encoding="utf-8") == "{}\n"
    assert sorted(path.name for path in backup.parent.iterdir()) == [name]
    with vitrina.open(again) as workspace:  # and it lives on
        live(workspace, "вера", "anon-c", "vera@shop.example", "Вера")
        workspace.drain()
        assert workspace.summary().orders == 3
        names = column(workspace, "events", "message_id")
        assert twice(names) == [] and len(names) == 12
        assert workspace.doctor().ok


def test_secrets_keys_and_users_come_along(shop: Path, tmp_path: Path) -> None:
    with vitrina.open(shop) as workspace:
        identity, key = workspace.keys.identity_secret(), workspace.keys.create("secret")
        workspace.users.create("ольга@example.com", "чайник-на-плите-7")
        workspace.back_up(tmp_path / "копия")
    restore(tmp_path / "копия", tmp_path / "снова")
    with vitrina.open(tmp_path / "снова") as workspace:
        assert workspace.keys.identity_secret() == identity
        assert workspace.keys.find(key).kind == "secret"
        assert workspace.users.count() == 1


@pytest.mark.parametrize(("rounds", "seed"), [(3, 1), pytest.param(15, 2, marks=pytest.mark.long)])
def test_a_backup_under_load_is_one_state(tmp_path: Path, rounds: int, seed: int) -> None:
    """Senders and a drainer that never rests; each backup holds each event once, and folds to what it says.

    What a restored backup holds is compared with a clean fold of its own events; what was acknowledged before the
    backup began is in it.
    """
    shop, chance, now = tmp_path / "лавка", random.Random(seed), time.time_ns() // 1000
    open_shop(shop)
    calls: dict[str, dict[str, Any]] = {}
    acked: list[str] = []
    stopped = threading.Event()
    fatten(shop)

    def work(workspace: Workspace, sender: int) -> None:
        mine, number = random.Random(seed * 10 + sender), 0
        while not stopped.is_set():
            number += 1
            batch = [make_call(f"{sender}-{number}-{k}", mine) for k in range(20)]
            answer = workspace.decide(DecideRequest(placement="home", user_id=f"u{mine.randrange(30)}"))
            batch += outcomes_of(answer.decision_id, "u1", time.time(), order=mine.random() < 0.3)
            calls.update((call["messageId"], call) for call in batch)
            workspace.receive(json.dumps({"batch": batch}).encode(), "batch", SERVER).result()
            acked.extend(call["messageId"] for call in batch)
            time.sleep(0.01)

    def drain(workspace: Workspace) -> None:
        while not stopped.is_set():
            workspace.drain()
            for stream in workspace._streams:  # pyright: ignore[reportPrivateUsage]
                workspace.lake.compact(stream)

    with vitrina.open(shop) as workspace, vitrina.open(shop) as beside:
        workspace.start()
        threads = [threading.Thread(target=work, args=(workspace, n)) for n in range(2)]
        threads.append(threading.Thread(target=drain, args=(workspace,)))
        for thread in threads:
            thread.start()
        known: list[set[str]] = []
        try:
            for number in range(rounds):
                time.sleep(chance.uniform(0.1, 0.6))
                known.append(set(acked))
                beside.back_up(tmp_path / f"копия-{number}")  # as the command does: beside the process that works
        finally:
            stopped.set()
            for thread in threads:
                thread.join(60)
    moved = 0
    for number in range(rounds):
        again = tmp_path / "снова"
        moved += sum(table.offset < table.head for table in read_manifest(tmp_path / f"копия-{number}").lake)
        restore(tmp_path / f"копия-{number}", again)
        with vitrina.open(again) as workspace:
            workspace.claim()
            names = column(workspace, "events", "message_id")
            assert twice(names) == []
            assert known[number] - set(names) == set()
            workspace.drain()
            assert sorted(column(workspace, "events", "message_id")) == sorted(names)
            late = [make_call(f"late-{k}", chance) for k in range(50)]
            send(workspace, *late, *[calls[name] for name in names[:200]])
            workspace.drain()
            assert sorted(column(workspace, "events", "message_id")) == sorted(
                [*names, *(c["messageId"] for c in late)]
            )
            sent = send_calls([*late, *[calls[name] for name in names]], chance)
            assert state_of(workspace, now) == clean_fold(workspace, tmp_path / "clean", sent, now)
        shutil.rmtree(again)
    assert moved > 0, "no backup met rows on their way to the lake"


def test_to_postgresql_and_from_it(postgresql: Server, shop: Path, tmp_path: Path) -> None:
    now = time.time_ns() // 1000
    before = state(shop, now)
    back_up(shop, tmp_path / "копия")
    url = postgresql.url() + "?schema=shop"
    restore(tmp_path / "копия", tmp_path / "там", store_url=url)
    assert not (tmp_path / "там" / "store.db").exists()
    assert state(tmp_path / "там", now) == before
    back_up(tmp_path / "там", tmp_path / "оттуда")
    restore(tmp_path / "оттуда", tmp_path / "снова")
    assert (tmp_path / "снова" / "store.db").exists()
    assert state(tmp_path / "снова", now) == before
    assert b"postgres" not in (tmp_path / "оттуда" / "vitrina.toml").read_bytes()
    with pytest.raises(ConflictError) as refused:
        restore(tmp_path / "копия", tmp_path / "ещё", store_url=url)
    assert refused.value.code == "store.not_empty"
    assert not list(tmp_path.glob("ещё*"))


# erasures


def test_who_was_erased_since_does_not_come_back(shop: Path, tmp_path: Path) -> None:
    back_up(shop, tmp_path / "копия")
    with vitrina.open(shop) as workspace:
        workspace.erase(SECRETS[0])
        workspace.export_erasures(tmp_path / "реестр.json")
    assert not any(secret in (tmp_path / "реестр.json").read_text() for secret in SECRETS)
    restore(tmp_path / "копия", tmp_path / "без")
    for secret in SECRETS:
        assert traces(tmp_path / "без", secret), f"the scan must find {secret} (positive control)"
    for number, ledger in enumerate((tmp_path / "реестр.json", shop)):
        again = tmp_path / f"снова-{number}"
        done = restore(tmp_path / "копия", again, erasures=ledger)
        assert done.erasures is not None and done.erasures.rows > 5
        for secret in SECRETS:
            assert traces(again, secret) == []
        assert traces(again, NEIGHBOUR), "the neighbour is untouched"
        with vitrina.open(again) as workspace:
            late = {"type": "track", "event": "Product Viewed", "messageId": "late"}
            send(workspace, {**late, "userId": SECRETS[0]}, {**late, "messageId": "l2", "anonymousId": SECRETS[2]})
            workspace.drain()
            assert workspace.person(NEIGHBOUR)["features"]["orders_all"] == 1
            assert workspace.summary().profiles_known == 1
        assert traces(again, SECRETS[0]) == []


def test_a_ledger_can_be_applied_later(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup, again, ledger = tmp_path / "копия.tar", tmp_path / "снова", tmp_path / "реестр.json"
    assert run(["-w", str(shop), "backup", str(backup), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["whole"] is True
    assert run(["-w", str(shop), "erase", "--user", SECRETS[0], "--yes"]) == 0
    assert run(["-w", str(shop), "erasures", "export", str(ledger), "--json"]) == 0
    capsys.readouterr()
    assert run(["restore", str(backup), str(again), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["erasures"] is None
    assert "is in this workspace again" in printed.err and "erasures apply" in printed.err
    for rows in (True, False):
        assert run(["-w", str(again), "erasures", "apply", str(ledger), "--json"]) == 0
        assert (json.loads(capsys.readouterr().out)["rows"] > 0) is rows
        assert traces(again, SECRETS[3]) == []
    assert run(["restore", str(backup), str(tmp_path / "ещё"), "--erasures", str(ledger), "--json"]) == 0
    assert json.loads((printed := capsys.readouterr()).out)["erasures"]["rows"] > 0
    assert printed.err == ""


def test_what_is_no_ledger_is_refused(shop: Path, tmp_path: Path) -> None:
    back_up(shop, tmp_path / "копия")
    for text in ("", "{}", '{"format": 1, "made_at": "", "tombstones": [{"key": "ab", "at": "2026-01-01T00:00:00Z"}]}'):
        (tmp_path / "реестр.json").write_text(text)
        with pytest.raises(UserError) as refused:
            restore(tmp_path / "копия", tmp_path / "снова", erasures=tmp_path / "реестр.json")
        assert refused.value.code == "erasure.ledger"
        assert not list(tmp_path.glob("снова*"))


def test_an_erasure_that_was_begun_is_finished_at_the_next_start(shop: Path) -> None:
    with vitrina.open(shop) as workspace:
        leaves = [f"u:{SECRETS[0]}", f"a:{SECRETS[2]}"]
        workspace.people.erasures.begin("e_1", leaves)  # and here the process was killed
    assert traces(shop, SECRETS[0])
    with vitrina.open(shop) as workspace:
        workspace.start()
        until = time.monotonic() + 30
        while workspace.erasure("e_1")["doneAt"] is None and time.monotonic() < until:
            time.sleep(0.02)
        assert workspace.erasure("e_1")["counts"]["profile_leaf"] == 2
    assert traces(shop, SECRETS[0]) == []
    assert traces(shop, NEIGHBOUR)


# mistakes and damage


def test_mistakes_are_told_in_words(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup = tmp_path / "копия"
    assert run(["-w", str(shop), "backup", str(shop / "копия")]) == 1
    assert "lost with it" in capsys.readouterr().err
    (tmp_path / "пусто").mkdir()
    assert run(["-w", str(shop), "backup", str(tmp_path / "пусто")]) == 0
    assert run(["-w", str(shop), "backup", str(backup)]) == 0
    assert run(["-w", str(shop), "backup", str(backup)]) == 1
    assert "already" in capsys.readouterr().err
    before = sorted(path for path in shop.rglob("*"))
    assert run(["restore", str(backup), str(shop)]) == 1
    assert "isn't empty" in capsys.readouterr().err
    assert sorted(path for path in shop.rglob("*")) == before
    for nothing in (tmp_path / "нет", tmp_path, shop / "vitrina.toml"):
        assert run(["backup", "--check", str(nothing)]) == 1
        assert "backup" in capsys.readouterr().err
    assert run(["backup", "--check", str(backup), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == 8


@pytest.mark.parametrize("tar", [False, True])
def test_damage_is_found_and_nothing_is_restored(shop: Path, tmp_path: Path, *, tar: bool) -> None:
    backup = tmp_path / "копия"
    back_up(shop, backup)
    damaged = next(backup.rglob("*.parquet"))
    whole = damaged.read_bytes()
    for data in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], None):
        damaged.unlink(missing_ok=True)
        if data is not None:
            damaged.write_bytes(data)
        given = backup
        if tar:
            given = tmp_path / "копия.tar"
            with tarfile.open(given, "w") as file:
                file.add(backup, "", filter=lambda member: member)
        with pytest.raises(MachineError, match=damaged.name) as refused:
            check(given)
        assert refused.value.code == "backup.damaged"
        with pytest.raises(MachineError):
            restore(given, tmp_path / "снова")
        assert not list(tmp_path.glob("снова*"))


def test_a_path_that_leads_out_of_the_backup_is_refused(shop: Path, tmp_path: Path) -> None:
    backup = tmp_path / "копия"
    back_up(shop, backup)
    manifest = json.loads((backup / MANIFEST).read_text())
    manifest["files"][0]["path"] = "../чужое"
    (backup / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="outside"):
        restore(backup, tmp_path / "снова")
    assert not (tmp_path / "чужое").exists()


@pytest.mark.parametrize("change", [{"format": 2}, {"tables_version": "9999"}])
def test_a_backup_of_a_later_program_is_refused(shop: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    backup = tmp_path / "копия"
    back_up(shop, backup)
    manifest = json.loads((backup / MANIFEST).read_text()) | change
    (backup / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(UserError) as refused:
        check(backup)
    assert refused.value.code == "backup.newer"


def test_a_variable_that_says_where_the_store_is_forbids_restoring(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(shop, tmp_path / "копия")
    monkeypatch.setenv("VITRINA_STORAGE_URL", str(tmp_path / "elsewhere.db"))
    with pytest.raises(UserError) as refused:
        restore(tmp_path / "копия", tmp_path / "снова")
    assert refused.value.code == "store.variable"


def test_a_tracking_plan_comes_along(shop: Path, tmp_path: Path) -> None:
    (shop / "план.toml").write_text('[[event]]\nname = "Чай заварен"\n', encoding="utf-8")
    settings = shop / "vitrina.toml"
    settings.write_text(stated(settings.read_text(encoding="utf-8"), "collect", "plan", "план.toml"), encoding="utf-8")
    back_up(shop, tmp_path / "копия")
    restore(tmp_path / "копия", tmp_path / "снова")
    assert (tmp_path / "снова" / "план.toml").read_bytes() == (shop / "план.toml").read_bytes()


def test_what_is_drained_while_the_store_is_copied_is_folded_after_all(tmp_path: Path) -> None:
    """The fold asks the lake whether an old event came before: the lake of a backup must not hold what waits for it."""
    shop, chance, now = tmp_path / "лавка", random.Random(3), time.time_ns() // 1000
    open_shop(shop)
    fatten(shop)
    calls: list[dict[str, Any]] = []
    met = 0
    with vitrina.open(shop) as workspace, vitrina.open(shop) as beside:
        workspace.claim()
        stream = workspace._streams[0]  # pyright: ignore[reportPrivateUsage]
        for number in range(40):
            fresh = [make_call(f"{number}-{k}", chance) for k in range(50)]
            calls += fresh
            workspace.receive(json.dumps({"batch": fresh}).encode(), "batch", SERVER).result()
            moving = threading.Timer(chance.uniform(0.0, 0.1), workspace.drain)
            before = workspace.lake.offset(stream)
            moving.start()
            beside.back_up(backup := tmp_path / f"копия-{number}.tar")
            if workspace.lake.offset(stream) > before:  # it was moved while the backup was made
                met += 1
                restore(backup, tmp_path / "снова")
                with vitrina.open(tmp_path / "снова") as again:
                    again.claim()
                    again.drain()
                    wanted = clean_fold(again, tmp_path / "clean", send_calls(calls, chance), now)
                    assert state_of(again, now) == wanted, number
                shutil.rmtree(tmp_path / "снова")
            moving.join()
            backup.unlink()
            if met == 5:
                return
    raise AssertionError(f"only {met} moves met a backup")


def fatten(shop: Path) -> None:
    """Make the store large, so that copying it takes a while."""
    with vitrina.open(shop) as workspace:
        for number in range(60):
            row = {"name": f"ballast-{number}", "value": random.Random(number).randbytes(1 << 20)}
            workspace.store.write(lambda c, row=row: c.execute(workspace_secret.insert().values(row)))
