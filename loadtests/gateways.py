"""The gateway under test: one that runs at a URL, or one that is started for it over a copy of a repository."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

import psutil
import tomlkit
from tomlkit.exceptions import TOMLKitError

from loadtests.bench.processes import ROOT, Place, answers, free_ports
from loadtests.bench.processes import running as process_running
from loadtests.engine.plan import Target
from loadtests.interruption import INTERRUPTION

URL: Final = "http://127.0.0.1:8000"
CONTROL: Final = "http://127.0.0.1:8002"
GRPC_PORT: Final = 8001

_ASK_S = 30.0
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class NoGateway(Exception):
    """There is no gateway to measure; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that answers."""

    host: str
    http_port: int
    grpc_port: int
    control: str
    """The control API's URL."""

    pid: int | None
    """None: it runs elsewhere, or under a number that this process does not see."""

    repository: Path | None = None
    """The folder that it serves, where it was started for this; its files may be changed."""

    @property
    def url(self) -> str:
        """The inference API's URL."""
        return f"http://{self.host}:{self.http_port}"

    def status(self) -> dict[str, Any]:
        """What the control API says of all deployments; raises NoGateway."""
        answer: dict[str, Any] = _json(f"{self.control}/v1/status", "the control API", "--control")
        return answer

    def metadata(self, deployment: str) -> dict[str, Any]:
        """V2's metadata of `digits/1@tflite`, `digits/1`, `digits@tflite` or `digits`; raises NoGateway."""
        answer: dict[str, Any] = _json(f"{self.url}/v2/models/{path(deployment)}", "the inference API", "--url")
        return answer

    def target(self, protocol: Literal["http/1.1", "grpc"]) -> Target:
        """Where to send requests by one of the protocols."""
        return Target(self.host, self.grpc_port if protocol == "grpc" else self.http_port, protocol)

    def publish(self, version: str) -> None:
        """Put a version that was held back, as `digits/2`, into the repository of a gateway that was started."""
        if self.repository is None:
            raise NoGateway("expected a gateway that was started for this: another one's repository is not changed")
        _held(self.repository, version).rename(self.repository / version)

    def pids(self) -> list[int] | None:
        """Its process with all that it has started; None where it runs elsewhere."""
        if self.pid is None:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self.pid, *(each.pid for each in psutil.Process(self.pid).children(recursive=True))]
        return [self.pid]


def path(deployment: str) -> str:
    """A deployment as V2's URLs have it: `digits/1@tflite` is `digits@tflite/versions/1`."""
    rest, _, backend = deployment.partition("@")
    model, _, version = rest.partition("/")
    name = quote(f"{model}@{backend}" if backend else model, safe="@")
    return f"{name}/versions/{quote(version, safe='')}" if version else name


