"""TF Serving's REST API: `/v1/models/…`, for every backend."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import msgspec
import orjson

from adapters.base import Servable
from adapters.errors import InvalidInput, ServingError
from adapters.tensors import Signature, Tensors
from gateway.api.dialect import Answer, HttpRequest, segments
from gateway.dataplane import DataPlane, Way
from gateway.errors import ModelNotFound, Unsupported
from gateway.protocols.tf_serving import (
    STATUS,
    check_signature_name,
    encode_error,
    in_their_words,
    segment,
    takes_examples,
)
from gateway.protocols.tf_serving_answers import encode_classes, encode_predict, encode_values
from gateway.protocols.tf_serving_models import describe_metadata, describe_signature, describe_status
from gateway.protocols.tf_serving_requests import PredictBody, decode_examples, decode_predict, read_inputs
from gateway.registry import Able, Lease
from gateway.types import InferRequest, Target

if TYPE_CHECKING:
    from adapters.tfserving.client import TfServingClient

RawPredictions: TypeAlias = Callable[[HttpRequest, Way], Awaitable[Answer]]
"""Sends a body as it is to a deployment that takes no tensors."""

_PREFIX: Final = b"/v1/"
_VERB: Final = re.compile(r"([^:]+):(predict|classify|regress)", re.IGNORECASE)


class _Route(msgspec.Struct, frozen=True):
    """`verb` is predict, classify, regress, status or metadata."""

    verb: str
    target: Target


class TfServingHttp:
    """The dialect of everything below `/v1/`."""

    status = STATUS

    def __init__(self, dataplane: DataPlane, raw_predictions: RawPredictions | None = None) -> None:
        """`raw_predictions` answers `:predict` for deployments that take any body: TorchServe has the same route."""
        self._dataplane = dataplane
        self._raw_predictions = raw_predictions
        self._verbs: Mapping[str, Callable[[Target, HttpRequest], Awaitable[Answer]]] = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
            "status": self._status,
            "metadata": self._metadata,
        }

    def claims(self, method: str, path: bytes) -> bool:
        """See Dialect.claims."""
        return path[:4].lower() == _PREFIX

    async def answer(self, request: HttpRequest) -> Answer:
        """See Dialect.answer."""
        route = _route(request.method, request.path)
        return await self._verbs[route.verb](route.target, request)

    def error_body(self, status: int, error: ServingError) -> bytes:
        """See Dialect.error_body."""
        return encode_error(error)

    async def _predict(self, target: Target, request: HttpRequest) -> Answer:
        way = self._route(target, request)
        endpoint = way.lease.endpoint
        if endpoint.remote.get("kind") == "raw":
            return await self._predict_raw(way, request)
        body = decode_predict(request.body)
        if not _means_served(body.signature_name, way.lease):
            return await self._predict_by(way, body)
        inputs = read_inputs(body, endpoint.signature)
        response = await self._dataplane.infer(InferRequest(target, inputs.tensors), way)
        return _answer(encode_predict(response.outputs, body.by_row, inputs.bare), way)

    async def _predict_raw(self, way: Way, request: HttpRequest) -> Answer:
        if self._raw_predictions is None:
            raise Unsupported(f"{way.deployment} takes no tensors; send its body to /predictions/{{model}}")
        return await self._raw_predictions(request, way)

    async def _predict_by(self, way: Way, body: PredictBody) -> Answer:
        """Predict with a signature that is not the served one; only TF Serving's deployments have more than that."""
        bare = False

        def read(signature: Signature) -> Tensors:
            nonlocal bare
            inputs = read_inputs(body, signature)
            signature.check(inputs.tensors)
            bare = inputs.bare
            return inputs.tensors

        async def act(servable: Servable) -> Tensors:
            return await _client(servable).infer_by(body.signature_name, read)

        outputs = await self._dataplane.relay(way, act)
        return _answer(encode_predict(outputs, body.by_row, bare), way)

    async def _classify(self, target: Target, request: HttpRequest) -> Answer:
        way = self._with_examples(target, request, "classify")
        body = decode_examples(request.body)

        async def act(servable: Servable) -> bytes:
            found = await _client(servable).classify(body.signature_name, body.examples, body.context)
            return encode_classes(found)

        return _answer(await self._dataplane.relay(way, act), way)

    async def _regress(self, target: Target, request: HttpRequest) -> Answer:
        way = self._with_examples(target, request, "regress")
        body = decode_examples(request.body)

        async def act(servable: Servable) -> bytes:
            found = await _client(servable).regress(body.signature_name, body.examples, body.context)
            return encode_values(found)

        return _answer(await self._dataplane.relay(way, act), way)

    def _with_examples(self, target: Target, request: HttpRequest, verb: str) -> Way:
        """A deployment that takes tf.Examples; raises Unsupported where it is none of TF Serving's."""
        way = self._route(target, request, takes_examples)
        if not takes_examples(way.lease.endpoint):
            raise Unsupported(
                f"{way.deployment} cannot {verb} tf.Examples: only deployments on tfserving can, where the "
                f"SavedModel has a signature for it; send tensors to :predict, or ask for {target.model}@tfserving"
            )
        return way

    async def _status(self, target: Target, request: HttpRequest) -> Answer:
        return Answer((orjson.dumps(describe_status(target, self._dataplane.registry.tables)),))

    async def _metadata(self, target: Target, request: HttpRequest) -> Answer:
        lease = self._resolve(target)
        if lease.endpoint.backend == "tfserving":
            with lease:  # no inference, and so not counted among them
                signatures = await lease.servable.let_through(lambda servable: _client(servable).describe_signatures())
        else:
            signatures = describe_signature(lease.endpoint.signature)
        described = describe_metadata(segment(target), lease.deployment.version, signatures)
        return Answer((orjson.dumps(described),), served_by=lease.deployment)

    def _route(self, target: Target, request: HttpRequest, able: Able | None = None) -> Way:
        try:
            return self._dataplane.route(target, request, able=able)
        except ModelNotFound as error:
            raise in_their_words(target, error) from None

    def _resolve(self, target: Target) -> Lease:
        try:
            return self._dataplane.resolve(target)
        except ModelNotFound as error:
            raise in_their_words(target, error) from None


