"""One request to two deployments, as a client would send it: what each answers, how fast, and how far apart that is."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx
import orjson

from adapters.errors import InvalidInput
from gateway.control.pages.differences import Output, OutputDifference, differences
from gateway.errors import RequestTooLarge
from gateway.types import Deployment

_MAX_REQUEST_BYTES: Final = 1 << 20
_MAX_ANSWER_BYTES: Final = 8 << 20
_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one deployment answered: outputs by name, or an error."""

    deployment: str
    served_by: str
    latency_ms: float
    outputs: Mapping[str, Output]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both answers, and output by output what lies between them."""

    first: Answer
    second: Answer
    outputs: Sequence[OutputDifference]


async def compare(inference_url: str, first: Deployment, second: Deployment, text: str) -> Comparison:
    """Send a request, one after the other, to two deployments of one model.

    Raises:
        InvalidInput: the text is no request in V2's form.
        RequestTooLarge: it is too long.
    """
    body = await asyncio.to_thread(_body, text)
    # No certificates, no proxies, no redirects: it goes to this gateway's own port, and nowhere else.
    async with httpx.AsyncClient(base_url=_own(inference_url), trust_env=False, verify=False) as client:  # noqa: S501
        await _connect(client)
        one, other = [await _ask(client, each, body) for each in (first, second)]
    return Comparison(one, other, await asyncio.to_thread(differences, one.outputs, other.outputs))


def _body(text: str) -> bytes:
    raw = text.encode(errors="replace")
    if len(raw) > _MAX_REQUEST_BYTES:
        raise RequestTooLarge(f"request: expected at most {_MAX_REQUEST_BYTES} bytes, got {len(raw)}")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"request: not JSON: {error}") from None
    if isinstance(document, list):
        document = {"inputs": document}
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list):
        raise InvalidInput('request: expected {"inputs": [{"name": …, "shape": …, "datatype": …, "data": …}]}')
    parameters = document.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidInput("parameters: expected an object")
    document["parameters"] = {**parameters, "non_finite": "string", "binary_data_output": False}
    return orjson.dumps(document)


def _own(url: str) -> str:
    """A port's address where it listens on all of them."""
    parts = urlsplit(url)
    try:
        if ipaddress.ip_address(parts.hostname or "").is_unspecified:
            return f"http://{'[::1]' if ':' in (parts.hostname or '') else '127.0.0.1'}:{parts.port}"
    except ValueError:
        pass
    return url


async def _connect(client: httpx.AsyncClient) -> None:
    """Have a connection, so that the first deployment's latency does not have its cost."""
    try:
        await client.get("/v2/health/live", timeout=5)
    except httpx.HTTPError:
        return  # the request itself will say it


async def _ask(client: httpx.AsyncClient, deployment: Deployment, body: bytes) -> Answer:
    path = f"/v2/models/{deployment.model}@{deployment.backend}/versions/{deployment.version}/infer"
    headers = {"content-type": "application/json"}
    served_by, raw, error = "", b"", ""
    outputs: Mapping[str, Output] = {}
    started_s = time.perf_counter()
    try:
        async with asyncio.timeout(_TIMEOUT_S), client.stream("POST", path, content=body, headers=headers) as response:
            raw = await _read(response)
            served_by = response.headers.get("torii-served-by", "")
            if response.status_code != 200:
                error = f"{response.status_code}: {_error(raw)}"
    except TimeoutError:
        error = f"no answer within {_TIMEOUT_S:g} s"
    except (httpx.HTTPError, InvalidInput) as problem:
        error = str(problem) or type(problem).__name__
    latency_ms = (time.perf_counter() - started_s) * 1e3
    if not error:
        try:
            outputs = await asyncio.to_thread(_outputs, raw)
        except InvalidInput as problem:
            error = str(problem)
    return Answer(str(deployment), served_by, latency_ms, outputs, error)


async def _read(response: httpx.Response) -> bytes:
    raw = bytearray()
    async for chunk in response.aiter_bytes():
        raw += chunk
        if len(raw) > _MAX_ANSWER_BYTES:
            raise InvalidInput(f"the answer is longer than {_MAX_ANSWER_BYTES} bytes, which this page does not show")
    return bytes(raw)


def _error(raw: bytes) -> str:
    try:
        return str(orjson.loads(raw)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return raw[:500].decode(errors="replace")


def _outputs(raw: bytes) -> dict[str, Output]:
    try:
        tensors = orjson.loads(raw)["outputs"]
        return {each["name"]: (each["datatype"], tuple(each["shape"]), each["data"]) for each in tensors}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise InvalidInput("the answer is not JSON: leave out what asks for binary data") from None
