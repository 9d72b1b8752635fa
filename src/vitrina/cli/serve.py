"""`vitrina serve`: the HTTP API and the console."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from vitrina.cli.output import HERE, Common

__all__ = ["serve"]


def serve(
    *,
    host: Annotated[str | None, Parameter(help="The address to listen on; default: the setting.")] = None,
    port: Annotated[int | None, Parameter(help="The port to listen on; default: the setting.")] = None,
    common: Common = HERE,
) -> None:
    """Serve the HTTP API and the console until told to stop; what was acknowledged is kept."""
    from vitrina.service import serve as serve_workspace

    serve_workspace(common.workspace, host=host, port=port)
