"""The two forms of a backup, a folder and a tar: files go in and come out a piece at a time, with their hashes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

import msgspec

from vitrina.core.errors import UserError

__all__ = ["BackedUpFile", "Sink", "copied", "hashed", "open_sink", "opened", "remove", "sync", "unreadable"]

_PIECE = 1 << 20


class BackedUpFile(msgspec.Struct, frozen=True):
    """A file of a backup: its path in it, size in bytes, SHA-256 in hex."""

    path: str
    bytes: int
    sha256: str


class Sink(Protocol):
    """Where the files of a backup go."""

    def add(self, path: str, source: Path) -> BackedUpFile: ...

    def write(self, path: str, data: bytes) -> BackedUpFile: ...

    def close(self) -> None: ...


def open_sink(place: Path, *, tar: bool) -> Sink:
    """Where to put the files of a new backup."""
    return _Tar(place) if tar else _Folder(place)


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True)

    def add(self, path: str, source: Path) -> BackedUpFile:
        with source.open("rb") as file:
            return copied(file, self._root / path, path)

    def write(self, path: str, data: bytes) -> BackedUpFile:
        return copied(io.BytesIO(data), self._root / path, path)

    def close(self) -> None:
        for folder in [self._root, *(path for path in self._root.rglob("*") if path.is_dir())]:
            sync(folder)


class _Tar:
    def __init__(self, file: Path) -> None:
        self._file = file.open("wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, path: str, source: Path) -> BackedUpFile:
        with source.open("rb") as file:
            return self._take(path, file, os.fstat(file.fileno()).st_size)

    def write(self, path: str, data: bytes) -> BackedUpFile:
        return self._take(path, io.BytesIO(data), len(data))

    def _take(self, path: str, file: IO[bytes], size: int) -> BackedUpFile:
        member = tarfile.TarInfo(path)
        member.size = size
        read = _Hashed(file)
        self._tar.addfile(member, read)
        return BackedUpFile(path, size, read.digest())

    def close(self) -> None:
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class _Hashed(io.RawIOBase):
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        return self._hash.hexdigest()


def copied(file: IO[bytes], to: Path, path: str) -> BackedUpFile:
    """Copy a file a piece at a time, hashed on the way, onto the disk."""
    to.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with to.open("xb") as out:
        while piece := file.read(_PIECE):
            digest.update(piece)
            out.write(piece)
            size += len(piece)
        out.flush()
        os.fsync(out.fileno())
    return BackedUpFile(path, size, digest.hexdigest())


def sync(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def opened(backup: Path) -> Generator[Callable[[str], IO[bytes]]]:
    """A function that opens a file of the backup by its path in it; a `KeyError` or `OSError` when it isn't there."""
    if backup.is_dir():
        yield lambda path: (backup / path).open("rb")
        return
    if not backup.exists():
        raise UserError("there is no backup.", code="backup.missing", where=str(backup), cure="Check the path.")
    try:
        tar = tarfile.open(backup, "r:")  # noqa: SIM115
    except tarfile.TarError as error:
        raise unreadable(backup, str(error)) from None
    with tar:
        found = {member.name: member for member in tar.getmembers() if member.isfile()}

        def opened(path: str) -> IO[bytes]:
            file = tar.extractfile(found[path])
            assert file is not None
            return file

        yield opened


def unreadable(backup: Path, why: str) -> UserError:
    """The error of something that is no backup."""
    return UserError(
        f"this is no backup of a workspace: {why}.",
        code="backup.unreadable",
        where=str(backup),
        cure="Name what `vitrina backup` wrote: a folder, or a file that ends in .tar.",
    )


def hashed(file: IO[bytes], path: str) -> BackedUpFile:
    """Read a file to its end; what it is, under the name `path`."""
    digest, size = hashlib.sha256(), 0
    while piece := file.read(_PIECE):
        digest.update(piece)
        size += len(piece)
    return BackedUpFile(path, size, digest.hexdigest())
