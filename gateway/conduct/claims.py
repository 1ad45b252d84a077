"""What the store knows of outcomes: whom units got, and what came before. Blocking."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.conduct.attribution import Attributed
from gateway.conduct.saving import unit_key
from gateway.experiments.store.records import Conversion, Run
from gateway.types import BY_CHANCE

if TYPE_CHECKING:
    from gateway.experiments.store.store import Store
    from gateway.experiments.store.transaction import Transaction


def look_up(store: Store, outcomes: Sequence[Attributed]) -> None:
    """Find the variants of units."""
    with store.transaction() as transaction:
        for run, ours in _by_run(outcomes).items():
            known = transaction.exposures(run, {unit_key(each.number) for each in ours})
            for one in ours:
                found = known.get(unit_key(one.number))
                if found is not None:
                    one.exposed(found.variant, found.epoch, found.first_at, found.last_at)


def claim(store: Store, outcomes: Sequence[Attributed]) -> list[Attributed]:
    """Those that did not come before; of conversions, those that are the unit's first."""
    with store.transaction() as transaction:
        first: dict[bytes, Attributed] = {}
        for each in outcomes:
            if each.identified:
                first.setdefault(each.key(), each)  # within one body, too, the second is the same
        new = [first[key] for key in transaction.claim_keys(first, time.time())]
        new += [each for each in outcomes if not each.identified]
        counted = [each for each in new if not each.converts]
        for run, ours in _by_run([each for each in new if each.converts]).items():
            counted += _converted(transaction, run, ours)
        return counted


def _converted(transaction: Transaction, run: Run, outcomes: Sequence[Attributed]) -> list[Attributed]:
    first: dict[Conversion, Attributed] = {}
    for each in outcomes:
        first.setdefault(Conversion(each.metric.name, unit_key(each.number)), each)
    new = [first[each] for each in transaction.claim_conversions(run, first)]
    known = transaction.exposures(run, {unit_key(each.number) for each in new if each.number < BY_CHANCE})
    for one in new:
        found = known.get(unit_key(one.number))
        if found is not None and found.variant == one.variant:
            one.epoch = found.epoch  # where its exposure counts
    return new


def _by_run(outcomes: Sequence[Attributed]) -> dict[Run, list[Attributed]]:
    found: dict[Run, list[Attributed]] = {}
    for each in outcomes:
        found.setdefault(each.active.evidence.key, []).append(each)
    return found