def running(url: str = URL, control: str = CONTROL, grpc_port: int = GRPC_PORT) -> Gateway:
    """A gateway that runs already.

    Raises:
        NoGateway: nothing answers there as a gateway does, or the URL is none that can be measured.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port or parts.path not in {"", "/"}:
        raise NoGateway(f"--url {url}: expected http://HOST:PORT, as {URL}")
    found = Gateway(parts.hostname, port, grpc_port, control.rstrip("/"), None)
    health = _json(f"{found.url}/v2/health/ready", "the inference API", "--url")
    status = found.status()
    if not health.get("ready", True) or not isinstance(status.get("deployments"), list):
        raise NoGateway(f"{url} is not ready: `torii status --control {control}` says what it waits for")
    return Gateway(found.host, found.http_port, grpc_port, found.control, _pid(found.host, status))


@contextlib.contextmanager
def started(
    repository: Path,
    overlay: Mapping[str, Mapping[str, Any]] | None = None,
    python: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    core: int | None = None,
    models: Sequence[str] = (),
    held_back: Sequence[str] = (),
    wait: bool = True,
) -> Iterator[Gateway]:
    """`torii serve` on free ports over a copy of a repository's models; stopped with all its children.

    Args:
        repository: Is only read: what is served is a copy in a temporary folder.
        overlay: By model, what its model.toml gets on top.
        python: The environment's interpreter that serves; without it this one.
        settings: Of the gateway, as `poll_s` or `tfserving__endpoint`.
        core: Where it and its children are bound to.
        models: Which ones; without any, all.
        held_back: Versions, as `digits/2`, that are not there until `Gateway.publish`.
        wait: Until everything has been loaded or has failed. Else it is given as soon as its process is there.

    Raises:
        NoGateway: the repository cannot be copied, or the gateway did not start; with its last words.
    """
    with contextlib.ExitStack() as kept:
        place = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="torii-load-")))
        served = place / "repository"
        _copy(repository, served, models, overlay or {})
        for version in held_back:
            _hold(served, version)
        http, grpc, control = free_ports(3)
        argv = [str(python or sys.executable), "-m", "gateway", "serve", str(served)]
        argv += ["--http-port", str(http), "--grpc-port", str(grpc), "--control-port", str(control)]
        ready: Callable[[], bool] = (lambda: answers(http, "/v2/health/ready")) if wait else (lambda: True)
        with _told():
            it = kept.enter_context(
                process_running("gateway", argv, Place(place, core), ready, _environment(place, settings))
            )
        try:
            yield Gateway("127.0.0.1", http, grpc, f"http://127.0.0.1:{control}", it.pid, served)
        finally:
            with INTERRUPTION.held():
                kept.close()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """A gateway that does not start is no reason to leave Python."""
    try:
        yield
    except SystemExit as error:
        raise NoGateway(f"no gateway could be started: {error.code}") from None


def _environment(place: Path, settings: Mapping[str, Any] | None) -> dict[str, str]:
    given = {f"TORII_{key.upper()}": _text(value) for key, value in (settings or {}).items()}
    sources = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {"TORII_STORE": f"sqlite:///{place / 'store.db'}", "PYTHONPATH": sources, **given}


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _copy(repository: Path, to: Path, models: Sequence[str], overlay: Mapping[str, Mapping[str, Any]]) -> None:
    if not repository.is_absolute() and not repository.is_dir():
        repository = ROOT / repository
    if not repository.is_dir():
        raise NoGateway(f"--repository {repository}: expected a folder of models, and there is none")
    there = sorted(each.name for each in repository.iterdir() if each.is_dir() and each.name[0] not in "._")
    wanted = list(models or there)
    if missing := [each for each in wanted if each not in there]:
        raise NoGateway(f"{repository} has no model {', '.join(missing)}; it has {', '.join(there) or 'none'}")
    to.mkdir()
    for model in wanted:
        shutil.copytree(repository / model, to / model)
        if overlay.get(model):
            overlaid(to / model / "model.toml", overlay[model])


def _held(repository: Path, version: str) -> Path:
    return repository.parent / "held" / version


def _hold(repository: Path, version: str) -> None:
    if not (repository / version).is_dir():
        raise NoGateway(f"the repository has no version {version}, which is to be published")
    _held(repository, version).parent.mkdir(parents=True, exist_ok=True)
    (repository / version).rename(_held(repository, version))


def overlaid(file: Path, keys: Mapping[str, Any]) -> None:
    """Put keys into a model.toml, tables into tables; makes the file where there is none. Raises NoGateway."""
    try:
        document = tomlkit.parse(file.read_text()) if file.exists() else tomlkit.document()
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise NoGateway(f"{file.parent.name}/{file.name} is not TOML: {error}") from None
    _merge(document, keys)
    file.write_text(tomlkit.dumps(document))


def _merge(into: Any, keys: Mapping[str, Any]) -> None:
    for key, value in keys.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), Mapping):
            _merge(into[key], value)
        else:
            into[key] = value


def _pid(host: str, status: Mapping[str, Any]) -> int | None:
    """The process that control is, if it is on this machine and seen by the number that it gives."""
    frontends = status.get("frontends") or [{}]
    if host not in _LOOPBACK or not (pid := frontends[0].get("pid")):
        return None
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid) if len(frontends) == 1 else psutil.Process(pid).parent()
        if process and "serve" in process.cmdline():
            return int(process.pid)
    return None


def _json(url: str, what: str, option: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=_ASK_S) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise NoGateway(f"{what} answers {error.code} at {url}: {_said(error)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NoGateway(
            f"{what} does not answer at {url} ({reason}). Start a gateway with `torii serve model_repo`, say with "
            f"{option} where one runs, or have one started with --repository model_repo"
        ) from None


def _said(error: urllib.error.HTTPError) -> str:
    text = error.read(500).decode(errors="replace")
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(text).get("error", text))
    return text
