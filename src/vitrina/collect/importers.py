"""Import a file of history: rows → lines → events, in two passes.

The first pass reads and checks every row and puts the good ones into a temporary SQLite file; nothing reaches the
store before the whole file has been read. The second pass takes the documents in order of time (a document's time is
that of its earliest line) and hands their events on in batches. The key of a row is the file's hash and its number, so
that an import may be stopped and repeated: what is there already is counted as a duplicate, and exact duplicate lines
inside the file stay.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from vitrina.collect.mapping import GROUPED, KINDS, MappingFile, compile_condition, condition_columns
from vitrina.collect.row_values import Line, RowReader, bad_row
from vitrina.collect.tabular import BadRow, file_hash, open_rows
from vitrina.core.clock import SECOND, Micros
from vitrina.core.event import Event, Product

__all__ = ["ImportReport", "Sink", "import_file"]

Sink = Callable[[Sequence[Event]], Sequence[bool]]
"""Takes events, returns for each whether it was new (False: it was there already)."""

Progress = Callable[[str, int, int | None], None]
"""Called with the stage (reading | storing), rows done and rows in all if known."""

_BATCH = 500
_SHOWN = 1_000


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an import. `read` = `stored` + `duplicates` + `refused`, all in rows of the file.

    `refusals` holds the first 1,000; `refusals_file` the path of all of them (NDJSON), or None.
    """

    file_hash: str
    read: int
    stored: int
    duplicates: int
    refused: int
    events: int
    documents: dict[str, int]
    refusals: tuple[BadRow, ...]
    refusals_file: str | None = None
    dry_run: bool = False


def import_file(
    path: Path,
    mapping: MappingFile,
    sink: Sink,
    now: Micros,
    *,
    refusals_file: Path | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    on_products: Callable[[dict[str, tuple[str, str]]], None] | None = None,
    erased: Callable[[str], bool] | None = None,
) -> ImportReport:
    """Import one file.

    Args:
        sink: stores events durably; not called in a dry run.
        refusals_file: where every refused row is written, as NDJSON, without what stands in its cells.
        erased: tells whether a leaf identifier (`u:…`) belongs to an erased person, whose rows are refused.
        on_products: receives product id → (name, category) of the file once it has been read.

    Raises:
        UserError: the file or its columns can't be read at all; nothing has been stored then.
    """
    digest = file_hash(path)
    with tempfile.TemporaryDirectory(prefix="vitrina-import-") as folder:
        spool = _Spool(Path(folder) / "lines.db")
        reader = _read(path, mapping, spool, now, progress)
        if on_products is not None and not dry_run:
            on_products(reader.products)
        outcome = _store(spool, mapping, digest, sink, now, dry_run, progress, erased)
        refused = sorted(spool.bad + outcome.bad, key=lambda bad: bad.row)
        spool.close()
    written = _write_refusals(refusals_file, refused) if refusals_file is not None and not dry_run else None
    return ImportReport(
        file_hash=digest, read=spool.read, stored=outcome.stored, duplicates=outcome.duplicates, refused=len(refused),
        events=outcome.events, documents=outcome.documents,
        refusals=tuple([bad_row(bad.row, bad.field, bad.reason) for bad in refused[:_SHOWN]]), refusals_file=written,
        dry_run=dry_run,
    )  # fmt: skip


