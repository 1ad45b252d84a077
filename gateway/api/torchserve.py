"""TorchServe's inference API over HTTP: ping, predictions, explanations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from adapters.base import RawAnswer, RawServable, Servable
from adapters.errors import InferenceFailed, ServingError
from gateway.api.dialect import Answer, Header, HttpRequest, segments
from gateway.dataplane import DataPlane, Way
from gateway.errors import ModelNotFound, Unsupported, VersionNotReady
from gateway.protocols.torchserve import (
    STATUS,
    Refusal,
    encode_error,
    encode_health,
    is_healthy,
    method_not_allowed,
    missing,
    read_target,
    resource_not_found,
    takes_bodies,
    to_json,
)
from gateway.protocols.torchserve_tensors import decode_body, encode_outputs
from gateway.types import InferRequest, Target

_ROOTS: Final = (b"/predictions", b"/explanations", b"/ping")
_METHODS: Final = ("POST", "PUT", "GET")
_HOP_BY_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_NOT_FOR_MODELS: Final = _HOP_BY_HOP | frozenset(
    (
        *(b"host", b"content-length", b"expect"),  # of this connection
        *(
            b"content-encoding",
            b"accept-encoding",
        ),  # the body is unpacked already, and the answer is passed on as it is
        *(b"authorization", b"proxy-authorization", b"cookie"),  # meant for Torii, or for what stands before it
    )
)
_NOT_FOR_CALLERS: Final = _HOP_BY_HOP | frozenset((b"content-length", b"date", b"server"))
_OWN: Final = b"torii-"
_UNHEALTHY: Final = 500  # TorchServe's own


class _ModelFailed(Exception):
    """The model's own code answered that it failed, in its own words."""

    def __init__(self, answer: RawAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class TorchServeHttp:
    """The dialect of TorchServe's inference routes.

    A deployment with a handler of its own gets bodies as they are; every other gets tensors, in JSON or as .npy.
    """

    status = STATUS

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    def claims(self, method: str, path: bytes) -> bool:
        """See Dialect.claims."""
        return path.startswith(_ROOTS) and path.split(b"/", 2)[1] in (b"predictions", b"explanations", b"ping")

    async def answer(self, request: HttpRequest) -> Answer:
        """See Dialect.answer."""
        try:
            return await self._answer(request)
        except Refusal as refusal:
            return Answer((refusal.body(),), refusal.status)

    async def _answer(self, request: HttpRequest) -> Answer:
        tables = self._dataplane.registry.tables
        match segments(request.path):
            case ("ping",):
                return self._ping()
            case (verb, model) if model and verb != "ping":
                target = read_target(model, None, tables)
            case (verb, model, version) if model and verb != "ping":
                target = read_target(model, version, tables)
            case _:
                raise resource_not_found()
        if request.method == "OPTIONS":
            self._describable(target)
            return Answer((to_json(_description(str(model))),))
        if request.method not in _METHODS:
            raise method_not_allowed()
        return await self._infer(request, target, explain=verb == "explanations")

    def _ping(self) -> Answer:
        registry = self._dataplane.registry
        healthy = is_healthy(registry.ready, registry.tables)
        return Answer((encode_health(healthy),), 200 if healthy else _UNHEALTHY)

    def _route(self, target: Target, request: HttpRequest, explain: bool) -> Way:
        try:
            return self._dataplane.route(target, request, able=takes_bodies if explain else None)
        except (ModelNotFound, VersionNotReady) as error:
            raise missing(target, self._dataplane.registry.tables.get(target.model)) or error from None

    def _describable(self, target: Target) -> None:
        try:
            self._dataplane.resolve(target)
        except (ModelNotFound, VersionNotReady) as error:
            raise missing(target, self._dataplane.registry.tables.get(target.model)) or error from None

    async def _infer(self, request: HttpRequest, target: Target, explain: bool) -> Answer:
        way = self._route(target, request, explain)
        endpoint = way.lease.endpoint
        if takes_bodies(endpoint):
            return await self._exchange(request, way, explain)
        if explain:
            raise Unsupported(
                f"{way.deployment} has no explanations: these come from a handler of its own, in a .mar archive"
            )
        headers = request.headers
        inputs = decode_body(headers.get(b"content-type", b""), request.body, endpoint.signature)
        response = await self._dataplane.infer(InferRequest(target, inputs.tensors), way)
        kind, body = encode_outputs(response.outputs, inputs.one_row, headers.get(b"accept", b""))
        return Answer((body,), 200, ((b"content-type", kind),), response.deployment, response.assigned)

    async def raw_predictions(self, request: HttpRequest, way: Way) -> Answer:
        """Give a request to a deployment with a handler of its own, as it came, and its answer as it comes.

        `way` comes from `DataPlane.route`, with nothing awaited since, and its endpoint `takes_bodies`.

        Raises:
            ServingError: the handler was not asked, or its answer cannot be passed on.
        """
        return await self._exchange(request, way, explain=False)

    async def _exchange(self, request: HttpRequest, way: Way, explain: bool) -> Answer:
        headers = headers_for_model(request.headers)

        async def act(servable: Servable) -> RawAnswer:
            assert isinstance(servable, RawServable)
            answer = await servable.exchange(request.body, headers, explain=explain)
            if answer.status >= 500:
                raise _ModelFailed(answer)  # so that it is counted as what it is
            return answer

        try:
            answer = await self._dataplane.relay(way, act)
        except _ModelFailed as failed:
            answer = failed.answer
        if not 200 <= answer.status <= 599:
            raise InferenceFailed(f"{way.deployment}: its handler answered with {answer.status}, no status of HTTP")
        body = b"" if answer.status in (204, 304) else answer.body
        return Answer((body,), answer.status, headers_for_caller(answer.headers), way.deployment, way.assignment)

    def error_body(self, status: int, error: ServingError) -> bytes:
        """See Dialect.error_body."""
        return encode_error(error)


def headers_for_model(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """What a handler gets to see of a request's headers: not those of the connection, the caller's rights, and ours."""
    dropped = _NOT_FOR_MODELS | _named(headers.get(b"connection", b""))
    return {
        name.decode("latin-1"): _text(value)
        for name, value in headers.items()
        if name not in dropped and not name.startswith(_OWN)
    }


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def headers_for_caller(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    """What a caller gets to see of an answer's headers."""
    lowered = [(name.lower(), value) for name, value in headers]
    dropped = _NOT_FOR_CALLERS.union(*(_named(value) for name, value in lowered if name == b"connection"))
    return tuple((name, value) for name, value in lowered if name not in dropped and not name.startswith(_OWN))


def _named(connection: bytes) -> frozenset[bytes]:
    """The headers that a Connection header declares to be of the connection."""
    return frozenset(name.strip().lower() for name in connection.split(b","))


@lru_cache(maxsize=64)
def _description(model: str) -> dict[str, object]:
    """What OPTIONS tells of a model: that there is one, and how it is asked."""
    answers = {"200": {"description": "OK"}, "default": {"description": "code, type and message of an error"}}
    operation = {
        "description": f"A predict entry point for model: {model}.",
        "operationId": model,
        "parameters": [],
        "responses": answers,
    }
    return {
        "openapi": "3.0.1",
        "info": {"title": f"RESTful API for: {model}", "version": "1.0.0"},
        "paths": {f"/predictions/{model}": {"post": operation}},
    }
