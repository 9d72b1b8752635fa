"""One process works on a workspace at a time: a lock on a file, which the system gives back if the process dies."""

from __future__ import annotations

import os
from pathlib import Path

from vitrina.core.errors import ConflictError

__all__ = ["Claim"]


class Claim:
    """A lock on `path`; the file holds the process id of the holder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            ConflictError: another process holds it.
        """
        import fcntl

        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise ConflictError(
                f"another process ({holder}) works on this workspace.",
                code="workspace.busy",
                where=str(self._path.parent),
                cure="Stop it (vitrina serve), or ask it over HTTP.",
            ) from None
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._file = file

    def release(self) -> None:
        """Give the lock back, if held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
