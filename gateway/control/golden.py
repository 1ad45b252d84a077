"""The control API's route for a version's golden data: real inputs, and the right outputs."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import Response

from gateway.artifacts import GOLDEN
from gateway.controlplane import ControlPlane
from gateway.errors import ModelNotFound, RequestTooLarge
from gateway.exports.origin import origin

MOST_BYTES: Final = 64 << 20

_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "An .npz file with the arrays inputs/<tensor>, outputs/<tensor> and perhaps labels",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def add_golden(app: FastAPI, control: ControlPlane) -> None:
    """Add the route. Model and version are looked up in the repository: nothing of the request becomes a path."""

    @app.get(
        "/v1/models/{model}/versions/{version}/golden",
        tags=["status"],
        responses=_ANSWERS,
        response_class=Response,
    )
    async def get_golden(model: str, version: int) -> Response:
        """The version's golden.npz, as it lies in the repository."""
        folder = origin(control.stored(model), version).folder
        content = await asyncio.to_thread(_read, folder / GOLDEN, f"{model}/{version}")
        headers = {"content-disposition": f'attachment; filename="{GOLDEN}"', "x-content-type-options": "nosniff"}
        return Response(content, media_type="application/octet-stream", headers=headers)


def _read(path: Path, version: str) -> bytes:
    """Raises ModelNotFound where there is no such file, RequestTooLarge where it is larger than anybody should hold."""
    try:
        # A link could lead to any file of this machine, and whoever opens a pipe would wait for its other end.
        stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except OSError:
        raise _missing(version) from None
    with stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise _missing(version)
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise RequestTooLarge(f"{version}: {GOLDEN} is larger than {MOST_BYTES} bytes; keep fewer rows in it")
    return content


def _missing(version: str) -> ModelNotFound:
    return ModelNotFound(
        f"{version} has no {GOLDEN}: put one into its folder, with the arrays inputs/<tensor> and outputs/<tensor>"
    )
