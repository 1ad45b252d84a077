"""What the control API says of every deployment."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal

import psutil
from pydantic import BaseModel, Field

from adapters.cores import usable_cores
from gateway.control.housing import NOWHERE, Housing, housing, rss_bytes
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
    rss_bytes: int | None = Field(description="resident memory of its processes; of TF Serving, with all models in it")
    server_rss_bytes: int | None = Field(description="resident memory of the server that they need: TorchServe's Java")
    sharing: int = Field(description="how many deployments are in its process or server; 1: it has its own")
    load_s: float | None = Field(
        description="how long loading and warming it up took; the first in a server waited for that to start, too"
    )
    artifact_bytes: int | None = Field(description="size of the artifact's files")
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
    pid: int = Field(description="the gateway's main process, the parent of all others")
    cores: int = Field(description="cores that the gateway may use")
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
        pid=os.getpid(),
        cores=usable_cores(),
        gateway_rss_bytes=psutil.Process().memory_info().rss,
        frontends=[_frontend(each) for each in frontends],
        backends=[BackendStatus(backend=name, missing=adapter.missing()) for name, adapter in control.adapters.items()],
        deployments=deployments(control.records),
        problems=[str(problem) for problem in control.snapshot.all_problems()],
    )


def _frontend(standing: FrontendStanding) -> FrontendStatus:
    return FrontendStatus(
        number=standing.number,
        pid=standing.pid,
        rss_bytes=rss_bytes([standing.pid]) if standing.pid else None,
        state="serving" if standing.serving else "starting",
        requests=standing.requests,
        deaths=standing.deaths,
    )


def deployments(records: Collection[Record]) -> list[DeploymentStatus]:
    """Every deployment. Blocking: /proc."""
    housed = [(record, housing(record.endpoint) if record.endpoint else NOWHERE) for record in records]
    together = Counter(each.shared for _, each in housed if each.shared)
    return [_deployment(record, each, together[each.shared]) for record, each in housed]


def _deployment(record: Record, housed: Housing, together: int) -> DeploymentStatus:
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
        rss_bytes=housed.rss_bytes,
        server_rss_bytes=housed.server_rss_bytes,
        sharing=max(1, together),
        load_s=record.load_s if endpoint else None,
        artifact_bytes=record.artifact_bytes if endpoint else None,
        digest=record.digest,
        max_rows=int(max_rows) if max_rows else None,
        instances=int(instances) if instances else None,
    )
