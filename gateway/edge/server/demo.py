"""The browser's demo page, as built in edge/browser/dist: static files, and the root of trust of a first visit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from gateway.edge.server.metadata_folder import Metadata

PREFIX: Final = "/edge/v1/demo/"
INDEX: Final = "index.html"
ROOT: Final = "root.json"

# WebAssembly is all that the page may compile, and this server all that it may ask.
POLICY: Final = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
_VERSIONED: Final = "runtimes/"
"""A folder whose folders' names have versions: what is in it never changes."""


class Demo:
    """The files that were in the folder when it was made: a request only looks names up, none becomes a path."""

    def __init__(self, built: Path, root: Callable[[], bytes | None]) -> None:
        """`root`: the repository's newest root metadata, where the folder has no root.json. Raises OSError."""
        if not (built / INDEX).is_file():
            raise FileNotFoundError(f"{built}: expected {INDEX} in it; `make browser-client` builds it")
        files = [each for each in built.rglob("*") if each.suffix in _TYPES and each.is_file()]
        self._files = {each.relative_to(built).as_posix(): each for each in files}
        self._root = root

    def add_to(self, app: web.Application) -> None:
        """Have an application serve it."""
        app.router.add_get(PREFIX.rstrip("/"), _to_folder)
        app.router.add_get(PREFIX + "{path:.*}", self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["path"] or INDEX
        found = self._files.get(name)
        if found is None:
            return self._first_root(name)
        caching = "public, max-age=31536000, immutable" if name.startswith(_VERSIONED) else "no-cache"
        return web.FileResponse(found, headers={**_headers(found.suffix), hdrs.CACHE_CONTROL: caching})

    def _first_root(self, name: str) -> web.Response:
        root = self._root() if name == ROOT else None
        if root is None:
            raise web.HTTPNotFound(text=f"the demo page has no {name[:100]!r}")
        return web.Response(body=root, headers={**_headers(".json"), hdrs.CACHE_CONTROL: "no-cache"})


def newest_root(metadata: Metadata) -> bytes | None:
    """The root of now; None where there is none."""
    versions = [int(name.partition(".")[0]) for name in metadata.documents if name.endswith(".root.json")]
    return metadata.documents[f"{max(versions)}.root.json"].content if versions else None


async def _to_folder(request: web.Request) -> web.Response:
    return web.Response(status=301, headers={hdrs.LOCATION: PREFIX})


def _headers(suffix: str) -> dict[str, str]:
    kind = _TYPES[suffix]
    return {
        hdrs.CONTENT_TYPE: f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
