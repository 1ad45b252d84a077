"""Which bundle a device is to have: answered from memory."""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec
from aiohttp import hdrs, web
from multidict import MultiMapping

from adapters.errors import InvalidInput
from gateway.edge.channel_file import CHANNEL_NAME
from gateway.edge.channels import candidates
from gateway.edge.devices import Device, app_version
from gateway.edge.server.catalog import Catalog
from gateway.edge.server.state import STATE
from gateway.types import MODEL_NAME

_WORD: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MEGABYTES: Final = re.compile(r"[1-9][0-9]{0,8}")
_FIELDS: Final = ("channel", "os", "arch", "runtime", "ram_mb", "app", "id", "have")


class Delta(msgspec.Struct, frozen=True):
    """A smaller file that makes the bundle from the one that the device has."""

    target: str
    sha256: str
    length: int


class Offer(msgspec.Struct, frozen=True):
    """What a device is to have; `target` is a path of the signed list, and only what that says is to be trusted."""

    model: str
    channel: str
    version: int
    target: str
    sha256: str
    length: int
    delta: Delta | None
    stage: Literal["rollout", "current"]
    poll_s: int


class Question(msgspec.Struct, frozen=True):
    """What a device asks with; `have` is the digest of the bundle that it has, empty where it has none."""

    channel: str
    device: Device
    have: str


async def check(request: web.Request) -> web.Response:
    """The bundle of a model for a device; 204 where there is none for it."""
    model = request.match_info["model"]
    if not MODEL_NAME.fullmatch(model):
        raise InvalidInput(f"model {model!r:.80}: expected a name of a-z 0-9 . _ - (64 at most)")
    state = request.app[STATE]
    found = offer(state.watch.catalog, model, read_question(request.query), state.charge.poll_s)
    headers = {hdrs.CACHE_CONTROL: "no-store"}
    if found is None:
        return web.Response(status=204, headers=headers)
    return web.Response(body=msgspec.json.encode(found), content_type="application/json", headers=headers)


def offer(catalog: Catalog, model: str, question: Question, poll_s: int) -> Offer | None:
    """The first of the versions that a device may have of which there is a bundle for it. Raises ModelNotFound."""
    file = catalog.channel_file(model)
    rollout = file.channel(question.channel).rollout
    for version in candidates(file, question.channel, question.device):
        bundle = catalog.bundle(model, version, question.device)
        if bundle is None:
            continue
        target = bundle.target
        delta = catalog.deltas.get((question.have, target.path))
        rolling = rollout is not None and rollout.state == "running" and rollout.version == version
        return Offer(
            model=model,
            channel=question.channel,
            version=version,
            target=target.path,
            sha256=target.sha256,
            length=target.length,
            delta=Delta(delta.path, delta.sha256, delta.length) if delta else None,
            stage="rollout" if rolling else "current",
            poll_s=poll_s,
        )
    return None


def read_question(query: MultiMapping[str]) -> Question:
    """A question's fields; raises InvalidInput, which names the wrong one."""
    for name in query:
        if name not in _FIELDS:
            raise InvalidInput(f"{name!r:.40}: expected one of {', '.join(_FIELDS)}")
        if (times := len(query.getall(name))) > 1:
            raise InvalidInput(f"{name}: expected it once, got it {times} times")
    ram_mb = _field(query, "ram_mb", _MEGABYTES, "a whole number of MiB")
    app = query.get("app", "")
    if app and app_version(app) is None:
        raise InvalidInput(f"app: expected a version, as 2.1.0, got {app!r:.80}")
    device = Device(
        id=_field(query, "id", _ID, "1 to 128 printable characters of ASCII"),
        os=_field(query, "os", _WORD, "the device's system, as android", required=True),
        arch=_field(query, "arch", _WORD, "the processor's architecture, as arm64"),
        runtime=_field(query, "runtime", _WORD, "what runs models there, as tflite"),
        app=app,
        ram_mb=int(ram_mb) if ram_mb else None,
    )
    channel = _field(query, "channel", CHANNEL_NAME, "a channel's name, as stable") or "stable"
    return Question(channel, device, _field(query, "have", _DIGEST, "64 hex digits, in lower case"))


def _field(query: MultiMapping[str], name: str, form: re.Pattern[str], expected: str, required: bool = False) -> str:
    value = query.get(name)
    if value is None:
        if required:
            raise InvalidInput(f"{name}: expected {expected}, got nothing")
        return ""
    if not form.fullmatch(value):
        raise InvalidInput(f"{name}: expected {expected}, got {value!r:.80}")
    return value
