"""The page of deliveries to devices: what it says of channels, and how a rollout is halted and taken back by it."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.edge.channel_folder import ChannelFolder
from tests.gateway.control.pages.deliveries import HOSTILE, begun, given, halted
from tests.gateway.control.pages.served import Served, served, text
from tests.gateway.control.pages.sockets import OnSockets
from tests.gateway.control.pages.test_browser import opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

FORM = {"model": "m", "channel": "stable", "who": "ada", "reason": "crashes"}


def channels(site: Served) -> ChannelFolder:
    return ChannelFolder(site.edge)


def acts(page: Page, channel: str) -> Locator:
    return page.get_by_role("form", name=f"Take back: m, channel {channel}")


async def test_a_channel_says_who_gets_what_and_when_its_rollout_halts(site: Served) -> None:
    answer = await site.get("/edge")
    seen = text(answer.text)
    assert "version 2: running at 1 % (stage 1 of 4: 1, 5, 25, 100 %), since 2026-11-23 12:00:00" in seen
    assert "failed on more than 2 % of 50 devices or more" in seen
    assert "Some get version 2: os android/ios, app 2.1 or newer, 512 MiB or more All others get version 1" in seen
    assert "version 3: halted at 1 %" in seen
    assert html.escape(HOSTILE) in answer.text
    assert HOSTILE not in answer.text
    assert "channels/broken.json" in seen
    assert "2026-11-23 14:00:00 halted version 3" in seen


async def test_there_is_a_way_back_only_where_there_is_something_to_go_back_to(site: Served) -> None:
    html_of = {part.split(">")[1].split("<")[0]: part for part in (await site.get("/edge")).text.split("<h2")[1:]}
    buttons = {title: part.count("<button") for title, part in html_of.items() if ", channel " in title}
    assert buttons["m, channel stable"] == 2
    assert buttons["m, channel beta"] == buttons["m, channel rules"] == 1
    assert buttons["m-beta, channel x"] == 0


async def test_a_second_rollback_by_whom_saw_the_same_takes_nothing_more_back(site: Served) -> None:
    files = channels(site)
    for change in (given(2), given(3), begun(4)):
        files.change("m", "fleet", change, make=True)
    fields = {"act": "rollback:m:fleet", **FORM, "channel": "fleet", "seen": "the rollout of version 4"}
    assert (await site.post("/edge", **fields)).status_code == 303
    again = await site.post("/edge", **fields)
    assert again.status_code == 409
    assert "it has changed meanwhile: everybody gets version 3; look again" in text(again.text)
    assert 'value="crashes"' in again.text, "what was typed stays"
    assert files.read("m").channel("fleet").current == 3
    assert (await site.post("/edge", **{**fields, "seen": "to version 2"})).status_code == 303
    assert files.read("m").channel("fleet").current == 2


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"act": "halt", "model": "../m"}, 400),
        ({"act": "halt", "model": "nope"}, 404),
        ({"act": "halt", "channel": "nope"}, 404),
        ({"act": "halt", "channel": "beta"}, 409),
        ({"act": "erase"}, 400),
        ({"act": "halt", "model": "broken"}, 403),
    ],
)
async def test_what_cannot_be_done_is_said_and_changes_nothing(
    site: Served, fields: dict[str, str], status: int
) -> None:
    before = {each: each.read_bytes() for each in (site.edge / "channels").glob("*.json")}
    answer = await site.post("/edge", **{**FORM, **fields})
    assert answer.status_code == status
    assert {each: each.read_bytes() for each in (site.edge / "channels").glob("*.json")} == before


async def test_without_an_edge_folder_the_page_says_how_to_have_one(tmp_path: Path) -> None:
    async with served(tmp_path, with_edge=False) as site:
        answer = await site.get("/edge")
        assert answer.status_code == 404
        assert "torii serve --edge EDGE_DIR" in text(answer.text)
        assert "/edge" not in (await site.get("/")).text
        assert (await site.post("/edge", act="halt", **FORM)).status_code == 404


async def test_without_channels_the_page_says_how_to_make_them(site: Served) -> None:
    for each in (site.edge / "channels").glob("*.json"):
        each.unlink()
    assert "No channels: torii edge promote makes them." in text((await site.get("/edge")).text)


@pytest.mark.parametrize("script", [True, False])
def test_a_rollout_is_halted_and_then_taken_back(browser: Browser, pages: OnSockets, script: bool) -> None:
    with opened(browser, pages, "/edge", java_script_enabled=script) as page:
        acts(page, "stable").get_by_label("Reason").fill("crashes on start")
        acts(page, "stable").get_by_label("Your name").fill("ada")
        page.keyboard.press("Enter")
        page.get_by_text("Halted: devices are sent back as they ask.").wait_for()
        assert page.get_by_text("rollout halted m by ada: crashes on start").is_visible()
        assert acts(page, "stable").get_by_role("button", name="Halt").count() == 0
        acts(page, "stable").get_by_role("button", name="Roll back the rollout of version 2").click()
        page.get_by_text("Rolled back: devices follow as they ask.").wait_for()
    channel = channels(pages.site).read("m").channel("stable")
    assert (channel.current, channel.rollout) == (1, None)
    assert [each.event for each in channel.history][-2:] == ["halted", "rolled back"]


def test_what_happens_elsewhere_is_shown_and_what_is_being_typed_stays(browser: Browser, pages: OnSockets) -> None:
    with opened(browser, pages, "/edge") as page:
        reason = acts(page, "stable").get_by_label("Reason")
        reason.press_sequentially("it cr")
        channels(pages.site).change("m", "stable", halted)
        acts(page, "stable").get_by_role("button", name="Halt").wait_for(state="detached")
        reason.press_sequentially("ashes")
        assert reason.input_value() == "it crashes"
        assert page.locator("[id='live-m:stable']").get_by_text("halted", exact=True).first.is_visible()
        page.keyboard.press("Enter")
        page.get_by_text("Rolled back: devices follow as they ask.").wait_for()
