"""The data side of TorchServe: frames to our tensor handler, raw bodies to anybody else's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import numpy as np
from yarl import URL

from adapters import wire
from adapters.base import ROUTINE, Endpoint, RawAnswer, Urgency
from adapters.errors import BackendDied, BackendUnavailable, InferenceFailed, InvalidInput, ServingError
from adapters.tensors import Tensor, Tensors

_MEANINGS: dict[tuple[int, str], type[ServingError]] = {
    (400, "InvalidKeyException"): BackendUnavailable,
    (400, ""): InvalidInput,
    (404, ""): BackendUnavailable,  # the gateway knows its models: what it does not find was unloaded under it
    (413, ""): InvalidInput,
    (415, ""): InvalidInput,
    (503, "InternalServerException"): InferenceFailed,  # the handler raised
    (503, ""): BackendUnavailable,
    (507, ""): BackendUnavailable,
}
"""TorchServe's status and type to our errors; "" stands for every other type. Whatever is not here: InferenceFailed."""

_NOT_THE_MODELS = {
    (400, "InvalidKeyException"),
    (404, "ModelNotFoundException"),
    (404, "ModelVersionNotFoundException"),
    (503, "ServiceUnavailableException"),
}
"""Statuses and types of what TorchServe answers by itself, in the place of a model that has no part in it."""

_WORKER_GONE = {"Worker died": BackendDied, "Worker scaled down": BackendUnavailable}
_AT_ONCE = 16
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5.0)  # deadlines are the gateway's, limits the registration's
_BYTES = {"Content-Type": "application/octet-stream"}
_NO_TYPE = ("Content-Type",)  # unless it is given
_NO_NEED = ("Accept", "Accept-Encoding", "User-Agent")  # TorchServe hands every header to its Python worker


def message_of(body: bytes) -> str:
    """The reason in TorchServe's JSON error body; the body itself where it is none."""
    return _error_of(body)[1]


def _error_of(body: bytes) -> tuple[str, str]:
    try:
        error = json.loads(body)
        return str(error.get("type", "")), str(error["message"])
    except (ValueError, KeyError, AttributeError, RecursionError):
        return "", body[:300].decode(errors="replace").strip() or "no reason given"


def failure(status: int, body: bytes) -> ServingError:
    """What TorchServe's answer means."""
    kind, message = _error_of(body)
    for beginning, gone in _WORKER_GONE.items():
        if message.startswith(beginning):
            return gone(f"TorchServe's worker died with this request; it is being restarted ({message})")
    meaning = _MEANINGS.get((status, kind)) or _MEANINGS.get((status, "")) or InferenceFailed
    return meaning(f"TorchServe answered {status}: {message}")


class TorchServeClient:
    """A Servable over TorchServe's inference API."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession) -> None:
        """`session` is closed with the client."""
        self.signature = endpoint.signature
        self._session = session
        address = endpoint.address.rstrip("/")
        self._url = URL(f"{address}/predictions/{endpoint.remote['model']}")
        self._explain_url = URL(f"{address}/explanations/{endpoint.remote['model']}")
        self._raw = endpoint.remote["kind"] == "raw"
        self._max_bytes = int(endpoint.remote.get("max_bytes", wire.MAX_FRAME_BYTES))

    @classmethod
    async def connect(cls, endpoint: Endpoint) -> TorchServeClient:
        """Make a client; connections are opened by the first requests and kept.

        Raises:
            BackendUnavailable: the endpoint's token is gone, as it is with its TorchServe.
        """
        headers = {}
        if token_file := endpoint.remote.get("token_file"):
            headers["Authorization"] = f"Bearer {await asyncio.to_thread(_read, Path(token_file))}"
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60.0),
            headers=headers,
            skip_auto_headers=_NO_NEED,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_TIMEOUT,
            auto_decompress=False,
        )
        return cls(endpoint, session)

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> dict[str, Tensor]:
        """See Servable.infer. Cancelling hangs up; TorchServe's worker ends what it has begun."""
        if self._raw:
            return await self._infer_raw(inputs)
        answer = await self.post(b"".join(wire.tensors_frame(wire.Kind.INFER, 0, inputs)))
        try:
            frames = wire.FrameReader().feed(answer)
            if len(frames) != 1:
                raise wire.BrokenFrame(f"expected one frame, got {len(frames)} in {len(answer)} bytes")
            if frames[0].kind is not wire.Kind.RESULT:
                raise frames[0].error()
            return frames[0].tensors()
        except wire.BrokenFrame as error:
            raise InferenceFailed(f"TorchServe's answer is no tensors frame: {error}") from error

    async def _infer_raw(self, inputs: Tensors) -> dict[str, Tensor]:
        bodies = inputs[self.signature.inputs[0].name]
        answers = np.empty(bodies.size, np.object_)
        flat = bodies.ravel()
        for start in range(0, bodies.size, _AT_ONCE):
            chunk = flat[start : start + _AT_ONCE]
            answers[start : start + len(chunk)] = await asyncio.gather(*map(self.post, chunk))
        return {self.signature.outputs[0].name: answers.reshape(bodies.shape)}

    async def post(self, body: bytes) -> bytes:
        """Post one body as it is, and give the answer's; raises as `infer` does."""
        answer = await self._ask(self._url, body, _BYTES)
        if answer.status >= 400:
            raise failure(answer.status, answer.body)
        return answer.body

    async def exchange(self, body: bytes, headers: Mapping[str, str], *, explain: bool = False) -> RawAnswer:
        """See RawServable.exchange."""
        answer = await self._ask(self._explain_url if explain else self._url, body, headers)
        if answer.status >= 400 and (answer.status, _error_of(answer.body)[0]) in _NOT_THE_MODELS:
            raise failure(answer.status, answer.body)
        return answer

    async def _ask(self, url: URL, body: bytes, headers: Mapping[str, str]) -> RawAnswer:
        if len(body) > self._max_bytes:
            raise InvalidInput(f"expected at most {self._max_bytes} bytes of inputs, got {len(body)}")
        if self._session.closed:
            raise BackendUnavailable("this connection to TorchServe was closed")
        try:
            async with self._session.post(url, data=body, headers=headers, skip_auto_headers=_NO_TYPE) as answer:
                return RawAnswer(answer.status, answer.raw_headers, await self._read(answer))
        except (aiohttp.ClientError, OSError) as error:
            raise BackendUnavailable(f"TorchServe cannot be reached: {error}") from error

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        """The whole answer, up to the limit: a handler that streams may never end."""
        chunks: list[bytes] = []
        left = self._max_bytes
        async for chunk in answer.content.iter_any():
            left -= len(chunk)
            if left < 0:
                answer.close()
                raise InferenceFailed(f"expected an answer of at most {self._max_bytes} bytes, got more")
            chunks.append(chunk)
        return b"".join(chunks)

    async def aclose(self) -> None:
        """Close the connections; requests that still wait fail with BackendUnavailable."""
        await self._session.close()


def _read(token_file: Path) -> str:
    try:
        return token_file.read_text()
    except OSError as error:
        raise BackendUnavailable(f"TorchServe's token cannot be read: {error}") from error
