"""Write docs/reference and vitrina.example.toml from the code.

`python scripts/reference.py` writes the pages; with `--check` it says which are out of date and ends with 1.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
EXAMPLE = ROOT / "vitrina.example.toml"
EVERYWHERE = {"*", "--workspace", "--json"}
"""What every command takes is said once, at the top of the page."""
NOTE = "<!-- Written by `make reference` from the code: change the code, not this page. -->\n"


def commands() -> str:
    """Every command of the program with its parameters."""
    from vitrina.cli import COMMANDS, GROUPS

    lines = [
        "# Commands\n",
        "`-w DIR` (`--workspace DIR`) and `--json` may stand before or after the command. Results go to stdout, "
        "progress to stderr. Exit codes: 0 done, 1 your mistake, 2 wrong usage, 3 refused for lack of permission or "
        "data, 4 the machine's fault (disk, port, database).\n",
    ]
    for name, command in COMMANDS.items():
        lines += _command((name,), command)
    for group, (_, members) in GROUPS.items():
        for name, command in members.items():
            lines += _command((group, name), command)
    return "\n".join(lines)


def _command(path: tuple[str, ...], command: Callable[..., None]) -> Iterator[str]:
    from vitrina.cli import app

    yield f"## `vitrina {' '.join(path)}`\n"
    yield f"{_summary(command)}\n"
    found = app
    for name in path:
        found = found[name]
    rows: list[str] = []
    for argument in found.assemble_argument_collection(parse_docstring=True):
        if set(argument.names) & EVERYWHERE:
            continue
        names = ", ".join(f"`{name}`" for name in argument.names)
        default = argument.field_info.default
        required = default is inspect.Parameter.empty and argument.required
        known = not required and default not in (inspect.Parameter.empty, None, "", False)
        shown = "required" if required else f"`{default}`" if known else ""
        rows.append(f"| {names} | {_cell(argument.parameter.help or '')} | {shown} |")
    if rows:
        yield "\n".join(["| parameter | meaning | default |", "|---|---|---|", *rows, ""])


def settings() -> str:
    """Every setting of vitrina.toml with its default and the variable that overrides it."""
    from vitrina.core.config import load, settings_table

    lines = [
        "# Settings\n",
        "A workspace reads `vitrina.toml`, then the environment. `vitrina doctor` shows each effective value and where "
        "it came from; an unknown name is refused with the nearest valid one.\n",
        "| setting | default | environment | meaning |",
        "|---|---|---|---|",
    ]
    for setting in settings_table(*load(ROOT / "no-such-vitrina.toml", {})):
        value = msgspec.json.encode(setting.value).decode()
        variable = f"VITRINA_{setting.name.replace('.', '_')}".upper()
        lines.append(f"| `{setting.name}` | `{value}` | `{variable}` | {_cell(setting.description)} |")
    return "\n".join([*lines, ""])


def events() -> str:
    """Every event of the built-in tracking plan with its properties."""
    from vitrina.collect import tracking_plan

    lines = [
        "# Events\n",
        "The names are those of the Segment specifications for e-commerce and e-mail. Other events and properties pass "
        "and are stored too. What becomes of an event with a property of another type than is said here is the setting "
        "`collect.plan_mode`: by default it becomes a dead letter with its reason. Your own events: "
        "[how to keep a tracking plan](../how-to/dead-letters.md#your-own-tracking-plan).\n",
    ]
    for event in tracking_plan.BUILT_IN:
        lines += [f"## `{event.event}`\n", f"{event.description} Version {event.version}.\n"]
        lines += ["| property | type | meaning |", "|---|---|---|"]
        lines += [f"| `{field.name}` | {field.kind} | {_cell(field.description)} |" for field in event.properties]
        lines.append("")
    return "\n".join(lines)


def mapping() -> str:
    """Every part of a mapping file."""
    from vitrina.collect import mapping as code

    lines = [
        "# Mapping files\n",
        "A mapping is TOML with `[source]`, `[columns]` and `[[kinds]]`. Rows with the same order id become one event; "
        "a group gets the first kind whose `when` holds for every one of its rows. An example: "
        "[how to import history](../how-to/import-history.md).\n",
        "## `[source]`\n",
        "| name | default | meaning |",
        "|---|---|---|",
    ]
    words = _attributes(code.SourceSettings)
    for field in msgspec.structs.fields(code.SourceSettings):
        default = "required" if field.required else f"`{msgspec.json.encode(field.default).decode()}`"
        lines.append(f"| `{field.name}` | {default} | {_cell(words[field.name])} |")
    lines += ["\n## `[columns]`\n", "Field = name of the column in the file.\n", "| field | meaning |", "|---|---|"]
    lines += [f"| `{field}` | {_cell(meaning)} |" for field, meaning in code.FIELDS.items()]
    lines += ["| `trait.NAME` | The trait NAME of the person. |"]
    lines += ["\n## `[[kinds]]`\n", "| kind | event | meaning |", "|---|---|---|"]
    for kind, event in code.KINDS.items():
        lines.append(f"| `{kind}` | {f'`{event}`' if event else ''} | {_cell(code.KIND_WORDS[kind])} |")
    lines += [
        "\n`when` names a `column` and one test, or combines conditions; left out, every row fits. An empty cell fails "
        "every test but `missing`. A document that no kind fits is refused.\n",
        "| name | holds when |",
        "|---|---|",
    ]
    lines += [f"| `{test}` | {_cell(meaning)} |" for test, meaning in _attributes(code.Condition).items()]
    return "\n".join(lines)


def _attributes(kind: type) -> dict[str, str]:
    """What a docstring says about each attribute."""
    _, _, said = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    lines = (line.strip().partition(": ") for line in said.splitlines() if line.strip())
    return {name: meaning[:1].upper() + meaning[1:] for name, _, meaning in lines}


def reasons() -> str:
    """Every reason code in both languages, and the number it has in the decision log."""
    from vitrina.core.reasons import REASONS, REFUSALS

    english, russian = _catalogue("en"), _catalogue("ru")
    lines = [
        "# Reason codes\n",
        "A decision answers with codes; with `explain` also with words. A code never changes its meaning. The number "
        "is the byte that stands for a refusal in the decision log.\n",
        "| code | number | in English | по-русски | meaning |",
        "|---|---|---|---|---|",
    ]
    for code, meaning in REASONS.items():
        number = str(REFUSALS.index(code)) if code in REFUSALS else ""
        key = f"reason.{code}"
        words = f"{_cell(english.get(key, ''))} | {_cell(russian.get(key, ''))}"
        lines.append(f"| `{code}` | {number} | {words} | {_cell(meaning)} |")
    return "\n".join([*lines, ""])


_ACCESS = {
    "en": {
        "title": "# Who may call what",
        "lead": "Every route, from the table that the server holds each request to before it reads the body. A route "
        "that isn't in the table doesn't open. OPTIONS says which methods there are, to anybody.",
        "scopes": "Scopes of keys",
        "scopes_head": "| scope | what it lets a key do | write key | secret key |",
        "routes": "Routes",
        "routes_head": "| method | route | nobody | write key | secret key with | console |",
        "write": "yes, within its bounds",
        "secret": "if given, or `*`",
        "yes": "yes",
        "near": "from `service.metrics_from`",
        "role": "signed in: {role} or above",
        "after": "A write key's bounds: public placements, for an `anonymousId` or a `userId` with its `userHash`, "
        "and what it reports of money counts nowhere. 401 says that there is no key or that it opens nothing "
        "(`key.missing`, `key.unknown`, `key.revoked`, `key.expired`), 403 that it may not do this "
        "(`key.scope` and others). A page of the console sends who isn't signed in to `/sign-in`. How keys "
        "are made, replaced and ended: [keys](../how-to/keys.md).",
    },
    "ru": {
        "title": "# Кому что открыто",
        "lead": "Все маршруты — из таблицы, по которой сервер проверяет каждый запрос до того, как прочтёт тело. "
        "Маршрут, которого в таблице нет, не открывается. OPTIONS называет методы кому угодно.",
        "scopes": "Области ключей",
        "scopes_head": "| область | что позволяет | ключ записи | секретный ключ |",
        "routes": "Маршруты",
        "routes_head": "| метод | маршрут | кто угодно | ключ записи | секретный ключ с областью | консоль |",
        "write": "да, в своих пределах",
        "secret": "если дана, или `*`",
        "yes": "да",
        "near": "с адресов `service.metrics_from`",
        "role": "вход: {role} и выше",
        "after": "Пределы ключа записи: публичные места показа, для `anonymousId` или `userId` с его `userHash`; "
        "деньги, о которых он сообщает, нигде не учитываются. 401 — ключа нет или он ничего не открывает "
        "(`key.missing`, `key.unknown`, `key.revoked`, `key.expired`), 403 — этого ему нельзя (`key.scope` и "
        "другие). Страница консоли отправляет того, кто не вошёл, на `/sign-in`. Как ключи создают, заменяют "
        "и отзывают: [ключи](../how-to/keys.ru.md).",
    },
}


def access(language: str = "en") -> str:
    """Every scope, and every route with who may call it."""
    from vitrina.core.access import SCOPES, WRITE_SCOPES
    from vitrina.service.access import ACCESS

    words, said = _ACCESS[language], _catalogue(language)
    lines = [
        f"{words['title']}\n",
        f"{words['lead']}\n",
        f"## {words['scopes']}\n",
        words["scopes_head"],
        "|---|---|---|---|",
    ]
    for scope in SCOPES:
        write = words["write"] if scope in WRITE_SCOPES else ""
        lines.append(f"| `{scope}` | {said[f'scope.{scope}']} | {write} | {words['secret']} |")
    lines += [f"\n## {words['routes']}\n", words["routes_head"], "|---|---|---|---|---|---|"]
    for row in ACCESS:
        cells = [row.method, f"`{row.path}`", "", "", "", ""]
        if row.scope:
            cells[3:5] = [words["yes"] if row.scope in WRITE_SCOPES else "", f"`{row.scope}`"]
            cells[2] = words["near"] if row.near else ""
        elif row.role:
            cells[5] = words["role"].format(role=said[f"role.{row.role}"])
        else:
            cells[2:] = [words["yes"]] * 4
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, f"\n{words['after']}", ""])


def access_ru() -> str:
    """The same in Russian."""
    return access("ru")


def metrics() -> str:
    """Every metric with its kind, labels and meaning."""
    from vitrina.service.metrics import METRICS

    lines = [
        "# Metrics\n",
        "`GET /metrics` answers in the text format of Prometheus, version 0.0.4. Who may read it, and what to do about "
        "what it says: [how to operate the service](../how-to/operate.md). Counters begin at 0 with the process. Every "
        "sample carries the label `worker`, which tells several processes apart. No label is about a person; "
        "placements and reasons have a bound, above which they are counted as `other`.\n",
        "| metric | kind | labels | meaning |",
        "|---|---|---|---|",
    ]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {_cell(metric.meaning)} |")
    return "\n".join([*lines, ""])


def python() -> str:
    """The public names of the package, and what a workspace can do."""
    import vitrina

    lines = ["# Python\n", "```python", "import vitrina", "```\n"]
    for name in vitrina.__all__:
        value = getattr(vitrina, name)
        if inspect.isclass(value):
            lines += [f"## `vitrina.{name}`\n", f"{_summary(value)}\n", *_members(value)]
        elif callable(value):
            lines += [f"## `vitrina.{name}{_signature(value)}`\n", f"{inspect.getdoc(value) or ''}\n"]
        else:
            lines += [f"## `vitrina.{name}`\n", "The version, as a string.\n"]
    return "\n".join(lines)


def _members(kind: type) -> Iterator[str]:
    """Methods and properties that a class adds of its own."""
    rows = [
        (f"{name}{_signature(member)}" if callable(member) else name, _summary(member))
        for name, member in vars(kind).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
    ]
    if rows:
        yield "| member | what it does |"
        yield "|---|---|"
        for name, words in rows:
            yield f"| `{_cell(name)}` | {_cell(words)} |"
        yield ""


def _signature(function: Callable[..., object]) -> str:
    names = [
        f"*{parameter.name}" if parameter.kind is parameter.VAR_POSITIONAL else parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]
    return f"({', '.join(names)})"


def _summary(thing: object) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _catalogue(language: str) -> dict[str, str]:
    """Message id → words of one language."""
    from babel.messages.pofile import read_po

    path = ROOT / "src" / "vitrina" / "console" / "locale" / language / "LC_MESSAGES" / "vitrina.po"
    if not path.exists():
        return {}
    with path.open("rb") as file:
        messages = [message for message in read_po(file) if message.id]
    return {_first(message.id): _last(message.string) for message in messages}


def _first(text: str | Sequence[str]) -> str:
    return text if isinstance(text, str) else text[0]


def _last(text: str | Sequence[str]) -> str:
    """Of several plural forms the last: the one with the number in it."""
    return text if isinstance(text, str) else text[-1]


PAGES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "events": events,
    "mapping": mapping,
    "reasons": reasons,
    "access": access,
    "access.ru": access_ru,
    "metrics": metrics,
    "python": python,
}


def page(name: str) -> str:
    """The text of a reference page as it should be."""
    text = PAGES[name]()
    head, _, body = text.partition("\n")
    return f"{head}\n\n{NOTE}{body}".rstrip() + "\n"


def files() -> Iterator[tuple[Path, str]]:
    """Every file that is written from the code, with the text it should have."""
    from vitrina.core.config import template

    for name in PAGES:
        yield REFERENCE / f"{name}.md", page(name)
    yield EXAMPLE, template()


def main(arguments: list[str]) -> int:
    """Write or check all files."""
    stale = 0
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for path, text in files():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is out of date: run `make reference`")
            stale = 1
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
