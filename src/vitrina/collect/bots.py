"""The bot check: clicks that no person made are stored and counted, but teach nothing."""

from __future__ import annotations

import re
from typing import Any

from vitrina.core.clock import MINUTE, Micros
from vitrina.core.event import CLICK

__all__ = ["CLICKS", "BotCheck", "is_crawler"]

CLICKS = frozenset({CLICK, "Product Clicked", "Email Link Clicked"})
"""Events that a person makes one by one."""

_CRAWLER = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|headless|phantomjs|selenium|curl/|wget/|python-requests|facebookexternalhit|lighthouse",
    re.IGNORECASE,
)
_SEEN = 4_096


def is_crawler(user_agent: str) -> bool:
    """True when a browser's name says that it is a program.

    >>> is_crawler("Mozilla/5.0 (compatible; Googlebot/2.1)"), is_crawler("Mozilla/5.0 (X11; Linux x86_64)")
    (True, False)
    """
    return _CRAWLER.search(user_agent) is not None


class BotCheck:
    """Remembers who clicked how often in the minute that runs.

    Args:
        clicks_per_minute: clicks of one person in a minute above which further ones are quarantined.
    """

    def __init__(self, clicks_per_minute: int = 20) -> None:
        self.clicks_per_minute = clicks_per_minute
        self._minute = 0
        self._clicks: dict[str, int] = {}
        self._agents: dict[str, bool] = {}

    def suspects(self, name: str, subject: str, context: dict[str, Any], now: Micros) -> bool:
        """Count this event; True when it should not teach.

        Args:
            name: name of the event.
            subject: whose it is.
            context: its context, of which `userAgent` is read.
            now: when it was received, microseconds UTC.
        """
        agent: object = context.get("userAgent")
        if isinstance(agent, str) and self._crawler(agent):
            return True
        if name not in CLICKS:
            return False
        minute = now // MINUTE
        if minute != self._minute:
            self._minute = minute
            self._clicks.clear()
        count = self._clicks.get(subject, 0) + 1
        self._clicks[subject] = count
        return count > self.clicks_per_minute

    def _crawler(self, agent: str) -> bool:
        known = self._agents.get(agent)
        if known is None:
            if len(self._agents) >= _SEEN:
                self._agents.clear()
            known = self._agents[agent] = is_crawler(agent[:512])
        return known
