"""The control API's routes for models by name, as TorchServe's management API has them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from adapters.errors import InvalidInput, ServingError
from gateway.control.torchserve_management import TorchServeManagement
from gateway.control.torchserve_models import TorchServeModels
from gateway.errors import NotAllowed
from gateway.protocols.torchserve import (
    STATUS,
    Refusal,
    encode_error,
    method_not_allowed,
    resource_not_found,
    to_json,
)

_TAGS: Final[list[str | Enum]] = ["TorchServe management"]
_JSON: Final = "application/json"
_LARGEST: Final = 2**31 - 1

_Synchronous = Annotated[bool, Query(description="answer once it is done")]
_Workers = Annotated[int, Query(ge=-_LARGEST, le=_LARGEST)]


class StatusResponse(BaseModel):
    """What was done."""

    status: str


class ErrorResponse(BaseModel):
    """Body of every error."""

    code: int
    type: str
    message: str


class ModelItem(BaseModel):
    """A registered model."""

    modelName: str  # noqa: N815  # TorchServe's names, here and below
    modelUrl: str  # noqa: N815


class ModelList(BaseModel):
    """A page of the registered models."""

    nextPageToken: str | None = None  # noqa: N815
    models: list[ModelItem]


class TorchServeRoute(APIRoute):
    """A route whose errors leave in TorchServe's form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Refusal as refusal:
                return Response(refusal.body(), refusal.status, media_type=_JSON)
            except RequestValidationError as error:
                return _refused(InvalidInput(_explain(error)))
            except ServingError as error:
                return _refused(error)

        return answer


def _refused(error: ServingError) -> Response:
    return Response(encode_error(error), STATUS.get(type(error), 500), media_type=_JSON)


def _explain(error: RequestValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][-1])
    if first["type"] == "missing":
        return f"Parameter {name} is required."
    return f"{name}: {first['msg']}, got {str(first.get('input'))!r:.80}"


def add_torchserve_management(app: FastAPI, models: TorchServeModels, management: TorchServeManagement) -> None:
    """Add the routes."""
    router = APIRouter(
        route_class=TorchServeRoute,
        tags=_TAGS,
        responses={code: {"model": ErrorResponse} for code in (400, 403, 404, 409, 500, 503)},
    )
    _add_looks(router, models)
    _add_registration(router, management)
    _add_scaling(router, management)
    _add_the_rest(router)
    app.include_router(router)


def _add_looks(router: APIRouter, models: TorchServeModels) -> None:
    @router.get("/models", response_model=ModelList)
    async def list_models(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        next_page_token: Annotated[int, Query(ge=0, le=_LARGEST)] = 0,
    ) -> Response:
        """The registered models, a page at a time."""
        return _written(models.page(limit, next_page_token))

    @router.get("/models/{model_name}", response_model=list[dict[str, Any]])
    async def describe_model(model_name: str) -> Response:
        """A model's default version, its processes and its queue."""
        return _written(await models.describe(model_name, None))

    @router.get("/models/{model_name}/{model_version}", response_model=list[dict[str, Any]])
    async def describe_version(model_name: str, model_version: str) -> Response:
        """One version, or `all`."""
        return _written(await models.describe(model_name, model_version))


def _add_registration(router: APIRouter, management: TorchServeManagement) -> None:
    @router.post("/models", response_model=StatusResponse, responses={202: {"model": StatusResponse}})
    async def register_model(
        url: Annotated[str, Query(description="a model in the repository: `digits`, `digits.mar`, `digits/2`")],
        model_name: Annotated[str | None, Query(description="if given, the name of its folder")] = None,
        handler: Annotated[str | None, Query(description="not taken: code comes with the archive alone")] = None,
        initial_workers: Annotated[
            int, Query(ge=0, le=_LARGEST, description="what is registered has one at least")
        ] = 0,
        synchronous: _Synchronous = True,
    ) -> Response:
        """Load a model that stands in the repository. Other parameters of TorchServe's are without effect."""
        if handler:
            raise NotAllowed("handler: a model's code comes with its archive alone; leave the parameter out")
        return _done(*await management.register(url, model_name, initial_workers, synchronous))

    @router.delete("/models/{model_name}", response_model=StatusResponse)
    async def unregister_model(model_name: str) -> Response:
        """Unload a model that has one version."""
        return _done(200, await management.unregister(model_name, None))

    @router.delete("/models/{model_name}/{model_version}", response_model=StatusResponse)
    async def unregister_version(model_name: str, model_version: str) -> Response:
        """Unload a version that is not the default one, or the only one."""
        return _done(200, await management.unregister(model_name, model_version))

    @router.put("/models/{model_name}/{model_version}/set-default", response_model=StatusResponse)
    async def set_default(model_name: str, model_version: str) -> Response:
        """Have the label `stable` name a version that is ready."""
        return _done(200, await management.set_default(model_name, model_version))


def _add_scaling(router: APIRouter, management: TorchServeManagement) -> None:
    responses: dict[int | str, dict[str, Any]] = {202: {"model": StatusResponse}}

    @router.put("/models/{model_name}", response_model=StatusResponse, responses=responses)
    async def scale_model(
        model_name: str, min_worker: _Workers = 1, max_worker: _Workers | None = None, synchronous: _Synchronous = False
    ) -> Response:
        """Have the default version keep so many processes."""
        maximum = min_worker if max_worker is None else max_worker
        return _done(*await management.scale(model_name, None, min_worker, maximum, synchronous))

    @router.put("/models/{model_name}/{model_version}", response_model=StatusResponse, responses=responses)
    async def scale_version(
        model_name: str,
        model_version: str,
        min_worker: _Workers = 1,
        max_worker: _Workers | None = None,
        synchronous: _Synchronous = False,
    ) -> Response:
        """Have a version keep so many processes: as many as one asks for in TorchServe, one elsewhere."""
        maximum = min_worker if max_worker is None else max_worker
        return _done(*await management.scale(model_name, model_version, min_worker, maximum, synchronous))


def _add_the_rest(router: APIRouter) -> None:
    methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]

    @router.api_route("/models", methods=methods, include_in_schema=False)
    @router.api_route("/models/{rest:path}", methods=methods, include_in_schema=False)
    async def refuse(rest: str = "") -> Response:
        match rest.split("/"):
            case [_] | [_, _] | [_, _, "set-default"]:
                raise method_not_allowed()
        raise resource_not_found()


def _done(status: int, text: str) -> Response:
    return Response(to_json({"status": text}), status, media_type=_JSON)


def _written(document: Any) -> Response:
    return Response(to_json(document), media_type=_JSON)
