"""What goes to the lake: every column as the row says, and ids that come in the order of their index."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decide.shop import NOON, SECRET, Person
from tests.unit.decide.test_engine import viewer
from tests.unit.decide.test_outcomes import event
from vitrina.core.catalogue import Placement
from vitrina.core.decision import DecideRequest, DecisionRow
from vitrina.core.event import CLICK, ORDER, REFUND
from vitrina.core.ids import new_id
from vitrina.decide.log import decision_key
from vitrina.decide.tables import (
    decision_schema,
    decisions_to_arrow,
    outcome_schema,
    outcomes_to_arrow,
    read_decision,
    read_outcome,
)
from vitrina.storage.journal import CommittedRow


def one_by_one(rows, offers_of):
    """The lines as the whole rows say them, each by itself."""
    lines = []
    for committed in rows:
        row = read_decision(committed)
        if row is None:
            continue
        ids = offers_of(row.catalogue)
        line = {name: getattr(row, name, None) for name in decision_schema().names}
        line |= {"seq": committed.seq, "occurred_at": row.at, "context": msgspec.json.encode(row.context).decode()}
        lines.append({**line, "offers": [] if ids is None else [ids[k] for k in row.items]})
    return pa.Table.from_pylist(lines, schema=decision_schema())


@pytest.fixture
def busy(shop):
    """Decisions of every kind: holdouts, known people, exclusions, contexts, repeated requests, a bare row."""
    shop.stock_up(6, slots=3, holdout=0.4)
    shop.catalogue.put(Placement(id="cart", holdout=0.0))
    shop.people.by_user["1"] = Person("u:1", consents=("personalisation",), state=viewer())
    for i in range(40):
        shop.clock.advance(1_000_000)
        asked = DecideRequest(
            placement="home" if i % 3 else "cart",
            user_id=str(i % 20) if i % 4 else None,
            anonymous_id=f"a{i}" if i % 4 in (0, 1) else None,
            slots=1 + i % 3 if i % 3 else None,
            exclude=("o00",) if i % 2 else (),
            context={"город": "Рига", "n": i, "page": {"path": "/"}} if i % 5 else {},
            request_id=f"r{i}" if i % 7 == 0 else None,
        )
        shop.engine.decide(asked, SECRET)
    bare = DecisionRow(id="d_bare", at=NOON, subject="", profile_id="", assignment_key="", placement="gone")
    shop.log.append(bare)
    return shop


def test_every_column_is_what_the_row_says(busy):
    rows = busy.journal.read()
    known = {read_decision(row).catalogue for row in rows if read_decision(row) is not None} - {0}

    def offers_of(number):
        return busy.catalogue.numbered(number).offer_ids if number in known else None

    table, expected = decisions_to_arrow(rows, offers_of), one_by_one(rows, offers_of)
    assert table.equals(expected)
    assert table.num_rows == 41
    assert len(rows) == 41 + 6
    for name in set(table.column_names) - {"coins", "replayed", "currency", "purpose"}:
        assert len({str(value) for value in table[name].to_pylist()}) > 1, f"{name} is the same everywhere: a weak test"


def test_rows_at_hand_are_taken_as_they_are(busy):
    rows = busy.journal.read()
    decoded = [msgspec.structs.replace(row, item=read_decision(row)) for row in rows]
    assert decisions_to_arrow(decoded).equals(decisions_to_arrow(rows))


def test_no_rows_are_an_empty_table():
    assert decisions_to_arrow([]).equals(decision_schema().empty_table())
    assert decisions_to_arrow([CommittedRow(1, b"", 0, "u:1", b"request:d_1")]).num_rows == 0
    assert outcomes_to_arrow([]).equals(outcome_schema().empty_table())


def test_outcomes_are_columns_of_what_they_say(busy):
    row = next(row for _, row in busy.log.read(limit=100) if row.items and row.subject)
    for number, name in enumerate((CLICK, ORDER, REFUND)):
        credit = event(name, f"m{number}", at=row.at + number, decision_id=row.id, order_id="A")
        assert busy.outcomes.join(credit)
    rows = busy.outcomes_journal.read()
    expected = []
    for committed in rows:
        line = {**msgspec.structs.asdict(read_outcome(committed)), "seq": committed.seq}
        line["occurred_at"] = line.pop("at")
        expected.append(line)
    assert len(rows) == 3
    assert outcomes_to_arrow(rows).equals(pa.Table.from_pylist(expected, schema=outcome_schema()))


@given(st.lists(st.integers(0, (1 << 50) - 1), min_size=2, max_size=20, unique=True))
def test_keys_of_decisions_come_in_the_order_of_their_time(milliseconds):
    import numpy as np

    rng = np.random.default_rng(1)
    keys = [decision_key(new_id("d", moment * 1_000, rng)) for moment in sorted(milliseconds)]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("text", ["", "d_", "d_nothing", "d_жжжжжжжжжж", "d_\ud800123456789", "x" * 500])
def test_any_text_has_a_key_and_finds_nothing(busy, text):
    assert len(decision_key(text)) == 16
    assert busy.log.find(text) is None


def test_a_row_is_found_by_its_id_after_a_restart(busy):
    rows = [row for _, row in busy.log.read(limit=100)]
    busy.log._recent.clear()
    assert [busy.log.find(row.id) for row in rows] == rows
