"""The latest verdict on each version: taken, kept in the store, and given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fastapi import FastAPI, Request

from adapters.errors import BackendUnavailable, InvalidInput
from gateway.conduct.keeper import Keeper
from gateway.control.body import read_body
from gateway.control.verdict_form import MOST_BYTES, Verdict, read_verdict
from gateway.controlplane import ControlPlane
from gateway.errors import Conflict, ModelNotFound

if TYPE_CHECKING:
    from gateway.experiments.store.store import Store

_SHOWN: Final = 8
T = TypeVar("T")
_PATH: Final = "/v1/models/{model}/versions/{version}/verdict"
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "description": "as torii compare --json has it"}}
        },
    }
}


class Verdicts:
    """What is kept of them; all raise BackendUnavailable where the store fails."""

    def __init__(self, control: ControlPlane, keeper: Keeper) -> None:
        self._control = control
        self._keeper = keeper

    def check(self, model: str, version: int) -> None:
        """Raises ModelNotFound where there is no such version here."""
        versions = self.versions(model)
        if version not in versions:
            there = ", ".join(map(str, sorted(versions))) or "none"
            raise ModelNotFound(f"model '{model:.80}' has no version {version}; there are: {there:.200}")

    def versions(self, model: str) -> set[int]:
        """The versions of a model that are deployed, or could be; raises ModelNotFound."""
        table = self._control.tables().get(model)
        if table is None:
            raise ModelNotFound(f"model '{model:.80}' is not here; /v1/status has all there are")
        entry = self._control.snapshot.models.get(model)
        return {*table.versions(), *(entry.versions if entry else ())}

    async def keep(self, verdict: Verdict) -> None:
        """Keep it in the place of the one before."""
        document = verdict.model_dump_json(by_alias=True)
        at = verdict.made.timestamp()
        await self._do(lambda store: store.save_verdict(verdict.model, verdict.version, at, document))

    async def of_version(self, model: str, version: int) -> Verdict:
        """The latest; raises ModelNotFound where there is none, Conflict where it cannot be read."""
        self.check(model, version)
        document = await self._do(lambda store: store.verdict(model, version))
        if document is None:
            raise ModelNotFound(f"{model}/{version} has no verdict yet: torii compare {model}/{version} makes one")
        try:
            return await asyncio.to_thread(read_verdict, document, model, version)
        except InvalidInput as error:
            raise Conflict(
                f"the verdict on {model}/{version} is none that this Torii reads, make it anew: {error}"
            ) from None

    async def of_model(self, model: str) -> list[Verdict]:
        """Those of a model's versions that can be read, the newest version first."""
        there = self.versions(model)
        found = await self._do(lambda store: store.verdicts(model))
        some = [(version, document) for version, document in found if version in there][:_SHOWN]
        return await asyncio.to_thread(_readable, model, some)

    async def _do(self, act: Callable[[Store], T]) -> T:
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415  # takes its time to import

        try:
            return await self._keeper.do(act)
        except StoreUnavailable as error:
            raise BackendUnavailable(f"verdicts are kept in the store, which fails: {error}") from None


def _readable(model: str, documents: Sequence[tuple[int, str]]) -> list[Verdict]:
    found = []
    for version, document in documents:
        with suppress(InvalidInput):  # one of another Torii's form is made anew by whoever wants it
            found.append(read_verdict(document, model, version))
    return found


def add_verdicts(app: FastAPI, verdicts: Verdicts) -> None:
    """Add the routes."""

    @app.get(_PATH, tags=["verdicts"])
    async def get_verdict(model: str, version: int) -> Verdict:
        """The latest verdict on which backend should serve the version here."""
        return await verdicts.of_version(model, version)

    @app.put(_PATH, tags=["verdicts"], openapi_extra=_BODY)
    async def put_verdict(model: str, version: int, request: Request) -> Verdict:
        """Keep a verdict, in the place of the one before."""
        verdicts.check(model, version)
        body = await read_body(request, MOST_BYTES)
        verdict = await asyncio.to_thread(read_verdict, body, model, version)
        await verdicts.keep(verdict)
        return verdict
