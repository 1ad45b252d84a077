"""What is asked for: an export as people and the control API name it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from adapters.errors import InvalidInput
from adapters.export.formats import Form, form_named
from adapters.export.tolerances import tolerance_for
from gateway.types import MODEL_NAME

_MOST_SIZES = 16
_MOST_CHARACTERS = 300


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One export: what of, and to what.

    `shapes` are fixed shapes by input, batch axis included, and `batch` is a fixed batch; `tolerance` are figures that
    replace the precision's own; `replace` is whether an artifact that is there may be replaced.
    """

    model: str
    version: Annotated[int, msgspec.Meta(ge=1, lt=10**18)]
    to: str
    quantize: str | None = None
    shapes: Mapping[str, tuple[Annotated[int, msgspec.Meta(ge=1, lt=2**31)], ...]] = {}
    batch: Annotated[int, msgspec.Meta(ge=1, le=65536)] | None = None
    tolerance: Mapping[str, float] = {}
    replace: bool = False

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"

    @property
    def form(self) -> Form:
        """The format and precision; raises InvalidInput where there is none of these names."""
        return form_named(self.to, self.quantize)


class Asked(Order, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An order as it comes over HTTP: `calibration` is an .npz, as base64; without it, golden.npz serves."""

    calibration: bytes = b""


def read_order(body: bytes) -> tuple[Order, bytes]:
    """An order out of JSON, and the calibration data that came with it.

    Raises:
        InvalidInput: it is no order; names the field.
    """
    try:
        asked = msgspec.json.decode(body, type=Asked)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"body: {error!s:.300}") from None
    fields: dict[str, Any] = {name: getattr(asked, name) for name in Order.__struct_fields__}
    return checked(Order(**fields)), asked.calibration


def checked(order: Order) -> Order:
    """The order, if it is one that could be carried out; raises InvalidInput."""
    if not MODEL_NAME.fullmatch(order.model):
        raise InvalidInput(f"model {order.model!r:.80}: expected a name of a-z 0-9 . _ - (64 at most)")
    if len(order.shapes) > _MOST_SIZES or any(len(shape) > _MOST_SIZES for shape in order.shapes.values()):
        raise InvalidInput(f"shapes: expected at most {_MOST_SIZES} inputs, of at most {_MOST_SIZES} axes")
    if any(len(name) > _MOST_CHARACTERS for name in order.shapes):
        raise InvalidInput(f"shapes: expected names of at most {_MOST_CHARACTERS} characters")
    tolerance_for(order.form.precision, order.tolerance)
    return order
