"""What an edge folder holds, as plain data: roles, bundles, channels, and what is to be done."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from gateway.edge.channel_folder import ChannelFolder
from gateway.edge.listing import bundles, deltas
from gateway.edge.refreshing import overdue
from gateway.edge.roles import ROLES, RoleName, kind_of, lifetime
from gateway.edge.rotation import unfinished
from gateway.edge.signed import SignedFolder, State


def overview(folder: SignedFolder, channels: ChannelFolder) -> dict[str, Any]:
    """Roles, bundles, channels, and `to_do`, lines. Blocking; raises as SignedFolder.read and ChannelFolder.read."""
    state = folder.read()
    return {
        "roles": [_role(folder, state, each) for each in ROLES],
        "bundles": _bundles(state),
        "channels": [each for model in channels.models() for each in of_model(channels, model)],
        "to_do": _to_do(folder, state),
    }


def of_model(channels: ChannelFolder, model: str) -> list[dict[str, Any]]:
    """The channels of a model; raises as ChannelFolder.read."""
    file = channels.read(model)
    return [
        {"model": model, "channel": name, **msgspec.to_builtins(each, builtin_types=(datetime,))}
        for name, each in sorted(file.channels.items())
    ]


def _role(folder: SignedFolder, state: State, role: RoleName) -> dict[str, Any]:
    stored = {"targets": state.targets, "snapshot": state.snapshot, "timestamp": state.timestamp}
    signed = state.root if role == "root" else stored[role].metadata.signed
    left: timedelta = signed.expires - folder.now()
    return {
        "role": role,
        "kind": kind_of(role),
        "version": signed.version,
        "threshold": state.root.roles[role].threshold,
        "keyids": list(state.root.roles[role].keyids),
        "expires": signed.expires,
        "left_s": left.total_seconds(),
        "lifetime_s": lifetime(state.root, role).total_seconds(),
    }


def _bundles(state: State) -> list[dict[str, Any]]:
    targets = state.targets.metadata.signed
    there = bundles(targets)
    digests = {each.sha256: str(each.version) for each in there}
    made = deltas(targets)
    return [
        {
            **{name: getattr(each, name) for name in each.__slots__},
            "deltas_from": [digests.get(old, old[:12]) for _, old, to in made if to == each.path],
        }
        for each in there
    ]


def _to_do(folder: SignedFolder, state: State) -> list[str]:
    found = [each.replace("EDGE_DIR", str(folder.edge)) for each in overdue(state, folder.now())]
    if not state.is_live:
        found.append(f"targets {state.targets.version} are signed, and clients do not see them yet: {_refresh(folder)}")
    for role in unfinished(state):
        found.append(f"the rotation of {role} was cut short: torii edge rotate {folder.edge} {role}")  # noqa: PERF401
    for role, stored in (("snapshot", state.snapshot), ("timestamp", state.timestamp)):
        if stored.metadata.signed.expires <= folder.now():
            found.append(f"{role} has expired, and clients refuse it: {_refresh(folder)}")
    return found


def _refresh(folder: SignedFolder) -> str:
    return f"torii edge refresh {folder.edge}"
