"""A verdict on a version's backends, as the model's page shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.control.pages.formats import UNKNOWN, exactly, megabytes, number, percent
from gateway.control.status import Status
from gateway.control.verdict_form import Agreement, Estimate, Row, Verdict


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure; `beside` is its interval, or what else belongs to it."""

    text: str
    beside: str = ""


_NONE = Cell(UNKNOWN)


@dataclass(frozen=True, slots=True)
class Told:
    """A verdict, its table (a line for each figure, a cell for each row), and deployments of other files by now."""

    verdict: Verdict
    lines: Sequence[tuple[str, Sequence[Cell]]]
    old: Sequence[str]

    @property
    def headline(self) -> str:
        """The recommendation in a few words."""
        advice = self.verdict.recommendation
        named = " and ".join(each.partition("@")[2] or each for each in advice.deployments)
        return {
            "recommended": named,
            "undecided": f"undecided {'between' if len(advice.deployments) > 1 else 'about'} {named}",
            "alone": "nothing to compare",
            "none": "none can be recommended",
        }[advice.kind]


def told(verdict: Verdict, status: Status) -> Told:
    """What there is to show of a verdict, beside what is served now."""
    served = {each.deployment: each.digest for each in status.deployments if each.digest}
    old = [each.deployment for each in verdict.rows if each.digest and served.get(each.deployment) != each.digest]
    lines = [(heading, [cell(row) for row in verdict.rows]) for heading, cell in _columns(verdict.settings.rate)]
    return Told(verdict, lines, old)


def _columns(rate: float | None) -> Sequence[tuple[str, Callable[[Row], Cell]]]:
    at = f"at {exactly(round(rate, 1))}/s" if rate else "at the rate"
    return (
        ("Loading, s", lambda row: Cell(number(row.load_s))),
        ("Memory", _memory),
        ("Artifact, kB", lambda row: _NONE if row.artifact_bytes is None else Cell(number(row.artifact_bytes / 1000))),
        ("p50 alone, ms", lambda row: _figure(row.alone_p50_ms)),
        ("p99 alone, ms", lambda row: _figure(row.alone_p99_ms)),
        (f"p50 {at}, ms", lambda row: _figure(row.p50_ms)),
        (f"p99 {at}, ms", lambda row: _figure(row.p99_ms)),
        ("Highest rate, 1/s", lambda row: _figure(row.highest_rate)),
        ("Right answers", lambda row: _figure(row.accuracy, percent)),
        ("Off by at most", lambda row: _difference(row.agreement)),
        ("Same best class", lambda row: Cell(percent(row.agreement.argmax if row.agreement else None))),
        ("CPU a request, ms", lambda row: _figure(row.cpu_ms)),
        ("Cost of a million", lambda row: _figure(row.cost)),
    )


def _figure(estimate: Estimate | None, written: Callable[[float], str] = number) -> Cell:
    if estimate is None:
        return _NONE
    return Cell(written(estimate.value), f"{written(estimate.low)} … {written(estimate.high)}")


def _memory(row: Row) -> Cell:
    if row.rss_bytes is None:
        return _NONE
    server = f"{megabytes(row.server_rss_bytes)} its server" if row.server_rss_bytes else ""
    shared = f"{row.sharing} share it" if row.sharing > 1 else ""
    return Cell(megabytes(row.rss_bytes + (row.server_rss_bytes or 0)), ", ".join(filter(None, [server, shared])))


def _difference(agreement: Agreement | None) -> Cell:
    return Cell(number(agreement.largest), f"{number(agreement.limit)} allowed") if agreement else _NONE
