from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.errors import InvalidInput
from adapters.export import data
from adapters.export.data import Data, DataKind, read_data
from adapters.tensors import DataType, Signature, TensorSpec
from tests.adapters.export.npz import save, save_claiming

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def read(path: Path) -> Data:
    return read_data(path, DataKind.GOLDEN)


def refused(path: Path) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(path)
    return str(caught.value)


def test_inputs_outputs_and_labels_are_read_with_the_file_s_digest(tmp_path: Path) -> None:
    path = save(tmp_path / "golden.npz", inputs_x=ROWS, outputs_y=ROWS * 2, labels=np.array([0, 2, 1]), other=[1])
    found = read(path)
    assert list(found.inputs) == ["x"]
    np.testing.assert_array_equal(found.inputs["x"], ROWS)
    np.testing.assert_array_equal(found.outputs["y"], ROWS * 2)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 2, 1]
    assert found.rows == 3
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_texts_are_bytes_and_big_endian_numbers_are_native(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npz", inputs_t=np.array(["ä", "b"]), inputs_n=np.array([1, 2], ">i4"))
    found = read(path)
    assert found.inputs["t"].tolist() == ["ä".encode(), b"b"]
    assert found.inputs["n"].dtype == np.dtype("<i4")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"image": ROWS}, "inputs/<tensor>"),
        ({"inputs_x": ROWS[:0]}, "'inputs/x' is empty"),
        ({"inputs_x": ROWS, "inputs_z": ROWS[:2]}, "expected 3 rows in every array, 'inputs/z' has 2"),
        ({"inputs_x": ROWS, "outputs_y": ROWS[:2]}, "'outputs/y' has 2"),
        ({"inputs_x": np.array([[1.0], [np.nan]])}, "'inputs/x' has a NaN or an infinity in row 1"),
        ({"inputs_x": ROWS, "labels": np.array([0.5, 1, 2])}, "labels as integers of shape [3]"),
        ({"inputs_x": ROWS, "labels": np.array([[0], [1], [2]])}, "got int64 [3, 1]"),
        ({"inputs_x": ROWS, "labels": np.array([0, -1, 2])}, "labels from 0 on, got -1"),
        ({"inputs_x": np.array([1j])}, "complex128"),
    ],
)
def test_rows_that_nothing_can_be_compared_by_are_refused(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    assert says in refused(save(tmp_path / "d.npz", **arrays))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **{"inputs/x": np.array([object()])})
    assert "pickled objects" in refused(tmp_path / "d.npz")


def test_a_shape_that_the_bytes_do_not_bear_out_is_refused_before_there_is_room_for_it(tmp_path: Path) -> None:
    path = save_claiming(tmp_path / "d.npz", (1 << 40, 1 << 20), b"\0" * 16)
    assert "is damaged: its shape is not that of its" in refused(path)


def test_a_bomb_is_refused_by_what_it_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_claiming(tmp_path / "d.npz", (1000, 1000), b"\0" * 4_000_000)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(data, "MOST_BYTES", 1_000_000)
    assert "at most 1000000 can be used" in refused(path)


def test_a_file_larger_than_the_limit_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "d.npz", inputs_x=ROWS)
    monkeypatch.setattr(data, "MOST_BYTES", 100)
    assert "at most 100 bytes" in refused(path)


def test_more_entries_than_a_file_of_rows_can_need_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for number in range(1001):
            archive.writestr(f"inputs/{number}.npy", b"")
    assert "at most 1000 arrays" in refused(tmp_path / "d.npz")


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npz", inputs_x=ROWS)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("inputs/x.npy", b"")
    assert "two arrays of one name" in refused(path)


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, keep: int) -> None:
    path = save(tmp_path / "d.npz", inputs_x=ROWS)
    path.write_bytes(path.read_bytes()[:keep])
    assert ".npz file" in refused(path)


def test_a_pipe_and_a_folder_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "expected a file" in refused(tmp_path / "pipe")
    assert "Is a directory" in refused(tmp_path)
    assert "No such file" in refused(tmp_path / "nothing")


def test_a_sample_is_taken_evenly_and_labels_stay_with_their_rows() -> None:
    rows = np.arange(100)
    whole = Data("d", DataKind.CALIBRATION, {"x": rows * 10, "scale": np.array(3)}, {"y": rows}, rows, "f" * 64)
    sample = whole.sample(5)
    assert sample.inputs["x"].tolist() == [0, 240, 490, 740, 990]
    assert sample.inputs["scale"] == 3
    assert sample.outputs["y"].tolist() == [0, 24, 49, 74, 99]
    assert sample.labels is not None
    assert sample.labels.tolist() == [0, 24, 49, 74, 99]
    assert (sample.rows, sample.rows_of) == (5, 100)
    assert whole.sample(100) is whole


SIGNATURE = Signature((TensorSpec("x", DataType.FP32, (1, 4)),), ())


def test_rows_fit_a_model_of_a_fixed_batch() -> None:
    Data("d", DataKind.GOLDEN, {"x": ROWS}).check(SIGNATURE)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"z": ROWS}, "expected the arrays 'inputs/x', got 'inputs/z'"),
        ({"x": ROWS, "z": ROWS}, "'z'"),
        ({"x": ROWS.astype(np.float64)}, "expected datatype FP32, got FP64"),
        ({"x": ROWS[:, :3]}, "axis 1 must be 4, not 3"),
        ({"x": ROWS[:, :, None]}, "expected 2 dimensions"),
    ],
)
def test_rows_that_the_signature_does_not_take_are_refused(inputs: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Data("calibration.npz", DataKind.CALIBRATION, inputs).check(SIGNATURE)
    assert says in str(caught.value)
    assert "calibration.npz" in str(caught.value)
