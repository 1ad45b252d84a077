"""Twice the load that a model can carry: what is answered in time stays at its peak, where a plain queue collapses."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gateway.admission import ConcurrencyLimit
from tests.gateway.batching_model import BatchingModel, Outcome, offer
from tests.gateway.virtual_time import clock_ns, run

LOADS = (0.7, 1.0, 1.3, 2.0, 4.0)


@dataclass(frozen=True)
class Case:
    fixed_s: float
    row_s: float
    max_rows: int
    timeout_s: float
    max_in_flight: int = 256
    spread: float = 0.0

    def outcome(self, load: float, foretell: bool = True) -> Outcome:
        """What becomes of so many times the requests that the model can answer, as shares of these."""

        async def main() -> Outcome:
            model = BatchingModel(self.fixed_s, self.row_s, self.max_rows, self.spread)
            limit = ConcurrencyLimit(model, self.max_in_flight, 1024, clock_ns)
            for_s = max(6.0, 1500 / model.requests_per_s)
            got = await offer(limit, load * model.requests_per_s, self.timeout_s, for_s, foretell)
            return Outcome(*(each / model.requests_per_s for each in (got.answered, got.late, got.refused)))

        return run(main())


CASES = {
    "one by one": Case(0.05, 0, 1, timeout_s=0.5),
    "one by one, slow": Case(1.0, 0, 1, timeout_s=6),
    "one by one, most wait here": Case(0.05, 0, 1, timeout_s=0.5, max_in_flight=2),
    "batches": Case(0.04, 0.002, 32, timeout_s=0.4),
    "batches, hardly any time": Case(0.04, 0.002, 32, timeout_s=0.25),
    "batches, most wait here": Case(0.02, 0.005, 8, timeout_s=0.4, max_in_flight=16),
    "times that vary": Case(0.02, 0.002, 16, timeout_s=0.3, spread=0.2),
}


@pytest.mark.parametrize("name", CASES)
def test_at_twice_the_load_the_answers_in_time_are_95_percent_of_the_peak_and_hardly_any_that_was_let_in_is_late(
    name: str,
) -> None:
    outcomes = {load: CASES[name].outcome(load) for load in LOADS}
    peak = max(each.answered for each in outcomes.values())
    assert outcomes[2.0].answered >= 0.95 * peak, outcomes
    assert outcomes[2.0].late <= 0.03 * outcomes[2.0].answered, outcomes
    assert peak > 0.9, outcomes


@pytest.mark.parametrize("name", CASES)
def test_a_plain_queue_collapses_under_the_same_load(name: str) -> None:
    plain = CASES[name].outcome(2.0, foretell=False)
    assert plain.answered < 0.5, plain


@pytest.mark.parametrize("name", ["one by one", "batches"])
def test_at_half_the_load_nobody_is_refused(name: str) -> None:
    calm = CASES[name].outcome(0.5)
    assert calm.refused + calm.late < 0.005 * calm.answered, calm
