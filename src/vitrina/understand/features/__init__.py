"""Features: numbers and categories computed from a person's events, as of a moment.

Light: the batch compiler (`vitrina.understand.features.batch`) brings Ibis and is imported where it is used.
"""

from vitrina.understand.features.algebra import (
    Count,
    DaysSince,
    Decayed,
    Distinct,
    Events,
    Expression,
    Feature,
    Last,
    Ratio,
    Sessions,
    Sum,
    TopDecayed,
)
from vitrina.understand.features.fold import FeatureSet, Value
from vitrina.understand.features.vector import Vectoriser

__all__ = [
    "Count",
    "DaysSince",
    "Decayed",
    "Distinct",
    "Events",
    "Expression",
    "Feature",
    "FeatureSet",
    "Last",
    "Ratio",
    "Sessions",
    "Sum",
    "TopDecayed",
    "Value",
    "Vectoriser",
]
