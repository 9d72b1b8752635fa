"""What every test may ask for, and the rule that a skipped test is a failure where everything is required."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.postgres import MISSING, Server, find_programs
from tests.stores import ON_POSTGRESQL

ROOT = Path(__file__).parent.parent
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # two workers share two cores
REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure that repeats the reason (an expected failure is no skip)."""
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped, but REQUIRE_ALL=1 asks for every test ({reason})"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL, leave out what only a SQLite file can show."""
    if ON_POSTGRESQL:
        left_out = [item for item in items if item.get_closest_marker("sqlite")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def _every_store_on_postgresql() -> Generator[None]:
    """With `VITRINA_TEST_STORE=postgresql`, one server for the run; each workspace gets a schema in it."""
    if not ON_POSTGRESQL:
        yield
        return
    server = Server(durable=False)
    os.environ["VITRINA_STORAGE_URL"] = server.url() + "?schema={folder}"
    try:
        yield
    finally:
        del os.environ["VITRINA_STORAGE_URL"]
        server.close()


@pytest.fixture
def postgresql() -> Generator[Server]:
    """A PostgreSQL server of the test's own, which keeps what it acknowledged."""
    if find_programs() is None:
        pytest.skip(MISSING)
    server = Server()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: `$VITRINA_SHARED_DATA`, else `shared/data` in or beside the repository."""
    named = os.environ.get("VITRINA_SHARED_DATA")
    places = [Path(named)] if named else [ROOT.parent / "shared" / "data", ROOT / "shared" / "data"]
    for place in places:
        if place.is_dir():
            return place.resolve()
    pytest.skip("the real data sets are not here: set VITRINA_SHARED_DATA to the folder that holds online_retail/")
