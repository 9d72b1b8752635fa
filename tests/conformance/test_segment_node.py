"""The real `@segment/analytics-node` sends to us over loopback, through faults too: nothing lost, nothing twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import CUT, HERE, Proxy
from tests.conformance.test_segment_client import events_of, head
from tests.service.conftest import Running, running, start
from tests.service.test_decide import eventually_true

__all__ = ["running", "start"]

pytestmark = pytest.mark.long
CLIENTS = {"2": "@segment/analytics-node", "3": "analytics-node-3"}
COUNT = 120
CALLS = COUNT + 5


def send(node_modules: Path, host: str, key: str, client: str, user: str, *, granted: bool = True) -> dict[str, Any]:
    """Run the client in a process of its own; what it says at the end."""
    told = {"client": CLIENTS[client], "host": host, "writeKey": key, "user": user, "count": COUNT, "batch": 20,
            "granted": granted}  # fmt: skip
    node = shutil.which("node")
    assert node is not None
    done = subprocess.run(
        [node, str(HERE / "send.cjs"), json.dumps(told)],
        env={**os.environ, "NODE_PATH": str(node_modules)},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def personal(running: Running, user: str) -> bool:
    """Whether a decision about this person may be a personal one."""
    with running.client(running.secret_key) as shop:
        answer = shop.post("/v1/decide", json={"placement": "home", "userId": user})
    assert answer.status_code == 200, answer.text
    return answer.json()["personalised"]


@pytest.fixture(scope="module", autouse=True)
def placement(running: Running) -> None:
    with running.client(running.secret_key) as shop:
        shop.put("/v1/placements/home", json={"name": "Home", "holdout": 0}).raise_for_status()


@pytest.mark.parametrize("client", CLIENTS)
def test_what_it_sends_is_stored_once(node_modules: Path, running: Running, client: str) -> None:
    user, before = f"node-{client}", head(running)
    assert send(node_modules, running.address, running.secret_key, client, user) == {"failed": [], "sent": CALLS}
    assert head(running) == before + CALLS
    eventually_true(lambda: f"a:anon-{user}" in events_of(running, user))
    assert running.workspace.person(user)["traits"] == {"город": "Казань"}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("faults", [[429, 429], [500, 503], [CUT, CUT], [429, CUT, 503, 500]], ids=str)
def test_faults_lose_nothing_and_double_nothing(
    node_modules: Path, running: Running, proxies: Callable[[str], Proxy], client: str, faults: list[int]
) -> None:
    proxy = proxies(running.address)
    proxy.faults = list(faults)
    user, before = f"fault-{client}-{'-'.join(map(str, faults))}", head(running)
    said = send(node_modules, proxy.address, running.write_key, client, user)
    assert said == {"failed": [], "sent": CALLS}, proxy.posts
    assert proxy.faults == []
    assert sorted(status for _, status in proxy.posts if status != 200) == sorted(faults)
    assert head(running) == before + CALLS


@pytest.mark.parametrize("client", CLIENTS)
def test_a_withdrawal_of_consent_counts(node_modules: Path, running: Running, client: str) -> None:
    user = f"consent-{client}"
    for granted in (True, False):
        send(node_modules, running.address, running.secret_key, client, user, granted=granted)
        eventually_true(lambda granted=granted: personal(running, user) is granted)
    eventually_true(lambda: answers(running, user) == [True, False])


def answers(running: Running, user: str) -> list[bool]:
    """What this person's records say of personalisation, oldest first; one is written a moment after it counts."""
    records = running.workspace.person(user)["consents"]
    return [record["granted"] for record in records if record["purpose"] == "personalisation"]
