"""The batch compiler asks nothing of an engine that Spark SQL doesn't know."""

from __future__ import annotations

import ibis
import pytest
from ibis.config import Config

from vitrina.collect.lake_events import EVENT_SCHEMA
from vitrina.core.clock import DAY
from vitrina.core.predicate import AllOf, Compare, InList, Missing, Not
from vitrina.understand.audiences.expression import column_resolver, compile_expression
from vitrina.understand.features import Feature, FeatureSet
from vitrina.understand.features.batch import batch
from vitrina.understand.features.commerce import FEATURES


class SparkOptions(Config):
    """Ibis's own defaults for Spark, which it sets only where pyspark is installed."""

    treat_nan_as_null: bool = True


@pytest.fixture(autouse=True)
def spark_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ibis.options, "pyspark", SparkOptions())


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_every_starter_feature_compiles_to_spark_sql(feature: Feature) -> None:
    events = ibis.table(ibis.Schema.from_pyarrow(EVENT_SCHEMA), name="events")
    identity = ibis.table({"subject": "string", "profile_id": "string"}, name="identity")
    query = ibis.to_sql(batch(FeatureSet([feature], 1), events, 20_000 * DAY, identity), dialect="pyspark")
    assert f"`{feature.name}`" in query


def test_a_rule_compiles_to_spark_sql() -> None:
    people = ibis.table({"orders": "int64", "share": "float64", "traits": "string"}, name="people")
    rule = AllOf(
        (
            Compare("orders", ">=", 1.5),
            Not(InList("trait.city", ("Тверь", 5))),
            Missing("share"),
            Compare("trait.vip", "==", True),
        )
    )
    query = ibis.to_sql(
        people.filter(compile_expression(rule, column_resolver(people, trait="traits"))), dialect="pyspark"
    )
    assert "Тверь" in query
