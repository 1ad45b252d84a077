"""Hostile bodies on TF Serving's routes: an error of theirs each time, at once, and the next request is answered."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

PREDICT = "/v1/models/add:predict"
LIMIT_BYTES = 16_000_000


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("hostile") / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    with RunningGateway.start(repository, MAX_BODY_BYTES=str(LIMIT_BYTES)) as running:
        running.wait_ready(within_s=60)
        yield running


@pytest.fixture(autouse=True)
def _still_serving(gateway: RunningGateway) -> Iterator[None]:
    yield
    assert gateway.post(PREDICT, json={"instances": [[1, 2]]}).json() == {"predictions": [[2, 3]]}


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"instances",
    "no UTF-8": b'{"instances": ["\xff\xfe"]}',
    "half a surrogate pair": b'{"instances": ["\\ud800"], "inputs": NaN}',
    "a byte order mark": b"\xef\xbb\xbf" + body(instances=[[1, 2]]),
    "UTF-16": json.dumps({"instances": [[1, 2]]}).encode("utf-16"),
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep rows": b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep rows that parse": b'{"instances": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}",
    "deep rows with NaN": b'{"instances": ' + b"[" * 100_000 + b"NaN" + b"]" * 100_000 + b"}",
    "deep objects": b'{"instances": ' + b'{"x":' * 100_000 + b"1" + b"}" * 100_001,
    "no object": b"[[1, 2]]",
    "neither form": b"{}",
    "both forms": body(instances=[[1, 2]], inputs=[[1, 2]]),
    "empty rows": body(instances=[[]] * 1000),
    "a million empty rows": b'{"instances": [' + b"[]," * 999_999 + b"[]]}",
    "a million empty objects": b'{"instances": [' + b"{}," * 999_999 + b"{}]}",
    "millions of lists": b'{"instances": [' + b"[]," * 3_000_000 + b"[]]}",
    "millions of strings": b'{"instances": [' + b'"",' * 3_000_000 + b'""]}',
    "no rows": body(instances=[]),
    "ragged rows": body(instances=[[1, 2], [3]]),
    "rows and no rows": body(instances=[[1, 2], 3]),
    "objects and no objects": body(instances=[{"x": [1, 2]}, [1, 2]]),
    "unknown names": body(instances=[{"y": [1, 2]}]),
    "a long name": body(instances=[{"y" * 2**20: [1, 2]}]),
    "strings for numbers": body(instances=[["1", "2"]]),
    "a word for a number": body(instances=[["true", 1]]),
    "booleans for numbers": body(instances=[[True, 1]]),
    "null": body(instances=[[None, 1]]),
    "too large": body(instances=[[1e39, 1]]),
    "beyond a double": b'{"instances": [[1e999, 1]]}',
    "a number of a million digits": b'{"instances": [[' + b"9" * 10**6 + b", 1]]}",
    "the same beside NaN": b'{"instances": [[' + b"9" * 10**6 + b", NaN]]}",
    "base64 for numbers": body(instances=[[{"b64": "AAAA"}, 1]]),
    "base64 rubbish": body(instances=[{"b64": "!" * 1000}]),
    "the wrong width": body(instances=[[1, 2, 3]]),
    "another rank": body(instances=[1, 2]),
    "another signature": body(instances=[[1, 2]], signature_name="x" * 10**6),
    "no signature name": body(instances=[[1, 2]], signature_name={"a": 1}),
    "packed": gzip.compress(body(instances=[[1, 2]])),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_refused_in_the_dialect_s_form(gateway: RunningGateway, name: str) -> None:
    response = gateway.post(PREDICT, content=BODIES[name])
    assert response.status_code == 400, response.text[:500]
    assert list(response.json()) == ["error"]
    assert len(response.content) < 1000


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_a_backend_that_takes_no_examples_reads_none(gateway: RunningGateway, verb: str) -> None:
    for name in ("nothing", "no UTF-8", "deep objects", "millions of lists"):
        response = gateway.post(f"/v1/models/add:{verb}", content=BODIES[name])
        assert (response.status_code, list(response.json())) == (501, ["error"])


def test_keys_that_are_there_twice_count_once(gateway: RunningGateway) -> None:
    for sent in (
        b'{"instances": "x", "instances": [[1, 2]]}',
        b'{"instances": [{"x": "y", "x": [1, 2]}]}',
        b'{"signature_name": 1, "signature_name": "", "instances": [[1, 2]]}',
    ):
        assert gateway.post(PREDICT, content=sent).json() == {"predictions": [[2, 3]]}


def test_what_is_over_the_limit_is_refused(gateway: RunningGateway) -> None:
    response = gateway.post(PREDICT, content=b" " * (LIMIT_BYTES + 1))
    assert (response.status_code, list(response.json())) == (413, ["error"])


def test_a_packed_body_is_unpacked_up_to_the_limit(gateway: RunningGateway) -> None:
    packed = {"content-encoding": "gzip"}
    good = gateway.post(PREDICT, content=gzip.compress(body(instances=[[1, 2]])), headers=packed)
    assert good.json() == {"predictions": [[2, 3]]}
    bomb = gateway.post(PREDICT, content=gzip.compress(b" " * 2**26, 9), headers=packed)
    assert (bomb.status_code, list(bomb.json())) == (413, ["error"])


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_malformed_requests(gateway: RunningGateway, method: str) -> None:
    response = gateway.client.request(method, gateway.url + PREDICT, content=body(instances=[[1, 2]]))
    assert (response.status_code, response.json()) == (400, {"error": f"Malformed request: {method} {PREDICT}"})


def test_base64_of_any_length_costs_no_more_than_its_body(gateway: RunningGateway) -> None:
    sent = body(instances=[{"b64": base64.b64encode(b"\0" * 2**22).decode()}])
    assert gateway.post(PREDICT, content=sent).status_code == 400
