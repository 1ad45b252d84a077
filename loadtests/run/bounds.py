"""The highest rate that a gateway serves within a bound, found by trying rates on it."""

from __future__ import annotations

from typing import Final

from loadtests.results.schema import Figure, Run
from loadtests.run import figures
from loadtests.run.early_stopping import Verdict, bound_kept, least_queries
from loadtests.run.latencies import failures, latencies, measured, succeeded
from loadtests.run.search import Found, Phase, highest_rate
from loadtests.run.session import Turn
from loadtests.run.subjects import Subject
from loadtests.scenario import Bound

_FOUND: Final = "found"
_LAST: Final = "verdict"
_SPARE: Final = 1.25
_LONGEST: Final = 6.0
"""A rate so low that it takes longer than so many times the scenario's seconds stays unconfirmed."""

_TRIED: Final = 200
"""Queries, at least, before a rate is thought to be kept or broken."""


class Bounded:
    """Searches with one bound; keeps what was found with the subject."""

    def __init__(self, bound: Bound, connections: int) -> None:
        self._bound = bound
        self._connections = connections

    def search(self, turn: Turn) -> Found:
        """Find the highest rate anew, beginning at the one of the round before."""
        found: list[Found] = turn.subject.notes.setdefault(_FOUND, [])
        result = highest_rate(
            lambda rate, phase: self._kept(turn, rate, phase),
            self._bound.first_rate,
            self._bound.precision,
            found[-1] if found else None,
        )
        found.append(result)
        told = f"{result.rate:,.0f}/s" if result.rate else "no rate"
        turn.session.show.say(f"{turn.subject}: {told} keeps {self}")
        return result

    def __str__(self) -> str:
        """`p99 under 20 ms`."""
        return f"p{self._bound.percentile:g} under {self._bound.latency_ms:g} ms"

    def figure(self, subject: Subject, name: str) -> Figure:
        """The rate of all rounds."""
        searches: list[Found] = subject.notes.get(_FOUND, [])
        rates = [each.rate for each in searches if each.rate is not None]
        verdict: Verdict | None = subject.notes.get(_LAST)
        note = str(self)
        if searches and not rates:
            note = f"{self}: the bound was never met"
            if verdict and verdict.more and verdict.passed is False and subject.notes.get("few"):
                note = f"{self}: early stopping: {verdict.more:,} queries more needed"
        return figures.of_times(name, rates, "1/s", note)

    def confirmed(self, subject: Subject) -> list[Run]:
        """The runs that confirmed a rate: the last of each round at most."""
        rates = [each.rate for each in subject.notes.get(_FOUND, [])]
        return [
            each
            for number, rate in enumerate(rates, 1)
            if rate is not None
            for each in figures.phase(subject.runs, _phase("confirm", rate))
            if each.round == number
        ]

    def _kept(self, turn: Turn, rate: float, phase: Phase) -> bool:
        seconds = self._seconds(turn, rate, phase)
        run = turn.stretch(
            rate,
            seconds,
            phase=_phase(phase, rate),
            arrival="poisson",
            connections=self._connections,
            warm_up_s=min(turn.session.scenario.warm_up_s, 0.5 if phase == "search" else 2.0),
        )
        queries, slow = self.judged(run)
        few = slow <= queries * (1 - self._bound.percentile / 100)
        if phase == "search":
            return bool(queries) and few
        verdict = bound_kept(queries, slow, self._bound.percentile)
        turn.subject.notes[_LAST], turn.subject.notes["few"] = verdict, few
        return verdict.passed

    def _seconds(self, turn: Turn, rate: float, phase: Phase) -> float:
        wanted = turn.session.scenario.seconds if phase == "confirm" else self._bound.search_s
        queries = _SPARE * least_queries(self._bound.percentile) if phase == "confirm" else _TRIED
        return min(max(wanted, queries / rate), _LONGEST * wanted)

    def judged(self, run: Run) -> tuple[int, int]:
        """(queries, those of them that were late, failed or never answered)."""
        slices = measured(run)
        if not slices:
            return 0, 0
        failed = sum(failures(slices).values())
        unanswered = slices[-1].waiting + slices[-1].under_way
        queries = succeeded(slices) + failed + unanswered
        return queries, latencies(slices).above(self._bound.latency_ms) + failed + unanswered


def _phase(phase: Phase, rate: float) -> str:
    return f"{phase} {rate:.6g}/s"
