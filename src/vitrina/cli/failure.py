"""What a person sees when a command fails: what is wrong, where, and what to do."""

from __future__ import annotations

import os
import sys

from vitrina.core.errors import VitrinaError

__all__ = ["report"]

MISTAKES = (FileNotFoundError, IsADirectoryError, NotADirectoryError, FileExistsError)
"""Errors of the operating system that come from a path the user gave."""


def report(error: Exception) -> int | None:
    """Print `error` for a person.

    Returns:
        The exit code, or None when the error is a fault of ours: then the traceback is what helps.
    """
    if isinstance(error, BrokenPipeError):
        # The reader went away (`vitrina summary | head`): nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, VitrinaError):
        _print(error.message, error.where, error.cure, error.code)
        return error.exit_code
    if isinstance(error, OSError):
        where = str(error.filename or "")
        mistake = isinstance(error, MISTAKES)
        _print(error.strerror or str(error), where, "", "file.missing" if mistake else "machine.os")
        return 1 if mistake else 4
    if _is_database_fault(error):
        _print(
            str(error).splitlines()[0], "the store", "Run `vitrina doctor` to see what is wrong.", "machine.database"
        )
        return 4
    return None


def _is_database_fault(error: Exception) -> bool:
    """Whether the database failed (not: was asked a wrong thing), found out without loading its library."""
    library = sys.modules.get("sqlalchemy.exc")
    if library is None or not isinstance(error, library.DatabaseError):
        return False
    return not isinstance(error, library.ProgrammingError | library.IntegrityError | library.DataError)


def _print(what: str, where: str, cure: str, code: str) -> None:
    lines = [f"vitrina: {what}"]
    if where:
        lines.append(f"  where: {where}")
    if cure:
        lines.append(f"  cure:  {cure}")
    lines.append(f"  code:  {code}")
    sys.stderr.write("\n".join(lines) + "\n")
