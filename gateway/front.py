"""All that answers requests, one frontend or several, as the control side asks about it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from adapters.base import Endpoint
from gateway.registry import Registry
from gateway.statistics import StatisticsSnapshot
from gateway.types import Deployment, ModelTable, Serving, Target


@dataclass(frozen=True, slots=True)
class Publication:
    """An endpoint that takes a deployment's requests."""

    deployment: Deployment
    endpoint: Endpoint
    serving: Serving


@dataclass(frozen=True, slots=True)
class FrontendStanding:
    """One frontend: `pid` is None while it is being started, `requests` are those that this process has taken."""

    number: int
    pid: int | None
    serving: bool
    requests: int
    deaths: int = 0


class Front(Protocol):
    """What the control API asks of all frontends together."""

    @property
    def tables(self) -> Mapping[str, ModelTable]:
        """The models as they were shown last."""
        ...

    @property
    def ready(self) -> bool:
        """Whether all that was there at the start has been loaded or has failed, and somebody answers."""
        ...

    @property
    def at_startup(self) -> frozenset[Deployment]:
        """What was ready then."""
        ...

    def published(self, target: Target) -> Publication:
        """What would answer a target now.

        Raises:
            ModelNotFound: nothing of that name.
            VersionNotReady: it is there, but cannot answer.
        """
        ...

    async def statistics(self) -> Mapping[Deployment, StatisticsSnapshot]:
        """What each deployment has done since it was first published, on all frontends."""
        ...

    async def standings(self) -> list[FrontendStanding]:
        """The frontends, in order of their numbers."""
        ...

    async def collect(self) -> None:
        """Have every frontend pass on at once what it has noted of experiments."""
        ...


class LocalFront:
    """The Front of a registry in this process."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    @property
    def tables(self) -> Mapping[str, ModelTable]:
        """See Front.tables."""
        return self.registry.tables

    @property
    def ready(self) -> bool:
        """See Front.ready."""
        return self.registry.ready

    @property
    def at_startup(self) -> frozenset[Deployment]:
        """See Front.at_startup."""
        return self.registry.at_startup

    def published(self, target: Target) -> Publication:
        """See Front.published."""
        lease = self.registry.lease(target)
        return Publication(lease.deployment, lease.endpoint, lease.serving)

    async def statistics(self) -> Mapping[Deployment, StatisticsSnapshot]:
        """See Front.statistics."""
        return self.registry.statistics()

    async def standings(self) -> list[FrontendStanding]:
        """See Front.standings."""
        return [FrontendStanding(1, os.getpid(), True, requests(self.registry.statistics()))]


def requests(statistics: Mapping[Deployment, StatisticsSnapshot]) -> int:
    """How many requests were taken, answered or not."""
    return sum(each.inference_stats.success.count + each.inference_stats.fail.count for each in statistics.values())