def _answer(body: bytes, way: Way) -> Answer:
    return Answer((body,), served_by=way.deployment, assigned=way.assignment)


def _means_served(signature_name: str, lease: Lease) -> bool:
    """Whether a request means the signature that Torii serves anyway; raises InvalidInput where there is no other."""
    if lease.endpoint.backend == "tfserving":
        return signature_name in ("", lease.endpoint.remote.get("signature_name"))
    check_signature_name(signature_name)
    return True


def _client(servable: Servable) -> TfServingClient:
    return cast("TfServingClient", servable)


@lru_cache(maxsize=1024)
def _route(method: str, path: bytes) -> _Route:
    """What a request line asks for; fixed words in any case, as TF Serving takes them.

    Raises:
        InvalidInput: it is none of TF Serving's.
    """
    parts = segments(path)
    if tuple(part.lower() for part in parts[:2]) == ("v1", "models"):
        if method == "POST" and (found := _VERB.fullmatch(parts[-1])):
            target = _target((*parts[2:-1], found[1]))
            if target is not None:
                return _Route(found[2].lower(), target)
        if method == "GET":
            if len(parts) == 2:
                raise InvalidInput("Missing model name in request.")
            about_it = len(parts) > 3 and parts[-1].lower() == "metadata"
            target = _target(parts[2:-1] if about_it else parts[2:])
            if target is not None:
                return _Route("metadata" if about_it else "status", target)
    shown = path.decode("ascii", "replace")
    raise InvalidInput(f"Malformed request: {method:.20} {shown:.200}")


def _target(parts: tuple[str, ...]) -> Target | None:
    """The target of `MODEL`, `MODEL/versions/VERSION` or `MODEL/labels/LABEL`; None where it is none of these."""
    if any(":" in part or not part for part in parts):
        return None
    match parts:
        case (model,):
            return Target.parse(model)
        case (model, kind, which) if kind.lower() == "versions":
            return Target.parse(model, which)
        case (model, kind, which) if kind.lower() == "labels":
            return Target.parse(model, label=which)
    return None
