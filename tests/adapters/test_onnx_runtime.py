"""ONNX Runtime gives the answers that ONNX itself gives for its operators, for every datatype it can be asked in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from adapters import onnx_runtime
from adapters.errors import InvalidInput, LoadFailed
from adapters.onnx_runtime import OnnxRuntime, OnnxSession
from adapters.tensors import DataType, Tensor, TensorSpec
from tests.adapters.onnx_models import node, save, tensor
from tests.strategies import same

TEST_DATA = Path(os.environ.get("TORII_TEST_DATA", Path(__file__).resolve().parents[2].parent / "shared/data"))
OPERATORS = sorted(path.name for path in TEST_DATA.glob("onnx/node/test_*")) or ["none"]
BF16 = DataType.BF16.dtype


def load(path: Path, **options: Any) -> OnnxSession:
    return OnnxRuntime().load(path, {"intra_op_threads": 1, **options})


def read(path: Path) -> Tensor:
    array = numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))
    return texts(array) if array.dtype.kind in "OU" else array


def texts(array: Any) -> Tensor:
    encoded = np.empty(np.shape(array), np.object_)
    encoded.ravel()[:] = [str(each).encode() for each in np.ravel(array)]
    return encoded


def run_test_set(folder: Path, **tolerance: float) -> dict[str, Tensor]:
    session = load(folder / "model.onnx")
    inputs = sorted((folder / "test_data_set_0").glob("input_*.pb"))
    outputs = sorted((folder / "test_data_set_0").glob("output_*.pb"))
    assert len(inputs) == len(session.signature.inputs)
    given = {spec.name: read(path) for spec, path in zip(session.signature.inputs, inputs, strict=True)}
    session.signature.check(given)
    answer = session.run(given)
    assert list(answer) == [spec.name for spec in session.signature.outputs]
    for (name, got), path in zip(answer.items(), outputs, strict=True):
        right = read(path)
        assert (got.dtype, got.shape) == (right.dtype, right.shape), name
        if right.dtype.kind == "f":
            np.testing.assert_allclose(got, right, **{"rtol": 1e-4, "atol": 1e-6, **tolerance})
        else:
            assert got.tolist() == right.tolist()
    return answer


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_s_own_test_set_comes_out_right(test_data: Callable[[str], Path], operator: str) -> None:
    run_test_set(test_data(f"onnx/node/{operator}"))


def test_mnist_8_reads_its_own_digit_and_ten_drawn_ones(test_data: Callable[[str], Path]) -> None:
    folder = test_data("onnx/mnist-8")
    (scores,) = run_test_set(folder, atol=1e-2).values()
    assert scores.argmax() == 2
    session = load(folder / "model.onnx")
    for digit in range(10):
        image = Image.open(test_data(f"inputs/mnist_torchserve/{digit}.png")).convert("L")
        pixels = np.asarray(image, np.float32).reshape(1, 1, 28, 28)
        assert session.run({"Input3": pixels})["Plus214_Output_0"].argmax() == digit


def test_weights_that_are_listed_as_inputs_are_not_asked_of_clients(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [node("Add", "x k", "y")],
        "graph",
        [tensor("x", ["rows", 2]), tensor("k", [2])],
        [tensor("y", ["rows", 2])],
        [numpy_helper.from_array(np.array([1, 2], np.float32), "k")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    session = load(tmp_path / "model.onnx")
    assert session.signature.inputs == (TensorSpec("x", DataType.FP32, (None, 2)),)
    assert session.run({"x": np.zeros((1, 2), np.float32)})["y"].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("shape", "asked"),
    [(["n", 3], (None, 3)), ([None, 3], (None, 3)), ([0, 3], (0, 3)), ([], None), (None, None), (["n"], (None,))],
)
def test_shapes_are_told_as_the_model_states_them(
    tmp_path: Path, shape: list[Any] | None, asked: tuple[int | None, ...] | None
) -> None:
    path = save(tmp_path / "m.onnx", [node("Identity", "x", "y")], [tensor("x", shape)], [tensor("y", shape)])
    assert load(path).signature.inputs[0].shape == asked


@pytest.mark.parametrize(
    "value",
    [
        np.array([[1.5, -2.0], [np.inf, 3.0]]).astype(BF16),
        np.array(1.5).astype(BF16),
        np.zeros((0, 2), BF16),
        np.arange(16).astype(BF16).reshape(4, 4)[:, ::2],
        np.frombuffer(b"\x80\x3f\x00\x40", BF16),
    ],
    ids=["a matrix", "a scalar", "nothing", "every other column", "bytes as received"],
)
def test_bfloat16_goes_in_and_comes_out(tmp_path: Path, value: Tensor) -> None:
    kind, shape = TensorProto.BFLOAT16, [None] * value.ndim
    path = save(
        tmp_path / "m.onnx",
        [node("Identity", "x", "same"), node("Cast", "x", "wide", to=TensorProto.FLOAT), node("Identity", "k", "more")],
        [tensor("x", shape, kind), tensor("k", [], TensorProto.FLOAT)],
        [tensor("same", shape, kind), tensor("wide", shape), tensor("more", [])],
    )
    answer = load(path).run({"x": value, "k": np.array(2.5, np.float32)})
    assert same(answer["same"], value)
    assert same(answer["wide"], value.astype(np.float32))
    assert same(answer["more"], np.array(2.5, np.float32))


@pytest.mark.parametrize("elements", [["日本", "", "a\0", "\0", "x" * 1000], [], [["a"], ["b"]], "alone"])
def test_texts_come_out_to_the_byte(tmp_path: Path, elements: Any) -> None:
    array = texts(elements)
    spec = {"shape": [None] * array.ndim, "kind": TensorProto.STRING}
    path = save(tmp_path / "m.onnx", [node("Identity", "x", "y")], [tensor("x", **spec)], [tensor("y", **spec)])
    assert same(load(path).run({"x": array})["y"], array)


def test_bytes_that_are_no_text_are_the_caller_s_mistake(tmp_path: Path) -> None:
    spec = {"shape": [None], "kind": TensorProto.STRING}
    path = save(tmp_path / "m.onnx", [node("Identity", "x", "y")], [tensor("x", **spec)], [tensor("y", **spec)])
    with pytest.raises(InvalidInput, match="input 'x': BYTES for a string input must be UTF-8"):
        load(path).run({"x": np.array([b"fine", b"\xff"], object)})


def test_outputs_that_are_no_tensors_are_left_out(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
    nodes = [node("SplitToSequence", "x", "parts"), node("Identity", "x", "y")]
    session = load(save(tmp_path / "m.onnx", nodes, [tensor("x", [None])], [sequence, tensor("y", [None])]))
    assert [spec.name for spec in session.signature.outputs] == ["y"]
    assert list(session.run({"x": np.ones(2, np.float32)})) == ["y"]


SEQUENCE = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "says"),
    [
        (
            node("SplitToSequence", "x", "parts"),
            [tensor("x", [None])],
            [SEQUENCE],
            r"no output of the model is a tensor \('parts' seq\(tensor\(float\)\)\)",
        ),
        (
            node("ConcatFromSequence", "parts", "y", axis=0),
            [SEQUENCE],
            [tensor("y", [None])],
            r"'parts' is of type seq\(tensor\(float\)\), which no protocol can carry",
        ),
    ],
    ids=["only a sequence comes out", "a sequence goes in"],
)
def test_a_model_whose_tensors_no_protocol_can_carry_is_refused(
    tmp_path: Path,
    operator: onnx.NodeProto,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    says: str,
) -> None:
    path = save(tmp_path / "m.onnx", [operator], inputs, outputs)
    with pytest.raises(LoadFailed, match=says):
        load(path)


def with_weights_at(folder: Path, location: str) -> Path:
    """A model in `folder`, y = x + k, whose weights k are in another file."""
    weight = onnx.TensorProto(name="k", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    graph = helper.make_graph([node("Add", "x k", "y")], "g", [tensor("x", [4])], [tensor("y", [4])], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


@pytest.mark.parametrize("location", ["../secret.bin", "inner/../../secret.bin", "{root}/secret.bin"])
def test_weights_outside_the_version_s_folder_are_not_read(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    path = with_weights_at(tmp_path / "1", location.format(root=tmp_path))
    (tmp_path / "1/inner").mkdir()
    with pytest.raises(Exception, match="External data path"):
        load(path)


def test_weights_in_a_file_beside_the_model_are_read(tmp_path: Path) -> None:
    path = with_weights_at(tmp_path / "1", "weights.bin")
    (tmp_path / "1/weights.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    assert load(path).run({"x": np.ones(4, np.float32)})["y"].tolist() == [1, 2, 3, 4]


def test_execution_providers_that_are_not_there_are_refused_with_those_that_are(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", [node("Identity", "x", "y")], [tensor("x", [None])], [tensor("y", [None])])
    with pytest.raises(LoadFailed, match=r"TpuProvider not in this onnxruntime, which has .*CPUExecutionProvider"):
        load(path, execution_providers=["CPUExecutionProvider", "TpuProvider"])


@pytest.fixture
def claims_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """An onnxruntime built for CUDA, on a machine that has none: it says that it has the provider."""
    claimed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnx_runtime.ort, "get_available_providers", lambda: claimed)


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_a_provider_that_does_not_start_is_refused_where_onnx_runtime_would_take_the_cpu(
    tmp_path: Path, claims_cuda: None
) -> None:
    path = save(tmp_path / "m.onnx", [node("Identity", "x", "y")], [tensor("x", [None])], [tensor("y", [None])])
    with pytest.raises(LoadFailed, match=r"CUDAExecutionProvider did not start here.* on CPUExecutionProvider without"):
        load(path, execution_providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(LoadFailed, match="without CPUExecutionProvider the whole model has to run on CUDA"):
        load(path, execution_providers=["CUDAExecutionProvider"])


def test_providers_with_threads_of_their_own_are_told_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "m.onnx", [node("Identity", "x", "y")], [tensor("x", [None])], [tensor("y", [None])])
    asked: list[Any] = []

    def session(path: str, settings: Any, providers: list[str], provider_options: list[Any], **_: Any) -> Any:
        asked.extend(zip(providers, provider_options, strict=True))
        made = real(path, settings, providers=["CPUExecutionProvider"])
        made.get_providers = lambda: providers
        return made

    names = ["OpenVINOExecutionProvider", "XnnpackExecutionProvider", "CPUExecutionProvider"]
    real = onnx_runtime.ort.InferenceSession
    monkeypatch.setattr(onnx_runtime.ort, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnx_runtime.ort, "InferenceSession", session)
    load(path, intra_op_threads=3, execution_providers=names)
    assert [options for _, options in asked] == [{"num_of_threads": "3"}, {"intra_op_num_threads": "3"}, {}]


def test_the_runtime_names_itself_with_its_version() -> None:
    name, number = OnnxRuntime().describe().split()
    assert name == "onnxruntime"
    assert number[0].isdigit()
