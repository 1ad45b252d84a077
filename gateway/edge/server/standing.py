"""`GET /edge/v1/status`: rollouts with their evidence, for people of this machine or with the token."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Any

import msgspec
from aiohttp import hdrs, web

from gateway.edge.channel_file import Channel
from gateway.edge.server.state import STATE, State
from gateway.edge.server.tally import FAULTED, JUDGED
from gateway.errors import NotAllowed
from gateway.experiments.deliveries import Subject

_PASSED_ON = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


async def status(request: web.Request) -> web.Response:
    """All of it, as JSON."""
    state = request.app[STATE]
    _allow(request, state.charge.token)
    return web.Response(
        body=msgspec.json.encode(standing(state)),
        content_type="application/json",
        headers={hdrs.CACHE_CONTROL: "no-store"},
    )


def standing(state: State) -> dict[str, Any]:
    """The server's state: plain data."""
    catalog, tally = state.watch.catalog, state.tally
    return {
        "metadata": {
            role: {"version": signed["version"], "expires": signed.get("expires")}
            for role, signed in catalog.metadata.roles.items()
        },
        "models": {
            model: {name: _channel(state, model, name, each) for name, each in sorted(file.channels.items())}
            for model, file in sorted(catalog.channels.items())
        },
        "reports": {
            "taken": tally.taken,
            "dropped": tally.dropped,
            "waiting": tally.waiting,
            "store": state.saving.problem or "works",
        },
        "details": [each._asdict() for each in tally.details],
        "problems": _problems(state),
    }


def _problems(state: State) -> list[str]:
    signing = state.resigning
    found = [*state.watch.catalog.problems]
    if signing is not None:
        found += [f"timestamp and snapshot cannot be signed: {signing.problem}"] if signing.problem else []
        found += signing.overdue
    return found


def _channel(state: State, model: str, name: str, channel: Channel) -> dict[str, Any]:
    told: dict[str, Any] = {"current": channel.current, "rollout": None, "evidence": {}}
    if channel.rollout is not None:
        told["rollout"] = msgspec.to_builtins(channel.rollout)
    for version in sorted(channel.versions() | ({channel.rollout.version} if channel.rollout else set())):
        told["evidence"][str(version)] = _evidence(state, model, name, version)
    return told


def _evidence(state: State, model: str, channel: str, version: int) -> dict[str, Any]:
    """Of all rollouts of a version in a channel, by the time when each began."""
    found: dict[float, dict[str, Any]] = {}
    for (subject, kind, passed), count in state.tally.counts().items():
        if (subject.model, subject.channel, subject.version) != (model, channel, version):
            continue
        name = kind if kind in (JUDGED, FAULTED) else f"{kind}_{'passed' if passed else 'failed'}"
        found.setdefault(subject.started, {})[name] = count
    for started, told in found.items():
        latencies = state.tally.stored.latencies.get(Subject(model, channel, version, started))
        if latencies is not None:
            told["latency_ms"] = {f"p{share}": latencies.quantile(share / 100) / 1000 for share in (50, 99)}
    return {f"{started:.6f}": told for started, told in sorted(found.items())}


def _allow(request: web.Request, token: str) -> None:
    """Raises NotAllowed. Behind a proxy, everybody comes from this machine: what was passed on needs the token."""
    scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if token:
        if scheme.lower() != "bearer" or not hmac.compare_digest(_bytes(given.strip()), _bytes(token)):
            raise NotAllowed("authorization: expected 'Bearer' and the token of the edge server")
        return
    if not _is_loopback(request.remote or "") or any(each in request.headers for each in _PASSED_ON):
        raise NotAllowed("the status is for this machine alone; with edge_token set, for who has that")
    host = _host(request)
    if not _is_loopback(host) and host != "localhost":
        raise NotAllowed(f"host: expected a name of loopback, got {request.host!r:.100}")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _host(request: web.Request) -> str:
    """The host that is asked for; empty where it is none at all."""
    try:
        return request.url.host or ""
    except ValueError:
        return ""


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
