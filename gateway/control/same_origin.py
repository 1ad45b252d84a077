"""Keeps web pages away from the control port: a browser on this machine would send for any of them.

A page of elsewhere may have a browser post to loopback, or give its own name loopback's address (DNS rebinding). Its
requests say so: by their Origin, or by the Host that they ask for. Programs send no Origin.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_LOOPBACK_NAMES = ("localhost", "localhost.localdomain")


class SameOrigin:
    """Refuses requests of pages that this port did not serve, and on loopback those for another host's name."""

    def __init__(self, app: ASGIApp, loopback: bool) -> None:
        self._app = app
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI callable."""
        if scope["type"] == "http" and (text := self._objection(scope)):
            await JSONResponse({"error": text}, 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _objection(self, scope: Scope) -> str | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self._loopback and host and not is_loopback(host):
            return f"host: expected a name of loopback, got {host!r:.100}"
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and urlsplit(origin).netloc.lower() != host.lower():
            return f"origin: pages of {origin!r:.100} may not ask here"
        if headers.get(b"sec-fetch-site", b"same-origin") == b"cross-site":
            return "sec-fetch-site: pages of other sites may not ask here"
        return None


def is_loopback(host: str) -> bool:
    """Whether a host, with or without its port, names this machine's loopback."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name in _LOOPBACK_NAMES or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
