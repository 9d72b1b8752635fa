"""A real PostgreSQL server in a temporary folder, on a free port, under a user that isn't root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

__all__ = ["MISSING", "Server", "find_programs"]

MISSING = "PostgreSQL isn't here: apt-get install postgresql"
_USER = "postgres"
_STARTS = 100


def find_programs() -> Path | None:
    """The folder of `initdb` and `postgres`; the newest where there are several. None without them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    named = shutil.which("initdb")
    return Path(named).resolve().parent if named else None


class Server:
    """A database server of the tests' own. `durable=False` lets it forget the disk, which makes a suite faster."""

    def __init__(self, *, durable: bool = True) -> None:
        programs = find_programs()
        if programs is None:
            raise FileNotFoundError(MISSING)
        self._programs = programs
        self._as_root = os.getuid() == 0
        self.folder = Path(tempfile.mkdtemp(prefix="vitrina-postgres-"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._durable = durable
        if self._as_root:
            owner = pwd.getpwnam(_USER)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", _USER, "--auth=trust", "-E", "UTF8", "--no-sync")
        self.start()

    @property
    def pid(self) -> int:
        """The process that the others are children of."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """The address of a database, as `storage.url` takes it."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        speed = [] if self._durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += ["-c", f"unix_socket_directories={self.folder}", "-c", "listen_addresses=127.0.0.1", *speed]
        command += ["-c", "max_connections=200", "-c", "shared_buffers=128MB"]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._identity())
        for _ in range(_STARTS):
            if self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended: see {self.folder}.log")
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0 and self._answers():
                    return
            time.sleep(0.1)
        raise RuntimeError("PostgreSQL did not start")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT closes every connection at once, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        """End it and delete everything."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder.parent / f"{self.folder.name}.log").unlink(missing_ok=True)

    def query(self, statement: str, database: str = "postgres") -> str:
        """What `psql` answers to a statement."""
        done = self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", _USER, "-Atqc", statement, database)
        return done.stdout.decode().strip()

    def _answers(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run(command, check=False).returncode == 0

    def _identity(self) -> dict[str, str]:
        return {"user": _USER, "group": _USER} if self._as_root else {}

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, check=False, cwd=self.folder, **self._identity())
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode(errors='replace')}")
        return done


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
