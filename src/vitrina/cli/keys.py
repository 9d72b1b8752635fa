"""`vitrina keys`: keys that programs sign in with."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

import vitrina
from vitrina.cli.output import HERE, Common, show

__all__ = ["create", "identity", "list_keys", "revoke"]


def create(
    *,
    kind: Annotated[
        Literal["write", "secret"],
        Parameter(help="write: public, sends events and asks for public decisions; secret: has scopes, teaches money."),
    ],
    scope: Annotated[
        list[str] | None, Parameter(help="What a secret key may do; may be repeated. Default: everything.", negative="")
    ] = None,
    name: Annotated[str, Parameter(help="What the key is for.")] = "",
    common: Common = HERE,
) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    with vitrina.open(common.workspace) as workspace:
        show({"key": workspace.keys.create(kind, tuple(scope or ()), name)}, common)


def list_keys(*, common: Common = HERE) -> None:
    """List the keys: id, kind, scopes, when made and when revoked; never the key itself."""
    with vitrina.open(common.workspace) as workspace:
        show(workspace.keys.list(), common)


def revoke(key: str, /, *, common: Common = HERE) -> None:
    """Revoke a key: from now on it opens nothing.

    Args:
        key: its id or first characters, as `vitrina keys list` shows them.
    """
    with vitrina.open(common.workspace) as workspace:
        workspace.keys.revoke(key)
    show({"revoked": key}, common)


def identity(*, common: Common = HERE) -> None:
    """Show the secret with which your server makes a `userHash` for web pages. Keep it on servers."""
    with vitrina.open(common.workspace) as workspace:
        show({"identity_secret": workspace.keys.identity_secret()}, common)
