"""Puts the gateway together, serves it on its ports, and takes it down in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from adapters.base import Endpoint
from adapters.connect import connect
from gateway.api import app as inference_app
from gateway.api.dialect import App
from gateway.api.http import HttpProtocol
from gateway.backends import FOLDERS, build_adapters
from gateway.config import Settings
from gateway.control import app as control_app
from gateway.control.same_origin import SameOrigin, is_loopback
from gateway.controlplane import ControlPlane
from gateway.dataplane import DataPlane
from gateway.grpc_api import open_inference, tf_serving, torchserve
from gateway.grpc_api.server import GrpcServer
from gateway.labels import Labels
from gateway.lifecycle import Record
from gateway.modelaccess import LookOnly, ModelAccess
from gateway.modelcontrol import ModelControl
from gateway.plans import Planner
from gateway.registry import Registry
from gateway.uploads import Uploads
from gateway.warmup import WarmUp

_log = logging.getLogger(__name__)

_SOCKET_FOLDER_CHARACTERS = 60


class PortTaken(Exception):
    """Something else listens there already."""


class _Server(uvicorn.Server):
    """A uvicorn server among others in one event loop: signals are the gateway's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Gateway:
    """One gateway over one repository."""

    def __init__(self, settings: Settings, on_change: Callable[[Record], None] = lambda record: None) -> None:
        """Binds the ports; raises PortTaken. To be made inside a running event loop."""
        self._settings = settings
        self._stop = asyncio.Event()
        self._sockets = [
            listen(settings.host, settings.http_port, "http_port"),
            listen(settings.control_host, settings.control_port, "control_port"),
        ]
        # gRPC binds by itself, later, and says no more of a port that is taken than that it is.
        listen(settings.host, settings.grpc_port, "grpc_port").close()
        self._folder = _private_folder()
        self.registry = Registry(connect, settings.drain_timeout_s)
        self._dataplane = DataPlane(self.registry)
        adapters = build_adapters(settings, self._folder, self._on_death)
        self.control = ControlPlane(
            settings.repository.absolute(),
            Planner(tuple(adapters), settings.settle_s),
            adapters,
            self.registry,
            poll_s=settings.poll_s,
            load_timeout_s=settings.load_timeout_s,
            warm_up=WarmUp(connect),
            on_change=on_change,
        )
        self.labels = Labels(self.control)
        self.models = ModelControl(
            self.control,
            Uploads(self._folder / "uploads"),
            allow_upload=settings.model_upload,
            max_upload_bytes=settings.max_body_bytes,
            load_timeout_s=settings.load_timeout_s,
        )
        self._access: ModelAccess = self.models if settings.model_control else LookOnly(self.models)
        services = [
            *open_inference.services(self._dataplane, self._access),
            *tf_serving.services(self._dataplane),
            *torchserve.services(self._dataplane),
        ]
        self._grpc = GrpcServer(self.registry, services, max_message_bytes=settings.max_body_bytes)
        self._grpc_port = self._bind_grpc()

    @property
    def inference_url(self) -> str:
        """Where the inference API answers."""
        return _url(self._sockets[0])

    @property
    def control_url(self) -> str:
        """Where the control API answers."""
        return _url(self._sockets[1])

    @property
    def grpc_address(self) -> str:
        """Where the inference API answers gRPC."""
        return _address(self._settings.host, self._grpc_port)

    def _bind_grpc(self) -> int:
        settings = self._settings
        try:
            return self._grpc.bind(settings.host, settings.grpc_port)
        except RuntimeError as error:
            raise PortTaken(f"grpc_port: cannot listen on {settings.host} port {settings.grpc_port}: {error}") from None

    def _on_death(self, endpoint: Endpoint, reason: str) -> None:
        self.control.on_death(endpoint, reason)  # which is made after its adapters

    def stop(self) -> None:
        """Ask `run` to end: requests that were accepted are still answered."""
        self.registry.stop()
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        inference = self._server(inference_app.build(self._dataplane, self._access, self._settings.max_body_bytes))
        control = self._server(
            SameOrigin(
                control_app.build(self.control, self.registry, self.labels, self.models, self._settings.max_body_bytes),
                loopback=is_loopback(self._settings.control_host),
            )
        )
        servers = [
            asyncio.create_task(server.serve(sockets=[bound]), name="http server")
            for server, bound in zip((inference, control), self._sockets, strict=True)
        ]
        await self._grpc.start()
        watching = asyncio.create_task(self.control.run(), name="control plane")
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([*servers, watching, stopping], return_when=asyncio.FIRST_COMPLETED)
            _log.info("stopping: no new requests are taken, %s", "running ones are answered")
        finally:
            inference.should_exit = True
            await asyncio.gather(asyncio.wait(servers[:1]), self._grpc.stop(self._settings.drain_timeout_s))
            watching.cancel()
            await self.control.stop()
            await self.registry.close()
            control.should_exit = True
            await asyncio.wait([*servers, watching])
            stopping.cancel()
            shutil.rmtree(self._folder, ignore_errors=True)
        for task in (*servers, watching):
            if not task.cancelled() and (error := task.exception()):
                raise error

    def _server(self, app: App) -> _Server:
        return _Server(
            uvicorn.Config(
                app,
                http=HttpProtocol,
                ws="none",
                loop="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=round(self._settings.drain_timeout_s) or 1,
            )
        )


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket; raises PortTaken that names the setting to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(2048)
    except OSError as error:
        bound.close()
        flag = "--" + setting.replace("_", "-")
        raise PortTaken(
            f"{setting}: cannot listen on {host} port {port} ({error.strerror}). "
            f"Is another Torii running? Stop it, or choose another port with {flag}."
        ) from None
    return bound


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{_address(host, port)}"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _private_folder() -> Path:
    """A folder that only this user can enter, with a path short enough for Unix sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="torii-"))
    if len(str(folder)) > _SOCKET_FOLDER_CHARACTERS:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="torii-", dir="/tmp"))  # mkdtemp makes it private
    for name in FOLDERS:
        (folder / name).mkdir()
    return folder
