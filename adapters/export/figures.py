"""The figures of a comparison, as a certificate has them."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

BIN_EXPONENTS: Final = tuple(exponent / 2 for exponent in range(-24, 9))
"""Edges of the histogram's bins: powers of ten, two to a decade."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Figure: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Cosine: TypeAlias = Annotated[float, msgspec.Meta(ge=-1.001, le=1.001)]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=2000)]


class Differences(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many elements differ by how much: not at all, and in the bins between `BIN_EXPONENTS`.

    What is below the first edge, or above the last, is in the first, or the last bin.
    """

    zero: Count
    bins: Annotated[list[Count], msgspec.Meta(min_length=len(BIN_EXPONENTS) - 1, max_length=len(BIN_EXPONENTS) - 1)]


class OutputParity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One output, over all rows: `source` and `export` are what either calls it.

    `scale` is the largest absolute value that the source gave. `largest` and `mean` are of the absolute differences
    where both sides are numbers; `largest_in_row` says in which row. `equal` is the share of elements that are the
    same. `argmax` is the share of rows whose best class is the same, None where the output is no scores of classes.
    `infinities` are elements that are infinite on one side only. `golden_source` and `golden_export` are the largest
    differences to the data's own outputs, where it has this one.
    """

    source: Text
    export: Text
    datatype: Text
    shape: list[int]
    elements: Count
    scale: Figure
    largest: Figure
    largest_in_row: Count
    mean: Figure
    cosine: Cosine | None
    equal: Share
    argmax: Share | None
    nans_source: Count
    nans_export: Count
    infinities: Count
    differences: Differences
    counted: bool
    """Whether the elements are counts or names, which are right or wrong, and not amounts, which are near or far."""
    golden_source: Figure | None = None
    golden_export: Figure | None = None


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shares of labelled rows that an output's best class gets right, by the source and by the export."""

    output: Text
    rows: Count
    before: Share
    after: Share
