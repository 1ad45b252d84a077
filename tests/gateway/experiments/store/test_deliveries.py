"""What devices reported, in the store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from adapters.histograms import step_of
from gateway.experiments.deliveries import Claim, Counted, Subject
from gateway.experiments.store.store import Store

_SUBJECT = Subject("digits", "stable", 2, 1700000000.123456)
_CHECKED = Counted(_SUBJECT, "self_check", True)
_FAILED = Counted(_SUBJECT, "self_check", False)


def _key(number: int) -> bytes:
    return number.to_bytes(16)


def test_a_claim_counts_once_however_often_and_through_whomever_it_comes(
    url: str, open_store: Callable[..., Store]
) -> None:
    one, other = open_store(url, "one"), open_store(url, "other")
    claims = [Claim(_key(number), _CHECKED) for number in range(3)]
    assert one.count_reports([*claims, claims[0]], at=1.0).counts == {_CHECKED: 3}
    assert other.count_reports([*claims, Claim(_key(7), _FAILED)], at=2.0).counts == {_CHECKED: 3, _FAILED: 1}
    assert one.deliveries().counts == {_CHECKED: 3, _FAILED: 1}


def test_latencies_add_up_over_claims(store: Store) -> None:
    store.count_reports([Claim(_key(1), _CHECKED, (step_of(900), step_of(900)))], at=1.0)
    found = store.count_reports([Claim(_key(2), _CHECKED, (step_of(100_000),))], at=2.0).latencies[_SUBJECT]
    assert found.count == 3
    assert 850 < found.quantile(0.5) < 950
    assert 90_000 < found.quantile(1.0) < 110_000


def test_more_claims_than_a_statement_takes_are_counted(store: Store) -> None:
    claims = [Claim(_key(number), _CHECKED) for number in range(12_000)]
    assert store.count_reports(claims, at=1.0).counts == {_CHECKED: 12_000}


def test_old_keys_are_forgotten_and_what_they_counted_stays(store: Store) -> None:
    store.count_reports([Claim(_key(1), _CHECKED), Claim(_key(2), _CHECKED)], at=10.0)
    store.count_reports([Claim(_key(3), _CHECKED)], at=30.0)
    before = datetime.fromtimestamp(20.0, UTC)
    assert [store.forget_reports(before, limit=1) for _ in range(3)] == [1, 1, 0]
    assert store.count_reports([Claim(_key(1), _CHECKED), Claim(_key(3), _CHECKED)], at=40.0).counts == {_CHECKED: 4}
