"""The first page: all that is served, what is wrong with it, and what was changed lately."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from fastapi import Response

from gateway.control.pages.site import Site
from gateway.types import State

_EVENTS: Final = 12


async def show_overview(site: Site) -> Response:
    """The page."""
    (status, traffic), experiments, (events, events_problem) = await asyncio.gather(
        site.status(), site.experiments(running_only=True), site.events(limit=_EVENTS)
    )
    counts = Counter(each.state for each in status.deployments)
    return await site.renderer.page(
        "overview.html",
        status=status,
        traffic=traffic,
        models=site.models(status, traffic),
        counts=[(state, counts[state]) for state in State if counts[state]],
        experiments=experiments,
        problems=site.problems(status),
        missing=[each for each in status.backends if each.missing],
        events=events,
        events_problem=events_problem,
    )
