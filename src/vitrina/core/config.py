"""Settings: `vitrina.toml`, then `VITRINA_…` in the environment. An unknown name is refused with the nearest one."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec

from vitrina.core.errors import UserError

__all__ = ["Setting", "Settings", "load", "networks_of", "parse", "settings_table", "stated", "template"]


def _doc(text: str, **limits: Any) -> Any:
    return msgspec.Meta(description=text, **limits)


class Workspace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shop."""

    name: Annotated[str, _doc("Name of the shop, shown in the console.")] = "My shop"
    currency: Annotated[str, _doc("ISO 4217 code in which figures are shown.", pattern="^[A-Z]{3}$")] = "EUR"
    timezone: Annotated[str, _doc("IANA time zone of the console, for example Europe/Berlin.")] = "UTC"
    locale: Annotated[str, _doc("Language of the console before a person chooses: en or ru.", pattern="^(en|ru)$")] = (
        "en"
    )
    seed: Annotated[int, _doc("Seed of every random draw; 0 takes one from the machine.", ge=0)] = 0


class Storage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where data lie. Paths are relative to the workspace."""

    url: Annotated[
        str,
        _doc(
            "URL of the store; empty means store.db in the workspace. On PostgreSQL ?schema=NAME says where its tables "
            "are; {folder} stands for a name made from the workspace's folder."
        ),
    ] = ""
    lake: Annotated[str, _doc("Folder of the Delta lake.")] = "lake"
    drain_seconds: Annotated[float, _doc("Longest time between moves from the inbox to the lake.", gt=0)] = 20.0
    drain_rows: Annotated[int, _doc("Rows after which a move starts early.", ge=1)] = 100_000
    compact_files: Annotated[int, _doc("Small files in a partition after which it is compacted.", ge=2)] = 16
    wal_autocheckpoint: Annotated[int, _doc("SQLite pages between checkpoints.", ge=1)] = 1000


class Collect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes in."""

    plan: Annotated[
        str, _doc("File of your own tracking plan, beside the built-in events; relative to the workspace.")
    ] = ""
    plan_mode: Annotated[
        str,
        _doc(
            "What becomes of an event that contradicts the tracking plan: observe stores and counts it, quarantine "
            "stores it so that it neither teaches nor counts, block makes it a dead letter. The plan may say otherwise "
            "by event.",
            pattern="^(observe|quarantine|block)$",
        ),
    ] = "block"
    waiting_events: Annotated[int, _doc("Events waiting to be stored above which 429 is answered.", ge=1)] = 20_000
    waiting_bytes: Annotated[int, _doc("Bytes waiting to be stored above which 429 is answered.", ge=1)] = 16_000_000
    backlog_events: Annotated[int, _doc("Stored events waiting to be folded above which 429 is answered.", ge=1)] = (
        20_000
    )
    dedupe_days: Annotated[int, _doc("Days for which repeated message ids are recognised in the store.", ge=1)] = 7
    bot_clicks_per_minute: Annotated[
        int, _doc("Clicks in a minute above which a person's clicks stop teaching.", ge=1)
    ] = 20


