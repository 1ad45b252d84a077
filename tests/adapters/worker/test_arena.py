"""Memory that two ends share: no two tensors in one place, and all of it comes back."""

from __future__ import annotations

import mmap
import os
import socket

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from adapters import wire
from adapters.wire import SHARED_BYTES
from adapters.worker.arena import SharedMemory, Slots

CAPACITY = 64 * SHARED_BYTES


class SlotsInUse(RuleBasedStateMachine):
    """Owners take and release; the model keeps who has which bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(CAPACITY)
        self.taken: dict[int, list[range]] = {}

    @rule(owner=st.integers(0, 20), size=st.integers(1, 9 * SHARED_BYTES))
    def take(self, owner: int, size: int) -> None:
        at = self.slots.take(owner, size)
        if at is None:
            assert self.taken, "an empty memory has room for this"
            return
        mine = range(at, at + size)
        assert mine.stop <= CAPACITY
        for ranges in self.taken.values():
            assert all(mine.stop <= each.start or each.stop <= mine.start for each in ranges)
        self.taken.setdefault(owner, []).append(mine)

    @rule(owner=st.integers(0, 20))
    def release(self, owner: int) -> None:
        self.taken.pop(owner, None)
        assert self.slots.release(owner) == (not self.taken)

    @invariant()
    def owners_are_known(self) -> None:
        assert set(self.slots.owners) == set(self.taken)

    @invariant()
    def what_is_free_as_a_whole_is_forgotten(self) -> None:
        assert self.taken or self.slots.end == 0 or not self.slots.release(99) or self.slots.end == 0


TestSlots = SlotsInUse.TestCase


@pytest.fixture
def ends() -> tuple[SharedMemory, SharedMemory]:
    """A gateway's end and a worker's."""
    one, other = socket.socketpair()
    offered = SharedMemory.offer(one, CAPACITY)
    if offered is None:
        pytest.skip("this system has no memfd_create")
    data, descriptors, _, _ = socket.recv_fds(other, 4096, 2)
    one.close()
    other.close()
    assert wire.FrameReader().feed(data)[0].kind is wire.Kind.HELLO
    return offered, SharedMemory.accept(descriptors)


def test_big_tensors_cross_in_shared_memory_and_small_ones_in_the_frame(
    ends: tuple[SharedMemory, SharedMemory],
) -> None:
    gateway, worker = ends
    tensors = {
        "big": np.random.default_rng(0).random((3, 40_000), np.float32),
        "small": np.arange(5),
        "texts": np.array([[b"x" * 50_000, b""], [b"y" * 50_000, b"z"]], np.object_),
        "flags": np.ones(SHARED_BYTES, np.bool_),
    }
    for sender, receiver in ((gateway, worker), (worker, gateway)):
        parts = wire.tensors_frame(wire.Kind.INFER, 7, tensors, place=sender.placed.place)
        data = b"".join(parts)
        assert len(data) < 1000
        (frame,) = wire.FrameReader().feed(data)
        assert frame.shares
        for copied in (False, True):
            got = frame.tensors(receiver.read, copied)
            assert got.keys() == tensors.keys()
            for name, tensor in got.items():
                np.testing.assert_array_equal(tensor, tensors[name])
                assert np.shares_memory(tensor, np.frombuffer(receiver.read, np.uint8)) == (
                    name in ("big", "flags") and not copied
                )
        assert list(sender.placed.owners) == [7]
        sender.placed.release(7)
        assert not sender.placed.owners


def test_what_finds_no_room_goes_by_the_socket(ends: tuple[SharedMemory, SharedMemory]) -> None:
    gateway, worker = ends
    tensor = np.random.default_rng(0).random(CAPACITY // 32)  # a quarter of the capacity
    sent = [
        b"".join(wire.tensors_frame(wire.Kind.INFER, n, {"x": tensor}, place=gateway.placed.place)) for n in range(6)
    ]
    assert [len(data) < 1000 for data in sent] == [True] * 4 + [False] * 2
    frames = wire.FrameReader().feed(b"".join(sent))
    for frame in frames:
        np.testing.assert_array_equal(frame.tensors(worker.read)["x"], tensor)


@pytest.mark.parametrize("at", [CAPACITY, CAPACITY - 1, 2**40])
def test_a_place_beyond_the_memory_is_a_broken_frame(ends: tuple[SharedMemory, SharedMemory], at: int) -> None:
    _, worker = ends
    big = {"x": np.zeros(SHARED_BYTES, np.uint8)}
    (frame,) = wire.FrameReader().feed(b"".join(wire.tensors_frame(wire.Kind.INFER, 1, big, place=lambda *_: at)))
    with pytest.raises(wire.BrokenFrame, match="beyond the shared memory"):
        frame.tensors(worker.read)
    with pytest.raises(wire.BrokenFrame, match="beyond the shared memory"):
        frame.tensors()


def test_a_reader_cannot_write(ends: tuple[SharedMemory, SharedMemory]) -> None:
    gateway, worker = ends
    assert gateway.read.readonly
    assert worker.read.readonly


def test_memory_beyond_what_is_kept_goes_back_once_all_is_read() -> None:
    one, other = socket.socketpair()
    offered = SharedMemory.offer(one, 1 << 28)
    if offered is None:
        pytest.skip("this system has no memfd_create")
    _, descriptors, _, _ = socket.recv_fds(other, 4096, 2)
    taken = np.ones(100 << 20, np.uint8)
    assert offered.placed.place(1, taken.data) == 0
    assert os.fstat(descriptors[0]).st_blocks * 512 >= taken.nbytes
    offered.placed.release(1)
    assert os.fstat(descriptors[0]).st_blocks * 512 <= 33 << 20
    assert offered.placed.place(2, taken.data) == 0
    for descriptor in descriptors:
        os.close(descriptor)
    offered.close()


def test_a_capacity_takes_no_memory_by_itself() -> None:
    one, other = socket.socketpair()
    offered = SharedMemory.offer(one)
    if offered is None:
        pytest.skip("this system has no memfd_create")
    _, descriptors, _, _ = socket.recv_fds(other, 4096, 2)
    for descriptor in descriptors:
        assert os.fstat(descriptor).st_blocks == 0
        assert mmap.mmap(descriptor, 0)[:10] == bytes(10)
        os.close(descriptor)


def test_an_end_that_has_gone_wild_cannot_take_the_memory_away() -> None:
    one, other = socket.socketpair()
    offered = SharedMemory.offer(one, CAPACITY)
    if offered is None:
        pytest.skip("this system has no memfd_create")
    _, descriptors, _, _ = socket.recv_fds(other, 4096, 2)
    for descriptor in descriptors:
        for size in (0, CAPACITY // 2, 2 * CAPACITY):
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, size)
        os.close(descriptor)
