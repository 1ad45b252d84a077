"""One TorchServe that runs, ours or somebody else's, as a place to load artifacts into."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from adapters.base import Endpoint
from adapters.tensors import Signature
from adapters.torchserve.address import TorchServeAddress
from adapters.torchserve.management import Management
from adapters.torchserve.server import MAX_BODY_BYTES, TorchServe


@dataclass(frozen=True, slots=True)
class Host:
    """A TorchServe; `server` where it is our own child; `token_file` is what opens its inference port."""

    address: TorchServeAddress
    management: Management
    token_file: Path | None
    runtime: str
    server: TorchServe | None = None

    @classmethod
    async def start(cls, folder: Path) -> Host:
        """Start a TorchServe in a folder of its own inside `folder`; raises BackendUnavailable."""
        server = await TorchServe.start(folder)
        # Endpoints reach frontends and logs: they carry the name of a private file, and of the keys only this one.
        token_file = _keep(server.address.token, server.home)
        torch = version("torch").partition("+")[0]
        runtime = f"torchserve {version('torchserve')} (torch {torch})"
        return cls(server.address, Management(server.address), token_file, runtime, server)

    @classmethod
    def configured(cls, address: TorchServeAddress, folder: Path) -> Host:
        """A TorchServe that somebody else runs; `folder` is private."""
        runtime = f"torchserve at {address.inference_url}"
        return cls(address, Management(address), _keep(address.token, folder), runtime)

    async def aclose(self) -> None:
        """Close the connection; stop the TorchServe where it is ours."""
        await self.management.aclose()
        if self.server is not None:
            await self.server.stop()
        elif self.token_file is not None:
            self.token_file.unlink(missing_ok=True)

    def endpoint(self, model: str, kind: str, signature: Signature, pid: int | None) -> Endpoint:
        """The endpoint of what is registered as `model`, or as `model/version`."""
        remote = {"kind": kind, "model": model}
        if self.token_file is not None:
            remote["token_file"] = str(self.token_file)
        if self.server is not None:
            remote["max_bytes"] = str(MAX_BODY_BYTES)
        return Endpoint("torchserve", self.address.inference_url, signature, self.runtime, pid, remote)

    async def last_words(self, model: str) -> list[str]:
        """The last lines that the model's workers printed, where they can be read."""
        return await asyncio.to_thread(self.server.last_words, model) if self.server else []


def _keep(token: str | None, folder: Path) -> Path | None:
    if token is None:
        return None
    path = folder / f"token-{secrets.token_hex(4)}"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token)
    return path
