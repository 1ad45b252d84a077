"""From a template and its values to an answer that a browser may show, and may do no more with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.control.pages.formats import FILTERS, changes
from gateway.control.pages.forms import NO_FORM

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: a browser would then send forms with the origin "null", as pages of elsewhere do.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}

_STATIC: Final[Mapping[str, str]] = {
    "torii.css": "text/css",
    "torii.js": "text/javascript",
    "torii.svg": "image/svg+xml",
}


class Renderer:
    """Writes pages. What they show of models, files and callers is text, and never markup."""

    def __init__(self, conducts: bool, delivers: bool = False) -> None:
        """`conducts` is whether this gateway conducts experiments, `delivers` whether it delivers to devices."""
        self._templates = Environment(
            loader=PackageLoader("gateway.control.pages"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(FILTERS)
        self._templates.globals.update(
            changes=changes,
            torii_version=version("torii-gateway"),
            form=NO_FORM,
            conducts=conducts,
            delivers=delivers,
        )
        folder = files("gateway.control.pages") / "static"
        self._static = {name: (folder / name).read_bytes() for name in _STATIC}

    async def page(self, template: str, http_status: int = 200, **values: Any) -> Response:
        """A page; written in a thread, since the loop has requests to answer meanwhile."""
        return await asyncio.to_thread(self._page, template, http_status, values)

    def _page(self, template: str, http_status: int, values: Mapping[str, Any]) -> Response:
        html = self._templates.get_template(template).render({"now": datetime.now(UTC), **values})
        return HTMLResponse(html, http_status, headers=_HEADERS)

    def static(self, name: str) -> Response | None:
        """The stylesheet, the script or the icon; None for any other name."""
        if name not in self._static:
            return None
        headers = {**_HEADERS, "Cache-Control": "no-cache"}
        return Response(self._static[name], media_type=_STATIC[name], headers=headers)
