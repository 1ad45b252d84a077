"""Has statistics and bandits look at running experiments, now and then, and does what follows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from adapters.errors import ServingError
from gateway.conduct.active import Active
from gateway.conduct.background import Background
from gateway.conduct.saving import Saving
from gateway.conduct.steering import analyse, looks_of, steer
from gateway.conduct.weights import changed, in_force
from gateway.experiments.definition import Current, Definition, Standing
from gateway.experiments.report import Verdict

_log = logging.getLogger(__name__)

_LOOK_S: Final = 10.0
_LOAD_S: Final = 5.0
_REFRESH_S: Final = 1.0
"""For how long people wait for what the store holds of a run, and for what other gateways have seen since."""

Promote: TypeAlias = Callable[[Definition, str, str], Coroutine[Any, Any, object]]
Decide: TypeAlias = Callable[[Active, Current, str, str], None]


class Looking:
    """What takes its time: in threads, and for each experiment one thing at a time."""

    def __init__(self, saving: Saving, background: Background, decide: Decide, look_s: float = _LOOK_S) -> None:
        """`decide` puts other weights in force: of whom, which, as what action, and why."""
        self._saving = saving
        self._background = background
        self._decide = decide
        self._look_s = look_s
        self._promote: Promote

    def join(self, promote: Promote) -> None:
        """Say who promotes where an experiment promotes by itself."""
        self._promote = promote

    def go_on(self, active: Active) -> None:
        """Begin what is due."""
        if active.busy:
            return
        now_s, policy = time.monotonic(), active.definition.policy
        if policy.kind != "fixed" and now_s - active.steered_s >= policy.interval_s:
            active.steered_s = now_s
            self._begin(active, self._steer(active))
        elif now_s - active.looked_s >= self._look_s and active.evidence.counters:
            active.looked_s = now_s
            self._begin(active, self._look(active))

    def _begin(self, active: Active, work: Coroutine[Any, Any, object]) -> None:
        active.busy = True

        def free(_: object) -> None:
            active.busy = False

        self._background.start(work, f"a look at experiment {active.definition}").add_done_callback(free)

    async def _steer(self, active: Active) -> None:
        before = active.definition
        if in_force(before).reason:
            return
        weights = await asyncio.to_thread(steer, active)
        current = in_force(active.definition)
        same = active.definition is before  # else it may have ended, or have other variants, by now
        if same and weights is not None and weights != dict(current.weights):
            now = datetime.now(UTC)
            self._decide(active, changed(before, current, weights, since=now, epoch=False), "", "")

    async def _look(self, active: Active) -> None:
        await self._load(active)
        await self.analysed(active)
        self._saving.add_looks(active, looks_of(active, datetime.now(UTC)))
        definition, analysis = active.definition, active.analysis
        if not definition.promote or definition.state is not Standing.RUNNING or analysis is None:
            return
        weights = in_force(definition).weights
        better = [name for name, verdict in analysis.verdicts.items() if verdict is Verdict.BETTER and weights[name]]
        if len(better) == 1 and not analysis.sample_ratio.alarm:
            try:
                await self._promote(definition, better[0], "torii")
            except ServingError as error:
                active.problem = f"{better[0]} is better, and could not be promoted: {error}"
                _log.warning("experiment %s: %s", definition, active.problem)

    async def analysed(self, active: Active, fresh_s: float = 0.0) -> None:
        """Have the statistics look at evidence that they have not seen, where the latest look is older than that."""
        async with active.analysing:
            if not active.stale(fresh_s):
                return
            try:
                await asyncio.to_thread(active.analyse, analyse)
            except Exception:  # noqa: BLE001  # whatever it is, the experiment goes on, and so do all others
                active.problem = "the statistics failed, see the log; the experiment goes on without"
                _log.exception("experiment %s: the statistics failed", active.definition)

    async def viewed(self, active: Active, fresh_s: float) -> None:
        """Have the latest be known, for people: with what other gateways have seen, if the store says so soon."""
        if active.stale(fresh_s) or not active.evidence.loaded:
            await self._load(active)
        await self.analysed(active, fresh_s)

    async def _load(self, active: Active) -> None:
        loading = self._background.start(self._saving.load(active), f"loading experiment {active.definition}")
        await asyncio.wait([loading], timeout=_REFRESH_S if active.evidence.loaded else _LOAD_S)