class _Spool:
    """Good lines on disk, bad rows in memory."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(
            "pragma journal_mode=off; pragma synchronous=off;"
            " create table line(doc text, row integer, at integer, body blob)"
        )
        self._waiting: list[tuple[str, int, Micros, bytes]] = []
        self.bad: list[BadRow] = []
        self.read = 0

    def add(self, line: Line) -> None:
        self._waiting.append((line.document, line.row, line.at, msgspec.msgpack.encode(line)))
        if len(self._waiting) >= 10_000:
            self._flush()

    def _flush(self) -> None:
        self._db.execute("begin")
        self._db.executemany("insert into line values (?, ?, ?, ?)", self._waiting)
        self._db.execute("commit")
        self._waiting.clear()

    def documents(self) -> Iterator[list[Line]]:
        """Lines by document, documents in order of their earliest time."""
        self._flush()
        self._db.executescript(
            "create index by_doc on line(doc, row); create table first as"
            " select doc, min(at) as at, min(row) as row from line group by doc"
        )
        decode = msgspec.msgpack.Decoder(Line).decode
        rows = self._db.execute(
            "select line.doc, line.body from (select * from first order by at, row) f"
            " cross join line on line.doc = f.doc order by f.at, f.row, line.row"
        )
        for _, group in groupby(rows, key=itemgetter(0)):
            yield [decode(body) for _, body in group]

    def close(self) -> None:
        self._db.close()


def _read(path: Path, mapping: MappingFile, spool: _Spool, now: Micros, progress: Progress | None) -> RowReader:
    conditions = [kind.when for kind in mapping.kinds]
    named = set(mapping.columns.values()).union(*(condition_columns(c) for c in conditions if c is not None))
    rows = open_rows(path, sorted(named), mapping.source.separator, mapping.source.encoding)
    tests = [compile_condition(c) if c is not None else (lambda _row: True) for c in conditions]
    reader = RowReader(mapping, rows.columns, tests, now)
    for item in rows.rows:
        spool.read += 1
        if isinstance(item, BadRow):
            spool.bad.append(item)
        else:
            line = reader.read(*item)
            if isinstance(line, BadRow):
                spool.bad.append(line)
            else:
                spool.add(line)
        if progress is not None and spool.read % 10_000 == 0:
            progress("reading", spool.read, rows.total)
    return reader


class _Outcome:
    def __init__(self) -> None:
        self.stored = self.duplicates = self.events = 0
        self.documents: dict[str, int] = {}
        self.bad: list[BadRow] = []


def _store(
    spool: _Spool,
    mapping: MappingFile,
    digest: str,
    sink: Sink,
    now: Micros,
    dry_run: bool,
    progress: Progress | None,
    erased: Callable[[str], bool] | None,
) -> _Outcome:
    outcome = _Outcome()
    lag = round(mapping.source.available_after_seconds * SECOND)
    introduce = _Introductions(mapping)
    batch: list[tuple[Event, int]] = []

    def flush() -> None:
        fresh = [True] * len(batch) if dry_run else sink([event for event, _ in batch])
        for (_, lines), new in zip(batch, fresh, strict=True):
            outcome.stored += lines if new else 0
            outcome.duplicates += 0 if new else lines
        outcome.events += sum(fresh)
        batch.clear()
        if progress is not None:
            progress("storing", outcome.stored + outcome.duplicates, spool.read)

    for lines in spool.documents():
        kind, kept = _document(lines, mapping, outcome)
        if not kept:
            continue
        event = _event(kind, kept, digest, mapping, now, lag)
        if erased is not None and event.subject and erased(event.subject):
            outcome.bad += [bad_row(line.row, "user_id", "this person was erased") for line in kept]
            continue
        introduction = introduce(event, kept[0].traits)
        if introduction is not None:
            batch.append((introduction, 0))
        batch.append((event, len(kept)))
        outcome.documents[kind] = outcome.documents.get(kind, 0) + 1
        if len(batch) >= _BATCH:
            flush()
    flush()
    return outcome


class _Introductions:
    """An `identify` for a person's first document and whenever the file states something new about them."""

    def __init__(self, mapping: MappingFile) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        source = mapping.source
        self._consent: dict[str, Any] = {}
        if source.purposes:
            granted = {purpose.value: True for purpose in source.purposes}
            basis = str(source.lawful_basis)
            said = {"categoryPreferences": granted, "lawfulBasis": basis, "source": f"import:{source.name}"[:64]}
            self._consent = {"consent": said}

    def __call__(self, event: Event, traits: dict[str, Any]) -> Event | None:
        subject = event.subject
        known = self._known.get(subject)
        if not subject or known == traits or (known is None and not traits and not self._consent):
            return None
        self._known[subject] = traits
        return Event(
            message_id=f"{event.message_id}:person",
            type="identify",
            user_id=event.user_id,
            anonymous_id=event.anonymous_id,
            occurred_at=event.occurred_at,
            received_at=event.received_at,
            available_at=event.available_at,
            source=event.source,
            trusted=True,
            backfilled=True,
            traits=traits,
            context=self._consent if known is None else {},
        )


