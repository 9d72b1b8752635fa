"""Rendering a page: whose it is, in which language and theme, with which headers."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from litestar import MediaType, Request, Response
from litestar.datastructures import Cookie
from litestar.response import Redirect
from markupsafe import Markup, escape

from vitrina.console.session import CSRF_COOKIE, SESSION_COOKIE, Sessions
from vitrina.console.words import LANGUAGES, Words, words_for
from vitrina.core.clock import Micros
from vitrina.workspace import Workspace

__all__ = ["HEADERS", "REFUSAL", "THEMES", "Page", "Visitor", "safe_path"]

_LOG = logging.getLogger("vitrina.console")
_HERE = Path(__file__).parent

THEMES = ("", "light", "dark")
"""What <html data-theme> may say; the first leaves it to the operating system."""

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Headers of every page: no script, no inline style, nothing from elsewhere, not in a frame, not kept."""

REFUSAL = "vitrina.refusal"
"""Where in the ASGI scope a page says why it refused, for the audit log."""

_VISITOR = "vitrina.visitor"

Visitor = Any
"""A user of `workspace.users`, with `id`, `email`, `role` and `changed_at`."""


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def safe_path(path: str | None) -> str:
    """A path on this site to go back to; anything else becomes the list of decisions.

    >>> safe_path("/decisions?served=holdout"), safe_path("//evil.example"), safe_path("https://evil.example")
    ('/decisions?served=holdout', '/decisions', '/decisions')
    """
    if not path or not path.startswith("/") or path[1:2] in ("/", "\\") or any(ord(sign) < 33 for sign in path):
        return "/decisions"
    return path


class Page:
    """One request to the console: its visitor, words and form code, and the ways to answer it."""

    def __init__(self, request: Request[Any, Any, Any], workspace: Workspace, sessions: Sessions) -> None:
        self.request = request
        self.workspace = workspace
        self.sessions = sessions
        settings = workspace.settings.workspace
        language = request.cookies.get("vitrina_language", "")
        self.words: Words = words_for(language if language in LANGUAGES else settings.locale, settings.timezone)
        theme = request.cookies.get("vitrina_theme", "")
        self.theme = theme if theme in THEMES else ""
        self._form = request.cookies.get(CSRF_COOKIE, "")
        self._new_form = "" if self._form else sessions.new_form()
        self._scope = cast("dict[str, Any]", request.scope)

    @property
    def now(self) -> Micros:
        """The workspace's time."""
        return self.workspace.clock.now()

    @property
    def here(self) -> str:
        """Path and query of this page."""
        query = self.request.url.query
        return f"{self.request.url.path}{'?' + query if query else ''}"

    def visitor(self) -> Visitor | None:
        """The user who is signed in; None when nobody is, or the user has changed since."""
        if _VISITOR not in self._scope:
            self._scope[_VISITOR] = self._find_visitor()
        return self._scope[_VISITOR]

    def _find_visitor(self) -> Visitor | None:
        session = self.sessions.read(self.request.cookies.get(SESSION_COOKIE, ""))
        if session is None:
            return None
        user = self.workspace.users.find(session[0])
        return user if user is not None and user.changed_at <= session[1] else None

    def is_our_form(self, code: str) -> bool:
        """Whether a posted form was made by us for this browser, and came from this site."""
        site = self.request.headers.get("sec-fetch-site", "same-origin")
        return site in ("same-origin", "none") and self.sessions.is_our_form(self._form, code)

    def refuse(self, code: str) -> None:
        """Say why this request is refused, for the audit log; `code` is stable, `area.cause`."""
        self._scope[REFUSAL] = code

    def render(
        self, template: str, *, status: int = 200, user: Visitor | None = None, **values: object
    ) -> Response[Any]:
        """A page from a template."""
        code = self.sessions.form_code(self._form or self._new_form)
        theme_index = THEMES.index(self.theme)
        words = self.words
        text = (
            _templates()
            .get_template(template)
            .render(
                _=words.gettext,
                ngettext=words.ngettext,
                language=words.language,
                theme=self.theme,
                theme_words=words.gettext(f"theme.{self.theme or 'system'}"),
                next_theme=THEMES[(theme_index + 1) % len(THEMES)] or "system",
                here=self.here if self.request.method == "GET" else "/decisions",
                csrf_field=Markup('<input type="hidden" name="form" value="{}">').format(escape(code)),
                workspace_name=self.workspace.settings.workspace.name,
                user=user,
                nav=self._nav() if user is not None else [],
                **values,
            )
        )
        cookies = [self.cookie(CSRF_COOKIE, self._new_form)] if self._new_form else []
        return Response(text, status_code=status, media_type=MediaType.HTML, headers=HEADERS, cookies=cookies)

    def error(self, status: int, message: str, **values: object) -> Response[Any]:
        """A page that says what is wrong and what to do; `message` names three messages: title, what, cure."""
        words = self.words

        def said(part: str) -> str:
            return words.gettext(f"error.{message}.{part}", **values)

        return self.render("error.html", status=status, title=said("title"), what=said("what"), cure=said("cure"))

    def to_sign_in(self) -> Redirect:
        """The way in, with the way back."""
        back = f"?next={quote(self.here, safe='')}" if self.here not in ("/", "/decisions") else ""
        return Redirect(f"/sign-in{back}", status_code=303, headers=HEADERS)

    def cookie(self, name: str, value: str, *, days: int = 0, strict: bool = True) -> Cookie:
        """A cookie of this site that scripts can't read; `days` 0 ends with the browser."""
        secure = self.request.url.scheme == "https"
        return Cookie(
            key=name,
            value=value,
            path="/",
            httponly=True,
            secure=secure,
            samesite="strict" if strict else "lax",
            max_age=days * 86_400 if days else None,
        )

    def _nav(self) -> list[dict[str, object]]:
        path = self.request.url.path
        return [
            {"href": "/decisions", "words": self.words.gettext("nav.decisions"), "here": path.startswith("/decisions")}
        ]
