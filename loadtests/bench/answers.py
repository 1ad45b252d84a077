"""Whether a server answers what onnxruntime does: one request, read as an array, and compared.

Nobody is measured who answers something else.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Reader: TypeAlias = Callable[[Mapping[str, str], bytes], Floats]
"""From header fields (names in lower case) and a body to all values, flat."""

_TIMEOUT_S: Final = 30.0
_RELATIVE, _ABSOLUTE = 1e-3, 1e-3
_LENGTH_DELIMITED, _RAW_OUTPUT_CONTENTS = 2, 6


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """How an answer is read, and what it has to be."""

    read: Reader
    expected: Floats

    def complaint(self, head: Mapping[str, str], body: bytes) -> str | None:
        """What is wrong with an answer, or None."""
        try:
            found = self.read(head, body)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            return f"{error!r} while reading {body[:200]!r}"
        expected = self.expected.ravel()
        if found.shape == expected.shape and np.allclose(found, expected, _RELATIVE, _ABSOLUTE):
            return None
        return f"expected {expected[:10]}, got {found[:10]}"


def ask_http(port: int, path: str, body: bytes, lines: Sequence[str]) -> tuple[dict[str, str], bytes]:
    """One POST.

    Raises:
        SystemExit: the answer is not 200, or does not tell its length, by which the client knows where it ends.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    connection.request("POST", path, body, dict(line.split(": ", 1) for line in lines))
    response = connection.getresponse()
    head, answer = {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    if response.status != 200 or "content-length" not in head:
        raise SystemExit(f"POST {path}: expected 200 with a Content-Length, got {response.status}: {answer[:500]!r}")
    return head, answer


def ask_grpc(port: int, method: str, message: bytes) -> tuple[dict[str, str], bytes]:
    """One unary call with a message as it is; there are no header fields.

    Raises:
        SystemExit: the status is not OK.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", -1)]) as channel:
        try:
            answer: bytes = channel.unary_unary(method)(message, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            raise SystemExit(f"{method}: {error}") from None
    return {}, answer


def v2_json(_head: Mapping[str, str], body: bytes) -> Floats:
    """The one output of V2's JSON."""
    (output,) = json.loads(body)["outputs"]
    return _flat(output["data"])


def v2_binary(head: Mapping[str, str], body: bytes) -> Floats:
    """The one output of V2 with binary tensors."""
    return np.frombuffer(body[int(head["inference-header-content-length"]) :], np.float32)


def v2_grpc(_head: Mapping[str, str], message: bytes) -> Floats:
    """The one output of an inference.ModelInferResponse, in raw_output_contents."""
    (raw,) = (content for number, content in _fields(message) if number == _RAW_OUTPUT_CONTENTS)
    return np.frombuffer(raw, np.float32)


def json_values(key: str | None = None) -> Reader:
    """Numbers in lists of any depth: all of a JSON body, or what one key of it names."""

    def read(_head: Mapping[str, str], body: bytes) -> Floats:
        found = json.loads(body)
        return _flat(found if key is None else found[key])

    return read


def _flat(values: Any) -> Floats:
    return np.array(values, np.float32).ravel()


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message that has no others."""
    offset = 0
    while offset < len(message):
        key, offset = _varint(message, offset)
        if key & 7 != _LENGTH_DELIMITED:
            raise ValueError(f"field {key >> 3} of wire type {key & 7}")
        size, offset = _varint(message, offset)
        yield key >> 3, message[offset : offset + size]
        offset += size


def _varint(message: bytes, offset: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[offset]
        number |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return number, offset
