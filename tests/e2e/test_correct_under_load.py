"""To each request its own answer, whatever happens meanwhile: `make proof-batching`, small."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console

from tests.proofs import batching
from tests.proofs.asking import Way
from tests.proofs.judging import Outcome

_OFTEN = {"kill_every_s": 0.5, "reload_every_s": 0.4}


@pytest.fixture(scope="module", params=[1, 2], ids=["one frontend", "two frontends"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> batching.Run:
    if request.param > 1 and sys.platform != "linux":
        pytest.skip("only Linux shares out a port's connections among processes")
    # So few of them that what waits while workers restart may be a good part.
    run = batching.Run(12_000, frontends=request.param, least_right=0.3, **_OFTEN)
    return batching.prove(run, tmp_path_factory.mktemp("batching"), Console(quiet=True))


def test_every_request_gets_its_own_answer_or_the_error_that_it_provoked(run: batching.Run) -> None:
    assert run.judge.told == []
    assert run.judge.judged == run.requests
    assert run.failures() == []


def test_all_that_was_to_happen_did_happen(run: batching.Run) -> None:
    assert run.judge.kills
    assert run.reloads + run.versions
    happened = {outcome for outcome, count in run.judge.outcomes.items() if count}
    assert happened >= {Outcome.RIGHT, Outcome.BAD_ROW, Outcome.MALFORMED, Outcome.LEFT, Outcome.RESTARTING}
    assert set(run.judge.ways) == set(Way)


def test_requests_ran_in_batches_and_none_was_larger_than_it_may_be(run: batching.Run) -> None:
    assert run.mean_rows > 2
    assert run.largest_batch <= batching.MAX_ROWS + batching.MORE_ROWS
