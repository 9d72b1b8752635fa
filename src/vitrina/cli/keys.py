"""`vitrina keys`: keys that programs sign in with."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from cyclopts import Parameter

import vitrina
from vitrina.cli.output import HERE, Common, show
from vitrina.core.access import SCOPES
from vitrina.core.clock import instant_of

__all__ = ["create", "identity", "list_keys", "restore", "revoke", "rotate", "rotate_identity"]

_BY = "command line"
_DAY = timedelta(days=1)
_SCOPE_HELP = f"What a secret key may do: {', '.join(SCOPES)}; may be repeated. Default: everything."

Grace = Annotated[timedelta, Parameter(help="How long the old one goes on working: 24h, 30m, 7d; 0s ends it now.")]


def create(
    *,
    kind: Annotated[
        Literal["write", "secret"],
        Parameter(help="write: public, sends events and asks for public decisions; secret: has scopes, teaches money."),
    ],
    scope: Annotated[list[str] | None, Parameter(help=_SCOPE_HELP, negative="")] = None,
    name: Annotated[str, Parameter(help="What the key is for.")] = "",
    expires: Annotated[datetime | None, Parameter(help="When it ends by itself, UTC; default: never.")] = None,
    common: Common = HERE,
) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    until = None if expires is None else instant_of(expires)
    with vitrina.open(common.workspace) as workspace:
        show({"key": workspace.keys.create(kind, tuple(scope or ()), name, expires=until, by=_BY)}, common)


def list_keys(*, common: Common = HERE) -> None:
    """List the keys: id, kind, scopes, whether each works, when it was made, used last and ends; never the key itself.

    The last use is known to the hour.
    """
    with vitrina.open(common.workspace) as workspace:
        show(workspace.keys.list(), common)


def rotate(key: str, /, *, grace: Grace = _DAY, common: Common = HERE) -> None:
    """Make a key that may do the same in place of another, which goes on working for a while. It is shown once.

    Args:
        key: its id or first characters, as `vitrina keys list` shows them, or the key itself.
    """
    with vitrina.open(common.workspace) as workspace:
        token, old = workspace.keys.rotate(key, _micros(grace), by=_BY)
    show({"key": token, "id": old.replaced_by, "replaces": old.id, "old_ends_at": old.revoked_at}, common)


def revoke(key: str, /, *, common: Common = HERE) -> None:
    """Revoke a key: from the next request on it opens nothing. `vitrina keys restore` takes that back.

    Args:
        key: its id or first characters, as `vitrina keys list` shows them, or the key itself.
    """
    with vitrina.open(common.workspace) as workspace:
        show({"revoked": workspace.keys.revoke(key, by=_BY).id}, common)


def restore(key: str, /, *, common: Common = HERE) -> None:
    """Let a revoked or replaced key work again, and for good.

    Args:
        key: its id or first characters, as `vitrina keys list` shows them, or the key itself.
    """
    with vitrina.open(common.workspace) as workspace:
        show({"restored": workspace.keys.restore(key, by=_BY).id}, common)


def identity(*, common: Common = HERE) -> None:
    """Show the secret with which your server makes a `userHash` for web pages. Keep it on servers."""
    with vitrina.open(common.workspace) as workspace:
        show(_identity(workspace.keys.identity_secret()), common)


def rotate_identity(*, grace: Grace = _DAY, common: Common = HERE) -> None:
    """Make a new identity secret; a `userHash` made with the old one counts for a while longer."""
    with vitrina.open(common.workspace) as workspace:
        show(_identity(workspace.keys.rotate_identity(_micros(grace), by=_BY)), common)


def _identity(secret: str) -> dict[str, Any]:
    return {"identity_secret": secret}


def _micros(length: timedelta) -> int:
    return max(length // timedelta(microseconds=1), 0)
