"""People and their rights: profile, export, erasure, consents. `{id}` is any known identifier, a userId first."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from vitrina.console.threads import in_thread
from vitrina.core.clock import iso
from vitrina.core.consent import LawfulBasis, Purpose
from vitrina.service.access import caller_of
from vitrina.workspace import Workspace

__all__ = ["HANDLERS", "Consent", "ConsentBody", "ErasureStarted"]


class ConsentBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One answer about one purpose. It is appended, never overwritten, and counts from the next decision on."""

    granted: bool
    lawful_basis: LawfulBasis = LawfulBasis.CONSENT
    channel: str = ""
    source: str = "api"
    text_version: str = ""
    locale: str = ""
    at: str | None = None
    expires_at: str | None = None


class Consent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A consent record as it was stored."""

    id: str
    purpose: Purpose
    granted: bool
    lawful_basis: LawfulBasis
    channel: str
    source: str
    text_version: str
    locale: str
    at: str
    expires_at: str | None


class ErasureStarted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The erasure that will be done; ask for it at `/v1/erasures/{id}`."""

    erasure_id: str


@get("/v1/profiles/{identifier:str}", tags=["people"], summary="What is known about a person")
@in_thread
def get_profile(
    workspace: NamedDependency[Workspace],
    identifier: FromPath[str],
) -> dict[str, Any]:
    """Identifiers, traits, features, consents and the last decisions of one person.

    Raises:
        NotFoundError: nothing is known about this identifier.
    """
    return workspace.person(identifier)


@get("/v1/profiles/{identifier:str}/export", tags=["people"], summary="Everything that is stored")
@in_thread
def export_profile(
    request: Request[Any, Any, Any],
    workspace: NamedDependency[Workspace],
    identifier: FromPath[str],
) -> dict[str, Any]:
    """Every row about one person, table by table, for their right of access (GDPR art. 15 and 20)."""
    workspace.audit.record(caller_of(request).name, "profile.export")
    return workspace.export(identifier)


@delete("/v1/profiles/{identifier:str}", status_code=202, tags=["people"], summary="Erase a person")
@in_thread
def erase_profile(
    workspace: NamedDependency[Workspace],
    identifier: FromPath[str],
) -> ErasureStarted:
    """Erase a person from store, inbox, lake and logs; late events don't bring the person back."""
    return ErasureStarted(erasure_id=workspace.erase_soon(identifier))


@get("/v1/erasures/{erasure_id:str}", tags=["people"], summary="How far an erasure is")
@in_thread
def get_erasure(
    workspace: NamedDependency[Workspace],
    erasure_id: FromPath[str],
) -> dict[str, Any]:
    """The state of an erasure, and its receipt: rows removed by table.

    Raises:
        NotFoundError: there is no such erasure.
    """
    return workspace.erasure(erasure_id)


@put(
    "/v1/profiles/{identifier:str}/consents/{purpose:str}",
    tags=["people"],
    summary="Record an answer about a purpose",
)
@in_thread
def put_consent(
    workspace: NamedDependency[Workspace],
    identifier: FromPath[str],
    purpose: FromPath[Purpose],
    data: JSONBody[ConsentBody],
) -> Response[Consent]:
    """Append a consent record. The person may not be known yet."""
    record = workspace.put_consent(identifier, purpose, msgspec.to_builtins(data))
    return Response(
        Consent(
            id=record.id,
            purpose=record.purpose,
            granted=record.granted,
            lawful_basis=record.basis,
            channel=record.channel,
            source=record.source,
            text_version=record.text_version,
            locale=record.locale,
            at=iso(record.at),
            expires_at=None if record.expires_at is None else iso(record.expires_at),
        )
    )


HANDLERS = [get_profile, export_profile, erase_profile, get_erasure, put_consent]
