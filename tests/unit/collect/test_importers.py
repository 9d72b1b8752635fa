"""Importing files of history: every kind of bad file, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitrina.collect.importers import ImportReport, import_file
from vitrina.collect.mapping import load_mapping
from vitrina.core.clock import from_datetime
from vitrina.core.errors import UserError
from vitrina.core.event import Event

NOW = from_datetime(datetime(2026, 11, 1, tzinfo=UTC))

MAPPING = """
[source]
name = "till"
timezone = "Europe/Moscow"
currency = "RUB"
{more}
[columns]
order_id = "чек"
product_id = "товар"
quantity = "шт"
unit_price = "цена"
occurred_at = "время"
user_id = "покупатель"

[[kinds]]
kind = "refund"
when = {{ column = "чек", starts_with = "C" }}
[[kinds]]
kind = "adjustment"
when = {{ column = "чек", starts_with = "A" }}
[[kinds]]
kind = "stock_write_off"
when = {{ any = [{{ column = "цена", equals = 0 }}, {{ column = "шт", below = 0 }}] }}
[[kinds]]
kind = "order"
"""

HEADER = "чек,товар,шт,цена,время,покупатель"


class Shop:
    """A sink that keeps what it is given, as the journal does: the first of each message id."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}

    def __call__(self, events: Sequence[Event]) -> list[bool]:
        fresh = [event.message_id not in self.events for event in events]
        self.events.update((event.message_id, event) for event in reversed(events))
        return fresh

    def by_order(self, order_id: str) -> Event:
        return next(event for event in self.events.values() if event.order_id == order_id)


def write(
    folder: Path, rows: Sequence[str], *, header: str = HEADER, encoding: str = "utf-8", name: str = "sales.csv"
) -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return path


def mapping(folder: Path, more: str = "", text: str = MAPPING) -> Path:
    path = folder / "mapping.toml"
    path.write_text(text.format(more=more), encoding="utf-8")
    return path


def run(folder: Path, path: Path, shop: Shop, more: str = "", **options: bool) -> ImportReport:
    return import_file(
        path, load_mapping(mapping(folder, more)), shop, NOW, refusals_file=folder / "refused.ndjson", **options
    )


GOOD = [
    "1,чай,2,10.50,2026-05-01T12:00:00,анна",
    "1,чай,2,10.50,2026-05-01T12:00:00,анна",
    "1,чашка,1,0,2026-05-01T11:59:00,анна",
    "C2,чай,-1,10.50,2026-05-02T12:00:00,анна",
    "A3,долг,1,-100,2026-05-03T12:00:00,",
    "4,чай,-7,0,2026-05-03T13:00:00,",
]


def test_documents_become_events_of_their_kind(tmp_path: Path) -> None:
    shop = Shop()
    report = run(tmp_path, write(tmp_path, GOOD), shop)
    assert (report.read, report.stored, report.duplicates, report.refused) == (6, 6, 0, 0)
    assert report.documents == {"order": 1, "refund": 1, "adjustment": 1, "stock_write_off": 1}
    order = shop.by_order("1")
    assert order.name == "Order Completed"
    assert order.user_id == "анна"
    assert order.revenue == 4200, "two equal lines are two lines; a line at zero carries no revenue"
    assert [product.kind for product in order.products] == ["sale", "sale", "stock_move"]
    assert order.occurred_at == from_datetime(datetime.fromisoformat("2026-05-01T11:59:00+03:00"))
    last_line = from_datetime(datetime.fromisoformat("2026-05-01T12:00:00+03:00"))
    assert order.available_at == last_line, "nobody could use the whole document before its last line"
    assert order.trusted
    assert order.backfilled
    assert shop.by_order("C2").revenue == -1050
    assert shop.by_order("A3").revenue == -10000
    assert shop.by_order("4").revenue is None


def test_repeating_an_import_stores_nothing(tmp_path: Path) -> None:
    shop, path = Shop(), write(tmp_path, GOOD)
    run(tmp_path, path, shop)
    again = run(tmp_path, path, shop)
    assert (again.stored, again.duplicates, again.read) == (0, 6, 6)


