from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import psutil
import pytest

from gateway.protocols.open_inference_messages import ModelInferResponse
from loadtests.bench import answers
from loadtests.bench.answers import Answer, Reader
from loadtests.bench.contenders import Contender
from loadtests.bench.processes import Server

Y = np.array([[1.5, -2.0, 300.25]], np.float32)
V2_JSON = json.dumps({"outputs": [{"name": "y", "shape": [1, 3], "datatype": "FP32", "data": Y.ravel().tolist()}]})
TENSOR = ModelInferResponse.InferOutputTensor(name="y", datatype="FP32", shape=[1, 3])
V2_GRPC = ModelInferResponse(model_name="mlp", outputs=[TENSOR], raw_output_contents=[Y.tobytes()])
RIGHT = [
    (answers.v2_json, {}, V2_JSON.encode()),
    (answers.v2_binary, {"inference-header-content-length": "2"}, b"{}" + Y.tobytes()),
    (answers.v2_grpc, {}, V2_GRPC.SerializeToString()),
    (answers.json_values("y"), {}, json.dumps({"y": Y.tolist()}).encode()),
    (answers.json_values(), {}, json.dumps(Y.tolist()).encode()),
]


@pytest.mark.parametrize(("read", "head", "body"), RIGHT)
def test_every_format_is_read(read: Reader, head: dict[str, str], body: bytes) -> None:
    assert Answer(read, Y).complaint(head, body) is None
    assert "expected" in str(Answer(read, Y + 1).complaint(head, body))
    assert "expected" in str(Answer(read, Y[:, :2]).complaint(head, body))


@pytest.mark.parametrize(("read", "head", "body"), [(read, {}, b"?") for read, _, _ in RIGHT])
def test_what_cannot_be_read_is_a_complaint(read: Reader, head: dict[str, str], body: bytes) -> None:
    assert "while reading b'?'" in str(Answer(read, Y).complaint(head, body))


@pytest.fixture
def serve() -> Iterator[Callable[[int, bytes], Server]]:
    """Starts an HTTP server that answers every POST with that status and body."""
    started = []

    def start(status: int, body: bytes) -> Server:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the base class has it so
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        server = HTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return Server("fake", psutil.Process(), server.server_port)

    yield start
    for each in started:
        each.shutdown()
        each.server_close()


def contender(server: Server) -> Contender:
    return Contender("fake", "fake", (server,), "/", b"{}", answer=Answer(answers.v2_json, Y))


def test_a_server_that_answers_wrongly_stops_the_benchmark(serve: Callable[[int, bytes], Server]) -> None:
    contender(serve(200, V2_JSON.encode())).check()
    with pytest.raises(SystemExit, match="fake answers wrongly"):
        contender(serve(200, V2_JSON.replace("300", "301").replace("1.5", "2.5").encode())).check()


def test_a_server_that_refuses_stops_the_benchmark(serve: Callable[[int, bytes], Server]) -> None:
    with pytest.raises(SystemExit, match="got 503: b'no model'"):
        contender(serve(503, b"no model")).check()
