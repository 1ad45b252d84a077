"""What the server offers. It is believed only as far as its signed metadata bear it out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from reprlib import repr as brief
from typing import Any, Final
from urllib.parse import quote, urlencode

from torii_edge.errors import Offline, Refused
from torii_edge.manifest import Manifest
from torii_edge.source import Source
from torii_edge.store import Release
from torii_edge.transport import Server
from torii_edge.trust import Signed, Target

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TARGET: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,127}/){1,4}[A-Za-z0-9][A-Za-z0-9._-]{0,191}")
_SHORTEST_POLL_S: Final = 1.0
_LONGEST_POLL_S: Final = 7 * 86400.0


@dataclass(frozen=True)
class Offer:
    """The version that a device is to have: its target, its digest, and a difference's target where there is one."""

    version: int
    target: str
    sha256: str
    delta: str | None
    poll_s: float | None


def ask(server: Server, source: Source, device_id: str, current: Release | None) -> Offer | None:
    """What the device is to have of a channel; None: nothing for it.

    Asked for one runtime after the other, since a bundle is of one.

    Raises:
        Offline: the server cannot be asked, or does not answer as agreed.
        Refused: it says that the question is wrong.
    """
    most = source.limits.answer_bytes
    for runtime in source.runtimes:
        facts = [("channel", source.channel), *source.device.facts(runtime), ("id", device_id)]
        if current is not None:
            facts.append(("have", current.sha256))
        path = f"/edge/v1/models/{quote(source.model)}/check?{urlencode(facts)}"
        with server.ask("GET", path, source.limits.patience_s) as answer:
            if answer.status == 204:
                continue
            if answer.status == 200:
                return _offer(answer.json(most))
            detail = answer.body(most).decode("utf-8", "replace")[:200]
            if answer.status in {400, 404, 422}:
                raise Refused(
                    f"the server has no answer for {source.model} in {source.channel}: {answer.status} {detail}"
                )
            raise Offline(f"{server.name}: answered {answer.status} {detail}")
    return None


def signed_target(offer: Offer, signed: Signed, source: Source) -> Target:
    """The target that is offered, as it is signed; raises Refused where they differ, or it is not for this device."""
    target = signed.find(offer.target)
    if target.sha256 != offer.sha256:
        raise Refused(f"{offer.target}: the server offers another content than was signed")
    said = target.custom.get("model", source.model), target.custom.get("version", offer.version)
    if said != (source.model, offer.version):
        raise Refused(f"{offer.target} is signed as {said[0]}/{said[1]}, and offered as {source.model}/{offer.version}")
    if target.length > source.limits.bundle_bytes:
        raise Refused(f"{offer.target} has {target.length} bytes; at most {source.limits.bundle_bytes} are taken")
    unmet = "; ".join(_unmet(target, source))
    if unmet:
        raise Refused(f"{offer.target} is not for this device: {unmet}")
    return target


def _unmet(target: Target, source: Source) -> Iterator[str]:
    """What was signed to be needed, and is not here: the server saw to that, if it is honest."""
    runtime, app, ram_mb = (target.custom.get(name) for name in ("runtime", "min_app", "min_ram_mb"))
    if runtime is not None and runtime not in source.runtimes:
        yield f"it needs {brief(runtime)}, and there is {', '.join(source.runtimes) or 'no runtime'}"
    if isinstance(app, str) and _numbers(source.device.app) < _numbers(app):
        yield f"it needs version {app:.40} of the app, and this is {source.device.app or 'unknown'}"
    if isinstance(ram_mb, int) and (source.device.ram_mb or 0) < ram_mb:
        yield f"it needs {ram_mb} MiB of memory, and there are {source.device.ram_mb or 'unknown'}"


def _numbers(version: str) -> list[int]:
    """The numbers that a version begins with, without zeros at their end: 2.10 is above 2.9, and 2.0 is 2."""
    found = re.match(r"v?([0-9]+(?:\.[0-9]+)*)", version.strip())
    numbers = [int(each[:18]) for each in found[1].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def compare(manifest: Manifest, target: Target, model: str, version: int) -> None:
    """See that a bundle is of what it was signed as; raises Refused."""
    if (manifest.model, manifest.version) != (model, version):
        raise Refused(f"{target.path} holds {manifest.model}/{manifest.version}, and not {model}/{version}")
    runtime = target.custom.get("runtime", manifest.runtime)
    if manifest.runtime != runtime:
        raise Refused(f"{target.path} holds a model for {manifest.runtime}, and not for {runtime}")


def _offer(fields: dict[str, Any]) -> Offer:
    delta = fields.get("delta")
    offer = Offer(
        version=_field(fields, "version", int),
        target=_field(fields, "target", str),
        sha256=_field(fields, "sha256", str),
        delta=_field(delta, "target", str) if isinstance(delta, dict) else None,
        poll_s=poll_s_of(fields.get("poll_s")),
    )
    for name in (offer.target, offer.delta):
        if name is not None and not _TARGET.fullmatch(name):
            raise Offline(f"target: the server offers {name!r:.80}, which is no target's path")
    return offer


def poll_s_of(value: object) -> float | None:
    """The seconds after which the server wants to be asked again, within reason."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:  # noqa: PLR0124  # NaN
        return None
    return float(min(max(value, _SHORTEST_POLL_S), _LONGEST_POLL_S))  # bounded first: not every integer has a float


def _field(fields: dict[str, Any], name: str, kind: type[Any]) -> Any:
    value = fields.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Offline(f"{name}: the server answered {brief(value)}, expected {kind.__name__}")
    return value
