"""Run the faults in full, or a share of them: `python -m tests.loop.faults`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.harness import row, write
from tests.loop.faults import KINDS, Report
from tests.loop.served import ROOT

_HEAD = """# Faults

<!-- Written by `make faults`: run it, don't edit this page. -->

Each fault happens at random moments of a load that a shop would send, and the workspace goes on. Afterwards nothing
that was answered with 200 may be lost, nothing may be there twice, and everything that can be seen (leaves, links,
consents, stock, outcomes, decisions, sums) has to equal a clean fold of the same events in another order. While events
can't be stored, `/readyz` has to say 503 and why. `tests/loop/faults` does it; `make test-long` runs a tenth.

| fault | how often | events | decisions | refused, sent again | slowest, s | wrong | how |
|---|---:|---:|---:|---:|---:|---:|---|""".splitlines()


def _write(reports: list[Report], spent: float) -> None:
    rows: list[dict[str, Any]] = []
    for report in reports:
        name = report.kind.replace(",", "").replace(" ", "-")
        note = f"{report.points} points, {report.events} events, {report.decisions} decisions; {report.note}"
        note += f"; wrong: {'; '.join(report.wrong)[:500]}" if report.wrong else ""
        rows.append(row(name, f"wrong after: {report.kind}", [len(report.wrong)], "findings", target=0, note=note))
    slowest = next(report.slowest for report in reports if report.kind == "stop server")
    what = "slowest end of a server under load after SIGTERM"
    rows.append(row("stop-server-slowest", what, [slowest], "s", target=5.0, note="nothing that was answered is lost"))
    write("faults", rows, ["vitrina", "deltalake", "sqlalchemy", "psycopg"])
    lines = [*_HEAD]
    for r in reports:
        slowest = f"{r.slowest:g}" if r.slowest else "–"
        counts = f"{r.points} | {r.events:,} | {r.decisions:,} | {r.refused:,} | {slowest} | {len(r.wrong)}"
        lines.append(f"| {r.kind} | {counts} | {r.note} |")
    wrong = [f"- {report.kind}: {what}" for report in reports for what in report.wrong]
    lines += ["", *(["What was wrong:", "", *wrong, ""] if wrong else [])]
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lines += [f"{when}; {os.cpu_count()} cores, {spent / 60:.0f} minutes."]
    (ROOT / "docs" / "dev" / "faults.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run kinds in full, or a share of them; write the report after a full run."""
    names = {kind.__name__: kind for kind in KINDS}
    parser = argparse.ArgumentParser(description="Faults, many times over.")
    parser.add_argument("--only", choices=sorted(names), action="append", help="this kind only (no report is written)")
    parser.add_argument("--share", type=float, default=1.0, help="share of the full counts")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    began, reports = time.monotonic(), list[Report]()
    for kind in [names[name] for name in given.only] if given.only else KINDS:
        with tempfile.TemporaryDirectory(prefix="vitrina-faults-") as folder:
            at = time.monotonic()
            report = kind(Path(folder), max(1, round(KINDS[kind] * given.share)), given.seed)
        reports.append(report)
        sys.stdout.write(f"{time.monotonic() - at:6.0f} s  {msgspec.json.encode(report).decode()}\n")
        sys.stdout.flush()
    if not given.only and given.share == 1.0:
        _write(reports, time.monotonic() - began)
    return 1 if any(report.wrong for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
