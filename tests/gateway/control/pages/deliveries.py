"""Deliveries to devices for the pages: a real desk over files of channels, and reports that are made up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from adapters.histograms import Distribution
from gateway.conduct.journal import Journal
from gateway.conduct.keeper import Keeper
from gateway.edge.channel_file import Channel, Halt, Stage
from gateway.edge.channel_folder import ChannelFolder
from gateway.edge.channels import complete, halt, promote
from gateway.edge.desk import EdgeDesk
from gateway.edge.devices import Rules
from gateway.experiments.deliveries import Counted, Deliveries, Subject
from gateway.experiments.report import Event
from tests.gateway.control.pages.fake_desk import FakeDesk

HOSTILE = "<img src=x onerror=alert(1)> and-a-word-without-any-space-" + "that-goes-on-" * 20
BEGUN = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALL = Rules()
STAGES = tuple(Stage(percent=each) for each in (1.0, 5.0, 25.0, 100.0))


class FakeStore:
    """Has what devices reported."""

    def __init__(self) -> None:
        begun = Subject("m", "stable", 2, BEGUN.timestamp())
        counts = {("installed", True): 40, ("judged", True): 40, ("self_check", True): 36, ("faulted", False): 4}
        self.reported = Deliveries(
            {Counted(begun, kind, passed): number for (kind, passed), number in counts.items()},
            {begun: Distribution(40_000, (0,) * 40 + (30, 10))},
        )

    def deliveries(self) -> Deliveries:
        return self.reported

    async def do(self, act: Callable[[Any], Any]) -> Any:
        return act(self)


class FakeJournal:
    """Writes into the desk's record of changes."""

    def __init__(self, desk: FakeDesk) -> None:
        self._desk = desk

    def note(self, event: Event) -> None:
        self._desk.log.insert(0, event)


def begun(version: int, rules: Rules = ALL) -> Callable[[Channel], Channel]:
    """Begins a rollout."""
    return lambda there: promote(there, version, STAGES, rules, Halt(), BEGUN)


def given(version: int, rules: Rules = ALL) -> Callable[[Channel], Channel]:
    """Gives a version to everybody whom the rules allow, at once."""
    return lambda there: complete(begun(version, rules)(there), BEGUN + timedelta(hours=1))


def halted(there: Channel) -> Channel:
    """Halts a rollout."""
    return halt(there, HOSTILE, BEGUN + timedelta(hours=2))


CHANNELS: dict[tuple[str, str], tuple[Callable[[Channel], Channel], ...]] = {
    ("m", "stable"): (given(1), begun(2)),
    ("m", "beta"): (given(1), given(2), begun(3), halted),
    ("m", "rules"): (given(1), given(2, Rules(os=("android", "ios"), min_app="2.1", min_ram_mb=512))),
    ("a-model-with-as-long-a-name-as-there-may-be.v2", "fresh-and-with-a-long-name-too"): (given(1),),
    ("m-beta", "x"): (given(1),),
    ("m", "beta-x"): (given(1),),
}
"""A channel in each state; and two whose names are alike when they are joined."""


def lay_out(folder: Path) -> None:
    """Write the channels as they are at first, and a file that is broken."""
    files = ChannelFolder(folder)
    for each in (folder / "channels").glob("*.json"):
        each.unlink()
    for (model, channel), changes in CHANNELS.items():
        for change in changes:
            files.change(model, channel, change, make=True)
    (folder / "channels" / "broken.json").write_text("{")


def edge_desk(folder: Path, desk: FakeDesk) -> EdgeDesk:
    """A desk over a folder with channels in every state."""
    folder.mkdir()
    lay_out(folder)
    keeper, journal = cast("Keeper", FakeStore()), cast("Journal", FakeJournal(desk))
    return EdgeDesk(folder, "http://127.0.0.1:8003", keeper, journal)
