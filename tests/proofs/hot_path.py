"""`make profile`: what a request costs, stage by stage, in microseconds of CPU.

The model is an MLP 64 → 10, one row a request. Two tables: each stage by itself, over and over, with warm caches; and
the gateway's whole way with a worker that answers at once. `--instructions` counts the whole way's instructions by
valgrind instead: a figure that other programs on the machine do not change. What a real gateway and its worker take,
with system calls and cold caches, is the column "CPU µs" of `make bench`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from timeit import repeat

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table

from adapters import wire
from adapters.base import Endpoint
from adapters.batching import BatchQueue, Call, gather, scatter
from gateway.api.dialect import Answer
from gateway.api.heads import Head, KnownHeads
from gateway.api.open_inference import OpenInferenceHttp
from gateway.api.writing import encode_answer
from gateway.dataplane import DataPlane
from gateway.protocols.open_inference import decode_infer, encode_infer
from gateway.registry import Registry
from gateway.types import InferResponse, Target
from loadtests.bench import payloads
from tests.proofs.loopback import DEPLOYMENT, SIGNATURE, Loopback

_REPEATS = 15
_TIMES = 2000
_X = (np.arange(64) / 64).astype(np.float32).reshape(1, 64)
_Y = {"y": np.random.default_rng(0).random((1, 10), np.float32)}
_PATH = "/v2/models/mlp/infer"
_COUNTED = 400

Stage = tuple[str, Callable[[], object]]


def request(binary: bool) -> bytes:
    """A whole HTTP request in V2's JSON or binary form."""
    body, headers = payloads.v2_binary("x", _X) if binary else (payloads.v2_json("x", _X), payloads.JSON)
    lines = (f"POST {_PATH} HTTP/1.1", "Host: 127.0.0.1:8000", *headers, f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _stages(binary: bool) -> Iterator[Stage]:
    body, headers = payloads.v2_binary("x", _X) if binary else (payloads.v2_json("x", _X), payloads.JSON)
    length = next((each.split(": ")[1].encode() for each in headers if each.startswith("Inference-Header")), None)
    sent = request(binary)
    heads = KnownHeads()
    heads.learn(sent, Head(OpenInferenceHttp(DataPlane(Registry(_none, 1.0))), "POST", b"", b"", {}, 1 << 26))
    target = Target("mlp")
    asked, form = decode_infer(target, body, length)
    response = InferResponse(None, DEPLOYMENT, "onnxruntime", _Y)
    parts, _ = encode_infer(response, form)
    answer = Answer(parts, served_by=DEPLOYMENT)
    asked_frame = b"".join(wire.tensors_frame(wire.Kind.INFER, 1, asked.inputs))
    answer_frame = b"".join(wire.tensors_frame(wire.Kind.RESULT, 1, _Y))
    reader, queue = wire.FrameReader(), BatchQueue(32)
    calls = [Call((None, 1), asked.inputs), Call((None, 2), asked.inputs)]
    outputs = {"y": np.concatenate([_Y["y"]] * 2)}

    def read() -> object:
        return reader.feed(answer_frame)[0].tensors()

    def take() -> None:
        queue.add(Call((None, 1), reader.feed(asked_frame)[0].tensors()))
        queue.take(0)

    yield "gateway: parse (a head that is known)", lambda: heads.find(sent)
    yield "gateway: decode the body", lambda: decode_infer(target, body, length)
    yield "gateway: check against the signature", lambda: SIGNATURE.check(asked.inputs)
    yield "gateway: encode the worker's frame", lambda: wire.tensors_frame(wire.Kind.INFER, 1, asked.inputs)
    yield "worker: read a frame, queue, take", take
    yield "worker: gather two calls", lambda: gather(calls)
    yield "worker: scatter to two calls", lambda: scatter(outputs, calls)
    yield "worker: encode an answer's frame", lambda: wire.tensors_frame(wire.Kind.RESULT, 1, _Y)
    yield "gateway: read an answer's frame", read
    yield "gateway: encode the body", lambda: encode_infer(response, form)
    yield "gateway: write the answer", lambda: encode_answer(answer, [(b"date", b"Mon, 23 Nov 2026 12:00:00 GMT")])


async def _none(endpoint: Endpoint) -> None:
    raise NotImplementedError


def stages(console: Console) -> None:
    """Each stage by itself."""
    table = Table(title="One stage at a time, warm, µs", title_justify="left")
    for heading in ("stage", "JSON", "binary"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for (name, in_json), (_, in_binary) in zip(_stages(False), _stages(True), strict=True):
        table.add_row(name, *(f"{_best_us(each):.2f}" for each in (in_json, in_binary)))
    console.print(table)


def _best_us(stage: Callable[[], object]) -> float:
    return 1e6 * min(repeat(stage, number=_TIMES, repeat=_REPEATS)) / _TIMES


def whole_way(console: Console) -> None:
    """Parse to write, with an event loop, and a worker that answers at once."""
    table = Table(title="The gateway's whole way, warm, without system calls, µs a request", title_justify="left")
    for heading in ("connections", "JSON", "binary"):
        table.add_column(heading, justify="right")
    for connections in (1, 32):
        figures = [min(_loop(binary, connections, _TIMES) for _ in range(_REPEATS)) for binary in (False, True)]
        table.add_row(str(connections), *(f"{each:.1f}" for each in figures))
    console.print(table)


def _loop(binary: bool, connections: int, requests: int) -> float:
    async def run() -> float:
        began_s = time.process_time()
        await Loopback(_Y).run(request(binary), connections, requests)
        return 1e6 * (time.process_time() - began_s) / requests

    return uvloop.run(run())


def instructions(console: Console) -> None:
    """The whole way in instructions: the difference between two runs of different lengths."""
    if shutil.which("valgrind") is None:
        console.print("valgrind is not installed: no instructions are counted")
        return
    table = Table(title="The gateway's whole way, instructions a request", title_justify="left")
    for heading in ("connections", "JSON", "binary"):
        table.add_column(heading, justify="right")
    for connections in (1, 32):
        figures = []
        for form in ("json", "binary"):
            few, many = (_counted(form, connections, times) for times in (_COUNTED, 2 * _COUNTED))
            figures.append(f"{(many - few) / _COUNTED:,.0f}")
        table.add_row(str(connections), *figures)
    console.print(table)


def _counted(form: str, connections: int, requests: int) -> int:
    command = [
        *("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
        *(sys.executable, "-m", "tests.proofs.hot_path", "--loop", form, str(connections), str(requests)),
    ]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    match = re.search(r"Collected : (\d+)", ended.stderr)
    assert match is not None, ended.stderr
    return int(match[1])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="make profile", description=__doc__)
    parser.add_argument("--instructions", action="store_true", help="count instructions, by valgrind (minutes)")
    parser.add_argument("--loop", nargs=3, metavar=("FORM", "CONNECTIONS", "REQUESTS"), help="only run the whole way")
    arguments = parser.parse_args()
    if arguments.loop:
        form, connections, requests = arguments.loop
        _loop(form == "binary", int(connections), int(requests))
        return
    console = Console()
    if arguments.instructions:
        instructions(console)
    else:
        stages(console)
        whole_way(console)


if __name__ == "__main__":
    main()
