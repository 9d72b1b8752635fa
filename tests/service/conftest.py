"""A real server on loopback over a real workspace in a temporary folder."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn

import vitrina
from vitrina.service import create_app
from vitrina.service.life import Life


class Running(msgspec.Struct):
    """A server that listens: its workspace, address, keys, and a client for each key."""

    workspace: vitrina.Workspace
    address: str
    secret_key: str
    write_key: str

    def client(self, key: str = "") -> httpx.Client:
        """A client that sends `key` as Basic user."""
        return httpx.Client(base_url=self.address, auth=(key, "") if key else None, timeout=10, trust_env=False)


def start(workspace: vitrina.Workspace, life: Life | None = None) -> tuple[str, Callable[[], None]]:
    """Serve `workspace` from a thread; gives the address and what stops it."""
    return start_app(create_app(workspace, life))


def start_app(app: Any) -> tuple[str, Callable[[], None]]:
    """Serve an ASGI application from a thread; gives the address and what stops it."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        loop="uvloop",
        http="httptools",
        proxy_headers=False,
        lifespan="on",
        log_level="warning",
    )
    server = uvicorn.Server(config)

    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    began = time.monotonic()
    while not server.started:
        assert time.monotonic() - began < 20
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    def stop() -> None:
        server.should_exit = True
        thread.join(20)

    return f"http://127.0.0.1:{port}", stop


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A served workspace with one key of each kind."""
    folder: Path = tmp_path_factory.mktemp("shop")
    workspace = vitrina.init(folder / "ws", name="Kettle & Leaf", timezone="Europe/Amsterdam")
    workspace.start()
    address, stop = start(workspace)
    yield Running(workspace, address, workspace.keys.create("secret"), workspace.keys.create("write"))
    stop()
    workspace.close()


@pytest.fixture(scope="module")
def shop(running: Running) -> Iterator[httpx.Client]:
    """The shop's backend: a client with the secret key."""
    with running.client(running.secret_key) as client:
        yield client


@pytest.fixture(scope="module")
def page(running: Running) -> Iterator[httpx.Client]:
    """A web page: a client with the write key."""
    with running.client(running.write_key) as client:
        yield client


@pytest.fixture(scope="module")
def catalogue(shop: httpx.Client) -> None:
    """A public placement with three offers, and a private one."""
    shop.put("/v1/placements/home", json={"name": "Home, hero", "public": True}).raise_for_status()
    shop.put("/v1/placements/basket", json={"name": "Basket"}).raise_for_status()
    for number, name in enumerate(("Tea", "Kettle", "Cup"), 1):
        offer = {
            "name": name,
            "category": "kitchen",
            "price": {"amount": f"{number}9.50", "currency": "EUR"},
            "margin": {"amount": number * 2, "currency": "EUR"},
        }
        shop.put(f"/v1/offers/{name.lower()}", json=offer).raise_for_status()
        creative = {"offerId": name.lower(), "status": "approved", "content": {"title": name}}
        shop.put(f"/v1/creatives/{name.lower()}-web", json=creative).raise_for_status()
