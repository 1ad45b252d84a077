"""The demo page with the edge server itself: served by it, its model offered by a channel, its reports taken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from gateway.edge.channel_file import Channel, ChannelFile
from gateway.edge.server.charge import Charge
from gateway.edge.server.demo import POLICY
from gateway.edge.server.serving import EdgeServer
from gateway.ports import listen, url
from tests.edge.browser.page import opened
from tests.edge.browser.repository import Repository, onnx_bundle
from tests.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WaitUntil = Callable[[Callable[[EdgeServer], bool]], object]


@contextmanager
def edge_server(folder: Path, store: Path, **charge: Any) -> Iterator[tuple[str, WaitUntil]]:
    """An edge server in a thread of its own: playwright has this one's event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def do(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=30)

    async def start() -> EdgeServer:
        told = Charge(
            folder=str(folder), socket=listening.fileno(), store=f"sqlite:///{store}", store_name="t", **charge
        )
        server = EdgeServer(told)
        await server.start(listening)
        return server

    listening = listen("127.0.0.1", 0, "edge_port")
    server = do(start())
    try:
        yield url(listening), lambda condition: do(until(lambda: condition(server)))
    finally:
        do(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_the_edge_server_delivers_a_model_to_a_browser(browser: Browser, built: Path, tmp_path: Path) -> None:
    repository, edge = Repository(), tmp_path / "edge"
    repository.add(2, onnx_bundle(), "onnxruntime")
    repository.write_to(edge)
    (edge / "channels").mkdir()
    channels = ChannelFile(model="digits", salt="0123456789abcdef", channels={"stable": Channel(current=2)})
    (edge / "channels" / "digits.json").write_text(channels.text())
    with edge_server(edge, tmp_path / "store.db", demo=str(built)) as (address, wait_until):
        with opened(browser, address) as demo:
            demo.open()
            assert "Version 2 is installed" in demo.said
            assert demo.draw(4) == "4"
            wait_until(lambda server: server.state.tally.taken == 2)  # installed, self_check
        answer = httpx.get(f"{address}/edge/v1/demo/", headers={"accept-encoding": "gzip"})
        assert answer.headers["content-security-policy"] == POLICY
        runtime = next((built / "runtimes").glob("onnxruntime-*/*.wasm")).relative_to(built)
        answer = httpx.get(f"{address}/edge/v1/demo/{runtime}", headers={"accept-encoding": "gzip"})
        assert (answer.headers["content-encoding"], answer.headers["content-type"]) == ("gzip", "application/wasm")
        for path in ("..%2f..%2fpackage.json", "nothing.js", ".complete", "runtimes"):
            assert httpx.get(f"{address}/edge/v1/demo/{path}").status_code == 404
        moved = httpx.get(f"{address}/edge/v1/demo")
        assert (moved.status_code, moved.headers["location"]) == (301, "/edge/v1/demo/")
