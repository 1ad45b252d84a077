"""The first requests to a fresh deployment are the gateway's own, and no trouble with them keeps it from serving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapters.base import ROUTINE, Endpoint, Urgency
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


async def warmed(model: QuickServable, to: Endpoint = SERVER, golden: Path | None = None) -> list[list[float]]:
    """The inputs that a model was warmed up with."""

    async def connect(_: Endpoint) -> QuickServable:
        return model

    await WarmUp(connect)(to, golden)
    assert model.closed or not model.seen
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
