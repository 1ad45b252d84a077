"""A published version begins its way to the devices of a channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.edge.channel_file import Channel, Halt, Stage
from gateway.edge.channel_folder import ChannelFolder
from gateway.edge.channels import complete, promote
from gateway.edge.devices import Rules
from gateway.edge.listing import of_version
from gateway.edge.signed import SignedFolder
from gateway.errors import Conflict

AT_ONCE: Sequence[Stage] = (Stage(percent=100.0, after_s=0.0, min_reports=0),)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a version is to be rolled out. Without stages, everybody has it at once, and nobody asks for reports."""

    stages: Sequence[Stage]
    rules: Rules = field(default_factory=Rules)
    halt: Halt = field(default_factory=Halt)


def begin(folder: SignedFolder, channels: ChannelFolder, model: str, version: int, channel: str, plan: Plan) -> Channel:
    """Begin a rollout, and end it at once where the plan or the channel, which has had nothing so far, has no stages.

    Blocking. Raises ModelNotFound where the version is not published, Conflict where clients do not see it yet or
    another rollout runs, and what ChannelFolder.change raises.
    """
    with folder.alone():
        state = folder.read()
        of_version(state.targets.metadata.signed, model, version)
        if not state.is_live:
            raise Conflict(
                f"{model}/{version} is signed, and clients do not see it yet; torii edge refresh {folder.edge}"
            )
        now = folder.now()

        def change(before: Channel) -> Channel:
            staged = plan.stages and before.versions()
            begun = promote(before, version, plan.stages if staged else AT_ONCE, plan.rules, plan.halt, now)
            return begun if staged else complete(begun, now)

        return channels.change(model, channel, change, make=True)
