"""A real `vitrina serve` in a process of its own, to be asked over loopback and killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent.parent
PROGRAM = (sys.executable, "-c", "from vitrina.cli import main; main()")
"""The `vitrina` program of the interpreter that runs the tests."""

_LISTENS = re.compile(r"listens at (http://\S+)/ ")


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, the package on the path, and settings as `VITRINA_SECTION_NAME`."""
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **(settings or {})}


class Served:
    """A server that listens.

    Attributes:
        address: where, without a slash at the end.
        said: what it wrote to stderr so far.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [*PROGRAM, "serve", "-w", str(folder), "--port", "0"],
            env=environment(settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.said: list[str] = []
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listens.wait(60), "".join(self.said)
        found = _LISTENS.search("".join(self.said))
        assert found is not None, "".join(self.said)
        self.address = found[1]

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.said.append(line)
            if _LISTENS.search(line):
                self._listens.set()
        self._listens.set()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def client(self, key: str = "") -> httpx.Client:
        """A client that sends `key` as Basic user."""
        return httpx.Client(base_url=self.address, auth=(key, "") if key else None, timeout=20, trust_env=False)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._wait()

    def stop(self) -> int:
        """Ask it to stop, and wait; gives the exit code."""
        self._process.terminate()
        return self._wait()

    def _wait(self) -> int:
        code = self._process.wait(30)
        self._reader.join(10)
        if self._process.stderr is not None:
            self._process.stderr.close()
        return code
