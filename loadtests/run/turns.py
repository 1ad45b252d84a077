"""Rows are measured in turns, and each round begins with another one: drift of the machine hits all alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

_Row = TypeVar("_Row")


def turns(rows: Sequence[_Row], rounds: int) -> Iterator[tuple[int, _Row]]:
    """(round from 1, row) in the order in which they are to be measured."""
    for number in range(rounds):
        first = number % len(rows) if rows else 0
        for row in (*rows[first:], *rows[:first]):
            yield number + 1, row
