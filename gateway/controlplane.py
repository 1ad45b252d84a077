"""Keeps the deployments as the repository wants them: loads, watches, replaces and unloads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from adapters.base import RUNTIMES_OWN, Adapter, Endpoint
from adapters.errors import BackendDied, BackendUnavailable, LoadFailed
from gateway.plans import Plan, Planner, wishes
from gateway.repository import Snapshot, scan
from gateway.types import Deployment, Limits, ModelTable, Standing, State
from gateway.versions import Act, Actual, Fingerprint, Restarts, Wish, next_steps

_log = logging.getLogger(__name__)

_LOADS_AT_ONCE = 4


class Frontend(Protocol):
    """What the control plane tells whoever answers requests. Plain data only: it may be another process."""

    def show(self, tables: Mapping[str, ModelTable]) -> None:
        """Replace the table of models."""
        ...

    async def publish(self, deployment: Deployment, endpoint: Endpoint, limits: Limits) -> None:
        """Send a deployment's requests to this endpoint from now on."""
        ...

    async def withdraw(self, deployment: Deployment, endpoint: Endpoint) -> None:
        """Send nothing more there; return once the last answer is out.

        What this endpoint had replaced, and is not withdrawn itself, takes the further requests again.
        """
        ...


@dataclass(slots=True, eq=False)
class Record:
    """One deployment's life, as the control plane sees it."""

    deployment: Deployment
    state: State = State.FOUND
    reason: str = ""
    digest: str = ""
    endpoint: Endpoint | None = None
    pending: Endpoint | None = None
    tried: Fingerprint = None
    loaded: Fingerprint = None
    refused: tuple[Fingerprint, str] | None = None
    retry_at_s: float | None = None
    failures: int = 0
    restarts: Restarts = field(default_factory=Restarts)
    task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being done to it."""
        return self.task is not None and not self.task.done()


class ControlPlane:
    """One for each repository: the only one that starts and stops what serves models."""

    def __init__(
        self,
        root: Path,
        planner: Planner,
        adapters: Mapping[str, Adapter],
        frontend: Frontend,
        *,
        poll_s: float,
        load_timeout_s: float,
        warm_up: Callable[[Endpoint, Path | None], Awaitable[None]],
        on_change: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self.root = root
        self.adapters = adapters
        self._planner = planner
        self._frontend = frontend
        self._poll_s = poll_s
        self._load_timeout_s = load_timeout_s
        self._warm_up = warm_up
        self._on_change = on_change
        self._records: dict[Deployment, Record] = {}
        self._plans: dict[Deployment, Plan] = {}
        self._snapshot = Snapshot()
        self._last_labels: dict[str, Mapping[str, int]] = {}
        self._wake = asyncio.Event()
        self._loads = {backend: asyncio.Semaphore(_LOADS_AT_ONCE) for backend in adapters}
        self._background: set[asyncio.Task[None]] = set()
        self.scanned = asyncio.Event()

    @property
    def records(self) -> list[Record]:
        """Every deployment, in order of name."""
        return [self._records[each] for each in sorted(self._records)]

    @property
    def snapshot(self) -> Snapshot:
        """The repository as last scanned."""
        return self._snapshot

    @property
    def settled(self) -> bool:
        """Whether all that the repository asked for is ready or failed for good."""
        return self.scanned.is_set() and not any(
            record.busy or record.retry_at_s is not None or record.state in (State.FOUND, State.LOADING)
            for record in self._records.values()
        )

    async def run(self) -> None:
        """Watch the repository until cancelled."""
        while True:
            try:
                self._snapshot = await asyncio.to_thread(scan, self.root)
                self._reconcile()
                self.scanned.set()
            except OSError as error:
                _log.error("the repository %s cannot be read (%s); what serves goes on", self.root, error)
            except Exception:  # noqa: BLE001  # whatever stands in a folder must not end the watch over all others
                _log.exception("a look at the repository %s failed; what serves goes on", self.root)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._poll_s)
            self._wake.clear()

    def _reconcile(self) -> None:
        now_s = time.monotonic()
        unreadable = self._snapshot.unreadable
        kept = {each: plan for each, plan in self._plans.items() if each.model in unreadable}
        self._plans = {**self._planner.plan(self._snapshot, now_s), **kept}
        for deployment, plan in self._plans.items():
            if plan.wanted.wish is not Wish.SPARE and deployment not in self._records:
                reason = "its files are still changing" if plan.wanted.wish is Wish.WAIT else ""
                self._records[deployment] = Record(deployment, reason=reason)
                self._on_change(self._records[deployment])
        actual = {
            each: Actual(record.state, record.tried, record.retry_at_s, record.busy)
            for each, record in self._records.items()
        }
        for deployment, act in next_steps(wishes(self._plans), actual, now_s).items():
            record = self._records.setdefault(deployment, Record(deployment))
            step = self._unload(record) if act is Act.UNLOAD else self._load(record, self._plans[deployment])
            record.task = asyncio.create_task(step, name=f"{act.name.lower()} {deployment}")
            record.task.add_done_callback(lambda _: self._wake.set())
        self._show()

    def _show(self) -> None:
        models: dict[str, dict[Deployment, Standing]] = {name: {} for name in self._snapshot.models}
        for record in self._records.values():
            standings = models.setdefault(record.deployment.model, {})
            standings[record.deployment] = Standing(record.state, record.reason)
        self._frontend.show(
            {
                name: ModelTable(name, self._planner.order(name), self._labels(name), standings)
                for name, standings in models.items()
            }
        )

    def _labels(self, model: str) -> Mapping[str, int]:
        """A model's labels; while its labels.toml is wrong or cannot be read, those that it had."""
        entry = self._snapshot.models.get(model)
        if entry is not None and entry.labels is not None:
            self._last_labels[model] = entry.labels
        return self._last_labels.get(model, {})

    def _change(self, record: Record, state: State, reason: str = "") -> None:
        if (record.state, record.reason) != (state, reason):
            record.state, record.reason = state, reason
            _log.log(
                logging.WARNING if state is State.FAILED or reason else logging.INFO,
                "%s %s%s", record.deployment, state, f": {reason}" if reason else "",
            )  # fmt: skip
            self._on_change(record)
        self._show()

    async def _load(self, record: Record, plan: Plan) -> None:
        if record.tried != plan.wanted.fingerprint:  # what the earlier files did does not count against these
            record.restarts, record.failures = Restarts(), 0
        record.tried, record.retry_at_s = plan.wanted.fingerprint, None
        try:
            async with self._loads[record.deployment.backend]:
                await self._replace(record, plan)
            record.failures = 0
        except TimeoutError:
            self._fail(record, f"loading took longer than {self._load_timeout_s:g} s")
        except (LoadFailed, OSError) as error:
            self._fail(record, str(error))
        except BackendDied as error:
            self._died(record, str(error))
        except BackendUnavailable as error:
            record.failures += 1
            self._retry(record, str(error), Restarts.delay_s(record.failures + 1))
        except Exception:  # noqa: BLE001  # one deployment's trouble must not end the watch over all
            _log.exception("loading %s failed", record.deployment)
            self._fail(record, "internal error; the gateway's log says more")

    async def _replace(self, record: Record, plan: Plan) -> None:
        adapter = self.adapters[plan.deployment.backend]
        if problem := plan.problem or await asyncio.to_thread(adapter.missing):
            raise LoadFailed(problem)
        digest = await asyncio.to_thread(plan.digest)
        content: Fingerprint = (digest, plan.settings)
        if record.endpoint is not None and record.loaded == content:
            self._change(record, State.READY)  # touched, or put back as it was: what serves is the same
            return
        if record.refused is not None and record.refused[0] == content:
            raise LoadFailed(record.refused[1])  # touched, and as useless as before
        if record.endpoint is None:
            self._change(record, State.LOADING)
        started_s = time.monotonic()
        async with asyncio.timeout(self._load_timeout_s):
            try:
                endpoint = record.pending = await adapter.load(plan.artifact(digest))
            except LoadFailed as error:
                record.refused = content, str(error)
                raise
            except TimeoutError:
                raise
            except OSError as error:  # no descriptor or process left to be had: no fault of the artifact's
                raise BackendUnavailable(f"it could not be started: {error}") from error
        try:
            await self._warm_up(endpoint, plan.golden)
            await self._frontend.publish(plan.deployment, endpoint, plan.limits)
        except BaseException:
            await adapter.unload(endpoint)
            raise
        if record.pending is not endpoint:
            await self._release(record.deployment, endpoint)
            raise BackendDied("it died right after it was loaded")
        previous, record.endpoint, record.pending = record.endpoint, endpoint, None
        record.digest, record.loaded, record.refused = digest, content, None
        _log.info("%s loaded in %.2f s by %s", plan.deployment, time.monotonic() - started_s, endpoint.runtime)
        self._change(record, State.READY)
        if previous is not None:  # it may drain for long, and its successor may die meanwhile: nothing waits for it
            self._background_task(self._release(record.deployment, previous))

    async def _release(self, deployment: Deployment, endpoint: Endpoint) -> None:
        await self._frontend.withdraw(deployment, endpoint)
        await self.adapters[deployment.backend].unload(endpoint)

    async def _unload(self, record: Record) -> None:
        if record.endpoint is not None:
            self._change(record, State.DRAINING)
            await self._release(record.deployment, record.endpoint)
            self._change(record, State.UNLOADED)
        del self._records[record.deployment]
        self._show()

    def _fail(self, record: Record, reason: str) -> None:
        if record.endpoint is not None:
            self._change(record, State.READY, f"reload failed, the earlier files keep serving: {reason}")
        else:
            self._change(record, State.FAILED, reason)

    def _retry(self, record: Record, reason: str, delay_s: float) -> None:
        record.retry_at_s = time.monotonic() + delay_s
        self._fail(record, f"{reason}; trying again in {delay_s:g} s")
        asyncio.get_running_loop().call_later(delay_s, self._wake.set)

    def _died(self, record: Record, reason: str) -> None:
        delay_s = record.restarts.died(time.monotonic())
        if delay_s is None:
            record.retry_at_s = None
            minutes = Restarts.WINDOW_S / 60
            self._fail(
                record, f"quarantined after {Restarts.MAX_DEATHS} deaths in {minutes:.0f} minutes; the last: {reason}"
            )
        else:
            self._retry(record, reason, delay_s)

    def on_death(self, endpoint: Endpoint, reason: str) -> None:
        """Told by an adapter that an endpoint ended by itself."""
        for record in self._records.values():
            if record.pending == endpoint:
                record.pending = None
            if record.endpoint == endpoint:
                record.endpoint = None
                self._background_task(self._release(record.deployment, endpoint))
                if not record.busy and self._is_bystander(record):
                    self._retry(record, reason, Restarts.FIRST_DELAY_S)
                elif not record.busy:
                    self._died(record, reason)
                elif record.state is State.READY:
                    self._change(record, State.LOADING, reason)  # its successor is on its way

    def _is_bystander(self, record: Record) -> bool:
        """Whether it died with a server that others share, while one of these was being loaded: that one is suspect."""
        backend = record.deployment.backend
        others = (other for other in self._records.values() if other.deployment.backend == backend)
        return backend not in RUNTIMES_OWN and any(other.busy for other in others)

    def _background_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def stop(self) -> None:
        """Withdraw every deployment, let running requests end, and stop every process."""
        for record in self._records.values():
            if record.task is not None and record.state is not State.DRAINING:
                record.task.cancel()
        tasks = [record.task for record in self._records.values() if record.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        # Their processes end as a whole, so nothing is unloaded from them one by one.
        await asyncio.gather(
            *(self._drain(record) for record in self.records), *self._background, return_exceptions=True
        )
        await asyncio.gather(*(adapter.close() for adapter in self.adapters.values()))

    async def _drain(self, record: Record) -> None:
        if record.endpoint is not None:
            self._change(record, State.DRAINING)
            await self._frontend.withdraw(record.deployment, record.endpoint)
            self._change(record, State.UNLOADED)
