"""A real repository behind the server, and TUF's own client before it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.ngclient import Updater

from gateway.edge.channel_file import Channel
from gateway.edge.keys import variable
from gateway.edge.signed import utc_now
from tests.gateway.edge.server.conftest import Edge, Serve
from tests.gateway.edge.workshop import Hands, Workshop, passphrase
from tests.waiting import until


async def _get(edge: Edge, shop: Workshop, place: Path, path: str) -> bytes | None:
    """A target as a client gets and verifies it, over HTTP; None where it is not signed."""
    url = f"{str(edge.session._base_url).rstrip('/')}/edge/v1"

    def get() -> bytes | None:
        for each in ("trusted", "downloads"):
            (place / each).mkdir(parents=True, exist_ok=True)
        root = (shop.edge / "metadata/1.root.json").read_bytes()
        updater = Updater(
            str(place / "trusted"), f"{url}/metadata/", str(place / "downloads"), f"{url}/targets/", bootstrap=root
        )
        updater.refresh()
        found = updater.get_targetinfo(path)
        return None if found is None else Path(updater.download_target(found)).read_bytes()

    return await asyncio.to_thread(get)


async def test_a_client_follows_what_is_published_promoted_and_revoked(serve: Serve, tmp_path: Path) -> None:
    shop = Workshop(tmp_path / "shop")
    shop.make()
    first = shop.publish(1)
    shop.channels.change("digits", "stable", lambda each: Channel(current=1), make=True)
    edge = await serve(folder=shop.edge)
    told = await edge.check(os="android", runtime=first.bundle.runtime, id="a")
    assert told is not None
    bundle = (tmp_path / "shop/bundles/digits-1-android.zip").read_bytes()
    assert await _get(edge, shop, tmp_path / "client", told["target"]) == bundle

    second = shop.publish(2)
    shop.channels.change("digits", "stable", lambda each: Channel(current=2))
    await edge.state.watch.look()
    told = await edge.check(os="android", runtime=second.bundle.runtime, id="a", have=first.bundle.sha256)
    assert told is not None
    assert (told["version"], told["sha256"]) == (2, second.bundle.sha256)
    assert told["delta"] is not None
    delta = await _get(edge, shop, tmp_path / "client", told["delta"]["target"])
    assert delta is not None
    assert len(delta) == told["delta"]["length"]

    shop.publisher.revoke("digits", 2, "wrong data")
    await edge.state.watch.look()
    assert await _get(edge, shop, tmp_path / "client", told["target"]) is None
    async with edge.get(f"targets/digits/2/{second.bundle.sha256}.digits-2-android.zip") as answer:
        assert answer.status == 404


async def test_the_online_keys_sign_again_in_time_and_a_wrong_passphrase_stops_nothing(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands(utc_now() - timedelta(hours=20))
    shop = Workshop(tmp_path / "shop", clock=hands)
    shop.make()
    shop.publish(1)
    monkeypatch.setenv(variable("online"), "not the passphrase")
    edge = await serve(folder=shop.edge, keys=str(shop.keys.folder))
    await until(lambda: edge.state.resigning is not None and edge.state.resigning.problem)
    assert any("cannot be signed" in each for each in (await edge.status())["problems"])
    before = (await edge.status())["metadata"]["timestamp"]

    monkeypatch.setenv(variable("online"), passphrase("online", tmp_path))
    again = await serve(folder=shop.edge, keys=str(shop.keys.folder))
    await until(lambda: again.state.watch.catalog.metadata.roles["timestamp"]["version"] > before["version"])
    after = (await again.status())["metadata"]["timestamp"]
    assert after["expires"] > before["expires"]
    assert await _get(again, shop, tmp_path / "client", "digits/1/digits-1-android.zip")
