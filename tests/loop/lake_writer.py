"""A process that receives, folds, drains and compacts without a pause until it is killed; run by `tests.loop.faults`.

It prints the number of each batch that was acknowledged, and `fault …` when the machine refused something.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from pathlib import Path

import vitrina
from tests.loop.load import make_call
from tests.loop.state import SERVER
from vitrina.core.errors import VitrinaError


def calls_of(batch: int, since: int) -> list[dict[str, object]]:
    """The calls of a batch, the same whoever asks."""
    chance = random.Random(batch)
    return [make_call(f"b{batch}-{k}", chance, since) for k in range(40)]


def main(folder: Path, first: int, since: int) -> None:
    workspace = vitrina.open(folder)
    workspace.claim()
    workspace.background.start("folder")
    say = threading.Lock()

    def tell(line: str) -> None:
        with say:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def write_lake() -> None:
        while True:
            try:
                workspace.drain()
                for stream in workspace._streams:  # pyright: ignore[reportPrivateUsage]
                    workspace.lake.compact(stream)
            except (VitrinaError, OSError) as error:
                tell(f"fault lake {type(error).__name__}")
            except Exception as error:
                tell(f"fault lake {type(error).__name__}: {str(error)[:200]!r}")

    threading.Thread(target=write_lake, daemon=True).start()
    batch = first
    while True:
        try:
            body = json.dumps({"batch": calls_of(batch, since)}).encode()
            workspace.receive(body, "batch", SERVER).result()
        except VitrinaError as error:
            tell(f"fault store {error.code}")
            threading.Event().wait(0.05)
        else:
            tell(str(batch))
            batch += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
