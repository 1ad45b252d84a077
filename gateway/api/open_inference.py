"""V2 inference over HTTP: `POST /v2/models/{model}[/versions/{version}]/infer`."""

from __future__ import annotations

from functools import lru_cache

from adapters.errors import InvalidInput, ServingError
from gateway.api.dialect import BINARY, JSON, Answer, HttpRequest, segments
from gateway.dataplane import DataPlane
from gateway.protocols.binary_tensors import HEADER
from gateway.protocols.open_inference import STATUS, decode_infer, decode_raw_infer, encode_error, encode_infer
from gateway.types import Target

_PREFIX = b"/v2/models/"
_SUFFIX = b"/infer"
_DEAR_BYTES = 1 << 14
"""A body of more is not decoded for a request that would be refused anyway."""


class OpenInferenceHttp:
    """The dialect of V2's inference route; V2's other routes are FastAPI's."""

    status = STATUS

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    def claims(self, method: str, path: bytes) -> bool:
        """See Dialect.claims."""
        return method == "POST" and path.startswith(_PREFIX) and path.endswith(_SUFFIX)

    async def answer(self, request: HttpRequest) -> Answer:
        """See Dialect.answer."""
        target = _target(request.path)
        if len(request.body) > _DEAR_BYTES:
            self._dataplane.admit(target)
        head_length = request.headers.get(HEADER)
        if head_length == b"0":
            way = self._dataplane.route(target, request)
            infer, form = decode_raw_infer(target, request.body, way.lease.endpoint.signature)
            response = await self._dataplane.infer(infer, way)
        else:
            infer, form = decode_infer(target, request.body, head_length, request)
            response = await self._dataplane.infer(infer)
        parts, head_bytes = encode_infer(response, form)
        headers = (JSON,) if head_bytes is None else (BINARY, (HEADER, b"%d" % head_bytes))
        return Answer(parts, headers=headers, served_by=response.deployment, assigned=response.assigned)

    def error_body(self, status: int, error: ServingError) -> bytes:
        """See Dialect.error_body."""
        return encode_error(error)


@lru_cache(maxsize=1024)
def _target(path: bytes) -> Target:
    """The target of `/v2/models/{model}[/versions/{version}]/infer`."""
    match segments(path):
        case ("v2", "models", model, "infer"):
            return Target.parse(model)
        case ("v2", "models", model, "versions", version, "infer"):
            return Target.parse(model, version)
    raise InvalidInput(
        f"path {path[:200]!r}: expected /v2/models/MODEL/infer or /v2/models/MODEL/versions/VERSION/infer"
    )
