"""A frontend that has joined, as control sees it: what it is told, and what it told last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from adapters.base import Endpoint
from adapters.errors import BackendUnavailable
from gateway.experiments.recording import Increment
from gateway.front import Publication, requests
from gateway.frontends import messages as m
from gateway.frontends.link import Link, LinkLost, PeerFailed
from gateway.statistics import StatisticsSnapshot
from gateway.types import Deployment

_log = logging.getLogger(__name__)

_ANSWER_S: Final = 30.0
"""A frontend that does not answer for so long hangs: no request holds up its event loop for that."""

T = TypeVar("T")


class Gone(Exception):
    """The frontend is dead, or hung and was given up. Nothing of it runs any more, or soon will."""


class Member:
    """One frontend process at the other end of a link."""

    def __init__(self, number: int, link: Link, drain_timeout_s: float) -> None:
        self.number = number
        self.serving = False
        self.hung = False
        self.accepts: list[int] = []
        self.statistics: Mapping[Deployment, StatisticsSnapshot] = {}
        self._link = link
        self._drain_s = drain_timeout_s
        self._showing: asyncio.Task[None] | None = None

    @property
    def requests(self) -> int:
        """How many requests it had taken when it reported last."""
        return requests(self.statistics)

    def show(self, act: m.Show) -> None:
        """Have it replace its tables; `shown` waits for that."""
        self._showing = self._ask(self._link.call(act), "tables", _ANSWER_S)

    async def shown(self) -> None:
        """Wait until its requests go by what it was shown last; raises Gone."""
        if self._showing is not None:
            await asyncio.shield(self._showing)

    def publish(self, publication: Publication) -> asyncio.Task[None]:
        """Have it connect; the task raises Gone and BackendUnavailable."""
        act = m.Publish(publication.deployment, publication.endpoint, publication.serving)
        return self._ask(self._link.call(act), f"{publication.deployment}", _ANSWER_S)

    def withdraw(self, deployment: Deployment, endpoint: Endpoint) -> asyncio.Task[None]:
        """Have it send an endpoint nothing more; the task ends once that is drained, and raises Gone."""
        act = m.Withdraw(deployment, endpoint)
        return self._ask(self._link.call(act), f"the end of {deployment}", self._drain_s + _ANSWER_S)

    def accept(self, sockets: Sequence[int]) -> asyncio.Task[None]:
        """Have it take connections from these listening sockets; the task raises Gone and BackendUnavailable."""
        self.accepts = list(sockets)
        return self._ask(self._link.call(m.Accept(self.accepts)), "listening sockets", _ANSWER_S)

    def refuse(self) -> asyncio.Task[None]:
        """Have it take no new connections over HTTP; the task raises Gone."""
        return self._ask(self._link.call(m.Refuse()), "the end of listening", _ANSWER_S)

    def drain(self) -> asyncio.Task[None]:
        """Have it take no new requests; the task ends once the last is answered, and raises Gone."""
        return self._ask(self._link.call(m.Drain()), "the end of requests", self._drain_s + _ANSWER_S)

    def report(self) -> asyncio.Task[None]:
        """Have it tell what it has done; the task raises Gone."""
        return _quiet(asyncio.create_task(self._report()))

    async def _report(self) -> None:
        self.statistics = dict(await self._ask(self._link.call(m.Report(), m.Told), "a report", _ANSWER_S))

    def collect(self) -> asyncio.Task[list[Increment]]:
        """Have it tell at once what it has noted of experiments; the task raises Gone."""
        return self._ask(self._link.call(m.Collect(), list[Increment]), "its notes", _ANSWER_S)

    def _ask(self, answer: asyncio.Future[T], what: str, limit_s: float) -> asyncio.Task[T]:
        return _quiet(asyncio.create_task(self._answered(answer, what, limit_s)))

    async def _answered(self, answer: asyncio.Future[T], what: str, limit_s: float) -> T:
        try:
            async with asyncio.timeout(limit_s):
                return await answer
        except LinkLost:
            raise Gone(f"frontend {self.number} is gone") from None
        except TimeoutError:
            _log.error("frontend %d did not answer about %s within %g s; it is ended", self.number, what, limit_s)
            self.hung = True
            self._link.close()
            raise Gone(f"frontend {self.number} hangs") from None
        except PeerFailed as error:
            raise BackendUnavailable(f"frontend {self.number}: {error}") from None


def _quiet(task: asyncio.Task[T]) -> asyncio.Task[T]:
    """Nobody has to ask a task how it went: where it matters, somebody does."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
