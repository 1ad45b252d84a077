"""A verdict's table: a line for each figure, a cell for each deployment; the same in the terminal and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from loadtests.verdict.document import Agreement, Estimate, Row, Verdict
from loadtests.verdict.words import UNKNOWN, amount, backends, between, bytes_, joined


class Cell(NamedTuple):
    """A figure; `beside` is its interval, or what else belongs to it."""

    text: str
    beside: str = ""


class Line(NamedTuple):
    """One figure of all deployments."""

    heading: str
    cells: Sequence[Cell]


def lines(verdict: Verdict) -> list[Line]:
    """In the order in which they are read."""
    rate = verdict.settings.rate
    at = f"at {amount(rate)}/s" if rate else "at the rate"
    return [
        Line(heading, [cell(row) for row in verdict.rows])
        for heading, cell in (
            ("loading, s", lambda row: Cell(amount(row.load_s))),
            ("memory", _memory),
            ("artifact", lambda row: Cell(bytes_(row.artifact_bytes))),
            ("p50 alone, ms", lambda row: _figure(row.alone_p50_ms)),
            ("p99 alone, ms", lambda row: _figure(row.alone_p99_ms)),
            (f"p50 {at}, ms", lambda row: _figure(row.p50_ms)),
            (f"p99 {at}, ms", lambda row: _figure(row.p99_ms)),
            ("highest rate, 1/s", lambda row: _figure(row.highest_rate)),
            ("failed, %", lambda row: Cell(amount(_percent(row.errors)))),
            ("right answers, %", lambda row: _figure(_percents(row.accuracy))),
            ("off by at most", lambda row: _difference(row.agreement)),
            ("same best class, %", lambda row: Cell(amount(_percent(row.agreement.argmax if row.agreement else None)))),
            ("CPU a request, ms", lambda row: _figure(row.cpu_ms)),
            ("cost of a million", lambda row: _figure(row.cost)),
        )
    ]


def headline(verdict: Verdict) -> str:
    """The recommendation in a few words."""
    advice = verdict.recommendation
    named = joined(backends(advice.deployments))
    text = {
        "recommended": f"{named} is recommended",
        "undecided": f"undecided between {named}" if len(advice.deployments) > 1 else f"undecided about {named}",
        "alone": "nothing to compare",
        "none": "none can be recommended",
    }[advice.kind]
    return f"{verdict.name}: {text}"


def doubts_title(verdict: Verdict) -> str:
    """What stands over `against`."""
    recommended = verdict.recommendation.kind == "recommended"
    return "What speaks against it" if recommended else "Why to doubt the figures"


def left_out(verdict: Verdict) -> list[str]:
    """Which are out, and why; nothing where all are, which the reason says."""
    if verdict.recommendation.kind == "none":
        return []
    return [f"{row.deployment}: {each}" for row in verdict.rows for each in row.problems]


def remarks(verdict: Verdict) -> list[str]:
    """What was set, on which machine, and what the figures mean."""
    settings, machine = verdict.settings, verdict.machine
    told = [f"{machine.name}: {machine.cpu}, {machine.cores} cores, {bytes_(machine.memory_bytes)}; {machine.system}."]
    if settings.latency_target_ms is not None:
        chosen = "" if settings.target_given else ", twice the highest p99 alone, since none was given"
        told.append(f"The target: p99 within {amount(settings.latency_target_ms)} ms{chosen}.")
    if settings.rate is not None:
        chosen = "" if settings.rate_given else ", half of what the weakest can take"
        told.append(f"The rate: {amount(settings.rate)} requests/s, Poisson{chosen}.")
    told.append(
        f"Payload: {settings.payload} over {settings.dialect}; {settings.rounds} rounds of {settings.seconds:g} s."
    )
    if settings.cost_by:
        by = "CPU time of gateway and backend" if settings.cost_by == "cpu" else "the highest rate on all cores"
        told.append(f"Cost: by {by}, at {settings.price_per_core_hour:g} a core and hour.")
    right = {
        "labels": "by the labels of the golden data",
        "golden outputs": "by the best class of the golden outputs",
        "": "not known, for want of golden data",
    }[verdict.accuracy_by]
    told.append(f"Right answers: {right}. Intervals are at 95 %.")
    if verdict.reference:
        told.append(f"Off by: the largest difference to {verdict.reference}, as a share of the largest value there.")
    if any(row.sharing > 1 for row in verdict.rows):
        told.append("Memory of a server that several share is the server's as a whole.")
    return [*told, *verdict.marks]


def _figure(found: Estimate | None) -> Cell:
    return Cell(amount(found.value), between(found)) if found else Cell(UNKNOWN)


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100


def _percents(share: Estimate | None) -> Estimate | None:
    return Estimate(share.value * 100, share.low * 100, share.high * 100) if share else None


def _memory(row: Row) -> Cell:
    server = f"server {bytes_(row.server_rss_bytes)}" if row.server_rss_bytes else ""
    shared = f"{row.sharing} share it" if row.sharing > 1 else ""
    return Cell(bytes_(row.memory_bytes), ", ".join(filter(None, [server, shared])))


def _difference(found: Agreement | None) -> Cell:
    return Cell(amount(found.largest), f"limit {found.limit:g}") if found else Cell(UNKNOWN)
