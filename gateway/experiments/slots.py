"""Which slots belong to which variant, and how few of them change hands when weights change: pure.

Units are hashed into SLOTS slots. An allocation is a list of (end, variant) in ascending order of ends, the last SLOTS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from gateway.types import SLOTS

Allocation: TypeAlias = tuple[tuple[int, str], ...]
_Piece: TypeAlias = tuple[int, str | None]


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

    Variants that shrink give up their smallest ranges first; a free range goes to a neighbour that grows, if there is
    one: so ranges stay few, however often weights change.
    """
    if not before:
        return allocate(weights)
    left = sizes(weights)
    owned = list(ranges(before))
    kept = [0] * len(owned)
    for index in sorted(range(len(owned)), key=lambda each: -owned[each][0]):
        length, name = owned[index]
        kept[index] = min(length, left.get(name, 0))
        if kept[index]:
            left[name] -= kept[index]
    pieces: list[_Piece] = []
    for stays, (length, name) in zip(kept, owned, strict=True):
        pieces += [(stays, name), (length - stays, None)]
    return _joined(_filled([piece for piece in pieces if piece[0]], left))


def ranges(allocation: Allocation) -> Iterator[tuple[int, str]]:
    """The length of every range, and whose it is."""
    begin = 0
    for end, name in allocation:
        yield end - begin, name
        begin = end


def _filled(pieces: Sequence[_Piece], missing: dict[str, int]) -> Iterator[tuple[int, str]]:
    """Ends of ranges, with the free ones handed out; uses up `missing`."""
    end, last = 0, None
    for index, (length, owner) in enumerate(pieces):
        following = pieces[index + 1][1] if index + 1 < len(pieces) else None
        until = end + length
        while end < until:
            name = owner or _taker(missing, last, following)
            if owner is None:
                taken = min(until - end, missing[name])
                missing[name] -= taken
                end += taken
            else:
                end = until
            last = name
            yield end, name


def _taker(missing: Mapping[str, int], *neighbours: str | None) -> str:
    """Who gets a free range: a neighbour if it may be, else the first that needs one."""
    return next(name for name in (*neighbours, *missing) if name is not None and missing.get(name))


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
