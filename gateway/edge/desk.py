"""What the control side sees of deliveries to devices, and may do to rollouts: by the channels' files and the store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.conduct.journal import Journal
from gateway.conduct.keeper import Keeper
from gateway.config import ConfigError
from gateway.edge.channel_file import Channel
from gateway.edge.channel_folder import ChannelFolder
from gateway.edge.channels import halt, rollback
from gateway.errors import Conflict, NotAllowed
from gateway.experiments.deliveries import Deliveries
from gateway.experiments.report import Event


@dataclass(frozen=True, slots=True)
class Reported:
    """What devices reported of one version in one rollout of a channel: counts by kind, latencies in milliseconds."""

    version: int
    started: datetime | None
    passed: Mapping[str, int]
    failed: Mapping[str, int]
    p50_ms: float | None


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel as its file has it, and what devices reported, the latest rollout first."""

    model: str
    name: str
    channel: Channel
    reported: tuple[Reported, ...]

    @property
    def undoes(self) -> str:
        """What rolling back takes back; empty where there is nothing to go back to."""
        return undoes(self.channel)


class EdgeDesk:
    """`url` is where devices ask. Changes count for them within a second: the edge server reads the same files."""

    def __init__(self, folder: Path, url: str, keeper: Keeper, journal: Journal) -> None:
        self.folder = folder
        self.url = url
        self._files = ChannelFolder(folder)
        self._keeper = keeper
        self._journal = journal

    async def look(self) -> tuple[list[ChannelView], list[str]]:
        """Every channel, and what is wrong: with a file, or with the store."""
        stored, problems = Deliveries(), []
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415  # takes its time to import

        try:
            stored = await self._keeper.do(lambda store: store.deliveries())
        except StoreUnavailable as error:
            problems.append(str(error))
        views, mistakes = await asyncio.to_thread(self._look, stored)
        return views, problems + mistakes

    def _look(self, stored: Deliveries) -> tuple[list[ChannelView], list[str]]:
        views, problems = [], []
        for model in self._files.models():
            try:
                file = self._files.read(model)
            except (ConfigError, OSError) as error:
                problems.append(str(error))
                continue
            views += [
                ChannelView(model, name, channel, _reported(stored, model, name))
                for name, channel in sorted(file.channels.items())
            ]
        return views, problems

    async def reported(self) -> Mapping[tuple[str, str, str, str, str], int]:
        """Counts of reports by model, channel, version, kind and passed; nothing while the store does not say."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        found: Counter[tuple[str, str, str, str, str]] = Counter()
        with suppress(StoreUnavailable):
            counts = (await self._keeper.do(lambda store: store.deliveries())).counts
            for (subject, kind, passed), count in counts.items():
                labels = subject.model, subject.channel, str(subject.version), kind, str(passed).lower()
                found[labels] += count
        return found

    async def halt(self, model: str, channel: str, reason: str, who: str) -> None:
        """Stop a rollout. Raises ModelNotFound, Conflict where none runs, InvalidInput, NotAllowed for the file."""
        await self._change(model, channel, "halted", reason, who, lambda each: halt(each, reason, datetime.now(UTC)))

    async def roll_back(self, model: str, channel: str, reason: str, who: str, seen: str = "") -> None:
        """Go back to what a channel gave before. Raises as `halt` does, and Conflict where it undoes not what was seen.

        So a second one, by somebody who saw the same, does not go back one version more.
        """

        def back(there: Channel) -> Channel:
            if seen and undoes(there) != seen:
                raise Conflict(f"it has changed meanwhile: everybody gets {summary(there)}; look again")
            return rollback(there, reason, datetime.now(UTC))

        await self._change(model, channel, "rolled back", reason, who, back)

    async def _change(
        self, model: str, channel: str, action: str, reason: str, who: str, change: Callable[[Channel], Channel]
    ) -> None:
        before: list[Channel] = []

        def changed(there: Channel) -> Channel:
            before.append(there)
            return change(there)

        try:
            after = await asyncio.to_thread(self._files.change, model, channel, changed)
        except (ConfigError, OSError) as error:
            raise NotAllowed(f"channels of '{model}': {error}") from None
        told = [{f"channel {channel}": summary(each)} for each in (before[0], after)]
        self._journal.note(Event(0, datetime.now(UTC), who, f"rollout {action}", model, "", told[0], told[1], reason))


def summary(channel: Channel) -> str:
    """A channel in a line."""
    rollout = channel.rollout
    current = f"version {channel.current}" if channel.current is not None else "nothing"
    return (
        current if rollout is None else f"{current}, version {rollout.version} {rollout.state} at {rollout.percent:g} %"
    )


def undoes(channel: Channel) -> str:
    """What a rollback takes back, in words: a rollout, or else what everybody has."""
    rollout = channel.rollout
    if rollout is not None and rollout.state != "done":
        return f"the rollout of version {rollout.version}"
    if not channel.former:
        return ""
    return "to nothing" if (before := channel.former[-1].current) is None else f"to version {before}"


def _reported(stored: Deliveries, model: str, channel: str) -> tuple[Reported, ...]:
    subjects = {
        each.subject for each in stored.counts if (each.subject.model, each.subject.channel) == (model, channel)
    }
    found = []
    for subject in sorted(subjects, key=lambda each: (each.started, each.version), reverse=True):
        counts: dict[bool, dict[str, int]] = {True: {}, False: {}}
        for each, number in stored.counts.items():
            if each.subject == subject:
                counts[each.passed][each.kind] = number
        latencies = stored.latencies.get(subject)
        found.append(
            Reported(
                version=subject.version,
                started=datetime.fromtimestamp(subject.started, UTC) if subject.started else None,
                passed=counts[True],
                failed=counts[False],
                p50_ms=latencies.quantile(0.5) / 1000 if latencies else None,
            )
        )
    return tuple(found)
