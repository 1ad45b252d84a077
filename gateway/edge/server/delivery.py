"""Metadata and targets, as TUF's clients ask for them. A request only looks names up: none becomes a path."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from gateway.edge.server.catalog import TARGETS, Target
from gateway.edge.server.sending import send_document, send_file
from gateway.edge.server.state import STATE

FOREVER: Final = "public, max-age=31536000, immutable"
ALWAYS_ASK: Final = "no-cache"

_SUFFIXES: Final = {"gzip": ".gz", "zstd": ".zst"}
_TYPES: Final = {".zip": "application/zip", ".json": "application/json"}


async def metadata(request: web.Request) -> web.StreamResponse:
    """A file of the metadata: the timestamp always fresh, what bears a version forever."""
    name = request.match_info["file"]
    document = request.app[STATE].watch.catalog.metadata.documents.get(name)
    if document is None:
        raise web.HTTPNotFound(text=f"metadata {name[:100]!r} is not there")
    caching = ALWAYS_ASK if name == "timestamp.json" else FOREVER
    return await send_document(request, document, {hdrs.CONTENT_TYPE: "application/json", hdrs.CACHE_CONTROL: caching})


async def target(request: web.Request) -> web.StreamResponse:
    """A file of the signed list, by its consistent name."""
    name = request.match_info["path"]
    watch = request.app[STATE].watch
    found = watch.catalog.targets.get(name)
    if found is None:
        raise web.HTTPNotFound(
            text=f"target {name[-200:]!r} is not in the signed list; its name begins with its digest"
        )
    headers: dict[str, str] = {
        hdrs.CONTENT_TYPE: _TYPES.get(Path(found.path).suffix, "application/octet-stream"),
        hdrs.CACHE_CONTROL: FOREVER,
    }
    return await send_file(request, _files(watch.folder, found), found.sha256, found.length, headers)


def _files(folder: Path, found: Target) -> dict[str, Path]:
    """The file, and whichever compressed ones lie beside it."""
    path = folder / TARGETS / found.name
    beside = {encoding: path.with_name(path.name + suffix) for encoding, suffix in _SUFFIXES.items()}
    return {"identity": path, **{encoding: each for encoding, each in beside.items() if each.is_file()}}
