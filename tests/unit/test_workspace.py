"""A workspace as a whole: made, opened, examined, claimed by one process, read beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import vitrina
from vitrina.core.access import Source
from vitrina.core.catalogue import Creative, CreativeStatus, Offer, Placement
from vitrina.core.clock import DAY, SimulatedClock, from_datetime
from vitrina.core.consent import Purpose
from vitrina.core.decision import DecideRequest
from vitrina.core.errors import ConflictError, MachineError, NotFoundError, UserError
from vitrina.core.money import Money

SERVER = Source(name="server", kind="secret", trusted=True)
HOLDER = """
import sys, vitrina
workspace = vitrina.open(sys.argv[1])
workspace.start()
print("started", flush=True)
sys.stdin.readline()
workspace.close()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "чайная"
    vitrina.init(made, currency="RUB", timezone="Europe/Moscow").close()
    return made


@pytest.fixture
def busy(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works on the workspace, as `vitrina serve` does."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "started\n"
        yield holder
        if holder.poll() is None:
            holder.communicate("\n", timeout=60)


def send(workspace: vitrina.Workspace, *calls: dict[str, Any]) -> None:
    workspace.receive(json.dumps({"batch": calls}).encode(), "batch", SERVER).result()


def viewed(message_id: str, person: str = "анна") -> dict[str, Any]:
    return {"type": "track", "event": "Product Viewed", "userId": person, "messageId": message_id,
            "properties": {"product_id": "улун"}}  # fmt: skip


# made and opened


def test_init_writes_every_setting_with_words(folder: Path) -> None:
    text = (folder / "vitrina.toml").read_text(encoding="utf-8")
    assert 'name = "чайная"' in text
    assert 'currency = "RUB"' in text
    assert "# port = 8400" in text
    with vitrina.open(folder) as workspace:
        assert workspace.settings.workspace.timezone == "Europe/Moscow"
        assert workspace.origins["workspace.timezone"] == "file"
        assert workspace.origins["service.port"] == "default"


def test_init_refuses_where_a_workspace_is(folder: Path) -> None:
    with pytest.raises(ConflictError) as refused:
        vitrina.init(folder)
    assert refused.value.code == "workspace.exists"
    assert refused.value.where == str(folder / "vitrina.toml")


@pytest.mark.parametrize(
    ("given", "code"),
    [({"currency": "евро"}, "config.invalid"), ({"timezone": "Mars/Olympus"}, "config.timezone")],
)
def test_init_with_a_wrong_value_leaves_nothing_behind(tmp_path: Path, given: dict[str, str], code: str) -> None:
    with pytest.raises(UserError) as refused:
        vitrina.init(tmp_path / "shop", **given)
    assert refused.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_init_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("a file", encoding="utf-8")
    with pytest.raises(MachineError) as refused:
        vitrina.init(tmp_path / "shop")
    assert refused.value.where == str(tmp_path / "shop")
    assert refused.value.cure


def test_open_without_a_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="vitrina init") as refused:
        vitrina.open(tmp_path)
    assert refused.value.code == "workspace.missing"


@pytest.mark.sqlite  # elsewhere a variable says where the store is, which counts before the file
@pytest.mark.parametrize(
    ("written", "code", "cure"),
    [
        ("[workspace]\ncurency = 'EUR'\n", "config.unknown", "Did you mean workspace.currency?"),
        ("[workspce]\n", "config.unknown", "Did you mean workspace?"),
        ("[service]\nport = 'eighty'\n", "config.invalid", "Port to listen on."),
        ("[service\n", "config.unreadable", "Correct that line."),
        ("[storage]\nurl = 'flatfile://x'\n", "store.url", "sqlite:///store.db"),
    ],
)
def test_a_wrong_setting_is_refused_with_place_and_cure(folder: Path, written: str, code: str, cure: str) -> None:
    (folder / "vitrina.toml").write_text(written, encoding="utf-8")
    with pytest.raises(UserError) as refused:
        vitrina.open(folder)
    assert refused.value.code == code
    assert cure in refused.value.cure
    assert refused.value.where in {str(folder / "vitrina.toml"), "storage.url"}


def test_the_environment_overrides_and_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINA_SERVICE_PORT", "8401")
    with vitrina.open(folder) as workspace:
        shown = {setting.name: setting for setting in workspace.doctor().settings}
    assert (shown["service.port"].value, shown["service.port"].origin) == (8401, "VITRINA_SERVICE_PORT")
    monkeypatch.setenv("VITRINA_SERVICE_PORT", "none")
    with pytest.raises(UserError) as refused:
        vitrina.open(folder)
    assert refused.value.where == "VITRINA_SERVICE_PORT"


def test_closing_twice_is_harmless(folder: Path) -> None:
    workspace = vitrina.open(folder)
    workspace.start()
    workspace.close()
    workspace.close()
    with vitrina.open(folder) as again:
        again.start()


# what happened is still there

DYING = """
import os, sys, vitrina
from vitrina.core.consent import Purpose
workspace = vitrina.open(sys.argv[1])
workspace.start()
workspace.put_consent("анна", Purpose.PERSONALISATION, {"granted": sys.argv[2] == "yes", "lawfulBasis": "consent"})
os._exit(9)
"""


def test_an_answer_about_consent_outlives_a_crash(folder: Path) -> None:
    with vitrina.open(folder) as workspace:
        workspace.put_body("placement", "home", b'{"name": "Home", "holdout": 0.0}')
    for answer in ("yes", "no", "yes"):
        died = subprocess.run([sys.executable, "-c", DYING, str(folder), answer], check=False, timeout=120)
        assert died.returncode == 9
        with vitrina.open(folder) as workspace:
            decided = workspace.decide(DecideRequest(placement="home", user_id="анна"))
        assert decided.personalised is (answer == "yes")


