"""Frames: whatever is cut wherever arrives intact, and what is no frame is refused."""

from __future__ import annotations

import struct

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from adapters import errors, wire
from adapters.executions import Execution
from adapters.tensors import DataType, Tensor
from adapters.wire import BrokenFrame, Frame, FrameReader, Kind, bare_frame
from tests.strategies import same, tensors

IDS = NS = st.integers(0, 2**64 - 1)
SOME_NS = st.integers(0, 2**50 - 1)
EXECUTIONS = st.builds(Execution, SOME_NS, SOME_NS, SOME_NS, SOME_NS, NS, st.booleans())
TENSORS = st.dictionaries(st.text(max_size=5), tensors(), max_size=3)
SENT = st.lists(st.tuples(st.sampled_from([Kind.INFER, Kind.RESULT]), IDS, TENSORS), min_size=1, max_size=4)


def encode(kind: Kind, number: int, values: dict[str, Tensor]) -> bytes:
    return b"".join(wire.tensors_frame(kind, number, values))


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(stream) + 1) for place in places} | {len(stream)})
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def prefix(kind: int, head_bytes: int, body_bytes: int) -> bytes:
    return struct.pack("<B3xIQQ56x", kind, head_bytes, 1, body_bytes)


@given(SENT, st.lists(st.integers(0, 10**6), max_size=12))
def test_any_tensors_cut_anywhere_arrive_as_they_were_sent(
    sent: list[tuple[Kind, int, dict[str, Tensor]]], places: list[int]
) -> None:
    reader = FrameReader()
    stream = b"".join(encode(*each) for each in sent)
    frames = [frame for piece in cut(stream, places) for frame in reader.feed(piece)]
    assert [(frame.kind, frame.id) for frame in frames] == [(kind, number) for kind, number, _ in sent]
    for frame, (_, _, values) in zip(frames, sent, strict=True):
        got = frame.tensors()
        assert list(got) == list(values)
        assert all(same(got[name], values[name]) for name in values)


@given(st.lists(st.tuples(IDS, TENSORS, EXECUTIONS), min_size=1, max_size=3), st.lists(st.integers(0, 10**6)))
def test_what_an_execution_cost_arrives_with_its_answer_cut_anywhere(
    sent: list[tuple[int, dict[str, Tensor], Execution]], places: list[int]
) -> None:
    stream = b""
    for number, values, execution in sent:
        frame = wire.tensors_frame(Kind.RESULT, number, values)
        wire.stamp(frame, *astuple(execution))
        stream += b"".join(frame)
    reader = FrameReader()
    frames = [frame for piece in cut(stream, places) for frame in reader.feed(piece)]
    assert [(frame.id, frame.execution) for frame in frames] == [(number, cost) for number, _, cost in sent]
    for frame, (_, values, _) in zip(frames, sent, strict=True):
        assert all(same(frame.tensors()[name], values[name]) for name in values)


@given(IDS, TENSORS, NS)
def test_a_request_says_when_it_was_sent_and_nothing_of_what_it_cost(
    number: int, values: dict[str, Tensor], sent_ns: int
) -> None:
    (frame,) = FrameReader().feed(b"".join(wire.tensors_frame(Kind.INFER, number, values, sent_ns)))
    assert (frame.id, frame.sent_ns, frame.execution) == (number, sent_ns, Execution())
    assert all(same(frame.tensors()[name], values[name]) for name in values)


@pytest.mark.parametrize(
    "frame",
    [
        bare_frame(Kind.CANCEL, 1),
        wire.error_frame(1, errors.InferenceFailed("no")),
        encode(Kind.RESULT, 1, {}),
    ],
    ids=["cancel", "error", "result that nobody stamped"],
)
def test_a_frame_that_has_nothing_to_say_of_times_has_zeros_there(frame: bytes) -> None:
    assert frame[24:80] == bytes(56)
    (got,) = FrameReader().feed(frame)
    assert (got.sent_ns, got.execution) == (0, Execution())


def test_a_stream_that_comes_byte_by_byte_gives_each_frame_with_its_last_byte() -> None:
    stream = bare_frame(Kind.CANCEL, 1) + encode(Kind.INFER, 2, {"x": np.arange(3)}) + bare_frame(Kind.CANCEL, 3)
    reader, ends = FrameReader(), {}
    for position in range(len(stream)):
        for frame in reader.feed(stream[position : position + 1]):
            ends[frame.id] = position + 1
    assert list(ends) == [1, 2, 3]
    assert (ends[1], ends[3]) == (len(bare_frame(Kind.CANCEL, 1)), len(stream))


@given(tensors([each for each in DataType if each is not DataType.BYTES]), st.text(max_size=9))
def test_numbers_lie_where_they_can_be_used_without_a_copy(tensor: Tensor, name: str) -> None:
    (frame,) = FrameReader().feed(encode(Kind.INFER, 1, {name: tensor, "other": tensor}))
    for got in frame.tensors().values():
        assert got.flags.aligned
        assert not got.size or np.shares_memory(got, np.frombuffer(frame.data[frame.body_at : frame.end], np.uint8))


