"""Print the ten largest modules and functions: size is a smell, not a law."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"


def modules() -> list[tuple[int, str]]:
    """Lines and path of every module."""
    return [
        (len(path.read_text(encoding="utf-8").splitlines()), str(path.relative_to(SOURCE)))
        for path in SOURCE.rglob("*.py")
    ]


def functions() -> list[tuple[int, str]]:
    """Lines and place of every function."""
    return [
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}")
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def main() -> None:
    for title, sizes in (("modules", modules()), ("functions", functions())):
        print(f"Largest ten {title} (lines):")
        for lines, name in sorted(sizes, reverse=True)[:10]:
            print(f"  {lines:5}  {name}")


if __name__ == "__main__":
    main()
