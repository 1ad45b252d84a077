from __future__ import annotations

from loadtests.results.schema import Noise
from loadtests.run.marks import marks, of_all
from tests.loadtests.run.made import QUIET, part, run


def test_a_quiet_machine_and_a_generator_with_time_to_spare_have_no_mark() -> None:
    assert marks([part(1), part(2)], QUIET) == ()
    assert marks([], Noise(None, None, None)) == ()


def test_a_busy_machine_is_marked() -> None:
    (mark,) = marks([part(1)], Noise(0.23, 0.0, 1.0))
    assert mark == "busy machine: 23% steal"


def test_a_generator_that_has_no_time_left_is_marked_as_the_limit() -> None:
    (mark,) = marks([part(each, cpu=0.97) for each in range(8)], QUIET)
    assert mark == "the generator was the limit: 97% of its core"


def test_a_generator_that_sends_late_again_and_again_is_marked_but_one_bad_moment_is_not() -> None:
    slices = [part(each) for each in range(40)]
    assert marks([*slices, part(40, late_us=300_000)], QUIET) == ()
    (mark,) = marks([*slices, *(part(40 + each, late_us=40_000) for each in range(10))], QUIET)
    assert mark == "the generator was the limit: it sent up to 40 ms late"


def test_a_result_has_each_kind_of_mark_once_with_how_many_stretches_have_it() -> None:
    runs = [
        run(marks=("busy machine: 9 %", "the generator was the limit: x")),
        run(),
        run(marks=("busy machine: 7 %",)),
    ]
    assert of_all(runs) == (
        "busy machine: 9 % (2 of 3 stretches)",
        "the generator was the limit: x (1 of 3 stretches)",
    )
