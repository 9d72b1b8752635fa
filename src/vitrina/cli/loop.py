"""`vitrina decide`, `replay` and `read-out`: asking the loop by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

import vitrina
from vitrina.cli.output import HERE, Common, progress, show
from vitrina.core.decision import DecideRequest
from vitrina.service.wire import encode_answer

__all__ = ["decide", "read_out", "replay"]


def decide(
    *,
    placement: Annotated[str, Parameter(help="Where the decision will be shown.")],
    user: Annotated[str, Parameter(help="The person's userId.")] = "",
    anonymous: Annotated[str, Parameter(help="The person's anonymousId.")] = "",
    slots: Annotated[int | None, Parameter(help="How many items; default: as the placement says.")] = None,
    explain: Annotated[bool, Parameter(negative="", help="Add the reasons in words.")] = False,
    preview: Annotated[bool, Parameter(negative="", help="Neither log it for learning nor count it.")] = False,
    common: Common = HERE,
) -> None:
    """Make one decision, exactly as the HTTP API would."""
    with vitrina.open(common.workspace) as workspace:
        request = DecideRequest(
            placement=placement,
            user_id=user or None,
            anonymous_id=anonymous or None,
            slots=slots,
            explain=explain,
            preview=preview,
        )
        answer = workspace.decide(request)
    language = workspace.settings.workspace.locale if explain else None
    show(msgspec.json.decode(encode_answer(answer, to_public=False, language=language)), common)


def replay(
    *,
    since: Annotated[datetime, Parameter(name="--from", help="The first moment that is asked about, UTC.")],
    until: Annotated[datetime | None, Parameter(help="The first moment that is not; default: to the end.")] = None,
    items: Annotated[int, Parameter(help="How many products are asked for before each order.")] = 10,
    common: Common = HERE,
) -> None:
    """Walk an imported history through the decision path and say how well it foresaw each order.

    Time goes forward, each answer uses only what was known by then, and nothing is learned from it.
    """
    with vitrina.open(common.workspace) as workspace, progress("Replaying") as advance:
        result = workspace.replay(since=since, until=until, items=items, progress=advance)
    show(result if common.json else _readable(msgspec.to_builtins(result)), common)


def _readable(result: dict[str, Any]) -> dict[str, Any]:
    """A replay with each figure and its interval in one column."""
    for table in ("figures", "leads"):
        for row in result[table]:
            for name in ("hit_rate", "ndcg"):
                low, high = row.pop(f"{name}_low"), row.pop(f"{name}_high")
                row[name] = f"{row[name]:.4f} ({low:.4f} to {high:.4f})"
    return result


def read_out(placement: str, /, *, common: Common = HERE) -> None:
    """Say what personalising a placement was worth, against the people in its holdout.

    Ends with code 3 when nothing can be said yet; the result then says why, and how many more people it takes.

    Args:
        placement: the placement's id.
    """
    with vitrina.open(common.workspace) as workspace:
        result = workspace.read_out(placement)
    show(result.wire(), common)
    if result.refused:
        raise SystemExit(3)
