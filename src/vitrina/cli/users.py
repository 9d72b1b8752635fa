"""`vitrina users`: people who sign in to the console."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated, Literal

from cyclopts import Parameter

import vitrina
from vitrina.cli.output import HERE, Common, show

__all__ = ["create", "list_users"]


def create(
    email: str,
    /,
    *,
    role: Annotated[Literal["viewer", "marketer", "admin"], Parameter(help="What the person may do.")] = "admin",
    common: Common = HERE,
) -> None:
    """Let a person sign in to the console. The password is asked for, or read from stdin in a script.

    Args:
        email: the address the person signs in with.
    """
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    with vitrina.open(common.workspace) as workspace:
        show(workspace.users.create(email, password, role), common)


def list_users(*, common: Common = HERE) -> None:
    """List who may sign in, and with which role."""
    with vitrina.open(common.workspace) as workspace:
        show(workspace.users.list(), common)
