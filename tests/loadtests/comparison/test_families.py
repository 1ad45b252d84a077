from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtests.comparison.judging import Question, answers, questions
from loadtests.comparison.matching import Pair, Side, Source
from loadtests.results.schema import Figure, Row
from loadtests.statistics.contrasts import Contrast
from loadtests.statistics.spread import Spread
from tests.loadtests.invented import made_result, made_row, made_run


def pair(ours: Row, theirs: Row) -> Pair:
    source = Source("made.json", made_result([ours, theirs]))
    return Pair(Side(source, ours), Side(source, theirs), ())


def times(values: list[float]) -> Row:
    """A row with times of cold starts, told as results tell them."""
    note = f"median, lowest and highest of {len(values)}"
    return made_row(figures=(Figure("from publishing", float(np.median(values)), "s", min(values), max(values), note),))


@pytest.mark.parametrize("number", [2, 3, 5, 10])
def test_of_equal_times_that_were_taken_a_few_times_hardly_any_are_called(number: int) -> None:
    rng = np.random.default_rng(1)
    called = 0
    for _ in range(300):
        ours, theirs = (times(list(np.exp(0.2 * rng.normal(size=number)))) for _ in range(2))
        called += answers(list(questions([pair(ours, theirs)])))[0].verdict != "undecided"

    assert called <= 0.08 * 300


def test_of_twelve_questions_at_once_one_is_called_wrong_no_more_often_than_of_one() -> None:
    rng = np.random.default_rng(2)
    row = made_row(runs=[made_run(rng, slices=8)])
    (asked,) = questions([pair(row, row)], ["p50"])
    wrong = alone = 0
    for _ in range(300):
        found = answers([_noise(asked, float(each)) for each in rng.normal(size=12)])
        wrong += any(each.verdict != "undecided" for each in found)
        alone += any(not each.alone.low <= 1 <= each.alone.high for each in found)

    assert wrong <= 0.06 * 300
    assert alone > 0.3 * 300


def _noise(asked: Question, position: float) -> Question:
    """The same question, answered by chance: a standard normal distance."""
    return replace(asked, contrast=Contrast(position, (Spread(1.0, 1e6),), True, True, 5))
