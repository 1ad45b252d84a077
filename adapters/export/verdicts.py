"""From figures and a tolerance to what stands against an export, in words: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.export.figures import Accuracy, OutputParity
from adapters.export.tolerances import Tolerance

_ROUNDING = 1e-12
"""Shares such as 0.97 are not exact in binary: what is equal to rounding is not below."""


def reasons_against(outputs: Sequence[OutputParity], accuracy: Accuracy | None, tolerance: Tolerance) -> list[str]:
    """Why an export is not the same model to this tolerance; empty where it is.

    Each names the figure, what was found, what is tolerated, and what to call it when asking for another tolerance.
    """
    found = [reason for output in outputs for reason in _against(output, tolerance)]
    if accuracy is not None and accuracy.before - accuracy.after > tolerance.accuracy_loss + _ROUNDING:
        found.append(
            f"output '{accuracy.output}': {_percent(accuracy.after)} of {accuracy.rows} labelled rows are right, where "
            f"the source has {_percent(accuracy.before)}; at most {_percent(tolerance.accuracy_loss)} may be lost "
            "(accuracy_loss)"
        )
    return found


def largest_allowed(output: OutputParity, tolerance: Tolerance) -> float:
    """The largest difference that is tolerated in an output, in its own unit."""
    return tolerance.largest * output.scale


def _against(output: OutputParity, tolerance: Tolerance) -> Iterator[str]:
    name = f"output '{output.export}'"
    yield from _not_numbers(name, output)
    if output.counted:
        if output.equal < tolerance.argmax - _ROUNDING:
            yield (
                f"{name}: {_percent(output.equal)} of {output.elements} elements are the same; "
                f"at least {_percent(tolerance.argmax)} are needed (argmax)"
            )
        return
    yield from _too_far(name, output, tolerance)
    if output.cosine is not None and output.cosine < tolerance.cosine - _ROUNDING:
        yield f"{name}: cosine {output.cosine:.6g}; at least {tolerance.cosine:g} is needed (cosine)"
    if output.argmax is not None and output.argmax < tolerance.argmax - _ROUNDING:
        yield (
            f"{name}: {_percent(output.argmax)} of the rows have the same best class; "
            f"at least {_percent(tolerance.argmax)} are needed (argmax)"
        )


def _not_numbers(name: str, output: OutputParity) -> Iterator[str]:
    if output.nans_source:
        yield f"{name}: the source itself gives {output.nans_source} NaN here: nothing can be compared by them"
    if output.nans_export:
        yield f"{name}: {output.nans_export} of {output.elements} elements are NaN"
    if output.infinities:
        yield f"{name}: {output.infinities} of {output.elements} elements are infinite on one side only"


def _too_far(name: str, output: OutputParity, tolerance: Tolerance) -> Iterator[str]:
    compared = [("largest", "largest difference", output.largest, tolerance.largest)]
    compared += [("mean", "mean difference", output.mean, tolerance.mean)]
    if output.golden_export is not None:
        compared += [("largest", "largest difference to the golden outputs", output.golden_export, tolerance.largest)]
    for field, what, difference, share in compared:
        if difference > share * output.scale * (1 + _ROUNDING):
            row = f" in row {output.largest_in_row}" if what == "largest difference" else ""
            part = (
                f", {difference / output.scale:.3g} of the source's largest value {output.scale:.4g}"
                if output.scale
                else ""
            )
            yield f"{name}: {what} {difference:.4g}{row}{part}; at most {share:g} of it is tolerated ({field})"


def _percent(share: float) -> str:
    return f"{share * 100:.4g} %"
