"""A creative on the wire."""

from __future__ import annotations

from typing import Any

from vitrina.core.catalogue import Creative, CreativeStatus
from vitrina.decide.wire.fields import WireBody, check_id

__all__ = ["CreativeBody", "creative_body", "creative_of"]


class CreativeBody(WireBody, frozen=True, kw_only=True):
    """How an offer is shown, in one language and size. Only an approved one is."""

    id: str | None = None
    offer_id: str
    channel: str = "web"
    locale: str = ""
    size: str = ""
    content: dict[str, Any] = {}
    generated: bool = False
    status: CreativeStatus = CreativeStatus.DRAFT
    revision: int | None = None


def creative_of(creative_id: str, body: CreativeBody) -> Creative:
    """The creative that a body describes; a `UserError` when its id can't be one."""
    check_id(creative_id, body.id)
    return Creative(
        id=creative_id,
        offer_id=body.offer_id,
        channel=body.channel,
        locale=body.locale,
        size=body.size,
        content=body.content,
        generated=body.generated,
        status=body.status,
    )


def creative_body(creative: Creative) -> CreativeBody:
    """The wire form of a creative."""
    return CreativeBody(**{name: getattr(creative, name) for name in CreativeBody.__struct_fields__})
