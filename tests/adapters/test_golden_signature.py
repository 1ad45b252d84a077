import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.golden import golden_signature
from adapters.tensors import DataType, Signature, TensorSpec


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **{name.replace("__", "/", 1): array for name, array in arrays.items()})
    return path


def test_names_dtypes_and_shapes_come_from_the_file_with_axis_0_free(tmp_path: Path) -> None:
    path = save(
        tmp_path / "golden.npz",
        inputs__image=np.zeros((3, 8, 8), np.float32),
        inputs__mask=np.zeros((3, 8), np.bool_),
        outputs__probabilities=np.zeros((3, 10), np.float64),
    )
    assert golden_signature(path) == Signature(
        (TensorSpec("image", DataType.FP32, (None, 8, 8)), TensorSpec("mask", DataType.BOOL, (None, 8))),
        (TensorSpec("probabilities", DataType.FP64, (None, 10)),),
    )


def test_the_other_byte_order_and_texts_have_datatypes_too(tmp_path: Path) -> None:
    path = save(
        tmp_path / "golden.npz",
        inputs__ids=np.zeros(3, ">i8"),
        inputs__texts=np.array([b"a", b"bc"]),
        outputs__y=np.zeros((), np.int32),
    )
    signature = golden_signature(path)
    assert signature is not None
    assert [spec.datatype for spec in signature.inputs] == [DataType.INT64, DataType.BYTES]
    assert signature.outputs == (TensorSpec("y", DataType.INT32, ()),)


@pytest.mark.parametrize(
    "arrays",
    [
        {"inputs__x": np.zeros(2)},
        {"outputs__y": np.zeros(2)},
        {"inputs__x": np.array([{}], dtype=object), "outputs__y": np.zeros(2)},
        {"inputs__x": np.zeros(2, np.complex64), "outputs__y": np.zeros(2)},
    ],
    ids=["no outputs", "no inputs", "pickled objects", "complex numbers"],
)
def test_a_file_that_says_too_little_is_not_used(tmp_path: Path, arrays: dict[str, Any]) -> None:
    assert golden_signature(save(tmp_path / "golden.npz", **arrays)) is None


def test_a_damaged_or_absent_file_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    assert golden_signature(path) is None
    path.write_bytes(b"PK\x03\x04 and no more")
    assert golden_signature(path) is None


def test_a_header_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    array = io.BytesIO(b"\x93NUMPY\x02\x00" + (2**25).to_bytes(4, "little") + b" " * 2**25)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inputs/x.npy", array.getvalue())
    assert golden_signature(path) is None
