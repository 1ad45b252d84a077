import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from adapters import wire
from adapters.errors import InferenceFailed, InvalidInput, ServingError
from adapters.tensors import DataType, Signature, Tensor, TensorSpec
from adapters.torchserve import archive, handler
from adapters.torchserve.plan import DESCRIBE, Described, Plan, Refused, decode_description

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


class Double(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class Difference(torch.nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return left - right, left + right


class Named(torch.nn.Module):
    def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"next": ids + 1, "double": ids * 2}


class Listed(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x, x + 1]


class Masked(torch.nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return x if mask is None else x * mask


class Counted(torch.nn.Module):
    def forward(self, x: torch.Tensor, times: int) -> torch.Tensor:
        return x * times


class Strict(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() < 0):
            raise ValueError("negative sums are not for me")
        return x


class Odd(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        return x, [x]


@dataclass
class FakeContext:
    system_properties: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(autouse=True)
def _process_settings() -> Iterator[None]:
    """The handler sets up a whole process, which here is the tests'."""
    level, threads = logging.getLogger().level, torch.get_num_threads()
    yield
    logging.getLogger().setLevel(level)
    torch.set_num_threads(threads)


class Worker:
    """Does what TorchServe's worker does with an archive."""

    def __init__(
        self,
        folder: Path,
        weights: Path,
        signature: Signature | None = None,
        limit: int = 2**20,
        gpu: int | None = None,
        **told: Any,
    ) -> None:
        archive.pack(weights, Plan(weights.name, signature, 1, limit, **told), folder / "packed")
        self._context = FakeContext({"model_dir": str(folder / "packed"), "gpu_id": gpu})
        assert handler.handle(None, self._context) is None

    def describe(self) -> Described | Refused:
        answers = handler.handle([{"body": bytearray(DESCRIBE)}], self._context)
        assert answers is not None
        return decode_description(answers[0])

    def answer(self, *bodies: bytes) -> list[wire.Frame]:
        answers = handler.handle([{"body": bytearray(body)} for body in bodies], self._context)
        assert answers is not None
        return [wire.FrameReader().feed(answer)[0] for answer in answers]

    def infer(self, **inputs: Tensor) -> dict[str, Tensor]:
        frame = self.answer(request(**inputs))[0]
        if frame.kind is wire.Kind.ERROR:
            raise frame.error()
        return frame.tensors()


def request(**inputs: Tensor) -> bytes:
    return b"".join(wire.tensors_frame(wire.Kind.INFER, 0, inputs))


def script(folder: Path, module: torch.nn.Module) -> Path:
    path = folder / "weights.pt"
    torch.jit.save(torch.jit.script(module.eval()), str(path))
    return path


def served(folder: Path, module: torch.nn.Module, signature: Signature | None = None, limit: int = 2**20) -> Worker:
    return Worker(folder, script(folder, module), signature, limit)


def signature_of(inputs: list[str], outputs: list[str]) -> Signature:
    return Signature(
        tuple(TensorSpec(name, DataType.FP32, (None,)) for name in inputs),
        tuple(TensorSpec(name, DataType.FP32, (None,)) for name in outputs),
    )


@pytest.mark.parametrize(
    "dtype",
    [
        *(np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64),
        ml_dtypes.bfloat16,
    ],
)
@pytest.mark.parametrize("shape", [(), (1, 3), (0, 2)])
def test_a_tensor_of_any_dtype_and_shape_goes_through(tmp_path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    tensor = np.ones(shape, dtype)
    answer = served(tmp_path, Masked()).infer(x=tensor)["output_0"]
    assert answer.dtype == tensor.dtype
    np.testing.assert_array_equal(answer, tensor)


def test_inputs_go_by_name_where_the_names_are_forwards(tmp_path: Path) -> None:
    worker = served(tmp_path, Difference(), signature_of(["right", "left"], ["minus", "plus"]))
    answer = worker.infer(right=np.float32([1]), left=np.float32([5]))
    assert (answer["minus"].item(), answer["plus"].item()) == (4, 6)


def test_inputs_go_in_the_signatures_order_where_the_names_are_others(tmp_path: Path) -> None:
    worker = served(tmp_path, Difference(), signature_of(["a", "b"], ["minus", "plus"]))
    assert worker.infer(b=np.float32([1]), a=np.float32([5]))["minus"].item() == 4


def test_a_traced_model_is_served_too(tmp_path: Path) -> None:
    traced = torch.jit.trace(torch.nn.Linear(2, 2, bias=False).eval(), torch.zeros(1, 2))
    torch.jit.save(traced, str(tmp_path / "traced.pt"))
    worker = Worker(tmp_path, tmp_path / "traced.pt", signature_of(["features"], ["scores"]))
    rows = np.float32([[1, 0], [0, 1], [2, 2]])
    np.testing.assert_allclose(worker.infer(features=rows)["scores"], rows @ traced.weight.detach().numpy().T)


def test_an_optional_argument_may_be_given_and_left_out(tmp_path: Path) -> None:
    worker = served(tmp_path, Masked())
    assert worker.infer(x=np.float32([3]))["output_0"].item() == 3
    assert worker.infer(x=np.float32([3]), mask=np.float32([0]))["output_0"].item() == 0


def test_a_dict_of_outputs_keeps_its_keys(tmp_path: Path) -> None:
    answer = served(tmp_path, Named()).infer(ids=np.array([1, 2]))
    assert {name: list(tensor) for name, tensor in answer.items()} == {"next": [2, 3], "double": [2, 4]}


def test_the_signature_chooses_among_a_dicts_outputs(tmp_path: Path) -> None:
    assert list(served(tmp_path, Named(), signature_of(["ids"], ["double"])).infer(ids=np.array([1]))) == ["double"]


def test_a_signature_that_names_an_output_which_is_not_there_fails_with_that_name(tmp_path: Path) -> None:
    worker = served(tmp_path, Named(), signature_of(["ids"], ["triple"]))
    with pytest.raises(InferenceFailed, match="names output 'triple', the model gave"):
        worker.infer(ids=np.array([1]))


def test_a_signature_with_too_few_outputs_fails_with_both_numbers(tmp_path: Path) -> None:
    worker = served(tmp_path, Difference(), signature_of(["left", "right"], ["only"]))
    with pytest.raises(InferenceFailed, match="names 1 outputs, the model gave 2"):
        worker.infer(left=np.float32([1]), right=np.float32([1]))


@pytest.mark.parametrize(
    ("module", "inputs", "outputs"),
    [
        (Double(), ["x"], ["output_0"]),
        (Difference(), ["left", "right"], ["output_0", "output_1"]),
        (Masked(), ["x"], ["output_0"]),
        (Named(), ["ids"], []),
        (Listed(), ["x"], []),
    ],
    ids=["tensor", "tuple", "optional", "dict", "list"],
)
def test_a_model_without_a_signature_is_described_by_its_schema(
    tmp_path: Path, module: torch.nn.Module, inputs: list[str], outputs: list[str]
) -> None:
    described = served(tmp_path, module).describe()
    assert isinstance(described, Described)
    assert described.signature.inputs == tuple(TensorSpec(name, DataType.FP32, None) for name in inputs)
    assert described.signature.outputs == tuple(TensorSpec(name, DataType.FP32, None) for name in outputs)


def test_a_declared_signature_is_what_is_described(tmp_path: Path) -> None:
    signature = signature_of(["features"], ["scores"])
    assert served(tmp_path, Double(), signature).describe() == Described(signature)


def test_each_request_of_a_batch_has_its_own_answer(tmp_path: Path) -> None:
    good, bad = request(x=np.float32([1])), request(x=np.float32([-1]))
    frames = served(tmp_path, Strict()).answer(good, bad, good)
    assert [frame.kind for frame in frames] == [wire.Kind.RESULT, wire.Kind.ERROR, wire.Kind.RESULT]


def test_a_models_exception_comes_back_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(InferenceFailed, match=r"the model failed: .*negative sums are not for me"):
        served(tmp_path, Strict()).infer(x=np.float32([-1]))


@pytest.mark.parametrize("body", [b"", b"hello", b"\x01" * 24])
def test_a_body_that_is_no_frame_is_invalid_input(tmp_path: Path, body: bytes) -> None:
    error = served(tmp_path, Double()).answer(body)[0].error()
    assert type(error) is InvalidInput
    assert "no tensors frame" in str(error)


def test_bytes_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="input 'x': expected numbers, got BYTES"):
        served(tmp_path, Double()).infer(x=np.array([b"a"], np.object_))


def test_an_output_that_is_no_tensor_is_named(tmp_path: Path) -> None:
    with pytest.raises(InferenceFailed, match="output 'output_1': expected a tensor, got list"):
        served(tmp_path, Odd()).infer(x=np.float32([1]))


def test_an_answer_beyond_the_limit_fails_alone(tmp_path: Path) -> None:
    worker = served(tmp_path, Double(), limit=1000)
    with pytest.raises(InferenceFailed, match="expected at most 1000 bytes of outputs, got"):
        worker.infer(x=np.zeros(1000, np.float32))
    assert worker.infer(x=np.float32([1]))["output_0"].item() == 2


def refused(worker: Worker) -> str:
    description = worker.describe()
    assert isinstance(description, Refused)
    with pytest.raises(ServingError):
        worker.infer(x=np.float32([1]))
    return description.reason


def test_a_pickled_model_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    torch.save(Double(), tmp_path / "eager.pt")
    reason = refused(Worker(tmp_path, tmp_path / "eager.pt"))
    assert reason == "eager.pt is not TorchScript: save it with torch.jit.save, not with torch.save"


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = script(tmp_path, Double())
    path.write_bytes(path.read_bytes()[:-200])
    assert "weights.pt is not TorchScript, or is damaged" in refused(Worker(tmp_path, path))


def test_a_damaged_archive_is_refused_with_torchs_reason(tmp_path: Path) -> None:
    path = script(tmp_path, Double())
    content = bytearray(path.read_bytes())
    content[150:400] = bytes(250)
    path.write_bytes(content)
    assert f"weights.pt cannot be loaded by torch {torch.__version__}: " in refused(Worker(tmp_path, path))


def test_an_argument_that_is_no_tensor_is_refused_by_name(tmp_path: Path) -> None:
    assert "expected arguments that are tensors, got 'times' of type int" in refused(served(tmp_path, Counted()))


def test_a_signature_with_the_wrong_number_of_inputs_is_refused(tmp_path: Path) -> None:
    worker = served(tmp_path, Difference(), signature_of(["only"], ["y"]))
    assert "forward of weights.pt takes left, right, but the signature has 1: 'only'" in refused(worker)


def test_a_worker_runs_the_threads_that_it_is_told(tmp_path: Path) -> None:
    Worker(tmp_path, script(tmp_path, Double()), threads=3).infer(x=np.ones(1, np.float32))
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("asked", "gpu", "there", "device"),
    [
        ("", None, 0, "cpu"),
        ("", None, 2, "cpu"),
        ("", 1, 2, "cuda:1"),
        ("", 1, 0, "cpu"),
        ("cpu", 1, 2, "cpu"),
        ("cuda", 1, 2, "cuda:1"),
        ("cuda", None, 2, "cuda:0"),
        ("cuda:1", 0, 2, "cuda:1"),
    ],
)
def test_a_model_is_placed_where_it_is_asked_to_be(
    monkeypatch: pytest.MonkeyPatch, asked: str, gpu: int | None, there: int, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    assert handler._device(asked, gpu) == torch.device(device)


@pytest.mark.parametrize("asked", ["cuda", "cuda:7"])
def test_a_gpu_that_is_not_there_is_refused_and_not_replaced_by_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    worker = Worker(tmp_path, script(tmp_path, Double()), device=asked)
    described = worker.describe()
    assert isinstance(described, Refused)
    assert f"expected a GPU that torch can use, got '{asked}'" in described.reason


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_a_model_on_a_gpu_gives_the_answers_that_it_gives_on_the_cpu(tmp_path: Path) -> None:
    worker = Worker(tmp_path, script(tmp_path, Double()), device="cuda")
    np.testing.assert_array_equal(worker.infer(x=np.ones((2, 3), np.float32))["output_0"], np.full((2, 3), 2.0))
