"""Keys are shown once and kept as hashes; people sign in with passwords that the store doesn't know."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.stores import store_url
from vitrina.core.clock import SimulatedClock
from vitrina.core.errors import ConflictError, NotFoundError, UserError
from vitrina.govern.access import Keys, Users
from vitrina.storage.store import Store

CLOCK = SimulatedClock(1_700_000_000_000_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(store_url(tmp_path / "store.db"), threaded=False)
    store.migrate()
    yield store
    store.close()


@pytest.mark.sqlite
def test_a_key_opens_and_is_not_kept(store: Store, tmp_path: Path) -> None:
    keys = Keys(store, CLOCK)
    token = keys.create("secret", scopes=("decide", "people"), name="shop backend")
    caller = keys.find(token)
    assert caller is not None
    assert caller.kind == "secret"
    assert caller.scopes == {"decide", "people"}
    assert len(token) >= 3 + 43  # 256 bits in base 64
    everything = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert token.encode() not in everything
    assert hashlib.sha256(token.encode()).digest() in everything


def test_a_write_key_is_not_trusted_and_a_secret_one_is(store: Store) -> None:
    keys = Keys(store, CLOCK)
    write, secret = keys.find(keys.create("write")), keys.find(keys.create("secret"))
    assert write is not None and not write.source.trusted and write.scopes == {"collect", "decide"}
    assert secret is not None and secret.source.trusted and secret.scopes == {"*"}


def test_a_revoked_key_opens_nothing(store: Store) -> None:
    keys = Keys(store, CLOCK)
    first, second = keys.create("secret"), keys.create("secret")
    keys.revoke(keys.list()[0].id)
    assert [keys.find(first) is None, keys.find(second) is None] in ([True, False], [False, True])
    assert sum(info.revoked_at is not None for info in keys.list()) == 1
    with pytest.raises(NotFoundError):
        keys.revoke("k_nothing")


@pytest.mark.parametrize("token", ["", "vw_", "vs_" + "x" * 43, "\ud800", "é"])
def test_an_unknown_key_opens_nothing(store: Store, token: str) -> None:
    keys = Keys(store, CLOCK)
    keys.create("write")
    assert keys.find(token) is None


def test_wrong_kinds_and_scopes_are_refused_with_what_is_valid(store: Store) -> None:
    keys = Keys(store, CLOCK)
    with pytest.raises(UserError, match="write or secret"):
        keys.create("public")
    with pytest.raises(UserError, match="collect, decide"):
        keys.create("secret", scopes=("everything",))
    with pytest.raises(UserError, match="no scopes"):
        keys.create("write", scopes=("people",))
    assert keys.list() == []


def test_user_hash_is_what_a_server_makes_with_the_identity_secret(store: Store) -> None:
    keys = Keys(store, CLOCK)
    expected = hmac.new(keys.identity_secret().encode(), "Зоя-42".encode(), "sha256").hexdigest()
    assert keys.user_hash("Зоя-42") == expected
    assert Keys(store, CLOCK).identity_secret() == keys.identity_secret()


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
