"""The models that one TF Serving serves by Torii's configuration, which is always sent to it as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import shutil
from pathlib import Path

from adapters.base import Artifact
from adapters.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    LoadFailed,
    ServingError,
)
from adapters.tfserving.model_service import ModelService, ServedModel

_log = logging.getLogger(__name__)

_POLL_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


class Catalog:
    """Puts models into a TF Serving and takes them out, any number at once."""

    def __init__(self, service: ModelService, folder: Path, load_limit_s: float) -> None:
        """`folder` is where versions are staged; the server must see it, and the artifacts, under the same paths."""
        self._service = service
        self._folder = folder
        self._load_limit_s = load_limit_s
        self._models: dict[str, ServedModel] = {}
        self._token = secrets.token_hex(3)
        self._numbers = itertools.count(1)
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, artifact: Artifact) -> ServedModel:
        """Have an artifact loaded, under a name of its own: two contents of a version can be served side by side.

        A cancelled or failed load is taken out of the configuration again.

        Raises:
            LoadFailed: TF Serving cannot load it.
            BackendUnavailable: TF Serving is not there, or did not load it in time.
        """
        # No name is used twice, not even by two gateways one after the other: a name that failed to load before is
        # waited for by the real server for ever (tensorflow/serving#1565).
        digest = artifact.digest.rpartition(":")[2][:12]
        name = f"{artifact.model}.{artifact.version}.{digest}.{self._token}-{next(self._numbers)}"
        model = ServedModel(name, artifact.version, self._folder / name)
        _stage(model, artifact.path)
        self._models[name] = model
        try:
            await self._bring_up(model)
        except asyncio.CancelledError:
            self.drop(name)
            raise
        except LoadFailed as error:
            await self.remove(name)
            staged = model.base_path / str(model.version)  # the caller knows the folder by its own path
            raise LoadFailed(str(error).replace(str(staged), str(artifact.path))) from error
        except ServingError:
            await self.remove(name)
            raise
        return model

    async def remove(self, name: str) -> None:
        """Have a model unloaded; the server ends the calls that it runs first."""
        model = self._models.pop(name, None)
        if model is None:
            return
        try:
            await self._send()
        except ServingError as error:
            _log.warning("TF Serving did not take the configuration without %s: %s", name, error)
        # Only now: a base path that is missing keeps the real server from finding any new version of any model.
        await asyncio.to_thread(shutil.rmtree, model.base_path, ignore_errors=True)

    def drop(self, name: str) -> None:
        """Have a model unloaded, without waiting for it."""
        task = asyncio.create_task(self.remove(name), name=f"drop {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def clear(self) -> None:
        """Have all models unloaded, as far as the server can still be reached."""
        self._models.clear()
        with contextlib.suppress(ServingError):
            await self._send()

    async def close(self) -> None:
        """Drop what is still under way in the background, and remove what was staged."""
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _bring_up(self, model: ServedModel) -> None:
        refused: ServingError | None = None
        try:
            async with asyncio.timeout(self._load_limit_s):
                try:
                    await self._send()
                except (InferenceFailed, InvalidInput) as error:
                    refused = error  # the real server's answer to all new models when one of them did not load
                await self._wait_available(model, refused)
        except (TimeoutError, DeadlineExceeded) as error:
            raise BackendUnavailable(
                f"TF Serving did not load {model.name} within {self._load_limit_s:g} s; does it see {model.base_path}?"
            ) from error

    async def _send(self) -> None:
        async with self._sending:
            await self._service.reload(list(self._models.values()), self._load_limit_s)

    async def _wait_available(self, model: ServedModel, refused: ServingError | None) -> None:
        for pause_s in itertools.chain(_POLL_S, itertools.repeat(_POLL_S[-1])):
            states = await self._service.status(model.name, model.version)
            state = states[0].state if states else None
            if state == "AVAILABLE":
                return
            if state == "END":
                raise LoadFailed(states[0].error or f"TF Serving unloaded {model.name} while it was being loaded")
            if state is None and refused is not None:
                raise LoadFailed(str(refused)) from refused
            await asyncio.sleep(pause_s)


def _stage(model: ServedModel, path: Path) -> None:
    """Make the artifact's folder known as `base_path/<version>`, which is where a TF Serving looks for versions."""
    model.base_path.mkdir(parents=True)
    (model.base_path / str(model.version)).symlink_to(path.resolve())
