"""All that is known of a run, made into all that it means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.experiments.definition import Definition, Metric
from gateway.experiments.evidence import Observations
from gateway.experiments.report import Analysis, Bayes, Comparison, Estimate, SampleRatio, VariantMetric, Verdict
from gateway.experiments.statistics import words
from gateway.experiments.statistics.arms import quantile
from gateway.experiments.statistics.bayes import posterior
from gateway.experiments.statistics.contrast import Contrast
from gateway.experiments.statistics.multiplicity import holm, levels
from gateway.experiments.statistics.sample_ratio import sample_ratio
from gateway.experiments.statistics.strata import Strata
from gateway.experiments.statistics.verdicts import decide, harmless, needed, overall

_UNKNOWN = Estimate(None, None, None)
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class _Pair:
    """A metric of a variant beside control's; None: too few values to compare."""

    metric: Metric
    variant: str
    contrast: Contrast | None


def analyse(definition: Definition, observations: Observations) -> Analysis:
    """What the evidence of a run says now. Looking again, as often as one likes, costs nothing of its validity."""
    alpha = 1 - definition.confidence
    strata = {metric.name: _strata(definition, metric, observations) for metric in definition.metrics}
    pairs = [
        _Pair(
            metric,
            variant.name,
            Contrast.of(strata[metric.name][variant.name], strata[metric.name][definition.control]),
        )
        for metric in definition.metrics
        for variant in definition.variants
        if variant.name != definition.control
    ]
    p_values = [pair.contrast.p_value if pair.contrast else 1.0 for pair in pairs]
    tested = zip(pairs, p_values, holm(p_values), levels(p_values, alpha), strict=True)
    comparisons = tuple(_comparison(definition, *each, observations.elapsed_s) for each in tested)
    ratio = sample_ratio(observations.splits)
    verdicts = _verdicts(pairs, comparisons, levels(p_values, alpha), ratio)
    return Analysis(
        tuple(
            each for metric in definition.metrics for each in _metric(definition, metric, strata[metric.name], pairs)
        ),
        comparisons,
        ratio,
        verdicts,
        words.of_analysis(comparisons, verdicts, definition.control, ratio),
    )


def _strata(definition: Definition, metric: Metric, observations: Observations) -> dict[str, Strata]:
    times = observations.metrics.get(metric.name, [])
    return {
        variant.name: Strata.of(metric, [stratum.get(variant.name) for stratum in times])
        for variant in definition.variants
    }


def _metric(
    definition: Definition, metric: Metric, strata: Mapping[str, Strata], pairs: list[_Pair]
) -> list[VariantMetric]:
    """One metric of every variant."""
    contrasts = {pair.variant: pair.contrast for pair in pairs if pair.metric is metric and pair.contrast}
    bayes = posterior(metric, definition.control, contrasts)
    alpha = 1 - definition.confidence
    return [_of_variant(metric, name, of, alpha, bayes.get(name)) for name, of in strata.items()]


def _of_variant(metric: Metric, variant: str, strata: Strata, alpha: float, bayes: Bayes | None) -> VariantMetric:
    arm, pooled = strata.arm(), strata.distribution()
    quantiles = {} if pooled is None else {name: quantile(pooled, level) for name, level in _QUANTILES.items()}
    estimate = _UNKNOWN if arm is None else _estimate(arm.value, arm.interval(alpha))
    return VariantMetric(metric.name, variant, int(strata.values.sum()), estimate, quantiles, bayes)


def _comparison(
    definition: Definition, pair: _Pair, p_value: float, adjusted: float, alpha: float, elapsed_s: float
) -> Comparison:
    """One variant in one metric; `alpha` is the level at which it is tested."""
    names = (pair.variant, definition.control)
    contrast = pair.contrast
    if contrast is None:
        nothing = words.too_few(pair.metric, names)
        return Comparison(pair.metric.name, pair.variant, _UNKNOWN, _UNKNOWN, 1.0, 1.0, Verdict.UNDECIDED, nothing)
    reach = contrast.reach(alpha)
    verdict = decide(pair.metric, contrast, alpha)
    more = needed(pair.metric, contrast, alpha)
    slower = min(contrast.variant.count, contrast.control.count)
    return Comparison(
        pair.metric.name,
        pair.variant,
        _estimate(contrast.difference, contrast.difference_interval(reach)),
        _estimate(contrast.ratio, contrast.ratio_interval(reach)),
        p_value,
        adjusted,
        verdict,
        words.of_comparison(pair.metric, names, verdict, contrast, reach, more),
        more,
        None if more is None else more * elapsed_s / slower,
    )


def _verdicts(
    pairs: list[_Pair], comparisons: tuple[Comparison, ...], alphas: list[float], ratio: SampleRatio
) -> dict[str, Verdict]:
    """Of every variant but control; with a sample ratio alarm, nothing is decided."""
    found = {}
    for variant in dict.fromkeys(pair.variant for pair in pairs):
        of = [at for at, pair in enumerate(pairs) if pair.variant == variant]
        unharmed = all(
            (contrast := pairs[at].contrast) is not None
            and (comparisons[at].verdict is Verdict.BETTER or harmless(pairs[at].metric, contrast, alphas[at]))
            for at in of
        )
        verdict = overall([comparisons[at].verdict for at in of], unharmed)
        found[variant] = Verdict.UNDECIDED if ratio.alarm else verdict
    return found


def _estimate(value: float | None, interval: tuple[float, float]) -> Estimate:
    """Plain data: JSON knows no infinity."""
    low, high = interval
    return Estimate(value, low if math.isfinite(low) else None, high if math.isfinite(high) else None)
