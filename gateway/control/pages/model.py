"""A model's page: its signature, deployments, labels and experiments, and one request to two of its deployments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from fastapi import Response

from adapters.errors import InvalidInput, ServingError
from adapters.tensors import DataType, Signature, TensorSpec, show_shape
from gateway.control.pages.comparison import Comparison, compare
from gateway.control.pages.forms import NO_FORM, Form, status_of
from gateway.control.pages.site import ModelRows, Site
from gateway.control.pages.verdict import told
from gateway.errors import ModelNotFound
from gateway.types import Deployment, State

_EVENTS: Final = 20
_EXAMPLE_VALUES: Final = 4096
"""More zeros than that are nothing to look at, or to change by hand."""


@dataclass(frozen=True, slots=True)
class SignatureOf:
    """A signature, and the deployments that have it."""

    inputs: Sequence[tuple[str, str, str]]
    outputs: Sequence[tuple[str, str, str]]
    deployments: Sequence[str]


async def show_model(site: Site, model: str, form: Form = NO_FORM, http_status: int = 200, done: str = "") -> Response:
    """The page; raises ModelNotFound."""
    return await _show(site, model, form, http_status, done=done)


async def change_label(site: Site, model: str, form: Form) -> str:
    """Move a label, or take it away; gives what was done. Raises as Labels does."""
    label = form.text("label")
    if form.act == "remove-label":
        await site.labels.remove(model, label, form.who)
        return "label-removed"
    version = form.text("version")
    if not version.isascii() or not version.isdigit():
        raise InvalidInput(f"version: expected a positive integer, got {version!r:.40}")
    await site.labels.set(model, label, int(version[:20]), form.who)
    return "label-moved"


async def show_comparison(site: Site, model: str, form: Form) -> Response:
    """The page, with what two deployments said to the request in the form, or what was wrong with it."""
    rows = await _rows(site, model)
    try:
        first, second = (_chosen(rows, form, name) for name in ("first", "second"))
        comparison = await compare(site.inference_url(), first, second, form.fields.get("request", ""))
    except ServingError as error:
        return await _show(site, model, form.refused(error), status_of(error))
    return await _show(site, model, form, comparison=comparison)


async def _rows(site: Site, model: str) -> ModelRows:
    status, traffic = await site.status()
    for each in site.models(status, traffic):
        if each.name == model:
            return each
    raise ModelNotFound(f"model '{model:.80}' is not here; the overview has all there are")


def _chosen(rows: ModelRows, form: Form, field: str) -> Deployment:
    name = form.text(field)
    if name not in rows.ready:
        there = ", ".join(rows.ready) or "none"
        raise InvalidInput(f"{field}: expected a deployment of this model that is ready ({there}), got {name!r:.80}")
    return Deployment.parse(name)


async def _show(
    site: Site,
    model: str,
    form: Form,
    http_status: int = 200,
    *,
    comparison: Comparison | None = None,
    done: str = "",
) -> Response:
    (status, traffic), experiments, (events, events_problem), certificates, verdicts = await asyncio.gather(
        site.status(),
        site.experiments(model),
        site.events(model, limit=_EVENTS),
        site.certificates.of_model(model),
        site.verdicts(model),
    )
    rows = next((each for each in site.models(status, traffic) if each.name == model), None)
    if rows is None:
        raise ModelNotFound(f"model '{model:.80}' is not here; the overview has all there are")
    signatures = _signatures(site, model)
    return await site.renderer.page(
        "model.html",
        http_status,
        rows=rows,
        traffic=traffic,
        signatures=[_told(signature, deployments) for signature, deployments in signatures],
        example=_example(signatures[0][0]) if signatures else "",
        experiments=experiments,
        certificates=certificates,
        verdicts=[told(each, status) for each in verdicts[0]],
        verdicts_problem=verdicts[1],
        problems=site.problems(status, model),
        events=events,
        events_problem=events_problem,
        form=form,
        comparison=comparison,
        done=done,
    )


def _signatures(site: Site, model: str) -> list[tuple[Signature, list[str]]]:
    """Different signatures, those of the newest versions first."""
    found: list[tuple[Signature, list[str]]] = []
    for record in sorted(site.control.records, key=lambda each: -each.deployment.version):
        if record.deployment.model != model or record.endpoint is None or record.state is not State.READY:
            continue
        signature, name = record.endpoint.signature, str(record.deployment)
        known = next((names for each, names in found if each == signature), None)
        if known is None:
            found.append((signature, [name]))
        else:
            known.append(name)
    return found


def _told(signature: Signature, deployments: Sequence[str]) -> SignatureOf:
    def tell(specs: Sequence[TensorSpec]) -> list[tuple[str, str, str]]:
        return [(each.name, str(each.datatype), show_shape(each.shape)) for each in specs]

    return SignatureOf(tell(signature.inputs), tell(signature.outputs), deployments)


def _example(signature: Signature) -> str:
    """A request of zeros that fits, in V2's form: any size is 1."""
    tensors = [json.dumps(_zeros(each)) for each in signature.inputs]
    return '{"inputs": [\n  ' + ",\n  ".join(tensors) + "\n]}"


def _zeros(spec: TensorSpec) -> Mapping[str, Any]:
    shape = [1 if size is None else size for size in spec.shape or (1,)]
    zero: Any = {DataType.BYTES: "", DataType.BOOL: False}.get(spec.datatype, 0)
    count = prod(shape)
    data = [zero] * count if count <= _EXAMPLE_VALUES else []
    return {"name": spec.name, "shape": shape, "datatype": str(spec.datatype), "data": data}
