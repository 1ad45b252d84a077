"""Which units came, without remembering all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from gateway.experiments.evidence import Counts
from gateway.types import BY_CHANCE

Numbers = npt.NDArray[np.uint64]

_SAMPLE: Final = 1 << 16
_RECENT: Final = 1 << 18


class DistinctUnits:
    """Counts the units that come for the first time, of a sample that is chosen by hash and halved when it is full.

    The sample depends on nothing but the unit, and so counts in it are as good as counts of all (distinct sampling;
    Gibbons 2001, "Distinct sampling for highly-accurate answers to distinct values queries").
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, str]] = {}
        self._mask = np.uint64(0)

    @property
    def part(self) -> float:
        """Which part of all units is in the sample."""
        return 1.0 / (int(self._mask >> np.uint64(32)) + 1)

    def add(self, units: Numbers, epoch: int, variant: str) -> None:
        """Units that were assigned; any number of times."""
        for unit in np.unique(units[(units & self._mask) == 0]).tolist():
            self._seen.setdefault(unit, (epoch, variant))
        while len(self._seen) > _SAMPLE:
            self._mask = (self._mask << np.uint64(1)) | np.uint64(1 << 32)
            mask = int(self._mask)
            self._seen = {unit: what for unit, what in self._seen.items() if not unit & mask}

    def counts(self) -> dict[int, dict[str, int]]:
        """Of the sample: by epoch and variant, how many came first then and there."""
        found: dict[int, dict[str, int]] = {}
        for epoch, variant in self._seen.values():
            by_variant = found.setdefault(epoch, {})
            by_variant[variant] = by_variant.get(variant, 0) + 1
        return found


class Exposed(msgspec.Struct):
    """What a unit got, in which epoch for the first time, and when, in seconds since 1970."""

    variant: str
    epoch: int
    first_at: float
    last_at: float


class RecentExposures:
    """What units got lately, the latest last; and which of it is to be stored."""

    def __init__(self, fresh_s: float, recent: int = _RECENT) -> None:
        """What was stored less than `fresh_s` ago is not stored again; `recent` units are remembered."""
        self._fresh_s = fresh_s
        self._recent = recent
        self._exposed: OrderedDict[int, Exposed] = OrderedDict()
        self._stored_at: dict[int, float] = {}
        self._unstored: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._exposed)

    def add(self, units: Numbers, variant: str, epoch: int, at: float) -> None:
        """Units that were assigned just now."""
        for unit in np.unique(units[units < BY_CHANCE]).tolist():
            known = self._exposed.get(unit)
            if known is None:
                self._exposed[unit] = Exposed(variant, epoch, at, at)
                self._unstored[unit] = None
                continue
            known.last_at = at
            self._exposed.move_to_end(unit)
            if known.variant != variant:
                known.variant, known.epoch = variant, epoch
                self._unstored[unit] = None
            elif at - self._stored_at.get(unit, 0.0) >= self._fresh_s:
                self._unstored[unit] = None
        while len(self._exposed) > self._recent:
            unit, _ = self._exposed.popitem(last=False)
            self._stored_at.pop(unit, None)
            self._unstored.pop(unit, None)

    def find(self, unit: int) -> Exposed | None:
        """What a unit got, if it is remembered."""
        return self._exposed.get(unit)

    def take(self, at: float, most: int) -> dict[int, Exposed]:
        """Copies of what is to be stored now."""
        taken = {}
        for unit in islice(self._unstored, most):
            one = self._exposed[unit]
            taken[unit] = Exposed(one.variant, one.epoch, one.first_at, one.last_at)
        for unit in taken:
            del self._unstored[unit]
            self._stored_at[unit] = at
        return taken

    def known_since(self, unit: int, variant: str, epoch: int) -> None:
        """The store says that a unit has had a variant since an earlier epoch than was remembered."""
        known = self._exposed.get(unit)
        if known is not None and known.variant == variant:
            known.epoch = epoch

    def again(self, units: Iterable[int]) -> None:
        """Store these after all, where they are still remembered: it went wrong."""
        for unit in units:
            if unit in self._exposed:
                self._stored_at.pop(unit, None)
                self._unstored[unit] = None


def cluster_counts(units: Numbers, clusters: int) -> Counts:
    """How many of these units fall into each cluster: [clusters]."""
    found: Counts = np.bincount((units % np.uint64(clusters)).astype(np.int64), minlength=clusters)
    return found
