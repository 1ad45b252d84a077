"""`make proof-json`: an image as JSON costs hardly more than a JSON parser and one conversion by numpy do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import orjson

from gateway.protocols.open_inference import decode_infer, encode_infer
from gateway.types import Deployment, InferResponse, Target

_SHAPE = (1, 3, 224, 224)
_ROUNDS = 101
_LIMIT = 1.3
_IMAGE = np.random.default_rng(0).standard_normal(_SHAPE)
_TARGET = Target("image")


def main() -> int:
    """Run the proof; 0 where it holds."""
    ratios = [reading(digits, nested) for digits in (9, 17) for nested in (False, True)] + [writing()]
    return 0 if max(ratios) <= _LIMIT else 1


def reading(digits: int, nested: bool) -> float:
    """What `decode_infer` takes for a body, over orjson and `np.array`."""
    # The shortest text of an FP32 has up to 9 digits; clients that go by way of Python's floats send 17.
    image = _IMAGE.astype(np.float32) if digits == 9 else _IMAGE
    data = json.loads(orjson.dumps(image if nested else image.ravel(), option=orjson.OPT_SERIALIZE_NUMPY))
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": _SHAPE, "data": data}]}).encode()
    return compare(
        f"read {'nested' if nested else 'flat'}, {digits} digits, {len(body) / 1e6:.1f} MB",
        lambda: decode_infer(_TARGET, body),
        lambda: np.array(orjson.loads(body)["inputs"][0]["data"], dtype=np.float32),
    )


def writing() -> float:
    """What `encode_infer` takes for an answer, over orjson."""
    image = _IMAGE.astype(np.float32)
    response = InferResponse(None, Deployment("image", 1, "onnxruntime"), "onnxruntime", {"y": image})
    return compare(
        "write",
        lambda: encode_infer(response),
        lambda: orjson.dumps(image.ravel(), option=orjson.OPT_SERIALIZE_NUMPY),
    )


def compare(name: str, ours: Callable[[], object], bare: Callable[[], object]) -> float:
    """The ratio of the medians, taken in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for taken, call in zip(times, (ours, bare), strict=True):
            begin = perf_counter()
            call()
            taken.append(perf_counter() - begin)
    mine, theirs = (median(taken) * 1e3 for taken in times)
    print(f"{name:30} {mine:6.2f} ms, bare {theirs:6.2f} ms: {mine / theirs:.2f} (limit {_LIMIT})")
    return mine / theirs


if __name__ == "__main__":
    sys.exit(main())
