"""The first requests to a fresh deployment are the gateway's own, and no trouble with them keeps it from serving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapters.base import ROUTINE, Batching, Endpoint, Urgency
from adapters.errors import BackendUnavailable, InferenceFailed, InvalidInput
from adapters.tensors import DataType, Signature, Tensors, TensorSpec
from gateway.warmup import WarmUp
from tests.gateway.fakes import QuickServable, endpoint

SERVER = endpoint("a", "tfserving")


class Failing(QuickServable):
    """A model that fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        self.seen.append(inputs)
        raise self.error


async def warm_up(
    model: QuickServable, to: Endpoint = SERVER, golden: Path | None = None, batching: Batching | None = None
) -> Endpoint:
    """The endpoint as it is published."""

    async def connect(_: Endpoint) -> QuickServable:
        return model

    warm = await WarmUp(connect)(to, golden, batching or Batching())
    assert model.closed or not model.seen
    return warm


async def warmed(model: QuickServable, to: Endpoint = SERVER, golden: Path | None = None) -> list[list[float]]:
    """The inputs that a model was warmed up with, where nothing was to be found out."""
    await warm_up(model, to, golden, Batching(8))
    return [inputs["x"].tolist() for inputs in model.seen]


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    np.savez(tmp_path / "golden.npz", **{"inputs/x": np.array([1, 2, 3], np.float32)})
    return tmp_path / "golden.npz"


async def test_real_inputs_are_run_several_times_together_and_one_alone(golden: Path) -> None:
    assert await warmed(QuickServable(), golden=golden) == [[1.0, 2.0, 3.0]] * 3 + [[1.0]] * 3


async def test_without_them_some_are_invented() -> None:
    seen = await warmed(QuickServable())
    assert [len(each) for each in seen] == [4, 4, 4, 1, 1, 1]


async def test_nothing_is_invented_for_servers_of_others_nor_for_shapes_that_may_be_anything(golden: Path) -> None:
    foreign = replace(SERVER, pid=None)
    assert await warmed(QuickServable(), foreign) == []
    assert len(await warmed(QuickServable(), foreign, golden)) == 6
    anything = replace(SERVER, signature=Signature((TensorSpec("x", DataType.FP32, None),), ()))
    assert await warmed(QuickServable(), anything) == []


async def test_a_worker_has_done_it_itself(golden: Path) -> None:
    assert await warmed(QuickServable(), endpoint("a", "onnxruntime"), golden) == []


@pytest.mark.parametrize("error", [InferenceFailed("no"), InvalidInput("no"), TimeoutError()])
async def test_a_model_that_fails_on_the_trial_is_served_all_the_same(error: Exception, golden: Path) -> None:
    assert len(await warmed(Failing(error), golden=golden)) == 1


async def test_a_backend_that_is_gone_is_the_load_s_failure(golden: Path) -> None:
    with pytest.raises(BackendUnavailable):
        await warmed(Failing(BackendUnavailable("gone")), golden=golden)


async def test_a_golden_file_that_cannot_be_read_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "golden.npz").write_bytes(b"PK\x03\x04")
    assert len(await warmed(QuickServable(), golden=tmp_path / "golden.npz")) == 6


class Mixing(QuickServable):
    """A model whose rows get each other's numbers."""

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        answer = await super().infer(inputs, urgency)
        return {**answer, "y": answer["y"] + len(inputs["x"])}


class OneByOne(QuickServable):
    """A model that refuses several rows."""

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        if len(inputs["x"]) == 2:
            raise InvalidInput("one row at a time")
        return await super().infer(inputs, urgency)


RAW = replace(SERVER, remote={"kind": "raw"})
FOREIGN = replace(SERVER, pid=None)


@pytest.mark.parametrize(
    ("model", "to", "batching", "max_rows"),
    [
        (QuickServable, SERVER, Batching(), "32"),
        (QuickServable, SERVER, Batching(latency_target_ms=20), "1024"),
        (Mixing, SERVER, Batching(), "1"),
        (OneByOne, SERVER, Batching(), "1"),
        (Mixing, SERVER, Batching(6), "6"),
        (QuickServable, FOREIGN, Batching(), None),
        (QuickServable, RAW, Batching(), None),
        (QuickServable, FOREIGN, Batching(6), "6"),
        (QuickServable, RAW, Batching(6), "6"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_rows_are_sent_together_where_that_was_seen_to_be_right_or_the_owner_says_so(
    model: type[QuickServable], to: Endpoint, batching: Batching, max_rows: str | None, golden: Path
) -> None:
    warm = await warm_up(model(), to, golden, batching)
    assert warm.remote.get("max_rows") == max_rows
    assert replace(warm, remote=to.remote) == to


async def test_what_fails_on_the_trial_is_not_batched() -> None:
    assert (await warm_up(Failing(InferenceFailed("no")))).remote == {"max_rows": "1"}


async def test_one_row_is_too_few_to_tell(tmp_path: Path) -> None:
    np.savez(tmp_path / "golden.npz", **{"inputs/x": np.ones(1, np.float32)})
    assert (await warm_up(QuickServable(), golden=tmp_path / "golden.npz")).remote == {"max_rows": "1"}