def test_what_was_acknowledged_is_there_after_reopening(folder: Path) -> None:
    with vitrina.open(folder) as workspace:
        send(workspace, viewed("m1"), viewed("m2"), viewed("m2"))
    with vitrina.open(folder) as workspace:
        assert workspace.summary().events == 2
        workspace.claim()
        assert workspace.profiles.find("анна", None) is not None
        assert workspace.drain() == 2
    with vitrina.open(folder) as workspace:
        send(workspace, viewed("m1"))
        assert workspace.summary().events == 2


def test_a_process_that_dies_gives_the_workspace_back(folder: Path, busy: subprocess.Popen[str]) -> None:
    os.kill(busy.pid, signal.SIGKILL)
    busy.wait(timeout=60)
    with vitrina.open(folder) as workspace:
        workspace.claim()


# one process works, others look


def test_a_second_process_may_look_but_not_work(folder: Path, busy: subprocess.Popen[str], tmp_path: Path) -> None:
    with vitrina.open(folder) as workspace:
        assert workspace.summary().events == 0
        assert workspace.doctor().ok
        key = workspace.keys.create("secret")
        assert workspace.keys.find(key) is not None
        with pytest.raises(NotFoundError):
            workspace.read_out("home")
        for work in (
            workspace.claim,
            workspace.start,
            workspace.step,
            lambda: workspace.decide(DecideRequest(placement="home", user_id="анна")),
            lambda: workspace.erase("анна"),
            lambda: workspace.put_consent("анна", Purpose.PERSONALISATION, {"granted": True}),
            lambda: workspace.import_file(tmp_path / "orders.csv", tmp_path / "mapping.toml"),
        ):
            with pytest.raises(ConflictError) as refused:
                work()
            assert refused.value.code == "workspace.busy"
            assert str(busy.pid) in refused.value.message
    busy.communicate("\n", timeout=60)
    with vitrina.open(folder) as workspace:
        workspace.claim()


# the doctor


def check(workspace: vitrina.Workspace, name: str) -> tuple[bool, str]:
    return next((check.ok, check.found) for check in workspace.doctor().checks if check.name == name)


def test_a_healthy_workspace_is_said_to_be(folder: Path) -> None:
    with vitrina.open(folder) as workspace:
        report = workspace.doctor()
    assert report.ok
    assert {check.name for check in report.checks} >= {"disk", "clock", "versions", "store", "lake.events"}
    assert report.versions["vitrina"] == vitrina.__version__
    assert all(setting.description for setting in report.settings)


def test_the_doctor_says_of_whom_nothing_personal_is_learned(folder: Path) -> None:
    """Anna permits personalisation alone, Boris training of models too; both look, are decided for, and do nothing."""
    clock = SimulatedClock(from_datetime(datetime(2026, 5, 1, tzinfo=UTC)))
    answers = {"анна": {"personalisation": True}, "борис": {"personalisation": True, "model_training": True}}
    with vitrina.open(folder, clock=clock, threaded=False) as workspace:
        workspace.catalogue.put(Placement(id="home", holdout=0.0, currency="RUB"))
        workspace.catalogue.put(Offer(id="tea", name="Чай", margin=Money(100, "RUB")))
        workspace.catalogue.put(Creative(id="tea-web", offer_id="tea", status=CreativeStatus.APPROVED))
        for person, said in answers.items():
            send(workspace, {**viewed(person, person), "context": {"consent": {"categoryPreferences": said}}})
        workspace.step()
        for person in answers:
            workspace.decide(DecideRequest(placement="home", user_id=person))
        clock.advance(DAY)
        workspace.step()
        assert check(workspace, "learning")[0] and workspace.doctor().ok
    with vitrina.open(folder, clock=clock) as workspace:
        assert check(workspace, "learning")[1].startswith("3 of 6 examples of personalised decisions")
        assert "model_training" in check(workspace, "learning")[1]


def test_the_doctor_misses_a_file_of_the_lake(folder: Path) -> None:
    with vitrina.open(folder) as workspace:
        send(workspace, viewed("m1"))
        workspace.claim()
        workspace.drain()
        next((folder / "lake" / "events").rglob("*.parquet")).unlink()
        ok, found = check(workspace, "lake.events")
        assert not ok
        assert "restore a backup" in found
        assert not workspace.doctor().ok


def test_the_doctor_sees_a_clock_that_was_never_set(folder: Path) -> None:
    from vitrina.core.clock import SimulatedClock

    with vitrina.open(folder, clock=SimulatedClock(0)) as workspace:
        ok, found = check(workspace, "clock")
    assert not ok
    assert "never set" in found


@pytest.mark.sqlite
def test_a_store_that_is_no_database_is_the_machines_fault(folder: Path) -> None:
    for part in folder.glob("store.db*"):
        part.unlink()
    (folder / "store.db").write_bytes(os.urandom(8192))
    with pytest.raises(MachineError) as refused:
        vitrina.open(folder)
    assert refused.value.code == "store.unreadable"
    assert "store.db" in refused.value.where
    assert "backup" in refused.value.cure


def test_a_file_in_the_lakes_place_is_said(folder: Path) -> None:
    (folder / "lake").rmdir()
    (folder / "lake").write_text("", encoding="utf-8")
    with pytest.raises(MachineError) as refused:
        vitrina.open(folder)
    assert refused.value.code == "lake.folder"
