"""What was found, in sentences with numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gateway.experiments.definition import Kind, Metric
from gateway.experiments.report import Comparison, SampleRatio, Verdict
from gateway.experiments.statistics.contrast import Contrast, relative

_STANDING = {
    Verdict.BETTER: "is better than",
    Verdict.WORSE: "is worse than",
    Verdict.SAME: "is in practice the same as",
    Verdict.UNDECIDED: "is not yet told from",
}


def of_comparison(
    metric: Metric, names: tuple[str, str], verdict: Verdict, contrast: Contrast, distance: float, more: int | None
) -> str:
    """One comparison; `names` are the variant's and control's, `distance` is what the intervals reach."""
    variant, control = names
    values = f"{_value(metric, contrast.variant.value)} against {_value(metric, contrast.control.value)}"
    standing = f"{variant} {_STANDING[verdict]} {control} in {title(metric)}"
    sentence = f"{standing}: {values} ({_change(metric, contrast, distance)})."
    if verdict is not Verdict.UNDECIDED:
        return sentence
    if more is None:
        return f"{sentence} How many values a decision takes cannot be told yet."
    return f"{sentence} About {more:,} more values of each should decide it."


def too_few(metric: Metric, names: tuple[str, str]) -> str:
    """A comparison without values."""
    return f"{names[0]} is not yet told from {names[1]} in {title(metric)}: too few values."


def of_analysis(
    comparisons: Sequence[Comparison], verdicts: Mapping[str, Verdict], control: str, ratio: SampleRatio
) -> str:
    """The run as a whole."""
    sentences = [ratio.words] if ratio.alarm else []
    for variant, verdict in verdicts.items():
        of = {each.metric: each.verdict for each in comparisons if each.variant == variant}
        better = ", ".join(name for name, found in of.items() if found is Verdict.BETTER)
        worse = ", ".join(name for name, found in of.items() if found is Verdict.WORSE)
        if better and worse:
            sentences.append(
                f"{variant} is better than {control} in {better} and worse in {worse}: that is to be weighed."
            )
        elif better and verdict is not Verdict.BETTER:
            sentences.append(
                f"{variant} is better than {control} in {better}; whether it does harm elsewhere is not yet told."
            )
        else:
            reason = f" ({better or worse})" if better or worse else ""
            sentences.append(f"{variant} {_STANDING[verdict]} {control}{reason}.")
    return " ".join(sentences)


def title(metric: Metric) -> str:
    """A metric's name, with its quantile."""
    return f"{metric.name} p{metric.quantile * 100:g}" if metric.kind is Kind.QUANTILE else metric.name


def _value(metric: Metric, value: float) -> str:
    if not relative(metric):
        return f"{100 * value:.4g} %"
    number = f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return f"{number} ms" if metric.name.endswith("_ms") else number


def _change(metric: Metric, contrast: Contrast, distance: float) -> str:
    if not relative(metric):
        low, high = contrast.difference_interval(distance)
        return f"{_signed(contrast.difference)} points, interval {_signed(low)} to {_signed(high)}"
    low, high = contrast.ratio_interval(distance)
    if contrast.ratio is None or not math.isfinite(low):
        low, high = contrast.difference_interval(distance)
        bounds = f"interval {low:+.3g} to {high:+.3g}" if math.isfinite(low) else "no interval yet"
        return f"{contrast.difference:+.3g}, {bounds}"
    return f"{_signed(contrast.ratio - 1, ' %')}, interval {_signed(low - 1, ' %')} to {_signed(high - 1, ' %')}"


def _signed(part: float, unit: str = "") -> str:
    """A part in hundredths, to two digits or whole."""
    if not math.isfinite(part):
        return "unbounded"
    hundredths = 100 * part
    return (f"{hundredths:+.0f}" if abs(hundredths) >= 10 else f"{hundredths:+.2g}") + unit
