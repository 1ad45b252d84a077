"""The list of all experiments, and the form that writes a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Response

from adapters.errors import InvalidInput
from gateway.control.pages.experiment import desk_of
from gateway.control.pages.forms import NO_FORM, Form, weight
from gateway.control.pages.site import ModelRows, Site
from gateway.types import Deployment

_EVENTS: Final = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """A deployment that a variant may be: with a name that suggests itself, and a weight."""

    deployment: str
    name: str
    weight: str


async def show_experiments(
    site: Site, model: str = "", form: Form = NO_FORM, http_status: int = 200, done: str = ""
) -> Response:
    """The page; `model` is whose deployments the form offers."""
    desk_of(site)
    (status, traffic), experiments, (events, events_problem) = await asyncio.gather(
        site.status(), site.experiments(), site.events(limit=_EVENTS)
    )
    models = [each for each in site.models(status, traffic) if each.ready]
    wanted = form.text("model") or model
    chosen = next((each for each in models if each.name == wanted), models[0] if models else None)
    return await site.renderer.page(
        "experiments.html",
        http_status,
        experiments=experiments,
        problems=site.experiment_problems(),
        models=[each.name for each in models],
        chosen=chosen.name if chosen else "",
        choices=choices(chosen) if chosen else [],
        events=events,
        events_problem=events_problem,
        form=form,
        done=done,
    )


def choices(model: ModelRows) -> Sequence[Choice]:
    """What is ready of a model; two of one version, or of one backend, are suggested at 50 % each."""
    deployments = [Deployment.parse(each) for each in model.ready]
    several_versions = len({each.version for each in deployments}) > 1
    several_backends = len({each.backend for each in deployments}) > 1
    found = []
    for index, each in enumerate(deployments):
        parts = [each.backend] if several_backends or not several_versions else []
        parts += [f"v{each.version}"] if several_versions else []
        half = "50" if len(deployments) > 1 and index < 2 else ""
        found.append(Choice(str(each), "-".join(parts), half))
    return found


async def create_experiment(site: Site, form: Form) -> tuple[str, str]:
    """Write what the form says; gives model and name. Raises as the desk does."""
    model, name = form.text("model"), form.text("name")
    definition = await desk_of(site).create(model, name, _document(form, model), form.who)
    return definition.model, definition.name


def _document(form: Form, model: str) -> dict[str, Any]:
    variants: dict[str, Any] = {}
    control = ""
    for field, text in form.fields.items():
        target = field.removeprefix("weight-")
        if target == field or not text.strip():
            continue
        deployment = Deployment.parse(target)
        if deployment.model != model:
            raise InvalidInput(f"weight of {target}: expected a deployment of {model!r:.80}")
        variant = form.text(f"name-{target}")
        if not variant or variant in variants:
            raise InvalidInput(f"variant of {target}: expected a name that no other has, got {variant!r:.80}")
        variants[variant] = {"target": target, "weight": weight(variant, text)}
        if form.text("control") == target:
            control = variant
    if len(variants) < 2:
        raise InvalidInput("variants: expected two at least; give two deployments a weight")
    if form.text("control") and not control:
        raise InvalidInput("control: expected one of those that have a weight")
    total = sum(each["weight"] for each in variants.values())
    if abs(total - 100.0) > 0.01:
        raise InvalidInput(f"weights: expected 100 % together, got {total:g} %")
    document = {"variants": variants, **({"control": control} if control else {})}
    return {**({"description": form.text("description")[:500]} if form.text("description") else {}), **document}