@pytest.mark.parametrize("error", [errors.InvalidInput, errors.InferenceFailed, errors.BackendUnavailable])
def test_an_error_arrives_with_its_kind_and_text(error: type[errors.ServingError]) -> None:
    (frame,) = FrameReader().feed(wire.error_frame(7, error("axis 1 must be 2 — not 3")))
    got = frame.error()
    assert (frame.kind, frame.id, type(got), str(got)) == (Kind.ERROR, 7, error, "axis 1 must be 2 — not 3")


def test_an_error_of_a_kind_that_workers_have_no_business_with_is_the_model_s_failure() -> None:
    (frame,) = FrameReader().feed(wire.error_frame(7, errors.LoadFailed("?")))
    assert type(frame.error()) is errors.InferenceFailed


def read_all(stream: bytes) -> None:
    for frame in FrameReader().feed(stream):
        frame.error() if frame.kind is Kind.ERROR else frame.tensors()


@given(st.binary(max_size=200))
def test_garbage_is_a_broken_frame_or_not_yet_a_frame(garbage: bytes) -> None:
    try:
        read_all(garbage)
    except BrokenFrame:
        return


@given(SENT, st.data())
def test_a_frame_with_any_byte_changed_is_read_or_broken_and_nothing_else(
    sent: list[tuple[Kind, int, dict[str, Tensor]]], data: st.DataObject
) -> None:
    stream = bytearray(b"".join(encode(*each) for each in sent))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read_all(bytes(stream))
    except BrokenFrame:
        return


@pytest.mark.parametrize(
    "frame",
    [
        prefix(9, 0, 0),
        prefix(0, 0, 0),
        prefix(Kind.INFER, 8, 0) + b"\xc1" * 8,
        prefix(Kind.ERROR, 8, 0) + b"\x91\xa1x".ljust(8, b"\0"),
    ],
    ids=["kind 9", "kind 0", "no head", "half an error"],
)
def test_what_is_no_frame_is_broken(frame: bytes) -> None:
    with pytest.raises(BrokenFrame):
        read_all(frame)


@pytest.mark.parametrize(
    "head",
    [
        ("x", "FP99", (1,), 4),
        ("x", "FP32", (2,), 4),
        ("x", "FP32", (-1,), 4),
        ("x", "FP32", (-1, -1), 4),
        ("x", "FP32", (2**62, 2**62, 0), 0),
        ("x", "FP32", (1,), -4),
        ("x", "FP64", (1,), -8),
        ("x", "BYTES", (2**50,), 4),
        ("x", "FP32", (1,)),
        ("x", "FP32", (1.5,), 4),
        (3, "FP32", (1,), 4),
    ],
    ids=str,
)
def test_a_head_that_disagrees_with_its_body_is_broken(head: tuple[object, ...]) -> None:
    encoded = wire._encode([head])
    padding = bytes(-len(encoded) % 8)
    frame = prefix(Kind.INFER, len(encoded), 16) + encoded + padding + b"\0" * 16
    with pytest.raises(BrokenFrame):
        read_all(frame)


@pytest.mark.parametrize(("head_bytes", "body_bytes"), [(0, 2**32), (0, 2**63), (2**32 - 1, 2**64 - 1)])
@pytest.mark.parametrize("first", [0, 11, 79])
def test_a_huge_claimed_length_is_refused_as_soon_as_it_is_read(head_bytes: int, body_bytes: int, first: int) -> None:
    reader = FrameReader()
    claim = prefix(Kind.RESULT, head_bytes, body_bytes)
    assert reader.feed(claim[:first]) == []
    with pytest.raises(BrokenFrame, match="at most 4294967296 and 1048576 are taken"):
        reader.feed(claim[first:])


@pytest.mark.parametrize("first", [0, 11, 79])
def test_a_claim_takes_no_memory_before_its_bytes_are_there(first: int) -> None:
    claim = prefix(Kind.RESULT, 8, 2**28)
    reader = FrameReader()
    before = psutil.Process().memory_info().rss
    assert reader.feed(claim[:first]) == reader.feed(claim[first:]) == []
    assert psutil.Process().memory_info().rss - before < 2**26


def test_a_reader_goes_on_after_each_kind_of_frame() -> None:
    reader = FrameReader()
    frames: list[Frame] = []
    for number in range(3):
        frames += reader.feed(encode(Kind.RESULT, number, {}) + bare_frame(Kind.CANCEL, number)[:10])
        frames += reader.feed(bare_frame(Kind.CANCEL, number)[10:])
    expected = [(kind, number) for number in range(3) for kind in (Kind.RESULT, Kind.CANCEL)]
    assert [(frame.kind, frame.id) for frame in frames] == expected


@pytest.mark.parametrize("place", range(4))
def test_an_execution_of_weeks_is_no_execution(place: int) -> None:
    frame = wire.tensors_frame(Kind.RESULT, 1, {})
    times = [0, 0, 0, 0]
    times[place] = 2**50
    wire.stamp(frame, *times, 1, True)
    with pytest.raises(BrokenFrame, match="took weeks"):
        FrameReader().feed(b"".join(frame))
