"""The Decisions page: a list with filters, each row opens to everything about one decision."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from vitrina.console.decision_view import detail_of, line_of
from vitrina.console.page import HEADERS, Page, Visitor
from vitrina.console.session import Sessions
from vitrina.console.threads import in_thread
from vitrina.console.words import LANGUAGES, words_for
from vitrina.core.errors import NotFoundError
from vitrina.core.explanation import DecisionFilter, DecisionPage, Explanation
from vitrina.workspace import Workspace

__all__ = ["find", "home", "list_decisions", "open_decision", "open_decision_json"]

ROWS = 20
"""Decisions on a page of the list."""

_OUTCOMES = {"conversion": "order", "click": "click", "reversal": "refund", "none": "none"}
_REFUSALS = (
    "consent",
    "age",
    "advertising",
    "audience",
    "exclude",
    "schedule",
    "stock",
    "cap",
    "offer",
    "creative",
    "currency",
)
_FILTERS = ("placement", "outcome", "refused", "served", "since", "person", "offer")

_STEPS = (
    ("empty.key", "vitrina keys create --kind secret\nexport KEY=vs_…"),
    (
        "empty.catalogue",
        'put() { curl -X PUT -u "$KEY:" -H "content-type: application/json" "{base}/v1/$1" -d "$2"; }\n'
        """put placements/home '{"name": "Home", "slots": 1}'\n"""
        """put offers/tea '{"name": "Green tea", "price": {"amount": "9.50", "currency": "{currency}"}}'\n"""
        """put creatives/tea-web '{"offerId": "tea", "status": "approved", "content": {"title": "Green tea"}}'""",
    ),
    (
        "empty.ask",
        """curl -u "$KEY:" "{base}/v1/decide" -d '{"placement": "home", "anonymousId": "visitor-1"}'""",
    ),
)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """The address of a list as typed: `filters` are its fields, `address` these and the place in the list."""

    filters: dict[str, str]
    address: dict[str, str]
    wanted: DecisionFilter
    since_error: str = ""


def _read_query(page: Page) -> Query:
    params = page.request.query_params
    given = {name: params.get(name, "").strip()[:200] for name in _FILTERS}
    filters = {name: value for name, value in given.items() if value}
    since, error = None, ""
    if "since" in filters:
        since = page.words.formats.parse_date(filters["since"])
        if since is None:
            example = page.words.formats.date(page.now)
            error = page.words.gettext("filters.since_error", text=filters["since"], example=example)
    wanted = DecisionFilter(
        placement=filters.get("placement", ""),
        outcome=filters.get("outcome", "") if filters.get("outcome") in _OUTCOMES else "",
        refused=filters.get("refused", ""),
        served=filters.get("served", "") if filters.get("served") in ("policy", "holdout") else "",
        since=since,
        subject=filters.get("person", ""),
        offer=filters.get("offer", ""),
        before=params.get("before", "")[:40],
        after=params.get("after", "")[:40],
    )
    place = {name: value for name, value in (("before", wanted.before), ("after", wanted.after)) if value}
    return Query(filters=filters, address=filters | place, wanted=wanted, since_error=error)


def _option(value: str, words: str, chosen: str) -> dict[str, object]:
    return {"value": value, "words": words, "chosen": value == chosen}


def _fields(page: Page, query: Query) -> list[dict[str, object]]:
    words, wanted = page.words, query.wanted

    def field(name: str, everything: str, chosen: str, choices: list[tuple[str, str]]) -> dict[str, object]:
        options = [_option("", words.gettext(f"filters.{everything}"), chosen)]
        return {
            "name": name,
            "label": words.gettext(f"filters.{name}"),
            "options": options + [_option(value, text, chosen) for value, text in choices],
        }

    placements = [(p.id, p.name or p.id) for p in page.workspace.catalogue.placements()]
    outcomes = [(value, words.gettext(f"filters.outcome_{name}")) for value, name in _OUTCOMES.items()]
    refusals = [(name, words.gettext(f"filters.refused_{name}")) for name in _REFUSALS]
    served = [(name, words.gettext(f"filters.served_{name}")) for name in ("policy", "holdout")]
    return [
        field("placement", "placement_all", wanted.placement, placements),
        field("outcome", "outcome_any", wanted.outcome, outcomes),
        field("refused", "refused_any", wanted.refused, refusals),
        field("served", "served_any", wanted.served, served),
    ]


def _summary(page: Page, query: Query, found: DecisionPage) -> str:
    words, zone = page.words, page.words.formats.zone
    if found.total is None:
        return words.gettext("decisions.uncounted", zone=zone)
    message = "decisions.matching" if query.filters else "decisions.count"
    if not found.total and not query.filters:
        return words.gettext("decisions.waiting", zone=zone)
    return words.ngettext(message, message, found.total, zone=zone)


def _pager(page: Page, query: Query, found: DecisionPage) -> dict[str, str]:
    def to(name: str, decision: str) -> str:
        return f"/decisions?{urlencode({**query.filters, name: decision})}"

    newer = to("after", found.rows[0].id) if found.newer and found.rows else ""
    older = to("before", found.rows[-1].id) if found.older and found.rows else ""
    shown = len(found.rows)
    if found.total is None:
        return {"newer": newer, "older": older, "pager": page.words.gettext("pager.shown_uncounted", shown=shown)}
    return {"newer": newer, "older": older, "pager": page.words.gettext("pager.shown", shown=shown, total=found.total)}


def _steps(page: Page) -> list[dict[str, str]]:
    base = str(page.request.base_url).rstrip("/")
    currency = page.workspace.settings.workspace.currency
    return [
        {"words": page.words.gettext(message), "code": code.replace("{base}", base).replace("{currency}", currency)}
        for message, code in _STEPS
    ]


def _said(page: Page, explanation: Explanation | None, query: Query) -> dict[str, Any]:
    """The opened decision, and in which language the person's own answer is shown."""
    if explanation is None:
        return {"detail": None}
    asked = page.request.query_params.get("say", "")
    language = asked if asked in LANGUAGES else page.words.language
    other = LANGUAGES[1 - LANGUAGES.index(language)]
    address = urlencode({**query.address, "say": other})
    return {
        "detail": detail_of(explanation, page.words, words_for(language, page.words.formats.zone)),
        "said_language": language,
        "other_language": other,
        "said_href": f"/decisions/{explanation.row.id}?{address}#h-why",
        "half": page.words.formats.decimal(0.5),
    }


