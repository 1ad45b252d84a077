"""A report's parts, once for HTML, PNG and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from loadtests.comparison.matching import Source
from loadtests.report import tables
from loadtests.report.caveats import listed
from loadtests.report.conclusions import Conclusions, conclusions
from loadtests.report.content import Content
from loadtests.report.pictures import (
    Grid,
    Picture,
    heat_maps,
    latency_distributions,
    png,
    throughput_against_latency,
    timelines,
)
from loadtests.results.text import plain

MOST_RESULTS: Final = 64
MOST_ROWS: Final = 200
_MOST_PICTURES: Final = 24


@dataclass(frozen=True, slots=True)
class Section:
    """Pictures under a heading; the folded ones are seen by who asks for them."""

    heading: str
    id: str
    pictures: tuple[Picture, ...]
    folded: tuple[Picture, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report shows."""

    title: str
    facts: tuple[tuple[str, str], ...]
    conclusions: Conclusions
    measured: Grid
    figures: tuple[Grid, ...]
    sections: tuple[Section, ...]
    machines: tuple[Grid, ...]
    settings: tuple[Grid, ...]

    @property
    def for_others(self) -> Iterator[Picture]:
        """Pictures for where HTML is not shown; timelines are many, and only those stand there that tell something."""
        return chain.from_iterable(section.pictures for section in self.sections)


def report(sources: Sequence[Source]) -> Report:
    """Work out all numbers, sentences and pictures of these results.

    Raises:
        ValueError: There are more than 64 results, histograms are damaged, or a row has more than 64 rounds.
    """
    if len(sources) > MOST_RESULTS:
        raise ValueError(f"{len(sources)} results in one report; expected {MOST_RESULTS} at most: choose some of them")
    shown = _limited(sources)
    content = Content(shown)
    names = [plain(name, 60) for name in content.scenarios]
    return Report(
        title=f"Load test: {listed(names)}",
        facts=tuple(_facts(sources, content)),
        conclusions=conclusions(content),
        measured=tables.measured(content),
        figures=tuple(tables.figures(content)),
        sections=tuple(each for each in _sections(content) if each.pictures or each.folded),
        machines=tuple(tables.machines(content)),
        settings=tuple(tables.settings(content)),
    )


def write_pngs(made: Report, folder: Path) -> list[Path]:
    """Write the pictures for where HTML is not shown; the folded ones stay in the HTML."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for picture in made.for_others:
        path = folder / f"{picture.name}.png"
        path.write_bytes(png(picture))
        found.append(path)
    return found


def _limited(sources: Sequence[Source]) -> tuple[Source, ...]:
    """With 200 rows in all, at most: what none could read, and takes minutes to work out, is left out."""
    most = MOST_ROWS // len(sources)
    return tuple(Source(each.name, replace(each.result, rows=each.result.rows[:most])) for each in sources)


def _sections(content: Content) -> Iterator[Section]:
    yield _section("Frameworks and hardware", "heat", heat_maps(content))
    yield _section("Latency distributions", "latency", latency_distributions(content))
    yield _section("Throughput against latency", "levels", throughput_against_latency(content))
    shown, folded, left_out = timelines(content, _MOST_PICTURES)
    note = f"{left_out:,} more are left out, in which nothing failed." if left_out else ""
    yield Section("Timelines", "timelines", tuple(shown), tuple(folded), note)


def _section(heading: str, name: str, pictures: Iterable[Picture]) -> Section:
    found = list(islice(pictures, _MOST_PICTURES + 1))
    note = f"These are the first {_MOST_PICTURES}; the table has all numbers." if len(found) > _MOST_PICTURES else ""
    return Section(heading, name, tuple(found[:_MOST_PICTURES]), note=note)


def _facts(sources: Sequence[Source], content: Content) -> Iterator[tuple[str, str]]:
    results = [source.result for source in sources]
    yield "results", listed([plain(source.name) for source in sources])
    times = sorted({_time(each.made) for each in results})
    yield "made", " to ".join(dict.fromkeys((times[0], times[-1])))
    yield "machines", listed(list(dict.fromkeys(plain(each.machine.name) for each in results)))
    statuses = [row.status for each in results for row in each.rows]
    counted = ", ".join(f"{statuses.count(each):,} {each}" for each in dict.fromkeys(statuses))
    left_out = len(statuses) - len(content.sides)
    yield "rows", (counted or "none") + (f"; {left_out:,} are left out: a report takes {MOST_ROWS}" if left_out else "")
    revisions = dict.fromkeys(plain(str(each.git.get("revision", ""))[:12]) for each in results)
    if known := [each for each in revisions if each]:
        yield "revision", listed(known)


def _time(made: str) -> str:
    try:
        return f"{datetime.fromisoformat(made):%Y-%m-%d %H:%M}"
    except ValueError:
        return plain(made, 40)
