"""A limit that finds by itself how many rows run in time, on models of which the right answer is known."""

from __future__ import annotations

import pytest

from adapters.adaptive_limit import AdaptiveLimit

_NS = 1_000_000


class Model:
    """One whose batch takes a + b·rows milliseconds."""

    def __init__(self, a_ms: float, b_ms: float) -> None:
        self.a_ms, self.b_ms = a_ms, b_ms

    def run_ns(self, rows: int) -> int:
        return round((self.a_ms + self.b_ms * rows) * _NS)


def serve(limit: AdaptiveLimit, model: Model, batches: int, waiting: int = 10**6) -> list[int]:
    """Run so many batches while that many calls of one row wait; gives the rows of each."""
    ran = []
    for _ in range(batches):
        rows = min(limit.rows, waiting)
        limit.learn(rows, model.run_ns(rows))
        ran.append(rows)
    return ran


@pytest.mark.parametrize(("a_ms", "b_ms", "right"), [(5, 1, 45), (0, 0.5, 100), (20, 10, 3), (1, 0.1, 490)])
def test_it_finds_the_most_rows_that_run_in_half_of_the_target_and_stays_there(
    a_ms: float, b_ms: float, right: int
) -> None:
    limit, model = AdaptiveLimit(100, 1024), Model(a_ms, b_ms)
    assert limit.rows == 1, "it begins where nothing can go wrong"
    serve(limit, model, 800)
    settled = serve(limit, model, 400)
    assert max(settled) <= right + 1
    assert min(settled) >= min(0.9 * right - 1, right)
    too_long = [rows for rows in settled if model.run_ns(rows) > 50 * _NS]
    assert len(too_long) <= len(settled) / 5, "a step too far is seldom"


def test_it_follows_a_model_that_becomes_slower_and_then_faster() -> None:
    limit, model = AdaptiveLimit(100, 1024), Model(5, 1)
    serve(limit, model, 300)
    model.b_ms = 5
    serve(limit, model, 30)
    assert max(serve(limit, model, 100)) <= 10
    model.b_ms = 0.5
    serve(limit, model, 400)
    assert min(serve(limit, model, 100)) >= 80


def test_the_cap_is_never_exceeded() -> None:
    limit = AdaptiveLimit(100, 16)
    assert max(serve(limit, Model(0, 0.001), 200)) == 16


def test_a_model_that_is_always_too_slow_runs_one_row_at_a_time() -> None:
    limit = AdaptiveLimit(100, 1024)
    assert set(serve(limit, Model(500, 1), 50)) == {1}


def test_a_light_load_lets_it_grow_to_twice_what_was_seen_to_run_in_time_and_no_further() -> None:
    limit = AdaptiveLimit(100, 1024)
    serve(limit, Model(5, 1), 500, waiting=6)
    assert limit.rows == 12


def test_calls_of_several_rows_that_never_fill_the_limit_exactly_do_not_stop_its_growth() -> None:
    limit, model = AdaptiveLimit(100, 1024), Model(5, 1)
    for _ in range(300):
        rows = max(7, limit.rows // 7 * 7)
        limit.learn(rows, model.run_ns(rows))
    assert 39 <= limit.rows <= 50


def test_one_huge_call_does_not_lower_the_limit_for_the_others() -> None:
    limit = AdaptiveLimit(100, 1024)
    serve(limit, Model(5, 1), 30)
    before = limit.rows
    limit.learn(5000, 5_005 * _NS)
    assert limit.rows == before


def test_only_sizes_that_the_model_prefers_are_given() -> None:
    limit, model = AdaptiveLimit(100, 64, (4, 16, 64)), Model(5, 1)
    serve(limit, model, 400)
    seen = serve(limit, model, 100)
    assert set(seen) == {16, 64}
    assert seen.count(64) <= 5, "which takes too long, and is tried once in a while"
