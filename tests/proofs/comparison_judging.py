"""Pairs of results judged as `torii loadtest compare` judges: how often it is wrong, and what it sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from hdrh.histogram import HdrHistogram
from msgspec.structs import replace
from scipy.special import betaincinv

from loadtests.comparison.judging import answers, questions
from loadtests.comparison.matching import Pair, Side, Source
from loadtests.results.histograms import lower_edges, read_histograms
from loadtests.results.schema import Distribution, Result, Run, Slice

_WANTED: Final = 0.05
_USUAL_ROUNDS: Final = 5
_SHARES: Final = (0.02, 0.05, 0.1, 0.2, 0.5)

Runs = Sequence[Run]


@dataclass(slots=True)
class Calls:
    """How often pairs were called, by question; `any of them` is by Holm, the others each alone."""

    pairs: int = 0
    worse: Counter[str] = field(default_factory=Counter)
    better: Counter[str] = field(default_factory=Counter)

    def lines(self) -> Iterator[str]:
        """A line a question."""
        for name in ("p50", "p99", "throughput", "any of them"):
            called = self.worse[name] + self.better[name]
            low, high = interval(called, self.pairs)
            yield (
                f"  {name:12} {self.worse[name]:4} slower {self.better[name]:4} faster of {self.pairs:4}:"
                f" {called / max(self.pairs, 1):6.1%} called ({low:.1%} to {high:.1%})"
            )

    @property
    def share(self) -> float:
        """Of pairs that were called different."""
        return (self.worse["any of them"] + self.better["any of them"]) / max(self.pairs, 1)


def judged(result: Result) -> int:
    """Print all tables; 0 where at most 5 % of the pairs without a difference are called."""
    rounds = int(result.scenario["rounds"])
    rows = {row.payload: row.runs for row in result.rows}
    ours, theirs = (list(_groups(rows[name], rounds)) for name in ("equal", "baseline"))
    main = called(result, zip(ours, theirs, strict=False))
    print(f"\nNo difference. All intervals are exact binomial ones at 95 %.\n{rounds} rounds in turns:")
    print(*main.lines(), sep="\n")
    print("one round of each pair:")
    print(*called(result, ((a[:1], b[:1]) for a, b in zip(ours, theirs, strict=False))).lines(), sep="\n")
    if rounds != _USUAL_ROUNDS:
        print(f"{_USUAL_ROUNDS} rounds in turns, put together from the same runs:")
        many = zip(_groups(rows["equal"], _USUAL_ROUNDS), _groups(rows["baseline"], _USUAL_ROUNDS), strict=False)
        print(*called(result, many).lines(), sep="\n")
    print(f"{rounds} rounds one after the other, as two files have them:")
    print(*called(result, zip(theirs[1::2], theirs[::2], strict=False)).lines(), sep="\n")
    print(f"\nA difference. {rounds} rounds in turns:")
    for share in _SHARES:
        print(f"all times of one side made {share:.0%} longer:")
        late = ([slowed(run, 1 + share) for run in runs] for runs in ours)
        print(*called(result, zip(late, theirs, strict=False)).lines(), sep="\n")
    print("8 images a request beside 1, measured:")
    real = (_groups(rows[name], rounds) for name in ("slower", "slower's baseline"))
    print(*called(result, zip(*real, strict=False)).lines(), sep="\n")
    print(f"\nwrong: {main.share:.1%} of the pairs without a difference (wanted: at most {_WANTED:.0%})")
    return 0 if main.pairs and main.share <= _WANTED else 1


def called(result: Result, pairs: Iterable[tuple[Runs, Runs]]) -> Calls:
    """What is said of pairs of ours and theirs."""
    found, source = Calls(), Source("measured", result)
    for ours, theirs in pairs:
        sides = (Side(source, replace(result.rows[0], runs=tuple(runs))) for runs in (ours, theirs))
        told = answers(list(questions([Pair(*sides, ())], ("p50", "p99", "throughput"))))
        found.pairs += 1
        verdicts = {each.verdict for each in told}
        found.worse["any of them"] += "worse" in verdicts
        found.better["any of them"] += "better" in verdicts and "worse" not in verdicts
        for each in told:
            name, alone = each.question.metric, each.alone
            if not alone.low <= 1 <= alone.high:
                longer = (alone.low > 1) == each.question.lower_is_better
                (found.worse if longer else found.better)[name] += 1
    return found


def slowed(run: Run, times: float) -> Run:
    """The same run where everything takes so many times as long."""
    slices = tuple(_slowed(each, times) for each in run.slices)
    return replace(run, slices=slices, warm_up_s=run.warm_up_s * times)


def interval(called: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's at 95 %."""
    low = float(betaincinv(called, of - called + 1, 0.025)) if called else 0.0
    high = float(betaincinv(called + 1, of - called, 0.975)) if called < of else 1.0
    return low, high


def _groups(runs: Runs, rounds: int) -> Iterator[Runs]:
    """Whole ones only."""
    for first in range(0, len(runs) - rounds + 1, rounds):
        yield runs[first : first + rounds]


def _slowed(each: Slice, times: float) -> Slice:
    answered = {name: _longer(found, times) for name, found in each.answers.items()}
    return replace(each, begin_s=each.begin_s * times, end_s=each.end_s * times, answers=answered)


def _longer(found: Distribution, times: float) -> Distribution:
    """Values are told to 3 digits: within their buckets they lie by chance, so that shares under 0.1 % are lost."""
    made = HdrHistogram(1, 3_600_000_000, 3)
    for entries in read_histograms([found.latency]):
        middle = np.maximum(np.round(lower_edges(entries.buckets) * times), 1).astype(int)
        for value, count in zip(middle.tolist(), entries.counts.tolist(), strict=True):
            made.record_value(value, count)
    text = made.encode().decode()
    return replace(found, latency=text, service=text)
