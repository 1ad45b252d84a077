"""The tensor handler: runs in TorchServe's Python worker, tensors in and tensors out; the gateway never imports it.

Nothing escapes `handle` but answers. An exception would be TorchServe's 503 without a reason and a closed
connection, and one while loading minutes of restarts; so failures travel as answers too.
"""

from __future__ import annotations

import functools
import logging
import traceback
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from adapters import wire
from adapters.cores import usable_cores
from adapters.errors import InferenceFailed, InvalidInput, LoadFailed, ServingError
from adapters.tensors import DataType, Signature, Tensor, Tensors, TensorSpec
from adapters.torchserve.plan import (
    DESCRIBE,
    MODEL_FILE,
    PLAN_FILE,
    Described,
    Plan,
    Refused,
    decode_plan,
    encode_description,
)

_log = logging.getLogger(__name__)

_BF16 = DataType.BF16.dtype
_TENSOR_TYPES = ("Tensor", "Optional[Tensor]")


class Context(Protocol):
    """What of TorchServe's context is used."""

    system_properties: Mapping[str, Any]


def handle(data: Sequence[Mapping[str, Any]] | None, context: Context) -> list[bytes] | None:
    """TorchServe's entry point: None to load, then a list with one mapping for each request of a batch."""
    properties = context.system_properties
    served = _serve(Path(properties["model_dir"]), properties.get("gpu_id"))
    if data is None:
        return None
    return [served(item.get("body") or item.get("data") or b"") for item in data]


class Served(Protocol):
    """Answers one request's body."""

    def __call__(self, body: bytes) -> bytes:
        """Never raises."""
        ...


