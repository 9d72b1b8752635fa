"""The peer: what a good engineer writes in an afternoon. FastAPI, pydantic, SQLite, one commit a request."""

from __future__ import annotations

import random
import sqlite3
import sys
import threading
import uuid
from datetime import datetime
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Call(BaseModel):
    """One Segment call."""

    messageId: str  # noqa: N815 - as it stands on the wire
    type: str
    event: str | None = None
    userId: str | None = None  # noqa: N815 - as it stands on the wire
    anonymousId: str | None = None  # noqa: N815 - as it stands on the wire
    timestamp: datetime | None = None
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}


class Batch(BaseModel):
    """Several."""

    batch: list[Call]
    sentAt: datetime | None = None  # noqa: N815 - as it stands on the wire


def hold_ids(path: str, count: int) -> None:
    """Put `count` events into the store, as after a week of traffic."""
    connection = sqlite3.connect(path)
    connection.execute("create table if not exists event (id text primary key, body text not null)")
    rng = random.Random(1)
    ids = sorted(str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(count))
    with connection:
        connection.executemany("insert into event values (?, '{}')", ((one,) for one in ids))
    connection.close()


def make(path: str) -> FastAPI:
    """The service over a SQLite file."""
    app = FastAPI()
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("create table if not exists event (id text primary key, body text not null)")
    lock = threading.Lock()

    def store(calls: list[Call]) -> None:
        rows = [(call.messageId, call.model_dump_json()) for call in calls]
        with lock, connection:
            connection.executemany("insert or ignore into event values (?, ?)", rows)

    @app.get("/readyz")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/v1/batch")
    def batch(body: Batch) -> dict[str, bool]:
        store(body.batch)
        return {"success": True}

    @app.post("/v1/track")
    def track(body: Call) -> dict[str, bool]:
        store([body])
        return {"success": True}

    return app


if __name__ == "__main__":
    uvicorn.run(make(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
