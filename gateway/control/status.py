"""What the control API says of every deployment."""

from __future__ import annotations

import psutil
from pydantic import BaseModel, Field

from gateway.controlplane import ControlPlane
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


class BackendStatus(BaseModel):
    """One backend."""

    backend: str
    missing: str | None = Field(description="what has to be installed before it can load anything, and how")


class Status(BaseModel):
    """The gateway, all of it."""

    ready: bool
    repository: str
    gateway_rss_bytes: int
    backends: list[BackendStatus]
    deployments: list[DeploymentStatus]
    problems: list[str] = Field(description="mistakes in the repository, each with its file and key")


def status(control: ControlPlane, ready: bool) -> Status:
    """The state of everything at this moment."""
    return Status(
        ready=ready,
        repository=str(control.root),
        gateway_rss_bytes=psutil.Process().memory_info().rss,
        backends=[BackendStatus(backend=name, missing=adapter.missing()) for name, adapter in control.adapters.items()],
        deployments=[_deployment(record) for record in control.records],
        problems=[str(problem) for problem in control.snapshot.all_problems()],
    )


def _deployment(record: Record) -> DeploymentStatus:
    endpoint = record.endpoint
    max_rows = endpoint.remote.get("max_rows") if endpoint else None
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
    )


def _rss_bytes(pid: int) -> int | None:
    try:
        rss: int = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return None
    return rss
