"""Models that are loaded and unloaded by name, with files and settings of the caller's where these are allowed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from weakref import WeakValueDictionary

from adapters.errors import InvalidInput, LoadFailed
from gateway.controlplane import ControlPlane
from gateway.directives import Directive
from gateway.errors import ModelNotFound, NotAllowed
from gateway.lifecycle import Record
from gateway.overrides import Overrides, asks_override, read_overrides
from gateway.protocols.model_repository import IndexEntry, Readiness
from gateway.repository import ModelEntry
from gateway.types import MODEL_NAME, Deployment, State
from gateway.uploads import Uploads
from gateway.versions import Wanted, Wish

_UNLOADED = "unloaded"


class ModelControl:
    """What is served of a model by name: it holds until the next word about the model, or until Torii is restarted."""

    def __init__(
        self,
        control: ControlPlane,
        uploads: Uploads,
        *,
        allow_upload: bool,
        max_upload_bytes: int,
        load_timeout_s: float,
    ) -> None:
        """`allow_upload` admits overrides, whose files may hold `max_upload_bytes` together."""
        self._control = control
        self._uploads = uploads
        self._allow_upload = allow_upload
        self._max_upload_bytes = max_upload_bytes
        self._load_timeout_s = load_timeout_s
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._working: set[asyncio.Task[None]] = set()

    async def load(self, model: str, version: int | None = None, overrides: Mapping[str, object] | None = None) -> None:
        """Load what is new, changed, failed or unloaded of a model, or of a version; wait until it is ready or failed.

        `overrides` are a load's parameters as Triton has them, with `file:` values as base64 or bytes. What they bring
        is served instead of what the repository has, until the next load without them or the model's unload; a load
        that fails takes them back. A caller who is cancelled does not end the load.

        Raises:
            ModelNotFound: the repository (or the upload) has no such model or version.
            LoadFailed: nothing of it became ready; names each deployment with its reason.
            NotAllowed: there are overrides, and the setting model_upload is off.
            InvalidInput: an override is not of its form; names the key.
            RequestTooLarge: the files of the overrides are.
            BackendUnavailable: the repository cannot be read.
        """
        parameters = overrides or {}
        if asks_override(parameters) and not self._allow_upload:
            raise NotAllowed("config and file: are taken only where the server's settings say model_upload = true")
        work = asyncio.create_task(self._load(model, version, parameters), name=f"load {model}")
        self._working.add(work)
        work.add_done_callback(self._done)
        await asyncio.shield(work)

    def _done(self, work: asyncio.Task[None]) -> None:
        self._working.discard(work)
        if not work.cancelled():
            work.exception()  # where nobody waits any more, the deployments' reasons say the same

    async def _load(self, model: str, version: int | None, parameters: Mapping[str, object]) -> None:
        turn = self._turns.setdefault(model, asyncio.Lock())
        async with turn:  # a load that fails goes back to what was before it: one at a time, then
            asked, upload = await asyncio.to_thread(self._take, model, parameters)
            try:
                before, now = await self._begin(model, version, asked, upload)
                await self._finish(model, version, before, now)
            finally:
                self._discard_unless_served(model, upload)

    def _take(self, model: str, parameters: Mapping[str, object]) -> tuple[Overrides, ModelEntry | None]:
        """Read the overrides, and put their files on disk. Blocking."""
        if not asks_override(parameters):
            return Overrides({}), None
        if not MODEL_NAME.fullmatch(model):
            raise InvalidInput(f"model {model!r:.80}: expected a name of a-z 0-9 . _ - (64 at most)")
        asked = read_overrides(model, parameters, self._max_upload_bytes)
        if not asked.files:
            return asked, None
        try:
            return asked, self._uploads.write(model, asked.files)
        except OSError as error:
            raise LoadFailed(f"{model}: the upload cannot be stored: {error.strerror or error}") from error

    async def _begin(
        self, model: str, version: int | None, asked: Overrides, upload: ModelEntry | None
    ) -> tuple[Directive, Directive]:
        """Have a load begin; gives the directive before it, and that of it."""
        control = self._control
        async with control.changing():
            entry = upload or control.repository.entry(model)
            if version is not None and version not in entry.versions:
                raise _no_version(model, version, entry.versions)
            before = control.directive(model)
            now = replace(before.loaded(version), max_rows=asked.max_rows, versions=asked.versions, upload=upload)
            if now.overrides or before.overrides:
                served = {**before.leaving, **control.snapshot.models.get(model, entry).versions}
                leaving = {number: files for number, files in served.items() if number not in entry.versions}
                now = replace(now, leaving=leaving)
                await control.cancel_loads(model)
            control.forgive(model, version)
            control.direct(model, now)
        return before, now

    async def _finish(self, model: str, version: int | None, before: Directive, now: Directive) -> None:
        """Wait for what was begun, and raise LoadFailed where nothing came of it: overrides are taken back then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._load_timeout_s):
                await self._control.until(lambda: all(_settled(*each) for each in self._to_serve(model, version)))
        try:
            if any(_became_ready(*each) for each in self._to_serve(model, version)):
                if now.leaving:
                    await self._redirect(model, now, replace(now, leaving={}))
                return
            failure = self._failure(model, version)
            if now.overrides or before.overrides:
                await self._redirect(model, now, before)
            raise LoadFailed(failure)
        finally:
            self._discard_unless_served(model, before.upload)

    async def _redirect(self, model: str, now: Directive, then: Directive) -> None:
        """Replace a directive, unless another has come meanwhile."""
        async with self._control.changing():
            if self._control.directive(model) is now:
                self._control.direct(model, then)

    def _discard_unless_served(self, model: str, upload: ModelEntry | None) -> None:
        if upload is not None and self._control.directive(model).upload is not upload:
            self._control.in_background(self._discard(upload))

    async def _discard(self, upload: ModelEntry) -> None:
        await self._control.until(lambda: not self._control.uses(upload.path))
        await asyncio.to_thread(self._uploads.remove, upload)

    def _to_serve(self, model: str, version: int | None) -> list[tuple[Wanted, Record | None]]:
        return [
            (wanted, self._control.record(deployment))
            for deployment, wanted in self._control.wanted.items()
            if _is_of(deployment, model, version) and wanted.wish in (Wish.SERVE, Wish.WAIT)
        ]

    def _failure(self, model: str, version: int | None) -> str:
        records = [each for each in self._control.records if _is_of(each.deployment, model, version)]
        reasons = [
            f"{each.deployment}: {each.reason or each.state}"
            for each in records
            if each.state != State.READY or each.reason
        ]
        entry = self._control.snapshot.models.get(model)
        problems = [str(each) for each in entry.all_problems()] if entry else []
        left_out = f"{model}{f'/{version}' if version else ''}: the version policy keeps none, and no label names one"
        return "; ".join(reasons or problems or [left_out])

    async def unload(self, model: str, version: int | None = None) -> None:
        """Withdraw a model, or a version: nothing is sent there when this returns. It is drained and unloaded then.

        It stays so until `load`, whatever comes into the repository.

        Raises:
            ModelNotFound: there is no such model or version.
            BackendUnavailable: the repository cannot be read.
        """
        control = self._control
        async with control.changing():
            entry = control.snapshot.models.get(model)
            served = {each.deployment.version for each in control.records if each.deployment.model == model}
            if entry is None and not served:
                control.snapshot.entry(model)
            there = served | set(entry.versions if entry else ())
            if version is not None and version not in there:
                raise _no_version(model, version, there)
            before = control.directive(model)
            only_uploaded = before.upload is not None and model not in control.repository.models
            await control.cancel_loads(model, version)
            # Of a model that was only uploaded nothing is left that could be kept from being served.
            control.direct(model, None if only_uploaded and version is None else before.unloaded(version))
        self._discard_unless_served(model, before.upload)

    def index(self, ready_only: bool = False) -> list[IndexEntry]:
        """Every version that is in the repository, or still served, in order; and models that have none."""
        served: dict[str, dict[int, list[Record]]] = {}
        for name, model in self._control.snapshot.models.items():
            served[name] = {number: [] for number in model.versions}
        for record in self._control.records:
            deployment = record.deployment
            served.setdefault(deployment.model, {}).setdefault(deployment.version, []).append(record)
        entries = [entry for name in sorted(served) for entry in self._entries(name, served[name])]
        return [each for each in entries if each.state is Readiness.READY or not ready_only]

    def _entries(self, name: str, versions: Mapping[int, list[Record]]) -> list[IndexEntry]:
        model = self._control.snapshot.models.get(name)
        if model is not None and not versions:
            return [IndexEntry(name, None, Readiness.UNAVAILABLE, "; ".join(map(str, model.problems)))]
        directive = self._control.directive(name)
        entries: list[IndexEntry] = []
        for number, records in sorted(versions.items()):
            state = _readiness(records)
            files = model.versions.get(number) if model else None
            if state is Readiness.UNAVAILABLE and not directive.serves(number):
                reason = _UNLOADED
            elif records:
                reason = "; ".join(f"{each.deployment}: {each.reason}" for each in records if each.reason)
            else:
                reason = "; ".join(files.problems if files else ()) or "left out by the version policy"
            entries.append(IndexEntry(name, str(number), state, reason))
        return entries


def _is_of(deployment: Deployment, model: str, version: int | None) -> bool:
    return deployment.model == model and version in (None, deployment.version)


def _settled(wanted: Wanted, record: Record | None) -> bool:
    if record is None or record.busy or record.tried != wanted.fingerprint:
        return False
    return record.state in (State.READY, State.FAILED)


def _became_ready(wanted: Wanted, record: Record | None) -> bool:
    return record is not None and _settled(wanted, record) and record.state is State.READY and not record.reason


def _readiness(records: Iterable[Record]) -> Readiness:
    states = {record.state for record in records}
    if State.READY in states:
        return Readiness.READY
    if states & {State.FOUND, State.LOADING}:
        return Readiness.LOADING
    return Readiness.UNLOADING if State.DRAINING in states else Readiness.UNAVAILABLE


def _no_version(model: str, version: int, there: Iterable[int]) -> ModelNotFound:
    return ModelNotFound(f"model '{model}' has no version {version}; there are: {_list(there)}")


def _list(versions: Iterable[int]) -> str:
    numbers = [str(each) for each in sorted(versions)]
    return (", ".join(numbers[:20]) or "none") + (" and more" if len(numbers) > 20 else "")
