"""The control API's routes for experiments: make, start, change, stop, promote, and see how they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from adapters.errors import InvalidInput
from gateway.conduct.desk import ExperimentDesk
from gateway.config import MAX_CONFIG_BYTES
from gateway.control.body import read_body
from gateway.control.callers import who_asks
from gateway.control.experiment_examples import BODIES, OUTCOMES, answer
from gateway.control.outcomes import MAX_BYTES, read_outcomes
from gateway.experiments.definition import Definition
from gateway.experiments.files import describe
from gateway.experiments.report import View

_ONE = "/v1/models/{model}/experiments/{name}"
_SMALL_BODY = 1 << 16


def add_experiments(app: FastAPI, desk: ExperimentDesk) -> None:
    """Add the routes; a header torii-who says in the record of changes who made one."""
    _add_reading(app, desk)
    _add_files(app, desk)
    _add_runs(app, desk)
    _add_outcomes(app, desk)


def _add_reading(app: FastAPI, desk: ExperimentDesk) -> None:
    @app.get("/v1/experiments", tags=["experiments"], responses=answer("experiments"))
    async def get_experiments(model: str | None = None) -> Response:
        """Every experiment, or those of one model, as their files say; and the mistakes in these files."""
        found = [_definition(each) for each in desk.definitions(model)]
        return _json({"experiments": found, "problems": desk.problems(model)})

    @app.get(_ONE, tags=["experiments"], responses=answer("experiment"))
    async def get_experiment(model: str, name: str) -> Response:
        """One experiment, as its file says, with every default."""
        return _json(_definition(desk.definition(model, name)))

    @app.get(f"{_ONE}/status", tags=["experiments"], responses=answer("status"))
    async def get_status_of_experiment(model: str, name: str) -> Response:
        """How it stands now: traffic, metrics with anytime-valid intervals, sample ratio, shadow, and problems.

        Intervals and p-values hold at every look: it may be asked as often as wanted, and stopped at any time.
        """
        return _json(_view(await desk.view(model, name)))

    @app.get(f"{_ONE}/looks", tags=["experiments"], responses=answer("looks"))
    async def get_looks(model: str, name: str) -> Response:
        """What the statistics said in the course of the current run, oldest first."""
        return _json({"looks": await desk.looks(model, name)})

    @app.get("/v1/events", tags=["experiments"], responses=answer("events"))
    async def get_events(
        model: str | None = None, experiment: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> Response:
        """What was changed, by whom, with before and after; the newest first."""
        return _json({"events": await desk.events(model, experiment, limit)})


def _add_files(app: FastAPI, desk: ExperimentDesk) -> None:
    @app.put(_ONE, tags=["experiments"], status_code=201, openapi_extra=BODIES["create"], responses=answer(None))
    async def create_experiment(model: str, name: str, request: Request) -> Response:
        """Write a new experiment's file; the body is of the file's shape. It is a draft until it is started."""
        document = _object(await read_body(request, MAX_CONFIG_BYTES))
        return _json(_definition(await desk.create(model, name, document, who_asks(request))), 201)

    @app.patch(_ONE, tags=["experiments"], openapi_extra=BODIES["set"], responses=answer("experiment"))
    async def set_experiment(model: str, name: str, request: Request) -> Response:
        """Change keys of the file; comments in it stay. Null removes a key, and `weights` is percent by variant."""
        changes = _object(await read_body(request, MAX_CONFIG_BYTES))
        return _json(_definition(await desk.set(model, name, changes, who_asks(request))))

    @app.delete(_ONE, tags=["experiments"], status_code=204, response_class=Response)
    async def remove_experiment(model: str, name: str, request: Request) -> Response:
        """Delete the file of an experiment that does not run; evidence and events stay."""
        await desk.remove(model, name, who_asks(request))
        return Response(status_code=204)


def _add_runs(app: FastAPI, desk: ExperimentDesk) -> None:
    @app.post(f"{_ONE}/start", tags=["experiments"], responses=answer("experiment"))
    async def start_experiment(model: str, name: str, request: Request) -> Response:
        """Begin a run, with evidence of its own; requests go by it when this answers."""
        return _json(_definition(await desk.start(model, name, who_asks(request))))

    @app.post(f"{_ONE}/stop", tags=["experiments"], openapi_extra=BODIES["stop"], responses=answer("experiment"))
    async def stop_experiment(model: str, name: str, request: Request) -> Response:
        """End the run: traffic goes where it would without it. A reason, where there is one, is kept."""
        given = _object(await read_body(request, _SMALL_BODY) or b"{}")
        reason = _field(given, "reason", required=False)
        return _json(_definition(await desk.stop(model, name, who_asks(request), reason)))

    @app.post(f"{_ONE}/promote", tags=["experiments"], openapi_extra=BODIES["promote"], responses=answer("experiment"))
    async def promote_variant(model: str, name: str, request: Request) -> Response:
        """End the run, and have the experiment's label (`stable`) name the variant's version."""
        variant = _field(_object(await read_body(request, _SMALL_BODY)), "variant")
        return _json(_definition(await desk.promote(model, name, variant, who_asks(request))))


def _add_outcomes(app: FastAPI, desk: ExperimentDesk) -> None:
    @app.post("/v1/outcomes", tags=["experiments"], openapi_extra=OUTCOMES, responses=answer("receipt"))
    async def report_outcomes(request: Request) -> Response:
        """Report what became of requests or units: one outcome, a list, or {"outcomes": [...]}; 10,000 at most.

        One that does not count is a 400; in a list it is named in `refused` by its place, and the others count.
        """
        batch = await asyncio.to_thread(read_outcomes, await read_body(request, MAX_BYTES))
        if batch.single and batch.refused:
            raise InvalidInput(batch.refused[0].error)
        receipt = batch.receipt(await desk.report(batch.outcomes, who_asks(request)))
        if batch.single and receipt.refused:
            raise InvalidInput(receipt.refused[0].error)
        return _json(receipt)


def _definition(definition: Definition) -> dict[str, Any]:
    return {"model": definition.model, "name": definition.name, **describe(definition)}


def _view(view: View) -> dict[str, Any]:
    return {**msgspec.structs.asdict(view), "definition": _definition(view.definition)}


def _json(content: object, status: int = 200) -> Response:
    """An answer; msgspec writes what is not finite as null."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"body: not JSON: {error!s:.200}") from None
    if not isinstance(document, dict):
        raise InvalidInput("body: expected an object")
    return document


def _field(document: Mapping[str, Any], key: str, required: bool = True) -> str:
    text = document.get(key, None if required else "")
    if unknown := document.keys() - {key}:
        raise InvalidInput(f"{min(unknown)!r:.80}: unknown; expected {{{key!r}: TEXT}}")
    if not isinstance(text, str) or len(text) > 1000:
        raise InvalidInput(f"{key}: expected a text of 1000 characters at most, got {text!r:.80}")
    return text
