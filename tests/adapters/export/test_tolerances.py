from __future__ import annotations

from typing import Any

import pytest

from adapters.errors import InvalidInput
from adapters.export.formats import Precision
from adapters.export.tolerances import TOLERANCES, tolerance_for


def test_every_precision_has_a_tolerance_and_the_coarser_ones_allow_more() -> None:
    found = [tolerance_for(each) for each in Precision]
    assert [each.largest for each in found] == sorted(each.largest for each in found)
    assert [each.argmax for each in found] == sorted((each.argmax for each in found), reverse=True)
    assert set(TOLERANCES) == set(Precision)


def test_single_figures_can_be_set() -> None:
    found = tolerance_for("int8", {"largest": 1, "argmax": 0.5})
    assert (found.largest, found.argmax) == (1.0, 0.5)
    assert found.cosine == TOLERANCES["int8"].cosine


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ({"larges": 1}, "expected one of largest, mean, cosine, argmax, accuracy_loss, got 'larges'"),
        ({"argmax": 1.5}, "tolerance argmax: expected a number from 0 to 1, got 1.5"),
        ({"mean": -1}, "tolerance mean: expected a number from 0 or more, got -1"),
        ({"mean": float("nan")}, "got nan"),
        ({"largest": float("inf")}, "expected a finite number"),
        ({"cosine": True}, "got True"),
        ({"cosine": "0.5"}, "got '0.5'"),
    ],
)
def test_a_figure_out_of_its_range_is_refused_by_name(override: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        tolerance_for("fp32", override)
    assert says in str(caught.value)
