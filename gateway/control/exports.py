"""The control API's routes for exports: ask for one, see how far it is, end it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import Response

from gateway.control.body import read_body
from gateway.exports.jobs import Exports, Job
from gateway.exports.order import read_order

_JOB: dict[int | str, dict[str, Any]] = {
    200: {"description": "The export", "content": {"application/json": {"schema": {"type": "object"}}}}
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "version", "to"],
                    "additionalProperties": False,
                    "properties": {
                        "model": {"type": "string"},
                        "version": {"type": "integer", "minimum": 1},
                        "to": {"type": "string", "description": "a format, as tflite"},
                        "quantize": {"type": "string", "description": "a precision: fp16, dynamic or int8"},
                        "calibration": {
                            "type": "string",
                            "format": "byte",
                            "description": "an .npz as base64; without it, the version's golden.npz serves",
                        },
                        "shapes": {
                            "type": "object",
                            "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 1}},
                        },
                        "batch": {"type": "integer", "minimum": 1, "description": "a fixed batch"},
                        "tolerance": {"type": "object", "additionalProperties": {"type": "number"}},
                        "replace": {"type": "boolean", "default": False},
                    },
                },
                "example": {"model": "digits", "version": 2, "to": "tflite", "quantize": "int8"},
            }
        },
    }
}


def add_exports(app: FastAPI, exports: Exports, max_body_bytes: int) -> None:
    """Add the routes. Nothing that they are told is a path: files come as bytes, or are the version's own."""

    @app.post("/v1/exports", tags=["exports"], status_code=202, openapi_extra=_BODY, response_class=Response)
    async def post_export(request: Request) -> Response:
        """Queue an export: it is converted, compared with its source, and put into the version's folder."""
        order, calibration = read_order(await read_body(request, max_body_bytes))
        job = exports.submit(order, calibration)
        return _json(_document(job), 202, {"location": f"/v1/exports/{job.id}"})

    @app.get("/v1/exports", tags=["exports"], responses=_JOB)
    async def get_exports() -> Response:
        """Every export since the start, the newest first; of those that are over, the latest."""
        return _json({"exports": [_document(job) for job in exports.all()]})

    @app.get("/v1/exports/{export}", tags=["exports"], responses=_JOB)
    async def get_export(export: str) -> Response:
        """How far one is: queued, running, done, failed or cancelled."""
        return _json(_document(exports.get(export)))

    @app.delete("/v1/exports/{export}", tags=["exports"], responses=_JOB)
    async def cancel_export(export: str) -> Response:
        """End one, with its processes; nothing is published then. One that is over stays what it is."""
        return _json(_document(await exports.cancel(export)))


def _document(job: Job) -> dict[str, Any]:
    published, form = job.published, job.order.form
    return {
        "id": job.id,
        "model": job.order.model,
        "version": job.order.version,
        "to": form.format,
        "quantize": form.precision,
        "state": job.state,
        "step": job.step,
        "fraction": round(job.fraction, 4),
        "log": list(job.log),
        "error": job.error or None,
        "file": published.path.name if published else None,
        "backend": form.backend,
        "deployment": f"{job.order}@{form.backend}" if published and form.backend else None,
        "route": list(published.route) if published else None,
        "certificate": job.certificate,
        "created": _time(job.created),
        "started": _time(job.started),
        "ended": _time(job.ended),
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds") if moment else None


def _json(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(document), status, headers, media_type="application/json")
