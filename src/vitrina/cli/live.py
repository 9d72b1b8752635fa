"""`vitrina doctor --live`: asks a running server how it is, and says in words what is late, full or unwell."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import msgspec

from vitrina.core.config import load
from vitrina.core.errors import MachineError, UserError

if TYPE_CHECKING:
    from vitrina.console.words import Words

__all__ = ["Finding", "Live", "ask_server", "exit_code", "language", "server_of"]

_PATIENCE_SECONDS = 10.0
_KEY = "VITRINA_METRICS_KEY"
_LEAST_FREE = 1 << 30
_FULL = 0.5
_LATE = {"fold": 10.0, "lake": 300.0, "learner": 300.0}
_OLD_BANK = 7_200.0

Samples = Mapping[str, list[tuple[dict[str, str], float]]]
"""Metric → its samples: labels and value."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was found.

    Attributes:
        code: stable, `area.what`.
        level: well | late | unwell.
        of: what it is about: a reader, a journal, a part; "" for the whole.
        found: what it is, in words.
        cure: what to do about it, or "".
    """

    code: str
    level: str
    of: str
    found: str
    cure: str


class Live(msgspec.Struct, frozen=True):
    """How a running server is. `ok` when nothing is late or unwell."""

    ok: bool
    url: str
    version: str
    findings: list[Finding]


def server_of(folder: Path) -> str:
    """Where the server of a workspace listens by its settings; the default where there is no workspace."""
    service = load(folder / "vitrina.toml")[0].service
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(service.host, service.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{service.port}"


def language(environ: Mapping[str, str] | None = None) -> str:
    """The language of the terminal: ru or en.

    >>> language({"LANG": "ru_RU.UTF-8"}), language({"LC_ALL": "C", "LANG": "ru_RU.UTF-8"}), language({})
    ('ru', 'en', 'en')
    """
    environ = os.environ if environ is None else environ
    said = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "ru" if said.lower().startswith("ru") else "en"


def exit_code(live: Live) -> int:
    """0 when all is well, 3 when something is late, full or kept from us, 4 when the server is unwell."""
    levels = {finding.level for finding in live.findings}
    return 4 if "unwell" in levels else 3 if "late" in levels else 0


def ask_server(url: str, spoken: str) -> Live:
    """Ask `/healthz`, `/readyz` and `/metrics` of the server at `url`; words in the language `spoken`.

    The key for `/metrics`, where one is needed, is taken from the variable VITRINA_METRICS_KEY.

    Raises:
        UserError: this is no address of a server.
        MachineError: nobody answers there.
    """
    from vitrina.console.words import words_for

    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise UserError("this is no address of a server.", code="live.url", where=url, cure="Write http://HOST:PORT.")
    words, base = words_for(spoken), url.rstrip("/")
    health = _json(*_get(f"{base}/healthz"))
    findings = [*_of_health(health, words), *_of_readiness(_json(*_get(f"{base}/readyz")), words)]
    key = os.environ.get(_KEY, "")
    status, body = _get(f"{base}/metrics", {"authorization": f"Bearer {key}"} if key else {})
    if status == 200:
        findings += _of_metrics(_samples(body.decode()), words)
    else:
        found = words.gettext("live.metrics", status=str(status))
        findings.append(
            Finding("metrics.refused", "late", "", found, words.gettext("live.metrics.cure", variable=_KEY))
        )
    if not findings:
        findings.append(Finding("well", "well", "", words.gettext("live.well"), ""))
    return Live(findings[0].level == "well", base, str(health.get("version", "")), findings)


def _get(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(Request(url, headers=dict(headers or {})), timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()
    except (URLError, OSError, http.client.HTTPException) as error:
        reason: object = getattr(error, "reason", error)
        raise MachineError(
            f"nobody answers: {reason}.",
            code="live.silent",
            where=url,
            cure="Start it (vitrina serve), or say where it is with --url.",
        ) from None


def _json(status: int, body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict) or status not in (200, 503):
        raise MachineError(
            f"what answers there is not Vitrina (status {status}).",
            code="live.stranger",
            cure="Say where the server is with --url.",
        )
    return cast("dict[str, Any]", found)


def _samples(text: str) -> Samples:
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def _of_health(health: Mapping[str, Any], words: Words) -> Iterator[Finding]:
    for thread in health.get("dead", []):
        found = words.gettext("live.thread", thread=str(thread))
        yield Finding("thread.dead", "unwell", str(thread), found, words.gettext("live.thread.cure"))


def _of_readiness(readiness: Mapping[str, Any], words: Words) -> Iterator[Finding]:
    for problem in readiness.get("problems", []):
        code = str(problem["code"])
        message = f"live.{code}" if words.has(f"live.{code}") else "live.unready"
        yield Finding(code, "unwell", "", words.gettext(message, code=code), words.gettext(f"{message}.cure"))


def _of_metrics(samples: Samples, words: Words) -> Iterator[Finding]:
    yield from _late(samples, words)
    yield from _full(samples, words)
    for labels, value in samples.get("vitrina_disk_free_bytes", []):
        if value < _LEAST_FREE:
            found = words.gettext("live.disk", free=f"{value / (1 << 20):.0f}")
            yield Finding("disk.low", "late", labels.get("worker", ""), found, words.gettext("live.disk.cure"))
    for labels, value in samples.get("vitrina_background_fault", []):
        if value:
            part = labels["part"]
            found = words.gettext("live.part", part=part)
            yield Finding("part.fault", "late", part, found, words.gettext("live.part.cure"))
    for labels, value in samples.get("vitrina_bank_age_seconds", []):
        if value > _OLD_BANK and _learns(samples):
            found = words.gettext("live.bank", placement=labels["placement"], hours=round(value / 3_600))
            yield Finding("bank.old", "late", labels["placement"], found, words.gettext("live.bank.cure"))


def _late(samples: Samples, words: Words) -> Iterator[Finding]:
    rows = {(labels["reader"], labels["journal"]): value for labels, value in samples.get("vitrina_lag_rows", [])}
    for labels, seconds in samples.get("vitrina_lag_seconds", []):
        reader, journal = labels["reader"], labels["journal"]
        if seconds > _LATE.get(reader, 300.0):
            waiting = int(rows.get((reader, journal), 0))
            found = words.gettext(f"live.lag.{reader}", rows=waiting, seconds=round(seconds), journal=journal)
            yield Finding(f"lag.{reader}", "late", journal, found, words.gettext(f"live.lag.{reader}.cure"))


def _full(samples: Samples, words: Words) -> Iterator[Finding]:
    limits = {labels["journal"]: value for labels, value in samples.get("vitrina_queue_limit_rows", [])}
    for labels, rows in samples.get("vitrina_queue_rows", []):
        journal = labels["journal"]
        most = limits.get(journal, 0.0)
        if most and rows > _FULL * most:
            found = words.gettext("live.queue", journal=journal, rows=int(rows), most=int(most))
            yield Finding("queue.full", "late", journal, found, words.gettext("live.queue.cure"))


def _learns(samples: Samples) -> bool:
    """Whether outcomes wait that nobody learned from: an old bank is only then a sign that something is wrong."""
    return any(labels["reader"] == "learner" and value > 0 for labels, value in samples.get("vitrina_lag_rows", []))
