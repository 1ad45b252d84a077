"""The pages over fakes: a real repository and control plane, models without processes, and a desk that makes it up."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import httpx
from fastapi import FastAPI

from adapters.errors import LoadFailed
from gateway.control.besides import Besides
from gateway.control.certificates import Certificates
from gateway.control.errors import add_errors
from gateway.control.pages import add_pages
from gateway.control.same_origin import SameOrigin
from gateway.control.verdicts import Verdicts
from gateway.front import LocalFront
from tests.gateway.control.pages.deliveries import edge_desk
from tests.gateway.control.pages.fake_desk import FakeDesk, every_state
from tests.gateway.control.pages.fake_store import FakeKeeper, with_verdicts
from tests.gateway.plane import Plane

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"
RUNNING = "/models/m/experiments/which-runtime"
HTML = {"accept": "text/html,application/xhtml+xml"}


@dataclass
class Served:
    """What a test sees of it."""

    plane: Plane
    desk: FakeDesk
    app: SameOrigin
    client: httpx.AsyncClient
    edge: Path
    kept: FakeKeeper

    async def get(self, path: str) -> httpx.Response:
        """As a browser asks."""
        return await self.client.get(path)

    async def post(self, path: str, **fields: str) -> httpx.Response:
        """As a browser sends a form of the page at that path."""
        named = {key.replace("__", "-"): value for key, value in fields.items()}
        return await self.client.post(path, data=named, headers={"origin": "http://127.0.0.1:8002"})


@asynccontextmanager
async def served(
    folder: Path,
    desk: FakeDesk | None = None,
    inference_url: str = "http://127.0.0.1:9",
    with_desk: bool = True,
    with_edge: bool = True,
) -> AsyncIterator[Served]:
    """The app, with a model m of two versions, one that fails to load, and a mistake in the repository."""
    desk = desk or every_state()
    edge = edge_desk(folder / "edge", desk) if with_edge else None
    plane = Plane(folder)
    plane.adapter.failures["wrong"] = LoadFailed(f"no ONNX model: {HOSTILE}")
    plane.publish("m/1", "one")
    plane.publish("m/2", "two")
    plane.publish("broken/1", "wrong")
    plane.write("m/labels.toml", "stable = 1\n")
    (plane.root / "empty").mkdir()
    async with plane.running():
        await plane.reaches(v1="READY", v2="READY")
        await plane.looked()
        app = FastAPI()
        front = LocalFront(plane.registry)
        certificates = Certificates(plane.control)
        conducted = desk if with_desk else None
        kept = with_verdicts()
        besides = Besides(edge=edge, verdicts=Verdicts(plane.control, kept))
        add_pages(app, plane.control, front, plane.labels, conducted, lambda: inference_url, certificates, besides)
        add_errors(app)
        guarded = SameOrigin(app, loopback=True)
        transport = httpx.ASGITransport(guarded)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002", headers=HTML) as client:
            yield Served(plane, desk, guarded, client, folder / "edge", kept)


def text(html: str) -> str:
    """What a reader reads: without markup, and with single spaces."""
    words: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            words.append(data)

    Reader().feed(html)
    return re.sub(r"\s+", " ", " ".join(words)).replace(" ,", ",").replace(" @ ", "@")


def tags(html: str) -> list[tuple[str, dict[str, str]]]:
    """Every tag with its attributes, as a browser would see them."""
    found: list[tuple[str, dict[str, str]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, {name: value or "" for name, value in attrs}))

    Reader().feed(html)
    return found
