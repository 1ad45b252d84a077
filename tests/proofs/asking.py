"""Requests in V2 that are derived from a seed and a number, and whether an answer is theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from functools import lru_cache

import numpy as np
import orjson

from adapters.tensors import datatype_named
from gateway.protocols.protos import message
from tests.proofs.tagged import MAX_ROWS, MORE_ROWS, Array, TaggedModel

ModelInferRequest = message("inference.ModelInferRequest")
ModelInferResponse = message("inference.ModelInferResponse")

_BLOCK = 256
_PATIENCE_US = (400, 1500, 4000, 12_000)


class Way(StrEnum):
    """How a request is written."""

    BINARY = auto()
    JSON = auto()
    GRPC = auto()


class Trouble(StrEnum):
    """What a request provokes."""

    NONE = auto()
    BAD_ROW = auto()
    IMPATIENT = auto()
    LEAVES = auto()
    MALFORMED = auto()


TROUBLES = {Trouble.BAD_ROW: 0.01, Trouble.IMPATIENT: 0.01, Trouble.LEAVES: 0.01, Trouble.MALFORMED: 0.005}
"""How often, by default."""


@dataclass(slots=True, eq=False)
class Ask:
    """One request. `outputs` are those it asks for, in its order; `answers` are all, with its rows."""

    number: int
    model: TaggedModel
    way: Way
    trouble: Trouble
    inputs: Array
    answers: Mapping[str, Array]
    outputs: tuple[str, ...]
    sent_s: float = 0.0

    @property
    def id(self) -> str | None:
        """Every eighth has one."""
        return f"{self.model.name}-{self.number}" if self.number % 8 == 0 else None

    @property
    def patience_us(self) -> int:
        """The timeout of one that is impatient; 0 is none."""
        return _PATIENCE_US[self.number % 4] if self.trouble is Trouble.IMPATIENT else 0

    @property
    def refusal(self) -> int:
        """The status that a malformed one is to get."""
        return 404 if self.number % 4 == 1 else 400

    def http(self) -> bytes:
        """All of it, as HTTP/1.1 has it."""
        shape, model = self.inputs.shape, self.model
        name, datatype, outputs = model.name, model.datatype.value, self.outputs
        size = self.inputs.nbytes
        if self.trouble is Trouble.MALFORMED:
            match self.number % 4:
                case 0:
                    shape = (shape[0] + 1, *shape[1:])
                case 1:
                    name = "nobody"
                case 2:
                    datatype = "FP64" if datatype != "FP64" else "FP32"
                case 3:
                    outputs = ("nothing",)
        if self.way is Way.JSON:
            return _json(name, model.input, datatype, shape, outputs, self.patience_us, self.id, self.inputs)
        make = _head if self.id is None else _head.__wrapped__
        head = make(name, model.input, datatype, shape, size, outputs, self.patience_us, self.id)
        return head + self.inputs.tobytes()

    def grpc(self) -> bytes:
        """Its message."""
        request = ModelInferRequest(model_name=self.model.name, id=self.id or "")
        if self.trouble is Trouble.MALFORMED:
            request.model_name = "nobody" if self.refusal == 404 else "No/Name"
        request.inputs.add(name=self.model.input, datatype=self.model.datatype.value, shape=self.inputs.shape)
        request.raw_input_contents.append(self.inputs.tobytes())
        for name in self.outputs:
            request.outputs.add(name=name)
        if self.patience_us:
            request.parameters["timeout"].int64_param = self.patience_us
        message: bytes = request.SerializeToString()
        return message

    def wrong_http(self, head_length: int, body: bytes) -> str:
        """What is wrong with an answer; nothing where it is this request's."""
        answer = orjson.loads(body[:head_length] if head_length else body)
        found: dict[str, Array] = {}
        offset = head_length
        for output in answer["outputs"]:
            dtype = datatype_named(output["datatype"]).dtype
            if head_length:
                size = output["parameters"]["binary_data_size"]
                tensor = np.frombuffer(body[offset : offset + size], dtype)
                offset += size
            else:
                tensor = np.array(output["data"], dtype)
            found[output["name"]] = tensor.reshape(output["shape"])
        if head_length and offset != len(body):
            return f"{len(body) - offset} bytes are left over"
        return self._wrong(answer["model_name"], answer.get("id"), found)

    def wrong_grpc(self, body: bytes) -> str:
        """As `wrong_http`."""
        answer = ModelInferResponse.FromString(body)
        found = {
            output.name: np.frombuffer(data, datatype_named(output.datatype).dtype).reshape(tuple(output.shape))
            for output, data in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }
        return self._wrong(answer.model_name, answer.id or None, found)

    def _wrong(self, model: str, request_id: str | None, found: Mapping[str, Array]) -> str:
        if model != self.model.name:
            return f"the answer is of model {model}"
        if request_id != self.id:
            return f"the answer has id {request_id}, and not {self.id}"
        if tuple(found) != (self.outputs or tuple(self.answers)):
            return f"the outputs are {list(found)}"
        for name, tensor in found.items():
            expected = self.answers[name]
            if tensor.shape != expected.shape or tensor.dtype != expected.dtype:
                return f"{name} is {tensor.dtype} {list(tensor.shape)}, and not {expected.dtype} {list(expected.shape)}"
            same = (
                np.abs(tensor - expected).max(initial=0) <= self.model.tolerance
                if self.model.tolerance
                else tensor.tobytes() == expected.tobytes()
            )
            if not same:
                return f"{name} is {tensor.tolist()}, and not {expected.tolist()}"
        return ""


