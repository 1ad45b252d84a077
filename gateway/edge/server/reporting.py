"""How devices say how it went: taken into memory at once, and never a reason to wait for a database."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from aiohttp import hdrs, web

from adapters.errors import InvalidInput
from gateway.edge.server import reports
from gateway.edge.server.reports import Refusal, Report
from gateway.edge.server.state import STATE, State
from gateway.edge.server.tally import channel_of, subject_of
from gateway.errors import ModelNotFound, Overloaded

_BODY_S: Final = 20.0
_AGAIN_S: Final = 30.0


class Receipt(msgspec.Struct, frozen=True):
    """What became of the reports of a body."""

    accepted: int
    duplicates: int
    refused: list[Refusal]


async def report(request: web.Request) -> web.Response:
    """Take reports; each that is wrong is refused by itself."""
    state = request.app[STATE]
    # A web page of elsewhere may have a browser post anything but this.
    if request.content_type != "application/json":
        raise InvalidInput(f"content-type: expected application/json, got {request.content_type!r:.80}")
    if encoding := request.headers.get(hdrs.CONTENT_ENCODING):
        raise InvalidInput(f"content-encoding: expected none, got {encoding!r:.80}")
    if state.tally.full:
        raise Overloaded("the store takes no reports just now, and as many wait as may: report again", _AGAIN_S)
    receipt = take(state, await _body(request))
    if receipt.accepted:
        state.steward.wake()
    return web.Response(status=202, body=msgspec.json.encode(receipt), content_type="application/json")


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_S):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"body: expected within {_BODY_S:g} s") from None
    except web.RequestPayloadError as error:
        raise InvalidInput(f"body: {error!s:.200}") from None


def take(state: State, body: bytes) -> Receipt:
    """Count the reports of a body; raises InvalidInput where it is none."""
    accepted, duplicates, refused = 0, 0, []
    for index, raw in enumerate(reports.split(body)):
        try:
            if _take(state, reports.read(raw)):
                accepted += 1
            else:
                duplicates += 1
        except (InvalidInput, ModelNotFound, Overloaded) as error:
            refused.append(Refusal(index, str(error)))
    return Receipt(accepted, duplicates, refused)


def _take(state: State, each: Report) -> bool:
    catalog, tally = state.watch.catalog, state.tally
    bundle = catalog.by_path.get(each.target)
    if bundle is None or (bundle.model, bundle.version) != (each.model, each.version):
        raise InvalidInput(
            f"target: expected the path of a bundle of {each.model}/{each.version} in the signed list, "
            f"got {each.target!r:.100}"
        )
    file = catalog.channels.get(each.model)
    channel = each.channel or channel_of(each, file)
    if each.channel and (file is None or channel not in file.channels):
        raise ModelNotFound(f"channel: expected one of model '{each.model}', got {channel!r:.40}")
    if tally.full:
        tally.dropped += 1
        raise Overloaded("too many reports wait for the store: report it again", _AGAIN_S)
    return tally.take(each, subject_of(each, file, channel))
