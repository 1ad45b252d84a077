"""V2's repository extension on the inference port: `POST /v2/repository/…`."""

from __future__ import annotations

from adapters.errors import ServingError
from gateway.api.dialect import Answer, HttpRequest, segments
from gateway.errors import ModelNotFound
from gateway.modelaccess import ModelAccess
from gateway.protocols.model_repository import decode_index, decode_parameters, encode_index
from gateway.protocols.open_inference import STATUS, encode_error

_PREFIX = b"/v2/repository/"


class ModelRepositoryHttp:
    """The dialect of V2's repository routes."""

    status = STATUS

    def __init__(self, models: ModelAccess) -> None:
        self._models = models

    def claims(self, method: str, path: bytes) -> bool:
        """See Dialect.claims."""
        return method == "POST" and path.startswith(_PREFIX)

    async def answer(self, request: HttpRequest) -> Answer:
        """See Dialect.answer."""
        match segments(request.path):
            case ("v2", "repository", "index"):
                return Answer((encode_index(await self._models.index(decode_index(request.body))),))
            case ("v2", "repository", "models", model, "load"):
                await self._models.load(model, overrides=decode_parameters(request.body))
            case ("v2", "repository", "models", model, "unload"):
                decode_parameters(request.body)
                await self._models.unload(model)
            case _:
                raise ModelNotFound(
                    f"path {request.path[:200]!r}: expected /v2/repository/index, "
                    "/v2/repository/models/MODEL/load or /v2/repository/models/MODEL/unload"
                )
        return Answer((b"",))

    def error_body(self, status: int, error: ServingError) -> bytes:
        """See Dialect.error_body."""
        return encode_error(error)
