"""Files become requests by what the model says that it takes; what cannot become one says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from adapters.tensors import DataType, Tensor
from gateway.protocols.open_inference import decode_infer
from gateway.terminal.payloads import IMAGES, UnusableFile, image_tensor, request_body
from gateway.types import Target


def takes(*inputs: tuple[str, str, list[int]]) -> dict[str, Any]:
    """A model's metadata."""
    return {"inputs": [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in inputs]}


def sent(file: Path, metadata: dict[str, Any]) -> dict[str, Tensor]:
    """What the server reads of the body."""
    return dict(decode_infer(Target("m"), orjson.dumps(request_body(file, metadata)))[0].inputs)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """4 pixels wide, 2 high: red grows to the right, green downwards, blue is 7."""
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[..., 0] = np.arange(4) * 60
    pixels[..., 1] = np.arange(2)[:, None] * 200
    pixels[..., 2] = 7
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.mark.parametrize(
    ("shape", "sent_shape", "channel_of"),
    [
        ([-1, 2, 4, 3], (1, 2, 4, 3), lambda tensor, channel: tensor[0, :, :, channel]),
        ([1, 2, 4, 3], (1, 2, 4, 3), lambda tensor, channel: tensor[0, :, :, channel]),
        ([-1, 3, 2, 4], (1, 3, 2, 4), lambda tensor, channel: tensor[0, channel]),
        ([-1, -1, -1, 3], (1, 2, 4, 3), lambda tensor, channel: tensor[0, :, :, channel]),
        ([-1, 3, -1, -1], (1, 3, 2, 4), lambda tensor, channel: tensor[0, channel]),
    ],
)
@pytest.mark.parametrize("datatype", ["UINT8", "FP32", "FP16", "INT64"])
def test_a_picture_has_the_layout_that_the_shape_tells(
    picture: Path,
    shape: list[int],
    sent_shape: tuple[int, ...],
    channel_of: Callable[[Tensor, int], Tensor],
    datatype: str,
) -> None:
    tensor = image_tensor(picture, {"name": "x", "datatype": datatype, "shape": shape})
    assert (tensor.shape, tensor.dtype) == (sent_shape, DataType(datatype).dtype)
    assert channel_of(tensor, 0).tolist() == [[0, 60, 120, 180]] * 2
    assert channel_of(tensor, 1).tolist() == [[0] * 4, [200] * 4]
    assert channel_of(tensor, 2).tolist() == [[7] * 4] * 2


@pytest.mark.parametrize(
    ("shape", "sent_shape"),
    [([-1, 2, 4], (1, 2, 4)), ([-1, 1, 2, 4], (1, 1, 2, 4)), ([-1, 2, 4, 1], (1, 2, 4, 1)), ([-1, -1, -1], (1, 2, 4))],
)
def test_one_channel_is_grey(picture: Path, shape: list[int], sent_shape: tuple[int, ...]) -> None:
    tensor = image_tensor(picture, {"name": "x", "datatype": "FP32", "shape": shape})
    grey = [[round(0.299 * 60 * x + 0.587 * 200 * y + 0.114 * 7) for x in range(4)] for y in range(2)]
    assert tensor.shape == sent_shape
    np.testing.assert_allclose(tensor.reshape(2, 4), grey, atol=1)


def test_a_picture_is_resized_to_the_model_s_height_and_width(picture: Path) -> None:
    tensor = image_tensor(picture, {"name": "x", "datatype": "UINT8", "shape": [-1, 3, 20, 8]})
    assert tensor.shape == (1, 3, 20, 8)
    assert tensor[0, 1, 0, 0] < 10 < 190 < tensor[0, 1, 19, 0], "green grows downwards"


@pytest.mark.parametrize("suffix", [each for each in IMAGES if each != ".jpeg"])
def test_every_kind_of_image_is_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"grey{suffix.upper()}"
    Image.new("L", (3, 5), 128).save(file)
    (tensor,) = sent(file, takes(("x", "FP32", [-1, 5, 3]))).values()
    np.testing.assert_allclose(tensor, np.full((1, 5, 3), 128), atol=2)


def test_the_sample_digits_can_be_sent_to_the_sample_model() -> None:
    file = Path(__file__).resolve().parents[3] / "docs/digits/7.png"
    (tensor,) = sent(file, takes(("image", "FP32", [-1, 8, 8]))).values()
    assert tensor.shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (takes(("x", "FP32", [-1, 10])), "input 'x' has shape [-1, 10], which is none of an image"),
        (takes(("x", "FP32", [-1, 2, 4, 5])), "input 'x' has shape [-1, 2, 4, 5], which is none of an image"),
        (takes(("x", "FP32", [])), "which is none of an image"),
        (takes(("x", "INT8", [-1, 2, 4])), "input 'x': the values do not fit INT8"),
        (takes(("a", "FP32", [1]), ("b", "FP32", [1])), "the model takes 2 inputs (a, b): give a .json or .npz"),
    ],
)
def test_a_picture_for_a_model_that_takes_none_is_refused(picture: Path, metadata: dict[str, Any], says: str) -> None:
    with pytest.raises(UnusableFile) as raised:
        request_body(picture, metadata)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("saved", "shape", "sent_shape"),
    [
        (np.arange(6.0).reshape(2, 3), [-1, 3], (2, 3)),
        (np.arange(3.0), [-1, 3], (1, 3)),
        (np.arange(3), [1, 3], (1, 3)),
        (np.arange(3), [3], (3,)),
        (np.array(5), [], ()),
    ],
)
@pytest.mark.parametrize("datatype", ["FP32", "INT64", "UINT8", "FP64"])
def test_an_array_is_sent_in_the_model_s_datatype_with_a_batch_axis_where_only_that_is_missing(
    tmp_path: Path, saved: np.ndarray, shape: list[int], sent_shape: tuple[int, ...], datatype: str
) -> None:
    np.save(tmp_path / "x.npy", saved)
    tensor = sent(tmp_path / "x.npy", takes(("x", datatype, shape)))["x"]
    assert (tensor.shape, tensor.dtype) == (sent_shape, DataType(datatype).dtype)
    assert tensor.ravel().tolist() == saved.ravel().tolist()


