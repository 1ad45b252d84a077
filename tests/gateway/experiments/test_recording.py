"""What a frontend notes: it adds up to all that happened, whenever it is taken, and takes little room."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InferenceFailed
from gateway.experiments import recording
from gateway.experiments.assignment import Assigner
from gateway.experiments.evidence import BINS, CLUSTERS, HISTOGRAM_CLUSTERS, Cell, bins
from gateway.experiments.recording import ArmIncrement, Increment, Notes, Recorder, ShadowIncrement
from tests.gateway.experiments.splits import From, split

NAN = {"y": np.array([[0.5, np.nan]], np.float32)}
FINE = {"y": np.array([[0.5, 0.25]], np.float32)}


class Sums:
    """What increments say together, by epoch and arm."""

    def __init__(self, increments: Iterable[Increment] = ()) -> None:
        self.units: dict[tuple[int, str], list[int]] = {}
        self.failed: Counter[tuple[int, str, int]] = Counter()
        self.latency: dict[tuple[int, str], Cell] = {}
        self.examined: Counter[str] = Counter()
        self.not_finite: Counter[str] = Counter()
        self.add(increments)

    def add(self, increments: Iterable[Increment]) -> None:
        for increment in increments:
            wired = msgspec.msgpack.decode(msgspec.msgpack.encode(increment), type=Increment)
            for name, arm in wired.arms.items():
                self._add((wired.epoch, name), arm)

    def _add(self, key: tuple[int, str], arm: ArmIncrement) -> None:
        self.units.setdefault(key, []).extend(np.frombuffer(arm.units, "<u8").tolist())
        for cluster, count in enumerate(np.frombuffer(arm.failed, "<i8").tolist()):
            self.failed[*key, cluster] += count
        cell = self.latency.setdefault(key, Cell.empty(histogram=True))
        cell.count += np.frombuffer(arm.answered, "<i8")
        cell.total += np.frombuffer(arm.total_ms, "<f8")
        cell.squares += arm.squares_ms2
        assert cell.histogram is not None
        np.add.at(cell.histogram.reshape(-1), np.frombuffer(arm.keys, "<u4"), np.frombuffer(arm.counts, "<u4"))
        self.examined[key[1]] += arm.examined
        self.not_finite[key[1]] += arm.not_finite

    def requests(self) -> dict[tuple[int, str], tuple[int, int, int]]:
        """Assigned, answered, failed."""
        failed: Counter[tuple[int, str]] = Counter()
        for (epoch, name, _), count in self.failed.items():
            failed[epoch, name] += count
        return {key: (len(self.units[key]), self.latency[key].values, failed[key]) for key in self.units}


REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from(["answered", "failed", "dropped"]),
        st.integers(0, 10**11),
        st.booleans(),
    ),
    max_size=80,
)


@given(REQUESTS, st.integers(2, 12))
def test_increments_add_up_to_what_happened(requests: list[tuple[int, str, int, bool]], room: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "_MOST_NOTES", room)
        notes = Notes("m", split())
        assigner, sums = Assigner(notes), Sums()
        units: dict[str, list[int]] = {"a": [], "b": []}
        naive = {name: Cell.empty(histogram=True) for name in units}
        failed: Counter[tuple[int, str, int]] = Counter()
        for unit, what, took_ns, take in requests:
            assigned = assigner.assign(From(torii_unit=f"u{unit}"), {})
            name, number = assigned.arm.arm.name, assigned.number
            units[name].append(number)
            if what == "answered":
                assigned.answered(took_ns, None)
                naive[name].add(np.array([number % CLUSTERS]), np.array([took_ns / 1e6]))
            elif what == "failed":
                assigned.failed(InferenceFailed("x"))
                failed[0, name, number % CLUSTERS] += 1
            if take:
                sums.add(notes.take())
        sums.add(notes.take())
    assert notes.take() == []
    for name, numbers in units.items():
        assert sorted(sums.units.get((0, name), [])) == sorted(numbers)
        found = sums.latency.get((0, name), Cell.empty(histogram=True))
        assert (found.count == naive[name].count).all()
        assert found.total == pytest.approx(naive[name].total)
        assert found.squares == pytest.approx(naive[name].squares)
        assert (found.histogram == naive[name].histogram).all()
    assert +sums.failed == failed


def test_a_unit_is_in_one_cluster_of_its_number() -> None:
    notes = Notes("m", split({"a": 100}))
    notes.arms[0].assigned(5 + 7 * CLUSTERS)
    notes.arms[0].answered(5 + 7 * CLUSTERS, 2_000_000, None)
    (increment,) = notes.take()
    arm = increment.arms["a"]
    assert np.flatnonzero(np.frombuffer(arm.answered, "<i8")).tolist() == [5]
    assert np.frombuffer(arm.total_ms, "<f8")[5] == 2.0
    assert np.frombuffer(arm.keys, "<u4").tolist() == [5 % HISTOGRAM_CLUSTERS * BINS + int(bins(np.array([2.0]))[0])]


def test_where_nothing_happens_there_is_nothing_to_take() -> None:
    recorder = Recorder()
    recorder.notes("m", split())
    assert recorder.take() == []


# When weights change.


def test_requests_under_way_when_weights_change_count_for_the_time_they_began_in() -> None:
    recorder = Recorder()
    first = Assigner(recorder.notes("m", split({"a": 100, "b": 0})))
    running = [first.assign(None, {}) for _ in range(3)]
    second = Assigner(recorder.notes("m", split({"a": 0, "b": 100}, epoch=1)))
    second.assign(None, {}).answered(1, None)
    sums = Sums(recorder.take())
    running[0].answered(1_000_000, None)
    sums.add(recorder.take())
    running[1].failed(InferenceFailed("x"))
    running[2].answered(1_000_000, None)
    sums.add(recorder.take())
    assert sums.requests() == {(0, "a"): (3, 2, 1), (1, "b"): (1, 1, 0)}


def test_requests_under_way_when_the_experiment_ends_count() -> None:
    recorder = Recorder()
    running = Assigner(recorder.notes("m", split({"a": 100}))).assign(None, {})
    recorder.keep_only({})
    sums = Sums(recorder.take())
    running.answered(1_000_000, None)
    sums.add(recorder.take())
    assert sums.requests() == {(0, "a"): (1, 1, 0)}


def test_weights_that_change_within_an_epoch_leave_no_notes_behind() -> None:
    recorder = Recorder()
    slow = Assigner(recorder.notes("m", split({"a": 100, "b": 0}))).assign(None, {})
    for share in range(1000):
        recorder.notes("m", split({"a": 1 + share, "b": 1000}))
        recorder.take()
    slow.answered(1, None)
    assert Sums(recorder.take()).requests() == {(0, "a"): (0, 1, 0)}
    assert recorder._past == []


def test_another_run_or_other_arms_have_notes_of_their_own() -> None:
    recorder = Recorder()
    first = recorder.notes("m", split())
    assert recorder.notes("m", split(shadow=None, headers={"a": "b"})) is first
    assert recorder.notes("m", split(run=2)) is not first
    assert recorder.notes("m", split({"a": 1, "c": 1}, run=2)) is not first
    assert recorder.notes("n", split()) is not first


def test_notes_of_what_is_over_are_not_kept_for_ever() -> None:
    recorder = Recorder()
    for epoch in range(2000):
        recorder.notes("m", split(epoch=epoch))
        recorder.take()
    assert len(recorder._past) <= 256


# What answers are like.


def test_answers_that_are_no_numbers_are_seen() -> None:
    notes = Notes("m", split({"a": 100}))
    assigner = Assigner(notes)
    for outputs in (FINE, NAN, FINE, {**FINE, "z": np.array([np.inf])}, {}):
        assigner.assign(None, {}).answered(1, outputs)
    sums = Sums(notes.take())
    assert (sums.examined["a"], sums.not_finite["a"]) == (5, 2)


def test_what_was_passed_on_unread_is_not_examined() -> None:
    notes = Notes("m", split({"a": 100}))
    Assigner(notes).assign(None, {}).answered(1, None)
    assert Sums(notes.take()).examined["a"] == 0


@pytest.mark.parametrize(("size", "most"), [(10, 16), (8000, 16), (1 << 15, 4), (1 << 22, 4)])
def test_only_so_much_is_examined_between_two_takings(size: int, most: int) -> None:
    notes = Notes("m", split({"a": 100}))
    assigner, outputs = Assigner(notes), {"y": np.zeros(size, np.float32)}
    for _ in range(2):
        for _ in range(200):
            assigner.assign(None, {}).answered(1, outputs)
        (increment,) = notes.take()
        arm = increment.arms["a"]
        assert 1 <= arm.examined <= most + 1
        assert arm.outputs["y"].values <= recording._LOOKED_AT + (1 << 15)


# How much room it takes.


def test_what_waits_to_be_taken_takes_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_MOST_NOTES", 1000)
    notes = Notes("m", split({"a": 100}))
    arm, count = notes.arms[0], 200_000
    tracemalloc.start()
    try:
        for unit in range(count):
            arm.assigned(unit)
            arm.answered(unit, 1_000_000 + unit % 7, None)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 24 * count
    assert Sums(notes.take()).requests() == {(0, "a"): (count, count, 0)}


# Shadows.


def test_what_became_of_copies_is_taken_once() -> None:
    recorder = Recorder()
    notes = recorder.notes("m", split())
    notes.shadow.add(ShadowIncrement(compared=2, disagreed=1, apart=0.5, cosine=0.9))
    notes.shadow.add(ShadowIncrement(compared=1, failed=1, skipped=4, apart=0.25, cosine=0.8))
    notes.shadow.add(ShadowIncrement(failed=1))
    (increment,) = recorder.take()
    assert increment.shadow == ShadowIncrement(3, 1, 2, 4, 0.5, 0.8)
    assert recorder.take() == []


def test_copies_and_requests_beyond_the_room_come_in_several_increments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_MOST_NOTES", 10)
    notes = Notes("m", split({"a": 100}))
    for unit in range(25):
        notes.arms[0].assigned(unit)
    notes.shadow.add(ShadowIncrement(skipped=1))
    taken: list[Any] = notes.take()
    assert len(taken) == 3
    assert [each.shadow for each in taken if each.shadow] == [ShadowIncrement(skipped=1)]
