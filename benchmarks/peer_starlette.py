"""The leaner peer: Starlette, the standard library's JSON, SQLite, one commit a request, no validation."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def make(path: str) -> Starlette:
    """The service over a SQLite file; the same table as the FastAPI peer's."""
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("create table if not exists event (id text primary key, body text not null)")
    lock = threading.Lock()

    def store(calls: list[dict[str, Any]]) -> None:
        rows = [(call["messageId"], json.dumps(call)) for call in calls]
        with lock, connection:
            connection.executemany("insert or ignore into event values (?, ?)", rows)

    async def ready(_: Request) -> JSONResponse:
        return JSONResponse({"ready": True})

    async def batch(request: Request) -> JSONResponse:
        body = json.loads(await request.body())
        await run_in_threadpool(store, body["batch"])
        return JSONResponse({"success": True})

    async def track(request: Request) -> JSONResponse:
        await run_in_threadpool(store, [json.loads(await request.body())])
        return JSONResponse({"success": True})

    return Starlette(
        routes=[
            Route("/readyz", ready),
            Route("/v1/batch", batch, methods=["POST"]),
            Route("/v1/track", track, methods=["POST"]),
        ]
    )


if __name__ == "__main__":
    uvicorn.run(make(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
