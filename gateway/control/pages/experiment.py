"""An experiment's page, and what its forms do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from fastapi import Response

from adapters.errors import InvalidInput, ServingError
from gateway.conduct.desk import ExperimentDesk
from gateway.control.pages.charts.split import split
from gateway.control.pages.evidence import overall, sections
from gateway.control.pages.forms import NO_FORM, Form, weight
from gateway.control.pages.guards import guards
from gateway.control.pages.site import Site
from gateway.errors import ModelNotFound
from gateway.experiments.report import Look, View

_EVENTS: Final = 50


async def show_experiment(
    site: Site, model: str, name: str, form: Form = NO_FORM, http_status: int = 200, done: str = ""
) -> Response:
    """The page; raises ModelNotFound."""
    desk = desk_of(site)
    view, (looks, looks_problem), (events, events_problem) = await asyncio.gather(
        desk.view(model, name), _looks(desk, model, name), site.events(model, name, _EVENTS)
    )
    drawn = await asyncio.to_thread(sections, view, looks)
    return await site.renderer.page(
        "experiment.html",
        http_status,
        view=view,
        definition=view.definition,
        overall=overall(view),
        split=_split(view),
        sections=drawn,
        guards=guards(view),
        problems=[*view.problems, *([looks_problem] if looks_problem else [])],
        events=events,
        events_problem=events_problem,
        form=form,
        done=done,
    )


def desk_of(site: Site) -> ExperimentDesk:
    """Who is asked for experiments; raises ModelNotFound where this gateway conducts none."""
    if site.desk is None:
        raise ModelNotFound("this gateway conducts no experiments")
    return site.desk


async def _looks(desk: ExperimentDesk, model: str, name: str) -> tuple[Sequence[Look], str]:
    """The looks; and why there are none, where they cannot be read: the rest of the page is worth showing."""
    try:
        return await desk.looks(model, name), ""
    except ModelNotFound:
        raise
    except ServingError as error:
        return [], f"the pictures over time cannot be drawn: {error}"


def _split(view: View) -> object:
    names = [each.name for each in view.variants]
    weights = [each.weight for each in view.variants]
    bars = [("as set", [each / (sum(weights) or 1.0) for each in weights])]
    if any(each.requests for each in view.variants):
        bars.append(("as seen", [each.share for each in view.variants]))
    return split(bars, names) if names else None


async def change_experiment(site: Site, model: str, name: str, form: Form) -> str:
    """Do what a form asks; gives what was done. Raises as the desk does."""
    desk, who = desk_of(site), form.who
    match form.act:
        case "weights":
            variants = desk.definition(model, name).variants
            weights = {each.name: weight(each.name, form.fields.get(f"weight-{each.name}", "")) for each in variants}
            _check_whole(sum(weights.values()))
            await desk.set(model, name, {"weights": weights}, who)
        case "start":
            await desk.start(model, name, who)
        case "stop":
            await desk.stop(model, name, who, form.text("reason")[:500])
        case "promote":
            if not form.text("variant"):
                raise InvalidInput("variant: choose the one to promote")
            await desk.promote(model, name, form.text("variant"), who)
        case "remove":
            await desk.remove(model, name, who)
        case other:
            raise InvalidInput(f"act: expected weights, start, stop, promote or remove, got {other!r:.40}")
    return form.act


def _check_whole(total: float) -> None:
    if abs(total - 100.0) > 0.01:
        raise InvalidInput(f"weights: expected 100 % together, got {total:g} %")