def stream(model: TaggedModel, ways: Sequence[Way], seed: int, troubles: Mapping[Trouble, float]) -> Iterator[Ask]:
    """Requests without end; the same for the same seed."""
    kinds = list(troubles)
    bounds = np.cumsum(list(troubles.values()))
    names = tuple(model.answers(model.inputs(np.random.default_rng(0), 1)))
    wishes: list[tuple[str, ...]] = [(), (), names[:1], names[::-1]]
    number = 0
    while True:
        random = np.random.default_rng((seed, number, *model.name.encode()))
        rows = random.integers(1, MAX_ROWS + MORE_ROWS + 1, _BLOCK)
        rows[random.random(_BLOCK) < 0.5] = 1  # what is served one row at a time gains the most from batches
        ends = np.cumsum(rows)
        inputs = model.inputs(random, int(ends[-1]))
        answers = model.answers(inputs)
        draws = random.random(_BLOCK)
        drawn_ways = random.integers(0, len(ways), _BLOCK)
        drawn_wishes = random.integers(0, len(wishes), _BLOCK)
        for index in range(_BLOCK):
            begin, end = int(ends[index] - rows[index]), int(ends[index])
            which = int(np.searchsorted(bounds, draws[index], "right"))
            trouble = kinds[which] if which < len(kinds) else Trouble.NONE
            mine = inputs[begin:end]
            if trouble is Trouble.BAD_ROW:
                if model.bad is None:
                    trouble = Trouble.NONE
                else:
                    mine[random.integers(0, len(mine))] = model.bad
            way, wish = ways[drawn_ways[index]], wishes[drawn_wishes[index]]
            yield Ask(number, model, way, trouble, mine, {n: a[begin:end] for n, a in answers.items()}, wish)
            number += 1


def _parameters(patience_us: int) -> dict[str, int]:
    return {"timeout": patience_us} if patience_us else {}


@lru_cache(maxsize=4096)
def _head(
    model: str, name: str, datatype: str, shape: tuple[int, ...], size: int, outputs: tuple[str, ...],
    patience_us: int, request_id: str | None,
) -> bytes:  # fmt: skip
    """Everything that comes before the bytes of the only tensor."""
    document = {
        "inputs": [{"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}],
        "outputs": [{"name": each} for each in outputs],
        "parameters": {"binary_data_output": True, **_parameters(patience_us)},
        **({"id": request_id} if request_id else {}),
    }
    text = orjson.dumps(document)
    lines = (b"Content-Type: application/octet-stream\r\nInference-Header-Content-Length: %d\r\n") % len(text)
    return _lines(model, len(text) + size, lines) + text


def _json(
    model: str, name: str, datatype: str, shape: tuple[int, ...], outputs: tuple[str, ...],
    patience_us: int, request_id: str | None, inputs: Array,
) -> bytes:  # fmt: skip
    document = {
        "inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": inputs.ravel()}],
        "outputs": [{"name": each} for each in outputs],
        "parameters": _parameters(patience_us),
        **({"id": request_id} if request_id else {}),
    }
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return _lines(model, len(text), b"Content-Type: application/json\r\n") + text


def _lines(model: str, length: int, lines: bytes) -> bytes:
    first = b"POST /v2/models/%b/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n"
    return first % (model.encode(), length) + lines + b"\r\n"
