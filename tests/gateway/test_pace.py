"""What is foretold of a deployment whose speed is known: neither refused without reason, nor let in to be late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pace import Pace

MS = 1_000_000
START = 10**12


def busy(batch: int, batch_ms: float) -> tuple[Pace, int]:
    """A deployment that has run full batches back to back, each batch twice in the queue; and the time by then."""
    pace, now_ns = Pace(), START
    pace.began(now_ns)
    for _ in range(max(40, int(1000 / batch_ms))):
        now_ns += int(batch_ms * MS)
        for place in range(batch):
            pace.answered(now_ns + place * 1000, 2 * batch - place)
    return pace, now_ns + batch * 1000


@pytest.mark.parametrize(("batch", "batch_ms"), [(1, 1), (1, 20), (1, 2000), (8, 10), (32, 30), (64, 500)])
@pytest.mark.parametrize("queued", [1, 2, 5])
def test_a_request_that_just_fits_is_taken_and_one_that_clearly_does_not_is_refused(
    batch: int, batch_ms: float, queued: int
) -> None:
    pace, now_ns = busy(batch, batch_ms)
    ahead = queued * batch  # whole batches go before it, the first of which has just begun; then comes its own
    done_ns = (queued + 1) * batch_ms * MS
    assert pace.late_ns(now_ns, batch, ahead, now_ns + int(done_ns * 1.15)) == 0
    late_ns = pace.late_ns(now_ns, batch, ahead, now_ns + int(done_ns * 0.75))
    assert 0.15 * done_ns < late_ns < 0.4 * done_ns


@given(st.integers(0, 10), st.integers(0, 10), st.floats(0, 1))
def test_who_has_more_before_it_or_less_time_is_later(more: int, sooner_ms: int, moment: float) -> None:
    pace, now_ns = busy(4, 20)
    now_ns += int(moment * 20 * MS)
    deadline_ns = now_ns + 60 * MS
    late_ns = pace.late_ns(now_ns, 4, 12, deadline_ns)
    assert pace.late_ns(now_ns, 4, 12 + more, deadline_ns) >= late_ns
    assert pace.late_ns(now_ns, 4, 12, deadline_ns - sooner_ms * MS) >= late_ns


def test_bursts_that_vary_ask_for_more_room() -> None:
    late_ns = []
    for silences_ms in ((90, 90), (60, 120)):
        pace, now_ns = Pace(), START
        pace.began(now_ns)
        for number in range(60):
            now_ns += silences_ms[number % 2] * MS
            pace.answered(now_ns, 4)
        late_ns.append(pace.late_ns(now_ns, 4, 6, now_ns + MS))
    even, varying = late_ns
    assert even == pytest.approx((90 + 6 * 90 * 1.05 - 1) * MS, rel=0.01)
    assert varying > 1.2 * even


def test_where_nothing_runs_nothing_is_refused() -> None:
    pace, now_ns = busy(1, 1000)
    assert pace.late_ns(now_ns, 1, 1, now_ns + MS) > 0
    assert pace.late_ns(now_ns, 0, 0, now_ns + MS) == 0


def test_a_request_without_a_deadline_is_never_late() -> None:
    pace, now_ns = busy(1, 1000)
    assert pace.late_ns(now_ns, 1, 10**6, 0) == 0


def test_before_ten_answers_nothing_is_foretold() -> None:
    pace, now_ns = Pace(), START
    pace.began(now_ns)
    for answers in range(1, 13):
        now_ns += 100 * MS
        pace.answered(now_ns, 3)
        assert bool(pace.late_ns(now_ns, 3, 50, now_ns + MS)) == (answers >= 10)
        assert (pace.request_s is None) == (answers < 10)
    assert pace.request_s == pytest.approx(0.1)


@pytest.mark.parametrize(("batch_ms", "later_ms", "known"), [(20, 900, True), (20, 1100, False), (1000, 3900, True),
                                                            (1000, 4100, False)])  # fmt: skip
def test_what_was_learned_too_long_ago_does_not_count(batch_ms: int, later_ms: int, known: bool) -> None:
    pace, now_ns = busy(1, batch_ms)
    now_ns += later_ms * MS
    assert bool(pace.late_ns(now_ns, 1, 100, now_ns + MS)) == known


def test_what_larger_batches_might_do_is_not_held_against_a_request() -> None:
    pace, now_ns = Pace(), START
    for _ in range(40):  # one at a time: nobody has seen yet what 16 would take together
        pace.began(now_ns)
        now_ns += 20 * MS
        pace.answered(now_ns, 1)
    assert pace.late_ns(now_ns, 3, 3, now_ns + 30 * MS) > 0
    assert pace.late_ns(now_ns, 16, 16, now_ns + 30 * MS) == 0


def test_time_without_work_makes_no_deployment_slow() -> None:
    pace, now_ns = Pace(), START
    for _ in range(40):
        now_ns += 5000 * MS
        pace.began(now_ns)
        for _ in range(3):
            now_ns += 20 * MS
            pace.answered(now_ns, 3)
    assert pace.request_s == pytest.approx(0.02, rel=0.05)


def test_a_deployment_that_slows_down_or_recovers_is_noticed_within_half_a_second() -> None:
    pace, now_ns = busy(1, 5)
    for each_ms in (50, 5):
        until_ns = now_ns + 500 * MS
        while now_ns < until_ns:
            now_ns += each_ms * MS
            pace.answered(now_ns, 4)
        assert pace.request_s == pytest.approx(each_ms / 1000, rel=0.3)


@pytest.mark.parametrize("stall_ms", [40, 60, 5000])
def test_one_stall_does_not_blind_it_for_ever(stall_ms: int) -> None:
    pace, now_ns = busy(1, 50)
    now_ns += stall_ms * MS
    pace.answered(now_ns, 4)
    for _ in range(400):
        now_ns += 5 * MS
        pace.answered(now_ns, 4)
    assert pace.request_s == pytest.approx(0.005, rel=0.1)
    assert pace.late_ns(now_ns, 4, 10, now_ns + 200 * MS) == 0


def test_where_nothing_is_answered_in_time_any_more_one_at_a_time_is_let_in_until_one_is() -> None:
    pace = Pace()
    pace.began(START)
    now_ns = START + 5000 * MS
    for lost in range(1, 9):
        pace.expired()
        assert bool(pace.late_ns(now_ns, 1, 1, now_ns + 100 * MS)) == (lost >= 8)
    assert pace.late_ns(now_ns, 0, 0, now_ns + 100 * MS) == 0
    pace.answered(now_ns, 1)
    assert pace.late_ns(now_ns, 1, 1, now_ns + 100 * MS) == 0


def test_callers_with_no_time_at_all_do_not_close_a_deployment_that_answers() -> None:
    pace, now_ns = busy(1, 5)
    for _ in range(100):
        pace.expired()
    assert pace.late_ns(now_ns, 4, 4, now_ns + 100 * MS) == 0
