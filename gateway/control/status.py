"""What the control API says of every deployment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import psutil
from pydantic import BaseModel, Field

from gateway.controlplane import ControlPlane
from gateway.front import FrontendStanding
from gateway.lifecycle import Record
from gateway.types import State


class DeploymentStatus(BaseModel):
    """One deployment."""

    deployment: str = Field(examples=["digits/2@onnxruntime"])
    model: str
    version: int
    backend: str
    state: State
    reason: str = Field(description="why it is not ready, or what went wrong with a reload; empty where all is well")
    runtime: str = Field(description="what executes it, with its version")
    pid: int | None = Field(description="the process that holds the model, where it is on this machine")
    rss_bytes: int | None = Field(description="resident memory of that process; shared by the models in it")
    digest: str = Field(description="SHA-256 over the artifact's files")
    max_rows: int | None = Field(description="rows that it runs at once; 1 is no batching, null is not Torii's choice")
    instances: int | None = Field(description="batches that it runs at the same time; null is not Torii's choice")


class FrontendStatus(BaseModel):
    """One of those that answer requests."""

    number: int
    pid: int | None = Field(description="its process; the gateway's own where there is one frontend")
    rss_bytes: int | None = Field(description="resident memory of that process")
    state: Literal["serving", "starting"]
    requests: int = Field(description="requests to models that this process has taken")
    deaths: int = Field(description="how often it has died and been started again")


class BackendStatus(BaseModel):
    """One backend."""

    backend: str
    missing: str | None = Field(description="what has to be installed before it can load anything, and how")


class Status(BaseModel):
    """The gateway, all of it."""

    ready: bool
    repository: str
    gateway_rss_bytes: int
    frontends: list[FrontendStatus]
    backends: list[BackendStatus]
    deployments: list[DeploymentStatus]
    problems: list[str] = Field(description="mistakes in the repository, each with its file and key")


def status(control: ControlPlane, ready: bool, frontends: Sequence[FrontendStanding]) -> Status:
    """The state of everything at this moment. Blocking: /proc."""
    return Status(
        ready=ready,
        repository=str(control.root),
        gateway_rss_bytes=psutil.Process().memory_info().rss,
        frontends=[_frontend(each) for each in frontends],
        backends=[BackendStatus(backend=name, missing=adapter.missing()) for name, adapter in control.adapters.items()],
        deployments=[_deployment(record) for record in control.records],
        problems=[str(problem) for problem in control.snapshot.all_problems()],
    )


def _frontend(standing: FrontendStanding) -> FrontendStatus:
    return FrontendStatus(
        number=standing.number,
        pid=standing.pid,
        rss_bytes=_rss_bytes(standing.pid) if standing.pid else None,
        state="serving" if standing.serving else "starting",
        requests=standing.requests,
        deaths=standing.deaths,
    )


def _deployment(record: Record) -> DeploymentStatus:
    endpoint = record.endpoint
    remote = endpoint.remote if endpoint else {}
    max_rows, instances = remote.get("max_rows"), remote.get("instances")
    return DeploymentStatus(
        deployment=str(record.deployment),
        model=record.deployment.model,
        version=record.deployment.version,
        backend=record.deployment.backend,
        state=record.state,
        reason=record.reason,
        runtime=endpoint.runtime if endpoint else "",
        pid=endpoint.pid if endpoint else None,
        rss_bytes=_rss_bytes(endpoint.pid) if endpoint and endpoint.pid else None,
        digest=record.digest,
        max_rows=int(max_rows) if max_rows else None,
        instances=int(instances) if instances else None,
    )


def _rss_bytes(pid: int) -> int | None:
    try:
        rss: int = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return None
    return rss
