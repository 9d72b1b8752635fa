"""People sign in with passwords that the store doesn't know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.stores import store_url
from vitrina.core.clock import SimulatedClock
from vitrina.core.errors import ConflictError, UserError
from vitrina.govern.users import Users
from vitrina.storage.store import Store

CLOCK = SimulatedClock(1_700_000_000_000_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(store_url(tmp_path / "store.db"), threaded=False)
    store.migrate()
    yield store
    store.close()


def test_people_sign_in_with_their_password_only(store: Store) -> None:
    users = Users(store, CLOCK)
    made = users.create("Ann@Example.com", "correct horse", role="marketer")
    assert users.sign_in(" ann@example.COM ", "correct horse") == made
    assert users.sign_in("ann@example.com", "Correct horse") is None
    assert users.sign_in("bob@example.com", "correct horse") is None
    assert users.find(made.id) == made and users.count() == 1
    with store.read() as connection:
        assert connection.execute(text("select password from console_user")).scalar_one().startswith("$argon2id$")


def test_a_user_that_is_there_or_a_poor_password_is_refused(store: Store) -> None:
    users = Users(store, CLOCK)
    users.create("ann@example.com", "correct horse")
    with pytest.raises(ConflictError):
        users.create("ANN@example.com", "another password")
    with pytest.raises(UserError, match="too short"):
        users.create("bob@example.com", "short")
    with pytest.raises(UserError, match="e-mail"):
        users.create("bob", "long enough password")
    with pytest.raises(UserError, match="Roles are"):
        users.create("bob@example.com", "long enough password", role="king")
