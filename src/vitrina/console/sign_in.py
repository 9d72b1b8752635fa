"""Coming in and going out, and the two switches that every page has: language and theme."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import URLEncodedBody
from litestar.response import Redirect

from vitrina.console.page import HEADERS, THEMES, Page, safe_path
from vitrina.console.session import SESSION_COOKIE, Attempts, Sessions
from vitrina.console.threads import in_thread
from vitrina.console.words import LANGUAGES
from vitrina.workspace import Workspace

__all__ = ["open_sign_in", "set_preferences", "sign_in", "sign_out"]

Form = URLEncodedBody[dict[str, str]]

_COMMAND = "vitrina -w {folder} users create you@example.com"


def _sign_in_page(page: Page, *, status: int = 200, error: str = "", email: str = "", back: str = "") -> Response[Any]:
    first = page.workspace.users.count() == 0
    return page.render(
        "sign_in.html",
        status=status,
        error=error,
        email=email,
        next=safe_path(back),
        first=first,
        first_command=_COMMAND.format(folder="DIR"),
    )


@get("/sign-in")
@in_thread
def open_sign_in(
    request: Request[Any, Any, Any], workspace: NamedDependency[Workspace], sessions: NamedDependency[Sessions]
) -> Response[Any]:
    """The form."""
    page = Page(request, workspace, sessions)
    back = request.query_params.get("next", "")
    if page.visitor() is not None:
        return Redirect(safe_path(back), status_code=303, headers=HEADERS)
    return _sign_in_page(page, back=back)


@post("/sign-in", status_code=200)
async def sign_in(
    request: Request[Any, Any, Any],
    workspace: NamedDependency[Workspace],
    sessions: NamedDependency[Sessions],
    attempts: NamedDependency[Attempts],
    data: Form,
) -> Response[Any]:
    """Check address and password; at most two at a time, because argon2id takes memory on purpose."""
    page = Page(request, workspace, sessions)
    email, back = data.get("email", "")[:320], data.get("next", "")
    if not page.is_our_form(data.get("form", "")):
        page.refuse("form.stale")
        return _sign_in_page(page, status=403, error=page.words.gettext("sign_in.stale"), email=email, back=back)
    keys = (f"mail {email.strip().lower()}", f"from {request.client.host if request.client else ''}")
    if not attempts.allowed(*keys):
        page.refuse("sign_in.too_many")
        error = page.words.gettext("sign_in.too_many", minutes=attempts.minutes)
        return _sign_in_page(page, status=429, error=error, email=email, back=back)
    async with _gate():
        user = await asyncio.to_thread(workspace.users.sign_in, email, data.get("password", "")[:1000])
    if user is None:
        attempts.failed(*keys)
        page.refuse("sign_in.wrong")
        return _sign_in_page(page, status=403, error=page.words.gettext("sign_in.wrong"), email=email, back=back)
    answer = Redirect(safe_path(back), status_code=303, headers=HEADERS)
    answer.set_cookie(page.cookie(SESSION_COOKIE, sessions.issue(user.id), strict=False))
    return answer


_gates: dict[int, asyncio.Semaphore] = {}


def _gate() -> asyncio.Semaphore:
    return _gates.setdefault(id(asyncio.get_running_loop()), asyncio.Semaphore(2))


@post("/sign-out", status_code=200)
async def sign_out(
    request: Request[Any, Any, Any],
    workspace: NamedDependency[Workspace],
    sessions: NamedDependency[Sessions],
    data: Form,
) -> Response[Any]:
    """Forget the session."""
    page = Page(request, workspace, sessions)
    if not page.is_our_form(data.get("form", "")):
        page.refuse("form.stale")
        return page.error(403, "403")
    answer = Redirect("/sign-in", status_code=303, headers=HEADERS)
    answer.set_cookie(Cookie(key=SESSION_COOKIE, value="", path="/", max_age=0, httponly=True))
    return answer


@post("/preferences", status_code=200)
async def set_preferences(
    request: Request[Any, Any, Any],
    workspace: NamedDependency[Workspace],
    sessions: NamedDependency[Sessions],
    data: Form,
) -> Response[Any]:
    """Change language or theme, for this browser, and go back."""
    page = Page(request, workspace, sessions)
    if not page.is_our_form(data.get("form", "")):
        page.refuse("form.stale")
        return page.error(403, "403")
    answer = Redirect(safe_path(data.get("next")), status_code=303, headers=HEADERS)
    if data.get("language") in LANGUAGES:
        answer.set_cookie(page.cookie("vitrina_language", data["language"], days=365, strict=False))
    theme = data.get("theme", "").replace("system", "") if "theme" in data else None
    if theme in THEMES:
        answer.set_cookie(page.cookie("vitrina_theme", theme, days=365, strict=False))
    return answer
