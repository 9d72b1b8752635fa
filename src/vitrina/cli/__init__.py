"""The command line: one module a command group; what a command needs is loaded when it runs.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 the user's mistake, 2 wrong usage, 3 refused
for lack of permission or data, 4 the machine's fault.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from cyclopts import App, CycloptsError

import vitrina
from vitrina.cli import audit, backups, data, dead_letters, demo, keys, loop, plan, project, serve, users
from vitrina.cli.failure import report

__all__ = ["app", "hoist", "main", "run"]

COMMANDS: dict[str, Callable[..., None]] = {
    "init": project.init,
    "doctor": project.doctor,
    "summary": project.summary,
    "import": data.import_file,
    "erase": data.erase,
    "decide": loop.decide,
    "replay": loop.replay,
    "read-out": loop.read_out,
    "migrate": data.migrate,
    "backup": backups.backup,
    "restore": backups.restore,
    "serve": serve.serve,
    "demo": demo.demo,
}
"""Each command and the function that runs it, in the order in which a newcomer meets them."""

GROUPS: dict[str, tuple[str, dict[str, Callable[..., None]]]] = {
    "keys": (
        "Keys that programs sign in with.",
        {
            "create": keys.create,
            "list": keys.list_keys,
            "rotate": keys.rotate,
            "revoke": keys.revoke,
            "restore": keys.restore,
            "identity": keys.identity,
            "rotate-identity": keys.rotate_identity,
        },
    ),
    "dead-letters": (
        "Calls that were refused: look, correct, replay, put away.",
        {
            "list": dead_letters.list_letters,
            "show": dead_letters.show_letter,
            "replay": dead_letters.replay,
            "discard": dead_letters.discard,
            "restore": dead_letters.restore,
        },
    ),
    "plan": (
        "The tracking plan, and how events contradict it.",
        {"show": plan.show_plan, "check": plan.check_plan, "violations": plan.violations},
    ),
    "erasures": (
        "The ledger of erased people, as hashes: what a restored backup is cleared of.",
        {"export": backups.export_erasures, "apply": backups.apply_erasures},
    ),
    "users": (
        "People who sign in to the console.",
        {"create": users.create, "list": users.list_users},
    ),
    "audit": (
        "What was done, what was refused, and whether the record is whole.",
        {"list": audit.list_entries, "verify": audit.verify},
    ),
}
"""Commands that come in groups: `vitrina keys create`."""


def _build() -> App:
    """The command tree."""
    root = App(
        name="vitrina",
        help="Personalised marketing that decides, learns and proves what it was worth.",
        help_format="plaintext",
        version=vitrina.__version__,
        exit_on_error=False,
        result_action="return_none",
    )
    for order, (name, command) in enumerate(COMMANDS.items()):
        root.command(command, name=name, sort_key=order)
    for name, (words, commands) in GROUPS.items():
        group = App(name=name, help=words, sort_key=len(COMMANDS))
        for command_name, command in commands.items():
            group.command(command, name=command_name)
        root.command(group)
    return root


app = _build()


def hoist(arguments: Sequence[str]) -> list[str]:
    """Move `-w DIR` and `--json` from before the command to behind it, so that both places mean the same.

    >>> hoist(["-w", "shop", "--json", "decide", "--user", "7"])
    ['decide', '--user', '7', '-w', 'shop', '--json']
    """
    rest, moved = list(arguments), list[str]()
    while rest:
        if rest[0] in {"-w", "--workspace"} and len(rest) > 1:
            moved += rest[:2]
            rest = rest[2:]
        elif rest[0] == "--json" or rest[0].startswith("--workspace="):
            moved.append(rest.pop(0))
        else:
            break
    if not rest:
        return []
    end = rest.index("--") if "--" in rest else len(rest)
    return rest[:end] + moved + rest[end:]


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: the words after `vitrina`.

    Returns:
        The exit code.
    """
    try:
        app(hoist(arguments), exit_on_error=False)
    except CycloptsError:
        return 2
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        code = report(error)
        if code is None:
            raise
        return code
    return 0


def _one_thread_a_matrix() -> None:
    """Keep linear algebra on one thread unless told otherwise: our matrices are small, and waking threads costs."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def main() -> None:
    """The `vitrina` program."""
    _one_thread_a_matrix()
    sys.exit(run(sys.argv[1:]))
