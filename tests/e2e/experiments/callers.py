"""Callers of a gateway with experiments: what they are told, and what they report."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tests.e2e.gateway import RunningGateway


@dataclass(frozen=True)
class Told:
    """An answer, when it came (time.monotonic), and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    at_s: float = 0.0
    took_s: float = 0.0

    @property
    def variant(self) -> str:
        return self.headers.get("torii-variant", "")

    @property
    def request(self) -> str:
        return self.headers.get("torii-request-id", "")

    @property
    def served_by(self) -> str:
        return self.headers.get("torii-served-by", "")

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    def output(self) -> np.ndarray:
        """The first output of a V2 answer."""
        assert self.status == 200, self.body
        found = self.document["outputs"][0]
        return np.array(found["data"]).reshape(found["shape"])


class Caller:
    """One connection that is kept, and costs little; made anew where it was closed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        self._socket: socket.socket | None = None

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Told:
        """Raises OSError where nobody answers; a request that was sent is not sent again."""
        head = [f"POST {path} HTTP/1.1", "Host: torii", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=60)
        began_s = time.monotonic()
        try:
            self._socket.sendall("\r\n".join([*head, "", ""]).encode() + body)
            return self._read(began_s)
        except OSError:
            self.close()
            raise

    def _read(self, began_s: float) -> Told:
        assert self._socket is not None
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        lines = data[:end].decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        size = end + 4 + int(headers.get("content-length", 0))
        while len(data) < size:
            data += self._more()
        now_s = time.monotonic()
        return Told(int(lines[0].split()[1]), headers, data[end + 4 : size], now_s, now_s - began_s)

    def _more(self) -> bytes:
        assert self._socket is not None
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError("the gateway closed the connection")
        return data

    def infer(self, model: str, body: bytes, unit: str = "", **headers: str) -> Told:
        """A V2 request with an encoded body; `headers` have _ for -."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.post(f"/v2/models/{model}/infer", body, {**given, **({"torii-unit": unit} if unit else {})})

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def v2(name: str, array: np.ndarray, **parameters: object) -> bytes:
    """A V2 body with one input."""
    datatype = {"float32": "FP32", "int64": "INT64"}[str(array.dtype)]
    tensor = {"name": name, "shape": array.shape, "datatype": datatype, "data": array.ravel().tolist()}
    return json.dumps({"inputs": [tensor], **({"parameters": parameters} if parameters else {})}).encode()


@dataclass
class Traffic:
    """Requests one after the other, until it is left; `told` holds what became of them."""

    told: list[Told] = field(default_factory=list)
    lost: int = 0

    @property
    def failures(self) -> list[Told]:
        return [each for each in self.told if each.status != 200]

    def variants(self, since_s: float = 0.0) -> Counter[str]:
        return Counter(each.variant for each in self.told if each.at_s >= since_s)


@contextmanager
def traffic(
    gateway: RunningGateway, ask: Callable[[Caller, int], Told], threads: int = 1, pause_s: float = 0.0
) -> Iterator[Traffic]:
    """Have requests number 0, 1, … come in the background; a connection that is lost is counted."""
    found, stop, numbers = Traffic(), threading.Event(), iter(range(10**9))

    def run() -> None:
        with Caller(gateway.url) as caller:
            while not stop.is_set():
                try:
                    found.told.append(ask(caller, next(numbers)))
                except OSError:
                    found.lost += 1
                    time.sleep(0.01)
                if pause_s:
                    time.sleep(pause_s)

    running = [threading.Thread(target=run) for _ in range(threads)]
    for each in running:
        each.start()
    try:
        yield found
    finally:
        stop.set()
        for each in running:
            each.join()
