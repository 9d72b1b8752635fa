"""The draw strip: exact chances laid end to end from 0 to 1, and where the draw fell. Geometry only, in per cent."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from vitrina.core.explanation import Candidate, Explanation

__all__ = ["Segment", "Strip", "draw_strip"]

_LABELLED = 0.035  # width below which a number doesn't fit


class Segment(msgspec.Struct, frozen=True):
    """One candidate: left edge and width in per cent, its number if that fits, and whether the draw fell on it."""

    x: str
    width: str
    label: str
    on: bool


class Strip(msgspec.Struct, frozen=True):
    """The strip. `pointer` is the x of the draw, "" when nothing was drawn; `flip` writes its label to the left."""

    segments: tuple[Segment, ...]
    pointer: str
    flip: bool


def draw_strip(explanation: Explanation) -> Strip:
    """The strip of position 1.

    Within a candidate's segment the draws come first and its share of the floor last, so a draw points into the first
    part and an explored position into the second.
    """
    chances = [candidate.chance for candidate in explanation.candidates]
    total = sum(chances) or 1.0
    segments: list[Segment] = []
    left = 0.0
    pointer = -1.0
    for number, candidate in enumerate(explanation.candidates, 1):
        width = candidate.chance / total
        on = candidate.position == 1
        label = str(number) if width >= _LABELLED else ""
        segments.append(Segment(_per_cent(left), _per_cent(width), label, on))
        if on:
            pointer = left + width * _within(explanation, candidate, explanation.candidates)
        left += width
    return Strip(tuple(segments), _per_cent(pointer) if pointer >= 0 else "", pointer > 0.6)


def _within(explanation: Explanation, candidate: Candidate, candidates: Sequence[Candidate]) -> float:
    """Where inside its segment the draw fell, from 0 to 1."""
    row = explanation.row
    if not explanation.draws or row.draw < 0 or candidate.chance <= 0:
        return 0.5
    kept = min(1.0, explanation.floor / max(1, len(candidates)) / candidate.chance)
    if row.coins & 1:
        return 1.0 - kept / 2
    before, own = _rank(row.greedy, row.draw)
    return (1.0 - kept) * (before + 0.5) / own


def _rank(greedy: bytes, draw: int) -> tuple[int, int]:
    """How many draws before `draw` liked the same candidate best, and how many there are in all."""
    liked = [number for (number,) in struct.iter_unpack("<H", greedy[: len(greedy) // 2 * 2])]
    if draw >= len(liked):
        return 0, 1
    return liked[:draw].count(liked[draw]), liked.count(liked[draw])


def _per_cent(fraction: float) -> str:
    return f"{100 * fraction:.2f}%"