def test_a_stopped_import_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = write(tmp_path, [f"{i},чай,1,5,2026-05-01T12:00:00,u{i}" for i in range(1200)])
    whole, shop = Shop(), Shop()
    run(tmp_path, path, whole)

    def breaks(events: Sequence[Event]) -> list[bool]:
        if shop.events:
            raise OSError("the disk is gone")
        return shop(events)

    with pytest.raises(OSError, match="disk"):
        import_file(path, load_mapping(mapping(tmp_path)), breaks, NOW)
    report = run(tmp_path, path, shop)
    assert report.duplicates == 500
    assert report.stored == 700
    assert shop.events == whole.events


def test_a_dry_run_stores_nothing_and_counts_the_same(tmp_path: Path) -> None:
    shop = Shop()
    report = run(tmp_path, write(tmp_path, GOOD), shop, dry_run=True)
    assert (report.stored, report.dry_run, shop.events) == (6, True, {})
    assert not (tmp_path / "refused.ndjson").exists()


BAD_ROWS = {
    "1,чай,два,10,2026-05-01T12:00:00,а": ("quantity", "not a number"),
    "1,чай,1.5,10,2026-05-01T12:00:00,а": ("quantity", "not a whole number"),
    "1,чай,1,дорого,2026-05-01T12:00:00,а": ("unit_price", "not an amount"),
    "1,чай,1,NaN,2026-05-01T12:00:00,а": ("unit_price", "no amount of money"),
    "1,чай,1,10,вчера,а": ("occurred_at", "not a time"),
    "1,чай,1,10,2062-05-01T12:00:00,а": ("occurred_at", "future"),
    ",чай,1,10,2026-05-01T12:00:00,а": ("order_id", "missing"),
    "1,чай,1,-10,2026-05-01T12:00:00,а": ("unit_price", "negative price"),
    "1,,1,10,2026-05-01T12:00:00,а": ("product_id", "missing"),
    "1,чай,1,10,2026-05-01T12:00:00": ("", "5 columns instead of 6"),
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_a_bad_row_is_named_and_its_neighbours_are_kept(tmp_path: Path, row: str) -> None:
    shop = Shop()
    report = run(tmp_path, write(tmp_path, [GOOD[0], row, GOOD[3]]), shop)
    field, reason = BAD_ROWS[row]
    assert (report.read, report.stored, report.refused) == (3, 2, 1)
    assert report.refusals[0].row == 2
    assert report.refusals[0].field == field
    assert reason in report.refusals[0].reason
    written = [json.loads(line) for line in (tmp_path / "refused.ndjson").read_text(encoding="utf-8").splitlines()]
    assert [bad["row"] for bad in written] == [2]


def test_two_currencies_or_people_in_one_document(tmp_path: Path) -> None:
    text = MAPPING.replace('user_id = "покупатель"', 'user_id = "покупатель"\ncurrency = "валюта"')
    rows = [
        "1,чай,1,10,2026-05-01T12:00:00,а,RUB",
        "1,чай,1,10,2026-05-01T12:00:00,а,USD",
        "1,чай,1,10,2026-05-01T12:00:00,б,RUB",
        "1,чай,1,10,2026-05-01T12:00:00,а,рубль",
    ]
    path, shop = write(tmp_path, rows, header=HEADER + ",валюта"), Shop()
    report = import_file(path, load_mapping(mapping(tmp_path, text=text)), shop, NOW)
    assert [(bad.row, bad.field) for bad in report.refusals] == [(2, "currency"), (3, "user_id"), (4, "currency")]
    assert shop.by_order("1").revenue == 1000


def test_byte_order_mark_and_other_encodings(tmp_path: Path) -> None:
    marked = write(tmp_path, GOOD, encoding="utf-8-sig")
    assert run(tmp_path, marked, Shop()).stored == 6
    cyrillic = write(tmp_path, GOOD, encoding="cp1251", name="old.csv")
    with pytest.raises(UserError, match="not utf-8") as caught:
        run(tmp_path, cyrillic, Shop())
    assert "cp1251" in caught.value.cure
    assert run(tmp_path, cyrillic, Shop(), more='encoding = "cp1251"').stored == 6


def test_wrong_separator_is_recognised(tmp_path: Path) -> None:
    path = write(tmp_path, [row.replace(",", ";") for row in GOOD], header=HEADER.replace(",", ";"))
    with pytest.raises(UserError, match="separated by ';'"):
        run(tmp_path, path, Shop())
    assert run(tmp_path, path, Shop(), more='separator = ";"').stored == 6


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, header=HEADER.replace("цена", "цены"))
    with pytest.raises(UserError, match="no column цена") as caught:
        run(tmp_path, path, Shop())
    assert "цены" in caught.value.cure


