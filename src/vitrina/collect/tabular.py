"""Read CSV, Parquet and NDJSON files row by row, with the number of each row and the rows that can't be read.

Row numbers are those a person sees: the first data row is 1 (a CSV header isn't counted; line numbers of a file whose
fields hold line breaks differ).
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vitrina.core.errors import UserError

__all__ = ["BadRow", "Rows", "file_hash", "open_rows"]

_LARGEST_FIELD = 4_000_000


class BadRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row that was refused: its number, the field at fault ("" for the whole row) and the reason in words.

    `kept` is the reason as it may be stored, where the reason itself says what stands in the cell.
    """

    row: int
    field: str
    reason: str
    kept: str = ""


class Rows(msgspec.Struct, frozen=True):
    """An opened file: `columns`, `total` rows if known, an iterator of (row number, values in order) or `BadRow`."""

    columns: tuple[str, ...]
    total: int | None
    rows: Iterator[tuple[int, Sequence[Any]] | BadRow]


def file_hash(path: Path) -> str:
    """32 hexadecimal digits of BLAKE2b of the file's bytes."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def open_rows(path: Path, columns: Sequence[str], separator: str = ",", encoding: str = "utf-8") -> Rows:
    """Open a file by its ending: .csv, .tsv, .txt, .parquet, .pq, .ndjson, .jsonl.

    Args:
        columns: columns that must be there.
        separator, encoding: of CSV files.

    Raises:
        UserError: no such file, an unknown ending, unreadable content, or a column that isn't there.
    """
    if not path.is_file():
        raise UserError("there is no such file.", code="import.missing", where=str(path), cure="Check the path.")
    if path.stat().st_size == 0:
        raise UserError("the file is empty.", code="import.empty", where=str(path), cure="Export it again.")
    suffix = path.suffix.lower()
    if suffix in {".parquet", ".pq"}:
        return _parquet(path, columns)
    if suffix in {".ndjson", ".jsonl"}:
        return _ndjson(path, columns)
    if suffix in {".csv", ".tsv", ".txt"}:
        return _csv(path, columns, "\t" if suffix == ".tsv" and separator == "," else separator, encoding)
    raise UserError(
        f"files ending in {suffix or 'nothing'} aren't known.",
        code="import.format",
        where=str(path),
        cure="Use .csv, .parquet or .ndjson.",
    )


def _need(path: Path, have: Sequence[str], want: Sequence[str], cure: str = "") -> None:
    missing = [column for column in want if column not in have]
    if not missing:
        return
    import difflib

    near = difflib.get_close_matches(missing[0], have, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"The file has: {', '.join(have[:30])}."
    raise UserError(
        f"there is no column {missing[0]}.", code="import.column", where=str(path), cure=f"{hint} {cure}".strip()
    )


def _parquet(path: Path, columns: Sequence[str]) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"this is not a whole Parquet file ({str(error).splitlines()[0][:120]}).", code="import.unreadable",
            where=str(path), cure="It may be cut off: export or copy it again.",
        ) from None  # fmt: skip
    _need(path, file.schema_arrow.names, columns)

    def rows() -> Iterator[tuple[int, Sequence[Any]]]:
        number = 0
        for batch in file.iter_batches(batch_size=20_000, columns=list(columns)):
            lists = [batch.column(name).to_pylist() for name in columns]
            for values in zip(*lists, strict=True):
                number += 1
                yield number, values

    return Rows(tuple(columns), file.metadata.num_rows, rows())


def _ndjson(path: Path, columns: Sequence[str]) -> Rows:
    decode = msgspec.json.Decoder().decode

    def rows() -> Iterator[tuple[int, Sequence[Any]] | BadRow]:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    item = decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    yield BadRow(
                        number,
                        "",
                        f"this line is not JSON ({error}); correct it, or remove it if the file was cut off here",
                    )
                    continue
                if isinstance(item, dict):
                    yield number, [item.get(name) for name in columns]
                else:
                    yield BadRow(number, "", 'this line is not an object: write {"column": value, …}')

    return Rows(tuple(columns), None, rows())


def _csv(path: Path, columns: Sequence[str], separator: str, encoding: str) -> Rows:
    header = _csv_header(path, separator, encoding)
    if len(header) == 1:
        other = next((s for s in (";", "\t", "|", ",") if s != separator and s in header[0]), None)
        if other is not None:
            raise UserError(
                f"the columns are separated by {other!r}, not by {separator!r}.", code="import.separator",
                where=str(path),
                cure=f"Set separator = {msgspec.json.encode(other).decode()} in [source] of the mapping.",
            )  # fmt: skip
    _need(path, header, columns)
    return Rows(
        tuple(columns), None, _csv_rows(path, separator, encoding, len(header), [header.index(c) for c in columns])
    )


def _csv_header(path: Path, separator: str, encoding: str) -> list[str]:
    try:
        with path.open(encoding=_with_bom(encoding), newline="") as file:
            return next(csv.reader(io.StringIO(file.readline()), delimiter=separator), [])
    except UnicodeDecodeError:
        raise _not_encoded(path, encoding, 0) from None
    except LookupError:
        raise UserError(
            f"there is no encoding {encoding}.",
            code="import.encoding",
            where=str(path),
            cure='Use "utf-8" or "cp1251".',
        ) from None


def _with_bom(encoding: str) -> str:
    return "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding


def _not_encoded(path: Path, encoding: str, row: int) -> UserError:
    where = f"{path}, row {row}" if row else f"{path}, header"
    return UserError(
        f"this is not {encoding} text.", code="import.encoding", where=where,
        cure='Set the encoding in [source] of the mapping, for example encoding = "cp1251" for a Russian spreadsheet.',
    )  # fmt: skip


def _csv_rows(
    path: Path, separator: str, encoding: str, width: int, places: Sequence[int]
) -> Iterator[tuple[int, Sequence[Any]] | BadRow]:
    csv.field_size_limit(_LARGEST_FIELD)
    number = 0
    with path.open(encoding=_with_bom(encoding), newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        next(reader, None)
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except UnicodeDecodeError:
                raise _not_encoded(path, encoding, number + 1) from None
            except csv.Error as error:
                number += 1
                yield BadRow(number, "", f"this row can't be read ({error})")
                continue
            number += 1
            if not values:
                continue
            if len(values) != width:
                yield BadRow(
                    number,
                    "",
                    f"{len(values)} columns instead of {width}: check quotes and separators, or a file cut off here",
                )
                continue
            yield number, [values[place] for place in places]
