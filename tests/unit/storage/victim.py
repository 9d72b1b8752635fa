"""A process that appends and drains until it is killed; it prints what was acknowledged. Run by test_kill."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from tests.unit.storage.conftest import make_row, open_journal, open_store, stream_of
from vitrina.storage.lake import Lake


def main(folder: Path, first: int) -> None:
    store = open_store(folder / "store.db")
    events = open_journal(store)
    stream = stream_of(events)
    lake = Lake.open(folder / "lake", store, compact_files=3)
    events.subscribe("fold")
    events.after_commit.append(lambda rows: None)

    def drain() -> None:
        while True:
            store.write(lambda c: events.advance(c, "fold", events.last(), 0))
            lake.drain(stream, limit=400)
            lake.compact(stream)

    threading.Thread(target=drain, daemon=True).start()
    start = first
    while True:
        numbers = range(start, start + 37)
        store.writer.append(events, [make_row(n, subject=f"u:{n % 11}") for n in numbers]).result()
        sys.stdout.write(f"{numbers[-1]}\n")
        sys.stdout.flush()
        start += 37


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
