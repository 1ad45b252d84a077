"""Tensors of every datatype and shape, for tests of what has to hold for all of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from adapters.tensors import DataType, Tensor

SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
"""Scalars, and axes of size 0, are among them."""


@st.composite
def tensors(
    draw: st.DrawFn,
    datatypes: Iterable[DataType] = tuple(DataType),
    shapes: st.SearchStrategy[tuple[int, ...]] = SHAPES,
    elements: st.SearchStrategy[bytes] | None = None,
) -> Tensor:
    """Any bits at all: NaNs of every payload, infinities, denormals; `elements` are those of BYTES."""
    datatype = draw(st.sampled_from(list(datatypes)))
    shape = draw(shapes)
    count = int(np.prod(shape, dtype=int))
    if datatype is DataType.BYTES:
        array = np.empty(count, np.object_)
        array[:] = draw(
            st.lists(st.binary(max_size=12) if elements is None else elements, min_size=count, max_size=count)
        )
        return array.reshape(shape)
    size = count * datatype.dtype.itemsize
    bits = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8)
    if datatype is DataType.BOOL:
        bits = bits & 1
    return bits.view(datatype.dtype).reshape(shape)


def same(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors are equal to the last bit, in datatype and shape too."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype == object:
        return bool(left.ravel().tolist() == right.ravel().tolist())
    return left.tobytes() == right.tobytes()


def widened(tensor: Tensor) -> Tensor:
    """Numbers as FP64; a signalling NaN among them is no reason for a warning."""
    with np.errstate(invalid="ignore"):
        return tensor.astype(np.float64)
