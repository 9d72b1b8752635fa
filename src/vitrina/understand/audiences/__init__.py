"""Audiences: rules that select people, as JSON, a Python closure, an Ibis expression, and words.

Light: the Ibis compiler (`vitrina.understand.audiences.expression`) is imported where it is used.
"""

from vitrina.understand.audiences.closure import compile_closure
from vitrina.understand.audiences.wire import fields_of, parse, to_wire
from vitrina.understand.audiences.words import describe

__all__ = ["compile_closure", "describe", "fields_of", "parse", "to_wire"]
