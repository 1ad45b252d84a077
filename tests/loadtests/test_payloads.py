from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtests.payloads import BadPayload, payload

DIGITS = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]}]}


def of(*inputs: tuple[str, str, list[int]]) -> dict[str, Any]:
    return {"inputs": [dict(zip(("name", "datatype", "shape"), each, strict=True)) for each in inputs]}


def npz(folder: Path, **arrays: np.ndarray) -> str:
    file = folder / "rows.npz"
    np.savez(file, **{f"inputs/{name}": each for name, each in arrays.items()})
    return str(file)


def test_digits_are_the_sample_images_with_a_batch_axis() -> None:
    made = payload("digits", DIGITS)

    assert len(made.inputs) >= 10
    assert {(each["image"].shape, str(each["image"].dtype)) for each in made.inputs} == {((1, 8, 8), "float32")}


def test_an_image_is_what_image_models_take() -> None:
    made = payload("image", of(("pixels", "FP32", [-1, 3, 224, 224])))

    assert made.inputs[0]["pixels"].shape == (1, 3, 224, 224)


def test_invented_ones_fit_whatever_the_model_takes_and_are_always_the_same() -> None:
    metadata = of(("a", "FP16", [-1, 3]), ("b", "INT8", [2]), ("c", "BYTES", [-1]), ("d", "BOOL", []))
    first, again = payload("invented", metadata), payload("invented", metadata)

    assert len(first.inputs) > 1
    for name in "abcd":
        assert np.array_equal(first.inputs[0][name], again.inputs[0][name])


def test_an_npz_is_asked_row_by_row(tmp_path: Path) -> None:
    file = npz(tmp_path, x=np.arange(6, dtype=np.int64).reshape(3, 2), names=np.array(["ä", "b", "c"]))
    made = payload(file, of(("x", "INT64", [-1, 2]), ("names", "BYTES", [-1])))

    assert made.name == "rows.npz"
    assert [each["x"].tolist() for each in made.inputs] == [[[0, 1]], [[2, 3]], [[4, 5]]]
    assert made.inputs[0]["names"].tolist() == ["ä".encode()]


def pickled(file: Path) -> None:
    np.savez(file, **{"inputs/x": np.array([{"a": 1}], object)})


def cut_off(file: Path) -> None:
    np.savez(file, **{"inputs/x": np.zeros((2, 2))})
    file.write_bytes(file.read_bytes()[:-40])


def damaged(file: Path) -> None:
    np.savez_compressed(file, **{"inputs/x": np.arange(1000)})
    data = bytearray(file.read_bytes())
    data[60:90] = bytes(30)
    file.write_bytes(data)


def bomb(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("inputs/x.npy", "w") as member:
        for _ in range(17):
            member.write(bytes(16 << 20))


def boastful(file: Path) -> None:
    head = b"\x93NUMPY\x01\x00" + b"v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,), }"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inputs/x.npy", head.ljust(127) + b"\n" + bytes(80))


@pytest.mark.parametrize(
    "make",
    [
        pickled,
        cut_off,
        damaged,
        bomb,
        boastful,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"\x80\x04K\x01."),
        lambda file: np.savez(file, x=np.zeros(2)),
        lambda file: np.savez(file, **{"inputs/x": np.zeros(2), "inputs/y": np.zeros(3)}),
        lambda file: np.savez(file, **{"inputs/x": np.float64(1)}),
        lambda _: None,
    ],
    ids=[
        "pickled",
        "cut off",
        "damaged",
        "bomb",
        "boastful",
        "empty",
        "a pickle",
        "no inputs",
        "unlike rows",
        "scalar",
        "none",
    ],
)
def test_a_file_that_is_no_payload_is_refused_with_its_name(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "bad.npz"
    make(file)
    with pytest.raises(BadPayload, match=r"bad\.npz"):
        payload(str(file), of(("x", "FP64", [-1])))


@pytest.mark.parametrize(
    ("text", "metadata", "told"),
    [
        ("nonsense", DIGITS, "expected digits, image, invented"),
        ("digits", of(("a", "FP32", [-1, 8, 8]), ("b", "FP32", [1])), "takes a, b"),
        ("digits", of(("a", "INT64", [-1, 8, 8])), "the model takes INT64"),
        ("image", DIGITS, r"the model takes FP32 \[-1, 8, 8\]"),
        ("invented", {}, "names no inputs"),
        ("invented", of(("a", "INT4", [1])), "unknown datatype"),
        ("invented", of(("a", "FP32", [1 << 20, 1 << 20])), "more than"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(text: str, metadata: dict[str, Any], told: str) -> None:
    with pytest.raises(BadPayload, match=told):
        payload(text, metadata)


def test_a_model_that_says_nothing_of_its_inputs_takes_any_file(tmp_path: Path) -> None:
    assert len(payload(npz(tmp_path, data=np.zeros((4, 1))), {}).inputs) == 4
