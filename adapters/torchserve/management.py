"""TorchServe's management API: register, unregister, look."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from adapters.errors import BackendUnavailable, LoadFailed
from adapters.torchserve.address import TorchServeAddress
from adapters.torchserve.client import message_of


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A Python process of TorchServe; `pid` is 0 while it is not known, `ready` says that the model is loaded."""

    pid: int
    ready: bool


class Management:
    """A connection to a TorchServe's management API."""

    def __init__(self, address: TorchServeAddress) -> None:
        """`address` is a TorchServe's that runs. Call inside an event loop."""
        token = address.management_token or address.token
        self._url = address.management_url.rstrip("/")
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"} if token else None,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
        )

    async def register(self, entry: str, name: str, options: Mapping[str, int]) -> None:
        """Register the model store's `entry` as `name`, and have its workers started.

        Not with TorchServe's own `synchronous`: the thread that would wait for the workers is one of the few that
        read and write every connection's requests, so for seconds the connections of that thread would stand still.

        Raises:
            LoadFailed: the entry is no archive that TorchServe takes.
            BackendUnavailable: it cannot be reached.
        """
        query: dict[str, str | int] = {"url": entry, "model_name": name, "synchronous": "false", "batch_size": 1}
        query.update(options)
        status, body = await self._ask("POST", "/models", query)
        if status in {503, 507}:
            raise BackendUnavailable(f"TorchServe answered {status}: {message_of(body)}")
        if status >= 400:
            raise LoadFailed(message_of(body))

    async def unregister(self, name: str) -> None:
        """Unregister and stop its workers; a name that is not registered is no error."""
        status, body = await self._ask("DELETE", f"/models/{name}", {})
        if status not in {200, 404}:
            raise BackendUnavailable(f"TorchServe answered {status} to the unloading of {name}: {message_of(body)}")

    async def scale(self, name: str, minimum: int, maximum: int) -> None:
        """Have `model` or `model/version` keep so many workers; does not wait for them, as `register` does not.

        Raises:
            LoadFailed: TorchServe refused.
            BackendUnavailable: it cannot be reached, or has no such model.
        """
        query: dict[str, str | int] = {"min_worker": minimum, "max_worker": maximum, "synchronous": "false"}
        status, body = await self._ask("PUT", f"/models/{name}", query)
        if status in {404, 503, 507}:
            raise BackendUnavailable(f"TorchServe answered {status}: {message_of(body)}")
        if status >= 400:
            raise LoadFailed(message_of(body))

    async def look(self, path: str) -> dict[str, Any] | None:
        """What TorchServe says of `model` or `model/version`; None where it has no such model."""
        status, body = await self._ask("GET", f"/models/{path}", {})
        if status == 404:
            return None
        if status != 200:
            raise BackendUnavailable(f"TorchServe answered {status} to a look at {path}: {message_of(body)}")
        described: list[dict[str, Any]] = json.loads(body)
        return described[0] if described else None

    async def workers(self, name: str) -> list[WorkerProcess]:
        """The model's workers, in a constant order."""
        workers = (await self.look(name) or {}).get("workers") or []
        return [WorkerProcess(max(worker["pid"], 0), worker["status"] == "READY") for worker in workers]

    async def aclose(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def _ask(self, method: str, path: str, query: Mapping[str, str | int]) -> tuple[int, bytes]:
        if self._session.closed:
            raise BackendUnavailable("TorchServe is being shut down")
        try:
            async with self._session.request(method, self._url + path, params=query) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise BackendUnavailable(f"TorchServe at {self._url} cannot be reached: {error}") from error
