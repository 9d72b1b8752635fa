"""Every route of the real app with every kind of caller: exactly the table of `vitrina.service.access` is let in."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar, Response, get

import vitrina
from tests.service.conftest import Running, start, start_app
from vitrina.console.session import Sessions
from vitrina.core.access import ROLES, SCOPES, WRITE_SCOPES
from vitrina.core.clock import DAY
from vitrina.core.errors import VitrinaError
from vitrina.service import create_app
from vitrina.service.access import ACCESS, Access, Gate, check_complete
from vitrina.service.door import Door
from vitrina.service.exchange import Clients
from vitrina.service.front import Front
from vitrina.service.ingest import CALLS
from vitrina.service.limits import Limits
from vitrina.service.meter import RequestMeter
from vitrina.service.refusals import Refusals
from vitrina.service.tag import manifest

PASSWORD = "correct horse battery"
numbers = itertools.count()


class Caller(msgspec.Struct):
    """Somebody who calls every route: with which header, cookies and body, and what opens to them."""

    name: str
    client: httpx.Client
    refused: str = "key.missing"
    scopes: frozenset[str] = frozenset()
    role: str = ""
    write_key: str = ""
    user_hash: str = ""


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A served workspace with a public placement, where nobody is near enough to read metrics without a key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITRINA_SERVICE_METRICS_FROM", "")
        workspace = vitrina.init(tmp_path_factory.mktemp("gone") / "ws")
    workspace.start()
    address, stop = start(workspace)
    running = Running(workspace, address, workspace.keys.create("secret"), workspace.keys.create("write"))
    with running.client(running.secret_key) as shop:
        shop.put("/v1/placements/home", json={"name": "Home", "public": True}).raise_for_status()
    yield running
    stop()
    workspace.close()


def signed_in(running: Running, role: str) -> httpx.Client:
    """A browser of a member of staff."""
    running.workspace.users.create(f"{role}@example.com", PASSWORD, role)
    browser = running.client()
    form = re.search(r'name="form" value="(\w+)"', browser.get("/sign-in").text)
    assert form is not None
    answer = browser.post("/sign-in", data={"form": form[1], "email": f"{role}@example.com", "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return browser


def expired(running: Running) -> str:
    """A key that has run out a moment ago."""
    keys = running.workspace.keys
    soon = running.workspace.clock.now() + 200_000
    key = keys.create("secret", expires=soon)
    while running.workspace.clock.now() < soon:
        time.sleep(0.01)
    return key


def revoked(running: Running) -> str:
    key = running.workspace.keys.create("secret")
    running.workspace.keys.revoke(key)
    return key


@pytest.fixture(scope="module")
def callers(gone: Running) -> Iterator[list[Caller]]:
    """Each kind of caller."""
    keys, write = gone.workspace.keys, frozenset({"collect", "decide"})
    replaced = keys.create("secret")
    keys.rotate(replaced, DAY)
    found = [
        Caller("nobody", gone.client()),
        Caller("unknown key", gone.client("vs_" + "x" * 43), refused="key.unknown"),
        Caller("revoked key", gone.client(revoked(gone)), refused="key.revoked"),
        Caller("expired key", gone.client(expired(gone)), refused="key.expired"),
        Caller("write key in the body", gone.client(), scopes=frozenset({"collect"}), write_key=gone.write_key),
        Caller("write key", gone.client(gone.write_key), refused="key.scope", scopes=write),
        Caller(
            "write key, userHash", gone.client(gone.write_key), refused="key.scope", scopes=write,
            user_hash=keys.user_hash("ann"),
        ),
        *(
            Caller(f"secret {scope}", gone.client(keys.create("secret", (scope,))), "key.scope", frozenset({scope}))
            for scope in SCOPES
        ),
        Caller("secret *", gone.client(gone.secret_key), scopes=frozenset(SCOPES)),
        Caller("replaced key in its grace", gone.client(replaced), scopes=frozenset(SCOPES)),
        *(Caller(f"console {role}", signed_in(gone, role), role=role) for role in ROLES),
    ]  # fmt: skip
    yield found
    for caller in found:
        caller.client.close()


def request_of(caller: Caller, method: str, path: str) -> tuple[str, dict[str, Any]]:
    """An address and a body that a caller who is let in gets something else than 401 or 403 for."""
    named = {"purpose": "personalisation", "letter_id": "7", "file_path": "tokens.css"}
    address = re.sub(r"{(\w+)}", lambda part: named.get(part[1], f"none-{next(numbers)}"), path)
    if path == "/v1/decide":
        who = {"userId": "ann", "userHash": caller.user_hash} if caller.user_hash else {"anonymousId": "a"}
        return address, {"json": {"placement": "home", **who}}
    if method == "POST" and path in ("/sign-in", "/sign-out", "/preferences"):
        form = re.search(r'name="form" value="(\w+)"', caller.client.get("/no-such-page").text)
        assert form is not None
        return address, {"data": {"form": form[1], "email": "viewer@example.com", "password": PASSWORD}}
    if path.startswith("/v1/") and method == "POST" and path.count("/") == 2:
        call = {"type": "track", "event": "x", "anonymousId": "a", "messageId": f"m-{next(numbers)}"}
        key = {"writeKey": caller.write_key} if caller.write_key else {}
        return address, {"json": {"batch": [call], **call, "userId": "ann", "previousId": "a", "groupId": "g", **key}}
    return address, {"json": {"name": "x"}} if method in ("PUT", "POST") else {}


def verdict(answer: httpx.Response) -> str:
    """in | the code of a refusal | sign-in | the console's own refusal."""
    if answer.status_code in (401, 403):
        return answer.json()["code"] if "problem+json" in answer.headers["content-type"] else "console"
    if answer.status_code == 303 and answer.headers["location"].startswith("/sign-in?next="):
        return "sign-in"
    if answer.status_code == 303 and answer.headers["location"] == "/sign-in" and answer.request.method == "GET":
        return "sign-in"
    return "in"


