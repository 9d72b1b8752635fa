"""`vitrina audit`: who did what, who was refused, and whether the record is whole."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from msgspec import structs

import vitrina
from vitrina.cli.output import HERE, Common, show
from vitrina.core.clock import iso

__all__ = ["list_entries", "verify"]


def list_entries(
    *,
    limit: Annotated[int, Parameter(help="How many entries, the newest ones.")] = 100,
    action: Annotated[str, Parameter(help="Only actions that begin so: access.refused, key, person.erase.")] = "",
    common: Common = HERE,
) -> None:
    """List the audit log, newest first: keys and what was done with them, refusals with their count, erasures."""
    with vitrina.open(common.workspace) as workspace:
        entries = workspace.audit.entries(limit, action)
    show([{**structs.asdict(entry), "at": iso(entry.at)} for entry in entries], common)


def verify(*, common: Common = HERE) -> None:
    """Check that no entry of the audit log was changed or taken out. Ends with code 4 when one was.

    The number and hash of the last entry are shown: note them elsewhere, and entries cut off at the end show too.
    """
    with vitrina.open(common.workspace) as workspace:
        checked = workspace.audit.verify()
    show(checked, common)
    if checked.broken_at is not None:
        raise SystemExit(4)
