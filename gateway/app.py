"""Puts the gateway together, serves it on its ports, and takes it down in order."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from adapters.base import Endpoint
from adapters.connect import connect
from gateway.backends import FOLDERS, build_adapters
from gateway.conduct.building import Conducting
from gateway.config import Settings
from gateway.control import app as control_app
from gateway.control.besides import Besides
from gateway.control.same_origin import SameOrigin, is_loopback
from gateway.control.verdicts import Verdicts
from gateway.controlplane import ControlPlane
from gateway.edge.desk import EdgeDesk
from gateway.edge.server.keeping import EdgeChild
from gateway.exports.jobs import Exports
from gateway.exports.origin import Origin, origin
from gateway.frontends.group import FrontendGroup
from gateway.frontends.sole import SoleFrontend
from gateway.frontends.spawn import SharedPorts, Spawner
from gateway.httpserver import HttpServer
from gateway.labels import Labels
from gateway.lifecycle import Record
from gateway.modelaccess import FullAccess, LookOnly, ModelAccess
from gateway.modelcontrol import ModelControl
from gateway.plans import Planner
from gateway.ports import listen, url
from gateway.uploads import Uploads
from gateway.warmup import WarmUp

_log = logging.getLogger(__name__)

_SOCKET_FOLDER_CHARACTERS = 60

Frontends: TypeAlias = SoleFrontend | FrontendGroup


class Gateway:
    """One gateway over one repository."""

    def __init__(self, settings: Settings, on_change: Callable[[Record], None] = lambda record: None) -> None:
        """Binds the ports; raises PortTaken. To be made inside a running event loop."""
        self._settings = settings
        self._stop = asyncio.Event()
        self.frontends = _frontends(settings)
        self._control_socket = listen(settings.control_host, settings.control_port, "control_port")
        self._folder = _private_folder()
        adapters = build_adapters(settings, self._folder, self._on_death)
        self._conducting = Conducting(settings)
        self._edge = _edge(settings, self._conducting.store)
        self.control = ControlPlane(
            settings.repository.absolute(),
            Planner(tuple(adapters), settings.settle_s),
            adapters,
            self.frontends,
            poll_s=settings.poll_s,
            load_timeout_s=settings.load_timeout_s,
            warm_up=WarmUp(connect),
            on_change=on_change,
        )
        self.labels = Labels(self.control, self._conducting.journal.label_moved)
        self.models = ModelControl(
            self.control,
            Uploads(self._folder / "uploads"),
            allow_upload=settings.model_upload,
            max_upload_bytes=settings.max_body_bytes,
            load_timeout_s=settings.load_timeout_s,
        )
        self._exports = Exports(self._origin, self.control.wake)
        access: ModelAccess = FullAccess(self.models, self.frontends.statistics)
        self._conducting.join(self.control, self.frontends, self.labels)
        self.frontends.open(
            access if settings.model_control else LookOnly(access), take=self._conducting.conductor.take
        )

    @property
    def inference_url(self) -> str:
        """Where the inference API answers."""
        return self.frontends.inference_url

    @property
    def control_url(self) -> str:
        """Where the control API answers."""
        return url(self._control_socket)

    @property
    def edge_url(self) -> str | None:
        """Where devices ask; None where nothing is delivered to them."""
        return self._edge.url if self._edge else None

    @property
    def grpc_address(self) -> str:
        """Where the inference API answers gRPC."""
        return self.frontends.grpc_address

    def _on_death(self, endpoint: Endpoint, reason: str) -> None:
        self.control.on_death(endpoint, reason)  # which is made after its adapters

    def _origin(self, model: str, version: int) -> Origin:
        return origin(self.control.stored(model), version)

    def stop(self) -> None:
        """Ask `run` to end: requests that were accepted are still answered."""
        self.frontends.stop()
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        server = HttpServer(self._control_app(), self._settings.drain_timeout_s)
        serving = [await server.start(), *await self.frontends.start()]
        await server.accept({1: self._control_socket})
        edge = [asyncio.create_task(self._edge.keep(), name="edge server")] if self._edge else []
        watching = asyncio.create_task(self.control.run(), name="control plane")
        conducting = asyncio.create_task(self._conducting.conductor.run(), name="conductor")
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([*serving, watching, conducting, stopping], return_when=asyncio.FIRST_COMPLETED)
            _log.info("stopping: no new requests are taken, %s", "running ones are answered")
        finally:
            await self.frontends.drain()
            for task in edge:
                task.cancel()
            await asyncio.gather(*edge, return_exceptions=True)
            await self._exports.close()
            conducting.cancel()
            watching.cancel()
            await self._conducting.close()
            await self.control.stop()
            await self.frontends.close()
            self._control_socket.close()
            await server.stop()
            await asyncio.wait([*serving, watching, conducting])
            stopping.cancel()
            shutil.rmtree(self._folder, ignore_errors=True)
        for task in (*serving, watching, conducting):
            if not task.cancelled() and (error := task.exception()):
                raise error

    def _edge_desk(self) -> EdgeDesk | None:
        edge = self._settings.edge
        if edge is None or self._edge is None:
            return None
        return EdgeDesk(edge, self._edge.url, self._conducting.keeper, self._conducting.journal)

    def _control_app(self) -> SameOrigin:
        app = control_app.build(
            self.control,
            self.frontends,
            self.labels,
            self.models,
            self._settings.max_body_bytes,
            lambda: self.inference_url,
            self._conducting.desk,
            Besides(self._exports, self._edge_desk(), Verdicts(self.control, self._conducting.keeper)),
        )
        return SameOrigin(app, loopback=is_loopback(self._settings.control_host))


def _edge(settings: Settings, store: str) -> EdgeChild | None:
    if settings.edge is None:
        return None
    name = settings.store_name or f"{socket.gethostname()}:{settings.control_port}"
    return EdgeChild(settings, store, f"{name}:edge")


def _frontends(settings: Settings) -> Frontends:
    if settings.frontends == 1:
        return SoleFrontend(settings)
    ports = SharedPorts(settings)
    return FrontendGroup(settings.frontends, Spawner(settings, ports), ports, settings.drain_timeout_s)


def _private_folder() -> Path:
    """A folder that only this user can enter, with a path short enough for Unix sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="torii-"))
    if len(str(folder)) > _SOCKET_FOLDER_CHARACTERS:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="torii-", dir="/tmp"))  # mkdtemp makes it private
    for name in FOLDERS:
        (folder / name).mkdir()
    return folder
