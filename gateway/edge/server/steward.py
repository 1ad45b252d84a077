"""Takes rollouts further, and halts them: a loop around channels.advance."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from adapters.errors import ServingError
from gateway.config import ConfigError
from gateway.edge.channel_file import Channel, ChannelFile, Rollout
from gateway.edge.channel_folder import ChannelFolder
from gateway.edge.channels import advance
from gateway.edge.channels import halt as halted
from gateway.edge.desk import summary
from gateway.edge.server.saving import Saving
from gateway.edge.server.tally import Tally
from gateway.edge.server.watching import Watch
from gateway.errors import Conflict
from gateway.experiments.deliveries import Subject
from gateway.experiments.report import Event

_log = logging.getLogger(__name__)

_EVERY_S: Final = 1.0
_LEAST_S: Final = 0.1
"""Between two looks, however many reports come."""

_WHO: Final = "edge"


class Steward:
    """What it decides counts at once, here; the file follows, and where it cannot be written, it is tried again."""

    def __init__(self, watch: Watch, tally: Tally, saving: Saving, files: ChannelFolder) -> None:
        self._watch = watch
        self._tally = tally
        self._saving = saving
        self._files = files
        self._woken = asyncio.Event()
        self._owed: dict[tuple[str, str], Rollout] = {}
        self._problem = ""

    def wake(self) -> None:
        """Have it look soon: there is new evidence."""
        self._woken.set()

    async def run(self) -> None:
        """Look every second, and when woken, until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001  # deliveries go on, and the next look may do
                _log.exception("rollouts could not be looked at; it is tried again")
            await asyncio.sleep(_LEAST_S)
            try:
                async with asyncio.timeout(_EVERY_S):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()

    async def look(self) -> None:
        """Decide for every rollout that runs."""
        for (model, channel), rollout in list(self._owed.items()):
            await self._write_halt(model, channel, rollout)
        for file in list(self._watch.catalog.channels.values()):
            for name, each in file.channels.items():
                if each.rollout is not None and each.rollout.state == "running":
                    await self._decide(file, name, each, each.rollout)

    async def _decide(self, file: ChannelFile, name: str, channel: Channel, rollout: Rollout) -> None:
        subject = Subject(file.model, name, rollout.version, rollout.started.timestamp())
        evidence, now = self._tally.evidence(subject), datetime.now(UTC)
        changed = advance(channel, evidence, now)
        if changed is channel:
            return
        assert changed.rollout is not None
        if changed.rollout.state == "halted":
            self._watch.hold(file.having(name, changed))  # the next device that asks is told already
            _log.warning("%s, channel %s: halted: %s", file.model, name, changed.rollout.reason)
            self._owed[file.model, name] = changed.rollout
            await self._write_halt(file.model, name, changed.rollout)
        elif await self._write(file.model, name, rollout, lambda there: advance(there, evidence, now)):
            _log.info("%s, channel %s: %s", file.model, name, summary(changed))

    async def _write_halt(self, model: str, channel: str, rollout: Rollout) -> None:
        def change(there: Channel) -> Channel:
            running = there.rollout is not None and there.rollout.state == "running"
            return halted(there, rollout.reason, datetime.now(UTC)) if running else there

        if await self._write(model, channel, rollout, change):
            self._owed.pop((model, channel), None)

    async def _write(self, model: str, channel: str, rollout: Rollout, change: Callable[[Channel], Channel]) -> bool:
        """Change a channel's file, if it still has this rollout; False where that cannot be done now."""
        seen: list[Channel] = []

        def still(there: Channel) -> Channel:
            same = there.rollout is not None and there.rollout.started == rollout.started
            changed = change(there) if same else there
            if changed is not there:
                seen.append(there)
            return changed

        try:
            changed = await asyncio.to_thread(self._files.change, model, channel, still)
        except (OSError, ConfigError, Conflict, ServingError) as error:
            self._say(f"{model}, channel {channel}: its file cannot be changed: {error}; it is tried again")
            return False
        self._problem = ""
        if seen:
            self._note(model, channel, seen[0], changed)
        await self._watch.look()
        return True

    def _say(self, problem: str) -> None:
        """Once, and not every second."""
        if problem != self._problem:
            _log.error("%s", problem)
        self._problem = problem

    def _note(self, model: str, channel: str, before: Channel, after: Channel) -> None:
        action = f"rollout {after.history[-1].event}" if after.history else "rollout changed"
        reason = after.rollout.reason if after.rollout else ""
        told = [{f"channel {channel}": summary(each)} for each in (before, after)]
        self._saving.note(Event(0, datetime.now(UTC), _WHO, action, model, "", told[0], told[1], reason))
