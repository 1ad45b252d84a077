"""Reloads under constant traffic fail no request and leave nothing behind: `make proof-reload`, small."""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.proofs import reload


@pytest.fixture(scope="module", params=[0.0, 0.5], ids=["quick to load", "slow to load"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> reload.Run:
    cycles = 3 if request.param else 8
    few = {"rate": 100.0, "warm_up_cycles": 2, "cycles_a_slice": cycles, "steady_s": 0.2}
    run = reload.Run("small", cycles, load_s=request.param, **few)
    return reload.prove(run, tmp_path_factory.mktemp("reload"), Console(quiet=True))


def test_no_request_fails_on_the_reloaded_model_nor_on_another(run: reload.Run) -> None:
    assert run.failures == []
    assert run.requests > 100


def test_nothing_is_left_of_what_was_replaced(run: reload.Run) -> None:
    assert len(run.cycles_s) == run.cycles
    assert run.leaks() == []


def test_another_model_answers_while_one_is_being_loaded(run: reload.Run) -> None:
    (slice_,) = run.reloading
    assert len(slice_.latencies_s) == slice_.requests > 0
