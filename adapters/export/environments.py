"""Environments of their own for converters that cannot share Torii's, made on demand in the user's cache folder."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from adapters.errors import BackendUnavailable, InvalidInput
from adapters.process import Child

OnLine: TypeAlias = Callable[[str], None]

MAIN: Final = "main"
PURPOSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        MAIN: "Keras, SavedModel, TorchScript and torch.export; TFLite, ONNX, .ort",
        "onnx2tf": "ONNX to TensorFlow, for TFLite and TF.js (2.4 GB)",
        "litert": "torch.export to TFLite, by litert-torch (1.8 GB)",
        "tfjs": "SavedModel to TF.js, and TF.js in Node (2.7 GB)",
        "executorch": "torch.export to ExecuTorch's .pte with XNNPACK (1.2 GB)",
    }
)
"""What each environment is for, and how much of the disk it takes."""

BASIC_VARIABLES: Final = frozenset(
    {"HOME", "LANG", "LC_ALL", "PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME"}
)
"""What a converter's process inherits: nothing that could be a secret."""

_INSTALLERS_OWN = re.compile(
    r"(PIP|UV|NPM_CONFIG|npm_config)_\w+|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy|"
    r"SSL_CERT_\w+|(REQUESTS|CURL)_CA_BUNDLE|NODE_EXTRA_CA_CERTS"
)
_AS_UV_HAS_IT = {
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
}
_SECRET = re.compile(r"://[^/@\s]+@")
_REQUIREMENTS = Path(__file__).with_name("requirements")
_READY = ".ready"
_TRIES_S = 0.2
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that is there: its interpreter, and its folder of Node packages where it has one."""

    name: str
    python: Path
    node_modules: Path | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What `torii doctor` says of an environment: `folder` is where it is or would be made; None is Torii's own."""

    name: str
    purpose: str
    ready: bool
    folder: Path | None


class Environments:
    """The environments below `folder`; each is named after what it has, so that other pins make another."""

    def __init__(
        self, folder: Path | None = None, *, requirements: Path = _REQUIREMENTS, install_s: float = 1800.0
    ) -> None:
        self._folder = folder or _cache() / "torii" / "export"
        self._requirements = requirements
        self._install_s = install_s

    def standings(self) -> list[Standing]:
        """Every environment. Blocking: disk."""
        own = [Standing(MAIN, PURPOSES[MAIN], ready=True, folder=None)]
        names = [name for name in PURPOSES if name != MAIN]
        return own + [Standing(each, PURPOSES[each], self.is_ready(each), self.place(each)) for each in names]

    def place(self, name: str) -> Path:
        """The folder of an environment, whether it is there or not."""
        content = [f"{platform.python_version()} {sys.platform} {platform.machine()}".encode()]
        content += [path.read_bytes() for path in (self._pins(name), self._node_pins(name)) if path.exists()]
        digest = hashlib.sha256(b"\0".join(content)).hexdigest()
        return self._folder / f"{name}-{digest[:12]}"

    def is_ready(self, name: str) -> bool:
        """Whether it can be used now. Blocking: disk."""
        return name == MAIN or (self.place(name) / _READY).exists()

    async def ready(self, name: str, on_line: OnLine) -> Environment:
        """The environment, made now if it is not there; while another process makes it, this waits.

        Raises:
            InvalidInput: there is none of this name.
            BackendUnavailable: it cannot be made, with the reason; what was half made is gone.
        """
        if name == MAIN:
            return Environment(MAIN, Path(sys.executable))
        if name not in PURPOSES:
            raise InvalidInput(f"environment: expected one of {', '.join(PURPOSES)}, got {name!r:.40}")
        place = self.place(name)
        if not await asyncio.to_thread(self.is_ready, name):
            try:
                await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
                async with _locked(place.with_suffix(".lock"), lambda: on_line(f"waiting: {name} is being made")):
                    if not await asyncio.to_thread(self.is_ready, name):
                        await self._make(name, place, on_line)
            except OSError as error:
                raise BackendUnavailable(f"environment {name}: {place}: {error.strerror or error}") from error
        modules = place / "node_modules"
        return Environment(name, place / "bin" / "python", modules if modules.is_dir() else None)

    async def _make(self, name: str, place: Path, on_line: OnLine) -> None:
        on_line(f"making environment {name} in {place}: {PURPOSES[name]}")
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
        try:
            async with asyncio.timeout(self._install_s):
                for command in self._commands(name, place):
                    await _installed(command, name)
            await asyncio.to_thread((place / _READY).touch)
        except TimeoutError:
            raise BackendUnavailable(f"environment {name}: not installed within {self._install_s:g} s") from None
        finally:
            if not (place / _READY).exists():  # one look
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    def _commands(self, name: str, place: Path) -> list[list[str]]:
        own, pins = place / "bin" / "python", str(self._pins(name))
        beside = Path(sys.executable).with_name("uv")
        if uv := (str(beside) if beside.exists() else shutil.which("uv")):
            commands = [[uv, "venv", "--quiet", "--python", sys.executable, str(place)]]
            commands += [[uv, "pip", "install", "--quiet", "--python", str(own), "--requirement", pins]]
        else:
            commands = [[sys.executable, "-m", "venv", str(place)]]
            commands += [[str(own), "-m", "pip", "install", "--quiet", "--requirement", pins]]
        if self._node_pins(name).exists():
            options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
            options += ["--loglevel=error", "--fetch-retries=2", "--fetch-timeout=60000"]
            packages = self._node_pins(name).read_text().split()
            commands += [["npm", "install", *options, "--prefix", str(place), *packages]]
        return commands

    def _pins(self, name: str) -> Path:
        return self._requirements / f"{name}.txt"

    def _node_pins(self, name: str) -> Path:
        return self._requirements / f"{name}.npm.txt"


async def _installed(command: Sequence[str], name: str) -> None:
    inherited = [each for each in os.environ if each in BASIC_VARIABLES or _INSTALLERS_OWN.fullmatch(each)]
    if shutil.which(command[0]) is None:
        raise BackendUnavailable(f"environment {name}: {command[0]} is not on PATH, and it is needed to make it")
    child = await Child.start(command, name=f"making {name}", env=_for_uv(os.environ), inherited=inherited)
    try:
        await child.discard_stdout()
        await child.wait()
    finally:
        await child.stop(_GRACE_S)
    if child.exit_code:
        told = _SECRET.sub("://…@", child.tail(12)) or f"exit code {child.exit_code}"
        raise BackendUnavailable(f"environment {name} could not be made: {' '.join(command[:3])}: {told}")


def _for_uv(variables: Mapping[str, str]) -> dict[str, str]:
    """Pip's settings under the names that uv knows; and no gigabytes of CUDA with torch, where torch is not at hand."""
    told = {uv: variables[pip] for pip, uv in _AS_UV_HAS_IT.items() if pip in variables and uv not in variables}
    if not {"UV_FIND_LINKS", "PIP_FIND_LINKS", "UV_TORCH_BACKEND"} & variables.keys():
        told["UV_TORCH_BACKEND"] = "cpu"
    return told


@asynccontextmanager
async def _locked(path: Path, on_wait: Callable[[], None]) -> AsyncIterator[None]:
    """Held by one process at a time; the kernel lets go of it when the process ends."""
    with path.open("wb") as stream:  # an empty file beside the folder
        told = False
        while not _taken(stream.fileno()):
            if not told:
                on_wait()
            told = True
            await asyncio.sleep(_TRIES_S)
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