@pytest.mark.parametrize("names", [{"a": "a", "b": "b"}, {"inputs/a": "a", "inputs/b": "b", "outputs/y": None}])
def test_an_archive_has_an_array_for_each_input_and_may_be_a_golden_file(
    tmp_path: Path, names: dict[str, str | None]
) -> None:
    np.savez(tmp_path / "x.npz", **{name: np.ones((1, 2)) for name in names})
    tensors = sent(tmp_path / "x.npz", takes(("a", "FP32", [-1, 2]), ("b", "INT8", [-1, 2])))
    assert {name: str(tensor.dtype) for name, tensor in tensors.items()} == {"a": "float32", "b": "int8"}


@pytest.mark.parametrize(
    ("document", "values"),
    [
        ([[1, 2], [3, 4]], [[1.0, 2.0], [3.0, 4.0]]),
        ([1, 2], [[1.0, 2.0]]),
        ({"x": [[1, 2]]}, [[1.0, 2.0]]),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}, [[1.0, 2.0]]),
    ],
)
def test_json_is_values_of_the_only_input_or_of_each_or_a_whole_request(
    tmp_path: Path, document: Any, values: list[list[float]]
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(document))
    assert sent(tmp_path / "x.json", takes(("x", "FP32", [-1, 2])))["x"].tolist() == values


def test_texts_are_sent_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(["drei", "süß"]))
    np.save(tmp_path / "x.npy", np.array(["drei", "süß"]))
    for name in ("x.json", "x.npy"):
        assert sent(tmp_path / name, takes(("x", "BYTES", [-1])))["x"].tolist() == [b"drei", "süß".encode()]


def test_what_the_model_does_not_take_is_left_for_the_server_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"z": [1.5], "t": ["a"]}))
    body = request_body(tmp_path / "x.json", takes(("x", "FP32", [-1])))
    assert [(each["name"], each["datatype"]) for each in body["inputs"]] == [("z", "FP64"), ("t", "BYTES")]


def unusable(folder: Path) -> dict[str, Path]:
    files = {
        "x.txt": b"1 2 3",
        "x": b"",
        "x.json": b"{",
        "ragged.json": b"[[1], [2, 3]]",
        "words.json": b'["a", "b"]',
        "null.json": b"[null]",
        "objects.json": b'[{"a": 1}]',
        "utf.json": b'"\xff"',
        "x.npy": b"no array",
        "x.npz": b"no archive",
        "cut.npz": b"PK\x03\x04",
        "x.png": b"no picture",
        "cut.png": b"\x89PNG\r\n\x1a\n\0\0",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    np.save(folder / "pickled.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.save(folder / "complex.npy", np.array([1j]))
    np.save(folder / "nan.npy", np.array([np.nan]))
    np.savez(folder / "dates.npz", z=np.array(["2026-01-01"], "M8[D]"))
    return {each.name: each for each in folder.iterdir()} | {"absent.npy": folder / "absent.npy"}


@pytest.mark.parametrize(
    "name",
    ["x.txt", "x", "x.json", "ragged.json", "words.json", "null.json", "objects.json", "utf.json", "x.npy", "x.npz",
     "cut.npz", "x.png", "cut.png", "pickled.npy", "complex.npy", "nan.npy", "dates.npz", "absent.npy"],
)  # fmt: skip
def test_a_file_that_cannot_become_a_request_says_which_it_is(tmp_path: Path, name: str) -> None:
    shape = [-1, 8, 8] if name.endswith(".png") else [-1]
    with pytest.raises(UnusableFile, match=name):
        request_body(unusable(tmp_path)[name], takes(("x", "INT32", shape)))


@pytest.mark.parametrize(
    ("values", "datatype"), [([1.5], "INT32"), ([300], "UINT8"), ([-1], "UINT64"), ([2], "BOOL"), ([1e300], "FP32")]
)
def test_values_are_not_bent_to_fit(tmp_path: Path, values: list[float], datatype: str) -> None:
    (tmp_path / "x.json").write_text(json.dumps(values))
    with pytest.raises(UnusableFile, match=f"input 'x': the values do not fit {datatype}"):
        request_body(tmp_path / "x.json", takes(("x", datatype, [-1])))


def test_a_picture_too_large_to_be_meant_is_refused(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3)
    with pytest.raises(UnusableFile, match=r"picture\.png"):
        request_body(picture, takes(("x", "FP32", [-1, 8, 8])))


def test_numbers_that_json_lacks_are_sent_as_strings(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([np.nan, np.inf, -np.inf, 1.5]))
    tensor = sent(tmp_path / "x.npy", takes(("x", "FP32", [-1])))["x"]
    np.testing.assert_array_equal(tensor, np.array([np.nan, np.inf, -np.inf, 1.5], np.float32))
