"""`vitrina demo`: a simulated shop goes through the real loop, then the console stays up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vitrina.cli.output import Common, progress, show

__all__ = ["demo"]


def demo(
    directory: Path = Path("demo"),
    /,
    *,
    seed: Annotated[int, Parameter(help="The same seed gives the same shop and the same visitors.")] = 1,
    port: Annotated[int | None, Parameter(help="The port of the console afterwards; default: the setting.")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print the result as JSON.")] = False,
) -> None:
    """Run a simulated shop through the whole loop and say in money what the decisions were worth.

    With `DEMO_SERVE=0` in the environment it ends after the summary; otherwise the console stays up.

    Args:
        directory: the workspace to make; an earlier demo there is replaced.
    """
    from vitrina.gym.demo import run_demo

    with progress("Simulating visitors") as advance:
        result = run_demo(directory, seed=seed, progress=advance)
    show(result, Common(directory, as_json))
    if os.environ.get("DEMO_SERVE", "1") == "0":
        return
    from vitrina.service import serve

    serve(directory, port=port)
