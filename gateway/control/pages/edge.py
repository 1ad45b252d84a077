"""The page of deliveries to devices: channels, rollouts, what devices reported; and the way to stop one."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import Response

from adapters.errors import InvalidInput
from gateway.control.pages.forms import NO_FORM, Form
from gateway.control.pages.site import Site
from gateway.edge.desk import EdgeDesk
from gateway.errors import ModelNotFound

_EVENTS: Final = 12


async def show_edge(site: Site, form: Form = NO_FORM, http_status: int = 200, done: str = "") -> Response:
    """The page; raises ModelNotFound where this gateway delivers nothing to devices."""
    desk = edge_of(site)
    (channels, problems), (events, events_problem) = await asyncio.gather(desk.look(), site.events(limit=10 * _EVENTS))
    return await site.renderer.page(
        "edge.html",
        http_status,
        edge=desk,
        channels=channels,
        problems=problems,
        events=[each for each in events if each.action.startswith("rollout ")][:_EVENTS],
        events_problem=events_problem,
        form=form,
        shown=_EVENTS,
        done=done,
    )


async def change_rollout(site: Site, form: Form) -> str:
    """Do what the form says; gives its act. Raises as EdgeDesk does."""
    desk, reason, act = edge_of(site), form.text("reason")[:300] or "by hand", form.act.partition(":")[0]
    of = form.text("model"), form.text("channel"), reason, form.who
    if act == "halt":
        await desk.halt(*of)
    elif act == "rollback":
        await desk.roll_back(*of, seen=form.text("seen"))
    else:
        raise InvalidInput(f"act: expected halt or rollback, got {form.act!r:.40}")
    return act


def edge_of(site: Site) -> EdgeDesk:
    """Who is asked; raises ModelNotFound where this gateway delivers nothing to devices."""
    if site.edge is None:
        raise ModelNotFound("this gateway delivers nothing to devices; torii serve --edge EDGE_DIR does")
    return site.edge
