from __future__ import annotations

import os
from typing import Any

import pytest

from loadtests import scenario
from loadtests.run.campaign import cores


def of(usable: set[int], monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[int | None, int | None]:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: usable)
    return cores(scenario.read("open", {"gateway": {"repository": "model_repo"}, **changes}))


def test_two_cores_are_one_for_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of({4, 7}, monkeypatch) == (4, 7)


def test_one_core_is_shared_and_nothing_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of({3}, monkeypatch) == (None, None)


def test_a_core_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"cores.generator: expected one that can be used here \(0, 1\), .* got 9"):
        of({0, 1}, monkeypatch, cores={"generator": 9})
    assert of({0, 1}, monkeypatch, cores={"gateway": -1}) == (None, 1)