def test_half_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD[:2])
    path.write_bytes(path.read_bytes()[:-25])
    report = run(tmp_path, path, Shop())
    assert (report.stored, report.refused) == (1, 1)
    table = pa.table(
        {"чек": ["1"], "товар": ["чай"], "шт": [1], "цена": [1.5], "время": ["2026-05-01"], "покупатель": [7.0]}
    )
    parquet = tmp_path / "sales.parquet"
    pq.write_table(table, parquet)
    shop = Shop()
    assert run(tmp_path, parquet, shop).stored == 1
    assert shop.by_order("1").user_id == "7", "a whole float is an id without .0"
    parquet.write_bytes(parquet.read_bytes()[:-40])
    with pytest.raises(UserError, match="not a whole Parquet file"):
        run(tmp_path, parquet, Shop())


def test_ndjson(tmp_path: Path) -> None:
    rows = [dict(zip(HEADER.split(","), row.split(","), strict=True)) for row in GOOD[:2]]
    lines = [json.dumps(rows[0]), "[1]", json.dumps(rows[1])[:-9]]
    path = tmp_path / "sales.ndjson"
    path.write_text("\n".join(lines), encoding="utf-8")
    report = run(tmp_path, path, Shop())
    assert (report.read, report.stored, report.refused) == (3, 1, 2)


def test_large_documents_are_taken_whole(tmp_path: Path) -> None:
    shop = Shop()
    report = run(tmp_path, write(tmp_path, [f"1,товар-{i},1,5,2026-05-01T12:00:00,а" for i in range(20_000)]), shop)
    assert report.stored == 20_000
    assert len(shop.by_order("1").products) == 20_000


BAD_MAPPINGS = {
    'kind = "order"': ('kind = "ordr"', "Did you mean order?"),
    'order_id = "чек"': ('order = "чек"', "Did you mean order_id?"),
    'timezone = "Europe/Moscow"': ('timezone = "Moscow"', "Use a name such as"),
    'currency = "RUB"': ("", "Add currency"),
    'name = "till"': ('name = "till"\npurposes = ["email"]', "lawful_basis"),
    ", equals = 0": ("", "Use one of"),
}


@pytest.mark.parametrize("before", BAD_MAPPINGS)
def test_a_bad_mapping_says_what_would_be_right(tmp_path: Path, before: str) -> None:
    after, cure = BAD_MAPPINGS[before]
    text = MAPPING.replace(before, after)
    with pytest.raises(UserError) as caught:
        load_mapping(mapping(tmp_path, text=text))
    assert cure in str(caught.value)
    assert "mapping.toml" in str(caught.value)


def test_online_retail_to_the_penny(shared_data: Path, root: Path) -> None:
    shop = Shop()
    described = load_mapping(root / "examples" / "online_retail" / "mapping.toml")
    report = import_file(shared_data / "online_retail" / "online_retail.parquet", described, shop, NOW)
    assert (report.read, report.stored, report.refused) == (541_909, 541_909, 0)
    assert report.documents == {"order": 19_959, "refund": 3_836, "stock_write_off": 2_102, "adjustment": 3}
    assert sum(event.revenue or 0 for event in shop.events.values()) == 974_774_793
    assert len({event.user_id for event in shop.events.values() if event.user_id}) == 4_372
    assert len({product.product_id for event in shop.events.values() for product in event.products}) == 4_070
