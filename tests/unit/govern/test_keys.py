"""Keys are shown once and kept as hashes; they are replaced, end, come back, and each change is in the audit log."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.stores import store_url
from vitrina.core.clock import DAY, HOUR, MINUTE, SimulatedClock
from vitrina.core.errors import ConflictError, NotFoundError, UserError
from vitrina.govern.audit import Audit
from vitrina.govern.keys import Keys
from vitrina.storage.store import Store

NOW = 1_700_000_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(store_url(tmp_path / "store.db"), threaded=False)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def keys(store: Store, clock: SimulatedClock, tmp_path: Path) -> Keys:
    return Keys(store, clock, tmp_path / "keys.changed")


@pytest.mark.sqlite
def test_a_key_opens_and_is_not_kept(keys: Keys, tmp_path: Path) -> None:
    token = keys.create("secret", scopes=("decide", "people"), name="shop backend")
    caller = keys.find(token)
    assert caller is not None
    assert caller.kind == "secret"
    assert caller.scopes == {"decide", "people"}
    assert len(token) >= 3 + 43  # 256 bits in base 64
    everything = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert token.encode() not in everything
    assert hashlib.sha256(token.encode()).digest() in everything


def test_a_list_shows_no_more_of_a_key_than_its_first_characters(
    keys: Keys, store: Store, clock: SimulatedClock
) -> None:
    tokens = [keys.create("secret", name="сервер"), keys.create("write")]
    tokens.append(keys.rotate(tokens[0], HOUR)[0])
    keys.revoke(tokens[1])
    listed = msgspec.json.encode(keys.list()).decode()
    audited = msgspec.json.encode(Audit(store, clock).entries()).decode()
    for token in tokens:
        assert token[:11] in listed
        assert token[:12] not in listed + audited
        assert hashlib.sha256(token.encode()).hexdigest() not in listed + audited


def test_a_write_key_is_not_trusted_and_a_secret_one_is(keys: Keys) -> None:
    write, secret = keys.find(keys.create("write")), keys.find(keys.create("secret"))
    assert write is not None and not write.source.trusted and write.scopes == {"collect", "decide"}
    assert secret is not None and secret.source.trusted and secret.scopes == {"*"}


@pytest.mark.parametrize("how", ["id", "prefix", "key"])
def test_a_revoked_key_opens_nothing_until_it_is_restored(keys: Keys, how: str) -> None:
    first, second = keys.create("secret"), keys.create("secret")
    info = next(info for info in keys.list() if info.prefix == first[:11])
    named = {"id": info.id, "prefix": info.prefix, "key": first}[how]
    assert keys.revoke(named).status == "revoked"
    assert keys.find(first) is None and keys.find(second) is not None
    assert keys.ended(first) == (f"secret {info.id}", "revoked")
    assert keys.restore(named).status == "works"
    assert keys.find(first) is not None
    with pytest.raises(ConflictError):
        keys.restore(named)


def test_what_is_no_key_is_not_told_in_full(keys: Keys) -> None:
    keys.create("secret")
    stranger = "vs_" + "x" * 43
    for change in (keys.revoke, keys.restore, lambda key: keys.rotate(key, HOUR)):
        with pytest.raises(NotFoundError) as told:
            change(stranger)
        assert stranger[:12] not in str(told.value)
    assert keys.ended(stranger) is None


def test_a_rotated_key_works_until_its_grace_ends(keys: Keys, clock: SimulatedClock) -> None:
    old = keys.create("secret", scopes=("people",), name="бэкенд")
    new, info = keys.rotate(old, DAY)
    assert (info.status, info.revoked_at) == ("ending", NOW + DAY)
    made = next(each for each in keys.list() if each.id == info.replaced_by)
    assert (made.name, made.kind, made.scopes, made.status) == ("бэкенд", "secret", ("people",), "works")
    clock.set(NOW + DAY - 1)
    assert keys.find(old) is not None and keys.find(new) is not None
    clock.set(NOW + DAY)
    assert keys.find(old) is None and keys.find(new) is not None
    assert keys.ended(old) == (f"бэкенд {info.id}", "revoked")
    with pytest.raises(ConflictError, match=made.id):
        keys.rotate(old, DAY)


def test_a_rotation_without_grace_ends_the_old_key_now_and_can_be_taken_back(keys: Keys) -> None:
    old = keys.create("write")
    new, _ = keys.rotate(old, 0)
    assert keys.find(old) is None and keys.find(new) is not None
    restored = keys.restore(old)
    assert (restored.status, restored.replaced_by) == ("works", None)
    assert keys.find(old) is not None and keys.find(new) is not None


def test_a_key_in_its_grace_may_be_revoked_at_once(keys: Keys) -> None:
    old = keys.create("secret")
    keys.rotate(old, DAY)
    assert keys.revoke(old).revoked_at == NOW
    assert keys.find(old) is None


def test_a_key_expires_and_its_successor_lives_as_long(keys: Keys, clock: SimulatedClock) -> None:
    token = keys.create("secret", expires=NOW + 3 * DAY)
    clock.set(NOW + DAY)
    new, old = keys.rotate(token, DAY)
    made = next(each for each in keys.list() if each.id == old.replaced_by)
    assert made.expires_at == NOW + 4 * DAY
    keys.restore(token)
    clock.set(NOW + 3 * DAY)
    assert keys.find(token) is None and keys.find(new) is not None
    assert keys.ended(token) == (f"secret {old.id}", "expired")
    clock.set(NOW + 4 * DAY)
    assert keys.find(new) is None
    assert [info.status for info in keys.list()] == ["expired", "expired"]
    with pytest.raises(UserError, match="past"):
        keys.create("secret", expires=NOW)


def test_the_last_use_is_known_to_the_hour_and_written_once_an_hour(
    keys: Keys, store: Store, clock: SimulatedClock
) -> None:
    token = keys.create("write")
    assert keys.list()[0].last_used_at is None
    for minute in range(180):
        clock.set(NOW + minute * MINUTE)
        written = keys.list()[0].last_used_at
        assert keys.find(token) is not None
        used = keys.list()[0].last_used_at
        assert used == clock.now() // HOUR * HOUR
        assert used == written or written is None or used - written == HOUR
    keys.revoke(token)
    clock.set(NOW + 10 * HOUR)
    assert keys.find(token) is None
    assert keys.list()[0].last_used_at == used


def test_what_another_process_changed_counts_at_the_next_look(
    keys: Keys, store: Store, clock: SimulatedClock, tmp_path: Path
) -> None:
    other = Keys(store, clock, tmp_path / "keys.changed")
    token = keys.create("secret")
    assert other.find(token) is not None
    for _ in range(20):
        keys.revoke(token)
        assert other.find(token) is None
        keys.restore(token)
        assert other.find(token) is not None
    before = other.user_hash("ann")
    keys.rotate_identity(0)
    assert other.user_hash("ann") == keys.user_hash("ann") != before


def test_every_change_is_in_the_audit_log(keys: Keys, store: Store, clock: SimulatedClock) -> None:
    token = keys.create("secret", ("people",), "бэкенд", by="anna")
    new = keys.rotate(token, 2 * HOUR, by="boris")[1].replaced_by
    old = keys.revoke(token, by="vera").id
    keys.revoke(token, by="nobody: it is revoked already")
    keys.restore(token, by="galya")
    keys.rotate_identity(HOUR, by="dima")
    audit = Audit(store, clock)
    assert [(entry.actor, entry.action, entry.details) for entry in reversed(audit.entries())] == [
        ("anna", "key.create", {"id": old, "name": "бэкенд", "kind": "secret", "scopes": "people"}),
        ("boris", "key.rotate", {"id": old, "replaced_by": new, "grace_seconds": 7200}),
        ("vera", "key.revoke", {"id": old}),
        ("galya", "key.restore", {"id": old}),
        ("dima", "identity.rotate", {"grace_seconds": 3600}),
    ]
    assert audit.verify().broken_at is None
    assert [entry.action for entry in audit.entries(action="key.r")] == ["key.restore", "key.revoke", "key.rotate"]


@pytest.mark.parametrize("token", ["", "vw_", "vs_" + "x" * 43, "\ud800", "é"])
def test_an_unknown_key_opens_nothing(keys: Keys, token: str) -> None:
    keys.create("write")
    assert keys.find(token) is None and keys.ended(token) is None


def test_what_can_not_be_a_key_is_refused_with_what_is_valid(keys: Keys) -> None:
    with pytest.raises(UserError, match="write or secret"):
        keys.create("public")
    with pytest.raises(UserError, match="collect, decide"):
        keys.create("secret", scopes=("everything",))
    with pytest.raises(UserError, match="no scopes"):
        keys.create("write", scopes=("people",))
    for name in ("x" * 101, "two\nlines"):
        with pytest.raises(UserError, match="name"):
            keys.create("secret", name=name)
    assert keys.list() == []


def test_user_hash_is_what_a_server_makes_with_the_identity_secret(keys: Keys) -> None:
    expected = hmac.new(keys.identity_secret().encode(), "Зоя-42".encode(), "sha256").hexdigest()
    assert keys.user_hash("Зоя-42") == expected
    assert keys.proves("Зоя-42", expected) and keys.proves("Зоя-42", expected.upper())


WRONG: list[Callable[[str], str | None]] = [
    lambda _right: None,
    lambda _right: "",
    lambda right: right[:-1],
    lambda right: right + "0",
    lambda right: right[::-1],
    lambda _right: "é" * 64,
    lambda _right: "\ud800",
]


@pytest.mark.parametrize("change", WRONG)
def test_a_wrong_user_hash_proves_nothing(keys: Keys, change: Callable[[str], str | None]) -> None:
    right = keys.user_hash("ann")
    assert keys.proves("ann", right)
    assert not keys.proves("ann", change(right))
    assert not keys.proves("bob", right)


def test_a_hash_of_another_secret_proves_nothing_also_while_there_is_no_second_one(keys: Keys) -> None:
    for secret in (b"", b"00" * 32, keys.identity_secret()[:-1].encode()):
        assert not keys.proves("ann", hmac.new(secret, b"ann", "sha256").hexdigest())


def test_the_identity_secret_is_rotated_with_grace(keys: Keys, clock: SimulatedClock) -> None:
    old = keys.user_hash("ann")
    secret = keys.rotate_identity(DAY)
    new = hmac.new(secret.encode(), b"ann", "sha256").hexdigest()
    assert new == keys.user_hash("ann") != old
    clock.set(NOW + DAY - 1)
    assert keys.proves("ann", old) and keys.proves("ann", new)
    with pytest.raises(ConflictError, match="until"):
        keys.rotate_identity(DAY)
    clock.set(NOW + DAY)
    assert not keys.proves("ann", old) and keys.proves("ann", new)


def test_without_grace_no_earlier_secret_counts(keys: Keys) -> None:
    first = keys.user_hash("ann")
    keys.rotate_identity(DAY)
    second = keys.user_hash("ann")
    keys.rotate_identity(0)
    assert not keys.proves("ann", first) and not keys.proves("ann", second)
    assert keys.proves("ann", keys.user_hash("ann"))
