"""Verdicts in the store: the latest of each version."""

from __future__ import annotations

from gateway.experiments.store.store import Store


def test_the_latest_verdict_on_a_version_is_kept_and_no_other_one_is_touched(store: Store) -> None:
    store.save_verdict("m", 1, 10.0, "first")
    store.save_verdict("m", 2, 11.0, "of 2")
    store.save_verdict("other", 1, 12.0, "of another")
    store.save_verdict("m", 1, 5.0, "second, though its clock was late")
    assert store.verdict("m", 1) == "second, though its clock was late"
    assert store.verdict("m", 2) == "of 2"
    assert store.verdict("m", 3) is None
    assert store.verdicts("m") == [(2, "of 2"), (1, "second, though its clock was late")]
    assert store.verdicts("nothing") == []


def test_versions_as_large_as_the_repository_takes_them_and_any_text_are_kept(store: Store) -> None:
    text = "{" + "ü🙂" * 50_000 + "}"
    store.save_verdict("m", 10**18 - 1, 1.5, text)
    assert store.verdict("m", 10**18 - 1) == text
