"""The graph of conversions, and the routes through it: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from adapters.errors import InvalidInput
from adapters.export.formats import Form, Format, Precision


class NoRoute(InvalidInput):
    """No conversions lead from what there is to what is wanted."""


@dataclass(frozen=True, slots=True)
class Step:
    """One conversion: the module of `adapters.export.steps` that makes `target` of `source`, and where it runs.

    `cost` weighs time, and how far what comes out may stray. `fixes` is whether it takes away free axes, the batch
    axis too.
    """

    name: str
    source: Form
    target: Form
    environment: str = "main"
    cost: int = 1
    fixes: bool = False

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"


Route: TypeAlias = tuple[Step, ...]

_KERAS, _SAVED_MODEL, _TORCHSCRIPT = Form(Format.KERAS), Form(Format.SAVED_MODEL), Form(Format.TORCHSCRIPT)
_EXPORTED, _ONNX, _TFLITE = Form(Format.EXPORTED), Form(Format.ONNX), Form(Format.TFLITE)

STEPS: tuple[Step, ...] = (
    Step("keras_to_saved_model", _KERAS, _SAVED_MODEL),
    *(Step("saved_model_to_tflite", _SAVED_MODEL, Form(Format.TFLITE, each)) for each in Precision),
    Step("saved_model_to_onnx", _SAVED_MODEL, _ONNX, cost=2),
    Step("saved_model_to_tfjs", _SAVED_MODEL, Form(Format.TFJS), "tfjs", cost=2),
    Step("torchscript_to_onnx", _TORCHSCRIPT, _ONNX, cost=2),
    Step("torchscript_to_exported", _TORCHSCRIPT, _EXPORTED, cost=2),
    Step("exported_to_onnx", _EXPORTED, _ONNX, cost=2),
    Step("exported_to_tflite", _EXPORTED, _TFLITE, "litert", cost=3, fixes=True),
    Step("exported_to_executorch", _EXPORTED, Form(Format.PTE), "executorch", cost=2, fixes=True),
    Step("onnx_to_saved_model", _ONNX, _SAVED_MODEL, "onnx2tf", cost=4),
    Step("onnx_to_ort", _ONNX, Form(Format.ORT)),
    Step("onnx_quantized", _ONNX, Form(Format.ONNX, Precision.DYNAMIC)),
    Step("onnx_quantized", _ONNX, Form(Format.ONNX, Precision.INT8)),
)


def routes(have: Collection[Form], want: Form, *, fixed: bool = False) -> list[Route]:
    """Every way from one of the sources `have` to `want`, the one to try first in front; raises NoRoute.

    A way that keeps free axes comes before one that fixes them, unless `fixed` says that they shall be; then the
    cheapest is first. None leads through another source: starting there is shorter.
    """
    found = [route for source in have if source != want for route in _onward((), source, want, frozenset(have))]
    if not found:
        raise NoRoute(_no_route(have, want))
    return sorted(found, key=lambda route: (not fixed and loses_free_axes(route), cost(route), len(route)))


def route(have: Collection[Form], want: Form, *, fixed: bool = False) -> Route:
    """The first of `routes`."""
    return routes(have, want, fixed=fixed)[0]


def cost(route: Route) -> int:
    """The sum over its steps."""
    return sum(step.cost for step in route)


def loses_free_axes(route: Route) -> bool:
    """Whether one of its steps fixes the shapes of inputs."""
    return any(step.fixes for step in route)


def _onward(taken: Route, form: Form, want: Form, barred: frozenset[Form]) -> Iterator[Route]:
    for step in STEPS:
        if step.source != form or (step.target in barred and step.target != want):
            continue
        if step.target == want:
            yield (*taken, step)
        else:
            yield from _onward((*taken, step), step.target, want, barred | {step.target})


def _no_route(have: Collection[Form], want: Form) -> str:
    there = ", ".join(str(form) for form in sorted(have)) or "nothing that could be converted"
    sources = [form for form in sorted({step.source for step in STEPS}) if any(_onward((), form, want, frozenset()))]
    if not sources:
        return f"nothing is converted to {want}; expected one of {', '.join(targets())}"
    return (
        f"no way to {want} from what the version has ({there}); put one of these there: {', '.join(map(str, sources))}"
    )


def targets() -> list[str]:
    """What can be made at all."""
    return sorted({str(step.target) for step in STEPS})
