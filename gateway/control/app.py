"""The control app: loopback unless configured otherwise, since whoever reaches it may ask anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from gateway.conduct.desk import ExperimentDesk
from gateway.control.besides import NOTHING, Besides
from gateway.control.certificates import Certificates, add_certificates
from gateway.control.errors import add_errors
from gateway.control.experiments import add_experiments
from gateway.control.exports import add_exports
from gateway.control.golden import add_golden
from gateway.control.labels import add_labels
from gateway.control.metrics import add_metrics
from gateway.control.pages import add_pages
from gateway.control.repository import add_repository
from gateway.control.status import Status, status
from gateway.control.torchserve_management import TorchServeManagement
from gateway.control.torchserve_models import TorchServeModels
from gateway.control.torchserve_routes import add_torchserve_management
from gateway.control.verdicts import add_verdicts
from gateway.controlplane import ControlPlane
from gateway.front import Front
from gateway.labels import Labels
from gateway.modelcontrol import ModelControl


def build(
    control: ControlPlane,
    front: Front,
    labels: Labels,
    models: ModelControl,
    max_body_bytes: int,
    inference_url: Callable[[], str],
    desk: ExperimentDesk | None = None,
    besides: Besides = NOTHING,
) -> FastAPI:
    """The ASGI app of the control port; without a desk it has nothing of experiments.

    `inference_url` is where the pages send a request that somebody wants to see answered.
    """
    app: FastAPI = FastAPIOffline(
        title="Torii control API",
        version=version("torii-gateway"),
        summary="What is loaded, where, and why something is not; labels, loads and unloads by name.",
    )

    @app.get("/v1/status", tags=["status"])
    async def get_status() -> Status:
        """Every deployment with its state, reason, process and memory; frontends; and mistakes in the repository."""
        return await asyncio.to_thread(status, control, front.ready, await front.standings())

    certificates = Certificates(control)
    add_pages(app, control, front, labels, desk, inference_url, certificates, besides)
    add_certificates(app, certificates)
    add_golden(app, control)
    if besides.verdicts is not None:
        add_verdicts(app, besides.verdicts)
    add_metrics(app, control, front, desk, besides.edge)
    add_labels(app, labels)
    add_repository(app, models, max_body_bytes)
    management = TorchServeManagement(control, front, models, labels)
    add_torchserve_management(app, TorchServeModels(control, front), management)
    if desk is not None:
        add_experiments(app, desk)
    if besides.exports is not None:
        add_exports(app, besides.exports, max_body_bytes)
    add_errors(app)
    return app
