"""Errors for people: what is wrong, where, what to do."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = [
    "ConflictError",
    "MachineError",
    "MissingExtraError",
    "NotFoundError",
    "OverloadedError",
    "PermissionRefusedError",
    "RefusedError",
    "UserError",
    "VitrinaError",
    "require",
]


class VitrinaError(Exception):
    """An error that a person can act on.

    Args:
        message: what is wrong, as a sentence.
        code: stable machine-readable code, `area.cause`.
        where: place of the fault (file and row, field, route), or "".
        cure: what to do about it, as a sentence, or "".
    """

    exit_code = 1
    status = 400

    def __init__(self, message: str, *, code: str, where: str = "", cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.where = where
        self.cure = cure

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head} {self.cure}".rstrip() if self.cure else head


class UserError(VitrinaError):
    """A mistake in what was asked or given (exit code 1, HTTP 400)."""


class NotFoundError(UserError):
    """The thing asked for isn't there (HTTP 404)."""

    status = 404


class ConflictError(UserError):
    """It contradicts something that is there already (HTTP 409)."""

    status = 409


class RefusedError(VitrinaError):
    """Refused for lack of data or because a rule says no (exit code 3, HTTP 422)."""

    exit_code = 3
    status = 422


class PermissionRefusedError(RefusedError):
    """Refused for lack of permission: consent, key, scope or role (exit code 3, HTTP 403)."""

    status = 403


class MachineError(VitrinaError):
    """The machine's fault: disk, port, database (exit code 4, HTTP 503)."""

    exit_code = 4
    status = 503


class OverloadedError(MachineError):
    """A queue is full; try again after `retry_after` seconds (HTTP 429 for events, 503 for decisions)."""

    def __init__(self, message: str, *, code: str, retry_after: int = 1) -> None:
        super().__init__(message, code=code, cure=f"Try again in {retry_after} s.")
        self.retry_after = retry_after


class MissingExtraError(UserError):
    """A feature needs an optional extra that isn't installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra brings it.

    Raises:
        MissingExtraError: `module` is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs the package {module.split('.')[0]}, which isn't installed.",
            code="extra.missing",
            cure=f"Install it with: pip install 'vitrina[{extra}]'.",
        ) from error
