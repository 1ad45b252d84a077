"""Which version of a channel a device gets, and how a rollout begins, grows, ends or is taken back: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from gateway.edge.channel_file import Channel, ChannelFile, Event, Evidence, Former, Halt, Rollout, Settled, Stage
from gateway.edge.devices import Device, Rules
from gateway.errors import Conflict
from gateway.experiments.guardrails import exceeds

__all__ = [
    "Channel", "ChannelFile", "Device", "Evidence", "Halt", "Rollout", "Rules", "Stage",
    "advance", "candidates", "choose", "complete", "halt", "promote", "rollback", "too_many_failed", "without",
]  # fmt: skip

_MOST_EVENTS: Final = 100
_MOST_FORMER: Final = 16


def choose(file: ChannelFile, channel: str, device: Device) -> int | None:
    """The version that a device is to have; None where there is none for it. Raises ModelNotFound for the channel."""
    return next(iter(candidates(file, channel, device)), None)


def candidates(file: ChannelFile, channel: str, device: Device) -> tuple[int, ...]:
    """The versions that a device may have, the one it is to have first: what follows is for want of a bundle."""
    found = file.channel(channel)
    versions: list[int | None] = []
    if found.rollout is not None and found.rollout.takes(file.model, channel, file.salt, device):
        versions.append(found.rollout.version)
    versions += [each.version for each in found.settled if each.rules.allow(device)]
    versions.append(found.current)
    return tuple(dict.fromkeys(each for each in versions if each is not None))


def promote(
    channel: Channel, version: int, stages: Sequence[Stage], rules: Rules, halt: Halt, now: datetime
) -> Channel:
    """Begin a rollout; raises Conflict where another one is running, or everybody has the version."""
    running = channel.rollout
    if running is not None and running.state == "running":
        raise Conflict(
            f"version {running.version} is being rolled out, to {running.percent:g} %; halt or roll back first"
        )
    if channel.current == version and not channel.settled:
        raise Conflict(f"version {version} is what everybody has already")
    rollout = Rollout(
        version=version,
        percent=stages[0].percent if stages else 100.0,
        stages=tuple(stages),
        started=now,
        since=now,
        rules=rules,
        halt=halt,
    )
    return _noted(replace(channel, rollout=rollout), now, "promoted", version, f"to {rollout.percent:g} %")


def advance(channel: Channel, evidence: Evidence, now: datetime) -> Channel:
    """What becomes of a channel with this evidence of its rollout: halted, the next stage, done, or the same object."""
    rollout = channel.rollout
    if rollout is None or rollout.state != "running":
        return channel
    if reason := too_many_failed(rollout, evidence):
        return halt(channel, reason, now)
    stage = rollout.stages[rollout.stage]
    waited = (now - rollout.since).total_seconds() >= stage.after_s
    if not waited or evidence.reports - rollout.before.reports < stage.min_reports:
        return channel
    if rollout.stage + 1 == len(rollout.stages):
        return complete(channel, now)
    percent = rollout.stages[rollout.stage + 1].percent
    grown = replace(rollout, stage=rollout.stage + 1, percent=percent, since=now, before=evidence)
    return _noted(replace(channel, rollout=grown), now, "advanced", rollout.version, f"to {percent:g} %")


def too_many_failed(rollout: Rollout, evidence: Evidence) -> str:
    """Why a rollout is to be halted; empty where it is not. All of it counts, and what its stage brought alone.

    With enough reports, the share itself must keep the limit. Before that, one halts who is above it beyond doubt
    (Clopper & Pearson's lower bound, one-sided, 10⁻⁵): three of three failed, four of seven.
    """
    limit, before = rollout.halt.max_failed, rollout.before
    for counted, failed, when in (
        (evidence.reports, evidence.failed, "since it began"),
        (evidence.reports - before.reports, evidence.failed - before.failed, f"at {rollout.percent:g} %"),
    ):
        reports = max(counted, failed)
        enough = reports >= rollout.halt.min_reports
        if failed > 0 and ((enough and failed > limit * reports) or exceeds(failed, reports, limit)):
            return (
                f"{failed} of {reports} reports {when} say that it failed: {failed / reports:.1%}, "
                f"where at most {limit:.1%} may"
            )
    return ""


def complete(channel: Channel, now: datetime) -> Channel:
    """End a rollout well: its version is what everybody has from now on, or everybody whom its rules allow."""
    rollout = channel.rollout
    if rollout is None:
        raise Conflict("there is no rollout; torii edge promote begins one")
    former = channel.former
    if channel.current is not None or channel.settled:
        former = (*former, Former(current=channel.current, settled=channel.settled))[-_MOST_FORMER:]
    ended = replace(rollout, state="done", stage=len(rollout.stages) - 1, percent=100.0, since=now)
    current, settled = channel.current, (Settled(version=rollout.version, rules=rollout.rules), *channel.settled)
    if rollout.rules == Rules():
        current, settled = rollout.version, ()
    changed = replace(channel, current=current, settled=_distinct(settled), rollout=ended, former=former)
    return _noted(changed, now, "done", rollout.version)


def halt(channel: Channel, reason: str, now: datetime) -> Channel:
    """Stop a rollout: nobody gets its version any more, and who has it is sent back. Raises Conflict without one."""
    rollout = channel.rollout
    if rollout is None or rollout.state != "running":
        raise Conflict("no rollout is running; torii edge rollback takes back what everybody has")
    halted = replace(rollout, state="halted", reason=reason)
    return _noted(replace(channel, rollout=halted), now, "halted", rollout.version, reason)


def rollback(channel: Channel, reason: str, now: datetime) -> Channel:
    """Give up a rollout that runs or was halted; without one, go back to what the channel gave before it."""
    rollout = channel.rollout
    if rollout is not None and rollout.state != "done":
        return _noted(replace(channel, rollout=None), now, "rolled back", channel.current, reason)
    if not channel.former:
        raise Conflict("there is no former version to go back to; torii edge promote sets another one")
    *earlier, before = channel.former
    changed = replace(channel, current=before.current, settled=before.settled, former=tuple(earlier), rollout=None)
    return _noted(changed, now, "rolled back", before.current, reason)


def without(channel: Channel, versions: Iterable[int], reason: str, now: datetime) -> Channel:
    """Take revoked versions out, wherever the channel has them; where current is one, the former is current again."""
    gone = frozenset(versions)
    former = tuple(
        replace(each, settled=_staying(each.settled, gone)) for each in channel.former if each.current not in gone
    )
    changed = replace(channel, former=former, settled=_staying(channel.settled, gone))
    if channel.rollout is not None and channel.rollout.version in gone:
        changed = replace(changed, rollout=None)
    if channel.current in gone:
        before = former[-1] if former else Former(current=None)
        changed = replace(changed, current=before.current, former=former[:-1])
    if changed == channel:
        return channel
    listed = ", ".join(map(str, sorted(gone)))
    return _noted(changed, now, "revoked", changed.current, f"without {listed}" + (f": {reason}" if reason else ""))


def _staying(settled: Iterable[Settled], gone: frozenset[int]) -> tuple[Settled, ...]:
    return tuple(each for each in settled if each.version not in gone)


def _distinct(settled: Iterable[Settled]) -> tuple[Settled, ...]:
    """The latest of each set of rules: an earlier one of the same can give nobody anything."""
    latest: dict[Rules, Settled] = {}
    for each in settled:
        latest.setdefault(each.rules, each)
    return tuple(latest.values())[:_MOST_FORMER]


def _noted(channel: Channel, now: datetime, event: str, version: int | None, reason: str = "") -> Channel:
    noted = Event(at=now, event=event, version=version, reason=reason)
    return replace(channel, history=(*channel.history, noted)[-_MOST_EVENTS:])