def expected(caller: Caller, row: Access) -> str:
    if row.scope:
        return "in" if row.scope in caller.scopes else caller.refused
    if row.role:
        return "in" if caller.role and ROLES.index(caller.role) >= ROLES.index(row.role) else "sign-in"
    return "in"


def test_every_route_has_its_row_and_every_row_its_route(gone: Running) -> None:
    rows = [(row.method, row.path) for row in ACCESS]
    assert len(set(rows)) == len(rows)
    assert sorted(create_app(gone.workspace).routes()) == sorted(rows)


def test_a_route_without_a_row_does_not_open() -> None:
    with pytest.raises(LookupError, match=r"GET /v1/new/{new_id}"):
        check_complete([("GET", "/v1/new/{new_id}")])


def test_exactly_the_table_is_let_in(gone: Running, callers: list[Caller]) -> None:
    """Signing in and out come last, since they change who the caller is."""
    wrong: list[str] = []
    for row in sorted(ACCESS, key=lambda row: row.method == "POST" and row.path in ("/sign-in", "/sign-out")):
        for caller in callers:
            address, body = request_of(caller, row.method, row.path)
            answer = caller.client.request(row.method, address, **body)
            got, want = verdict(answer), expected(caller, row)
            if got != want or answer.status_code >= 500:
                wrong.append(f"{caller.name}: {row.method} {row.path} gave {answer.status_code} {got}, not {want}")
    assert wrong == []


def test_what_is_refused_is_refused_before_the_body_is_looked_at(gone: Running, callers: list[Caller]) -> None:
    nobody, people = callers[0], next(caller for caller in callers if caller.name == "secret people")
    for row in ACCESS:
        if row.scope in ("", "people") or row.method == "GET":
            continue
        address, _ = request_of(nobody, row.method, row.path)
        for caller, status in ((nobody, 401), (people, 403)):
            answer = caller.client.request(row.method, address, content=b"\xff no json")
            if row.scope == "collect" and caller is nobody:
                assert answer.status_code == 401, "a key may stand in this body, but it holds none"
            assert answer.status_code == status, (row, caller.name, answer.text)


def test_what_anybody_may_call_is_this_and_no_more() -> None:
    """Spelled out once more, so that a row can't open a route by a slip of the pen."""
    assert {f"{row.method} {row.path}" for row in ACCESS if not row.scope and not row.role} == {
        "GET /",
        "GET /sign-in",
        "POST /sign-in",
        "POST /sign-out",
        "POST /preferences",
        "POST /v1/m",
        "GET /v1/projects/{write_key}/settings",
        "GET /v1/tag.js",
        *(f"GET {build.path}" for build in manifest()),
        "GET /static/{file_path}",
        "HEAD /static/{file_path}",
        "GET /healthz",
        "GET /readyz",
        "GET /schema",
        "GET /schema/openapi.json",
        "GET /schema/{path}",
    }
    public = {row.path for row in ACCESS if row.scope in WRITE_SCOPES}
    assert public == {*CALLS, "/v1/decide"}


def test_every_route_names_a_scope_or_role_that_there_is() -> None:
    assert {row.scope for row in ACCESS} - {""} <= set(SCOPES)
    assert {row.role for row in ACCESS} - {""} <= set(ROLES)


def test_a_role_that_is_too_low_is_refused_and_noted(tmp_path: Path) -> None:
    """No page asks for more than a viewer yet, so the gate is asked about a table of its own."""
    noted: list[tuple[str, str, str, int]] = []
    with vitrina.init(tmp_path / "ws") as workspace:
        sessions = Sessions(workspace.users.session_secret, workspace.clock)
        users = {role: workspace.users.create(f"{role}@example.com", PASSWORD, role) for role in ROLES}
        table = [Access("GET", f"/{role}", role=role) for role in ROLES]

        @get([f"/{role}" for role in ROLES], sync_to_thread=False)
        def page() -> str:
            return "in"

        door = Door(workspace.keys, Limits(workspace.settings.service))
        app = Litestar(
            [page],
            guards=[Gate(door, workspace, sessions, table)],
            exception_handlers={VitrinaError: lambda _, error: Response(error.code, status_code=error.status)},
            openapi_config=None,
        )
        refusals = Refusals(lambda *entry: noted.append(entry))
        address, stop = start_app(
            Front({}, app, door=door, clients=Clients(()), refusals=refusals, meter=RequestMeter())
        )
        try:
            got = {
                (role, needed): ask(f"{address}/{needed}", sessions.issue(users[role].id)).status_code
                for role in ROLES
                for needed in ROLES
            }
            assert ask(f"{address}/viewer", "forged").text == "session.missing"
        finally:
            stop()
    rank = ROLES.index
    pairs = list(itertools.product(ROLES, ROLES))
    assert got == {(role, needed): 200 if rank(role) >= rank(needed) else 403 for role, needed in pairs}
    low = {(f"user {users[role].id}", f"/{needed}") for role, needed in pairs if rank(role) < rank(needed)}
    assert {(who, route) for who, _, route, _ in noted} == {*low, ("", "/viewer")}


def ask(address: str, session: str) -> httpx.Response:
    return httpx.get(address, headers={"cookie": f"vitrina_session={session}"}, trust_env=False)
