"""Audiences: rules that select people, as a Python closure, an Ibis expression, and words."""

from vitrina.understand.audiences.closure import compile_closure

__all__ = ["compile_closure"]
