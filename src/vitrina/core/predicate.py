"""Predicates: the rule tree that eligibility and audiences share; `vitrina.understand.audiences` compiles it.

On the wire a rule is JSON: `{"field": "orders_90d", "op": ">=", "value": 2}`, `{"all": [...]}`, `{"any": [...]}`,
`{"not": {...}}`, `{"field": "trait.city", "op": "missing"}`. A `field` is the name of a feature, `trait.NAME`, or
`context.NAME` (live decisions only).

Two-valued meaning: a comparison or `in` with a missing value is false; `missing` says so; `not` negates after that.
"""

from __future__ import annotations

import msgspec

__all__ = ["AllOf", "AnyOf", "Compare", "InList", "Missing", "Not", "Predicate", "Scalar"]

Scalar = str | int | float | bool


class Compare(msgspec.Struct, frozen=True, tag="compare"):
    """`field op value` with op one of == != < <= > >=; false when the field is missing or of another kind."""

    field: str
    op: str
    value: str | int | float | bool


class InList(msgspec.Struct, frozen=True, tag="in"):
    """The field's value is one of `values`."""

    field: str
    values: tuple[str | int | float | bool, ...]


class Missing(msgspec.Struct, frozen=True, tag="missing"):
    """The field has no value."""

    field: str


class Not(msgspec.Struct, frozen=True, tag="not"):
    """The inner rule is false."""

    inner: Predicate


class AllOf(msgspec.Struct, frozen=True, tag="all"):
    """Every inner rule is true (true when empty)."""

    inner: tuple[Predicate, ...]


class AnyOf(msgspec.Struct, frozen=True, tag="any"):
    """At least one inner rule is true (false when empty)."""

    inner: tuple[Predicate, ...]


Predicate = Compare | InList | Missing | Not | AllOf | AnyOf
