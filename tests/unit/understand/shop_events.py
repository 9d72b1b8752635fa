"""Generated shop events, and the same events as a table of the lake."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb
import ibis
import msgspec
import pyarrow as pa
from hypothesis import strategies as st

from vitrina.collect.lake_events import to_arrow
from vitrina.core.clock import DAY, HOUR, MINUTE, SECOND
from vitrina.core.event import CLICK, ORDER, REFUND, VIEW, Event, Product
from vitrina.core.ids import hash16
from vitrina.storage.journal import CommittedRow

START = 20_000 * DAY  # 2024-10-04, midnight UTC
SPAN = 120

_moments = st.builds(
    lambda day, part: START + day * DAY + part,
    st.one_of(st.integers(0, SPAN), st.sampled_from([0, 6, 7, 29, 30, 31, 89, 90, SPAN])),
    st.one_of(
        st.sampled_from([0, 1, DAY - 1, 12 * HOUR, 12 * HOUR + 30 * MINUTE, 12 * HOUR + 30 * MINUTE + 1]),
        st.integers(0, DAY - 1),
        st.integers(0, 40).map(lambda n: 10 * HOUR + n * 5 * MINUTE),
    ),
)
_lags = st.sampled_from([0, 0, 0, 1, SECOND, 3 * HOUR, 2 * DAY, 40 * DAY, -1, -5 * HOUR])
_texts = st.sampled_from([None, "", "tea", "чай", "Z", "zz", "\U0001f375"])
_properties = st.sampled_from(
    [
        {},
        {},
        {"discount": 0},
        {"discount": 2.5},
        {"discount": 7},
        {"discount": "3"},
        {"discount": True},
        {"coupon": ""},
        {"discount": None},
        {"coupon": "TEA"},
        {"coupon": None},
        {"discount": -1, "coupon": 5},
    ]
)
_lines = st.lists(
    st.builds(
        lambda product, kind: Product(product, 1, 10_000, 100, kind),
        st.sampled_from(["p1", "p2", "p3", ""]),
        st.sampled_from(["sale", "sale", "stock_move"]),
    ),
    max_size=4,
).map(tuple)
_names = st.sampled_from([VIEW] * 5 + [ORDER] * 4 + [REFUND, CLICK, "Email Opened", "Product Added", "Something Else"])
_kinds = st.sampled_from(["track"] * 12 + ["page", "screen", "identify"])


@st.composite
def events(draw: st.DrawFn, subjects: tuple[str, ...] = ("u:1",), most: int = 40) -> list[Event]:
    """A list of events with message ids of their own, in no particular order of time."""
    made: list[Event] = []
    for i in range(draw(st.integers(0, most))):
        subject, kind, occurred = draw(st.sampled_from(subjects)), draw(_kinds), draw(_moments)
        made.append(
            Event(
                message_id=f"m{i}",
                type=kind,
                name=draw(_names) if kind == "track" else draw(st.sampled_from(["", VIEW])),
                user_id=subject[2:] if subject.startswith("u:") else None,
                anonymous_id=subject[2:] if subject.startswith("a:") else None,
                occurred_at=occurred,
                received_at=occurred,
                available_at=occurred + draw(_lags),
                trusted=draw(st.booleans()),
                revenue=draw(st.one_of(st.none(), st.integers(-5_000, 90_000), st.just(10**15), st.just(-(10**15)))),
                value=draw(st.one_of(st.none(), st.integers(-500, 9_000))),
                product_id=draw(_texts),
                category=draw(_texts),
                products=draw(_lines) if kind == "track" else (),
                properties=draw(_properties),
            )
        )
    return made


def lake(events: Iterable[Event]) -> Any:
    """The events as the lake's Arrow table."""
    return to_arrow(
        [
            CommittedRow(i, hash16(e.message_id), e.received_at, e.subject, msgspec.json.encode(e))
            for i, e in enumerate(events)
        ]
    )


class Duck:
    """An Ibis backend on DuckDB in another time zone than UTC, so that nothing may depend on it."""

    def __init__(self) -> None:
        self.backend = ibis.duckdb.from_connection(duckdb.connect())
        self.backend.raw_sql("set timezone = 'Asia/Vladivostok'; set threads = 1")

    def table(self, name: str, arrow: Any) -> Any:
        """A view over an Arrow table."""
        self.backend.con.register(name, arrow)
        return self.backend.table(name)

    def rows(self, expression: Any) -> dict[str, dict[str, Any]]:
        """The result, by `profile_id`, straight from the engine: types are the engine's own."""
        result = self.backend.con.sql(self.backend.compile(expression)).to_arrow_table()
        return {row.pop("profile_id"): row for row in result.to_pylist()}

    def types(self, expression: Any) -> dict[str, str]:
        """Name → Arrow type of each column of the result."""
        result = self.backend.con.sql(self.backend.compile(expression)).to_arrow_table()
        return {field.name: str(field.type) for field in result.schema}


def identity_table(pairs: dict[str, str]) -> Any:
    """Subject → profile as an Arrow table."""
    return pa.table(
        {"subject": pa.array(list(pairs), pa.string()), "profile_id": pa.array(list(pairs.values()), pa.string())}
    )
