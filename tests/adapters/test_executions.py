"""Sums of what executions cost: each call with all that its batch took, each batch once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.executions import Costs, Execution, Executions


def test_a_batch_of_three_calls_is_three_calls_and_one_execution() -> None:
    executions = Executions()
    for number in range(3):
        executions.add(Execution(10 + number, 2, 100, 5, 3, number == 0))
    assert executions.calls == Costs(3, 33, 6, 300, 15)
    assert executions.batches == {3: Costs(1, 10, 2, 100, 5)}


def test_an_answer_that_nobody_waits_for_counts_in_its_batch_only() -> None:
    executions = Executions()
    executions.add(Execution(10, 2, 100, 5, 2, True), answered=False)
    executions.add(Execution(20, 2, 100, 5, 2, False))
    assert executions.calls == Costs(1, 20, 2, 100, 5)
    assert executions.batches == {2: Costs(1, 10, 2, 100, 5)}


def test_batches_are_told_apart_by_their_rows_and_huge_ones_by_powers_of_two() -> None:
    executions = Executions()
    for rows in (0, 1, 1, 1023, 1024, 1025, 2048, 2049, 2**63 - 1):
        executions.add(Execution(batch_rows=rows, first=True))
    assert {rows: costs.count for rows, costs in executions.batches.items()} == {
        0: 1, 1: 2, 1023: 1, 1024: 1, 2048: 2, 4096: 1, 2**63: 1,
    }  # fmt: skip


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_callers_who_send_batches_of_every_size_cost_no_memory_without_end(sizes: list[int]) -> None:
    executions = Executions()
    for rows in sizes:
        executions.add(Execution(batch_rows=rows, first=True))
    assert sum(each.count for each in executions.batches.values()) == len(sizes)
    assert all(rows <= 1024 or rows.bit_count() == 1 for rows in executions.batches)