class Decide(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How decisions are made."""

    draws: Annotated[int, _doc("Parameter draws in a bank (M).", ge=2)] = 64
    scale: Annotated[float, _doc("Multiplier v on the posterior standard deviation of the draws.", gt=0)] = 0.2
    forgetting: Annotated[float, _doc("Share of the prior variance added back per 1,000 outcomes (q).", ge=0)] = 0.002
    waiting_decisions: Annotated[int, _doc("Decisions waiting to be logged above which 503 is answered.", ge=1)] = 200
    candidates: Annotated[int, _doc("Offers above which a recommender supplies candidates.", ge=10)] = 500
    banks_days: Annotated[
        int, _doc("Days for which banks of draws are kept, so that chances can be worked out again.", ge=1)
    ] = 8
    expires_seconds: Annotated[int, _doc("How long a page may keep an answer.", ge=0)] = 300


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP service."""

    host: Annotated[str, _doc("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, _doc("Port to listen on.", ge=0, le=65535)] = 8400
    trusted_proxies: Annotated[
        tuple[str, ...],
        _doc(
            "Networks (CIDR) of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; in the environment "
            "separated by commas. Empty: the socket's address counts."
        ),
    ] = ()
    requests_per_address: Annotated[
        float,
        _doc("Requests a second from one address that brings no secret key; 0 sets no limit. More are 429.", ge=0),
    ] = 100.0
    requests_per_write_key: Annotated[
        float, _doc("Requests a second with one write key; 0 sets no limit. More are 429.", ge=0)
    ] = 10_000.0
    requests_per_secret_key: Annotated[
        float, _doc("Requests a second with one secret key; 0 sets no limit. More are 429.", ge=0)
    ] = 20_000.0
    burst_seconds: Annotated[float, _doc("Seconds' worth of requests that may come at once after a pause.", gt=0)] = (
        10.0
    )
    switch_interval: Annotated[
        float, _doc("Seconds a thread may hold the interpreter; 0 leaves Python's default.", ge=0)
    ] = 0.0
    log: Annotated[
        str, _doc("How the log is written to stderr: text, or json (one object a line).", pattern="^(text|json)$")
    ] = "text"
    slow_seconds: Annotated[float, _doc("Seconds above which a request is logged as slow; 0 logs none.", ge=0)] = 1.0
    metrics_from: Annotated[
        str,
        _doc(
            "Addresses and networks that may read /metrics without a key, separated by commas; a request that a proxy "
            "passed on always needs a key with the scope metrics."
        ),
    ] = "127.0.0.0/8, ::1"
    behind_seconds: Annotated[
        float, _doc("Seconds an event may wait to be folded before /readyz says that the service is behind.", gt=0)
    ] = 60.0
    stop_seconds: Annotated[
        float,
        _doc("Seconds between /readyz turning 503 and the end of listening when the server is told to stop.", ge=0),
    ] = 1.0
    traces: Annotated[
        str, _doc("Where OpenTelemetry traces go (OTLP over HTTP, such as http://127.0.0.1:4318); empty: nowhere.")
    ] = ""
    traces_share: Annotated[
        float, _doc("Share of requests that are traced when the caller doesn't say.", ge=0, le=1)
    ] = 0.1


class Privacy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Retention and rights."""

    adult_age: Annotated[int, _doc("Age from which a person may be profiled for advertising.", ge=0, le=30)] = 18
    events_days: Annotated[int, _doc("Days for which raw events are kept.", ge=1)] = 396
    decisions_days: Annotated[int, _doc("Days for which decisions are kept.", ge=1)] = 731


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting, by section of `vitrina.toml`."""

    workspace: Workspace = Workspace()
    storage: Storage = Storage()
    collect: Collect = Collect()
    decide: Decide = Decide()
    service: Service = Service()
    privacy: Privacy = Privacy()


class Setting(msgspec.Struct, frozen=True):
    """One effective setting: `section.name`, its value, where it came from (default, file, variable), its meaning."""

    name: str
    value: Any
    origin: str
    description: str


def _fields() -> Iterator[tuple[str, str, msgspec.inspect.Field]]:
    for section in msgspec.inspect.type_info(Settings).fields:  # pyright: ignore[reportAttributeAccessIssue]
        for field in section.type.fields:
            yield section.name, field.name, field


def _refuse_unknown(table: Mapping[str, Any], where: str) -> None:
    known = {(section, name) for section, name, _ in _fields()}
    sections = {section for section, _ in known}
    for section, body in table.items():
        if section not in sections or not isinstance(body, Mapping):
            _unknown(section, sorted(sections), where, "section")
        for name in body:
            if (section, name) not in known:
                _unknown(f"{section}.{name}", sorted(f"{s}.{n}" for s, n in known), where, "setting")


def _unknown(name: str, valid: list[str], where: str, kind: str) -> None:
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)
    raise UserError(
        f"there is no {kind} {name}.",
        code="config.unknown",
        where=where,
        cure=f"Did you mean {near[0]}?" if near else "",
    )


def load(path: Path, environ: Mapping[str, str] | None = None) -> tuple[Settings, dict[str, str]]:
    """Settings of the workspace and the origin of each (`section.name` → default | file | variable name).

    Raises:
        UserError: the file isn't TOML, names an unknown setting, or a value is out of range.
    """
    environ = os.environ if environ is None else environ
    return parse(path.read_bytes() if path.exists() else b"", str(path), environ)


def parse(text: bytes, where: str, environ: Mapping[str, str]) -> tuple[Settings, dict[str, str]]:
    """As `load`, of the bytes of a file that is called `where`."""
    try:
        table: dict[str, dict[str, Any]] = tomllib.loads(text.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"this is not TOML: {error}.", code="config.unreadable", where=where, cure="Correct that line."
        ) from None
    _refuse_unknown(table, where)
    origins = {f"{s}.{n}": "file" if n in table.get(s, {}) else "default" for s, n, _ in _fields()}
    for section, name, field in _fields():
        variable = f"VITRINA_{section}_{name}".upper()
        if variable in environ:
            value, several = environ[variable], isinstance(_kind(field), msgspec.inspect.VarTupleType)
            parts = [part.strip() for part in value.split(",") if part.strip()]
            table.setdefault(section, {})[name] = parts if several else value
            origins[f"{section}.{name}"] = variable
    try:
        settings = msgspec.convert(table, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error, where, origins) from None
    _check_networks(settings.service.trusted_proxies, where, origins)
    _check_metrics_from(settings.service.metrics_from, _place("service.metrics_from", where, origins))
    zone = settings.workspace.timezone
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise UserError(
            f"there is no time zone {zone}.",
            code="config.timezone",
            where=_place("workspace.timezone", where, origins),
            cure="Use an IANA name such as Europe/Berlin.",
        ) from None
    return settings, origins


def _check_networks(networks: tuple[str, ...], where: str, origins: Mapping[str, str]) -> None:
    for network in networks:
        try:
            ip_network(network, strict=False)
        except ValueError:
            raise UserError(
                f"{network} is no network.",
                code="config.network",
                where=_place("service.trusted_proxies", where, origins),
                cure="Write an address or a network such as 10.0.0.0/8.",
            ) from None


def _check_metrics_from(text: str, where: str) -> None:
    try:
        networks_of(text)
    except ValueError as error:
        raise UserError(
            f"service.metrics_from has a value that can't be: {error}.",
            code="config.networks",
            where=where,
            cure="Write addresses or networks such as 10.0.0.0/8, separated by commas.",
        ) from None


def networks_of(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks of a list such as `127.0.0.0/8, ::1`.

    Raises:
        ValueError: one of them is none.
    """
    return tuple([ip_network(part.strip()) for part in text.split(",") if part.strip()])


def _invalid(error: msgspec.ValidationError, where: str, origins: Mapping[str, str]) -> UserError:
    """The error of a value that can't be: `Expected … - at `$.section.name``, in words."""
    reason, _, path = str(error).partition(" - at `$.")
    name = path.rstrip("`")
    meaning = next((_description(field) for s, n, field in _fields() if f"{s}.{n}" == name), "")
    return UserError(
        f"{name or 'a setting'} has a value that can't be: {reason[:1].lower()}{reason[1:]}.",
        code="config.invalid",
        where=_place(name, where, origins),
        cure=f"It is: {meaning}" if meaning else "Correct the value.",
    )


def _place(name: str, where: str, origins: Mapping[str, str]) -> str:
    """Where a setting was given: the file, or the variable that overrides it."""
    origin = origins.get(name, "file")
    return where if origin in {"file", "default"} else origin


def settings_table(settings: Settings, origins: Mapping[str, str]) -> list[Setting]:
    """Every effective setting with its origin and meaning, in the order of the file."""
    return [
        Setting(f"{s}.{n}", _shown(getattr(getattr(settings, s), n)), origins[f"{s}.{n}"], _description(field))
        for s, n, field in _fields()
    ]


def _shown(value: Any) -> Any:
    """A value without the password of an address."""
    return re.sub(r"(://[^:/@\s]+):[^@/\s]*@", r"\1:***@", value) if isinstance(value, str) else value


def _kind(field: msgspec.inspect.Field) -> msgspec.inspect.Type:
    """The type of a field without what is said about it."""
    return field.type.type if isinstance(field.type, msgspec.inspect.Metadata) else field.type


def _description(field: msgspec.inspect.Field) -> str:
    kind = field.type
    if isinstance(kind, msgspec.inspect.Metadata):
        return str((kind.extra_json_schema or {}).get("description", ""))
    return ""


def stated(text: str, section: str, key: str, value: str) -> str:
    r"""The text of a `vitrina.toml` with one setting stated; every other line stays as it is.

    >>> print(stated("[storage]\n# url = ''\nlake = 'lake'", "storage", "url", "sqlite:///a.db"), end="")
    [storage]
    url = "sqlite:///a.db"
    lake = 'lake'
    """
    line = f"{key} = {msgspec.json.encode(value).decode()}"
    lines, inside, header, place = text.splitlines(), False, -1, -1
    for number, found in enumerate(lines):
        bare = found.strip()
        if bare.startswith("["):
            inside = bare.partition("]")[0].strip("[ ") == section
            header = number if inside else header
        elif inside and re.match(rf"#?\s*{re.escape(key)}\s*=", bare):
            place = number if place < 0 or not bare.startswith("#") else place
    if place >= 0:
        lines[place] = line
    elif header >= 0:
        lines.insert(header + 1, line)
    else:
        lines += ["", f"[{section}]", line]
    return "\n".join(lines) + "\n"


def template(name: str | None = None, currency: str | None = None, timezone: str | None = None) -> str:
    """The text of a commented `vitrina.toml` with every setting at its default."""
    lines = ["# Settings of this workspace. A line that begins with # shows the default.", ""]
    section_before = ""
    for section, key, field in _fields():
        if section != section_before:
            lines += ["", f"[{section}]"] if section_before else [f"[{section}]"]
            section_before = section
        stated = {"workspace.name": name, "workspace.currency": currency, "workspace.timezone": timezone}
        given = stated.get(f"{section}.{key}")
        value = msgspec.json.encode(field.default if given is None else given).decode()
        lines += [f"# {_description(field)}", f"{'' if given is not None else '# '}{key} = {value}"]
    return "\n".join(lines) + "\n"
