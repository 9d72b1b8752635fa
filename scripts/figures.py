"""Copy measured figures from benchmarks/results into the blocks that READMEs keep for them.

A block stands between `<!-- figures:NAME -->` and `<!-- /figures -->`; its table is made from
`benchmarks/results/NAME.json`. A figure is never typed by hand.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = ("README.md", "README.ru.md")
BLOCK = re.compile(r"(<!-- figures:(?P<name>[a-z-]+) -->\n).*?(<!-- /figures -->)", re.DOTALL)
HEADS = {
    "README.md": ("what", "target", "measured", "interval", "n", "met"),
    "README.ru.md": ("что", "цель", "измерено", "интервал", "n", "достигнуто"),
}
WORDS = {"README.md": ("yes", "no"), "README.ru.md": ("да", "нет")}


def number(value: float | None) -> str:
    """A figure with at most three significant digits behind the point, thousands apart.

    >>> number(15432.7), number(0.01234), number(None)
    ('15,433', '0.0123', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(result: dict[str, Any], page: str) -> str:
    """The figures of one benchmark as a Markdown table."""
    yes, no = WORDS[page]
    lines = ["| " + " | ".join(HEADS[page]) + " |", "|---|---:|---:|---:|---:|---|"]
    for row in result["rows"]:
        bound = "≤" if row["better"] == "lower" else "≥"
        target = "–" if row["target"] is None else f"{bound} {number(row['target'])} {row['unit']}"
        span = "–" if row["low"] is None else f"{number(row['low'])} … {number(row['high'])}"
        met = yes if row["ok"] else f"{no}: {row['note']}" if row["note"] else no
        value = f"{number(row['value'])} {row['unit']}"
        lines.append(f"| {row['what']} | {target} | {value} | {span} | {row['n']} | {met} |")
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines += [
        "",
        f"{result['measured_at']}, {machine['cores']} × {machine['cpu']}, load {machine['load']}; {versions}.",
    ]
    return "\n".join(lines) + "\n"


def filled(text: str, page: str) -> str:
    """The page with every block filled whose results exist."""

    def fill(match: re.Match[str]) -> str:
        path = RESULTS / f"{match['name']}.json"
        if not path.exists():
            return match[0]
        return match[1] + table(json.loads(path.read_text(encoding="utf-8")), page) + match[3]

    return BLOCK.sub(fill, text)


def main(arguments: list[str]) -> int:
    """Fill the blocks, or with `--check` say which are out of date."""
    stale = 0
    for page in PAGES:
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        wanted = filled(text, page)
        if wanted == text:
            continue
        if "--check" in arguments:
            print(f"{page}: figures are out of date: run `make figures`")
            stale = 1
        else:
            path.write_text(wanted, encoding="utf-8")
            print(f"wrote {page}")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
