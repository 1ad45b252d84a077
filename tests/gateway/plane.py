"""A control plane over a real folder and a real registry, with adapters and models that have no processes."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.base import Endpoint
from adapters.errors import BackendUnavailable
from gateway.controlplane import ControlPlane
from gateway.labels import Labels
from gateway.lifecycle import Record
from gateway.modelcontrol import ModelControl
from gateway.plans import Planner
from gateway.registry import Registry
from gateway.types import Deployment, Target
from gateway.uploads import Uploads
from tests.gateway.fakes import FakeAdapter, HeldServable, QuickServable, X, endpoint, no_warm_up
from tests.waiting import turns, until


class Plane:
    """What a test does to the folder and to the backends, and what it sees of it."""

    def __init__(self, folder: Path, *backends: str, load_timeout_s: float = 60.0, poll_s: float = 0.005) -> None:
        self.root = folder / "repository"
        self.root.mkdir()
        self.uploads = folder / "uploads"
        self._staged = itertools.count()
        self.adapters = {name: FakeAdapter(name) for name in backends or ("onnxruntime",)}
        self.models: dict[str, HeldServable] = {}
        self.held: set[str] = set()
        self.dying: Callable[[str], None] = lambda address: None
        self.changes: list[tuple[str, str, str]] = []
        self.registry = Registry(self._connect, drain_timeout_s=60.0)
        self.control = ControlPlane(
            self.root,
            Planner(tuple(self.adapters), settle_s=0.0),
            self.adapters,
            self.registry,
            poll_s=poll_s,
            load_timeout_s=load_timeout_s,
            warm_up=no_warm_up,
            on_change=self._changed,
        )
        self.labels = Labels(self.control)
        self.by_name = ModelControl(
            self.control,
            Uploads(self.uploads),
            allow_upload=True,
            max_upload_bytes=1000,
            load_timeout_s=load_timeout_s,
        )

    async def _connect(self, to: Endpoint) -> HeldServable:
        if to.address not in self.adapters[to.backend].live:
            raise BackendUnavailable("nobody listens there")
        content = self.adapters[to.backend].live[to.address]
        model = HeldServable() if content in self.held else QuickServable()
        self.models[to.address] = model
        self.dying(to.address)
        return model

    def _changed(self, record: Record) -> None:
        self.changes.append((str(record.deployment), str(record.state), record.reason))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Plane]:
        """The control plane at work."""
        task = asyncio.create_task(self.control.run())
        try:
            yield self
        finally:
            task.cancel()
            await self.control.stop()

    @property
    def adapter(self) -> FakeAdapter:
        """The only adapter, or the first."""
        return next(iter(self.adapters.values()))

    def publish(self, version: str, content: str, name: str = "model.onnx") -> Path:
        """Put a version (`m/1`) into place at once, or another file into one that is there."""
        folder = self.root / version
        staged = self.root.parent / f"staged-{next(self._staged)}"
        if folder.exists():
            staged.write_text(content)
            staged.replace(folder / name)
        else:
            staged.mkdir()
            (staged / name).write_text(content)
            folder.parent.mkdir(exist_ok=True)
            staged.rename(folder)
        return folder / name

    def write(self, name: str, text: str) -> None:
        """Put a file of settings into place at once."""
        staged = self.root.parent / f"staged-{next(self._staged)}"
        staged.write_text(text)
        (self.root / name).parent.mkdir(exist_ok=True)
        staged.rename(self.root / name)

    def delete(self, version: str) -> None:
        """Take a folder away at once."""
        gone = self.root.parent / f"gone-{next(self._staged)}"
        (self.root / version).rename(gone)
        shutil.rmtree(gone)

    def kill(self, address: str, reason: str = "killed") -> None:
        """End an endpoint as if its process had died."""
        backend = next(adapter for adapter in self.adapters.values() if address in adapter.live)
        del backend.live[address]
        model = self.models[address]
        model.closed = True
        self.control.on_death(endpoint(address, backend.backend), reason)

    def kill_all(self, content: str) -> None:
        """End every endpoint of an artifact's content."""
        for address in [each for each, has in self.adapter.live.items() if has == content and each in self.models]:
            self.kill(address)

    def record(self, deployment: str) -> Record | None:
        """A deployment's record, if there is one."""
        parsed = Deployment.parse(deployment)
        return next((each for each in self.control.records if each.deployment == parsed), None)

    def state(self, deployment: str) -> str | None:
        """A deployment's state, if it is there."""
        record = self.record(deployment)
        return str(record.state) if record else None

    def reason(self, deployment: str) -> str:
        """Why a deployment is as it is."""
        record = self.record(deployment)
        return record.reason if record else ""

    async def reaches(self, **states: str | None) -> None:
        """Wait for states of the model m, by version: `v1="READY"`."""
        wanted = {f"m/{name[1:]}@{self.adapter.backend}": state for name, state in states.items()}
        await until(lambda: all(self.state(each) == state for each, state in wanted.items()))

    async def looked(self, times: int = 3) -> None:
        """Wait until the repository was looked at so often, and what this began has come as far as it can."""
        for _ in range(times):
            self.control.scanned.clear()
            await self.control.scanned.wait()
        await turns()

    async def ask(self, model: str = "m", version: int | None = None, label: str | None = None) -> str:
        """Send a request; gives the content of the artifact that answered."""
        with self.registry.lease(Target(model, version, label)) as lease:
            content = self.adapters[lease.endpoint.backend].live.get(lease.endpoint.address, "a dead one")
            await lease.servable.infer(X)
            return content
