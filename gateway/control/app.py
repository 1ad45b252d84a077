"""The control app: loopback unless configured otherwise, since whoever reaches it may ask anything."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline

from gateway.control.status import Status, status
from gateway.controlplane import ControlPlane
from gateway.registry import Registry


def build(control: ControlPlane, registry: Registry) -> FastAPI:
    """The ASGI app of the control port."""
    app: FastAPI = FastAPIOffline(
        title="Torii control API",
        version=version("torii-gateway"),
        summary="What is loaded, where, and why something is not.",
    )

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.get("/v1/status", tags=["status"])
    def get_status() -> Status:
        """Every deployment with its state, reason, process and memory; and every mistake in the repository."""
        return status(control, registry.ready)

    return app