def _document(lines: list[Line], mapping: MappingFile, outcome: _Outcome) -> tuple[str, list[Line]]:
    """The kind of a document and the lines of it that can stand."""
    fits = -1
    for line in lines:
        fits &= line.fits
    place = next((i for i in range(len(mapping.kinds)) if fits >> i & 1), None)
    if place is None:
        outcome.bad += [
            bad_row(line.row, "", "no kind in the mapping fits this document: add a [[kinds]] entry for it")
            for line in lines
        ]
        return "", []
    kind = mapping.kinds[place].kind
    kept: list[Line] = []
    for line in lines:
        reason = _line_fault(kind, line, lines[0])
        if reason is None:
            kept.append(line)
        else:
            outcome.bad.append(bad_row(line.row, *reason))
    return kind, kept


def _line_fault(kind: str, line: Line, first: Line) -> tuple[str, str] | None:
    """(field, reason) for which a line can't be part of a document of this kind."""
    if kind in GROUPED and (line.product_id is None or line.quantity is None or line.unit_price is None):
        field = "product_id" if line.product_id is None else "quantity" if line.quantity is None else "unit_price"
        return field, f"is missing, and a line of kind {kind} needs it"
    if kind in GROUPED and line.unit_price is not None and line.unit_price < 0 and kind != "adjustment":
        return "unit_price", f"a negative price on a document of kind {kind}: only an adjustment may have one"
    if line.currency != first.currency:
        return "currency", f"{line.currency} in a document that began in {first.currency}: a document has one currency"
    if (line.user_id, line.anonymous_id) != (first.user_id, first.anonymous_id) and kind in GROUPED:
        return "user_id", "another person than on the first line of this document"
    return None


def _event(kind: str, lines: list[Line], digest: str, mapping: MappingFile, now: Micros, lag: int) -> Event:
    first = lines[0]
    at = min(line.at for line in lines)
    products = tuple(_product(kind, line) for line in lines) if kind in GROUPED else ()
    money = kind in {"order", "refund", "adjustment"}
    return Event(
        message_id=f"{digest}:{first.row}",
        type="identify" if kind == "identify" else "track",
        name=first.name or KINDS[kind],
        user_id=first.user_id,
        anonymous_id=first.anonymous_id,
        occurred_at=at,
        received_at=now,
        available_at=max(line.at for line in lines) + lag,  # the whole document, not only its first line
        source=mapping.source.name,
        trusted=True,
        backfilled=True,
        order_id=first.document if kind in GROUPED else first.order_id,
        product_id=None if products else first.product_id,
        category=first.category,
        decision_id=first.decision_id,
        offer_id=first.offer_id,
        value=_total(line.value for line in lines),
        revenue=_revenue(first, products, money=money),
        currency=first.currency or None,
        products=products,
        traits=first.traits,
    )


def _revenue(first: Line, products: Sequence[Product], *, money: bool) -> int | None:
    if not products:
        return first.revenue
    return sum(product.revenue for product in products) if money else None


def _total(values: Iterator[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _product(kind: str, line: Line) -> Product:
    assert line.product_id is not None and line.quantity is not None and line.unit_price is not None
    stock_move = kind == "stock_write_off" or (kind == "order" and (line.unit_price == 0 or line.quantity <= 0))
    return Product(
        product_id=line.product_id, quantity=line.quantity, unit_price=line.unit_price,
        revenue=0 if stock_move else line.revenue or 0, kind="stock_move" if stock_move else "sale", row=line.row,
    )  # fmt: skip


def _write_refusals(path: Path, refused: list[BadRow]) -> str | None:
    if not refused:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for bad in refused:
            stored = bad_row(bad.row, bad.field, bad.kept or bad.reason)
            file.write(msgspec.json.encode(stored) + b"\n")
    part.replace(path)
    return str(path)
