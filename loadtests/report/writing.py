"""A report's parts, once for HTML, PNG and Markdown; and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.comparison.matching import Source
from loadtests.report import tables
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
from loadtests.results.text import markdown, plain


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report shows."""

    title: str
    facts: tuple[tuple[str, str], ...]
    conclusions: Conclusions
    measured: Grid
    figures: tuple[Grid, ...]
    distributions: tuple[Picture, ...]
    levels: tuple[Picture, ...]
    heat: tuple[Picture, ...]
    timelines: tuple[Picture, ...]
    machines: tuple[Grid, ...]
    settings: tuple[Grid, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All of them."""
        return (*self.distributions, *self.levels, *self.heat, *self.timelines)


def report(sources: Sequence[Source]) -> Report:
    """Work out all numbers, sentences and pictures of these results.

    Raises:
        ValueError: Histograms are damaged, or a row has more than 64 rounds.
    """
    content = Content(tuple(sources))
    names = dict.fromkeys(plain(source.result.name) for source in sources)
    return Report(
        title=f"Load test: {', '.join(names)}",
        facts=tuple(_facts(content)),
        conclusions=conclusions(content),
        measured=tables.measured(content),
        figures=tuple(tables.figures(content)),
        distributions=tuple(latency_distributions(content)),
        levels=tuple(throughput_against_latency(content)),
        heat=tuple(heat_maps(content)),
        timelines=tuple(timelines(content)),
        machines=tuple(tables.machines(content)),
        settings=tuple(tables.settings(content)),
    )


def write_pngs(made: Report, folder: Path) -> list[Path]:
    """Write the pictures for where HTML is not shown; timelines are many, and stay in the HTML."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for picture in (*made.distributions, *made.levels, *made.heat):
        path = folder / f"{picture.name}.png"
        path.write_bytes(png(picture))
        found.append(path)
    return found


def as_markdown(made: Report, pictures: Path | None = None) -> str:
    """The report for a pull request; pictures are referred to where their folder, relative to the file, is known."""
    lines = [f"# {markdown(made.title)}", ""]
    for heading, sentences in (
        ("What can be concluded", made.conclusions.can or ("No difference is shown.",)),
        ("What cannot be concluded", made.conclusions.cannot),
        ("To keep in mind", made.conclusions.mind),
    ):
        if sentences:
            lines += [f"## {heading}", "", *(f"* {markdown_sentence(each)}" for each in sentences), ""]
    lines += ["## Numbers", "", *_grid(made.measured)]
    for grid in made.figures:
        lines += _grid(grid)
    if pictures is not None:
        for picture in (*made.distributions, *made.levels, *made.heat):
            lines += [f"![{markdown(picture.title)}]({pictures.as_posix()}/{picture.name}.png)", ""]
    lines += ["<details><summary>Machines and settings</summary>", ""]
    for grid in (*made.machines, *made.settings):
        lines += _grid(grid)
    return "\n".join([*lines, "</details>"]) + "\n"


def markdown_sentence(text: str) -> str:
    """Sentences may be long, and are not cut."""
    return "".join(markdown(text[begin : begin + 200]) for begin in range(0, len(text), 200))


def _grid(grid: Grid) -> list[str]:
    lines = [f"**{markdown(grid.caption)}**", "", _line(grid.head), f"|{'---|' * len(grid.head)}"]
    return [*lines, *map(_line, grid.rows), ""]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(markdown(cell) for cell in cells)} |"


def _facts(content: Content) -> Iterator[tuple[str, str]]:
    results = [source.result for source in content.sources]
    yield "results", ", ".join(plain(source.name) for source in content.sources)
    yield "made", ", ".join(dict.fromkeys(plain(each.made) for each in results))
    yield "machines", ", ".join(dict.fromkeys(plain(each.machine.name) for each in results))
    statuses = [side.row.status for side in content.sides]
    counted = ", ".join(f"{statuses.count(each)} {each}" for each in dict.fromkeys(statuses))
    yield "rows", counted or "none"
    revisions = dict.fromkeys(plain(str(each.git.get("revision", "")), 12) for each in results if each.git)
    if any(revisions):
        yield "revision", ", ".join(revisions)
