"""Which slots belong to which variant, and how few of them change hands when weights change: pure.

Units are hashed into SLOTS slots. An allocation is a list of (end, variant) in ascending order of ends, the last SLOTS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from gateway.types import SLOTS

Allocation: TypeAlias = tuple[tuple[int, str], ...]


def sizes(weights: Mapping[str, float]) -> dict[str, int]:
    """How many slots each variant gets by its weight (any scale, of which the sum is positive); they sum to SLOTS.

    What rounding leaves over goes to the largest remainders, and to the first of those that are equal.
    """
    total = sum(weights.values())
    exact = {name: weight / total * SLOTS for name, weight in weights.items()}
    found = {name: int(each) for name, each in exact.items()}
    by_remainder = sorted(exact, key=lambda name: found[name] - exact[name])
    for name in by_remainder[: SLOTS - sum(found.values())]:
        found[name] += 1
    return found


def allocate(weights: Mapping[str, float]) -> Allocation:
    """The allocation of an experiment that has had none: one after the other."""
    end = 0
    ends = [(end := end + size, name) for name, size in sizes(weights).items()]
    return _joined(ends)


def reallocate(before: Allocation, weights: Mapping[str, float]) -> Allocation:
    """The allocation for other weights that takes no slot from a variant but what that one has to give.

    Variants that shrink give up the ends of their ranges; the free slots go, in order, to those that grow.
    """
    wanted = sizes(weights)
    kept: dict[str, int] = dict.fromkeys(wanted, 0)
    pieces: list[tuple[int, str | None]] = []
    for length, name in ranges(before):
        stays = min(length, wanted.get(name, 0) - kept.get(name, 0))
        if stays:
            kept[name] += stays
            pieces.append((stays, name))
        if length > stays:
            pieces.append((length - stays, None))
    missing = [(name, size - kept[name]) for name, size in wanted.items() if size > kept[name]]
    return _joined(_filled(pieces, missing))


def ranges(allocation: Allocation) -> Iterator[tuple[int, str]]:
    """The length of every range, and whose it is."""
    begin = 0
    for end, name in allocation:
        yield end - begin, name
        begin = end


def _filled(pieces: Sequence[tuple[int, str | None]], missing: Sequence[tuple[str, int]]) -> Iterator[tuple[int, str]]:
    """Ends of ranges, with the free ones handed out."""
    waiting = list(reversed(missing))
    end = 0
    for length, owner in pieces:
        left = length
        while left:
            if owner is not None:
                name, given = owner, left
            else:
                name, need = waiting.pop()
                given = min(left, need)
                if need > given:
                    waiting.append((name, need - given))
            left -= given
            end += given
            yield end, name


def _joined(ends: Sequence[tuple[int, str]] | Iterator[tuple[int, str]]) -> Allocation:
    """Without empty ranges, and with neighbours of one variant as one."""
    found: list[tuple[int, str]] = []
    for end, name in ends:
        if end == (found[-1][0] if found else 0):
            continue
        if found and found[-1][1] == name:
            found[-1] = (end, name)
        else:
            found.append((end, name))
    return tuple(found)
