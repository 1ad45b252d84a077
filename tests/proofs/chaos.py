"""What is done to a gateway while it serves: its models are published anew, and its workers killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import publish, withdraw
from tests.proofs.judging import Judge, Kill
from tests.proofs.tagged import TaggedModel

_KILLS_BETWEEN = 3  # one more, and then one, is quarantine: that is for other tests
_LOOK_S = 0.1
_WITHIN_S = 120.0
_ABSENT = {"state": "", "digest": "", "pid": None}


class Chaos:
    """Reloads and kills by a seeded random; `reloads` counts what was seen served anew."""

    def __init__(self, gateway: RunningGateway, models: list[TaggedModel], judge: Judge, seed: int) -> None:
        self.reloads = self.versions = 0
        self._gateway = gateway
        self._models = models
        self._judge = judge
        self._random = random.Random(seed)
        self._newest = {model.name: 1 for model in models}
        self._killed: Counter[str] = Counter()
        self._nonce = 0

    def begin(self) -> None:
        """Publish every model."""
        for model in self._models:
            publish(self._gateway.repository, model.name, 1, {model.file: self._content(model)})
            (self._gateway.repository / model.name / "model.toml").write_text(model.model_toml())

    def _content(self, model: TaggedModel) -> bytes:
        self._nonce += 1
        return model.publish(self._nonce)

    async def reload(self, every_s: float) -> None:
        """Publish one model after another, as the same version or as a new one, until cancelled."""
        while True:
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * every_s)
            model = self._random.choice(self._models)
            if self._random.random() < 0.5:
                await self._replace(model)
                self.reloads += 1
            else:
                await self._publish_another(model)
                self.versions += 1
            self._killed[model.name] = 0

    async def _replace(self, model: TaggedModel) -> None:
        digest = (await self._status(model))["digest"]
        staged = self._gateway.repository.parent / f"staged-{self._nonce}"
        staged.write_bytes(self._content(model))
        staged.rename(self._folder(model) / model.file)
        await self._until(model, lambda status: status["digest"] not in ("", digest) and status["state"] == "READY")

    async def _publish_another(self, model: TaggedModel) -> None:
        """A new version, and the old one's folder away once the new one serves."""
        old = self._newest[model.name]
        publish(self._gateway.repository, model.name, old + 1, {model.file: self._content(model)})
        self._newest[model.name] = old + 1
        await self._until(model, lambda status: status["state"] == "READY")
        withdraw(self._gateway.repository, model.name, old)

    def _folder(self, model: TaggedModel) -> Path:
        return self._gateway.repository / model.name / str(self._newest[model.name])

    async def kill(self, every_s: float) -> None:
        """Kill one worker after another, until cancelled; the next one once its successor serves."""
        while True:
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * every_s)
            candidates = [model for model in self._models if self._killed[model.name] < _KILLS_BETWEEN]
            if not candidates:
                continue
            model = self._random.choice(candidates)
            pid = (await self._status(model))["pid"]
            if pid is None or pid not in {child.pid for child in self._gateway.children()}:
                continue
            self._killed[model.name] += 1
            kill = Kill(model.name, time.monotonic())
            self._judge.kills.append(kill)
            os.kill(pid, signal.SIGKILL)
            await self._until(model, lambda status, pid=pid: status["state"] == "READY" and status["pid"] != pid)
            kill.restored_s = time.monotonic()

    async def _status(self, model: TaggedModel) -> dict[str, Any]:
        """The status of its newest version, whether the gateway has seen it yet or not."""
        deployments = await asyncio.to_thread(self._gateway.deployments)
        return deployments.get(f"{model.name}/{self._newest[model.name]}@{model.backend}", _ABSENT)

    async def _until(self, model: TaggedModel, condition: Any) -> None:
        async with asyncio.timeout(_WITHIN_S):
            while not condition(await self._status(model)):  # noqa: ASYNC110  # what has no event here is another process
                await asyncio.sleep(_LOOK_S)
