"""The pages of the console, none of them part of the API's document."""

from __future__ import annotations

from litestar import Router

from vitrina.console.decisions import find, home, list_decisions, open_decision, open_decision_json
from vitrina.console.sign_in import open_sign_in, set_preferences, sign_in, sign_out

__all__ = ["HANDLERS"]

HANDLERS = [
    Router(
        path="/",
        route_handlers=[
            home,
            list_decisions,
            open_decision,
            open_decision_json,
            find,
            open_sign_in,
            sign_in,
            sign_out,
            set_preferences,
        ],
        include_in_schema=False,
    )
]