def _render(page: Page, user: Visitor, explanation: Explanation | None = None) -> Response[Any]:
    query = _read_query(page)
    found = page.workspace.recent_decisions(query.wanted, ROWS)
    here = explanation.row.id if explanation is not None else ""
    nothing_yet = not found.rows and not query.address
    return page.render(
        "decisions.html",
        user=user,
        summary=_summary(page, query, found),
        simulated=page.workspace.simulated,
        nothing_yet=nothing_yet,
        steps=_steps(page) if nothing_yet else [],
        fields=_fields(page, query),
        since=query.filters.get("since", ""),
        since_hint=page.words.formats.date(page.now),
        since_error=query.since_error,
        person=query.filters.get("person", ""),
        offer=query.filters.get("offer", ""),
        filtered=bool(query.filters),
        lines=[line_of(row, page.words, page.now, here, query.address) for row in found.rows],
        **_pager(page, query, found),
        **_said(page, explanation, query),
    )


@get("/", sync_to_thread=False)
def home() -> Redirect:
    """The first page is the list of decisions."""
    return Redirect("/decisions", status_code=303, headers=HEADERS)


@get("/decisions")
@in_thread
def list_decisions(
    request: Request[Any, Any, Any], workspace: NamedDependency[Workspace], sessions: NamedDependency[Sessions]
) -> Response[Any]:
    """The list."""
    page = Page(request, workspace, sessions)
    return _render(page, page.visitor())


@get("/decisions/{decision_id:str}")
@in_thread
def open_decision(
    request: Request[Any, Any, Any],
    workspace: NamedDependency[Workspace],
    sessions: NamedDependency[Sessions],
    decision_id: FromPath[str],
) -> Response[Any]:
    """The list with one decision opened."""
    page = Page(request, workspace, sessions)
    try:
        explanation = workspace.explain(decision_id)
    except NotFoundError:
        return page.error(404, "decision", id=decision_id[:60])
    return _render(page, page.visitor(), explanation)


@get("/decisions/{decision_id:str}/json")
@in_thread
def open_decision_json(
    request: Request[Any, Any, Any],
    workspace: NamedDependency[Workspace],
    sessions: NamedDependency[Sessions],
    decision_id: FromPath[str],
) -> Response[Any]:
    """The same decision for programs."""
    page = Page(request, workspace, sessions)
    try:
        explanation = workspace.explain(decision_id)
    except NotFoundError:
        return page.error(404, "decision", id=decision_id[:60])
    body = msgspec.json.format(msgspec.json.encode(explanation), indent=2)
    return Response(body, media_type="application/json", headers=HEADERS)


@get("/find")
@in_thread
def find(request: Request[Any, Any, Any], workspace: NamedDependency[Workspace]) -> Response[Any]:
    """Go to what was typed: a decision, an offer, else a person."""
    typed = request.query_params.get("q", "").strip()[:200]
    return Redirect(_place_of(typed, workspace), status_code=303, headers=HEADERS)


def _place_of(typed: str, workspace: Workspace) -> str:
    if not typed:
        return "/decisions"
    if typed.startswith("d_"):
        return f"/decisions/{quote(typed, safe='')}#detail"
    by_offer = DecisionFilter(offer=typed)
    kind = "offer" if workspace.recent_decisions(by_offer, 1).rows else "person"
    return f"/decisions?{urlencode({kind: typed})}"
