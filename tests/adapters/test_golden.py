"""Golden files: real inputs where they can be read, and no trouble where they cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.golden import golden_inputs, golden_signature, invented_inputs
from adapters.tensors import DataType, Signature, TensorSpec
from tests.strategies import same

BROKEN = ("empty", "text", "cut", "flipped", "pickle", "other", "absent")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole golden file and with everything that can be wrong with one."""
    folder = tmp_path_factory.mktemp("golden")
    x = np.random.default_rng(0).random((400, 3), np.float32)
    np.savez_compressed(folder / "whole.npz", **{"inputs/x": x, "outputs/y": x[:, 0] > 0, "note": np.zeros(3)})
    whole = (folder / "whole.npz").read_bytes()
    (folder / "empty.npz").write_bytes(b"")
    (folder / "text.npz").write_text("not a zip at all")
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "flipped.npz").write_bytes(whole[:60] + bytes(len(whole) - 660) + whole[-600:])
    np.savez(folder / "pickle.npz", **{"inputs/x": np.array([{"a": print}], object), "outputs/y": np.zeros(1)})
    np.savez(folder / "other.npz", scores=np.zeros(3))
    return folder


def test_the_inputs_come_as_they_were_saved(files: Path) -> None:
    inputs = golden_inputs(files / "whole.npz")
    assert inputs is not None
    assert list(inputs) == ["x"]
    assert same(inputs["x"], np.random.default_rng(0).random((400, 3), np.float32))


def test_the_signature_is_read_off_with_a_free_batch_axis(files: Path) -> None:
    assert golden_signature(files / "whole.npz") == Signature(
        (TensorSpec("x", DataType.FP32, (None, 3)),), (TensorSpec("y", DataType.BOOL, (None,)),)
    )


@pytest.mark.parametrize(
    ("array", "spec"),
    [
        (np.array([[b"ab"], [b"c"]]), (DataType.BYTES, (None, 1))),
        (np.array(["ab", "c"]), (DataType.BYTES, (None,))),
        (np.array(3.0), (DataType.FP64, ())),
        (np.zeros((0, 2), ">i4"), (DataType.INT32, (None, 2))),
    ],
)
def test_texts_scalars_and_foreign_byte_orders_have_their_datatype(
    tmp_path: Path, array: np.ndarray, spec: tuple[DataType, tuple[int | None, ...]]
) -> None:
    np.savez(tmp_path / "golden.npz", **{"inputs/x": array, "outputs/y": array})
    signature = golden_signature(tmp_path / "golden.npz")
    assert signature is not None
    assert [(each.datatype, each.shape) for each in (*signature.inputs, *signature.outputs)] == [spec, spec]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_used_is_none_and_the_log_says_so(
    files: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert golden_signature(files / f"{kind}.npz") is None
    assert golden_inputs(files / f"{kind}.npz") is None
    assert "not used" in caplog.text


@given(st.data())
def test_any_damage_is_survived(files: Path, data: st.DataObject) -> None:
    damaged = bytearray((files / "whole.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    path = files / "damaged.npz"
    path.write_bytes(damaged[: data.draw(st.integers(len(damaged) // 2, len(damaged)))])
    for read in (golden_inputs, golden_signature):
        assert read(path) is None or read(path)


@pytest.mark.parametrize("datatype", DataType)
def test_invented_inputs_fit_the_signature(datatype: DataType) -> None:
    signature = Signature((TensorSpec("x", datatype, (None, 3, None)), TensorSpec("s", datatype, ())), ())
    inputs = invented_inputs(signature)
    assert inputs is not None
    signature.check(inputs)
    assert inputs["x"].shape == (4, 3, 4)


def test_invented_integers_are_valid_as_indices_nearly_everywhere() -> None:
    inputs = invented_inputs(Signature((TensorSpec("x", DataType.INT64, (None, 100)),), ()))
    assert inputs is not None
    assert set(inputs["x"].ravel().tolist()) == {0, 1}


@pytest.mark.parametrize("shape", [None, (None, 2**20, 2**20), (2**70,)])
def test_nothing_is_invented_without_a_rank_or_beyond_all_memory(shape: tuple[int | None, ...] | None) -> None:
    assert invented_inputs(Signature((TensorSpec("x", DataType.FP32, shape),), ())) is None
