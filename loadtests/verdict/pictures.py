"""A verdict's pictures as SVG: latencies with their intervals, and the rates that keep the target."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any, Final

from loadtests.verdict.document import Estimate, Verdict
from loadtests.verdict.words import amount

_COLOURS: Final = ("#0b6bcb", "#b54708", "#5b5f66", "#0a7a45")
"""Each has a contrast of 4.5 to white at least; marks differ in shape, too."""

_WIDTH_IN: Final = 7.0
_LONGEST_NAME: Final = 32


def latencies(verdict: Verdict) -> str:
    """p50 and p99, alone and at the rate, with intervals, on a logarithmic axis; empty where none were measured."""
    series = [
        ("p50 alone", "o", [row.alone_p50_ms for row in verdict.rows]),
        ("p99 alone", "s", [row.alone_p99_ms for row in verdict.rows]),
        ("p50 at the rate", "^", [row.p50_ms for row in verdict.rows]),
        ("p99 at the rate", "D", [row.p99_ms for row in verdict.rows]),
    ]
    target = verdict.settings.latency_target_ms
    title = "Latency, ms" + (f"; the target for p99 is {amount(target)} ms" if target else "")
    return _picture(verdict, series, title, target, logarithmic=True)


def rates(verdict: Verdict) -> str:
    """The highest rate under the target, with intervals; empty where none was found."""
    target = verdict.settings.latency_target_ms
    title = f"Highest rate, requests/s, that keeps p99 within {amount(target)} ms"
    return _picture(verdict, [("highest rate", "o", [row.highest_rate for row in verdict.rows])], title, None)


def _picture(
    verdict: Verdict,
    series: Sequence[tuple[str, str, Sequence[Estimate | None]]],
    title: str,
    bound: float | None,
    logarithmic: bool = False,
) -> str:
    if not any(each for _, _, estimates in series for each in estimates):
        return ""
    from matplotlib.figure import Figure  # noqa: PLC0415  # takes its time, and only --html needs it

    figure: Any = Figure(figsize=(_WIDTH_IN, 0.9 + 0.5 * len(verdict.rows)), layout="constrained")
    axes = figure.add_subplot()
    for number, (label, marker, estimates) in enumerate(series):
        _series(axes, label, marker, _COLOURS[number], (len(series) - 1) / 2 - number, estimates)
    if bound:
        axes.axvline(bound, color="#a11", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(verdict.rows)), [row.backend[:_LONGEST_NAME] for row in verdict.rows])
    axes.set_ylim(len(verdict.rows) - 0.5, -0.5)
    axes.set_title(title, loc="left", fontsize=10)
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    else:
        axes.set_xlim(left=0)
    axes.grid(axis="x", color="#ddd", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return _svg(figure, title)


def _series(
    axes: Any, label: str, marker: str, colour: str, place: float, estimates: Sequence[Estimate | None]
) -> None:
    found = [(y - place * 0.16, each) for y, each in enumerate(estimates) if each and each.value > 0]
    if not found:
        return
    values = [each.value for _, each in found]
    reach = [[each.value - each.low for _, each in found], [each.high - each.value for _, each in found]]
    heights = [y for y, _ in found]
    axes.errorbar(values, heights, xerr=reach, fmt=marker, color=colour, label=label, markersize=5, capsize=3)


def _svg(figure: Any, title: str) -> str:
    written = io.StringIO()
    from matplotlib import rc_context  # noqa: PLC0415

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif"}):
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r'<svg([^>]*?) (?:width|height)="[^"]*"', r"<svg\1", svg, count=1)
