"""What is done to deployments: loaded, replaced, retried, unloaded; and what becomes of those that die."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from adapters.base import RUNTIMES_OWN, Adapter, Batching, Endpoint
from adapters.errors import BackendDied, BackendUnavailable, LoadFailed
from gateway.plans import Plan
from gateway.types import Deployment, ModelTable, Serving, Standing, State
from gateway.versions import Fingerprint, Restarts

_log = logging.getLogger(__name__)

_LOADS_AT_ONCE = 4


class Frontend(Protocol):
    """What the control plane tells whoever answers requests. Plain data only: it may be another process."""

    def show(self, tables: Mapping[str, ModelTable]) -> None:
        """Replace the table of models."""
        ...

    async def shown(self) -> None:
        """Return once requests go by the table that was shown last."""
        ...

    async def publish(self, deployment: Deployment, endpoint: Endpoint, serving: Serving) -> None:
        """Send a deployment's requests to this endpoint from now on."""
        ...

    async def withdraw(self, deployment: Deployment, endpoint: Endpoint) -> None:
        """Send nothing more there; return once the last answer is out.

        What this endpoint had replaced, and is not withdrawn itself, takes the further requests again.
        """
        ...


@dataclass(slots=True, eq=False)
class Record:
    """One deployment's life, as the control plane sees it.

    `folder` is where the files of what serves came from, `artifact_bytes` how large they are, `load_s` how long it took
    to load them.
    """

    deployment: Deployment
    state: State = State.FOUND
    reason: str = ""
    digest: str = ""
    endpoint: Endpoint | None = None
    folder: Path = Path()
    load_s: float | None = None
    artifact_bytes: int | None = None
    pending: Endpoint | None = None
    tried: Fingerprint = None
    loaded: Fingerprint = None
    refused: tuple[Fingerprint, str] | None = None
    retry_at_s: float | None = None
    failures: int = 0
    deaths: int = 0
    restarts: Restarts = field(default_factory=Restarts)
    task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being done to it."""
        return self.task is not None and not self.task.done()

    @property
    def standing(self) -> Standing:
        """Its state and why, as callers are told of it."""
        return Standing(self.state, self.reason)

    def forgive(self) -> None:
        """Have the next look load it again, whatever went wrong before."""
        self.tried, self.refused, self.retry_at_s = None, None, None
        self.restarts, self.failures = Restarts(), 0


class Lifecycle:
    """Owns the records; begins what it is told to, and reports every change."""

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        frontend: Frontend,
        *,
        load_timeout_s: float,
        warm_up: Callable[[Endpoint, Path | None, Batching], Awaitable[Endpoint]],
        on_change: Callable[[Record], None],
        show: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        """`show` is called after every change, `wake` when there may be something new to begin."""
        self.records: dict[Deployment, Record] = {}
        self._adapters = adapters
        self._frontend = frontend
        self._load_timeout_s = load_timeout_s
        self._warm_up = warm_up
        self._on_change = on_change
        self._show = show
        self._wake = wake
        self._loads = {backend: asyncio.Semaphore(_LOADS_AT_ONCE) for backend in adapters}
        self._background: set[asyncio.Task[None]] = set()
        self._users: Counter[Path] = Counter()

    def find(self, deployment: Deployment, state: State, reason: str = "") -> None:
        """Begin a deployment's record."""
        self.records[deployment] = Record(deployment, state, reason)
        self._on_change(self.records[deployment])

    def begin_load(self, plan: Plan) -> None:
        """Load what a plan says, in the place of what serves, if anything does."""
        record = self.records.setdefault(plan.deployment, Record(plan.deployment))
        self._begin(record, "load", self._load(record, plan))

    def begin_unload(self, record: Record, remark: str = "") -> None:
        """Withdraw a deployment at once, and unload it once it is idle.

        With a remark its record stays, as UNLOADED; else it goes.
        """
        if record.endpoint is not None:
            self._change(record, State.DRAINING)
        self._begin(record, "unload", self._unload(record, remark))

    def _begin(self, record: Record, verb: str, step: Coroutine[Any, Any, None]) -> None:
        record.task = asyncio.create_task(step, name=f"{verb} {record.deployment}")
        record.task.add_done_callback(lambda _: self._wake())

    def _change(self, record: Record, state: State, reason: str = "") -> None:
        if (record.state, record.reason) != (state, reason):
            record.state, record.reason = state, reason
            level = logging.WARNING if reason and state is not State.UNLOADED else logging.INFO
            _log.log(level, "%s %s%s", record.deployment, state, f": {reason}" if reason else "")
            self._on_change(record)
        self._show()

    async def _load(self, record: Record, plan: Plan) -> None:
        if record.tried != plan.wanted.fingerprint:  # what the earlier files did does not count against these
            record.restarts, record.failures = Restarts(), 0
        record.tried, record.retry_at_s = plan.wanted.fingerprint, None
        try:
            async with self._loads[record.deployment.executor]:
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
        adapter = self._adapters[plan.deployment.executor]
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
        self._users[plan.folder] += 1
        try:
            endpoint = await self._start(record, plan, digest, content)
        except BaseException:
            self._users[plan.folder] -= 1
            raise
        if record.pending is not endpoint:
            await self._release(record.deployment, endpoint, plan.folder)
            raise BackendDied("it died right after it was loaded")
        previous, folder = record.endpoint, record.folder
        record.endpoint, record.folder, record.pending = endpoint, plan.folder, None
        record.digest, record.loaded, record.refused = digest, content, None
        record.load_s, record.artifact_bytes = time.monotonic() - started_s, plan.files.size_bytes
        _log.info("%s loaded in %.2f s by %s", plan.deployment, record.load_s, endpoint.runtime)
        self._change(record, State.READY)
        if previous is not None:  # it may drain for long, and its successor may die meanwhile: nothing waits for it
            self.in_background(self._release(record.deployment, previous, folder))

    async def _start(self, record: Record, plan: Plan, digest: str, content: Fingerprint) -> Endpoint:
        """Have the adapter load, and publish what it made."""
        adapter = self._adapters[plan.deployment.executor]
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
            serving = plan.serving(digest)
            warm = await self._warm_up(endpoint, plan.golden, serving.batching)
            if record.pending is endpoint:  # it has not died meanwhile
                record.pending = warm
            await self._frontend.publish(plan.deployment, warm, serving)
        except BaseException:
            await adapter.unload(endpoint)
            raise
        return warm

    async def _release(self, deployment: Deployment, endpoint: Endpoint, folder: Path) -> None:
        await self._frontend.withdraw(deployment, endpoint)
        await self._adapters[deployment.executor].unload(endpoint)
        self._users[folder] -= 1

    async def _unload(self, record: Record, remark: str) -> None:
        if record.endpoint is not None:
            await self._release(record.deployment, record.endpoint, record.folder)
            record.endpoint = None
        self._change(record, State.UNLOADED, remark)
        if not remark:
            del self.records[record.deployment]
        self._show()

    async def cancel_load(self, record: Record) -> None:
        """Give up the load of a deployment, if one is under way; what served before goes on."""
        if record.task is not None and record.busy and record.state is not State.DRAINING:
            record.task.cancel()
            await asyncio.wait([record.task])
            record.tried = None

    def uses(self, folder: Path) -> bool:
        """Whether anything is served, or being loaded, from files below a folder."""
        self._users = +self._users
        return any(folder in each.parents for each in self._users)

    def _fail(self, record: Record, reason: str) -> None:
        if record.endpoint is not None:
            self._change(record, State.READY, f"reload failed, the earlier files keep serving: {reason}")
        else:
            self._change(record, State.FAILED, reason)

    def _retry(self, record: Record, reason: str, delay_s: float) -> None:
        record.retry_at_s = time.monotonic() + delay_s
        self._fail(record, f"{reason}; trying again in {delay_s:g} s")
        asyncio.get_running_loop().call_later(delay_s, self._wake)

    def _died(self, record: Record, reason: str) -> None:
        record.deaths += 1
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
        for record in self.records.values():
            if _is_of(record.pending, endpoint):
                record.pending = None
            served = record.endpoint
            if served is not None and _is_of(served, endpoint) and record.state is not State.DRAINING:
                record.endpoint = None
                self.in_background(self._release(record.deployment, served, record.folder))
                if not record.busy and self._is_bystander(record):
                    self._retry(record, reason, Restarts.FIRST_DELAY_S)
                elif not record.busy:
                    self._died(record, reason)
                elif record.state is State.READY:
                    self._change(record, State.LOADING, reason)  # its successor is on its way

    def _is_bystander(self, record: Record) -> bool:
        """Whether it died with a server that others share, while one of these was being loaded: that one is suspect."""
        executor = record.deployment.executor
        others = (other for other in self.records.values() if other.deployment.executor == executor)
        return executor not in RUNTIMES_OWN and any(other.busy for other in others)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nothing waits for, but `stop` does."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def stop(self) -> None:
        """Give up loads, withdraw every deployment, and wait for the last answers."""
        for record in self.records.values():
            if record.task is not None and record.state is not State.DRAINING:
                record.task.cancel()
        tasks = [record.task for record in self.records.values() if record.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        # Their processes end as a whole, so nothing is unloaded from them one by one.
        drains = (self._drain(record) for record in list(self.records.values()))
        await asyncio.gather(*drains, *self._background, return_exceptions=True)

    async def _drain(self, record: Record) -> None:
        if record.endpoint is not None:
            self._change(record, State.DRAINING)
            await self._frontend.withdraw(record.deployment, record.endpoint)
            self._change(record, State.UNLOADED)


def _is_of(served: Endpoint | None, made: Endpoint) -> bool:
    """Whether an endpoint is what an adapter made; the warm-up may have added to `remote`."""
    if served is None or not made.remote.items() <= served.remote.items():
        return False
    return replace(served, remote=made.remote) == made