@functools.cache
def _serve(folder: Path, gpu: int | None) -> Served:
    # TorchServe logs two lines for each request at INFO, through a pipe that java has to read and match.
    logging.getLogger().setLevel(logging.WARNING)
    plan = decode_plan((folder / PLAN_FILE).read_bytes())
    torch.set_num_threads(plan.threads or max(1, usable_cores() // plan.workers))
    try:
        device = _device(plan.device, gpu)
        return Model(_load(folder / MODEL_FILE, plan.file, device), plan, device)
    except Exception as error:  # noqa: BLE001  # whatever loading throws is a reason to be told
        traceback.print_exc()
        return functools.partial(_refuse, reason=str(error) if isinstance(error, LoadFailed) else _last_line(error))


def _refuse(body: bytes, *, reason: str) -> bytes:
    if body == DESCRIBE:
        return encode_description(Refused(reason))
    return wire.error_frame(0, InferenceFailed(reason))


def _device(asked: str, gpu: int | None) -> torch.device:
    """The device that model.toml asks for; else the GPU that TorchServe gave this worker, if torch can use it."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not asked:
        return torch.device("cpu" if gpu is None or not there else f"cuda:{gpu}")
    kind, _, number = asked.partition(":")
    if kind == "cpu":
        return torch.device("cpu")
    index = int(number) if number else gpu or 0
    if index >= there:
        raise LoadFailed(
            f"backend.torchserve.device: expected a GPU that torch can use, got {asked!r}, and torch "
            f'{torch.__version__} finds {there} here: install its CUDA build and the driver, or say device = "cpu"'
        )
    return torch.device(f"cuda:{index}")


def _load(path: Path, name: str, device: torch.device) -> torch.jit.ScriptModule:
    if not zipfile.is_zipfile(path):
        raise LoadFailed(f"{name} is not TorchScript, or is damaged (no zip archive): save it with torch.jit.save")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    # torch.load is never an option: a pickle runs code. Only an archive of torch.jit.save has constants.
    if not any(name.endswith("/constants.pkl") for name in names):
        raise LoadFailed(f"{name} is not TorchScript: save it with torch.jit.save, not with torch.save")
    try:
        model: torch.jit.ScriptModule = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
        return model.eval()
    except RuntimeError as error:
        raise LoadFailed(f"{name} cannot be loaded by torch {torch.__version__}: {_last_line(error)}") from error


class Model:
    """A loaded TorchScript model."""

    def __init__(self, model: torch.jit.ScriptModule, plan: Plan, device: torch.device) -> None:
        """Raises LoadFailed where forward cannot be called with tensors, or not with the signature's."""
        self._model = model
        self._device = device
        self._max_answer_bytes = plan.max_answer_bytes
        required, known = _arguments(model, plan.file)
        self._known = frozenset(known)
        self._outputs = tuple(spec.name for spec in plan.signature.outputs) if plan.signature else ()
        if plan.signature is None:
            self._signature = Signature(
                tuple(TensorSpec(name, DataType.FP32, None) for name in required), _outputs_of(model)
            )
            return
        self._signature = plan.signature
        count = len(plan.signature.inputs)
        if not len(required) <= count <= len(known):
            names = ", ".join(f"'{spec.name}'" for spec in plan.signature.inputs)
            raise LoadFailed(f"forward of {plan.file} takes {', '.join(known)}, but the signature has {count}: {names}")

    def __call__(self, body: bytes) -> bytes:
        """Answer one request: a frame for a frame, a description for DESCRIBE. Never raises."""
        if body == DESCRIBE:
            return encode_description(Described(self._signature))
        try:
            answer = b"".join(wire.tensors_frame(wire.Kind.RESULT, 0, self._run(_inputs(body))))
        except ServingError as error:
            return wire.error_frame(0, error)
        except Exception as error:  # noqa: BLE001  # whatever a model throws is that model's failure
            _log.warning("the model failed", exc_info=True)
            return wire.error_frame(0, InferenceFailed(f"the model failed: {_last_line(error)}"))
        if len(answer) > self._max_answer_bytes:
            limit = f"expected at most {self._max_answer_bytes} bytes of outputs, got {len(answer)}"
            return wire.error_frame(0, InferenceFailed(f"{limit}: send fewer rows at once"))
        return answer

    def _run(self, inputs: Tensors) -> dict[str, Tensor]:
        tensors = {name: _to_torch(name, tensor).to(self._device) for name, tensor in inputs.items()}
        with torch.inference_mode():
            if tensors.keys() <= self._known:
                outputs = self._model(**tensors)
            else:
                order = [spec.name for spec in self._signature.inputs if spec.name in tensors]
                outputs = self._model(*(tensors[name] for name in order))
        return {name: _to_numpy(name, output) for name, output in self._named(outputs).items()}

    def _named(self, outputs: object) -> dict[str, object]:
        if isinstance(outputs, dict):
            missing = [name for name in self._outputs if name not in outputs]
            if missing:
                raise InferenceFailed(f"the signature names output '{missing[0]}', the model gave {list(outputs)}")
            return {name: outputs[name] for name in self._outputs or outputs}
        values = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
        names = self._outputs or tuple(f"output_{index}" for index in range(len(values)))
        if len(names) != len(values):
            raise InferenceFailed(f"the signature names {len(names)} outputs, the model gave {len(values)}")
        return dict(zip(names, values, strict=True))


def _arguments(model: torch.jit.ScriptModule, file: str) -> tuple[list[str], list[str]]:
    """The names that forward needs, and those that it takes."""
    arguments = _schema(model).arguments[1:]
    for argument in arguments:
        if not argument.has_default_value() and str(argument.type) not in _TENSOR_TYPES:
            got = f"'{argument.name}' of type {argument.type}"
            raise LoadFailed(f"forward of {file}: expected arguments that are tensors, got {got}")
    tensors = [argument for argument in arguments if str(argument.type) in _TENSOR_TYPES]
    required = [argument.name for argument in tensors if not argument.has_default_value()]
    return required, [argument.name for argument in tensors]


def _schema(model: torch.jit.ScriptModule) -> Any:
    return model.forward.schema  # type: ignore[attr-defined]  # forward is a compiled method, which has one


def _outputs_of(model: torch.jit.ScriptModule) -> tuple[TensorSpec, ...]:
    """One for a tensor, n for a tuple; how many a list or a dict has is known only once it runs, hence none."""
    kind = _schema(model).returns[0].type
    if kind.kind() in ("ListType", "DictType"):
        return ()
    count = len(kind.elements()) if kind.kind() == "TupleType" else 1
    return tuple(TensorSpec(f"output_{index}", DataType.FP32, None) for index in range(count))


def _inputs(body: bytes) -> dict[str, Tensor]:
    try:
        frames = wire.FrameReader().feed(body)
        if len(frames) != 1:
            raise wire.BrokenFrame(f"expected one frame, got {len(frames)} in {len(body)} bytes")
        return frames[0].tensors()
    except wire.BrokenFrame as error:
        raise InvalidInput(f"the request's body is no tensors frame: {error}") from error


def _to_torch(name: str, tensor: Tensor) -> torch.Tensor:
    if tensor.dtype == object:
        raise InvalidInput(f"input '{name}': expected numbers, got BYTES; TorchScript has no tensors of bytes")
    if tensor.dtype == _BF16:
        return torch.from_numpy(tensor.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(tensor)


def _to_numpy(name: str, output: object) -> Tensor:
    if not isinstance(output, torch.Tensor):
        raise InferenceFailed(f"output '{name}': expected a tensor, got {type(output).__name__}")
    if output.dtype.is_complex:
        raise InferenceFailed(f"output '{name}': no protocol can carry {output.dtype}")
    output = output.cpu().contiguous()
    return output.view(torch.int16).numpy().view(_BF16) if output.dtype is torch.bfloat16 else output.numpy()


def _last_line(error: BaseException) -> str:
    # TorchScript puts its own traceback first and the reason last.
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:500]
