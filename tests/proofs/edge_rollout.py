"""`make proof-edge`: rollouts over HTTP with 10,000 simulated devices, good ones and bad ones."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path

import httpx

from gateway.edge.channel_file import Channel, Halt, Stage
from gateway.edge.channel_folder import ChannelFolder
from gateway.edge.channels import promote
from gateway.edge.devices import Rules
from tests.gateway.edge.server.folder import Folder
from tests.proofs.edge_fleet import Fleet
from tests.proofs.edge_server import EdgeProcess, serving

MODEL = "digits"
_SIGMAS = 4.5
"""Beyond which a share is wrong: by chance one in 150,000."""


@dataclass
class Story:
    """A fleet, its server, and what was seen."""

    folder: Folder
    fleet: Fleet
    server: EdgeProcess
    stages: Sequence[Stage]
    halt: Halt
    bad: Mapping[int, float]
    say: Callable[[str], None]
    lines: list[str] = field(default_factory=list)

    @property
    def channel(self) -> Channel:
        """As its file is now."""
        return self.folder.channel(MODEL)

    def promote(self, version: int) -> None:
        """As `torii edge promote` does."""
        ChannelFolder(self.folder.path).change(
            MODEL, "stable", lambda each: promote(each, version, self.stages, Rules(), self.halt, datetime.now(UTC))
        )

    async def until(self, condition: Callable[[], bool], what: str, within_s: float = 30.0) -> float:
        """Wait until the server has come so far; gives how long that took, in seconds."""
        began_s = time.monotonic()
        while not condition():
            assert time.monotonic() - began_s < within_s, f"{what}: {self.channel}\n{self.server.log()}"
            await asyncio.sleep(0.02)
        return time.monotonic() - began_s


async def tell(story: Story) -> None:
    """All of it; raises AssertionError where something is not as it must be."""
    fleet = story.fleet
    await fleet.round()
    assert fleet.versions() == {1: len(fleet.devices)}
    story.say(f"{len(fleet.devices)} devices have version 1")
    await _good(story, 2)
    for version, fails in story.bad.items():
        await _bad(story, version, fails)
    assert not fleet.wrong, fleet.wrong[:5]


async def _good(story: Story, version: int) -> None:
    """A version that works reaches everybody, stage by stage, though the server is killed on the way."""
    fleet, before = story.fleet, set[str]()
    fleet.fails[version] = 0.002
    story.promote(version)
    for number, stage in enumerate(story.stages):
        await _seen(story, version, stage.percent)
        told = await fleet.census()
        having = {device for device, each in told.items() if each == version}
        assert before <= having, "a device was given a version and lost it while its rollout grew"
        before = having
        share = _binomial(len(having), len(fleet.devices), stage.percent / 100)
        story.say(f"version {version}, stage {stage.percent:g} %: {len(having)} devices are given it ({share})")
        if number == 1:
            await story.until(lambda: _waiting(story) == 0, "the reports to be saved")
            story.server.kill()
            story.server.start()
            story.say("  the server is killed and started again")
        await fleet.round(lambda: _percent(story) == stage.percent)  # noqa: B023
        if number + 1 < len(story.stages):
            await story.until(lambda: _percent(story) > stage.percent, "the next stage")  # noqa: B023
    await story.until(lambda: story.channel.current == version, "the rollout's end")
    await _seen(story, version, 100)
    await fleet.round()
    assert fleet.versions() == {version: len(fleet.devices)}, fleet.versions()
    story.say(f"version {version} is what everybody has")


async def _bad(story: Story, version: int, fails: float) -> None:
    """A version that fails is halted by itself, before it has reached many, and all are sent back."""
    fleet, current = story.fleet, story.channel.current
    fleet.fails[version] = fails
    story.promote(version)
    await _seen(story, version, story.stages[0].percent)
    began_s = time.monotonic()
    await fleet.round()
    await story.until(lambda: _state(story) == "halted", "the halt")
    took_s = time.monotonic() - began_s
    reached = sum(version in each.ever for each in fleet.devices) / len(fleet.devices)
    assert reached <= 0.05, f"version {version} reached {reached:.2%} of the devices"
    await fleet.round()
    assert fleet.versions() == {current: len(fleet.devices)}, fleet.versions()
    told = await fleet.census()
    assert set(told.values()) == {current}
    rollout = story.channel.rollout
    assert rollout is not None
    story.say(
        f"version {version} fails on {fails:.0%} of the devices: halted, having reached {reached:.2%} of them while "
        f"all asked within {took_s:.1f} s; every device is back on version {current}\n  {rollout.reason}"
    )


async def _seen(story: Story, version: int, percent: float) -> None:
    """Wait until the server goes by what the file says: it looks every second."""

    def goes_by_it() -> bool:
        answer = httpx.get(f"{story.server.url}/edge/v1/status", timeout=20).json()
        rollout = answer["models"][MODEL]["stable"]["rollout"]
        return bool(rollout) and (rollout["version"], rollout["percent"]) == (version, percent)

    await story.until(goes_by_it, f"version {version} at {percent:g} %")


def _percent(story: Story) -> float:
    rollout = story.channel.rollout
    return rollout.percent if rollout is not None and rollout.state == "running" else 101.0


def _waiting(story: Story) -> int:
    return int(httpx.get(f"{story.server.url}/edge/v1/status", timeout=20).json()["reports"]["waiting"])


def _state(story: Story) -> str:
    return story.channel.rollout.state if story.channel.rollout else ""


def _binomial(found: int, count: int, share: float) -> str:
    """Raises AssertionError where so many of `count` are not likely by a share."""
    off = abs(found - count * share)
    sigma = sqrt(count * share * (1 - share))
    assert off <= _SIGMAS * sigma, f"{found} of {count} at {share:.0%}"
    return f"{found / count:.2%}, {off / sigma:.1f} standard deviations off" if sigma else "all"


def run(
    devices: int, percents: Sequence[float], least: int, bad: Mapping[int, float], say: Callable[[str], None]
) -> None:
    """The story with so many devices; `least` reports halt, and each stage needs half of its devices' reports.

    Versions 1 and 2 are good, `bad` are others with the share of devices on which they fail.
    """
    with tempfile.TemporaryDirectory(prefix="torii-edge-") as name:
        folder = Folder(Path(name) / "edge")
        for version in (1, 2, *bad):
            folder.bundle(MODEL, version, b"%d" % version * 4096)
        folder.write()
        folder.channels(MODEL, stable=Channel(current=1))
        with serving(folder.path) as server:
            stages, before = [], 0.0
            for percent in percents:
                # Half of those who come anew with the stage: without these, no stage is taken.
                needed = round((percent - before) / 100 * devices * 0.5)
                stages.append(Stage(percent=percent, after_s=0, min_reports=needed))
                before = percent
            fleet = Fleet.of("127.0.0.1", server.port, MODEL, devices)
            story = Story(folder, fleet, server, stages, Halt(max_failed=0.02, min_reports=least), bad, say)
            asyncio.run(tell(story))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    arguments = parser.parse_args()
    began_s = time.monotonic()
    try:
        run(arguments.devices, (1, 5, 25, 100), 50, {3: 0.6, 4: 0.12}, lambda line: print(line, flush=True))
    except AssertionError as error:
        sys.exit(f"not as it must be: {error}")
    print(f"all as it must be, after {time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    main()
